"""``python -m fuzz``: exit 0 where every input was stood, 1 at the first that was not, 2 where not all were given."""

import argparse
import sys
from pathlib import Path
from secrets import randbits
from time import perf_counter

from fuzz.guided import Share, available, run
from fuzz.run import fuzz, replay
from fuzz.targets import TARGETS


def main() -> int:
    """Read the arguments, run, tell."""
    parser = argparse.ArgumentParser(prog="fuzz", description="Hostile inputs over wire and gateway.")
    parser.add_argument("--inputs", type=int, default=1_000_000, help="how many (default: a million)")
    parser.add_argument("--seconds", type=float, default=600.0, help="end after this long (default: 600)")
    parser.add_argument("--seed", type=int, default=None, help="repeat the run that printed this seed")
    parser.add_argument("--save", type=Path, default=Path(".fuzz"), help="folder for inputs that were not stood")
    parser.add_argument(
        "--guided", action="store_true", help="let the ways through our code choose the inputs (atheris)"
    )
    parser.add_argument("--case", type=Path, default=None, help="give one saved input to its door again, nothing else")
    chosen = parser.parse_args()
    if chosen.case is not None:
        report = replay(chosen.case)
        _tell(report or "it is stood now")
        return bool(report)
    seed = randbits(31) if chosen.seed is None else chosen.seed
    _tell(f"seed {seed}")
    if chosen.guided:
        return _guided(chosen.inputs, chosen.seconds, seed, chosen.save)
    summary = fuzz(chosen.inputs, chosen.seconds, seed, tell=_tell)
    shares = ", ".join(f"{name} {count}" for name, count in sorted(summary.by_target.items()))
    _tell(f"{summary.inputs} inputs in {summary.seconds:.1f} s ({shares}); {summary.kinds} kinds of outcome")
    crash = summary.crash
    if crash is None:
        if summary.inputs < chosen.inputs:
            _tell(f"the time was over before {chosen.inputs} inputs")
            return 2
        return 0
    _tell(f"{crash.report}\ntarget {crash.target}, seed {crash.seed}, input {crash.number}: {crash.data!r}")
    path = crash.save(chosen.save)
    _tell(f"saved as {path}; again: python -m fuzz --case {path}")
    return 1


def _guided(inputs: int, seconds: float, seed: int, save: Path) -> int:
    if not available():
        _tell("--guided needs atheris: `make fuzz-guided` installs it, where there is one for this machine and Python")
        return 2
    shares = sum(target.share for target in TARGETS)
    for target in TARGETS:
        count, most = inputs * target.share // shares, max(1, int(seconds * target.share / shares))
        begun = perf_counter()
        outcome = run(Share(target.name, count, most, seed, save))
        if outcome.report:
            _tell(f"{outcome.report}\ntarget {target.name}; what it did not stand is in {save}")
            _tell("again: python -m fuzz --case FILE")
            return 1
        _tell(f"{target.name}: {outcome.inputs} inputs in {perf_counter() - begun:.1f} s")
    return 0


def _tell(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
