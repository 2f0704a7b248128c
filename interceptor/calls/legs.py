"""The legs of a call: the caller, each callee that was tried, the target of a transfer, and where each stands.

They follow from the call's messages, by the same table of states; they are made when somebody looks.
"""

from typing import Final

from msgspec import Struct

from interceptor.calls import meaning
from interceptor.calls.call import EARLY, NAMES_CALLEE, Call, directions, in_order
from interceptor.calls.sighting import Sighting
from interceptor.calls.states import Cause, Signal, State, Taken, move

MOST_LEGS: Final = 32


class Leg(Struct):
    """One side of a call: a number, where it stands, since when. ``cause`` says why it ended."""

    side: str  # caller, callee or target
    number: str
    state: State
    since: float
    cause: str = ""


class _Legs:
    """The legs while the messages of a call are gone through."""

    def __init__(self) -> None:
        self.legs: list[Leg] = []
        self.state = State.NEW
        self.cause: Cause | None = None

    def learn(self, sighting: Sighting) -> None:
        if sighting.caller and not any(leg.side == "caller" for leg in self.legs):
            self.legs.insert(0, Leg("caller", sighting.caller, self.state, sighting.at))
        names_callee = sighting.name in NAMES_CALLEE or sighting.name in meaning.CALLING
        if sighting.dialled and (names_callee or (sighting.name == "RoutingInterception" and self._callee() is None)):
            self.direct(sighting.at, sighting.dialled, "callee")

    def direct(self, at: float, number: str, side: str) -> None:
        """The call goes to this number from now on."""
        if any(leg.number == number and leg.side != "caller" and leg.state is not State.ENDED for leg in self.legs):
            return
        leg = self._callee()
        if leg is not None and leg.state in EARLY and side == "callee":
            leg.state, leg.since, leg.cause = State.ENDED, at, "went elsewhere"
        if len(self.legs) < MOST_LEGS:
            self.legs.append(Leg(side, number, State.REQUESTED, at))

    def signal(self, at: float, signal: Signal, cause: Cause | None, sighting: Sighting) -> None:
        found = move(self.state, self.cause, signal)
        if found.taken is not Taken.ONWARD:
            return
        self.state, self.cause = found.to, cause
        callee = self._callee()
        if signal is Signal.RETRIED:
            if callee is not None:
                callee.state, callee.since, callee.cause = State.ENDED, at, sighting.state
            return
        for leg in self.legs:
            if leg.state is State.ENDED and (leg is not callee or cause is Cause.UNANSWERED):
                continue  # how the last attempt ended was told
            if signal is Signal.ENDED:
                leg.state, leg.since, leg.cause = State.ENDED, at, cause.value if cause is not None else ""
            elif (leg is callee or (leg.side == "caller" and signal is not Signal.TRANSFERRED)) and (
                leg.state is not self.state
            ):
                leg.state, leg.since, leg.cause = self.state, at, ""

    def _callee(self) -> Leg | None:
        return next((leg for leg in reversed(self.legs) if leg.side != "caller"), None)


def legs_of(call: Call) -> list[Leg]:
    """The legs of a call as of now."""
    legs = _Legs()
    for at, phase, passage in in_order(call.passages):
        sighting, closing = passage.sighting, passage.sighting.closing
        if phase == 0:
            legs.learn(sighting)
            found = meaning.seen(sighting)
        else:
            assert closing is not None
            for number, is_target in directions(sighting, closing):
                legs.direct(at, number, "target" if is_target else "callee")
            found = meaning.closed(sighting, closing)
        if found is not None:
            legs.signal(at, found[0], found[1], sighting)
    if call.ended is not None:  # also where no message told it
        for leg in legs.legs:
            if leg.state is not State.ENDED:
                leg.state, leg.since, leg.cause = State.ENDED, call.ended, call.cause.value if call.cause else ""
    return legs.legs
