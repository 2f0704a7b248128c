"""A call that goes round in circles is taken off the app."""

from interceptor.exchanges import NO_OPINION, Answer, Fault, Forward
from interceptor.pipeline import Pipeline
from interceptor.settings import Limits
from interceptor.storms import KEPT, WINDOW_SECONDS, Storms
from tests.pipeline.conftest import make, notification, site

GOTO = b"NotificationName=GoTo&CallId=abc"
ROUTING = b"NotificationName=RoutingInterception&CallerID=1&OriginalDialedNumber=2"


def build(hops: int = 3) -> Pipeline:
    return make(site(limits=Limits(hops=hops)))


def passes(built: Pipeline, body: bytes, at: float = 1_800_000_000.0) -> bool:
    return isinstance(built.begin(notification(body, at=at)).plan, Forward)


def test_a_call_that_goes_round_in_circles_is_taken_off_the_app():
    built = build()
    assert [passes(built, GOTO) for _ in range(3)] == [True] * 3
    opened = built.begin(notification(GOTO))
    assert isinstance(opened.plan, Answer)
    settled = built.settle_answer(opened, opened.plan)
    assert (settled.outcome, settled.fault, opened.decision.reason) == ("fallback", Fault.STORM, "storm")
    assert passes(built, b"NotificationName=GoTo&CallId=other")


def test_routing_that_is_asked_again_and_again_is_left_to_the_dial_plan():
    built = build(1)
    assert [passes(built, ROUTING), passes(built, ROUTING)] == [True, False]
    opened = built.begin(notification(ROUTING))
    assert isinstance(opened.plan, Answer)
    settled = built.settle_answer(opened, opened.plan)
    assert settled.answer is not None
    assert (settled.outcome, settled.answer.body) == ("dial_plan", NO_OPINION)


def test_callers_who_hide_their_numbers_are_no_storm_because_they_call_all_day():
    built = build(3)
    hidden = b"NotificationName=RoutingInterception&CallerID=anonymous&OriginalDialedNumber=2"
    one_every_half_minute = [1_800_000_000.0 + 30 * number for number in range(50)]
    assert all(passes(built, hidden, at) for at in one_every_half_minute)
    many_at_once = [1_800_010_000.0 + number for number in range(5)]
    assert [passes(built, hidden, at) for at in many_at_once] == [True, True, True, False, False]
    assert passes(built, hidden, 1_800_010_000.5 + WINDOW_SECONDS)


def test_a_key_or_a_rest_begins_anew():
    built = build(2)
    pressed = b"NotificationName=DtmfEntered&CallId=abc&DtmfDigits=1"
    assert [passes(built, body) for body in (GOTO, GOTO, pressed, GOTO, GOTO)] == [True, True, True, True, False]
    assert passes(built, GOTO, 1_800_000_000.5 + WINDOW_SECONDS)


def test_a_timeout_of_a_menu_is_no_key():
    built = build(1)
    quiet = b"NotificationName=DtmfEntered&CallId=abc&DtmfDigits="
    assert [passes(built, quiet), passes(built, quiet)] == [True, False]


def test_reports_are_never_a_storm_and_0_means_any_number():
    built = build(1)
    assert [passes(built, b"NotificationName=CallChanged&CallId=abc") for _ in range(3)] == [True] * 3
    assert [passes(build(0), GOTO) for _ in range(3)] == [True] * 3


def test_the_table_is_bounded_and_calls_that_ask_often_stay_in_it():
    storms = Storms(2)
    for number in range(3 * KEPT):
        storms.is_too_much({"callid": str(number)}, 5.0)
        often = storms.is_too_much({"callid": "often"}, 5.0)
    assert often
    assert len(storms._young) + len(storms._old) <= KEPT
