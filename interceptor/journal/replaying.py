"""Reads the records of a journal again, of one worker or of all in the order of their times. Locks nothing."""

import heapq
import mmap
import os
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from interceptor.audit.record import DecisionRecord, GapRecord, Record, SettlementRecord
from interceptor.journal.chain import ChainFile, chain_files

_read: Final = msgspec.json.Decoder(DecisionRecord | SettlementRecord | GapRecord).decode
_WORKER: Final = re.compile(r"(?P<worker>.+)-\d{8}T\d{6}Z-\d+\.jsonl")
_AT: Final = re.compile(rb'"at":"([^"]{27})"')


def workers_of(directory: Path) -> tuple[str, ...]:
    """The workers that have written here. ``OSError`` where the folder cannot be read."""
    found = (_WORKER.fullmatch(path.name) for path in directory.iterdir())
    return tuple(sorted({match["worker"] for match in found if match is not None}))


def replay(
    directory: Path, workers: Iterable[str], *, since: float = 0.0, most_bytes: int | None = None
) -> Iterator[Record]:
    """The records of these workers that were made at ``since`` (Unix time) or later, by time.

    At most the last ``most_bytes`` of each worker's are read. Lines that cannot be read are passed over: a torn one, or
    one of another release.
    """
    chains = [_chain(chain_files(directory, worker), since, most_bytes) for worker in workers]
    return iter(heapq.merge(*chains, key=_time)) if len(chains) > 1 else iter(chains[0] if chains else ())


def _time(record: Record) -> str:
    return record.at


def _chain(files: list[ChainFile], since: float, most_bytes: int | None) -> Iterator[Record]:
    wanted: list[tuple[Path, int]] = []
    left = most_bytes
    at = datetime.fromtimestamp(since, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode()
    for file in reversed(files):
        size = file.path.stat().st_size
        begin = 0 if left is None else max(0, size - left)
        wanted.append((file.path, begin))
        if left is not None:
            left -= size
            if left <= 0:
                break
        if since and _first_time(file.path) < at:
            break
    for path, begin in reversed(wanted):
        yield from _records(path, begin, at if since else b"")


def _first_time(path: Path) -> bytes:
    with path.open("rb") as file:
        found = _AT.search(file.readline(1 << 16))
    return found[1] if found else b""


def _records(path: Path, begin: int, since: bytes) -> Iterator[Record]:
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            if begin:
                content.seek(begin)
                content.readline()  # the rest of a line that began before
            if since:
                content.seek(_first_at(content, content.tell(), since))
            while line := content.readline():
                try:
                    yield _read(line)
                except (msgspec.MsgspecError, UnicodeDecodeError):
                    continue


def _first_at(content: mmap.mmap, low: int, since: bytes) -> int:
    """Where the first line of that time stands, or one a little before it.

    Times rise from line to line, save that a settlement bears the time of its end; so a few records near the time may
    be missed or come too early, which nobody notices at the far end of what is replayed.
    """
    high = len(content)
    while high - low > 1 << 16:
        middle = (low + high) // 2
        start = content.find(b"\n", middle) + 1
        if not start or start >= high:
            break
        end = content.find(b"\n", start)
        found = _AT.search(content[start : end if end >= 0 else high])
        if found is None or found[1] >= since:
            high = middle
        else:
            low = start
    return low
