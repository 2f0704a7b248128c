"""The fold: messages go in one by one, calls come out.

Laws of this module:

* A message joins a call *exactly* (it carries the PBX's id, or it came to a callback that was captured in the call) or
  by *inference*: its numbers and its time fit one call alone, and nothing else fits that call. Where two fit, none is
  joined, and the call says so. What turns out wrong is taken back.
* Everything is bounded: open calls, ended ones, messages of a call, commands that wait for their code.
* What comes out depends on nothing but what went in.
"""

from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from interceptor.calls import meaning
from interceptor.calls.call import BEGINNING_UNSEEN, Call, How, Passage, derived, new_call
from interceptor.calls.matching import Matching
from interceptor.calls.sighting import Closing, Said, Sighting
from interceptor.calls.states import PRESUMED, Cause, Signal, State
from interceptor.values import Kind

REUSE_SECONDS: Final = 60.0  # an id that rings again so long after its call's end is another call's
HEAD_KEPT: Final = 20  # messages at the beginning of a call that stay when it has too many
CHILDREN: Final = 100  # calls that came out of one and are named there
WAITING: Final = 10_000  # commands that name a call we do not know, until the PBX has answered them
_OK: Final = 200
_OF_A_CALL: Final = frozenset({"CallChanged", "CallConnected", "DtmfEntered", "GoTo", "Error", "RecordCompleted"})
_UP: Final = frozenset({State.CONNECTED, State.HELD, State.TRANSFERRING})
_SETTING_UP, _STANDING, _RECENT = 1, 2, 3


class Bounds(Struct, frozen=True):
    """How much is kept, and how long. Times are seconds.

    A call without a message for ``idle`` is closed, one that was never seen connected after ``setup``. ``window`` is
    how far apart the first messages of a call may be for an inferred join.
    """

    open: int = 5_000
    recent: int = 1_000
    passages: int = 200
    idle: float = 7200.0
    setup: float = 300.0
    window: float = 3.0


class Counts(Struct):
    """What the fold has done so far: calls begun, messages joined, and what it had to give up."""

    began: int = 0
    exact: int = 0
    inferred: int = 0
    ambiguous: int = 0
    refuted: int = 0
    unseen: int = 0
    crowded: int = 0
    trimmed: int = 0


