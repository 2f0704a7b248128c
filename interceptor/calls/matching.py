"""Which calls fit each other by their numbers and their time: the candidates for an inferred join.

RoutingInterception carries no id, and the answer to ``Call`` none either; what they begin gets its id from a later
message. So each call stands in this index by what it lacks and by its numbers, and is found by a call that has it:

* a call without an id lacks an **id**, and fits a call with an id that lacks a **start**: one that began with neither a
  ``Call`` nor a RoutingInterception;
* a call that an app asked for lacks a **way** until a RoutingInterception came for it, and fits a call that began with
  a RoutingInterception and lacks an **asker**;
* a call that was routed and is not connected may come with a further **attempt**.

Reading stops at the second call that fits: then none is joined.
"""

from enum import Enum
from typing import Final

from interceptor.calls.call import Call
from interceptor.calls.sighting import Sighting
from interceptor.calls.states import State

ATTEMPT_SECONDS: Final = 240.0  # between two questions for a way of one call: a phone may ring that long
UNKNOWN_NUMBER: Final = "***"  # what a masked name looks like: no two of them are known to be equal


class Lack(Enum):
    """What a call lacks."""

    ID = "id"
    START = "start"
    WAY = "way"
    ASKER = "asker"
    ATTEMPT = "attempt"

    __hash__ = object.__hash__


type Key = tuple[Lack, str, str]

_HAS: Final = {Lack.ID: Lack.START, Lack.START: Lack.ID, Lack.WAY: Lack.ASKER, Lack.ASKER: Lack.WAY}
"""Who has what a call lacks: the one that lacks this."""

_EARLY: Final = frozenset({State.REQUESTED, State.ROUTED, State.RINGING})


class Matching:
    """The index. ``window`` is how many seconds two calls may be apart to be one."""

    def __init__(self, window: float) -> None:
        self._window = window
        self._calls: dict[Key, dict[int, Call]] = {}
        self._keys: dict[int, tuple[Key, ...]] = {}  # where each call stands, by its serial

    def follow(self, call: Call) -> None:
        """Let a call stand where it belongs now."""
        keys = _keys(call)
        if keys == self._keys.get(call.serial, ()):
            return
        self.forget(call)
        if keys:
            self._keys[call.serial] = keys
            for key in keys:
                calls = self._calls.get(key)
                if calls is None:
                    self._calls[key] = {call.serial: call}
                else:
                    calls[call.serial] = call

    def forget(self, call: Call) -> None:
        """Take a call out."""
        for key in self._keys.pop(call.serial, ()):
            calls = self._calls[key]
            del calls[call.serial]
            if not calls:
                del self._calls[key]

    def partner(self, call: Call) -> Call | int:
        """The one call that this one is as well; else how many fit: 0, or 2 for several."""
        found = self._fitting(call)
        if len(found) != 1:
            return len(found)
        # The other way round as well: where a third call fits the one that was found, nobody knows whose it is.
        back = self._fitting(found[0])
        return found[0] if back == [call] else 2

    def attempts(self, sighting: Sighting) -> list[Call]:
        """The calls, at most two, whose next attempt a RoutingInterception may be."""
        caller, dialled = sighting.caller, sighting.dialled
        if not caller or caller == UNKNOWN_NUMBER:
            return []
        exactly = self._at((Lack.ATTEMPT, caller, f"{dialled} {sighting.last}"), sighting.at, ATTEMPT_SECONDS, None)
        return exactly or self._at((Lack.ATTEMPT, caller, dialled), sighting.at, ATTEMPT_SECONDS, None)

    def _fitting(self, call: Call) -> list[Call]:
        """At most two calls that have what this one lacks."""
        found: list[Call] = []
        for lack, caller, number in self._keys.get(call.serial, ()):
            if lack is not Lack.ATTEMPT:
                for other in self._at((_HAS[lack], caller, number), _moment(call), self._window, call):
                    if other not in found:
                        found.append(other)
                if len(found) > 1:
                    break
        return found

    def _at(self, key: Key, at: float, seconds: float, but: Call | None) -> list[Call]:
        """At most two calls of a key that are near in time. Those that are too old for anybody are taken out."""
        found: list[Call] = []
        old: list[Call] = []
        for call in self._calls.get(key, {}).values():
            apart = at - _moment(call)
            if apart > seconds:
                old.append(call)
            elif call is not but and -apart <= seconds:
                found.append(call)
                if len(found) > 1:
                    break
        for call in old:
            self._take_out(call, key)
        return found

    def _take_out(self, call: Call, key: Key) -> None:
        self._keys[call.serial] = tuple(each for each in self._keys[call.serial] if each != key)
        calls = self._calls[key]
        del calls[call.serial]
        if not calls:
            del self._calls[key]


def _moment(call: Call) -> float:
    """When a call is nearest to what it lacks: an id comes after the last that was heard, a start before the first."""
    return call.began if call.ids else call.last


def _keys(call: Call) -> tuple[Key, ...]:
    caller, dialled = call.caller, call.dialled
    early = call.state in _EARLY
    lacks_start = bool(call.ids) and not call.rooted
    if not caller or caller == UNKNOWN_NUMBER or not dialled or not (early or lacks_start):
        return ()
    numbers = (dialled, call.routed_to) if call.routed_to and call.routed_to != dialled else (dialled,)
    keys: list[Key] = []
    if not call.ids:
        keys = [(Lack.ID, caller, number) for number in numbers]
        if call.outgoing and not call.routings:
            keys.append((Lack.WAY, caller, dialled))
        elif call.routings and not call.outgoing:
            keys.append((Lack.ASKER, caller, dialled))
    elif lacks_start:
        keys = [(Lack.START, caller, number) for number in numbers]
    if call.routings and early:
        keys.append((Lack.ATTEMPT, caller, f"{dialled} {numbers[-1]}"))
        keys.append((Lack.ATTEMPT, caller, dialled))
    return tuple(keys)
