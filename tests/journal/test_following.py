"""The records of a journal, read as they are written."""

from pathlib import Path

import msgspec

from interceptor.audit.record import Instants, Record, SettlementRecord
from interceptor.journal.following import Follower

BEGIN = 1_800_000_000.0


def lines(worker: str, *numbers: int) -> bytes:
    records = [SettlementRecord(n, Instants().text(BEGIN + n), f"{worker}-{n}", worker, "answered") for n in numbers]
    return msgspec.json.Encoder().encode_lines(records)


def names(records: list[Record]) -> list[str]:
    return [each.exchange for each in records if isinstance(each, SettlementRecord)]


def test_each_record_of_each_worker_is_read_once_when_it_is_whole(tmp_path: Path) -> None:
    follower = Follower(tmp_path / "journal")
    assert follower.new() == []
    (tmp_path / "journal").mkdir()
    first, second, later = (tmp_path / "journal" / f"{name}.jsonl" for name in ("w0-1", "w1-1", "w0-2"))
    first.write_bytes(lines("w0", 1, 2))
    second.write_bytes(lines("w1", 1)[:-5])
    assert names(follower.new()) == ["w0-1", "w0-2"]
    assert follower.new() == []
    second.write_bytes(lines("w1", 1, 2))
    later.write_bytes(lines("w0", 3))
    assert names(follower.new()) == ["w0-3", "w1-1", "w1-2"]
    assert follower.new() == []