class Calls:
    """The calls that are open, and the latest that have ended."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self.bounds = bounds or Bounds()
        self.counts = Counts()
        self.now = 0.0
        self.forgets: Callable[[Call], object] | None = None  # told of each call that is dropped
        self._serial = 0
        # By serial. A plain dict that loses its first entries again and again is slow to find its first.
        self._setting_up: OrderedDict[int, Call] = OrderedDict()
        self._standing: OrderedDict[int, Call] = OrderedDict()  # those that were connected
        self._recent: OrderedDict[int, Call] = OrderedDict()  # the one that ended first first
        self._lists = (OrderedDict[int, Call](), self._setting_up, self._standing, self._recent)
        self._by_id: dict[str, Call] = {}
        self._by_exchange: dict[str, Call] = {}
        self._waiting: dict[str, Sighting] = {}
        self._matching = Matching(self.bounds.window)

    # what goes in

    def see(self, sighting: Sighting) -> None:
        """A message was seen."""
        self._advance(sighting.at)
        call_id = sighting.call_id
        call = self._by_id.get(call_id) if call_id else None
        if call is not None and call.ended is not None and _is_reused(call, sighting):
            call = None
        root = self._root(sighting, call) if sighting.origin else None
        if call is not None:
            how = How.CALL_ID
            if root is not None and root is not call:
                call = self._out_of(root, call)
        elif root is not None and not (call_id and root.ids):
            call, how = root, How.CALLBACK
        elif sighting.kind is Kind.COMMAND and sighting.name not in meaning.CALLING:
            if call_id:
                self._wait(sighting)
            return
        else:
            found = self._host(sighting) if root is None else None
            if found is not None:
                call, how = found, How.FIRST if call_id else How.NUMBERS
                self._put(call, sighting, how)
                return
            if not call_id and not self._begins(sighting):
                return
            call, how = self._begin(sighting), How.FIRST
            if root is not None:
                _link(root, call)
        call = self._put(call, sighting, how)
        if sighting.other_id:
            other = self._by_id.get(sighting.other_id)
            if other is not None and other is not call:
                self._put(other, sighting, How.CALL_ID, also=True)
        if how is How.FIRST or not call.rooted:
            self._join_by_numbers(call, sighting)

    def say(self, exchange: str, said: Said) -> None:
        """A verb of the answer that an exchange got."""
        found = self._sighting(exchange)
        if found is not None:
            found[1].said = (*found[1].said, said)

    def close(self, closing: Closing) -> None:
        """An exchange has ended."""
        exchange = closing.exchange
        call = self._by_exchange.get(exchange)
        if call is None:
            if exchange in self._waiting:
                self._answered(self._waiting.pop(exchange), closing)
            return
        sighting = call.passages[-1].sighting if call.passages else None
        if sighting is None or sighting.exchange != exchange:
            found = self._sighting(exchange)
            if found is None:
                return
            sighting = found[1]
        self._advance(closing.at)
        sighting.closing = closing
        self._end_of(call, sighting, closing)
        other = self._by_id.get(sighting.other_id) if sighting.other_id else None
        if other is not None and other is not call and any(each.sighting is sighting for each in other.passages):
            self._end_of(other, sighting, closing)

    def awaits(self, exchange: str) -> bool:
        """Whether it matters how an exchange ended."""
        return exchange in self._by_exchange or exchange in self._waiting

    def feed(self, sightings: Iterable[Sighting]) -> None:
        """Many messages with all that is known of them, in any order; of two with one exchange, the first counts."""
        known: dict[str, Sighting] = {}
        for sighting in sightings:
            known.setdefault(sighting.exchange, sighting)
        happened = [(sighting.at, 0, sighting) for sighting in known.values()]
        happened += [(max(each.closing.at, each.at), 1, each) for each in known.values() if each.closing is not None]
        happened.sort(key=_moment)
        for _, phase, sighting in happened:
            if phase == 0:
                self.see(replace(sighting, said=(), closing=None))
                if sighting.closing is not None:
                    continue
            for said in sighting.said:
                self.say(sighting.exchange, said)
            if sighting.closing is not None:
                self.close(sighting.closing)

    def tick(self, now: float) -> None:
        """It is this late, whether anything happened or not."""
        self._advance(now)
        self._expire()

    def missing(self, call: Call, at: float) -> None:
        """The PBX does not know this call any more."""
        if call.is_open:
            call.end(at, Cause.GONE, "the PBX does not list it")
            self._file(call)

    # what comes out

    @property
    def open(self) -> Iterator[Call]:
        """The calls that go on, as far as we know."""
        return chain(self._setting_up.values(), self._standing.values())

    @property
    def recent(self) -> Iterator[Call]:
        """The latest that have ended, the latest last."""
        return iter(self._recent.values())

    @property
    def open_count(self) -> int:
        """How many go on."""
        return len(self._setting_up) + len(self._standing)

    def find(self, name: str) -> Call | None:
        """A call by one of its ids, or by the id of one of its exchanges."""
        return self._by_id.get(name) or self._by_exchange.get(name)

    def revision_of(self, name: str) -> str:
        """The policy's revision when this call began; ``""`` for a call that is not known."""
        call = self.find(name)
        return "" if call is None else call.revision

    def newest(self, most: int) -> list[Call]:
        """At most so many open calls and as many that have ended, the newest first."""
        going = sorted(self.open, key=_last, reverse=True)[:most]
        ended = list(self._recent.values())[-most:]
        return going + ended[::-1]

    # joining

    def _begins(self, sighting: Sighting) -> bool:
        """Whether a message without an id can be the first of a call."""
        if sighting.name in meaning.CALLING or sighting.name in {"RoutingInterception", "IncomingCall"}:
            return True
        return bool(sighting.origin) and sighting.name in _OF_A_CALL

    def _host(self, sighting: Sighting) -> Call | None:
        """The one call that the first message with an id, or a RoutingInterception, is about by numbers and time.

        It could begin a call of its own that is joined then; this gives the same and costs less.
        """
        routing = sighting.name == "RoutingInterception"
        if routing and meaning.is_retry(sighting):
            return None if sighting.call_id else self._attempt_of(sighting)
        if sighting.exchange in self._by_exchange or (sighting.origin and not sighting.call_id):
            return None  # what else came to a callback of this exchange, or of its origin, is of the same call
        if sighting.call_id:
            host = None if routing else self._matching.lacks_id(sighting)
            if host is not None:
                for passage in host.passages:
                    passage.how = How.NUMBERS
                self.counts.inferred += len(host.passages)
            return host
        return self._matching.lacks_way(sighting) if routing else None

    def _attempt_of(self, sighting: Sighting) -> Call | None:
        """The call whose next attempt this RoutingInterception is, if its numbers fit one alone."""
        found = self._matching.attempts(sighting)
        if len(found) > 1:
            self.counts.ambiguous += 1
            for call in found:
                call.remark(sighting.at, "a further RoutingInterception fits this call and others: not joined")
        return found[0] if len(found) == 1 else None

    def _join_by_numbers(self, call: Call, sighting: Sighting) -> None:
        """Look for the one other call that this one is, by numbers and time.

        One that ended with its first message (busy at once) has a beginning like any other. Afterwards it lacks none: a
        RoutingInterception that comes then is more likely of the next call.
        """
        over = call.state is State.ENDED and call.began_as == sighting.exchange
        if over:
            self._matching.follow(call)
        found = self._matching.partner(call)
        if over:
            self._matching.forget(call)
        if isinstance(found, int):
            if found:
                self.counts.ambiguous += 1
                call.remark(sighting.at, "its numbers and its time fit several calls: none was joined")
            return
        known, joined = (call, found) if call.ids or (call.outgoing and not found.ids) else (found, call)
        self._merge(known, joined, How.NUMBERS)

    def _root(self, sighting: Sighting, call: Call | None) -> Call | None:
        """The call in which the callback was captured that this message came to.

        What it says is exact: an inferred join of that exchange is confirmed by it, or refuted and taken back.
        """
        root = self._by_exchange.get(sighting.origin)
        if root is None or not root.ids:
            return root
        for passage in reversed(root.passages):
            if passage.sighting.exchange == sighting.origin:
                if passage.how is not How.NUMBERS:
                    break
                if root is call or not sighting.call_id:
                    passage.how = How.CALLBACK
                    break
                return self._take_back(root)
        return root

    def _take_back(self, call: Call) -> Call:
        """Take what was joined by inference out of a call again; the call that it makes."""
        inferred = [passage for passage in call.passages if passage.how is How.NUMBERS]
        exact = [passage for passage in call.passages if passage.how is not How.NUMBERS]
        if not exact:
            return call
        self.counts.refuted += 1
        self._serial += 1
        serials = (call.serial, self._serial)  # the older one for the part whose message came first
        if call.passages[0].how is How.NUMBERS:
            serials = serials[::-1]
        asked = [passage for passage in inferred if passage.sighting.kind is Kind.COMMAND]
        (asked or inferred)[0].how = How.FIRST
        self._lift(call)
        kept, freed = derived(exact, serial=serials[0]), derived(inferred, serial=serials[1])
        kept.parent, kept.children, kept.dropped = call.parent, call.children, call.dropped
        kept.remark(self.now, "a join by numbers was wrong and is taken back")
        for made in (kept, freed):
            self._take_over(made, call, call)
            for call_id in made.ids:
                self._by_id[call_id] = made
            self._file(made)
        return freed

    def _out_of(self, root: Call, call: Call) -> Call:
        """A call's message came to a callback of another call: both are one, or one came out of the other."""
        if root.ids:
            _link(root, call)
            return call
        if root.outgoing and call.outgoing and any(passage.how is How.NUMBERS for passage in call.passages):
            self._take_back(call)  # it was taken for the answer to another command
            call = self._by_id[call.id]
        return self._merge(call, root, How.CALLBACK)

    def _merge(self, call: Call, gone: Call, how: How) -> Call:
        """Make one call of two; how ``gone`` belongs to it is said of each of its messages."""
        for passage in gone.passages:
            if how is How.NUMBERS or passage.how is How.FIRST:
                passage.how = how
        if how is How.NUMBERS:
            self.counts.inferred += len(gone.passages)
        self._lift(gone)
        self._lift(call)
        older, newer = (gone, call) if gone.serial < call.serial else (call, gone)  # of what is at one instant
        both = {passage.sighting.exchange: passage for passage in (*older.passages, *newer.passages)}
        made = derived(both.values(), serial=call.serial)
        made.dropped = call.dropped + gone.dropped
        made.parent = call.parent or gone.parent
        made.children = tuple(dict.fromkeys(call.children + gone.children))
        for remark in (*call.remarks, *gone.remarks):
            if not remark.text.startswith(BEGINNING_UNSEEN):  # where that is still so, the messages have just told it
                made.remark(remark.at, remark.text)
        for call_id in (*call.ids, *gone.ids):
            self._by_id[call_id] = made
        self._take_over(made, call, gone)
        while len(made.passages) > self.bounds.passages:
            self._trim(made)
        self._file(made)
        return made

    def _take_over(self, made: Call, one: Call, other: Call) -> None:
        """Let a call be found by its exchanges, and by the origins by which the calls that it is made of were found."""
        for passage in made.passages:
            self._by_exchange[passage.sighting.exchange] = made
            origin = passage.sighting.origin
            if origin:
                known = self._by_exchange.get(origin)
                if known is one or known is other:
                    self._by_exchange[origin] = made

    # keeping

    def _begin(self, sighting: Sighting) -> Call:
        self._serial += 1
        self.counts.began += 1
        return new_call(sighting, self._serial)

    def _put(self, call: Call, sighting: Sighting, how: How, *, also: bool = False) -> Call:
        """Add a message to a call; ``also`` to this one beside another. The call, which may have become another."""
        stub = None if also else self._by_exchange.get(sighting.exchange)
        passages = call.passages
        passages.append(Passage(sighting, how))
        if how is How.NUMBERS:
            self.counts.inferred += 1
        elif how is not How.FIRST:
            self.counts.exact += 1
        if len(passages) > self.bounds.passages:
            self._trim(call)
        call.seen(sighting)
        if also:
            self._file(call)
            return call
        self._by_exchange[sighting.exchange] = call
        if sighting.call_id:
            self._named(call, sighting.call_id)
        elif how is How.FIRST and sighting.origin:
            self._by_exchange[sighting.origin] = call  # what comes to callbacks of that exchange is this call's
        self._file(call)
        if stub is not None and stub is not call and not stub.ids and stub.home:  # it may just have been forgotten
            return self._merge(call, stub, How.CALLBACK)
        return call

    def _named(self, call: Call, call_id: str) -> None:
        if self._by_id.get(call_id) is not call and call_id in call.ids:
            if len(call.ids) == 1:
                call.id = call_id
            self._by_id[call_id] = call

    def _file(self, call: Call) -> None:
        """Put a call into the list of its state."""
        if call.state is State.ENDED:
            if call.cause is Cause.UNANSWERED:
                self._matching.follow(call)
            else:
                self._matching.forget(call)
            if call.home != _RECENT:
                self._move(call, _RECENT)
                if len(self._recent) > self.bounds.recent:
                    self._forget(next(iter(self._recent.values())))
            return
        home = _STANDING if call.state in _UP else _SETTING_UP
        if call.home != home:
            self._move(call, home)
            if self.open_count > self.bounds.open:
                self._make_room(call)
        if call.moved:
            call.moved = False
            self._matching.follow(call)

    def _move(self, call: Call, home: int) -> None:
        if call.home:
            del self._lists[call.home][call.serial]
        self._lists[home][call.serial] = call
        call.home = home
        call.filed = self.now

    def _lift(self, call: Call) -> None:
        """Take a call out of all lists, to be put back as another."""
        if call.home:
            del self._lists[call.home][call.serial]
            call.home = 0
        self._matching.forget(call)

    def _forget(self, call: Call) -> None:
        if self.forgets is not None:
            self.forgets(call)
        self._lift(call)
        for call_id in call.ids:
            if self._by_id.get(call_id) is call:
                del self._by_id[call_id]
        for passage in call.passages:
            for exchange in (passage.sighting.exchange, passage.sighting.origin):
                if self._by_exchange.get(exchange) is call:
                    del self._by_exchange[exchange]

    def _trim(self, call: Call) -> None:
        gone = call.passages.pop(min(HEAD_KEPT, len(call.passages) - 2))
        call.dropped += 1
        self.counts.trimmed += 1
        for exchange in (gone.sighting.exchange, gone.sighting.origin):
            if self._by_exchange.get(exchange) is call and gone.sighting is not call.passages[-1].sighting:
                del self._by_exchange[exchange]

    def _wait(self, sighting: Sighting) -> None:
        if len(self._waiting) >= WAITING:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[sighting.exchange] = sighting

    def _answered(self, sighting: Sighting, closing: Closing) -> None:
        """The PBX has answered a command that names a call we did not know; only its 200 makes a call of an id."""
        sighting.closing = closing
        if closing.code != _OK:
            return
        self._advance(closing.at)
        known = self._by_id.get(sighting.call_id)
        call = self._put(self._begin(sighting), sighting, How.FIRST)
        self._end_of(call, sighting, closing)
        if known is not None:  # another message was quicker, but this one was before it
            self._merge(known, call, How.CALL_ID)

    def _end_of(self, call: Call, sighting: Sighting, closing: Closing) -> None:
        before = call.state
        call.closed(sighting, closing)
        if call.state is not before:
            self._file(call)
        elif not call.ids and call.home != _RECENT:
            self._matching.follow(call)

    def _sighting(self, exchange: str) -> tuple[Call, Sighting] | None:
        call = self._by_exchange.get(exchange)
        if call is not None:
            for passage in reversed(call.passages):
                if passage.sighting.exchange == exchange:
                    return call, passage.sighting
        return None

    # time and room

    def _advance(self, at: float) -> None:
        if at > self.now:  # noqa: PLR1730 - a call of max() costs more than the rest
            self.now = at

    def _expire(self) -> None:
        """Close what nothing was heard of for too long. A call that was heard of moves back to the end of its list."""
        for home, seconds in ((_SETTING_UP, self.bounds.setup), (_STANDING, self.bounds.idle)):
            calls = self._lists[home]
            while calls:
                call = next(iter(calls.values()))
                if call.filed + seconds > self.now:
                    break
                if call.last + seconds > self.now:
                    del calls[call.serial]
                    calls[call.serial] = call
                    call.filed = call.last
                    continue
                self.counts.unseen += 1
                call.remark(self.now, f"no end was seen: nothing was heard of it for {seconds:.0f} s")
                call.end(call.last + seconds, Cause.UNSEEN)
                self._file(call)

    def _make_room(self, new: Call) -> None:
        """Give up the call that was filed first, of those that are not connected if there is one."""
        self._expire()
        if self.open_count <= self.bounds.open:
            return
        calls = self._setting_up if len(self._setting_up) > (new.home == _SETTING_UP) else self._standing
        call = next(iter(calls.values()))
        self.counts.crowded += 1
        call.remark(self.now, "too many calls were open: this one was not followed further")
        call.end(self.now, Cause.CROWDED)
        self._file(call)


def _link(root: Call, call: Call) -> None:
    if not call.parent and root is not call:
        call.parent = root.id
        if call.id not in root.children and len(root.children) < CHILDREN:
            root.children = (*root.children, call.id)


def _is_reused(call: Call, sighting: Sighting) -> bool:
    """Whether an id that we know is given to another call."""
    assert call.ended is not None
    if call.cause in PRESUMED or sighting.at - call.ended < REUSE_SECONDS:
        return False
    found = meaning.seen(sighting)
    return found is not None and found[0] is Signal.RANG


def _moment(happened: tuple[float, int, Sighting]) -> tuple[float, int]:
    return happened[0], happened[1]


def _last(call: Call) -> float:
    return call.last
