"""Messages in, calls out: states, causes, legs, joins, and what is noted where something is missing."""

from collections.abc import Callable

from interceptor.calls import Cause, How, Said, State
from interceptor.calls.legs import legs_of
from interceptor.calls.matching import MOST_OTHERS
from interceptor.values import Verdict
from tests.calls.conftest import Line


def test_a_call_of_an_app_from_its_command_to_its_end(line: Line) -> None:
    asked = line.command("Call", caller="5000", dialled="+36201", revision="r1")
    assert line.find(asked).state is State.ROUTED
    line.told("CallConnected", call_id="X", origin=asked, app="crm")
    line.state("X", "Hold")
    line.state("X", "InCall")
    line.state("X", "Completed")
    call = line.find("X")
    assert (call.id, call.state, call.cause) == ("X", State.ENDED, Cause.COMPLETED)
    assert (call.caller, call.dialled, call.revision, call.endpoint) == ("5000", "+36201", "r1", "pbx:80")
    assert call.remarks == ()
    assert line.find(asked) is call
    assert line.calls.revision_of("X") == "r1"
    assert line.passages("X")[:2] == [("Call", How.FIRST), ("CallConnected", How.CALLBACK)]
    assert [(leg.side, leg.number, leg.cause) for leg in legs_of(call)] == [
        ("caller", "5000", "completed"),
        ("callee", "+36201", "completed"),
    ]


def test_a_caller_who_is_sent_elsewhere_and_talks_there(line: Line) -> None:
    line.routed("+36301", "2301", to="2301", app="switchboard")
    line.state("X", "Ringing", caller="+36301", dialled="2301")
    assert line.passages("X") == [("RoutingInterception", How.NUMBERS), ("CallChanged", How.FIRST)]
    line.pause(20)
    line.routed("+36301", "2301", to="2405", state="NoAnswer", last="2301")
    line.state("X", "Answered", caller="+36301", dialled="2405")
    call = line.find("X")
    assert call.state is State.CONNECTED
    assert [(leg.number, leg.state, leg.cause) for leg in legs_of(call)] == [
        ("+36301", State.CONNECTED, ""),
        ("2301", State.ENDED, "NoAnswer"),
        ("2405", State.CONNECTED, ""),
    ]
    assert call.remarks == ()


def test_a_refused_call_has_ended_at_once_and_says_by_which_rule(line: Line) -> None:
    refused = line.command("Call", code=306, verdict=Verdict.DENY, rule="premium-numbers", dialled="+3690")
    call = line.find(refused)
    assert (call.state, call.cause, call.why) == (State.ENDED, Cause.REFUSED, "premium-numbers")


def test_a_call_that_the_pbx_does_not_take_has_failed(line: Line) -> None:
    call = line.find(line.command("Call", code=401, dialled="+36201"))
    assert (call.cause, call.why) == (Cause.FAILED, "code 401")


def test_where_nobody_knows_whether_the_call_began_that_is_said(line: Line) -> None:
    asked = line.command("Call", code=904, dialled="+36201")
    assert line.find(asked).state is State.REQUESTED
    assert line.remarks(asked) == ["nobody knows whether Call was carried out (answered)"]


def test_call_connected_before_the_answer_to_call_is_noted(line: Line) -> None:
    asked = line.command("Call", code=None, dialled="+36201")
    line.told("CallConnected", call_id="X", origin=asked)
    line.close(asked, code=200)
    assert line.find("X").state is State.CONNECTED
    assert line.remarks("X") == ["CallConnected came before the answer to Call"]


def test_what_comes_late_twice_or_after_the_end_is_noted_and_moves_nothing(line: Line) -> None:
    line.state("X", "Ringing")
    line.state("X", "Answered")
    line.state("X", "Ringing")
    line.state("X", "InCall")
    line.state("X", "InCall")
    line.state("X", "Completed")
    line.state("X", "InCall")
    assert line.find("X").state is State.ENDED
    assert line.remarks("X") == [
        "CallChanged Ringing came when the call was already connected",
        "CallChanged InCall was told more than once",
        "CallChanged InCall came after the end of the call",
    ]


def test_a_call_whose_beginning_was_missed_says_so(line: Line) -> None:
    line.state("X", "InCall")
    assert line.remarks("X") == ["its beginning was not seen: the first message is CallChanged InCall"]


