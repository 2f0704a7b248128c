"""How calls stand that messages are about: whose they are, their state, their direction, the rules they began with.

Rules need to know at once, in every worker, what the record of a call (``calls/``) tells later. So this follows
messages while they are decided, by the same table of states, and keeps of each call a row that workers share. It knows
what messages have told and no more: a call that nobody told of has no state and no direction.
"""

from collections.abc import Mapping
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
# A row's number: the revision in the lower six bytes, then state, direction, and whether an end may be none.
_REVISION_BYTES: Final = 6
_REVISION: Final = (1 << 48) - 1
_STATE_AT: Final = 48
_DIRECTION_AT: Final = 52
_PRESUMED: Final = 1 << 56
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
        return CallFacts(owned, _WORDS[value >> _STATE_AT & 15], _DIRECTIONS[value >> _DIRECTION_AT & 3])

    def revision(self, message: MessageType | None, values: Mapping[str, str], at: float) -> str:
        """The revision that the call began with which a command names; ``""`` where that is not known, or over."""
        calls = named_calls(message, values)
        row = self._rows.find(calls[0]) if calls else None
        return "" if row is None or at - row[0] > KEPT_SECONDS else _text(row[1] & _REVISION)

    def told(self, message: MessageType | None, values: Mapping[str, str], at: float, revision: str) -> str:
        """A notification says how its call stands; the revision of the rules for it.

        That is the one that the call began with, ``revision`` where this is its beginning, and ``""`` after its end.
        """
        calls = named_calls(message, values)
        if not calls:
            return revision
        meaning, direction = None, 0
        if message is not None:
            state = next((value for name, value in values.items() if name.endswith("state")), "")
            meaning = seen(Sighting("", at, Kind.NOTIFICATION, message.name, state=state))
            direction = _SHOWS.get(message.name, 0)
        return self._moved(calls[0], meaning, direction, at, revision)

    def ended(
        self,
        kind: Kind,
        name: str,
        calls: tuple[str, ...],
        closing: Closing,
        verdict: Verdict,
        revision: str,
        reply: tuple[str, ...] = (),
    ) -> None:
        """The exchange of a message about these calls has ended so; ``reply`` names the verbs that a rule answered."""
        meaning = closed(Sighting("", closing.at, kind, name, verdict=verdict, reply=reply), closing)
        if meaning is not None:
            for call in calls:
                self._moved(call, meaning, 0, closing.at, revision)

    def take_over(self, call: Call, revision: str) -> None:
        """What the record of a call tells, where nothing newer is known; it goes on with this revision."""
        names = {passage.sighting.name for passage in call.passages}
        direction = 2 if call.outgoing or "CallConnected" in names else int("IncomingCall" in names)
        presumed = call.state is State.ENDED and call.cause in PRESUMED
        state = _STATES.index(call.state) if call.state in _STATES else 0
        value = _value(
            0 if call.state is State.ENDED and not presumed else _number(revision), state, direction, presumed=presumed
        )
        for call_id in call.ids:
            self._rows.change(call_id, call.last, lambda was: value if was is None or was[0] < call.last else None)
        for passage in call.passages:
            told = passage.sighting
            if told.kind is Kind.NOTIFICATION and told.verdict is Verdict.ALLOW and told.app and told.call_id:
                self.holdings.hold(told.app, told.call_id, told.at)

    def in_progress(self, revision: str, since: float) -> bool:
        """Whether a call of which something was told since then began with this revision and has not ended."""
        return self._rows.latest(bytes.fromhex(revision), since, _REVISION)

    def _moved(
        self, call: str, meaning: tuple[Signal, Cause | None] | None, direction: int, at: float, revision: str
    ) -> str:
        """Write what a message means for a call; the revision of the rules for that message."""
        signal, cause = meaning or (None, None)
        began = 0

        def change(was: tuple[int, int] | None) -> int:
            nonlocal began
            since, value = was or (0, _number(revision))
            began = value & _REVISION
            state, known = _STATES[value >> _STATE_AT & 15], value >> _DIRECTION_AT & 3
            presumed = bool(value & _PRESUMED)
            if state is State.ENDED and signal is Signal.RANG and not presumed and at - since > REUSE_SECONDS:
                state, known, began = State.NEW, 0, _number(revision)  # the id is another call's now
            if signal is not None:
                found = move(state, Cause.GONE if presumed else None, signal)
                if found.taken is Taken.ONWARD and found.to in _STATES:
                    state = found.to
                    presumed = state is State.ENDED and cause in PRESUMED
            over = state is State.ENDED and not presumed
            return _value(0 if over else began, _STATES.index(state), direction or known, presumed=presumed)

        self._rows.change(call, at, change)
        return _text(began)


def _value(revision: int, state: int, direction: int, *, presumed: bool) -> int:
    return revision | state << _STATE_AT | direction << _DIRECTION_AT | presumed * _PRESUMED


def _number(revision: str) -> int:
    """A revision, twelve hexadecimal digits, in the bytes in which it is written."""
    return int.from_bytes(bytes.fromhex(revision), "little")


def _text(number: int) -> str:
    return number.to_bytes(_REVISION_BYTES, "little").hex() if number else ""
