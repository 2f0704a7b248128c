"""Keeps an app's notifications while it cannot take them, and delivers them one after the other.

Laws of this module:

* ``put`` is true only for what is on disk. Several puts at once share one sync.
* Entries leave in the order they came, one at a time; the next is tried once the one before it arrived or expired.
  One is put when its delivery has failed, which may be after newer ones: ``at``, when it came, tells its place.
  Where several workers have an outbox for one app, that holds for all of them together (``turns.py``).
* A full outbox refuses the newest: what was promised stays promised.
* Delivery is at least once: a process that dies between delivery and note delivers again.
"""

import asyncio
import contextlib
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from interceptor.outbox.log import COMPACT_BYTES, Entry, Gone, Log
from interceptor.outbox.turns import AddressTurn, Turn

FIRST_PAUSE = 0.5  # seconds after the first failure; doubled after each
LONGEST_PAUSE = 60.0
DELIVERY_SECONDS = 60.0  # for one delivery; the callable has its own, shorter deadlines
LOOK_SECONDS = 0.005  # how often a worker looks whether it is its turn
EMPTY_BYTES = 64 << 10  # an outbox without entries is rewritten when its file is this long
KEEP_SECONDS = 86_400.0  # an entry older than this tells the app nothing it can still use


class Watcher(Protocol):
    """Who counts what the outbox does; the metrics."""

    def outbox_kept(self, app: str) -> None: ...
    def outbox_delivered(self, app: str) -> None: ...
    def outbox_failed(self, app: str) -> None: ...
    def outbox_dropped(self, app: str, reason: str) -> None: ...
    def outbox_depth(self, app: str, entries: int) -> None: ...
    def limit_hit(self, limit: str) -> None: ...


class Queue(msgspec.Struct, frozen=True):
    """How an outbox stands: so many wait, the oldest since when (Unix time) and from which exchange.

    ``attempts`` to deliver it have failed; ``next_at`` is when it is tried again, 0 where that is not waited for.
    """

    app: str
    waiting: int
    oldest_at: float = 0.0
    oldest_exchange: str = ""
    attempts: int = 0
    next_at: float = 0.0


