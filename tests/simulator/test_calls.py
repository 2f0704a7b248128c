"""Calls ring, are routed, answered, transferred and ended as the reference says."""

import asyncio
from ipaddress import ip_network

import pytest

from interceptor.simulator import (
    CallState,
    Door,
    Fixed,
    Generation,
    Phone,
    RealClock,
    RoutingTable,
    Row,
    SimulatedApp,
    SimulatedPbx,
)
from interceptor.simulator import events as e


def states(pbx, call) -> list[str]:
    return [event.state for event in pbx.log.of(e.CallChanged) if event.call_id == call.id]


@pytest.mark.parametrize(
    ("phone", "dialled", "ends"),
    [
        (Phone(number="2405", talks_seconds=5.0), "2405", ["Ringing", "Answered", "InCall", "Completed"]),
        (Phone(number="2405", busy=True), "2405", ["Ringing", "Busy"]),
        (Phone(number="2405", answers_after_seconds=None), "2405", ["Ringing", "Busy"]),
        (Phone(number="2405"), "7777", ["Error"]),
        (Phone(number="2405"), "5000", ["Ringing", "Busy"]),
    ],
)
def test_a_call_goes_through_its_states(journey, phone, dialled, ends) -> None:
    async def work(pbx, app) -> None:
        pbx.directory.set_phone(phone)
        call = pbx.dial("2301", dialled)
        await pbx.wait_for_end(call)
        assert states(pbx, call) == ends
        assert pbx.core.calls.active == {}

    journey(work)


def test_a_caller_who_gives_up_has_cancelled(journey) -> None:
    async def work(pbx, app) -> None:
        call = pbx.dial("2301", "2405")
        await pbx.wait_for_state(call, CallState.RINGING)
        pbx.hang_up(call)
        assert await pbx.wait_for_end(call) is CallState.CANCELLED

    journey(work)


def test_the_route_interception_is_asked_again_after_each_failed_try(journey) -> None:
    async def work(pbx, app) -> None:
        pbx.directory.set_phone(Phone(number="2405", busy=True))
        pbx.directory.set_phone(Phone(number="2406", answers_after_seconds=None))
        table = RoutingTable(
            (
                Row("2405", state="Calling"),
                Row("2406", state="Busy", ring_seconds=15),
                Row("9999", state="NoAnswer"),
                Row("+36301112222", state="NotFound", caller_id="+3612222222"),
            )
        )
        app.doors.append(Door(table, path="/route"))
        pbx.subscriptions.route = f"{app.url}/route"
        call = pbx.dial("2301", "2400")
        await pbx.wait_for_state(call, CallState.IN_CALL)
        seen = app.notifications_seen("RoutingInterception")
        assert [each.get("LastCallState") for each in seen] == ["Calling", "Busy", "NoAnswer", "NotFound"]
        assert [each.get("LastDialedNumber") for each in seen] == ["2400", "2405", "2406", "9999"]
        assert {each.get("OriginalDialedNumber") for each in seen} == {"2400"}
        assert pbx.log.of(e.Rang)[-1].caller_id == "+3612222222"
        assert call.ring_seconds(pbx.clock.now()) == pytest.approx(1 + 15 + 2)

    journey(work)


@pytest.mark.parametrize("body", [b"", b"<Response/>", b"nonsense", b"<Response><Speak>no</Speak></Response>"])
def test_without_a_usable_route_the_dial_plan_decides(journey, body) -> None:
    async def work(pbx, app) -> None:
        app.add(Fixed(body))
        pbx.subscriptions.route = f"{app.url}/route"
        call = pbx.dial("2301", "2405")
        await pbx.wait_for_state(call, CallState.IN_CALL)
        assert call.callee == "2405"

    journey(work)


def test_an_empty_destination_turns_the_caller_away(journey) -> None:
    async def work(pbx, app) -> None:
        app.add(RoutingTable((Row(""),)))
        pbx.subscriptions.route = f"{app.url}/route"
        call = pbx.dial("2301", "2405")
        assert await pbx.wait_for_end(call) is CallState.BUSY
        assert pbx.log.of(e.Rang) == []

    journey(work)


def test_a_route_to_an_outside_line_dials_the_number_on_it(journey) -> None:
    async def work(pbx, app) -> None:
        app.add(RoutingTable((Row("Outside", dialled_on_line="+3617654321"),)))
        pbx.subscriptions.route = f"{app.url}/route"
        call = pbx.dial("2301", "90")
        await pbx.wait_for_state(call, CallState.IN_CALL)
        assert call.callee == "+3617654321"

    journey(work)


def test_an_app_that_routes_in_circles_does_not_keep_a_call_for_ever(journey) -> None:
    async def work(pbx, app) -> None:
        pbx.directory.set_phone(Phone(number="2405", busy=True))
        app.add(RoutingTable((Row("2405"),)))
        pbx.subscriptions.route = f"{app.url}/route"
        call = pbx.dial("2301", "2405")
        assert await pbx.wait_for_end(call) is CallState.BUSY
        assert len(app.notifications_seen()) == 12

    journey(work)


