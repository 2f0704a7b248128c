"""Whose turn it is: the outboxes that several workers have for one app are delivered as if they were one.

In memory that the workers share, each says since when its oldest entry waits, and how often it has seen the app answer.
Each writes its own row alone, eight bytes at a time, which a reader sees whole or not at all: no lock is needed. The
row of a worker that was killed stays until the one that follows has read its file: what it kept waits for that. At a
start no worker has read its file yet, and a row says so: nobody delivers before all have.

Which addresses rules name is not known beforehand. So each worker has places for some: it writes into one which address
it is for, and says for all of them together whether it has read its files.
"""

import struct
from hashlib import sha256
from mmap import mmap

_CELL = struct.Struct("d")
_ROW_BYTES = 2 * _CELL.size
_PLACE_BYTES = 3 * _CELL.size  # a digest of the address, and a row
_UNREAD = 1.0  # older than anything that can wait


def first_table(apps: int, workers: int, addresses: int = 0) -> bytes:
    """The rows at a start, when nobody knows yet what the files hold. Never none: no memory is mapped for none."""
    rows = (_CELL.pack(_UNREAD) + _CELL.pack(0.0)) * (max(1, apps) * workers)
    return rows + (_CELL.pack(_UNREAD) + bytes(addresses * _PLACE_BYTES)) * workers


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


class AddressTurns:
    """The places for addresses behind the rows of ``apps``, as one worker uses them."""

    def __init__(self, memory: mmap, *, apps: int, addresses: int, worker: int, workers: int) -> None:
        self._memory = memory
        self._size = _CELL.size + addresses * _PLACE_BYTES
        first = max(1, apps) * workers * _ROW_BYTES
        areas = [first + number * self._size for number in range(workers)]
        self._own = areas[worker]
        self._others = areas[:worker] + areas[worker + 1 :]
        self._turns: dict[bytes, int] = {}  # our places by what stands in them

    def turn(self, address: str) -> "AddressTurn | None":
        """A place for an address, until it is let go; none where there is no more."""
        digest = _digest(address)
        place = self.find(self._own, digest) or self._free()
        if not place:
            return None
        self._memory[place : place + _CELL.size] = digest
        self._turns[digest] = place
        return AddressTurn(self, self._memory, digest, place)

    def let_go(self, address: str) -> None:
        """Nothing waits here for this address."""
        place = self._turns.pop(_digest(address), 0)
        if place:
            self._memory[place : place + _PLACE_BYTES] = bytes(_PLACE_BYTES)

    def all_read(self) -> None:
        """Say that every file has its place now. What a process before us had beyond that is let go."""
        for place in self._places(self._own):
            if place not in self._turns.values():
                self._memory[place : place + _PLACE_BYTES] = bytes(_PLACE_BYTES)
        self._memory[self._own : self._own + _CELL.size] = _CELL.pack(0.0)

    def elsewhere(self, address: str) -> float:
        """Since when the oldest entry for an address waits at other workers; 0 for none."""
        return self.others(_digest(address))

    def others(self, digest: bytes) -> float:
        """The same for the address with this digest."""
        if any(self.read(area) for area in self._others):
            return _UNREAD
        return min((oldest for oldest in self._read_others(digest, _CELL.size) if oldest), default=0.0)

    def wakes(self, digest: bytes) -> float:
        """How often other workers have told that the address has answered."""
        return sum(self._read_others(digest, 2 * _CELL.size))

    def find(self, area: int, digest: bytes) -> int:
        """Where in a worker's area the place of an address is; 0 where it has none."""
        place = self._memory.find(digest, area + _CELL.size, area + self._size)
        while place > 0 and (place - area - _CELL.size) % _PLACE_BYTES:
            place = self._memory.find(digest, place + 1, area + self._size)
        return max(0, place)

    def read(self, at: int) -> float:
        """The number that stands there."""
        value: float = _CELL.unpack(self._memory[at : at + _CELL.size])[0]
        return value

    def _read_others(self, digest: bytes, offset: int) -> list[float]:
        return [self.read(place + offset) for area in self._others if (place := self.find(area, digest))]

    def _free(self) -> int:
        free = bytes(_CELL.size)
        return next((at for at in self._places(self._own) if self._memory[at : at + _CELL.size] == free), 0)

    def _places(self, area: int) -> range:
        return range(area + _CELL.size, area + self._size, _PLACE_BYTES)


class AddressTurn:
    """One address's place, as one worker uses it; otherwise as :class:`Turn`."""

    def __init__(self, turns: AddressTurns, memory: mmap, digest: bytes, place: int) -> None:
        self._turns = turns
        self._memory = memory
        self._digest = digest
        self._row = place + _CELL.size

    def stands(self, oldest: float) -> None:
        """As :meth:`Turn.stands`."""
        self._memory[self._row : self._row + _CELL.size] = _CELL.pack(oldest)

    @property
    def others(self) -> float:
        """As :attr:`Turn.others`."""
        return self._turns.others(self._digest)

    def wake(self) -> None:
        """As :meth:`Turn.wake`."""
        at = self._row + _CELL.size
        self._memory[at : at + _CELL.size] = _CELL.pack(self._turns.read(at) + 1.0)

    @property
    def wakes(self) -> float:
        """As :attr:`Turn.wakes`."""
        return self._turns.read(self._row + _CELL.size) + self._turns.wakes(self._digest)


def _digest(address: str) -> bytes:
    return sha256(address.encode()).digest()[: _CELL.size - 1] + b"\x01"  # never that of a place that is free
