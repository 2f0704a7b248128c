"""How endpoints are, as several workers share it: in memory of the test, by a clock of the test."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from interceptor.exchanges import Fault
from interceptor.gateway.clusters import Endpoint
from interceptor.gateway.health import Health, health_bytes
from interceptor.gateway.upstream import Errand
from interceptor.settings import Cluster, Deadlines, Url

PAUSE = 5.0
PERIOD = 10.0


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def workers(limit: int = 3, count: int = 2) -> tuple[list[Health], Clock]:
    """The same endpoint, the second of two, as each worker has it."""
    memory, clock = bytearray(health_bytes(2)), Clock()
    return [Health(limit, 1, memory, clock=clock) for _ in range(count)], clock


def test_failures_in_a_row_count_over_all_workers() -> None:
    (one, other), _ = workers()
    assert [one.failed("timeout", PAUSE), other.failed("reset", PAUSE), one.failed("connect", PAUSE)] == [
        False,
        False,
        True,
    ]
    assert (one.out, other.out) == (True, True)
    assert other.why == "connect"
    assert not other.failed("timeout", PAUSE)  # it is out already


def test_an_answer_that_any_worker_gets_begins_anew() -> None:
    (one, other), _ = workers()
    for _ in range(3):
        one.failed("timeout", PAUSE)
        one.failed("timeout", PAUSE)
        other.succeeded()
    assert not one.out


def test_checks_count_apart_from_commands() -> None:
    (one, other), _ = workers()
    one.failed("timeout", PAUSE)
    one.failed("timeout", PAUSE)
    other.check_failed("reset", PAUSE)
    other.check_failed("reset", PAUSE)
    one.check_succeeded()
    assert not one.check_failed("reset", PAUSE)
    assert one.failed("timeout", PAUSE)


def test_an_answer_to_a_command_does_not_excuse_failed_checks() -> None:
    (one, other), _ = workers()
    one.check_failed("reset", PAUSE)
    one.check_failed("reset", PAUSE)
    other.succeeded()
    assert one.check_failed("reset", PAUSE)


def test_one_worker_asks_in_each_pause_and_its_answer_counts_for_all() -> None:
    (one, other), clock = workers(limit=1)
    assert one.failed("timeout", PAUSE)
    assert one.wait_to_ask(PAUSE) == other.wait_to_ask(PAUSE) == PAUSE
    clock.now += PAUSE
    assert (other.wait_to_ask(PAUSE), one.wait_to_ask(PAUSE)) == (0.0, PAUSE)
    other.stays_out("refuses us with code 305")
    assert one.why == "refuses us with code 305"
    clock.now += PAUSE  # who asked has not come back: the other one asks
    assert one.wait_to_ask(PAUSE) == 0.0
    one.comes_back()
    assert (other.out, other.why) == (False, "")
    assert other.failed("timeout", PAUSE)  # the count has begun anew, and its limit is one


def test_one_worker_checks_in_each_period() -> None:
    (one, other), clock = workers()
    assert [one.may_check(PERIOD), other.may_check(PERIOD)] == [True, False]
    clock.now += PERIOD / 2
    assert not other.may_check(PERIOD)
    clock.now += PERIOD / 2 - 0.002  # a timer that came a little early
    assert [one.may_check(PERIOD), other.may_check(PERIOD)] == [True, False]
    clock.now += PERIOD * 1.5  # the one that checked is gone
    assert other.may_check(PERIOD)


def test_a_turn_that_came_to_nothing_is_the_next_workers() -> None:
    (one, other), _ = workers()
    assert one.may_check(PERIOD)
    one.was_not_checked()
    assert other.may_check(PERIOD)


class Line:
    """A pool that keeps what it is to send, and the loop that it is sent on."""

    def __init__(self) -> None:
        self.asked: list[Errand] = []
        self.timers: list[tuple[float, Callable[..., None], tuple[object, ...]]] = []

    def send(self, errand: Errand, *_: object) -> None:
        self.asked.append(errand)

    def close(self) -> None: ...

    def call_later(self, seconds: float, then: Callable[..., None], *arguments: object) -> SimpleNamespace:
        timer = (seconds, then, arguments)
        self.timers.append(timer)
        return SimpleNamespace(cancel=lambda: timer in self.timers and self.timers.remove(timer))

    def run(self) -> None:
        """Let every timer come that is set now."""
        timers, self.timers = self.timers, []
        for _, then, arguments in timers:
            then(*arguments)


def endpoint(health: Health, **changes: Any) -> tuple[Endpoint, Line]:
    cluster = Cluster("pbx", (Url("10.0.0.1", 7780, "/"),), failures_to_open=1, retry_after=PAUSE, **changes)
    line: Any = Line()

    def nothing(*_: object) -> None: ...

    return Endpoint(cluster.endpoints[0], cluster, line, health, Deadlines(1, 1), line, nothing, nothing), line


def test_whoever_looks_at_an_endpoint_that_is_out_has_it_asked_but_never_twice_at_a_time() -> None:
    (one, other), clock = workers(limit=1)
    first, line = endpoint(one)
    second, others = endpoint(other)
    first.failed("connect", "away")
    line.timers.clear()  # the worker that took it out has died
    clock.now += PAUSE
    for _ in range(3):
        assert not second.up
        others.run()
    assert len(others.asked) == 1
    clock.now += 2 * PAUSE  # it hangs
    for _ in range(3):
        assert not second.up
        others.run()
    assert len(others.asked) == 1
    others.asked.pop().failed(Fault.TIMEOUT, sent=True)
    assert second.why == "upstream_timeout"
    clock.now += PAUSE
    others.run()
    assert len(others.asked) == 1


def test_a_check_that_hangs_is_not_followed_by_another() -> None:
    health = Health(1, clock=(clock := Clock()))
    checked, line = endpoint(health, check_every=PERIOD)
    checked.start_checks()
    for _ in range(3):
        clock.now += PERIOD
        line.run()
    assert len(line.asked) == 1
    line.asked.pop().failed(Fault.OVERLOADED, sent=False)  # our own queue was full: that was no check
    line.run()
    assert len(line.asked) == 1


def test_what_our_own_end_cuts_off_says_nothing_about_an_endpoint() -> None:
    health = Health(1)
    ending, line = endpoint(health, check_every=PERIOD)
    ending.start_checks()
    ending.retire()
    ending.failed("reset", "upstream_broken")
    line.asked.pop().failed(Fault.BROKEN, sent=True)
    line.run()
    assert not health.out
    assert not line.asked


def test_a_worker_that_begins_anew_has_an_endpoint_asked_that_is_out() -> None:
    health = Health(1, clock=(clock := Clock()))
    health.failed("connect", PAUSE)
    clock.now += PAUSE
    begun, line = endpoint(health)
    begun.start_checks()
    line.run()
    assert len(line.asked) == 1


def test_endpoints_do_not_touch_each_other() -> None:
    memory = bytearray(health_bytes(3))
    first, second, third = (Health(1, number, memory) for number in range(3))
    second.failed("x" * 1000, PAUSE)
    assert (first.out, second.out, third.out) == (False, True, False)
    assert second.why == "x" * 120


def test_a_reason_that_is_cut_in_the_middle_of_a_letter_is_still_told() -> None:
    health = Health(1)
    health.failed("x" + "ő" * 60, PAUSE)
    assert health.why == "x" + "ő" * 59


@given(st.binary(min_size=health_bytes(1), max_size=health_bytes(1)), st.floats(min_value=0, max_value=1e9))
def test_a_spoiled_row_keeps_nobody_waiting_for_longer_than_a_pause_and_heals(row: bytes, now: float) -> None:
    clock = Clock()
    clock.now = now
    health = Health(3, 0, bytearray(row), clock=clock)
    assert isinstance(health.why, str)
    assert 0 <= health.wait_to_ask(PAUSE) <= PAUSE
    first = health.may_check(PERIOD)
    clock.now += PERIOD * 0.95
    assert first or health.may_check(PERIOD)
    for touch in (health.succeeded, health.check_succeeded, lambda: health.stays_out("x")):
        touch()
    health.comes_back()
    assert not health.out
    assert not health.failed("timeout", PAUSE)
