"""The PBX runs the OzML it gets: every verb, nested menus, jumps, loops and variables, in virtual time."""

import pytest

from interceptor.simulator import CallState, Fixed, Phone
from interceptor.simulator import events as e
from interceptor.simulator.ozml.verbs import BY_NAME
from interceptor.wire import knowledge

CALLER, API = "+36201234567", "5000"


def ozml(inside: str) -> Fixed:
    return Fixed(f"<Response>{inside}</Response>".encode())


def heard(pbx) -> list[str]:
    return [event.what for event in pbx.log.of(e.Heard)]


def ran(pbx) -> list[str]:
    return [event.name for event in pbx.log.of(e.VerbRan)]


def failed(pbx) -> list[tuple[str, int]]:
    return [(event.name, event.code) for event in pbx.log.of(e.VerbFailed)]


async def called(pbx, app, inside: str):
    """A call from outside to the API extension, whose app answers with this."""
    app.add(ozml(inside), name="IncomingCall")
    pbx.subscriptions.incoming = f"{app.url}/pbx"
    return pbx.dial(CALLER, API)


def test_every_verb_of_the_reference_can_be_run_or_is_a_route() -> None:
    assert {name.lower() for name in knowledge.VERBS} - set(BY_NAME) == {"route"}


def test_verbs_run_in_order_and_the_call_is_hung_up_after_the_last(journey) -> None:
    async def work(pbx, app) -> None:
        call = await called(pbx, app, "<Speak>One</Speak>noise<Play AudioFile='two.wav'/><Delay>3</Delay><Beep/>")
        assert await pbx.wait_for_end(call) is CallState.COMPLETED
        assert heard(pbx) == ["One", "two.wav", ""]
        assert ran(pbx) == ["Speak", "Play", "Delay", "Beep"]
        assert call.ended_by == "callee"
        assert call.talk_seconds(pbx.clock.now()) == pytest.approx(3 * 0.06 + 5 + 3 + 0.5)

    journey(work)


def test_a_reject_as_the_first_verb_turns_the_caller_away(journey) -> None:
    async def work(pbx, app) -> None:
        call = await called(pbx, app, "<Reject/><Speak>never</Speak>")
        assert await pbx.wait_for_end(call) is CallState.BUSY
        assert call.answered_at is None
        assert heard(pbx) == []

    journey(work)


def test_a_reject_later_may_not_be_used_and_the_rest_runs(journey) -> None:
    async def work(pbx, app) -> None:
        call = await called(pbx, app, "<Speak>a</Speak><Reject/><Speak>b</Speak>")
        await pbx.wait_for_end(call)
        assert heard(pbx) == ["a", "b"]
        assert failed(pbx) == [("Reject", 303)]

    journey(work)


def test_names_are_read_without_case(journey) -> None:
    async def work(pbx, app) -> None:
        call = await called(pbx, app, "<var id='x'>you</var><speak text='Hello $x'/><SPEAK>$X</SPEAK>")
        await pbx.wait_for_end(call)
        assert heard(pbx) == ["Hello you", "you"]

    journey(work)


def test_arrays_loops_and_variables(journey) -> None:
    async def work(pbx, app) -> None:
        call = await called(
            pbx,
            app,
            "<Var ID='greeting'>Hello</Var>"
            "<Array ID='people'><item name='Anna'>1</item><item><name>Bob</name></item></Array>"
            "<ForEach Source='people'><Speak>$greeting $item.name</Speak></ForEach>"
            "<Array ID='plain'><item>a</item><item>b</item></Array>"
            "<ForEach Source='plain'><ForEach Source='plain'><Speak>$item</Speak></ForEach>"
            "<Speak>$item</Speak></ForEach>"
            "<ForEach Source='voicemails'><Speak>never</Speak></ForEach>"
            "<ForEach Source='missing'><Speak>never</Speak></ForEach>"
            "<Speak>$item stays, $unknown too, 5$</Speak>",
        )
        await pbx.wait_for_end(call)
        expected = ["Hello Anna", "Hello Bob", "a", "b", "a", "a", "b", "b", "$item stays, $unknown too, 5$"]
        assert heard(pbx) == expected
        assert failed(pbx) == [("ForEach", 302)]

    journey(work)


