"""How endpoints are, as several workers share it: in memory of the test, by a clock of the test."""

from hypothesis import given
from hypothesis import strategies as st

from interceptor.gateway.health import Health, health_bytes

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
    clock.now += PERIOD
    assert health.may_check(PERIOD)
    for touch in (health.succeeded, health.check_succeeded, lambda: health.stays_out("x")):
        touch()
    health.comes_back()
    assert not health.out
    assert not health.failed("timeout", PAUSE)
