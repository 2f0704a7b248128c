"""The record of one call: what passed, in order, and what follows from it.

Everything but ``passages`` follows from them: :meth:`Call.seen` and :meth:`Call.closed` keep it up to date message by
message, and :func:`derived` makes it anew. Both give the same, as a test holds. Legs are for people and made when
somebody asks (``legs.py``).
"""

from collections.abc import Iterable
from enum import Enum
from typing import Final

from msgspec import Struct

from interceptor.calls import meaning
from interceptor.calls.sighting import Closing, Sighting
from interceptor.calls.states import Cause, Signal, State, Taken, move
from interceptor.values import Kind, Verdict

MOST_REMARKS: Final = 50
BEGINNING_UNSEEN: Final = "its beginning was not seen"
EARLY: Final = frozenset({State.REQUESTED, State.ROUTED, State.RINGING})
"""The states before somebody has picked up."""


class How(Enum):
    """How sure it is that a message is about its call."""

    FIRST = "first"  # the call's first message
    CALL_ID = "call id"  # it carries the PBX's id: exact
    CALLBACK = "callback"  # it came to a callback that was captured in the call: exact
    NUMBERS = "numbers"  # its numbers and its time fit this call alone: inferred

    @property
    def is_exact(self) -> bool:
        """Whether the PBX or a token says so; else it is inferred."""
        return self is not How.NUMBERS

    __hash__ = object.__hash__


class Passage(Struct, array_like=True, gc=False):
    """One message in a call's record, and how it came there."""

    sighting: Sighting
    how: How


class Remark(Struct, frozen=True, array_like=True, gc=False):
    """Something about a call that is out of order, missing or not sure."""

    at: float
    text: str