class Outbox:
    """One app's outbox, at most ``limit`` entries.

    ``deliver`` says whether the app took the entry, or in a word why it needs no delivery. ``label`` is what the
    watcher is told in the place of the app's name.
    """

    def __init__(
        self,
        directory: Path,
        app: str,
        limit: int,
        deliver: Callable[[Entry], Awaitable[bool | str]],
        watcher: Watcher | None = None,
        *,
        turn: Turn | AddressTurn | None = None,
        label: str | None = None,
        first_pause: float = FIRST_PAUSE,
        longest_pause: float = LONGEST_PAUSE,
        keep_seconds: float = KEEP_SECONDS,
        delivery_seconds: float = DELIVERY_SECONDS,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._log = Log(directory, app)
        self._app = app
        self._label = app if label is None else label
        self._limit = limit
        self._deliver = deliver
        self._watcher = watcher
        self._turn = turn
        self._first_pause = first_pause
        self._longest_pause = longest_pause
        self._keep_seconds = keep_seconds
        self._delivery_seconds = delivery_seconds
        self._clock = clock
        self._chance = chance
        self._entries: deque[Entry] = deque()
        self._next_id = 1
        self._coming: list[tuple[Entry, asyncio.Future[bool]]] = []
        self._gone: list[Gone] = []
        self._writes = asyncio.Event()
        self._work = asyncio.Event()
        self._woken = asyncio.Event()
        self._gone_lines = 0
        self._failures = 0  # to deliver the first entry, in a row
        self._delivering = False
        self._oldest = 0.0  # what our turn says
        self._next_at = 0.0
        self._tasks: list[asyncio.Task[None]] = []
        self._closing = False

    @property
    def depth(self) -> int:
        """How many entries wait here."""
        return len(self._entries) + len(self._coming)

    @property
    def waiting(self) -> bool:
        """Whether any wait, here or at another worker: newer notifications are put behind them to keep the order."""
        return self.depth > 0 or (self._turn is not None and self._turn.others > 0)

    @property
    def queue(self) -> Queue:
        """How it stands now."""
        if not self._entries:
            return Queue(self._app, self.depth)
        first = self._entries[0]
        return Queue(self._app, self.depth, first.at, first.exchange, self._failures, self._next_at)

    async def open(self, heirless: Sequence[Path] = ()) -> None:
        """Take the outbox and begin to deliver what a former process left. Raises :class:`OutboxError`.

        ``heirless`` are the folders of workers that are no more: what they left is taken over.
        """
        entries = await asyncio.to_thread(self._log.open, heirless)
        for entry in entries:
            self._insert(entry)
        self._next_id = max((entry.id for entry in entries), default=0) + 1
        self._show_depth()
        self._stand()
        if entries:
            self._work.set()
        self._tasks = [asyncio.create_task(self._write()), asyncio.create_task(self._send())]

    def put(self, entry: Entry) -> asyncio.Future[bool]:
        """Keep ``entry``; the future is true once it is on disk, false when it is not kept."""
        kept: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if self._closing or not self._tasks or self.depth >= self._limit:
            full = bool(self._tasks) and not self._closing
            self._drop("full" if full else "cannot_write")
            if full and self._watcher is not None:
                self._watcher.limit_hit("outbox")
            kept.set_result(False)
            return kept
        numbered = msgspec.structs.replace(entry, id=self._next_id, app=self._app, at=entry.at or self._clock())
        self._next_id += 1
        self._coming.append((numbered, kept))
        if not 0.0 < self._oldest <= numbered.at:
            self._stand()
        self._writes.set()
        return kept

    def wake(self) -> None:
        """The app seems to be back: nobody waits for a pause to end, no other worker either."""
        self._woken.set()
        if self._turn is not None:
            self._turn.wake()

    async def close(self) -> None:
        """Write what has come, stop delivering, let go of the file. What is left waits for the next process."""
        self._closing = True
        if not self._tasks:
            return
        writer, sender = self._tasks
        sender.cancel()
        await asyncio.wait((sender,))
        self._writes.set()
        await writer
        self._tasks = []
        self._log.close()
        if self._turn is not None:
            self._turn.stands(0.0)

    def delete(self) -> None:
        """Leave nothing on disk, of what is closed and empty. Blocking."""
        with contextlib.suppress(OSError):
            self._log.delete()

    async def _write(self) -> None:
        """Everything that came while the disk was busy is one write."""
        while True:
            await self._writes.wait()
            self._writes.clear()
            coming, gone = list(self._coming), list(self._gone)
            if coming or gone:
                await self._write_lines(coming, gone)
            if self._closing and not self._coming and not self._writes.is_set():
                return  # nothing came or went during the last write

    async def _write_lines(self, coming: list[tuple[Entry, asyncio.Future[bool]]], gone: list[Gone]) -> None:
        lines: list[Entry | Gone] = [entry for entry, _ in coming]
        lines += gone
        try:
            if self._log.deleted:
                await asyncio.to_thread(self._log.rewrite, list(self._entries))
            await asyncio.to_thread(self._log.append, lines, durable=bool(coming))
        except Exception:  # noqa: BLE001 - the disk, or an entry that is no text: told, and the outbox goes on
            del self._coming[: len(coming)]
            self._stand()
            for _, kept in coming:
                self._drop("cannot_write")
                _settle(kept, value=False)
            return
        del self._coming[: len(coming)]
        del self._gone[: len(gone)]
        self._gone_lines += len(gone)
        for entry, kept in coming:
            self._insert(entry)
            if self._watcher is not None:
                self._watcher.outbox_kept(self._label)
            _settle(kept, value=True)
        self._show_depth()
        if coming:
            self._work.set()
        await self._compact()

    async def _compact(self) -> None:
        """Rewrite the file when most of it went."""
        small = EMPTY_BYTES if not self._entries else COMPACT_BYTES
        if self._log.size < small or self._gone_lines < len(self._entries):
            return
        with contextlib.suppress(OSError):  # the long file stays, and works
            await asyncio.to_thread(self._log.rewrite, list(self._entries))
            self._gone_lines = 0

    async def _send(self) -> None:
        """Deliver from the front, one at a time."""
        while True:
            await self._work.wait()
            if not self._entries:
                self._work.clear()
                continue
            entry = self._entries[0]
            await self._turn_comes(entry)
            if entry is not self._entries[0]:  # meanwhile an older one was put
                continue
            if self._clock() - entry.at > self._keep_seconds:
                self._drop("expired")
            else:
                fate = await self._try_first(entry)
                if not fate:
                    self._failures += 1
                    if self._watcher is not None:
                        self._watcher.outbox_failed(self._label)
                    await self._pause(self._failures)
                    continue
                if isinstance(fate, str):
                    self._drop(fate)
                elif self._watcher is not None:
                    self._watcher.outbox_delivered(self._label)
            self._failures = 0
            self._entries.popleft()
            self._stand()
            self._gone.append(Gone(entry.id))
            self._writes.set()
            self._show_depth()

    def _insert(self, entry: Entry) -> None:
        """Put it behind all that came before it. One that is being delivered stays the first."""
        place, first = len(self._entries), int(self._delivering)
        while place > first and 0.0 < self._entries[place - 1].at - entry.at < self._delivery_seconds:
            place -= 1  # by a longer time nobody was late: a clock has gone back
        self._entries.insert(place, entry)

    async def _try_first(self, entry: Entry) -> bool | str:
        self._delivering = True
        try:
            return await self._try(entry)
        finally:
            self._delivering = False

    async def _try(self, entry: Entry) -> bool | str:
        try:
            async with asyncio.timeout(self._delivery_seconds):
                return await self._deliver(entry)
        except Exception:  # noqa: BLE001 - whatever went wrong, it was not delivered; the watcher counts it
            return False

    async def _pause(self, failures: int) -> None:
        """Wait longer after each failure, never exactly as long as the others who wait for the same app."""
        longest = min(self._longest_pause, self._first_pause * 2.0 ** min(failures - 1, 32))
        pause = longest * (0.5 + self._chance() / 2)
        self._woken.clear()
        self._next_at = self._clock() + pause
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await self._awoken()
        self._next_at = 0.0

    async def _awoken(self) -> None:
        """Return when the app seems to be back, to us or to another worker."""
        if self._turn is None:
            await self._woken.wait()
            return
        before = self._turn.wakes
        while not self._woken.is_set() and self._turn.wakes == before:  # noqa: ASYNC110 - memory rings no bell
            await asyncio.sleep(10 * LOOK_SECONDS)

    async def _turn_comes(self, entry: Entry) -> None:
        """Return when no other worker has an older one."""
        while self._turn is not None and 0 < self._turn.others < entry.at:  # noqa: ASYNC110 - as above
            await asyncio.sleep(LOOK_SECONDS)

    def _stand(self) -> None:
        if self._turn is not None:
            waiting = [entry.at for entry, _ in self._coming]
            waiting += [self._entries[0].at] if self._entries else []
            self._oldest = min(waiting, default=0.0)
            self._turn.stands(self._oldest)

    def _drop(self, reason: str) -> None:
        if self._watcher is not None:
            self._watcher.outbox_dropped(self._label, reason)

    def _show_depth(self) -> None:
        if self._watcher is not None:
            self._watcher.outbox_depth(self._label, len(self._entries))


def _settle(kept: asyncio.Future[bool], *, value: bool) -> None:
    if not kept.done():  # whoever asked may have stopped waiting
        kept.set_result(value)