def test_a_click_to_call_asks_the_app_when_somebody_picks_up(journey) -> None:
    async def work(pbx, app) -> None:
        app.add(Fixed(b"<Response><Speak>Hello</Speak></Response>"), name="CallConnected")
        answer = await app.command("Call", Dialed="+36201234567", ApiExtension="5000", Url=f"{app.url}/c?order=7")
        assert (answer.code, answer.texts("CallId")) == (200, [])
        seen = await app.wait_for_notification("CallConnected")
        await pbx.log.wait(e.CallChanged, lambda event: event.state == "Completed")
        assert seen.target == "/c?order=7"
        assert [each.what for each in pbx.log.of(e.Heard)] == ["Hello"]

    journey(work)


@pytest.mark.parametrize("url", ["", "http://127.0.0.1:1/nobody"])
def test_a_call_whose_url_cannot_be_fetched_is_hung_up(journey, url) -> None:
    async def work(pbx, app) -> None:
        await app.command("Call", Dialed="+36201234567", Url=url)
        ended = await pbx.log.wait(e.CallChanged, lambda event: event.state == "Completed")
        assert pbx.core.calls.history[0].ended_by == "pbx"
        assert ended.callee == "+36201234567"

    journey(work)


def test_a_call_that_fails_is_told_at_the_error_address(journey) -> None:
    async def work(pbx, app) -> None:
        pbx.directory.set_phone(Phone(number="2405", busy=True))
        await app.command("Call", Dialed="2405", Url=f"{app.url}/c", ErrorUrl=f"{app.url}/e")
        seen = await app.wait_for_notification("Error")
        assert seen.get("X-Error") == "2405: Busy"
        assert app.notifications_seen("CallConnected") == []

    journey(work)


def test_a_pbx_that_waits_for_pickup_answers_402() -> None:
    async def work() -> None:
        clock = RealClock(speed=200)  # the client holds a virtual clock while it waits for its answer
        async with (
            asyncio.timeout(10),
            SimulatedPbx(clock=clock, call_waits_for_pickup=True) as pbx,
            SimulatedApp(clock=clock, pbx_url=pbx.url) as app,
        ):
            pbx.directory.set_phone(Phone(number="2405", busy=True))
            app.pbx_url = pbx.url
            answer = await app.command("Call", Dialed="2405", Url=f"{app.url}/c")
            assert (answer.code, answer.message) == (402, "Call connect to '2405' failed with result state 'Busy'")
            assert (await app.command("Call", Dialed="2406", Url=f"{app.url}/c")).code == 200

    asyncio.run(work())


def test_third_party_control_of_a_running_call(journey) -> None:
    async def work(pbx, app) -> None:
        call = pbx.dial("2301", "2405")
        await pbx.wait_for_state(call, CallState.RINGING)
        assert (await app.command("Forward", CallId=call.id, Destination="2406")).code == 200
        await pbx.wait_for_state(call, CallState.IN_CALL)
        assert call.callee == "2406"
        assert (await app.command("Forward", CallId=call.id, Destination="2405")).code == 303
        assert (await app.command("Hold", CallId=call.id)).code == 200
        assert (await app.command("Hold", CallId=call.id)).code == 303
        assert (await app.command("Unhold", CallId=call.id)).code == 200
        assert (await app.command("Play", CallId=call.id, Party="callee", AudioFile="a.wav")).code == 200
        assert (await app.command("Speak", CallId=call.id, Party="both", Text="x")).code == 302
        assert (await app.command("SendDTMF", CallId=call.id, Party="all", Keys="1#")).code == 200
        assert (await app.command("SendDTMF", CallId=call.id, Party="all", Keys="1x")).code == 302
        other = pbx.dial("1099", "2405")
        await pbx.wait_for_state(other, CallState.IN_CALL)
        joined = await app.command("AttendedTransfer", TransferredCallId=call.id, TargetCallId=other.id)
        assert joined.code == 200
        assert (call.state, other.state) == (CallState.TRANSFERRED, CallState.TRANSFERRED)
        await pbx.wait_for_state(call.continued, CallState.IN_CALL)
        assert (call.continued.caller, call.continued.callee) == ("2301", "2405")
        pbx.hang_up(call.continued)
        history = await app.command("GetCallHistory", RowsPerPage="2")
        assert history.texts("NumberOfCalls") == ["3"]
        assert history.texts("State") == ["CallerHungUp", "TransferCompleted"]
        assert (await app.command("GetCallHistory", State="TransferCompleted", Source="1099")).texts("Destination") == [
            "2405"
        ]
        assert (await app.command("GetCallHistory", PageNumber="x")).code == 302

    journey(work)


