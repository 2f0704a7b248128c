"""The calls of one worker while it runs: records come in as they are made, calls are told to whoever asks.

The exchange that a record is of only puts it into a queue; it is read into calls a little later, some at a time, and
for a small share of the time only: in a flood exchanges go first, and what finds no room in the queue is missed.
At a start the last minutes of the journal are read, so calls go on across a restart, planned or not.

``ListActiveCalls`` is asked of every PBX now and then, where config says so, and held against what we know.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from interceptor.audit.record import Record
from interceptor.calls import Bounds, Call, Calls, Counts, State
from interceptor.calls.comparison import Comparer, Comparison, Listed
from interceptor.calls.ladder import CallLine, Ladder, ladder_of, line_of
from interceptor.calls.merging import merged
from interceptor.exchanges import Fault
from interceptor.gateway.clusters import ClusterRoute, Endpoint
from interceptor.gateway.http1 import Reply
from interceptor.journal.replaying import replay, workers_of
from interceptor.metrics import Metrics
from interceptor.settings import CallSettings, Deadlines, JournalSettings
from interceptor.sightings import Follower
from interceptor.wire.active import read_active_calls
from interceptor.wire.numbers import NumberReader

log = logging.getLogger(__name__)

QUEUED: Final = 2_048  # records that wait to be read, some 2 kB each; more are missed, and counted
BATCH: Final = 64  # records read in one turn of the loop: about half a millisecond
CATCH_UP: Final = 512  # records that are read first when somebody asks
WAIT_SECONDS: Final = 0.05
# Of the loop's time that reading may take: exchanges go first. Some 4,000 of them a second are read. It is processor
# time: on a busy machine a clock on the wall would count as ours what others took, and we would fall behind for it.
SHARE: Final = 0.05
TICK_SECONDS: Final = 1.0
REPLAY_BYTES: Final = 128 << 20
POLL_DEADLINES: Final = Deadlines(5.0, 10.0)
SHOWN: Final = 500  # calls of each sort on one page
NEAR_SECONDS: Final = 30.0
_QUESTION: Final = "ListActiveCalls"


class Export(Struct):
    """What a worker tells of its calls: some of them whole, and the numbers of all."""

    calls: list[Call]
    open: int
    states: dict[str, int]
    counts: Counts
    missed: int
    behind: int
    comparisons: list[Comparison]


class CallsPage(Struct):
    """``/calls``: how many there are, and the newest.

    ``missed`` records were never read, because there were too many at once; ``behind`` are still to be read.
    """

    open: int
    states: dict[str, int]
    counts: Counts
    missed: int
    behind: int
    calls: list[CallLine]
    comparisons: list[Comparison]


class Wanted(Struct):
    """Which calls a worker is asked for: the newest, those with one of these names, those of such numbers then."""

    newest: int = 0
    names: list[str] = []
    near: list[tuple[str, str, float]] = []


class LiveCalls:
    """The calls of one worker. ``workers`` says how many there are, ``index`` which this one is."""

    def __init__(
        self,
        settings: CallSettings,
        journal: JournalSettings,
        numbers: NumberReader,
        metrics: Metrics,
        loop: asyncio.AbstractEventLoop,
        *,
        index: int = 0,
        workers: int = 1,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._metrics = metrics
        self._loop = loop
        self._index = index
        self._workers = workers
        self.bounds = bounds_of(settings)
        self._calls = Calls(self.bounds)
        self._follower = Follower(self._calls, numbers, journal.masking)
        self._queue: deque[Record] = deque()
        self._scheduled = False
        self._faulty = False
        self._ticked = 0.0
        self._polls: list[_Poll] = []
        self._timer: asyncio.TimerHandle | None = None
        self.missed = 0

    # records

    def observe(self, record: Record) -> None:
        """A record was made. Costs a tenth of a microsecond; what it means is read later."""
        queue = self._queue
        if len(queue) < QUEUED:
            queue.append(record)
            if not self._scheduled:
                self._scheduled = True
                self._loop.call_later(WAIT_SECONDS, self._read_some)
        else:
            self.missed += 1

    async def restore(self) -> int:
        """Read the end of the journal; how many records. To be called before the first exchange."""
        if not self._settings.open or not self._settings.replay:
            return 0
        began = time.perf_counter()
        read = await asyncio.to_thread(self._restore)
        self._calls.tick(time.time())
        log.info(
            "%d records of the journal read in %.1f s: %d calls are open",
            read,
            time.perf_counter() - began,
            self._calls.open_count,
        )
        self._calls.counts = Counts()  # what was counted before is not counted again
        return read

    def _restore(self) -> int:
        read = 0
        try:
            # A worker that is no more has an heir, so that fewer workers than before lose no calls.
            mine = [name for name in workers_of(self._journal.directory) if self._inherits(name)]
            since = time.time() - self._settings.replay
            for record in replay(self._journal.directory, mine, since=since, most_bytes=REPLAY_BYTES):
                self._follow(record)
                read += 1
        except OSError as fault:
            log.warning("the journal could not be read again, calls before this start are unknown: %s", fault)
        return read

    def _inherits(self, worker: str) -> bool:
        number = worker.removeprefix("w")
        return number.isdigit() and int(number) % self._workers == self._index

    def _read_some(self) -> None:
        queue = self._queue
        began = time.thread_time()
        for _ in range(min(BATCH, len(queue))):
            self._follow(queue.popleft())
        if queue:
            rest = (time.thread_time() - began) * (1 / SHARE - 1)
            self._loop.call_later(rest, self._read_some)
            return
        self._scheduled = False
        now = time.time()
        if now - self._ticked > TICK_SECONDS:
            self._ticked = now
            self._calls.tick(now)

    def _follow(self, record: Record) -> None:
        try:
            self._follower.follow(record)
        except Exception:  # what we cannot understand must not end the worker; one of a kind is told
            self.missed += 1
            if not self._faulty:
                self._faulty = True
                log.exception("a record could not be read into calls")

    # questions

    @property
    def calls(self) -> Calls:
        """The calls as of now, or under a flood of records a little before."""
        queue = self._queue
        for _ in range(min(CATCH_UP, len(queue))):
            self._follow(queue.popleft())
        return self._calls

    def revision_of(self, call: str) -> str:
        """The policy's revision when this call began; ``""`` for one that is not known."""
        return self.calls.revision_of(call)

    def export(self, wanted: Wanted) -> Export:
        """What is asked for."""
        calls = self.calls
        calls.tick(time.time())
        found = {call.serial: call for call in calls.newest(min(wanted.newest, SHOWN))} if wanted.newest else {}
        for name in wanted.names:
            call = calls.find(name)
            if call is not None:
                found[call.serial] = call
        if wanted.near:
            found |= {call.serial: call for call in (*calls.open, *calls.recent) if _is_near(call, wanted.near)}
        return Export(
            list(found.values())[: 4 * SHOWN],
            calls.open_count,
            states_of(calls),
            calls.counts,
            self.missed,
            len(self._queue),
            [poll.latest for poll in self._polls if poll.latest is not None],
        )

    def gauge(self) -> None:
        """Put the numbers into the metrics."""
        calls = self._calls
        polled = [poll.latest for poll in self._polls if poll.latest is not None]
        self._metrics.calls_followed(
            states_of(calls),
            {**msgspec.structs.asdict(calls.counts), "missed": self.missed},
            unknown=sum(each.unknown for each in polled) if self._polls else None,
            lost=sum(poll.lost for poll in self._polls) if self._polls else None,
        )

    # the PBX's own list

    def start_polls(self, clusters: Mapping[str, ClusterRoute]) -> None:
        """Ask the PBXs for their calls now and then, where config says so."""
        endpoints = {endpoint.host: endpoint for route in clusters.values() for endpoint in route.endpoints}
        if self._settings.poll is None or not self._settings.open:
            return
        alone = len(endpoints) == 1
        self._polls = [_Poll(self, endpoint, self._loop, alone=alone) for endpoint in endpoints.values()]
        self._poll()

    def stop(self) -> None:
        """Ask no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _poll(self) -> None:
        assert self._settings.poll is not None
        for poll in self._polls:
            poll.ask()
        self._timer = self._loop.call_later(self._settings.poll, self._poll)


class _Poll:
    """The question for the calls of one PBX."""

    def __init__(self, live: LiveCalls, endpoint: Endpoint, loop: asyncio.AbstractEventLoop, *, alone: bool) -> None:
        self._live = live
        self._endpoint = endpoint
        self._loop = loop
        self._comparer = Comparer(endpoint.host, alone=alone)
        self._request = endpoint.question(_QUESTION)
        self._asked_at = 0.0
        self._asking = False
        self.latest: Comparison | None = None
        self.lost = 0

    def ask(self) -> None:
        """Ask, unless the last answer is still out."""
        if self._asking:
            return
        self._asking = True
        self._asked_at = time.time()
        self._endpoint.pool.send(self, self._request, POLL_DEADLINES)

    def replied(self, reply: Reply) -> None:
        """It has answered; a long list is read beside the exchanges."""
        self._loop.run_in_executor(None, _read, reply.body).add_done_callback(self._read)

    def failed(self, fault: Fault, *, sent: bool, stale: bool = False) -> None:
        """It has not."""
        del sent, stale
        self._asking = False
        self._note(fault.value)

    def _read(self, done: "asyncio.Future[tuple[Listed, ...] | None]") -> None:
        self._asking = False
        if done.cancelled():
            return
        listed = None if done.exception() is not None else done.result()
        if listed is None:
            self._note("no list of calls in the answer")
            return
        self.latest = self._comparer.compare(self._live.calls, listed, self._asked_at)
        self.lost += self.latest.lost

    def _note(self, why: str) -> None:
        self.latest = Comparison(self._asked_at, self._endpoint.host, 0, failed=why)


def _read(body: bytes) -> tuple[Listed, ...] | None:
    found = read_active_calls(body)
    if found is None:
        return None
    return tuple(Listed(each.call_id, each.state, each.source, each.destination, each.started) for each in found)


def bounds_of(settings: CallSettings) -> Bounds:
    """The bounds that config names."""
    return Bounds(settings.open, settings.recent, settings.messages, settings.idle, settings.setup, settings.window)


def states_of(calls: Calls) -> dict[str, int]:
    """How many open calls are in each state; one of which only reports were seen has none yet."""
    states = {state.value: 0 for state in State if state not in {State.NEW, State.ENDED}}
    for call in calls.open:
        if call.state.value in states:
            states[call.state.value] += 1
    return states


def _is_near(call: Call, near: Iterable[tuple[str, str, float]]) -> bool:
    return any(
        caller == call.caller and number in {call.dialled, call.routed_to} and abs(call.began - at) <= NEAR_SECONDS
        for caller, number, at in near
    )


# all workers together


def page_of(exports: Sequence[Export], bounds: Bounds, most: int) -> CallsPage:
    """``/calls`` of all workers."""
    found = merged([export.calls for export in exports], bounds)
    found.sort(key=_newest_first)
    going = [call for call in found if call.is_open][:most]
    ended = [call for call in found if not call.is_open][:most]
    states: dict[str, int] = {}
    counts = Counts()
    for export in exports:
        for state, number in export.states.items():
            states[state] = states.get(state, 0) + number
        for field in Counts.__struct_fields__:
            setattr(counts, field, getattr(counts, field) + getattr(export.counts, field))
    return CallsPage(
        sum(export.open for export in exports),
        states,
        counts,
        sum(export.missed for export in exports),
        sum(export.behind for export in exports),
        [line_of(call) for call in (*going, *ended)],
        _compared(exports),
    )


def _newest_first(call: Call) -> float:
    return -call.last


def _compared(exports: Sequence[Export]) -> list[Comparison]:
    """One comparison for each PBX: unknown is what no worker knows, lost what any of them held."""
    by_endpoint: dict[str, list[Comparison]] = {}
    for export in exports:
        for each in export.comparisons:
            by_endpoint.setdefault(each.endpoint, []).append(each)
    found = []
    for endpoint, parts in by_endpoint.items():
        latest = max(parts, key=lambda part: part.at)
        unknown = {each.call_id: each for each in parts[0].unknown_calls}
        for part in parts[1:]:
            ids = {each.call_id for each in part.unknown_calls}
            unknown = {call_id: each for call_id, each in unknown.items() if call_id in ids}
        lost = tuple(dict.fromkeys(call_id for part in parts for call_id in part.lost_calls))
        number = parts[0].unknown if len(parts) == 1 else len(unknown)
        found.append(
            Comparison(
                latest.at,
                endpoint,
                latest.listed,
                number,
                sum(part.lost for part in parts),
                tuple(unknown.values()),
                lost,
                latest.failed,
            )
        )
    return found


def wanted_beside(exports: Sequence[Export]) -> Wanted:
    """What else to ask the workers for, so that a call which several of them have parts of is whole."""
    names: dict[str, None] = {}
    near: list[tuple[str, str, float]] = []
    for export in exports:
        for call in export.calls:
            names |= dict.fromkeys(call.ids)
            for passage in call.passages:
                names[passage.sighting.exchange] = None
                if passage.sighting.origin:
                    names[passage.sighting.origin] = None
            near += [
                (call.caller, number, call.began)
                for number in dict.fromkeys((call.dialled, call.routed_to))
                if call.caller and number
            ]
    return Wanted(names=list(names), near=near)


def ladder_from(exports: Sequence[Export], bounds: Bounds, name: str) -> Ladder | None:
    """The ladder of the call with this name, of what the workers have of it."""
    parts = [export.calls for export in exports]
    found = merged(parts, bounds)
    for call in found:
        if call.is_called(name):
            return ladder_of(call)
    return None


def encode_export(export: Export) -> bytes:
    """An export for the way from worker to supervisor."""
    return msgspec.msgpack.encode(export)


def decode_export(data: bytes) -> Export:
    """What :func:`encode_export` wrote."""
    return msgspec.msgpack.decode(data, type=Export)
