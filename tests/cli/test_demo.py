"""The demo as a newcomer runs it: without a terminal, once, and ended in the middle."""

import contextlib
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

WAIT = 60.0
SCENARIOS = Path(__file__).parents[2] / "interceptor" / "simulator" / "scenarios" / "demo"


def started(*arguments: str, folder: Path, terminal: int | None = None) -> subprocess.Popen[str]:
    environment = os.environ | {"TMPDIR": str(folder), "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "interceptor", "demo", *arguments],
        stdout=subprocess.PIPE if terminal is None else terminal,
        stderr=subprocess.PIPE if terminal is None else terminal,
        text=True,
        env=environment,
        start_new_session=True,
    )


def left_of(session: int) -> list[str]:
    """The command lines of processes that still run in a session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            state, _, _, its_session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(its_session) == session and state not in "ZX":
                found.append((folder / "cmdline").read_text())
    return found


def test_the_demo_shows_each_way_a_message_can_go_and_leaves_nothing_behind(tmp_path: Path) -> None:
    process = started("--once", folder=tmp_path)
    told, errors = process.communicate(timeout=WAIT)
    assert (process.returncode, errors) == (0, "")
    for wanted in (
        r"premium-and-satellite-numbers-are-never-dialled",
        r"CallerId.*3612222222",
        r"→ pbx-marketing",
        r"unwanted-callers-are-turned-away",
        r"the dial plan decides",
        r"code 901",
        r"refused +4\b",
        r"rewritten +[1-9]",
        r"rerouted +1\b",
        r"fallbacks +[1-9]",
        r"http://127\.0\.0\.1:\d+/metrics",
    ):
        assert re.search(wanted, told), wanted
    assert "✗" not in told
    assert list(tmp_path.iterdir()) == []


def test_an_interrupt_ends_the_demo_at_once_and_leaves_nothing_behind(tmp_path: Path) -> None:
    screen, terminal = pty.openpty()
    process = started(folder=tmp_path, terminal=terminal)
    os.close(terminal)
    told = b""
    try:
        while b"rings" not in told:
            told += os.read(screen, 65536)
        process.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # how a terminal says that nobody writes any more
            while os.read(screen, 65536):
                pass
        assert process.wait(WAIT) == 130
    finally:
        process.kill()
        os.close(screen)
    assert list(tmp_path.iterdir()) == []
    assert left_of(process.pid) == []


def test_a_configuration_with_problems_is_told_with_its_places(tmp_path: Path) -> None:
    broken = tmp_path / "config.yaml"
    broken.write_text("country: HU\nworkerz: 2\n")
    process = started("--once", "--config", str(broken), folder=tmp_path)
    told, _ = process.communicate(timeout=WAIT)
    assert process.returncode == 1
    assert f"{broken}:2:1:" in told


@pytest.mark.parametrize(
    ("scenarios", "told"),
    [
        ("nowhere", "cannot read `nowhere`: no such file or directory\n"),
        ("empty", "there is no *.yaml file to play\n"),
    ],
)
def test_scenarios_that_are_not_there_are_told_and_nothing_starts(command, tmp_path, scenarios, told) -> None:
    (tmp_path / "empty").mkdir()
    done = command("demo", "--once", "--scenarios", scenarios, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (2, "", told)


def test_a_single_scenario_is_played(command, tmp_path) -> None:
    done = command("demo", "--once", "--scenarios", SCENARIOS / "03-emergency.yaml", cwd=tmp_path)
    assert (done.returncode, done.stdout.count("▶")) == (0, 1)