def test_a_recording_of_a_third_party_is_completed_when_the_call_ends(journey) -> None:
    async def work(pbx, app) -> None:
        call = pbx.dial("2301", "2405")
        await pbx.wait_for_state(call, CallState.IN_CALL)
        assert (await app.command("Record", CallId=call.id, FinishedURL=f"{app.url}/rec", Format="ogg")).code == 302
        assert (await app.command("Record", CallId=call.id, FinishedURL=f"{app.url}/rec", Format="wav")).code == 200
        pbx.hang_up(call)
        seen = await app.wait_for_notification("RecordCompleted")
        assert call.id in seen.get("RecordURL")

    journey(work)


def test_configurations_are_kept(journey) -> None:
    xml = "<Config><ID>2410</ID><Password>p&amp;q</Password><AuthorizationName>2410</AuthorizationName></Config>"
    escaped = xml.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    async def work(pbx, app) -> None:
        assert (await app.command("AddConfig", method="POST", ExtensionType="SIP", ConfigXML=escaped)).code == 200
        assert (await app.command("AddConfig", ExtensionType="SIP", ConfigXML=xml)).code == 703
        got = await app.command("GetConfig", ExtensionId="2410")
        assert (got.code, got.texts("Password"), got.texts("ID")) == (200, ["p&q"], ["2410"])
        assert got.body.index(b"<Config") < got.body.index(b"<Code>")
        changed = xml.replace("p&amp;q", "new")
        assert (await app.command("ModifyConfig", ExtensionType="SIP", ConfigXML=changed)).code == 200
        assert (await app.command("GetConfig", ExtensionId="2410")).texts("Password") == ["new"]
        assert (await app.command("ModifyConfig", ExtensionType="SIP", ConfigXML="<Config>")).code == 702
        assert "2410" in (await app.command("ListExtensions")).texts("Id")
        assert (await app.command("RemoveConfig", ExtensionId="2410")).code == 200
        assert (await app.command("RemoveConfig", ExtensionId="2410")).code == 701
        assert (await app.command("GetConfig", ExtensionId="2410")).code == 701

    journey(work)


def test_access_is_checked_by_address_and_by_group(journey) -> None:
    async def forbidden(pbx, app) -> None:
        assert (await app.command("ListExtensions")).code == 307

    async def no_group(pbx, app) -> None:
        app.username, app.password = "crm", "secret"
        assert (await app.command("ListExtensions")).code == 306

    journey(forbidden, allowed=[ip_network("10.0.0.0/8")])
    journey(forbidden, denied=[ip_network("127.0.0.1/32")])
    journey(no_group, users={"crm": "secret"}, acl=[])


def test_the_newer_generation_speaks_its_own_way(journey) -> None:
    async def work(pbx, app) -> None:
        assert pbx.url.endswith("/api")
        call = pbx.dial("2301", "2405")
        await pbx.wait_for_state(call, CallState.RINGING)
        listed = await app.command("ListActiveCalls")
        assert listed.texts("CalleeDialed") == ["2405"]
        assert listed.texts("RingDuration") == ["0.000"]
        assert (await app.command("ForwardCall", CallId=call.id, Destination="2406")).code == 200
        assert (await app.command("ListExtensions", Type="API")).texts("PhoneNumber") == ["5000"]
        said = "<Response><Speak>Inline</Speak></Response>"
        assert (await app.command("Call", Dialed="+36201234567", ResponseOzML=said)).code == 200
        await pbx.log.wait(e.Heard, lambda event: event.what == "Inline")
        asked = "<Request><OnSetup><Speak>Set up</Speak></OnSetup><OnError/></Request>"
        assert (await app.command("Request", DialedAddress="2406", RequestOzML=asked)).code == 200
        await pbx.log.wait(e.Heard, lambda event: event.what == "Set up")
        assert (await app.command("SendMessage", Recipient="a", Message="Hi")).texts("MessageId")
        assert (await app.command("ReceiveMessage")).texts("Text") == ["Hi"]
        assert (await app.command("ReceiveMessage")).texts("Text") == []

    journey(work, generation=Generation.OZEKI_10)


def test_a_full_pbx_takes_no_more_calls(journey) -> None:
    async def work(pbx, app) -> None:
        pbx.core.calls._most = 1
        pbx.dial("2301", "2405")
        assert pbx.dial("2301", "2406").state is CallState.ERROR
        assert (await app.command("Call", Dialed="2405", Url=app.url)).code == 402

    journey(work)


def test_the_log_is_bounded_and_says_what_it_dropped(journey) -> None:
    async def work(pbx, app) -> None:
        from interceptor.simulator.events import EventLog, Rang

        log = EventLog(pbx.clock, capacity=3)
        for number in range(5):
            log.append(Rang(at=0.0, call_id="", number=str(number), caller_id=""))
        assert [event.number for event in log.of(Rang)] == ["2", "3", "4"]
        assert (log.count, log.dropped) == (5, 2)
        assert [event.number for event in log.since(4)] == ["4"]
        log.keep(1)
        assert [event.number for event in log.of(Rang)] == ["4"]
        assert log.dropped == 4
        with pytest.raises(TimeoutError, match="no NotificationSent within"):
            await log.wait(e.NotificationSent, within_seconds=0.05)

    journey(work)
