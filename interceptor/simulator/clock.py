"""The time that calls live in: real, speeded up, or virtual.

Calls ring, talk and time out on a clock; network deadlines never do, they are always real seconds. A virtual clock
stands still until somebody drives it: then it leaps from sleeper to sleeper, but never while a hold is taken. Whoever
has bytes under way (a notification that waits for its answer, a command being carried out) takes a hold, so that no
ring time runs out meanwhile and every run of a scenario is the same run.
"""

import asyncio
import heapq
import itertools
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Protocol

SETTLING_ROUNDS = 25
"""How many turns of the event loop without a change mean that nobody has anything left to do at this instant."""


class Clock(Protocol):
    """What the simulated PBX reads its time from."""

    def now(self) -> float:
        """Unix time in the PBX's own seconds."""

    async def sleep(self, seconds: float) -> None:
        """Return when so many of the PBX's seconds are over."""

    def hold(self) -> AbstractContextManager[None]:
        """Keep time from leaping while inside."""

    async def drive[T](self, waited: asyncio.Future[T], within_seconds: float) -> T:
        """Let time pass until ``waited`` is done; :class:`TimeoutError` after so many real seconds."""


class RealClock:
    """Time as it passes, ``speed`` times as fast."""

    def __init__(self, speed: float = 1.0) -> None:
        if speed <= 0:
            msg = f"a clock's speed must be above zero, not {speed}"
            raise ValueError(msg)
        self.speed = speed
        self._began_at = time.time()
        self._began_monotonic = time.monotonic()

    def now(self) -> float:
        """Unix time at the start, and what has passed since, times ``speed``."""
        return self._began_at + (time.monotonic() - self._began_monotonic) * self.speed

    async def sleep(self, seconds: float) -> None:
        """Sleep ``seconds / speed`` real seconds."""
        await asyncio.sleep(max(0.0, seconds) / self.speed)

    def hold(self) -> AbstractContextManager[None]:
        """Real time cannot be held: nothing happens."""
        return nullcontext()

    async def drive[T](self, waited: asyncio.Future[T], within_seconds: float) -> T:
        """Wait: real time needs no driver."""
        async with asyncio.timeout(within_seconds):
            return await waited


class VirtualClock:
    """Time that stands still until it is driven, and then leaps; nothing ever waits for it in real seconds."""

    def __init__(self, start: float = 1_750_000_000.0) -> None:
        self._now = start
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._order = itertools.count()
        self._holds = 0
        self._changes = 0
        self._changed = asyncio.Event()

    def now(self) -> float:
        """The instant that the last leap ended at."""
        return self._now

    async def sleep(self, seconds: float) -> None:
        """Sleep until a driver leaps over that instant."""
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._now + seconds, next(self._order), woken))
        self._note_change()
        await woken

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep time from leaping while inside."""
        self._holds += 1
        self._note_change()
        try:
            yield
        finally:
            self._holds -= 1
            self._note_change()

    async def drive[T](self, waited: asyncio.Future[T], within_seconds: float) -> T:
        """Leap from sleeper to sleeper until ``waited`` is done."""
        async with asyncio.timeout(within_seconds):
            while True:
                await self._settle(waited)
                if waited.done():
                    return waited.result()
                if not self._leap(to=None):
                    await self._next_change(waited)

    async def advance(self, seconds: float, within_seconds: float = 10.0) -> None:
        """Let so many seconds pass, waking on the way whoever sleeps until then."""
        end = self._now + seconds
        never: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        async with asyncio.timeout(within_seconds):
            await self._settle(never)
            while self._leap(to=end):
                await self._settle(never)
        self._now = end

    def _leap(self, to: float | None) -> bool:
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        if not self._sleepers or (to is not None and self._sleepers[0][0] > to):
            return False
        when, _, woken = heapq.heappop(self._sleepers)
        self._now = max(self._now, when)
        woken.set_result(None)
        self._note_change()
        return True

    async def _settle[T](self, waited: asyncio.Future[T]) -> None:
        """Return when nobody holds the clock and the event loop has turned idle, or when ``waited`` is done."""
        quiet = 0
        seen = self._changes
        while quiet < SETTLING_ROUNDS and not waited.done():
            if self._holds:
                await self._next_change(waited)
            else:
                await asyncio.sleep(0)
            quiet = quiet + 1 if seen == self._changes and not self._holds else 0
            seen = self._changes

    async def _next_change[T](self, waited: asyncio.Future[T]) -> None:
        self._changed.clear()
        change = asyncio.ensure_future(self._changed.wait())
        both: set[asyncio.Future[Any]] = {change, waited}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        finally:
            change.cancel()

    def _note_change(self) -> None:
        self._changes += 1
        self._changed.set()