class Call(Struct, gc=False):
    """One call. ``id`` is the PBX's where it is known, else the id of the exchange that began it.

    ``ids`` are the PBX's; ``began_as`` is the exchange of its first message; ``parent`` the id of the call it came out
    of. ``revision`` is the policy's when it began, ``apps`` who started it, was told of it or acted on it.
    """

    id: str
    began: float
    began_as: str
    serial: int = 0
    home: int = 0  # the fold's: which of its lists the call stands in, and since when
    filed: float = 0.0
    moved: bool = True  # the fold's: what others find it by may have changed
    ids: tuple[str, ...] = ()
    passages: list[Passage] = []
    dropped: int = 0
    state: State = State.NEW
    cause: Cause | None = None
    why: str = ""
    ended: float | None = None
    last: float = 0.0
    revision: str = ""
    caller: str = ""
    dialled: str = ""
    outgoing: bool = False  # an app asked for it
    routed_to: str = ""  # where it goes at this moment, when that is not what was dialled
    handed_on: bool = False  # it was transferred
    routings: int = 0  # how often a way was asked for
    rooted: bool = False  # its beginning is here: a Call, or a RoutingInterception
    apps: tuple[str, ...] = ()
    endpoint: str = ""
    parent: str = ""
    children: tuple[str, ...] = ()
    remarks: tuple[Remark, ...] = ()
    told: dict[str, str] | None = None  # of each notification, the state that it told last

    @property
    def is_open(self) -> bool:
        """Whether it goes on, as far as we know."""
        return self.state is not State.ENDED

    def is_called(self, name: str) -> bool:
        """Whether this is one of its ids, or the id of one of its exchanges."""
        return name in self.ids or any(passage.sighting.exchange == name for passage in self.passages)

    @property
    def inferred(self) -> int:
        """How many of its messages are joined by inference, of those that are kept."""
        return sum(passage.how is How.NUMBERS for passage in self.passages)

    def remark(self, at: float, text: str) -> None:
        """Note something; the same is noted once."""
        if len(self.remarks) < MOST_REMARKS and all(remark.text != text for remark in self.remarks):
            self.remarks = (*self.remarks, Remark(at, text))

    def seen(self, sighting: Sighting) -> None:
        """A message of this call was seen."""
        if sighting.at > self.last:  # noqa: PLR1730 - a call of max() costs as much as all of this
            self.last = sighting.at
        if sighting.app not in self.apps and sighting.app:
            self.apps = (*self.apps, sighting.app)
        self._learn(sighting)
        if sighting.kind is Kind.NOTIFICATION:
            self._note(sighting)
        found = meaning.seen(sighting)
        if found is not None:
            self._signal(sighting.at, found[0], found[1], sighting)

    def closed(self, sighting: Sighting, closing: Closing) -> None:
        """The exchange of one of its messages has ended."""
        if closing.at > self.last:  # noqa: PLR1730 - as above
            self.last = closing.at
        if not self.endpoint and closing.endpoint and sighting.kind is Kind.COMMAND:
            self.endpoint = closing.endpoint
        for number, is_target in directions(sighting, closing):
            self._directed(number, is_target=is_target)
        found = meaning.closed(sighting, closing)
        if found is not None:
            self._signal(closing.at, found[0], found[1], sighting)
        elif meaning.uncertain(sighting, closing):
            self.remark(closing.at, f"nobody knows whether {sighting.name} was carried out ({closing.outcome})")

    def end(self, at: float, cause: Cause, why: str = "") -> None:
        """End it for a reason that no message told."""
        self.state, self.cause, self.ended, self.why = State.ENDED, cause, at, why

    # what follows from a message

    def _learn(self, sighting: Sighting) -> None:
        call_id = sighting.call_id
        if call_id and call_id not in self.ids and not (sighting.other_id and sighting.other_id in self.ids):
            self.ids = (*self.ids, call_id)
            self.moved = True
        if sighting.caller and not self.caller:
            self.caller = sighting.caller
            self.moved = True
        dialled = sighting.dialled
        if dialled:
            if not self.dialled:
                self.dialled = dialled
                self.moved = True
            elif sighting.name in NAMES_CALLEE:
                self._directed(dialled, is_target=False)
        if sighting.name == "RoutingInterception":
            self.routings += 1
            self.rooted = self.moved = True
        elif sighting.name in meaning.CALLING:
            self.outgoing = self.rooted = self.moved = True

    def _directed(self, number: str, *, is_target: bool) -> None:
        """The call goes to this number from now on; what is told of a callee after a transfer is about the past."""
        if is_target:
            self.handed_on = True
        elif self.handed_on:
            return
        to = "" if number == self.dialled else number
        if to != self.routed_to:
            self.routed_to = to
            self.moved = True

    def _note(self, sighting: Sighting) -> None:
        """Remark on what is missing or comes twice; where it stands is judged by the table."""
        name, state = sighting.name, sighting.state
        if name == "CallConnected" and self.outgoing:
            self._note_early(sighting)
        if name in _TOLD_ONCE:
            told = self.told
            if told is None:
                self.told = {name: state}
                return
            if told.get(name) == state and _says_it_again(name, state):
                self.remark(sighting.at, f"{_told(sighting)} was told more than once")
            told[name] = state

    def _note_early(self, sighting: Sighting) -> None:
        for passage in self.passages:
            first = passage.sighting
            if first.name in meaning.CALLING and first.kind is Kind.COMMAND:
                if first.closing is None or first.closing.at > sighting.at:
                    self.remark(sighting.at, f"CallConnected came before the answer to {first.name}")
                return

    def _signal(self, at: float, signal: Signal, cause: Cause | None, sighting: Sighting) -> None:
        state = self.state
        found = move(state, self.cause, signal)
        taken = found.taken
        if taken is Taken.STAYS:
            if signal is Signal.ENDED and self.cause in _CONCLUDED and cause is not None:
                self.cause, self.ended, self.why = cause, at, ""
            return
        if taken is Taken.LATE:
            self.remark(at, f"{_told(sighting)} came when the call was already {state.value}")
            return
        if taken is Taken.OVER:
            self.remark(at, f"{_told(sighting)} came after the end of the call")
            return
        if state is State.ENDED:
            self.remark(at, f"the call goes on, although it had ended ({self.cause.value if self.cause else ''})")
            self.cause, self.ended, self.why = None, None, ""
        elif state is State.NEW and signal not in _BEGINS and sighting.name not in _FIRST:
            self.remark(at, f"{BEGINNING_UNSEEN}: the first message is {_told(sighting)}")
        self.state = found.to
        if state not in EARLY or found.to not in EARLY:
            self.moved = True
        if signal is Signal.ENDED:
            self.cause, self.ended = cause, at
            self.why = _why(sighting)


