"""What limits count with: a table of meters, one for each limit and key, of a size that never changes.

A meter holds when its bucket will be full again, in nanoseconds of Unix time, and how many slots each worker has
taken. That is all a token bucket needs: one that holds ``burst`` tokens and gets one each ``interval`` is full when the
time is past; each message puts that moment off by one interval, and none may put it off by more than ``burst`` of them.

Laws:

* No clock: time is the message's. Where it goes back, a bucket is empty at worst, never shut for as long as it went.
* The table lies in memory that it is given, which several processes may share behind one ``guard``. A process that dies
  at any instant spoils one meter at most, and a spoilt meter heals by itself.
* A meter is found by a digest of the rule's name, what its limit says, and the message's key. So it outlives a reload
  of the rules as long as these three stay.
* A meter whose bucket is full and whose slots are free says nothing; it makes room for another. Where there is none of
  these among the few that a key may stand in, the fullest without taken slots is forgotten, which forgives a sender at
  most one burst. Where slots are taken in all of them the message is refused. Both are told to ``lost``.
* A slot that was taken is given back once: by its number, or when its time is over.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from hashlib import blake2b
from struct import Struct as Layout
from typing import TYPE_CHECKING, Final

from msgspec import Struct

if TYPE_CHECKING:
    from mmap import mmap

REFUSED: Final = -1
GRANTED: Final = 0
ROWS: Final = 65_536
WAYS: Final = 16
"""How many rows a key may stand in."""
LOSSES: Final = ("forgotten", "full", "expired")
"""What ``lost`` is told: a meter made room for another, there was no room, a slot was never given back."""

_DIGEST: Final = 16
_COUNTS: Final = _DIGEST + 8
_COUNT: Final = Layout("<I")
_SECOND: Final = 1_000_000_000


class Meter(Struct, frozen=True):
    """What one limit allows: a message each ``interval`` nanoseconds, ``burst`` at once, ``concurrency`` at a time.

    Where ``interval`` or ``concurrency`` is 0, that is not limited.
    """

    identity: bytes
    interval: int = 0
    burst: int = 1
    concurrency: int = 0


def _nothing(_what: str) -> None:
    """What ``lost`` does where nobody wants to know."""


class Meters:
    """The meters of one process, in memory of its own or in what it shares with others.

    ``worker`` is its place among ``workers``. A slot that was not given back is free after ``hold_seconds``.
    """

    def __init__(
        self,
        table: "bytearray | mmap | None" = None,
        *,
        workers: int = 1,
        worker: int = 0,
        hold_seconds: float = 120.0,
        guard: AbstractContextManager[object] | None = None,
        lost: Callable[[str], None] = _nothing,
    ) -> None:
        self._layout = Layout(f"<{_DIGEST}sq{workers}I{4 * (workers % 2)}x")
        self._table = bytearray(table_size(workers)) if table is None else table
        self._sets = len(self._table) // (self._layout.size * WAYS)
        self._empty = (0,) * workers
        self._worker = worker
        self._hold_seconds = hold_seconds
        self._guard = nullcontext() if guard is None else guard
        self._lost = lost
        self._held: dict[int, tuple[bytes, float]] = {}  # in the order they were taken in
        self.taken = 0
        """How many slots were ever taken: the number of the last one."""

    def take(self, meter: Meter, key: tuple[str, ...], at: float) -> int:
        """Count a message that came ``at`` this Unix time against ``meter`` for ``key``.

        ``REFUSED`` where that would be over the limit, and nothing is counted then; ``GRANTED``; or the number of the
        slot that was taken, which is to be given back.
        """
        if self._held:
            self._expire(at)
        digest = blake2b(meter.identity + repr(key).encode(), digest_size=_DIGEST).digest()
        now = int(at * _SECOND)
        with self._guard:
            row = self._row(digest, now)
            if row < 0:
                return REFUSED
            _, full_again, *counts = self._layout.unpack_from(self._table, row)
            if meter.interval:
                most = now + meter.burst * meter.interval
                if full_again > most:  # the clock went back
                    full_again = most
                    self._layout.pack_into(self._table, row, digest, full_again, *counts)
                full_again = max(full_again, now) + meter.interval
                if full_again > most:
                    return REFUSED
            if meter.concurrency:
                if sum(counts) >= meter.concurrency:
                    return REFUSED
                counts[self._worker] += 1
            self._layout.pack_into(self._table, row, digest, full_again, *counts)
        if not meter.concurrency:
            return GRANTED
        self.taken += 1
        self._held[self.taken] = digest, at + self._hold_seconds
        return self.taken

    def give_back(self, slot: int) -> None:
        """A slot is free again; the number of one that was given back already means nothing."""
        held = self._held.pop(slot, None)
        if held is None:
            return
        with self._guard:
            row = self._find(held[0])
            if row >= 0:
                where = row + _COUNTS + 4 * self._worker
                (count,) = _COUNT.unpack_from(self._table, where)
                _COUNT.pack_into(self._table, where, max(count - 1, 0))

    def give_back_after(self, slot: int) -> None:
        """Give back every slot that was taken after the one with this number."""
        for later in [held for held in self._held if held > slot]:
            self.give_back(later)

    def clear_worker(self) -> None:
        """Free the slots that a process which was this worker before us took with it."""
        table, size = self._table, self._layout.size
        with self._guard:
            for byte in range(_COUNT.size):
                first = _COUNTS + 4 * self._worker + byte
                table[first::size] = bytes(len(range(first, len(table), size)))

    def _expire(self, at: float) -> None:
        while self._held:
            slot, (_, until) = next(iter(self._held.items()))
            if until > at:
                return
            self.give_back(slot)
            self._lost("expired")

    def _find(self, digest: bytes) -> int:
        """Where the row of ``digest`` begins, -1 where there is none."""
        size = self._layout.size
        first = int.from_bytes(digest[:4]) % self._sets * size * WAYS
        found = self._table.find(digest, first, first + size * WAYS)
        while found >= 0 and (found - first) % size:  # pragma: no cover - sixteen bytes that happen to stand askew
            found = self._table.find(digest, found + 1, first + size * WAYS)
        return found

    def _row(self, digest: bytes, now: int) -> int:
        """The row of ``digest``, a new one where it had none, -1 where there is no room."""
        found = self._find(digest)
        if found >= 0:
            return found
        layout, size = self._layout, self._layout.size
        first = int.from_bytes(digest[:4]) % self._sets * size * WAYS
        best, earliest = -1, 0
        for row in range(first, first + size * WAYS, size):
            _, full_again, *counts = layout.unpack_from(self._table, row)
            if not any(counts) and (best < 0 or full_again < earliest):
                best, earliest = row, full_again
                if full_again <= now:
                    break
        if best < 0:
            self._lost("full")
            return -1
        if earliest > now:
            self._lost("forgotten")
        layout.pack_into(self._table, best, digest, now, *self._empty)
        return best


def table_size(workers: int, rows: int = ROWS) -> int:
    """How many bytes a table takes of which so many workers share; ``rows`` is a multiple of ``WAYS``."""
    return Layout(f"<{_DIGEST}sq{workers}I{4 * (workers % 2)}x").size * rows
