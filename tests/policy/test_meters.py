"""The meters of limits: what they let through, what they forget, what several processes do to them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.policy.meters import GRANTED, REFUSED, WAYS, Meter, Meters, table_size

SECOND = 10**9
NOW = 1_800_000_000.0
FIVE = Meter(b"five", SECOND // 5, 10)
THREE = Meter(b"three", concurrency=3)


def granted(meters, meter, times, key=("crm",)):
    return [meters.take(meter, key, at) != REFUSED for at in times]


def test_a_burst_passes_and_then_the_rate():
    meters = Meters()
    assert granted(meters, FIVE, [NOW] * 11) == [True] * 10 + [False]
    assert granted(meters, FIVE, [NOW + 0.19, NOW + 0.2, NOW + 0.21, NOW + 0.4]) == [False, True, False, True]
    assert granted(meters, FIVE, [NOW + 60] * 11) == [True] * 10 + [False]


def test_keys_and_limits_have_meters_of_their_own():
    meters = Meters()
    one = Meter(b"one", SECOND, 1)
    assert granted(meters, one, [NOW, NOW]) == [True, False]
    assert granted(meters, one, [NOW], ("marketing",)) == [True]
    assert granted(meters, Meter(b"another", SECOND, 1), [NOW]) == [True]
    assert granted(meters, one, [NOW], ("a", "b,c")) == [True]
    assert granted(meters, one, [NOW], ("a,b", "c")) == [True]
    assert granted(meters, one, [NOW], ("\ud800",)) == [True]


@given(
    st.integers(1, 5),
    st.integers(1, 8),
    st.lists(st.integers(0, 4_000), max_size=60),
)
def test_it_is_a_token_bucket(rate, burst, gaps):
    meters = Meters(bytearray(table_size(1, WAYS)))
    meter = Meter(b"it", SECOND // rate, burst)
    millis, tokens, last = 0, burst * meter.interval, 0  # tokens in nanoseconds of refilling
    for gap in gaps:
        millis += gap
        tokens = min(burst * meter.interval, tokens + (millis - last) * 1_000_000)
        last = millis
        expected = tokens >= meter.interval
        tokens -= meter.interval if expected else 0
        at = 1_000_000 + millis / 1000  # a Unix time that a float holds to a hundredth of a microsecond
        close = abs(tokens % meter.interval) < 1000 or abs(tokens % meter.interval) > meter.interval - 1000
        got = meters.take(meter, (), at) == GRANTED
        if not close:
            assert got == expected
        elif got != expected:
            return  # on the edge, to the microsecond: the two may differ from here on


def test_what_is_refused_takes_nothing():
    meters = Meters()
    both = Meter(b"both", SECOND, 5, 1)
    slot = meters.take(both, (), NOW)
    assert slot > GRANTED
    assert granted(meters, both, [NOW] * 50, ()) == [False] * 50
    meters.give_back(slot)
    assert meters.take(both, (), NOW) > GRANTED


def test_a_clock_that_goes_back_empties_a_bucket_and_shuts_nobody_out():
    meters = Meters()
    assert granted(meters, FIVE, [NOW])
    assert granted(meters, FIVE, [NOW - 3600] * 2) == [False, False]
    assert granted(meters, FIVE, [NOW - 3600 + 0.2, NOW - 3600 + 0.2]) == [True, False]


def test_slots_are_taken_and_given_back_once():
    meters = Meters()
    slots = [meters.take(THREE, (), NOW) for _ in range(4)]
    assert slots == [1, 2, 3, REFUSED]
    meters.give_back(2)
    meters.give_back(2)
    assert [meters.take(THREE, (), NOW) for _ in range(2)] == [4, REFUSED]


def test_slots_taken_after_one_are_given_back_together():
    meters = Meters()
    first = meters.take(THREE, (), NOW)
    meters.take(THREE, (), NOW)
    meters.take(THREE, ("x",), NOW)
    meters.give_back_after(first)
    assert [meters.take(THREE, (), NOW) > GRANTED for _ in range(3)] == [True, True, False]


def test_a_slot_that_is_never_given_back_is_free_when_its_time_is_over():
    lost = []
    meters = Meters(hold_seconds=60, lost=lost.append)
    slots = [meters.take(THREE, (), NOW + second) for second in range(3)]
    assert meters.take(THREE, (), NOW + 59.9) == REFUSED
    assert meters.take(THREE, (), NOW + 60) > GRANTED
    meters.give_back(slots[0])
    assert meters.take(THREE, (), NOW + 60) == REFUSED
    assert lost == ["expired"]


def test_a_full_bucket_makes_room_and_an_emptier_one_is_forgotten_last():
    lost = []
    meters = Meters(bytearray(table_size(1, WAYS)), lost=lost.append)
    slow = Meter(b"slow", SECOND, 4)
    for number in range(WAYS):
        for _ in range(1 if number == 7 else 3):
            meters.take(slow, (str(number),), NOW)
    assert granted(meters, slow, [NOW], ("new",)) == [True]
    assert lost == ["forgotten"]
    assert granted(meters, slow, [NOW] * 2, ("8",)) == [True, False]
    assert lost == ["forgotten"]
    assert granted(meters, slow, [NOW + 10] * 5, ("other",)) == [True] * 4 + [False]
    assert lost == ["forgotten"]


def test_without_room_a_message_is_over_the_limit():
    lost = []
    meters = Meters(bytearray(table_size(1, WAYS)), lost=lost.append)
    for number in range(WAYS):
        assert meters.take(THREE, (str(number),), NOW) > GRANTED
    assert meters.take(FIVE, (), NOW) == REFUSED
    assert lost == ["full"]
    meters.give_back(1)
    assert meters.take(FIVE, (), NOW) == GRANTED


@given(st.lists(st.integers(0, 500)))
def test_memory_is_bounded_whatever_the_keys(keys):
    table = bytearray(table_size(1, WAYS * 2))
    meters = Meters(table)
    for key in keys:
        assert meters.take(FIVE, (str(key),), NOW) in {GRANTED, REFUSED}
    assert len(table) == table_size(1, WAYS * 2)


@pytest.mark.parametrize("workers", [1, 2, 3, 8])
def test_workers_count_together_and_a_lost_one_leaves_nothing(workers):
    table = bytearray(table_size(workers))
    each = [Meters(table, workers=workers, worker=worker) for worker in range(workers)]
    four = Meter(b"four", concurrency=4 * workers)
    for meters in each:
        assert granted(meters, four, [NOW] * 4) == [True] * 4
    assert granted(each[0], four, [NOW]) == [False]
    assert sum(granted(each[number % workers], FIVE, [NOW])[0] for number in range(20)) == 10
    again = Meters(table, workers=workers, worker=workers - 1)
    again.clear_worker()
    assert granted(again, four, [NOW] * 5) == [True] * 4 + [False]


@given(st.binary(min_size=table_size(2, WAYS), max_size=table_size(2, WAYS)))
def test_a_spoilt_table_heals(garbage):
    table = bytearray(garbage)
    meters, other = (Meters(table, workers=2, worker=worker) for worker in (0, 1))
    meters.clear_worker()
    other.clear_worker()
    meters.take(FIVE, (), NOW)
    assert meters.take(FIVE, (), NOW + 3) == GRANTED
