"""How the calls stand that messages are about: whose they are, their state, their direction.

Rules that ask for calls need to know at once, in every worker, what the record of a call (``calls/``) tells later. So
this follows messages while they are decided, by the same table of states, and keeps of each call a row that workers
share. It knows what messages have told and no more: a call that nobody told of has no state and no direction.

Nothing is kept while no rule asks. A set of rules that begins to ask, and a start, takes over what the records tell.
"""

from collections.abc import Iterable, Mapping
from typing import Final

from interceptor.calls import Call
from interceptor.calls.fold import REUSE_SECONDS
from interceptor.calls.meaning import closed, seen
from interceptor.calls.sighting import Closing, Sighting
from interceptor.calls.states import PRESUMED, Cause, Signal, State, Taken, move
from interceptor.ownership import KEPT_SECONDS, Holdings, named_calls
from interceptor.rows import Rows
from interceptor.values import CallFacts, Kind, Verdict
from interceptor.wire.knowledge import MessageType

_TARGET: Final = "targetcallid"  # of two calls that a message names, this is the second
_STATES: Final = (
    State.NEW,
    State.RINGING,
    State.ROUTED,
    State.CONNECTED,
    State.HELD,
    State.TRANSFERRING,
    State.ENDED,
)
_DIRECTIONS: Final = ("", "incoming", "outgoing")
_SHOWS: Final = {"IncomingCall": 1, "CallConnected": 2}  # an app's extension was called; whom an app called picked up
_PRESUMED: Final = 1 << 8  # beside an end: the call may go on after all
_WORDS: Final = ("", *(state.value for state in _STATES[1:]))


class KnownCalls:
    """The calls that messages have told of, and the apps that hold them."""

    def __init__(self, holdings: Holdings | None = None, rows: Rows | None = None) -> None:
        self.holdings: Final = holdings or Holdings()
        self._rows: Final = rows or Rows()

    def find(
        self, message: MessageType | None, values: Mapping[str, str], app: str, at: float, around: str = ""
    ) -> CallFacts | None:
        """How the call stands that a message is about; ``around`` is the one that a verb is about which names none."""
        calls = named_calls(message, values)
        if len(calls) > 1 and calls[0] == values.get(_TARGET):
            calls = calls[1:] + calls[:1]
        # The PBX puts the call of the notification in the place of a variable.
        calls = tuple(around if call.startswith("$") else call for call in calls) or (around,)
        if not all(calls):
            return None if calls == ("",) else CallFacts()
        holds = self.holdings.holds
        owned = bool(app) and all(holds(app, call, at) for call in calls)
        row = self._rows.find(calls[0])
        if row is None or at - row[0] > KEPT_SECONDS:
            return CallFacts(owned)
        value = row[1]
        return CallFacts(owned, _WORDS[value & 15], _DIRECTIONS[value >> 4 & 3])

    def told(self, message: MessageType | None, values: Mapping[str, str], at: float) -> None:
        """A notification says how its call stands."""
        calls = named_calls(message, values)
        if not calls or message is None:
            return
        state = next((value for name, value in values.items() if name.endswith("state")), "")
        sighting = Sighting("", at, Kind.NOTIFICATION, message.name, state=state)
        self._moved(calls[:1], seen(sighting), _SHOWS.get(message.name, 0), at)

    def ended(
        self,
        kind: Kind,
        name: str,
        calls: tuple[str, ...],
        closing: Closing,
        verdict: Verdict,
        reply: tuple[str, ...] = (),
    ) -> None:
        """The exchange of a message about these calls has ended so; ``reply`` names the verbs that a rule answered."""
        if calls:
            sighting = Sighting("", closing.at, kind, name, verdict=verdict, reply=reply)
            self._moved(calls, closed(sighting, closing), 0, closing.at)

    def take_over(self, call: Call) -> None:
        """What the record of a call tells, where nothing newer is known."""
        names = {passage.sighting.name for passage in call.passages}
        direction = 2 if call.outgoing or "CallConnected" in names else int("IncomingCall" in names)
        presumed = call.state is State.ENDED and call.cause in PRESUMED
        state = _STATES.index(call.state) if call.state in _STATES else 0
        value = state | direction << 4 | presumed * _PRESUMED
        for call_id in call.ids:
            self._rows.change(call_id, call.last, lambda was: value if was is None or was[0] < call.last else None)
        for passage in call.passages:
            told = passage.sighting
            if told.kind is Kind.NOTIFICATION and told.verdict is Verdict.ALLOW and told.app and told.call_id:
                self.holdings.hold(told.app, told.call_id, told.at)

    def _moved(
        self, calls: Iterable[str], meaning: tuple[Signal, Cause | None] | None, direction: int, at: float
    ) -> None:
        signal, cause = meaning or (None, None)

        def change(was: tuple[int, int] | None) -> int | None:
            since, value = was or (0, 0)
            state, known = _STATES[value & 15], value >> 4 & 3
            presumed = value & _PRESUMED
            if state is State.ENDED and signal is Signal.RANG and not presumed and at - since > REUSE_SECONDS:
                state, known, presumed = State.NEW, 0, 0  # the id is another call's now
            if signal is not None:
                found = move(state, Cause.GONE if presumed else None, signal)
                if found.taken is Taken.ONWARD and found.to in _STATES:
                    state = found.to
                    presumed = _PRESUMED if state is State.ENDED and cause in PRESUMED else 0
            return _STATES.index(state) | (direction or known) << 4 | presumed

        if signal is not None or direction:
            for call in calls:
                self._rows.change(call, at, change)
