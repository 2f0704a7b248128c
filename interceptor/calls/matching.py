"""Which calls fit each other by their numbers and their time: the candidates for an inferred join.

RoutingInterception carries no id, and the answer to ``Call`` none either; what they begin gets its id from a later
message. So each call stands in this index by what it lacks and by its numbers, and is found by a call that has it:

* a call without an id lacks an **id**, and fits a call with an id that lacks a **start**: one that began with neither a
  ``Call`` nor a RoutingInterception;
* of two calls without an id, one that an app asked for and no RoutingInterception has come for fits one that began with
  a RoutingInterception and that nobody is known to have asked for;
* a call that was routed and is not connected may come with a further **attempt**;
* a call whose last attempt failed is taken for over, unless a first message with an id is a **sign of life**: the dial
  plan may have led it on. One that goes on without doubt comes before it.

Reading stops at the second call that fits: then none is joined.
"""

from enum import Enum
from typing import Final

from interceptor.calls.call import EARLY, Call
from interceptor.calls.sighting import Sighting
from interceptor.calls.states import Cause

ATTEMPT_SECONDS: Final = 240.0  # between two questions for a way of one call: a phone may ring that long
MOST_OTHERS: Final = 16  # calls of one pair of numbers that are looked through: among more, nobody finds the right one
UNKNOWN_NUMBER: Final = "***"  # what a masked name looks like: no two of them are known to be equal


class Lack(Enum):
    """What a call lacks."""

    ID = "id"
    START = "start"
    ATTEMPT = "attempt"
    LIFE = "sign of life"

    __hash__ = object.__hash__


type Key = tuple[Lack, str, str] | tuple[Lack, str, str, str]


