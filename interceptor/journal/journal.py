"""Audit records are given here from the event loop and written by one thread, many at a time.

Laws of this module:

* A record that somebody waits for (``then``) is on disk before ``then(True)``. What comes while the thread is writing,
  and for as long as each turn of the loop brings more, is one batch and one sync: never a sync a record under load.
* A record gets its sequence number when its batch is made, so the numbers in the files have no holes, whatever fails.
* While the journal cannot write, nobody waits: ``then(False)`` at once. Records are still kept in memory up to
  ``pending``, and written when the disk is back, behind a gap record: since when, why, and how many did not fit.
"""

import asyncio
import contextlib
import errno
import logging
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from typing import Protocol

import msgspec
from msgspec import Struct

from interceptor.audit.record import GapRecord, Instants, Record, readable
from interceptor.journal.chain import NOT_WRITTEN, Chain, Repair
from interceptor.settings import Durability, JournalSettings

log = logging.getLogger(__name__)

Then = Callable[[bool], None]

FLUSH_RECORDS = (
    256  # relaxed: so many are written without waiting for the clock; more leave the processor's cache meanwhile
)
BATCH_RECORDS = 2000  # a batch is encoded on the loop: this many take about a millisecond
# The thread needs the interpreter twice a batch: to take it, and to say that it is written. A busy loop lets go of it
# only when asked, after this long. Python's five milliseconds would be the journal's latency then, and with half of one
# a command in a strict journal waited twice as long, at a hundred calls a second, as it does with a tenth.
SWITCH_SECONDS = 0.0001
# A sync costs the processor some 0.2 ms: a busy worker gathers this long for one, and until a turn that brings nothing.
GATHER_SECONDS = 0.002
RETRY_SECONDS = 0.25  # how often a journal that cannot write tries again
STALL_SECONDS = 5.0  # a write that takes longer than this counts as "cannot write"
CLOSE_SECONDS = 10.0  # how long closing waits for the disk


class Watcher(Protocol):
    """Who counts what the journal does; the metrics."""

    def journal_written(self, records: int, size: int, seconds: float) -> None: ...
    def journal_failed(self, reason: str) -> None: ...
    def journal_lost(self, records: int) -> None: ...
    def limit_hit(self, limit: str) -> None: ...


class Statistics(Struct):
    """What the journal has done since it was opened; ``seconds`` is the time spent writing and syncing."""

    records: int = 0
    size: int = 0
    batches: int = 0
    failures: int = 0
    lost: int = 0
    seconds: float = 0.0
    slowest_seconds: float = 0.0
    pending: int = 0


