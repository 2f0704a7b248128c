"""Finds the records of one exchange in the journal files of all workers. Reads, and locks nothing."""

import mmap
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from interceptor.audit.record import DecisionRecord, GapRecord, SettlementRecord

_read = msgspec.json.Decoder(DecisionRecord | SettlementRecord | GapRecord).decode


def find_decision(directory: Path, exchange: str) -> DecisionRecord | None:
    """The record of an exchange's decision, ``None`` where no file has it. ``OSError`` where one cannot be read."""
    needle = b'"exchange":' + msgspec.json.encode(exchange)
    for path in sorted(directory.glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns, reverse=True):
        for line in _lines(path, needle):
            try:
                record = _read(line)
            except (msgspec.MsgspecError, UnicodeDecodeError):  # a torn line
                continue
            if isinstance(record, DecisionRecord) and record.exchange == exchange:
                return record
    return None


def _lines(path: Path, needle: bytes) -> Iterator[bytes]:
    """The lines with ``needle`` in them, the last first."""
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            end = len(content)
            while (at := content.rfind(needle, 0, end)) >= 0:
                start = content.rfind(b"\n", 0, at) + 1
                stop = content.find(b"\n", at)
                yield content[start : stop if stop >= 0 else len(content)]
                end = start
