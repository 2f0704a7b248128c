"""Deadlines at the cost of one attribute each.

Whatever waits has a ``due`` time, and stands in a collection that is looked through at every tick. Beginning and
ending a wait is an assignment, so an exchange pays nothing for its deadlines; looking at a thousand waits takes some
50 µs. A deadline is met at most one tick late, never early.

When the loop was held up, by a machine that is too busy, answers that came in time may not have been read yet, and
timers come before sockets. So a tick that comes late looks only after what is there has been read: nobody else is to
blame for our being late.
"""

import asyncio
import logging
from collections.abc import Collection
from math import inf
from typing import Final, Protocol

log = logging.getLogger(__name__)

TICK: Final = 0.025  # seconds
NEVER: Final = inf


class Timed(Protocol):
    """Something that may wait. ``due`` is in the loop's time."""

    due: float

    def overdue(self) -> None:
        """The wait is over. Called again at the next tick unless ``due`` is moved or the collection left."""


class Sweeper:
    """Looks at everything that waits on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._watched: list[tuple[int, Collection[Timed]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._ticks = 0
        self._expected = 0.0  # when the next tick is to come

    def watch(self, waiting: Collection[Timed], every: int = 1) -> None:
        """Look at what stands in ``waiting`` at each tick, or at one tick in ``every``."""
        self._watched.append((every, waiting))

    @property
    def watched(self) -> int:
        """How many collections are looked at."""
        return len(self._watched)

    def forget(self, waiting: Collection[Timed]) -> None:
        """Look at this collection no more."""
        self._watched = [each for each in self._watched if each[1] is not waiting]

    def start(self) -> None:
        """Begin to look."""
        self._set_timer()

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self) -> None:
        self._expected = self._loop.time() + TICK
        self._timer = self._loop.call_later(TICK, self._tick)

    def _tick(self) -> None:
        held_up = self._loop.time() - self._expected > TICK
        self._set_timer()
        if held_up:
            # The next turn of the loop may begin before it has looked at its sockets; the one after it has.
            self._loop.call_soon(self._loop.call_soon, self._look)
        else:
            self._look()

    def _look(self) -> None:
        self._ticks += 1
        now = self._loop.time()
        for every, waiting in self._watched:
            if self._ticks % every:
                continue
            for late in [each for each in waiting if each.due <= now]:
                try:
                    late.overdue()
                except Exception:  # one fault must not keep the other deadlines from being met
                    log.exception("a deadline could not be carried out")
