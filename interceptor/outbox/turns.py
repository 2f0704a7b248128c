"""Whose turn it is: the outboxes that several workers have for one app are delivered as if they were one.

In memory that the workers share, each says since when its oldest entry waits, and how often it has seen the app answer.
Each writes its own row alone, eight bytes at a time, which a reader sees whole or not at all: no lock is needed. The
row of a worker that was killed stays until the one that follows has read its file: what it kept waits for that. At a
start no worker has read its file yet, and a row says so: nobody delivers before all have.
"""

import struct
from mmap import mmap

_CELL = struct.Struct("d")
_ROW_BYTES = 2 * _CELL.size
_UNREAD = 1.0  # older than anything that can wait


def first_table(apps: int, workers: int) -> bytes:
    """The rows at a start, when nobody knows yet what the files hold. Never none: no memory is mapped for none."""
    return (_CELL.pack(_UNREAD) + _CELL.pack(0.0)) * (max(1, apps) * workers)


class Turn:
    """One app's rows, as one worker uses them. ``app`` and ``worker`` are indices, the same in all processes."""

    def __init__(self, memory: mmap, *, app: int, worker: int, workers: int) -> None:
        self._memory = memory
        rows = [(app * workers + number) * _ROW_BYTES for number in range(workers)]
        self._own = rows[worker]
        self._rows = rows
        self._others = rows[:worker] + rows[worker + 1 :]

    def stands(self, oldest: float) -> None:
        """Say since when our oldest entry waits, in Unix time; 0 for none."""
        self._write(self._own, oldest)

    @property
    def others(self) -> float:
        """Since when the oldest entry of all other workers waits; 0 for none."""
        return min((oldest for row in self._others if (oldest := self._read(row))), default=0.0)

    def wake(self) -> None:
        """Tell all that the app has answered."""
        self._write(self._own + _CELL.size, self._read(self._own + _CELL.size) + 1.0)

    @property
    def wakes(self) -> float:
        """How often somebody has told so."""
        return sum(self._read(row + _CELL.size) for row in self._rows)

    def _read(self, at: int) -> float:
        value: float = _CELL.unpack(self._memory[at : at + _CELL.size])[0]
        return value

    def _write(self, at: int, value: float) -> None:
        self._memory[at : at + _CELL.size] = _CELL.pack(value)
