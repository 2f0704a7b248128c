"""The record of one call: what passed, in order, and what follows from it.

Everything but ``passages`` follows from them: :meth:`Call.seen` and :meth:`Call.closed` keep it up to date message by
message, and :func:`derived` makes it anew. Both give the same, as a test holds.
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


class How(Enum):
    """How sure it is that a message is about its call."""

    FIRST = "first"  # the call's first message
    CALL_ID = "call id"  # it carries the PBX's id: exact
    CALLBACK = "callback"  # it came to a callback that was captured in the call: exact
    ANSWER = "answer"  # a verb in an answer to the call: exact
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


class Leg(Struct, array_like=True, gc=False):
    """One side of a call: a number, where it stands, since when. ``cause`` says why it ended."""

    side: str  # caller, callee or target
    number: str
    state: State
    since: float
    cause: str = ""


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
    ids: list[str] = []
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
    routings: int = 0  # how often a way was asked for
    rooted: bool = False  # its beginning is here: a Call, or a RoutingInterception
    apps: list[str] = []
    endpoint: str = ""
    parent: str = ""
    children: list[str] = []
    legs: list[Leg] = []
    remarks: list[Remark] = []

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
            self.remarks.append(Remark(at, text))

    def seen(self, sighting: Sighting) -> None:
        """A message of this call was seen."""
        self.last = max(self.last, sighting.at)
        if sighting.app and sighting.app not in self.apps:
            self.apps.append(sighting.app)
        self._learn(sighting)
        self._note(sighting)
        found = meaning.seen(sighting)
        if found is not None:
            self._signal(sighting.at, found[0], found[1], sighting)

    def closed(self, sighting: Sighting, closing: Closing) -> None:
        """The exchange of one of its messages has ended."""
        self.last = max(self.last, closing.at)
        if closing.endpoint and sighting.kind is Kind.COMMAND and not self.endpoint:
            self.endpoint = closing.endpoint
        for said in sighting.said:
            if said.number and said.verdict is Verdict.ALLOW and said.name in _DIRECTS:
                self._directed(closing.at, said.number, "target" if said.name == "BlindTransfer" else "callee")
        found = meaning.closed(sighting, closing)
        if found is not None:
            if found[0] in {Signal.TRANSFERRED, Signal.ROUTED} and sighting.target:
                self._directed(closing.at, sighting.target, "target" if found[0] is Signal.TRANSFERRED else "callee")
            self._signal(closing.at, found[0], found[1], sighting)
        elif meaning.uncertain(sighting, closing):
            self.remark(closing.at, f"nobody knows whether {sighting.name} was carried out ({closing.outcome})")

    def end(self, at: float, cause: Cause, why: str = "") -> None:
        """End it for a reason that no message told."""
        self.state, self.cause, self.ended, self.why = State.ENDED, cause, at, why
        self._legs_follow(at, Signal.ENDED, cause)

    # what follows from a message

    def _learn(self, sighting: Sighting) -> None:
        if sighting.call_id and sighting.call_id not in self.ids and sighting.other_id not in self.ids:
            self.ids.append(sighting.call_id)
            self.moved = True
        if not self.caller and sighting.caller:
            self.caller = sighting.caller
            self.moved = True
            self.legs.insert(0, Leg("caller", sighting.caller, self.state, sighting.at))
        if not self.dialled and sighting.dialled:
            self.dialled = sighting.dialled
            self.moved = True
        if sighting.dialled and sighting.kind is Kind.NOTIFICATION and sighting.name in _NAMES_CALLEE:
            self._directed(sighting.at, sighting.dialled, "callee")
        if sighting.name == "RoutingInterception":
            self.routings += 1
            self.rooted = self.moved = True
        elif sighting.name in meaning.CALLING:
            self.outgoing = self.rooted = self.moved = True
            self._directed(sighting.at, sighting.dialled, "callee")

    def _note(self, sighting: Sighting) -> None:
        """Remark on what is missing or comes twice; where it stands is judged by the table."""
        if sighting.kind is not Kind.NOTIFICATION:
            return
        passages = self.passages
        if sighting.name == "CallConnected" and self.outgoing:
            for passage in passages:
                first = passage.sighting
                if first.name in meaning.CALLING and first.kind is Kind.COMMAND:
                    if first.closing is None or first.closing.at > sighting.at:
                        self.remark(sighting.at, f"CallConnected came before the answer to {first.name}")
                    break
        before = self._previous(sighting)
        if before is not None and before.name == sighting.name and before.state == sighting.state:
            told = f"{sighting.name} {sighting.state}".rstrip()
            again = sighting.state.lower() in {"", "calling"} if sighting.name == "RoutingInterception" else True
            if sighting.name in _TOLD_ONCE and again and (sighting.state or sighting.name != "CallChanged"):
                self.remark(sighting.at, f"{told} was told more than once")

    def _previous(self, sighting: Sighting) -> Sighting | None:
        """The notification of the same name before this one."""
        for passage in reversed(self.passages):
            earlier = passage.sighting
            if earlier is not sighting and earlier.kind is Kind.NOTIFICATION and earlier.name == sighting.name:
                return earlier if earlier.at <= sighting.at else None
        return None

    def _signal(self, at: float, signal: Signal, cause: Cause | None, sighting: Sighting) -> None:
        found = move(self.state, self.cause, signal)
        told = f"{sighting.name} {sighting.state}".rstrip()
        if found.taken is Taken.LATE:
            self.remark(at, f"{told} came when the call was already {self.state.value}")
            return
        if found.taken is Taken.OVER:
            self.remark(at, f"{told} came after the end of the call")
            return
        if found.taken is Taken.STAYS:
            if signal is Signal.ENDED and self.cause in _CONCLUDED and cause is not None:
                self.cause, self.ended, self.why = cause, at, ""
            return
        if self.state is State.ENDED:
            self.remark(at, f"the call goes on, although it had ended ({self.cause.value if self.cause else ''})")
            self.cause, self.ended, self.why = None, None, ""
        elif self.state is State.NEW and signal not in _BEGINS and sighting.name not in _FIRST:
            self.remark(at, f"its beginning was not seen: the first message is {told}")
        self.state = found.to
        self.moved = True
        if signal is Signal.ENDED:
            self.cause, self.ended = cause, at
            self.why = _why(sighting)
        self._legs_follow(at, signal, cause, sighting)

    # legs

    def _directed(self, at: float, number: str, side: str) -> None:
        """The call goes to this number from now on."""
        if not number:
            return
        leg = self._callee()
        if any(each.number == number and each.state is not State.ENDED and each.side != "caller" for each in self.legs):
            return
        if leg is not None and leg.state not in _TALKING and leg.state is not State.ENDED and side == "callee":
            leg.state, leg.since, leg.cause = State.ENDED, at, leg.cause or "went elsewhere"
        if number != self.dialled:
            self.routed_to = number
            self.moved = True
        if len(self.legs) < _MOST_LEGS:
            self.legs.append(Leg(side, number, State.REQUESTED, at))

    def _callee(self) -> Leg | None:
        for leg in reversed(self.legs):
            if leg.side != "caller":
                return leg
        return None

    def _legs_follow(self, at: float, signal: Signal, cause: Cause | None, sighting: Sighting | None = None) -> None:
        callee = self._callee()
        if signal is Signal.RETRIED and callee is not None and sighting is not None:
            callee.state, callee.since, callee.cause = State.ENDED, at, sighting.state
            return
        for leg in self.legs:
            if leg.state is State.ENDED:
                continue
            if leg.side == "caller" or leg is callee or signal is Signal.ENDED:
                if signal is Signal.TRANSFERRED and leg is not callee:
                    continue
                if leg.state is not self.state:
                    leg.state, leg.since = self.state, at
                if signal is Signal.ENDED and cause is not None:
                    leg.cause = cause.value


_MOST_LEGS: Final = 32
_DIRECTS: Final = frozenset({"Route", "BlindTransfer", "Forward", "ForwardCall"})
_NAMES_CALLEE: Final = frozenset({"CallChanged", "IncomingCall"})
_TOLD_ONCE: Final = frozenset({"CallChanged", "CallConnected", "IncomingCall", "RoutingInterception", "Error"})
_TALKING: Final = frozenset({State.CONNECTED, State.HELD, State.TRANSFERRING})
_CONCLUDED: Final = frozenset({Cause.GONE, Cause.UNSEEN, Cause.CROWDED, Cause.HUNG_UP})
_BEGINS: Final = frozenset({Signal.ASKED, Signal.RANG})
_FIRST: Final = frozenset({"RoutingInterception", *meaning.CALLING})


def _why(sighting: Sighting) -> str:
    if sighting.kind is Kind.COMMAND:
        if sighting.verdict is not Verdict.ALLOW:
            return sighting.rule or sighting.reason
        if sighting.name == "Hangup":
            return f"by {sighting.app}" if sighting.app else ""
        if sighting.closing is not None and sighting.closing.code is not None:
            return f"code {sighting.closing.code}"
    return ""


def new_call(sighting: Sighting, serial: int = 0) -> Call:
    """A call that begins with this message, which it does not hold yet."""
    return Call(
        sighting.call_id or sighting.exchange,
        sighting.at,
        sighting.exchange,
        serial,
        ids=[],
        passages=[],
        last=sighting.at,
        revision=sighting.revision,
        apps=[],
        children=[],
        legs=[],
        remarks=[],
    )


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
