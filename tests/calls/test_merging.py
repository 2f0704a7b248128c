"""Messages of one call at several workers: brought together they are what one worker would have seen."""

from hypothesis import given
from hypothesis import strategies as st

from interceptor.calls import Bounds, Calls, Cause, Sighting
from interceptor.calls.merging import merged
from interceptor.values import Kind
from tests.calls.conftest import Line
from tests.calls.test_properties import every, fed, sightings

UNBOUNDED = Bounds(open=1000, recent=1000, idle=1e9, setup=1e9)


@given(messages=sightings(), workers=st.lists(st.integers(0, 2), min_size=25, max_size=25))
def test_exact_joins_are_the_same_however_messages_are_spread(messages: list[Sighting], workers: list[int]) -> None:
    told = []
    for number, sighting in enumerate(messages):
        sighting.caller = sighting.dialled = ""  # nothing is inferred
        sighting.at += number * 0.0001
        if sighting.closing is not None:
            sighting.closing.at = max(sighting.closing.at, sighting.at) + 0.00001
        # Left out: what says nothing to a worker that has not seen the call it is about.
        if sighting.name not in {"", "Unheard"} and (sighting.kind is Kind.NOTIFICATION or sighting.name == "Call"):
            told.append(sighting)
    parts = [[each for each, at in zip(told, workers, strict=False) if at == worker] for worker in range(3)]
    together = merged([every(fed(part, UNBOUNDED)) for part in parts], UNBOUNDED)
    assert partition(together) == partition(every(fed(told, UNBOUNDED)))


def partition(calls: object) -> set[frozenset[str]]:
    return {frozenset(passage.sighting.exchange for passage in call.passages) for call in calls}  # type: ignore[attr-defined]


def test_a_routing_at_one_worker_and_the_ringing_at_another_are_one_call() -> None:
    here, there = Line(), Line()
    here.routed("+36301", "2301", exchange="a1")
    there.state("X", "Ringing", caller="+36301", dialled="2301", exchange="b1")
    (call,) = merged([list(here.calls.open), list(there.calls.open)], Bounds())
    assert (call.id, call.inferred) == ("X", 1)


def test_a_call_that_one_worker_has_whole_stays_as_it_is_there() -> None:
    here, there = Line(), Calls()
    here.state("X", "InCall")
    here.calls.missing(here.find("X"), here.now)
    (call,) = merged([list(here.calls.recent), list(there.open)], Bounds())
    assert call.cause is Cause.GONE