def test_a_call_without_an_end_is_closed_after_its_time(line_with: Callable[..., Line]) -> None:
    line = line_with(setup=60, idle=600)
    early = line.routed("1", "2")
    line.state("X", "InCall")
    line.pause(61)
    assert (line.find(early).cause, line.find("X").state) == (Cause.UNSEEN, State.CONNECTED)
    line.pause(600)
    assert line.find("X").cause is Cause.UNSEEN
    assert line.remarks("X")[-1] == "no end was seen: nothing was heard of it for 600 s"
    assert line.calls.open_count == 0


def test_a_call_that_was_given_up_goes_on_when_it_is_heard_of(line_with: Callable[..., Line]) -> None:
    line = line_with(idle=600)
    line.state("X", "InCall")
    line.pause(700)
    line.state("X", "Hold")
    assert line.find("X").state is State.HELD
    assert line.calls.open_count == 1
    assert line.remarks("X")[-1] == "the call goes on, although it had ended (no end seen)"


def test_a_call_that_is_heard_of_now_and_then_stays_open(line_with: Callable[..., Line]) -> None:
    line = line_with(idle=600)
    line.state("X", "InCall")
    for _ in range(5):
        line.pause(500)
        line.command("Speak", call_id="X")
    assert line.find("X").state is State.CONNECTED
    line.pause(601)
    assert line.find("X").state is State.ENDED


def test_commands_change_the_state_when_the_pbx_has_carried_them_out(line: Line) -> None:
    line.state("X", "InCall")
    states = []
    for name, code in (("Hold", 601), ("Hold", 200), ("Unhold", 200), ("BlindTransfer", 200), ("Hangup", 200)):
        if name == "Hold" and code == 601:
            continue
        line.command(name, call_id="X", code=code, target="1099" if name == "BlindTransfer" else "")
        states.append(line.find("X").state.value)
    assert states == ["held", "connected", "transferring", "ended"]
    call = line.find("X")
    assert (call.cause, call.why) == (Cause.HUNG_UP, "by crm")
    assert [(leg.side, leg.number) for leg in legs_of(call)] == [("target", "1099")]
    line.state("X", "Completed")
    assert (line.find("X").cause, line.remarks("X")[1:]) == (Cause.COMPLETED, [])


def test_the_pbx_not_knowing_a_call_ends_it_as_gone(line: Line) -> None:
    line.state("X", "InCall")
    line.command("Hangup", call_id="X", code=601)
    assert line.find("X").cause is Cause.GONE


def test_a_command_makes_a_call_of_an_unknown_id_only_with_the_pbxs_word(line: Line) -> None:
    line.command("Hold", call_id="forged", code=601)
    line.command("Hold", call_id="refused", code=306, verdict=Verdict.DENY)
    assert [line.calls.find("forged"), line.calls.find("refused")] == [None, None]
    line.command("Hold", call_id="X")
    assert line.find("X").state is State.HELD


def test_an_attended_transfer_stands_in_both_calls(line: Line) -> None:
    line.state("X", "InCall")
    line.state("Y", "InCall")
    line.command("AttendedTransfer", call_id="X", other_id="Y")
    for name in ("X", "Y"):
        assert line.find(name).state is State.TRANSFERRING
        assert line.find(name).ids == (name,)
        assert line.passages(name)[-1] == ("AttendedTransfer", How.CALL_ID)


def test_a_transferred_call_that_goes_on_is_open_again(line: Line) -> None:
    line.state("X", "InCall")
    line.state("X", "Transferred")
    assert line.find("X").cause is Cause.TRANSFERRED
    line.state("X", "InCall")
    assert line.find("X").state is State.CONNECTED


def test_a_menu_is_followed_by_its_callbacks_alone(line: Line) -> None:
    first = line.told("IncomingCall", call_id="X", caller="+36301", dialled="5000", answered=("UserInput",))
    assert line.find("X").state is State.CONNECTED
    second = line.told("DtmfEntered", origin=first, answered=("Speak", "UserInput"))
    line.told("GoTo", origin=second, answered=("BlindTransfer",), said=(Said("BlindTransfer", Verdict.ALLOW, "1099"),))
    assert [name for name, _ in line.passages("X")] == ["IncomingCall", "DtmfEntered", "GoTo"]
    assert {how for _, how in line.passages("X")[1:]} == {How.CALLBACK}
    assert line.find("X").state is State.TRANSFERRING
    assert legs_of(line.find("X"))[-1].number == "1099"


