"""Measures the decision alone, of Interceptor at every size and of other policy engines with the same policy.

Each figure comes from a process of its own, so that memory is its own, and they take turns: what disturbs one round
disturbs all. The engines live in ``.bench/venv``; those that are not installed are left out with a remark.
"""

import json
import random
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any, Final

import msgspec

from bench import rules
from bench.results import Decided, Results, Spread, spread

OURS: Final = "interceptor"
SIZES: Final = (10, 100, 1_000, 10_000, 100_000)
TABLES: Final = ("numbers", "columns", "prefixes")
PEERS: Final = {  # the module in bench/engines, and the package on PyPI
    "zen-engine": ("zen_engine", "zen-engine"),
    "cedarpy": ("cedar", "cedarpy"),
    "pycasbin": ("pycasbin", "casbin"),
    "regopy (Rego)": ("rego", "regopy"),
}
PACKAGES: Final = tuple(package for _, package in PEERS.values())
SHARED_SIZES: Final = (10, 100, 1_000, 10_000)
_ROOT: Final = Path(__file__).resolve().parent.parent
_TITLES: Final = {
    "": "",
    "numbers": "a list of 1,000,000 numbers",
    "columns": "1,000,000 numbers with two columns",
    "prefixes": "1,000,000 prefixes with two columns",
}


def measure(
    results: Results, venv: Path, folder: Path, rounds: int, seconds: float, tell: Callable[[str], None]
) -> None:
    """Add the figures of ``rounds`` rounds to the results; ``seconds`` is how long a slow engine is asked."""
    folder.mkdir(parents=True, exist_ok=True)
    installed = [name for name in PEERS if _version(venv, PEERS[name][1])]
    for name in PEERS:
        if name not in installed:
            results.remarks.append(f"{name} is not installed: `make bench-peers` installs what can be had")
    results.versions.update({name: _version(venv, PEERS[name][1]) for name in installed})
    for turn in range(rounds):
        for size, table in [*((size, "") for size in SIZES), *((1_000, table) for table in TABLES)]:
            found = _run([sys.executable, "-m", "bench.decide", str(size), table], results)
            _add(results, tell, found, turn, OURS, "grown", size, table)
        for size in SHARED_SIZES:
            work = folder / f"policy-{size}.json"
            work.write_text(json.dumps(_work(size, seconds)), encoding="utf-8")
            script = str(_ROOT / "bench" / "engines" / "contest.py")
            found = _run([sys.executable, script, "interceptor_engine", str(work)], results)
            _add(results, tell, found, turn, OURS, "shared", size, "")
            for name in installed:
                found = _run([str(venv / "bin" / "python"), script, PEERS[name][0], str(work)], results)
                _add(results, tell, found, turn, name, "shared", size, "")


def _run(command: list[str], results: Results) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True, cwd=_ROOT, check=False)
    if done.returncode:
        # Whole paths are this machine's; the page is for everybody.
        asked = " ".join(Path(word).name if word.startswith("/") else word for word in command[1:])
        results.remarks.append(f"{asked}: {(done.stderr.strip() or 'ended').splitlines()[-1]}")
        return {}
    return dict(json.loads(done.stdout))


def _add(
    results: Results,
    tell: Callable[[str], None],
    found: dict[str, Any],
    turn: int,
    engine: str,
    policy: str,
    size: int,
    table: str,
) -> None:
    if not found:
        tell(f"decide     {engine:14} {size:>7,} rules: could not be measured, see the remarks")
        return
    given = {"round": turn, "engine": engine, "policy": policy, "rules": size, "table": table}
    decided = msgspec.convert(found | given, Decided)
    results.decisions.append(decided)
    beside = f" and {_TITLES[table]}" if table else ""
    tell(
        f"decide     {engine:14} {size:>7,} rules{beside}: p50 {decided.p50:,.1f} µs, p99 {decided.p99:,.1f} µs, "
        f"load {decided.load:.2f} s, {decided.memory:.1f} MB"
    )


