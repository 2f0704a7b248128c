"""The loop: inputs out of seeds, each given to its door, until the count or the time is reached."""

import hashlib
import traceback
from collections import Counter
from collections.abc import Callable, Hashable
from pathlib import Path
from random import Random
from time import perf_counter, thread_time

from msgspec import Struct

from fuzz.mutation import mutated
from fuzz.targets import TARGETS, Target

_POOL_MOST = 400  # inputs of new kinds that are kept for each target
_SLOW_SECONDS = 2.0  # of a processor: no input of a few thousand bytes may take this long, however busy the machine is
_TELL_EVERY = 50_000


class Crash(Struct, frozen=True):
    """An input that a door did not stand."""

    target: str
    seed: int
    number: int
    data: bytes
    report: str

    def save(self, folder: Path) -> Path:
        """Write the input to a file that ``--case`` reads."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / ".gitignore").write_text("*\n")
        path = folder / f"{self.target}-{hashlib.sha256(self.data).hexdigest()[:12]}.bin"
        path.write_bytes(self.data)
        return path


class Summary(Struct):
    """What a run did."""

    inputs: int
    seconds: float
    by_target: Counter[str]
    kinds: int
    crash: Crash | None = None


def fuzz(
    inputs: int,
    seconds: float,
    seed: int,
    *,
    targets: tuple[Target, ...] = TARGETS,
    tell: Callable[[str], object] = str,
) -> Summary:
    """Give that many inputs to the doors, or as many as fit into the time; stop at the first that is not stood."""
    dice = Random(seed)
    turns = [target for target in targets for _ in range(target.share)]
    pools = {target.name: list(target.seeds) for target in targets}
    kinds: dict[str, set[Hashable]] = {target.name: set() for target in targets}
    counts: Counter[str] = Counter()
    started = perf_counter()
    summary = Summary(0, 0.0, counts, 0)
    for number in range(inputs):
        target = turns[number % len(turns)]
        pool = pools[target.name]
        data = mutated(dice, pool[int(dice.random() * len(pool))], target.tokens, pool)
        begun = thread_time()
        counts[target.name] += 1
        kind, report = _give(target, data)
        took = thread_time() - begun
        summary.inputs, summary.seconds = number + 1, perf_counter() - started
        if not report and took > _SLOW_SECONDS:
            report = f"took {took:.1f} s"
        if report:
            summary.crash = Crash(target.name, seed, number, data, report)
            break
        known = kinds[target.name]
        if kind not in known:
            known.add(kind)
            if len(pool) < _POOL_MOST:
                pool.append(data)
        if summary.inputs % _TELL_EVERY == 0:
            tell(f"{summary.inputs} inputs, {summary.seconds:.0f} s, {sum(map(len, kinds.values()))} kinds of outcome")
        if summary.seconds > seconds:
            break
    summary.kinds = sum(map(len, kinds.values()))
    return summary


def replay(path: Path) -> str:
    """Give a saved input to its door again; the report, empty where it is stood."""
    name = path.name.partition("-")[0]
    target = next(target for target in TARGETS if target.name == name)
    return _give(target, path.read_bytes())[1]


def _give(target: Target, data: bytes) -> tuple[Hashable, str]:
    try:
        return target.stand(data), ""
    except Exception:  # noqa: BLE001 - whatever a door raises is the finding
        return None, traceback.format_exc()
