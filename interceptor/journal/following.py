"""Reads the records of a journal as they are written, of all workers. Locks nothing."""

from pathlib import Path
from typing import Final

import msgspec

from interceptor.audit.record import DecisionRecord, GapRecord, Record, SettlementRecord

_read: Final = msgspec.json.Decoder(DecisionRecord | SettlementRecord | GapRecord).decode


class Follower:
    """The records that came to a folder since it was looked at last."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read_up_to: dict[Path, int] = {}

    def new(self) -> list[Record]:
        """Those of each worker in their order. A line that is not whole yet is one of the next time."""
        found: list[Record] = []
        for path in sorted(self._directory.glob("*.jsonl")):
            with path.open("rb") as file:
                file.seek(self._read_up_to.get(path, 0))
                lines, end, _ = file.read().rpartition(b"\n")
            self._read_up_to[path] = self._read_up_to.get(path, 0) + len(lines) + len(end)
            found += [_read(line) for line in lines.split(b"\n") if line]
        return found
