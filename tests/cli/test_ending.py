"""Commands that play something, ended in the middle by SIGTERM or Ctrl-C: at once, and nothing is left."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

WAIT = 60.0
ENDED_BY = {signal.SIGTERM: 143, signal.SIGINT: 130}
SCENARIOS = Path(__file__).parents[2] / "interceptor" / "simulator" / "scenarios" / "demo"


class Run:
    """A command that runs in a terminal, with a folder of its own for temporary files."""

    def __init__(self, folder: Path, *arguments: str) -> None:
        self.folder = folder
        self.screen, terminal = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "interceptor", *arguments],
            stdout=terminal,
            stderr=terminal,
            env=os.environ | {"TMPDIR": str(folder)},
            start_new_session=True,
        )
        os.close(terminal)
        self.told = b""

    def until_it_tells(self, text: str) -> None:
        while text.encode() not in self.told:
            self.told += os.read(self.screen, 65536)

    def until_it_begins(self) -> None:
        """Until it has made the first folder, long before anything is played."""
        over = time.monotonic() + WAIT
        while not list(self.folder.iterdir()):
            assert time.monotonic() < over
            time.sleep(0.002)

    def end(self, number: signal.Signals) -> None:
        self.process.send_signal(number)
        with contextlib.suppress(OSError):  # how a terminal says that nobody writes any more
            while piece := os.read(self.screen, 65536):
                self.told += piece
        self.process.wait(WAIT)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(WAIT)
        os.close(self.screen)

    @property
    def left(self) -> list[str]:
        """The command lines of processes that have this run's folder for temporary files."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):  # it has ended meanwhile
                state = (process / "stat").read_text().rpartition(")")[2].split()[0]
                if state not in "ZX" and f"TMPDIR={self.folder}\0".encode() in (process / "environ").read_bytes():
                    found.append((process / "cmdline").read_text())
        return found


@pytest.fixture
def started(tmp_path):
    with contextlib.ExitStack() as stack:

        def start(*arguments):
            run = Run(tmp_path, *arguments)
            stack.callback(run.close)
            return run

        yield start


def assert_nothing_is_left(run, number):
    assert (run.process.returncode, b"Traceback" in run.told) == (ENDED_BY[number], False), run.told.decode()
    assert list(run.folder.iterdir()) == []
    assert run.left == []


@pytest.mark.parametrize("number", ENDED_BY, ids=lambda number: number.name)
@pytest.mark.parametrize(
    "arguments",
    [
        ("demo",),
        ("demo", "--once"),
        ("simulate", "play", "--through-interceptor", str(SCENARIOS)),
        ("simulate", "break"),
        ("simulate", "break", "--workers", "2", "--at-once", "1"),
        ("simulate", "load"),
    ],
    ids=" ".join,
)
def test_a_signal_during_the_start_ends_everything(started, arguments, number):
    run = started(*arguments)
    run.until_it_begins()
    run.end(number)
    assert_nothing_is_left(run, number)


@pytest.mark.parametrize("number", ENDED_BY, ids=lambda number: number.name)
@pytest.mark.parametrize(
    "arguments",
    [("demo", "--once"), ("simulate", "play", "--through-interceptor", "--speed", "5", str(SCENARIOS))],
    ids=" ".join,
)
def test_a_signal_while_something_is_played_ends_everything(started, arguments, number):
    run = started(*arguments)
    run.until_it_tells("rings")
    run.end(number)
    assert_nothing_is_left(run, number)