class Matching:
    """The index. ``window`` is how many seconds two calls may be apart to be one."""

    def __init__(self, window: float) -> None:
        self._window = window
        # Most calls are alone with their numbers, and many stay until they are given up: those need no table each.
        self._calls: dict[Key, Call | dict[int, Call]] = {}
        self._keys: dict[int, tuple[Key, ...]] = {}  # where each call stands, by its serial

    def follow(self, call: Call) -> None:
        """Let a call stand where it belongs now."""
        keys = _keys(call)
        known = self._keys.get(call.serial)
        if keys == (known or ()):
            return
        if known:
            self.forget(call)
        if keys:
            serial = call.serial
            self._keys[serial] = keys
            for key in keys:
                there = self._calls.get(key)
                if there is None:
                    self._calls[key] = call
                elif isinstance(there, Call):
                    self._calls[key] = {there.serial: there, serial: call}
                else:
                    there[serial] = call

    def forget(self, call: Call) -> None:
        """Take a call out."""
        for key in self._keys.pop(call.serial, ()):
            self._leave(call, key)

    def partner(self, call: Call) -> Call | int:
        """The one call that this one is as well; else how many fit: 0, or 2 for several."""
        found = self._fitting(call)
        if len(found) != 1:
            return len(found)
        # The other way round as well: where a third call fits the one that was found, nobody knows whose it is.
        back = self._fitting(found[0])
        return found[0] if back == [call] else 2

    def lacks_id(self, sighting: Sighting) -> Call | None:
        """The one call without an id that a first message with an id can be about."""
        caller, number = sighting.caller, sighting.dialled
        if not caller or not number or caller == UNKNOWN_NUMBER:
            return None
        found = self._at((Lack.ID, caller, number), sighting.at, self._window)
        found = found or self._at((Lack.LIFE, caller, number), sighting.at, self._window)
        return self._alone(found, sighting)

    def lacks_way(self, sighting: Sighting) -> Call | None:
        """The one call that an app asked for which a RoutingInterception can be about."""
        caller, number = sighting.caller, sighting.dialled
        if not caller or not number or caller == UNKNOWN_NUMBER:
            return None
        if self._at((Lack.START, caller, number), sighting.at, self._window):
            return None
        found = self._at((Lack.ID, caller, number), sighting.at, self._window, asked=True)
        return self._alone(found, sighting)

    def _alone(self, found: list[Call], sighting: Sighting) -> Call | None:
        """The only one of these, where nothing else fits it and nothing of it is later than the message."""
        if len(found) != 1 or sighting.at < found[0].last or self._fitting(found[0]):
            return None
        return found[0]

    def attempts(self, sighting: Sighting) -> list[Call]:
        """The calls, at most two, whose next attempt a RoutingInterception may be."""
        caller, dialled = sighting.caller, sighting.dialled
        if not caller or caller == UNKNOWN_NUMBER:
            return []
        exactly = self._at((Lack.ATTEMPT, caller, dialled, sighting.last), sighting.at, ATTEMPT_SECONDS)
        return exactly or self._at((Lack.ATTEMPT, caller, dialled), sighting.at, ATTEMPT_SECONDS)

    def _fitting(self, call: Call) -> list[Call]:
        """At most two calls that have what this one lacks."""
        keys = self._keys.get(call.serial)
        if not keys:
            return []
        at = call.began if call.ids else call.last
        found: list[Call] = []
        for lack, caller, number, *_ in keys:
            if lack is Lack.ATTEMPT or lack is Lack.LIFE:
                break  # the first stands at the end, the other alone
            other = Lack.ID if lack is Lack.START else Lack.START
            found += [each for each in self._at((other, caller, number), at, self._window) if each not in found]
            if lack is Lack.ID and number == call.dialled and (call.outgoing is not (call.routings > 0)):
                asked = not call.outgoing
                both = self._at((Lack.ID, caller, number), at, self._window, asked=asked, but=call)
                found += [each for each in both if each not in found]
            if len(found) > 1:
                break
        return found

    def _at(
        self, key: Key, at: float, seconds: float, *, asked: bool | None = None, but: Call | None = None
    ) -> list[Call]:
        """At most two calls of a key that are near in time. Those that are too old for anybody are taken out.

        ``asked`` wants those that an app asked for and that were not routed, or those of which it is the other way;
        both by what was dialled, wherever they go by now. ``but`` is who asks, and none of the others.
        """
        there = self._calls.get(key)
        if there is None:
            return []
        found: list[Call] = []
        old: list[Call] = []
        others = 0
        for call in (there,) if isinstance(there, Call) else there.values():
            apart = at - (call.began if call.ids else call.last)  # an id comes after the last, a start before the first
            if apart > seconds:
                old.append(call)
            elif -apart > seconds:
                continue
            elif asked is None or (call.outgoing is asked and (call.routings == 0) is asked and call.dialled == key[2]):
                found.append(call)
                if len(found) > 1:
                    break
            elif call is not but:
                others += 1
                if others > MOST_OTHERS:
                    found = []
                    break
        for call in old:
            self._take_out(call, key)
        return found

    def _take_out(self, call: Call, key: Key) -> None:
        self._keys[call.serial] = tuple(each for each in self._keys[call.serial] if each != key)
        self._leave(call, key)

    def _leave(self, call: Call, key: Key) -> None:
        there = self._calls[key]
        if isinstance(there, Call):
            del self._calls[key]
            return
        del there[call.serial]
        if len(there) == 1:
            self._calls[key] = next(iter(there.values()))


def _keys(call: Call) -> tuple[Key, ...]:
    caller, dialled = call.caller, call.dialled
    if not caller or caller == UNKNOWN_NUMBER or not dialled:
        return ()
    if call.cause is Cause.UNANSWERED:
        return () if call.ids else ((Lack.LIFE, caller, dialled),)
    if call.state not in EARLY:
        return ((Lack.START, caller, dialled),) if call.ids and not call.rooted else ()
    to = call.routed_to
    keys: tuple[Key, ...] = ()
    if not call.ids:
        keys = ((Lack.ID, caller, dialled), (Lack.ID, caller, to)) if to else ((Lack.ID, caller, dialled),)
    elif not call.rooted:
        keys = ((Lack.START, caller, dialled), (Lack.START, caller, to)) if to else ((Lack.START, caller, dialled),)
    if call.routings:
        return (*keys, (Lack.ATTEMPT, caller, dialled, to or dialled), (Lack.ATTEMPT, caller, dialled))
    return keys
