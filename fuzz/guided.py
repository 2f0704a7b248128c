"""``python -m fuzz --guided``: inputs led by the ways that they take through our code.

The loop of :mod:`fuzz.run` keeps what gives a new kind of outcome; this one, libFuzzer's by ``atheris``, keeps what
reaches a new branch. It ends its process itself, so each door has one of its own.
"""

import argparse
import importlib
import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

_LONGEST: Final = 4096  # bytes of an input
_LONGEST_WORD: Final = 64  # bytes of a token, libFuzzer's own bound
_SLOW_SECONDS: Final = 5
_MEMORY_MEGABYTES: Final = 2048
_GRACE_SECONDS: Final = 120  # to start, and to end after the time is over
_DONE: Final = re.compile(r"^Done (\d+) runs in", re.MULTILINE)


class Share(Struct, frozen=True):
    """What one door is given, and where what it does not stand is saved."""

    target: str
    inputs: int
    seconds: int
    seed: int
    save: Path


class Outcome(Struct, frozen=True):
    """How many inputs a door stood; ``report`` is what libFuzzer said last where it did not stand one."""

    inputs: int
    report: str = ""


def available() -> bool:
    """Whether ``atheris`` is installed."""
    return importlib.util.find_spec("atheris") is not None


def run(share: Share) -> Outcome:
    """Fuzz one door in a process of its own."""
    words = (str(each) for each in (share.target, share.inputs, share.seconds, share.seed, share.save))
    command = [sys.executable, "-m", "fuzz.guided", *words]
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=share.seconds + _GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        return Outcome(0, f"did not end {_GRACE_SECONDS} s after its time")
    told = (done.stdout + done.stderr).decode("utf-8", "replace")
    counted = _DONE.search(told)
    if done.returncode or counted is None:
        return Outcome(0, told[-4000:])
    return Outcome(int(counted[1]))


def serve(share: Share) -> None:
    """Be that process."""
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["interceptor"]):
        targets = importlib.import_module("fuzz.targets").TARGETS
    target = next(each for each in targets if each.name == share.target)
    corpus = share.save / "corpus" / target.name
    corpus.mkdir(parents=True, exist_ok=True)
    (share.save / ".gitignore").write_text("*\n")
    for number, data in enumerate(target.seeds):
        (corpus / f"seed-{number}").write_bytes(data)
    words = share.save / f"{target.name}.dict"
    words.write_text("".join(_word(token) for token in target.tokens))
    options = [
        f"-runs={share.inputs}",
        f"-max_total_time={share.seconds}",
        f"-seed={share.seed}",
        f"-max_len={_LONGEST}",
        f"-dict={words}",
        f"-artifact_prefix={share.save}/{target.name}-",  # a name that `--case` reads
        f"-timeout={_SLOW_SECONDS}",
        f"-rss_limit_mb={_MEMORY_MEGABYTES}",
    ]
    atheris.Setup([sys.argv[0], *options, str(corpus)], lambda data: target.stand(data) and None)
    atheris.Fuzz()


def _word(token: bytes) -> str:
    return '"' + "".join(f"\\x{byte:02x}" for byte in token[:_LONGEST_WORD]) + '"\n'


def main() -> None:
    """Read what :func:`run` wrote."""
    parser = argparse.ArgumentParser(prog="fuzz.guided")
    parser.add_argument("target")
    for name in ("inputs", "seconds", "seed"):
        parser.add_argument(name, type=int)
    parser.add_argument("save", type=Path)
    serve(Share(**vars(parser.parse_args())))


if __name__ == "__main__":
    main()
