"""A table of a size that never changes, in memory that it is given: a number and a time by the digest of a key.

Several processes may share it behind one ``guard``. Where a row is needed, the oldest of the few that may stand there
goes first.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from hashlib import blake2b
from struct import Struct as Layout
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mmap import mmap

ROWS: Final = 65_536
_WAYS: Final = 16
_ROW: Final = Layout("<16sIQ")
_VALUE: Final = 20  # where the number begins
_LATEST: Final = 0xFFFF_FFFF  # a moment in 2106
TABLE_BYTES: Final = ROWS * _ROW.size


class Rows:
    """Numbers below 2**64 by key, each with the Unix time, in whole seconds, at which it was written."""

    def __init__(
        self, memory: "bytearray | mmap | None" = None, guard: AbstractContextManager[None] | None = None
    ) -> None:
        self._memory = bytearray(TABLE_BYTES) if memory is None else memory
        self._guard: AbstractContextManager[None] = nullcontext() if guard is None else guard
        self._rows = len(self._memory) // _ROW.size

    def put(self, key: str, at: float, value: int = 0) -> None:
        """Write a row, or write it anew."""
        self.change(key, at, lambda _: value)

    def change(self, key: str, at: float, change: Callable[[tuple[int, int] | None], int | None]) -> None:
        """Write what ``change`` makes of a row's time and number (``None``: there is no such row), if it is a number.

        Nobody else writes in between.
        """
        digest, memory = _digest(key), self._memory
        with self._guard:
            place, least, was = 0, 1 << 63, None
            for offset in self._offsets(digest):
                known, since, value = _ROW.unpack_from(memory, offset)
                if known == digest:
                    place, was = offset, (since, value)
                    break
                if since < least:
                    place, least = offset, since
            made = change(was)
            if made is not None:
                _ROW.pack_into(memory, place, digest, min(max(int(at), 0), _LATEST), made)

    def find(self, key: str) -> tuple[int, int] | None:
        """The time and the number of a row."""
        digest, memory = _digest(key), self._memory
        with self._guard:
            for offset in self._offsets(digest):
                known, since, value = _ROW.unpack_from(memory, offset)
                if known == digest:
                    return since, value
        return None

    def latest(self, part: bytes, since: float, forget: int) -> bool:
        """Whether a row written since this time has a number that begins, lowest byte first, with these bytes.

        Older ones with that beginning that are come across lose the bits of ``forget``. Costs a millisecond.
        """
        memory, at = self._memory, -1
        while (at := memory.find(part, at + 1)) >= 0:
            offset = at - _VALUE
            if offset < 0 or offset % _ROW.size:
                continue
            with self._guard:
                digest, written, value = _ROW.unpack_from(memory, offset)
                if written >= since:
                    return True
                _ROW.pack_into(memory, offset, digest, written, value & ~forget)
        return False

    def _offsets(self, digest: bytes) -> Iterable[int]:
        first = int.from_bytes(digest[:4], "little")
        return (((first + way) % self._rows) * _ROW.size for way in range(_WAYS))


def _digest(key: str) -> bytes:
    return blake2b(key.encode("utf-8", "surrogatepass"), digest_size=16).digest()