def test_what_a_menu_may_lead_to_is_not_taken_for_done(line: Line) -> None:
    said = (Said("BlindTransfer", Verdict.ALLOW, "1099", menu="9"),)
    line.told("IncomingCall", call_id="X", caller="+36301", dialled="5000", answered=("UserInput",), said=said)
    assert line.find("X").state is State.CONNECTED
    assert [leg.number for leg in legs_of(line.find("X"))] == ["+36301", "5000"]


def test_an_app_that_rejects_a_call_ends_it(line: Line) -> None:
    line.told("IncomingCall", call_id="X", answered=("Reject",))
    assert line.find("X").cause is Cause.REJECTED
    to_nowhere = line.told("RoutingInterception", caller="1", dialled="2", state="Calling", answered=("Route",))
    assert line.find(to_nowhere).cause is Cause.REJECTED


def test_a_failed_attempt_after_which_the_app_names_no_way_ends_the_call(line: Line) -> None:
    first = line.routed("+36301", "2301", to="2405")
    line.pause(20)
    line.told("RoutingInterception", caller="+36301", dialled="2301", state="Busy", last="2405")
    call = line.find(first)
    assert (call.state, call.cause, call.why) == (State.ENDED, Cause.UNANSWERED, "Busy at 2405")
    assert [(leg.number, leg.cause) for leg in legs_of(call)] == [
        ("+36301", "unanswered"),
        ("2301", "went elsewhere"),
        ("2405", "Busy"),
    ]
    assert (line.calls.open_count, call.remarks) == (0, ())


def test_a_caller_who_tries_again_after_that_has_a_new_call(line: Line) -> None:
    before = line.routed("+36301", "2301", to="2405")
    line.told("RoutingInterception", caller="+36301", dialled="2301", state="Busy", last="2405")
    again = line.routed("+36301", "2301", to="2405")
    line.told("IncomingCall", call_id="X", caller="+36301", dialled="2301")
    assert line.find("X") is line.find(again)
    assert line.find(again) is not line.find(before)
    line.told("RoutingInterception", caller="+36301", dialled="2301", state="NoAnswer", last="2405")
    assert (line.calls.counts.ambiguous, line.find(before).cause) == (0, Cause.UNANSWERED)


def test_a_call_goes_on_where_the_dial_plan_led_it_on_after_a_failed_attempt(line: Line) -> None:
    first = line.routed("+36301", "2301", to="2405")
    line.told("RoutingInterception", caller="+36301", dialled="2301", state="Busy", last="2405")
    line.told("IncomingCall", call_id="X", caller="+36301", dialled="2301")
    call = line.find("X")
    assert (call, call.state) == (line.find(first), State.CONNECTED)
    assert line.remarks("X") == ["the call goes on, although it had ended (unanswered)"]
    assert line.calls.open_count == 1
    line.state("X", "Busy")
    assert line.find("X").cause is Cause.BUSY


def test_what_the_pbx_tells_of_an_unanswered_call_later_counts(line: Line) -> None:
    first = line.routed("+36301", "2301", to="2405")
    line.told("RoutingInterception", caller="+36301", dialled="2301", state="Busy", last="2405")
    line.state("X", "Busy", caller="+36301", dialled="2301")
    assert (line.find(first), line.find("X").cause) == (line.find("X"), Cause.BUSY)
    line.told("IncomingCall", call_id="Y", caller="+36301", dialled="2301")  # another: that one has its id and its end
    assert (line.find("Y").ids, line.find("X").ids) == (("Y",), ("X",))


def test_a_call_out_of_an_answer_is_a_child_of_its_call(line: Line) -> None:
    menu = line.told("IncomingCall", call_id="X")
    line.told("CallConnected", call_id="Y", origin=menu)
    assert (line.find("Y").parent, line.find("X").children) == ("X", ("Y",))
    line.state("Z", "Ringing")
    line.told("CallConnected", call_id="Z", origin=menu)
    assert (line.find("Z").parent, line.find("X").children) == ("X", ("Y", "Z"))


def test_a_text_message_out_of_a_call_belongs_to_it_and_others_do_not(line: Line) -> None:
    menu = line.told("IncomingCall", call_id="X")
    inside = line.told("SMSDeliveryReport", origin=menu)
    outside = line.told("SMSDeliveryReport", origin="e999")
    assert line.find(inside) is line.find("X")
    assert line.calls.find(outside) is None