class Journal:
    """One worker's journal."""

    def __init__(
        self,
        settings: JournalSettings,
        worker: str,
        loop: asyncio.AbstractEventLoop,
        watcher: Watcher | None = None,
        *,
        retry_seconds: float = RETRY_SECONDS,
        stall_seconds: float = STALL_SECONDS,
        gather_seconds: float = GATHER_SECONDS,
    ) -> None:
        self._chain = Chain(settings.directory, worker, settings.file_bytes, settings.files)
        self._worker = worker
        self._loop = loop
        self._watcher = watcher
        self._strict = settings.durability is Durability.STRICT
        self._flush_seconds = settings.flush_seconds
        self._limit = self._room = settings.pending  # for all that is not in the files; for what is in no batch yet
        self._retry_seconds = retry_seconds
        self._stall_seconds = stall_seconds
        self._gather_seconds = gather_seconds
        self._encode = msgspec.json.Encoder().encode_lines
        self._records: list[Record] = []
        self._thens: list[Then | None] = []
        self._batch: list[Record] = []
        self._batch_thens: list[Then | None] = []
        self._waiting = 0  # who has come to wait since the last batch was made
        self._gathered = 0  # as many as there were when the loop was last asked whether it has more
        self._gather_until = 0.0
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._stall: asyncio.TimerHandle | None = None
        self._can_write = False
        self._noted = 0  # records that those before us lost, while that is not on record
        self._lost = 0  # since the last gap record that reached the disk
        self._has_gap = False  # whether the batch begins with a gap record for the outage
        self._told_lost = 0  # what that gap record says
        self._outage: tuple[float, str] | None = None  # since when, why
        self._idle = asyncio.Event()
        self._closing = False
        self._jobs: queue.SimpleQueue[tuple[bytes, int, bool] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._statistics = Statistics()

    @property
    def healthy(self) -> bool:
        """Whether records can be written; false from the first failure until a write succeeds again."""
        return self._can_write

    @property
    def outage(self) -> str:
        """Why the journal cannot write; empty while it can."""
        return "" if self._outage is None or self._can_write else self._outage[1]

    @property
    def sequence(self) -> int:
        """The number of the last record in the files."""
        return self._chain.sequence

    @property
    def statistics(self) -> Statistics:
        """What has been done so far."""
        self._statistics.pending = len(self._records) + len(self._batch)
        return self._statistics

    async def open(self) -> tuple[Repair, ...]:
        """Take the chain, mend a torn end, start the thread. Raises :class:`JournalError`; returns what was mended."""
        repairs = await asyncio.to_thread(self._chain.open)
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_SECONDS))
        self._can_write = True
        self._idle.set()
        self._thread = threading.Thread(target=self._run, name=f"journal-{self._worker}", daemon=True)
        self._thread.start()
        for repair in repairs:
            self._keep(self._gap(repair.reason, lost=repair.lost, detail=repair.detail), None)
        self._noted = sum(repair.lost for repair in repairs if repair.reason == NOT_WRITTEN)
        if repairs:
            self._start()
            await self._idle.wait()
        return repairs

    def append(self, record: Record, then: Then | None = None) -> None:
        """Keep ``record``; ``then`` hears whether it is safe.

        In ``strict``, ``then(True)`` comes once it is on disk; in ``relaxed`` at once, from inside this call, as
        ``then(False)`` does. A record without ``then`` goes with the next batch, after ``flush_seconds`` at the latest.
        """
        records = self._records
        if len(records) >= self._room:
            self._lose(then)
            return
        records.append(record)
        if then is not None:
            if not self._strict:
                then(True)
                then = None
            elif self._can_write:
                self._thens.append(then)
                self._waiting += 1
                if not self._scheduled:
                    self._scheduled = True
                    self._begin_gathering()
                return
            else:
                then(False)
                then = None
        self._thens.append(None)
        if not self._scheduled and self._can_write:
            if len(records) >= FLUSH_RECORDS:
                self._scheduled = True
                self._loop.call_soon(self._start)
            elif self._timer is None:
                self._timer = self._loop.call_later(self._flush_seconds, self._flush)

    async def close(self) -> None:
        """Write and sync what is left, as far as the disk allows, and let go of the chain."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self._closing = True
        hangs = False
        try:
            async with asyncio.timeout(CLOSE_SECONDS):
                await self._idle.wait()
                while self._records or self._outage:
                    before = len(self._records)
                    self._start()
                    await self._idle.wait()
                    if not self._can_write and len(self._records) >= before:
                        break
                self._jobs.put(None)
                await asyncio.to_thread(thread.join)
        except TimeoutError:
            hangs = True
            self._jobs.put(None)  # the thread is a daemon: a hanging disk does not keep the process
            self._records = self._batch + self._records
        self._can_write = False
        for timer in (self._timer, self._stall):
            if timer is not None:
                timer.cancel()
        self._limit = self._room = 0  # what comes now is lost, and told so
        kept_out = [record for record in self._records if not isinstance(record, GapRecord)]
        if kept_out:
            self._count_lost(len(kept_out))
        self._records, self._thens = [], []
        if self._lost:
            why = self._outage[1] if self._outage is not None else "the disk does not answer"
            log.error("the journal of %s ends without %d records: %s", self._worker, self._lost, why)
            if not hangs:  # else it would hold us up, too
                self._chain.leave_note(self._lost + self._noted, why)

    # On the loop: gathering and batches.

    def _keep(self, record: Record, then: Then | None) -> None:
        self._records.append(record)
        self._thens.append(then)

    def _lose(self, then: Then | None) -> None:
        self._count_lost(1)
        if self._watcher is not None and self._limit:
            self._watcher.limit_hit("pending")
        if self._outage is None:
            self._outage = (time.time(), "too many records waiting")
        if then is not None:
            then(False)

    def _count_lost(self, records: int) -> None:
        self._lost += records
        self._statistics.lost += records
        if self._watcher is not None:
            self._watcher.journal_lost(records)

    def _gap(self, reason: str, *, lost: int = 0, since: float | None = None, detail: str = "") -> GapRecord:
        instants = Instants()
        began = "" if since is None else instants.text(since)
        return GapRecord(0, instants.text(time.time()), self._worker, reason, lost, began, detail)

    def _flush(self) -> None:
        self._timer = None
        if not self._scheduled and self._records:
            self._start()

    def _begin_gathering(self) -> None:
        """Somebody waits for the batch that is to be made: make it as soon as the loop has nothing to add."""
        self._gathered = self._waiting
        self._gather_until = self._loop.time() + self._gather_seconds
        self._loop.call_soon(self._gather)

    def _gather(self) -> None:
        gathered, self._gathered = self._gathered, self._waiting
        if gathered < self._gathered < BATCH_RECORDS and self._loop.time() < self._gather_until:
            self._loop.call_soon(self._gather)
        else:
            self._start()

    def _start(self) -> None:
        """Make a batch of what has gathered and hand it to the thread."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._batch or not (self._records or self._outage):
            return
        self._scheduled = True
        self._waiting = 0
        self._idle.clear()
        if self._outage is not None:
            since, why = self._outage
            self._told_lost = self._lost
            self._has_gap = True
            self._records.insert(0, self._gap("not_written", lost=self._lost, since=since, detail=why))
            self._thens.insert(0, None)
        if len(self._records) <= BATCH_RECORDS:
            batch, thens = self._records, self._thens
            self._records, self._thens = [], []
        else:
            batch, thens = self._records[:BATCH_RECORDS], self._thens[:BATCH_RECORDS]
            del self._records[:BATCH_RECORDS], self._thens[:BATCH_RECORDS]
        self._batch, self._batch_thens = batch, thens
        self._room = self._limit - len(batch)
        sequence = self._chain.sequence
        for record in batch:
            sequence += 1
            record.sequence = sequence
        try:
            data = self._encode(batch)
        except Exception:  # noqa: BLE001 - whatever one record holds, the others are kept
            data = self._encode_one_by_one(batch)
        self._stall = self._loop.call_later(self._stall_seconds, self._stalled)
        self._jobs.put((data, len(batch), self._strict))

    def _encode_one_by_one(self, batch: list[Record]) -> bytes:
        lines = []
        for record in batch:
            try:
                lines.append(self._encode([readable(record)]))
            except Exception as error:  # noqa: BLE001 - a record that is none must not stop the journal
                instead = self._gap("not_encodable", lost=1, detail=f"{type(record).__name__}: {error}")
                instead.sequence = record.sequence
                lines.append(self._encode([instead]))
        return b"".join(lines)

    def _written(self, size: int, seconds: float) -> None:
        """The batch is in the file: say so, and see what has gathered meanwhile."""
        batch, thens = self._end_batch()
        statistics = self._statistics
        statistics.batches += 1
        statistics.records += len(batch)
        statistics.size += size
        statistics.seconds += seconds
        statistics.slowest_seconds = max(statistics.slowest_seconds, seconds)
        if self._watcher is not None:
            self._watcher.journal_written(len(batch), size, seconds)
        self._can_write = True
        if self._noted and any(isinstance(record, GapRecord) for record in batch):
            self._noted = 0
            self._chain.forget_note()
        if self._has_gap:
            self._has_gap = False
            self._lost -= self._told_lost
            self._outage = None if not self._lost else (time.time(), "too many records waiting")
            log.warning("the journal of %s writes again; %d records are lost", self._worker, self._told_lost)
        self._go_on()
        for then in thens:
            if then is not None:
                self._tell(then, safe=True)

    def _go_on(self) -> None:
        """Begin the next batch now, if somebody waits for it or there is much of it; else let the clock do it."""
        if not self._records and self._outage is None:
            self._scheduled = False
            self._idle.set()
        elif self._outage is not None or len(self._records) >= FLUSH_RECORDS:
            self._start()
        elif any(self._thens):
            self._begin_gathering()
        else:
            self._scheduled = False
            self._idle.set()
            if self._timer is None and not self._closing:
                self._timer = self._loop.call_later(self._flush_seconds, self._flush)

    def _failed(self, why: str, reason: str) -> None:
        """The batch is not in the file: nobody may wait for it, but it is kept for the next try."""
        batch, thens = self._end_batch()
        if self._has_gap:
            self._has_gap = False
            del batch[0], thens[0]
        thens += self._thens
        self._records = batch + self._records
        self._thens = [None] * len(self._records)
        self._statistics.failures += 1
        if self._watcher is not None:
            self._watcher.journal_failed(reason)
        self._cannot_write(why)
        self._scheduled = False
        self._idle.set()
        if not self._closing:
            self._timer = self._loop.call_later(self._retry_seconds, self._flush)
        for then in thens:
            if then is not None:
                self._tell(then, safe=False)

    def _stalled(self) -> None:
        """The disk hangs: whoever waits is told no. The batch may still arrive; then there is a record of a refusal."""
        self._cannot_write("the disk does not answer")
        thens = self._batch_thens + self._thens
        self._batch_thens = [None] * len(self._batch_thens)
        self._thens = [None] * len(self._thens)
        for then in thens:
            if then is not None:
                self._tell(then, safe=False)

    def _cannot_write(self, why: str) -> None:
        if self._can_write:
            log.error("the journal of %s cannot write: %s; its records wait in memory", self._worker, why)
        self._can_write = False
        if self._outage is None:
            self._outage = (time.time(), why)

    def _end_batch(self) -> tuple[list[Record], list[Then | None]]:
        if self._stall is not None:
            self._stall.cancel()
            self._stall = None
        batch, thens = self._batch, self._batch_thens
        self._batch, self._batch_thens = [], []
        self._room = self._limit
        return batch, thens

    def _tell(self, then: Then, *, safe: bool) -> None:
        try:
            then(safe)
        except Exception as error:  # noqa: BLE001 - one who fails to listen must not cost the others their answer
            self._loop.call_exception_handler(
                {"message": "a journal callback failed", "exception": error, "callback": then}
            )

    # In the thread: the disk.

    def _run(self) -> None:
        if self._strict:
            _step_ahead()
        while (job := self._jobs.get()) is not None:
            data, count, durable = job
            began = time.perf_counter()
            try:
                self._chain.write(data, count, durable=durable)
            except OSError as error:
                self._report(self._failed, error.strerror or str(error), _reason(error))
            except Exception as error:  # noqa: BLE001 - the thread lives as long as the journal
                self._report(self._failed, f"{type(error).__name__}: {error}", "fault")
            else:
                self._report(self._written, len(data), time.perf_counter() - began)
        with contextlib.suppress(OSError):
            self._chain.sync()
        self._chain.close()

    def _report(self, callback: Callable[..., None], *arguments: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left to tell
            self._loop.call_soon_threadsafe(callback, *arguments)


def _step_ahead() -> None:
    """Let this thread run as soon as the disk has answered, whoever else is at work, where the system allows it.

    Commands wait for it, and it needs a processor six times a batch, some tens of microseconds in all. Beside processes
    that leave nothing idle, each of the six takes up to a tick of the system's clock (4 ms); the 99th percentile of a
    command's wait was 7.4 ms with them and 5.3 without.
    """
    with contextlib.suppress(OSError, AttributeError):  # not permitted; not Linux
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))


def _reason(error: OSError) -> str:
    """The label under which a failure is counted."""
    return errno.errorcode.get(error.errno or 0, "fault").lower()