def _work(size: int, seconds: float) -> dict[str, Any]:
    """The rules of ``bench/rules.py`` and messages, of which one in four is denied."""
    dice = random.Random(3)
    denying = rules.deny_rules(size - 1)
    allowed, denied = rules.allowed_numbers()[:1_000], rules.denied_numbers(250)
    messages = [
        ("Call", dice.choice(tuple(rules.APPS)), dice.choice(denied if at % 4 == 0 else allowed), dice.randrange(24))
        for at in range(50_000)
    ]
    return {
        "rules": [
            (rule.command, rule.app, rule.prefix, *(rules.HOURS[rule.window] if rule.window else (-1, -1)))
            for rule in denying
        ],
        "apps": list(rules.APPS),
        "allowed": rules.ALLOWED_PREFIXES,
        "messages": messages,
        "verdicts": [number not in set(denied) for _, _, number, _ in messages[:100]],
        "seconds": seconds,
        "warm": 10_000,
    }


def _version(venv: Path, package: str) -> str:
    python = venv / "bin" / "python"
    if not python.exists():
        return ""
    ask = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run([str(python), "-c", ask], capture_output=True, text=True, check=False).stdout.strip()


# --- what the figures say ---


def figure(
    results: Results, size: int, of: Callable[[Decided], float], *, table: str = "", policy: str = "grown"
) -> Spread | None:
    """A figure of Interceptor's over the rounds."""
    return spread(of(each) for each in _of(results, OURS, policy, size, table))


def growth(results: Results, large: int, small: int) -> Spread | None:
    """How many times as long a decision of many rules takes as one of few, round by round."""
    few = {each.round: each.p50 for each in _of(results, OURS, "grown", small, "")}
    return spread(each.p50 / few[each.round] for each in _of(results, OURS, "grown", large, "") if each.round in few)


def ahead(results: Results, size: int) -> Spread | None:
    """How many times as fast as the fastest of the others Interceptor is, round by round."""
    ours = {each.round: each.p50 for each in _of(results, OURS, "shared", size, "")}
    ratios = []
    for turn, mine in ours.items():
        others = [
            each.p50
            for each in results.decisions
            if (each.round, each.policy, each.rules) == (turn, "shared", size) and each.engine != OURS
        ]
        if others:
            ratios.append(min(others) / mine)
    return spread(ratios)


def grown_rows(results: Results) -> list[tuple[str, ...]]:
    """The table of Interceptor at every size and with tables."""
    rows = []
    for size, table in _keys(results, "grown"):
        found = list(_of(results, OURS, "grown", size, table))
        rows.append(
            (
                f"{size:,} rules" + (f", {_TITLES[table]}" if table else ""),
                *(f"{_median(found, of):,.1f}" for of in (_p50, _p99, _unseen)),
                f"{_median(found, _load):.2f} ({_median(found, _cpu):.2f})",
                f"{_median(found, _memory):.1f}",
                f"{_median(found, _peak):.1f}",
            )
        )
    return rows


def shared_rows(results: Results) -> list[tuple[str, ...]]:
    """The table of all engines with one policy: p50 at every size, then load and memory of the largest."""
    engines = dict.fromkeys(each.engine for each in results.decisions if each.policy == "shared")
    rows = []
    for engine in engines:
        cells = []
        for size in SHARED_SIZES:
            found = list(_of(results, engine, "shared", size, ""))
            cells.append(f"{_median(found, _p50):,.1f} ({_median(found, _p99):,.1f})" if found else "–")
        largest = list(_of(results, engine, "shared", SHARED_SIZES[-1], ""))
        cells += [f"{_median(largest, _cpu):.2f}", f"{_median(largest, _memory):.1f}"] if largest else ["–", "–"]
        rows.append((f"**{engine}**" if engine == OURS else engine, *cells))
    return rows


def _of(results: Results, engine: str, policy: str, size: int, table: str) -> Iterable[Decided]:
    wanted = (engine, policy, size, table)
    return (each for each in results.decisions if (each.engine, each.policy, each.rules, each.table) == wanted)


def _keys(results: Results, policy: str) -> Iterable[tuple[int, str]]:
    return dict.fromkeys((each.rules, each.table) for each in results.decisions if each.policy == policy)


def _median(found: Sequence[Decided], of: Callable[[Decided], float]) -> float:
    return median(of(each) for each in found)


def _p50(each: Decided) -> float:
    return each.p50


def _p99(each: Decided) -> float:
    return each.p99


def _unseen(each: Decided) -> float:
    return each.unseen


def _load(each: Decided) -> float:
    return each.load


def _cpu(each: Decided) -> float:
    return each.cpu


def _memory(each: Decided) -> float:
    return each.memory


def _peak(each: Decided) -> float:
    return each.peak