def test_two_calls_of_one_pair_at_once_are_not_joined_by_numbers(line: Line) -> None:
    first = line.routed("+36301", "2301")
    second = line.routed("+36301", "2301")
    line.state("X", "Ringing", caller="+36301", dialled="2301")
    line.state("Y", "Ringing", caller="+36301", dialled="2301")
    assert [line.find(name).ids for name in (first, second)] == [(), ()]
    assert line.remarks("X") == ["its numbers and its time fit several calls: none was joined"]
    assert line.calls.counts.ambiguous >= 2


def test_one_routing_for_two_calls_that_ring_is_given_to_none(line: Line) -> None:
    line.state("X", "Ringing", caller="+36301", dialled="2301")
    line.state("Y", "Ringing", caller="+36301", dialled="2301")
    late = line.routed("+36301", "2301")
    assert line.find(late).ids == ()


def test_a_routing_that_comes_after_the_ringing_is_joined_all_the_same(line: Line) -> None:
    line.state("X", "Ringing", caller="+36301", dialled="2301")
    line.routed("+36301", "2301")
    assert [name for name, _ in line.passages("X")] == ["CallChanged", "RoutingInterception"]
    assert line.remarks("X")[-1] == "RoutingInterception Calling came when the call was already ringing"


def test_what_is_too_far_apart_is_not_joined(line: Line) -> None:
    first = line.routed("+36301", "2301")
    line.pause(4)
    line.state("X", "Ringing", caller="+36301", dialled="2301")
    assert line.find(first) is not line.find("X")
    assert line.calls.counts.ambiguous == 0


def test_a_call_that_is_busy_at_once_has_its_beginning_whichever_message_comes_first(line: Line) -> None:
    asked = line.routed("+36301", "2301", revision="r1")
    line.state("X", "Busy", caller="+36301", dialled="2301")
    assert line.find(asked) is line.find("X")
    assert (line.find("X").cause, line.find("X").revision) == (Cause.BUSY, "r1")
    assert line.passages("X") == [("RoutingInterception", How.NUMBERS), ("CallChanged", How.FIRST)]
    assert list(line.calls.open) == []


def test_a_message_that_is_older_than_an_answer_is_joined_though_it_ends_its_call(line: Line) -> None:
    asked = line.routed("+36301", "2301")
    line.state("X", "Busy", caller="+36301", dialled="2301", at=line.now - 0.005)
    assert line.find(asked) is line.find("X")
    assert line.find("X").cause is Cause.BUSY
    assert "its beginning was not seen" not in str(line.remarks("X"))
    assert list(line.calls.open) == []


def test_of_two_beginnings_a_call_that_is_busy_at_once_gets_none_and_says_so(line: Line) -> None:
    both = [line.routed("+36301", "2301") for _ in range(2)]
    line.state("X", "Busy", caller="+36301", dialled="2301")
    assert [line.find(name).ids for name in both] == [(), ()]
    assert "its numbers and its time fit several calls: none was joined" in line.remarks("X")


def test_a_routing_after_the_end_of_a_call_is_the_next_calls(line: Line) -> None:
    line.state("X", "Busy", caller="+36301", dialled="2301")
    again = line.routed("+36301", "2301")
    line.state("X", "Busy", caller="+36301", dialled="2301")
    line.state("Y", "Ringing", caller="+36301", dialled="2301")
    assert line.find(again) is line.find("Y")
    assert line.passages("X") == [("CallChanged", How.FIRST), ("CallChanged", How.CALL_ID)]


def test_a_routing_is_joined_to_a_command_by_what_was_dialled_not_by_where_it_goes_by_now(line: Line) -> None:
    asked = line.command("Call", caller="5000", dialled="+36201")
    line.told("CallChanged", state="Ringing", origin=asked, dialled="2301")
    other = line.routed("5000", "2301")
    assert line.find(other) is not line.find(asked)
    assert line.remarks(other) == []


def test_of_sixteen_other_calls_between_the_same_numbers_the_right_one_is_found_of_more_none(line: Line) -> None:
    def ask() -> bool:
        asked = line.command("Call", caller="5000", dialled="+36201", at=1000.0, code=None)
        routed = line.told("RoutingInterception", caller="5000", dialled="+36201", at=1000.0, outcome="")
        return line.find(asked) is line.find(routed)

    assert [ask() for _ in range(MOST_OTHERS + 1)] == [True] * (MOST_OTHERS + 1)
    assert not ask()


