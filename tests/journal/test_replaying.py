"""Journals are read again: in the order of their times, from a time on, whatever a crash has left in them."""

from pathlib import Path

import msgspec
import pytest

from interceptor.audit.record import GapRecord, Instants, Record, SettlementRecord
from interceptor.journal.replaying import replay, workers_of

BEGIN = 1_800_000_000.0


def record(number: int, worker: str = "w0", exchange: str = "") -> SettlementRecord:
    return SettlementRecord(
        number, Instants().text(BEGIN + number), exchange or f"{worker}-{number}", worker, "answered"
    )


def write(folder: Path, worker: str, numbers: range, first: int | None = None, rest: bytes = b"") -> Path:
    path = folder / f"{worker}-20270115T080000Z-{first or numbers[0]:012}.jsonl"
    lines = msgspec.json.Encoder().encode_lines([record(number, worker) for number in numbers])
    path.write_bytes(lines + rest)
    return path


def numbers(records: list[Record]) -> list[int]:
    return [each.sequence for each in records]


def test_the_files_of_a_worker_are_read_in_order(tmp_path: Path) -> None:
    write(tmp_path, "w0", range(101, 151))
    write(tmp_path, "w0", range(1, 101))
    write(tmp_path, "w0-b", range(1, 5))
    assert workers_of(tmp_path) == ("w0", "w0-b")
    assert numbers(list(replay(tmp_path, ["w0"]))) == list(range(1, 151))
    assert list(replay(tmp_path, [])) == []


def test_workers_are_brought_together_by_time(tmp_path: Path) -> None:
    write(tmp_path, "w0", range(1, 20, 2))
    write(tmp_path, "w1", range(2, 20, 2))
    assert numbers(list(replay(tmp_path, workers_of(tmp_path)))) == list(range(1, 20))


def test_what_is_no_record_is_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path, "w0", range(1, 4))
    gap = msgspec.json.encode(GapRecord(4, Instants().text(BEGIN + 4), "w0", "torn_line"))
    path.write_bytes(path.read_bytes() + b'\x00\xff{"rubbish\n\n{}\n' + gap + b'\n{"event":"settlement","seq')
    assert numbers(list(replay(tmp_path, ["w0"]))) == [1, 2, 3, 4]
    (tmp_path / "w0-20270115T090000Z-000000000005.jsonl").write_bytes(b"")
    assert numbers(list(replay(tmp_path, ["w0"]))) == [1, 2, 3, 4]


@pytest.mark.parametrize("since", [0, 1, 700, 1999, 2000, 4000, 7999, 9000])
def test_reading_begins_at_a_time_and_reads_little_before_it(tmp_path: Path, since: int) -> None:
    write(tmp_path, "w0", range(1, 2000))
    write(tmp_path, "w0", range(2000, 8000))
    found = numbers(list(replay(tmp_path, ["w0"], since=BEGIN + since)))
    wanted = list(range(max(since, 1), 8000))
    assert found[len(found) - len(wanted) :] == wanted
    assert len(found) - len(wanted) <= 700  # what stands in the 64 KiB before
    assert found == list(range(8000 - len(found), 8000))


def test_no_more_than_so_many_bytes_are_read_and_whole_lines_of_them(tmp_path: Path) -> None:
    first = write(tmp_path, "w0", range(1, 1000))
    second = write(tmp_path, "w0", range(1000, 1500))
    size = second.stat().st_size
    found = numbers(list(replay(tmp_path, ["w0"], most_bytes=size // 2)))
    assert (found[-1], 200 < len(found) < 260) == (1499, True)
    assert found == list(range(found[0], 1500))
    more = numbers(list(replay(tmp_path, ["w0"], most_bytes=size + first.stat().st_size // 2)))
    assert more == list(range(more[0], 1500))
    assert 400 < more[0] < 600
