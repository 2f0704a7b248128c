"""The short form of ``make fuzz``, and that the fuzzer finds and keeps what it should."""

import subprocess
import sys
from pathlib import Path
from time import thread_time

import pytest

from fuzz.guided import Outcome, Share, available, run
from fuzz.run import fuzz, replay
from fuzz.targets import TARGETS, Target


def fragile(data: bytes) -> bool:
    """A door that stands nearly everything."""
    if b"&&" in data:
        raise ValueError("two ampersands")
    return b"&" in data


FRAGILE = Target("fragile", 1, (b"command=Call&x",), (b"&", b"="), fragile)


@pytest.mark.fuzz
def test_twenty_thousand_hostile_inputs_are_stood() -> None:
    summary = fuzz(20_000, 30.0, seed=20_261_123)
    assert summary.crash is None, summary.crash
    assert summary.kinds > 200
    assert {target.name for target in TARGETS} == set(summary.by_target)
    assert summary.inputs == sum(summary.by_target.values()) > 1000


def test_the_same_seed_gives_the_same_inputs() -> None:
    first, second = (fuzz(300, 30.0, seed=5) for _ in range(2))
    assert (first.inputs, first.kinds, first.by_target) == (second.inputs, second.kinds, second.by_target)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_every_seed_is_stood_as_it_is(target: Target) -> None:
    for data in target.seeds:
        target.stand(data)


def test_the_first_input_that_is_not_stood_ends_the_run_and_can_be_repeated(tmp_path: Path) -> None:
    found = fuzz(5000, 30.0, seed=1, targets=(FRAGILE,))
    crash = found.crash
    assert crash is not None
    assert b"&&" in crash.data
    assert "two ampersands" in crash.report
    again = fuzz(crash.number + 1, 30.0, seed=1, targets=(FRAGILE,)).crash
    assert again is not None
    assert (crash.data, crash.number) == (again.data, again.number)
    path = crash.save(tmp_path / "new")
    assert path.read_bytes() == crash.data
    assert path.name.startswith("fragile-")


def test_an_input_that_keeps_a_processor_busy_is_not_stood(monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(data: bytes) -> bool:
        over = thread_time() + 0.02
        while thread_time() < over:
            pass
        return bool(data)

    monkeypatch.setattr("fuzz.run._SLOW_SECONDS", 0.01)
    crash = fuzz(10, 30.0, seed=1, targets=(Target("slow", 1, (b"a",), (b"b",), slow),)).crash
    assert crash is not None
    assert (crash.number, crash.report[:5]) == (0, "took ")


def test_a_saved_input_is_given_to_its_door_again(tmp_path: Path) -> None:
    path = tmp_path / "requests-0123456789ab.bin"
    path.write_bytes(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n\r\n\r\n\xff")
    assert replay(path) == ""


def test_the_program_tells_its_seed_and_ends_with_zero(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "fuzz", "--inputs", "200", "--seed", "3", "--save", str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=50, check=False, cwd=Path(__file__).parents[2]
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("seed 3\n")
    assert "200 inputs in" in done.stdout


def test_the_time_bound_ends_a_run() -> None:
    assert fuzz(1_000_000, 0.05, seed=2).inputs < 1_000_000


@pytest.mark.skipif(not available(), reason="`make fuzz-guided` installs atheris")
def test_inputs_that_the_code_chose_are_stood_and_counted(tmp_path: Path) -> None:
    assert run(Share("numbers", 500, 60, 7, tmp_path)) == Outcome(500)


@pytest.mark.skipif(available(), reason="atheris is installed")
def test_who_asks_for_guided_inputs_without_atheris_is_told_what_installs_it() -> None:
    command = [sys.executable, "-m", "fuzz", "--guided", "--inputs", "1"]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 2
    assert "make fuzz-guided" in told.stdout