MENU = (
    "<UserInput Timeout='5' Repeat='true'><InitialCommands><Speak>Main</Speak></InitialCommands><Inputs>"
    "<Input Key='1'><UserInput Timeout='5' BackKey='*'><InitialCommands><Speak>Below</Speak></InitialCommands>"
    "<Inputs><Input Key='7'><Speak>Seven</Speak></Input></Inputs></UserInput></Input></Inputs></UserInput>"
    "<Speak>Bye</Speak>"
)


def test_a_nested_menu_with_the_key_that_leads_back(journey) -> None:
    async def work(pbx, app) -> None:
        call = await called(pbx, app, MENU)
        for text, key in (("Main", "1"), ("Below", "*"), ("Main", "9"), ("Main", "1"), ("Below", "7")):
            count = pbx.log.count if heard(pbx) else 0
            await pbx.log.wait(e.Heard, lambda event, text=text: event.what == text, since=count)
            pbx.press(call, key)
        await pbx.wait_for_end(call)
        assert heard(pbx) == ["Main", "Below", "Main", "Main", "Below", "Seven", "Bye"]

    journey(work)


def test_a_menu_that_nobody_answers_repeats_until_the_caller_hangs_up(journey) -> None:
    async def work(pbx, app) -> None:
        call = await called(pbx, app, MENU)
        for _ in range(3):
            await pbx.log.wait(e.Heard, since=pbx.log.count)
        pbx.hang_up(call)
        assert await pbx.wait_for_end(call) is CallState.COMPLETED
        assert heard(pbx) == ["Main"] * 3
        assert call.ended_by == "caller"

    journey(work)


def test_a_menu_without_repeat_goes_on_after_its_timeout(journey) -> None:
    async def work(pbx, app) -> None:
        call = await called(pbx, app, "<UserInput Timeout='5' Digits='4'/><Speak>Too late</Speak>")
        await pbx.wait_for_end(call)
        assert heard(pbx) == ["Too late"]

    journey(work)


def test_digits_that_no_input_knows_go_to_the_app_and_its_answer_runs(journey) -> None:
    async def work(pbx, app) -> None:
        app.add(ozml("<Speak>Thank you</Speak>"), name="DtmfEntered", path="/dtmf")
        url = f"{app.url}/dtmf?step=2"
        call = await called(pbx, app, f"<Userinput digits='3' ForwardToURL='{url}'/><Speak>Bye</Speak>")
        await pbx.wait_for_state(call, CallState.IN_CALL)
        pbx.press(call, "12")
        pbx.press(call, "3")
        await pbx.wait_for_end(call)
        assert heard(pbx) == ["Thank you", "Bye"]
        [told] = app.notifications_seen("DtmfEntered")
        assert (told.get("DtmfDigits"), told.get("CallId"), told.target) == ("123", call.id, "/dtmf?step=2")
        assert told.http_version == "1.0"

    journey(work)


def test_fewest_and_most_digits(journey) -> None:
    async def work(pbx, app) -> None:
        url = f"{app.url}/dtmf"
        call = await called(pbx, app, f"<UserInput MinDigits='2' MaxDigits='5' Timeout='4' enteredUrl='{url}'/>")
        await pbx.wait_for_state(call, CallState.IN_CALL)
        pbx.press(call, "123")
        await pbx.wait_for_end(call)
        assert [each.get("DtmfDigits") for each in app.notifications_seen()][1:] == ["123"]

    journey(work)


def test_an_app_that_dies_in_its_menu_loses_the_caller(journey) -> None:
    async def work(pbx, app) -> None:
        call = await called(pbx, app, f"<UserInput ForwardToUrl='{app.url}/x'/><Speak>never</Speak>")
        await pbx.wait_for_state(call, CallState.IN_CALL)
        await app.refuse_connections()
        pbx.press(call, "1")
        assert await pbx.wait_for_end(call) is CallState.COMPLETED
        assert call.ended_by == "pbx"
        assert heard(pbx) == []

    journey(work)


