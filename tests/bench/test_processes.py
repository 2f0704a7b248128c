"""What was started is gone when the block ends, with all it started itself."""

import os
import sys
from pathlib import Path

import pytest

from bench.processes import Pen, StartError, free_ports, wait_until

FAMILY = """
import subprocess, sys
stubborn = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(60)"
child = subprocess.Popen([sys.executable, "-c", stubborn])
open(sys.argv[1], "w").write(str(child.pid))
child.wait()
"""


def cores() -> list[int]:
    return sorted(os.sched_getaffinity(0))[:1]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_children_of_children_end_with_the_block_even_those_that_ignore_being_asked(tmp_path):
    told = tmp_path / "child"
    with Pen(tmp_path / "logs") as pen:
        family = pen.start("family", [sys.executable, "-c", FAMILY, str(told)], cores=cores())
        wait_until(family, lambda: told.exists() and told.read_text() != "", 10.0)
        members = family.members()
        assert set(members) == {family.popen.pid, int(told.read_text())}
        assert {tuple(os.sched_getaffinity(pid)) for pid in members} == {tuple(cores())}

    assert not [pid for pid in members if alive(pid)]


def test_a_process_that_ends_too_early_is_told_with_its_last_words(tmp_path):
    with Pen(tmp_path) as pen:
        running = pen.start("short", [sys.executable, "-c", "raise SystemExit('no such file')"], cores=cores())
        with pytest.raises(StartError, match="short ended with status 1:\nno such file"):
            wait_until(running, lambda: False, 10.0)


def test_free_ports_are_all_different():
    assert len(set(free_ports(8))) == 8