def test_a_flood_between_the_same_numbers_costs_each_message_the_same(line: Line) -> None:
    for _ in range(3000):
        line.command("Call", caller="5000", dialled="+36201", at=line.now)
        line.now -= 0.109
    assert line.calls.counts.inferred == 0
    assert line.calls.counts.ambiguous == 0
    line.routed("5000", "+36201")
    assert line.calls.counts.inferred == 0


def test_hidden_names_are_not_taken_for_equal(line: Line) -> None:
    first = line.routed("***", "2301")
    line.state("X", "Ringing", caller="***", dialled="2301")
    assert line.find(first) is not line.find("X")


def test_an_inferred_join_is_confirmed_by_the_callback(line: Line) -> None:
    asked = line.command("Call", caller="5000", dialled="+36201")
    line.routed("5000", "+36201")
    line.state("X", "Ringing", caller="5000", dialled="+36201")
    assert [how for _, how in line.passages("X")] == [How.NUMBERS, How.NUMBERS, How.FIRST]
    line.told("CallConnected", call_id="X", origin=asked)
    assert [how for _, how in line.passages("X")] == [How.CALLBACK, How.NUMBERS, How.FIRST, How.CALL_ID]


def test_an_inferred_join_is_taken_back_when_the_callback_says_otherwise(line: Line) -> None:
    asked = line.command("Call", caller="5000", dialled="+36201")
    line.state("X", "Ringing", caller="5000", dialled="+36201")
    assert line.find(asked) is line.find("X")
    line.told("CallConnected", call_id="Y", origin=asked)
    assert line.find(asked) is line.find("Y")
    assert line.passages("X") == [("CallChanged", How.FIRST)]
    assert line.passages("Y") == [("Call", How.FIRST), ("CallConnected", How.CALLBACK)]
    assert line.calls.counts.refuted == 1
    assert line.find("Y").parent == ""


def test_a_join_to_the_wrong_command_is_taken_back_too(line: Line) -> None:
    asked = line.command("Call", caller="5000", dialled="+36201")
    line.pause(20)
    wrong = line.command("Call", caller="5000", dialled="+36201")
    line.state("X", "Ringing", caller="5000", dialled="+36201")
    assert line.find(wrong) is line.find("X")
    line.told("CallConnected", call_id="X", origin=asked)
    assert line.find(asked) is line.find("X")
    assert line.find(wrong).ids == ()


def test_an_id_that_rings_again_long_after_its_call_is_another_call(line: Line) -> None:
    line.state("X", "Ringing")
    line.state("X", "Completed")
    line.pause(30)
    line.told("RecordCompleted", call_id="X")
    assert len(line.find("X").passages) == 3
    line.pause(120)
    line.state("X", "Ringing")
    assert len(line.find("X").passages) == 1


def test_open_and_ended_calls_and_their_messages_are_bounded(line_with: Callable[..., Line]) -> None:
    line = line_with(open=10, recent=5, passages=25)
    for number in range(40):
        line.state(f"c{number}", "InCall")
    assert (line.calls.open_count, len(list(line.calls.recent))) == (10, 5)
    assert [call.cause for call in line.calls.recent] == [Cause.CROWDED] * 5
    assert line.calls.find("c0") is None
    for number in range(60):
        line.told("DtmfEntered", call_id="c39", exchange=f"key{number}")
    call = line.find("c39")
    assert (len(call.passages), call.dropped) == (25, 36)
    assert line.calls.find("key0") is call
    assert line.calls.find("key30") is None
    assert line.calls.find("key59") is call
    assert line.calls.counts.crowded == 30


def test_a_call_without_its_id_is_found_by_the_exchange_its_callback_came_from(line: Line) -> None:
    line.told("CallConnected", origin="elsewhere")
    line.told("DtmfEntered", origin="elsewhere")
    call = line.find("elsewhere")
    assert [passage.sighting.name for passage in call.passages] == ["CallConnected", "DtmfEntered"]
    line.command("Call", exchange="elsewhere", dialled="+36201", at=line.now - 5)
    assert line.passages("elsewhere")[0][0] == "Call"
    assert line.calls.open_count == 1


def test_newest_lists_open_calls_before_those_that_ended(line: Line) -> None:
    for number in range(4):
        line.state(f"c{number}", "InCall")
    line.state("c0", "Completed")
    line.state("c2", "Completed")
    assert [call.id for call in line.calls.newest(2)] == ["c3", "c1", "c2", "c0"]
    assert [call.id for call in line.calls.newest(1)] == ["c3", "c2"]