def test_a_goto_replaces_the_document_and_keeps_the_variables(journey) -> None:
    async def work(pbx, app) -> None:
        app.add(ozml("<Speak>There, $who</Speak>"), name="GoTo", path="/next")
        call = await called(
            pbx, app, f"<Var ID='who'>Anna</Var><GoTo>{app.url}/next?a=1&amp;b=2</GoTo><Speak>never</Speak>"
        )
        await pbx.wait_for_end(call)
        assert heard(pbx) == ["There, Anna"]
        assert app.notifications_seen("GoTo")[0].target == "/next?a=1&b=2"

    journey(work)


def test_a_goto_that_leads_to_itself_ends(journey) -> None:
    async def work(pbx, app) -> None:
        app.add(ozml(f"<Delay>1</Delay><GoTo>{app.url}/again</GoTo>"), name="GoTo")
        call = await called(pbx, app, f"<GoTo Url='{app.url}/again'/>")
        await pbx.log.wait(e.NotificationSent, lambda event: event.name == "GoTo")
        for _ in range(5):
            await pbx.log.wait(e.NotificationAnswered, since=pbx.log.count)
        pbx.hang_up(call)
        await pbx.wait_for_end(call)

    journey(work)


def test_a_goto_of_sql_is_not_fetched_and_the_rest_runs(journey) -> None:
    async def work(pbx, app) -> None:
        call = await called(pbx, app, "<GoTo>SELECT ozml FROM menu</GoTo><SQL>DELETE FROM x</SQL><Speak>on</Speak>")
        await pbx.wait_for_end(call)
        assert failed(pbx) == [("GoTo", 302)]
        assert heard(pbx) == ["on"]
        assert [event.how for event in pbx.log.of(e.FileChanged)] == ["sql"]

    journey(work)


def test_a_recording_ends_by_key_by_time_and_with_the_call(journey) -> None:
    async def work(pbx, app) -> None:
        app.add(ozml(""), name="RecordCompleted")
        url = f"{app.url}/rec"
        call = await called(
            pbx,
            app,
            f"<Record Format='wav' FinishDigits='#' FinishedUrl='{url}?n=1'/>"
            f"<Record Duration='7' FinishedUrl='{url}?n=2'/>"
            f"<Record FinishedUrl='{url}?n=3'/><Speak>Bye</Speak>",
        )
        await pbx.wait_for_state(call, CallState.IN_CALL)
        pbx.press(call, "12#")
        await pbx.wait_for_end(call)
        await app.log.wait(e.NotificationReceived, lambda event: event.get("n") == "3")
        told = app.notifications_seen("RecordCompleted")
        assert [each.get("n") for each in told] == ["1", "2", "3"]
        assert told[0].get("RecordURL").endswith(".wav")
        assert told[1].get("RecordURL").endswith(".mp3")
        assert told[1].get("X-Duration") == "7"

    journey(work)


def test_a_blind_transfer_puts_the_caller_through_and_says_so(journey) -> None:
    async def work(pbx, app) -> None:
        pbx.directory.set_phone(Phone(number="2405", answers_after_seconds=4.0, talks_seconds=10.0))
        call = await called(
            pbx, app, f"<BlindTransfer FinishedUrl='{app.url}/done'>2405</BlindTransfer><Speak>no</Speak>"
        )
        assert await pbx.wait_for_end(call) is CallState.TRANSFERRED
        assert await pbx.wait_for_end(call.continued) is CallState.COMPLETED
        assert (call.continued.caller, call.continued.callee) == (CALLER, "2405")
        assert heard(pbx) == []
        told = [each for each in app.notifications_seen() if each.target == "/done"]
        assert told[0].get("CallId") == call.continued.id
        assert told[0].name == ""

    journey(work)


