"""The end of a journal file: where its last whole record stops, and what hangs over after a crash."""

import mmap
import os
from pathlib import Path

import msgspec
from msgspec import Struct


class _Numbered(Struct, gc=False):
    sequence: int


_read_number = msgspec.json.Decoder(_Numbered).decode


class Tail(Struct, frozen=True, gc=False):
    """``length`` bytes of whole records, the last being number ``sequence``; the ``torn`` bytes after them are none.

    ``sequence`` is ``None`` where the file has no whole record.
    """

    length: int
    sequence: int | None
    torn: int


def read_tail(path: Path) -> Tail:
    """Find the last whole record of a file, however much rubbish a crash has left behind it."""
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            return Tail(0, None, 0)
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            end = content.rfind(b"\n") + 1
            while end:
                start = content.rfind(b"\n", 0, end - 1) + 1
                sequence = _sequence_of(content[start:end])
                if sequence is not None:
                    return Tail(end, sequence, size - end)
                end = start
    return Tail(0, None, size)


def cut_tail(path: Path, tail: Tail) -> Path:
    """Move what hangs over into a file beside ``path``, and make both durable; the side file's path."""
    aside = path.with_name(path.name + ".torn")
    number = 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.torn{number}")
    with path.open("r+b") as file:
        file.seek(tail.length)
        with aside.open("xb") as torn:
            while block := file.read(1 << 20):
                torn.write(block)
            torn.flush()
            os.fsync(torn.fileno())
        file.truncate(tail.length)
        os.fsync(file.fileno())
    return aside


def _sequence_of(line: bytes) -> int | None:
    try:
        sequence = _read_number(line).sequence
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return sequence if sequence > 0 else None