_DIRECTS: Final = frozenset({"Route", "BlindTransfer", "Forward", "ForwardCall"})
_NOWHERE: Final = ()
NAMES_CALLEE: Final = frozenset({"CallChanged", "IncomingCall"})
"""The notifications that say who is called at the moment."""
_TOLD_ONCE: Final = frozenset({"CallChanged", "CallConnected", "IncomingCall", "RoutingInterception", "Error"})
_CONCLUDED: Final = frozenset({Cause.UNANSWERED, Cause.GONE, Cause.UNSEEN, Cause.CROWDED, Cause.HUNG_UP})
_BEGINS: Final = frozenset({Signal.ASKED, Signal.RANG})
_FIRST: Final = frozenset({"RoutingInterception", *meaning.CALLING})


def directions(sighting: Sighting, closing: Closing) -> Iterable[tuple[str, bool]]:
    """Where an exchange that has ended sends its call: numbers, and whether by a transfer."""
    if sighting.said:
        return [
            (said.number, said.name == "BlindTransfer")
            for said in sighting.said
            if said.number and not said.menu and said.verdict is Verdict.ALLOW and said.name in _DIRECTS
        ]
    if sighting.target:
        found = meaning.closed(sighting, closing)
        if found is not None and found[0] in {Signal.TRANSFERRED, Signal.ROUTED}:
            return ((sighting.target, found[0] is Signal.TRANSFERRED),)
    return _NOWHERE


def _says_it_again(name: str, state: str) -> bool:
    """Whether a notification with the state that it told last says nothing new."""
    if name == "RoutingInterception":
        return state.lower() in {"", "calling"}  # further failures are further attempts
    return name != "CallChanged" or bool(state)


def _told(sighting: Sighting) -> str:
    return f"{sighting.name} {sighting.state}".rstrip()


def _why(sighting: Sighting) -> str:
    if sighting.kind is Kind.COMMAND:
        if sighting.verdict is not Verdict.ALLOW:
            return sighting.rule or sighting.reason
        if sighting.name == "Hangup":
            return f"by {sighting.app}" if sighting.app else ""
        if sighting.closing is not None and sighting.closing.code is not None:
            return f"code {sighting.closing.code}"
    if sighting.name == "RoutingInterception" and meaning.is_retry(sighting):
        return f"{sighting.state} at {sighting.last}" if sighting.last else sighting.state
    return ""


def new_call(sighting: Sighting, serial: int = 0) -> Call:
    """A call that begins with this message, which it does not hold yet."""
    call = Call(sighting.call_id or sighting.exchange, sighting.at, sighting.exchange, serial, passages=[])
    call.last = sighting.at
    call.revision = sighting.revision
    return call


def in_order(passages: Iterable[Passage]) -> list[tuple[float, int, Passage]]:
    """What happened, by time: each message once as it was seen (0) and once as its exchange ended (1)."""
    happened = []
    for passage in passages:
        sighting = passage.sighting
        happened.append((sighting.at, 0, passage))
        if sighting.closing is not None:
            happened.append((max(sighting.closing.at, sighting.at), 1, passage))
    happened.sort(key=_moment)  # stable: what happened at the same instant stays as it is given
    return happened


def _moment(happened: tuple[float, int, Passage]) -> tuple[float, int]:
    return happened[0], happened[1]


def derived(passages: Iterable[Passage], *, serial: int = 0) -> Call:
    """The call that these messages make, whatever order they are given in; there must be one at least."""
    ordered = in_order(passages)
    call = new_call(ordered[0][2].sighting, serial)
    for _, phase, passage in ordered:
        if phase == 0:
            call.passages.append(passage)
            call.seen(passage.sighting)
        else:
            assert passage.sighting.closing is not None
            call.closed(passage.sighting, passage.sighting.closing)
    if call.ids:
        call.id = call.ids[0]
    return call