def test_an_answer_can_call_send_and_alarm(journey) -> None:
    async def work(pbx, app) -> None:
        call = await called(
            pbx,
            app,
            f"<Call Dialled='+36301112222' Url='{app.url}/c' ErrorUrl='{app.url}/e'/>"
            "<SendSms Recipient='+36301112222'>Hello</SendSms><SendEmail Recipient='a@b.test' Message='m' Subject='s'/>"
            "<SendAlarmNotification PhoneNumber='2405' AccountNumber='1234' EventCode='130'"
            " PartitionNumber='1' ZoneNumber='15'/>"
            "<SendSms Recipient='nobody'>Hello</SendSms><Delay>5</Delay>",
        )
        await pbx.wait_for_end(call)
        assert [event.how for event in pbx.delivered()] == ["email", "sms", "alarm"]
        assert failed(pbx) == [("SendSms", 501)]
        assert app.notifications_seen("CallConnected")

    journey(work)


def test_an_alarm_panel_is_heard_out(journey) -> None:
    async def work(pbx, app) -> None:
        call = await called(
            pbx,
            app,
            "<ReceiveAlarmNotification><Received><Speak>$account $eventcode</Speak></Received>"
            "</ReceiveAlarmNotification><Speak>Done</Speak>",
        )
        await pbx.wait_for_state(call, CallState.IN_CALL)
        pbx.raise_alarm(call, (("account", "1234"), ("eventcode", "130")))
        pbx.raise_alarm(call, (("account", "1234"), ("eventcode", "131")))
        await pbx.wait_for_end(call)
        assert heard(pbx) == ["1234 130", "1234 131", "Done"]

    journey(work)


def test_files_move_only_inside_the_pbx(journey) -> None:
    async def work(pbx, app) -> None:
        call = await called(
            pbx,
            app,
            "<MoveFile SourceFile='rec/a.wav' TargetDirectory='old'/>"
            "<MoveFile SourceFile='../a' TargetDirectory='old'/>"
            "<DeleteFile>rec/b.wav</DeleteFile><DeleteFile SourceFile='../b'/>",
        )
        await pbx.wait_for_end(call)
        assert [(each.how, each.file, each.target) for each in pbx.log.of(e.FileChanged)] == [
            ("move", "rec/a.wav", "old"),
            ("delete", "rec/b.wav", ""),
        ]
        assert failed(pbx) == [("MoveFile", 302), ("DeleteFile", 302)]

    journey(work)


def test_an_unknown_verb_is_told_and_the_rest_runs(journey) -> None:
    async def work(pbx, app) -> None:
        call = await called(pbx, app, "<MakeCoffee/><Speak/><Speak>on</Speak>")
        await pbx.wait_for_end(call)
        assert failed(pbx) == [("MakeCoffee", 301), ("Speak", 302)]
        assert heard(pbx) == ["on"]

    journey(work)


def test_a_document_that_never_ends_is_ended(journey, monkeypatch) -> None:
    from interceptor.simulator.ozml import session

    monkeypatch.setattr(session, "MAX_VERBS", 50)

    async def work(pbx, app) -> None:
        app.add(ozml(f"<GoTo>{app.url}/again</GoTo>"), name="GoTo")
        call = await called(pbx, app, f"<GoTo>{app.url}/again</GoTo>")
        await pbx.wait_for_end(call)
        assert len(app.notifications_seen("GoTo")) == 50
        assert failed(pbx) == [("GoTo", 303)]

    journey(work)


def test_third_party_verbs_answer_a_change_of_state(journey) -> None:
    async def work(pbx, app) -> None:
        app.add(ozml("<Hold/><Speak Party='all'>Held</Speak><SendSms/><Hangup CallId='nosuch'/>"), name="CallChanged")
        pbx.subscriptions.events = f"{app.url}/events"
        call = pbx.dial("2301", "2405")
        await pbx.wait_for_state(call, CallState.HOLD)
        states = [each.get("X-CallState") for each in app.notifications_seen("CallChanged")]
        assert states[:2] == ["Ringing", "Answered"]
        assert ("SendSms", 303) in failed(pbx)
        assert ("Hangup", 601) in failed(pbx)
        assert heard(pbx)[:2] == ["Held", "Held"]

    journey(work)
