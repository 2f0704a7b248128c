"""Deadlines for thousands of waits at the cost of a dictionary entry each.

Waits of one length expire in the order in which they began, so a line of them is a dictionary in insertion order and only
its head is looked at. One timer serves all lines; a deadline is met at most one ``TICK`` late, never early.
"""

import asyncio
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

TICK: Final = 0.025

T = TypeVar("T", bound=Hashable)


class Line(Generic[T]):
    """All waits that last ``seconds``. ``expired`` is called once for each that was not disarmed in time."""

    __slots__ = ("_clock", "_expired", "_waiting", "seconds")

    def __init__(self, seconds: float, expired: Callable[[T], None], clock: Callable[[], float]) -> None:
        self.seconds = seconds
        self._expired = expired
        self._clock = clock
        self._waiting: dict[T, float] = {}

    def arm(self, item: T) -> None:
        """Begin the wait of ``item``, anew if it waits already."""
        waiting = self._waiting
        waiting.pop(item, None)
        waiting[item] = self._clock() + self.seconds

    def disarm(self, item: T) -> None:
        """End the wait of ``item``, if it waits."""
        self._waiting.pop(item, None)

    def expire(self, now: float) -> None:
        """Call ``expired`` for every wait that is over."""
        waiting = self._waiting
        while waiting:
            item = next(iter(waiting))
            if waiting[item] > now:
                return
            del waiting[item]
            self._expired(item)


class Deadlines:
    """The lines of one event loop and the timer that looks at them."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lines: list[Line[object]] = []
        self._timer: asyncio.TimerHandle | None = None

    def line(self, seconds: float, expired: Callable[[T], None]) -> Line[T]:
        """A new line of waits; it lives as long as this object."""
        line = Line(seconds, expired, self._loop.time)
        self._lines.append(line)  # type: ignore[arg-type]  # a line gives back only what was armed in it
        return line

    def start(self) -> None:
        """Begin to look."""
        self._timer = self._loop.call_later(TICK, self._tick)

    def stop(self) -> None:
        """Look no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = self._loop.call_later(TICK, self._tick)  # first: an exception below must not stop the clock
        now = self._loop.time()
        for line in self._lines:
            line.expire(now)
