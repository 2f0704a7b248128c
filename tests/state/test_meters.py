"""Meters that processes share: they count together, and one that is killed keeps nobody waiting."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from interceptor.policy.meters import GRANTED, REFUSED, Meter, Meters
from interceptor.state import SharedTable, make_tables

NOW = 1_800_000_000.0
FIFTY = Meter(b"fifty", 3600 * 10**9, 50)
FOUR = Meter(b"four", concurrency=4)
COUNTING = """
import sys
from pathlib import Path
from interceptor.policy.meters import REFUSED, Meter, Meters
from interceptor.state import SharedTable

table = SharedTable(Path(sys.argv[1]))
meters = Meters(table.memory, workers=3, worker=int(sys.argv[2]), guard=table)
fifty = Meter(b"fifty", 3600 * 10**9, 50)
print(sum(meters.take(fifty, (), 1_800_000_000.0) != REFUSED for _ in range(1000)))
"""
HOLDING = """
import sys
from pathlib import Path
from interceptor.policy.meters import Meter, Meters
from interceptor.state import SharedTable

table = SharedTable(Path(sys.argv[1]))
meters = Meters(table.memory, workers=3, worker=2, guard=table)
for _ in range(4):
    meters.take(Meter(b"four", concurrency=4), (), 1_800_000_000.0)
table.__enter__()
print("held", flush=True)
sys.stdin.read()
"""


def shared(state: Path, worker: int) -> Meters:
    table = SharedTable(state)
    return Meters(table.memory, workers=3, worker=worker, guard=table)


def test_processes_count_together(tmp_path: Path) -> None:
    make_tables(tmp_path, 3)
    commands = [[sys.executable, "-c", COUNTING, str(tmp_path), str(worker)] for worker in range(3)]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for command in commands]
    assert sum(int(process.communicate(timeout=55)[0]) for process in running) == 50
    assert shared(tmp_path, 0).take(FIFTY, (), NOW) == REFUSED


def test_a_worker_that_is_killed_while_it_counts_keeps_nobody_waiting(tmp_path: Path) -> None:
    make_tables(tmp_path, 3)
    command = [sys.executable, "-c", HOLDING, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        process.send_signal(signal.SIGKILL)
        process.wait(55)
        assert shared(tmp_path, 0).take(FOUR, (), NOW) == REFUSED
        shared(tmp_path, 2).clear_worker()
        assert shared(tmp_path, 0).take(FOUR, (), NOW) > GRANTED


def test_a_new_start_begins_with_an_empty_table(tmp_path: Path) -> None:
    state = tmp_path / "a" / "state"
    make_tables(state, 3)
    assert shared(state, 0).take(Meter(b"one", 10**12), (), NOW) == GRANTED
    make_tables(state, 3)
    assert shared(state, 0).take(Meter(b"one", 10**12), (), NOW) == GRANTED
    assert sorted(path.name for path in state.iterdir()) == ["calls", "holdings", "meters", "turns"]
    assert (state / "meters").stat().st_mode & 0o777 == 0o600


def test_without_a_table_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        SharedTable(tmp_path)
    (tmp_path / "meters").touch()
    with pytest.raises(ValueError, match="empty"):
        SharedTable(tmp_path)


def test_a_table_can_be_let_go(tmp_path: Path) -> None:
    make_tables(tmp_path, 1)
    table = SharedTable(tmp_path)
    table.close()
    assert table.memory.closed
