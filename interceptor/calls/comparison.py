"""What the PBX says of its calls, held against what we know: its answer to ListActiveCalls.

A call that the PBX has and we do not know has never passed us, or began before us. A call that we hold and the PBX does
not list has ended without our knowing. Both are believed when two answers in a row say so, since messages cross.
"""

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from interceptor.calls.call import Call
from interceptor.calls.fold import Calls

GRACE_SECONDS: Final = 5.0  # what began or changed so shortly before the question may not be in the answer
SHOWN: Final = 100  # calls that are told one by one


class Listed(Struct, frozen=True, gc=False):
    """A call as the PBX lists it; texts as they are written there."""

    call_id: str
    state: str = ""
    source: str = ""
    destination: str = ""
    started: str = ""


class Comparison(Struct, frozen=True):
    """One PBX at one moment: how many calls it lists, those unknown to us, and those that we held and it does not."""

    at: float
    endpoint: str
    listed: int
    unknown: int = 0
    lost: int = 0
    unknown_calls: tuple[Listed, ...] = ()
    lost_calls: tuple[str, ...] = ()
    failed: str = ""


class Comparer:
    """Compares the answers of one PBX. ``alone`` says that there is no other it could be."""

    def __init__(self, endpoint: str, *, alone: bool) -> None:
        self._endpoint = endpoint
        self._alone = alone
        self._strange: frozenset[str] = frozenset()  # ids that were unknown in the last answer
        self._missing: frozenset[str] = frozenset()  # ids of ours that were not in it

    def compare(self, calls: Calls, listed: Iterable[Listed], asked_at: float) -> Comparison:
        """Hold an answer against the calls; those that are lost for the second time end."""
        by_id = {each.call_id: each for each in listed}
        strange = frozenset(call_id for call_id in by_id if calls.find(call_id) is None)
        missing = {call.id: call for call in calls.open if self._is_ours(call, asked_at) and not _is_in(call, by_id)}
        lost = [call for call_id, call in missing.items() if call_id in self._missing]
        for call in lost:
            calls.missing(call, asked_at)
        unknown = [by_id[call_id] for call_id in by_id if call_id in strange & self._strange]
        self._strange = strange
        self._missing = frozenset(missing) - {call.id for call in lost}
        return Comparison(
            asked_at,
            self._endpoint,
            len(by_id),
            len(unknown),
            len(lost),
            tuple(unknown[:SHOWN]),
            tuple(call.id for call in lost[:SHOWN]),
        )

    def _is_ours(self, call: Call, asked_at: float) -> bool:
        if not call.ids or call.last > asked_at - GRACE_SECONDS:
            return False
        return call.endpoint == self._endpoint if call.endpoint else self._alone


def _is_in(call: Call, by_id: dict[str, Listed]) -> bool:
    return any(call_id in by_id for call_id in call.ids)
