"""What is measured: the contestants, the cases, and who takes part in which."""

from pathlib import Path

from msgspec import Struct
from msgspec.structs import replace

import bench.proxies.envoy
import bench.proxies.haproxy
import bench.proxies.interceptor
import bench.proxies.mitmdump
import bench.proxies.nginx
from bench.contestant import Contestant
from bench.load import Load

POLICY_RULES = 1_000
DIRECT = "direct"  # the load on the back end itself, which stands on the proxies' core meanwhile
SHARED = "direct-shared"  # the same, the back end on the load's core, where it stands for the proxies
RELAXED = f"interceptor-{POLICY_RULES}-relaxed"
STRICT = f"interceptor-{POLICY_RULES}-strict"
_PEERS = ("nginx", "nginx-map", "haproxy", "haproxy-lua", "envoy", "envoy-lua", "mitmdump")


class Measure(Struct, frozen=True):
    """One case to be measured. ``"*"`` among ``contestants`` stands for all that run on one core."""

    key: str
    title: str
    load: Load
    contestants: tuple[str, ...]
    rounds: int
    seconds: int


def available(venv: Path, baseline: Path | None, python: str = "") -> dict[str, Contestant]:
    """Every contestant that can be started on this machine, by key."""
    found: list[Contestant] = []
    if bench.proxies.nginx.version():
        found += bench.proxies.nginx.contestants(POLICY_RULES)
    if bench.proxies.haproxy.version():
        found += bench.proxies.haproxy.contestants(POLICY_RULES)
    if bench.proxies.envoy.version(venv):
        found += bench.proxies.envoy.contestants(POLICY_RULES, venv)
    if bench.proxies.mitmdump.version():
        found += bench.proxies.mitmdump.contestants(POLICY_RULES)
    found += bench.proxies.interceptor.contestants(baseline, python)
    return {contestant.key: contestant for contestant in found}


def whole(seconds: int) -> list[Measure]:
    """All cases of ``make bench``."""
    other = bench.proxies.interceptor.OTHER_PYTHON
    peers = ("nginx", "haproxy", "haproxy-lua", "envoy", "envoy-lua", "mitmdump")
    ours = tuple(
        f"interceptor-{rules}-{durability}" for durability in ("relaxed", "strict") for rules in (10, 1000, 10000)
    )
    some = (*peers, *ours, other)
    short = max(1, seconds - 1)
    with_policy = ("nginx-map", "haproxy-lua", "envoy-lua", "mitmdump", RELAXED, STRICT)
    return [
        Measure("keep-64", "Keep-alive, 64 connections", Load(64), (SHARED, "*"), 5, seconds),
        Measure("keep-1", "Keep-alive, one connection", Load(1), (DIRECT, SHARED, *some), 5, short),
        Measure("keep-16", "Keep-alive, 16 connections", Load(16), some, 3, short),
        Measure("keep-256", "Keep-alive, 256 connections", Load(256), some, 3, short),
        Measure("close-64", "`Connection: close`, 64 at a time", Load(64, close=True), some, 5, short),
        Measure("denied-64", "Half of the requests denied", Load(64, denied=0.5), with_policy, 3, short),
        Measure("distinct-64", "Every answer different", Load(64, distinct=True), ("nginx", RELAXED, STRICT), 3, short),
        Measure(
            "workers-64",
            "Workers, on all cores, which load and back end share",
            Load(64),
            ("workers-1", "workers-2"),
            5,
            seconds,
        ),
    ]


def quick(seconds: int) -> list[Measure]:
    """The cases that most goals rest on, in less than two minutes."""
    main = (
        "nginx",
        "haproxy-lua",
        "envoy-lua",
        "mitmdump",
        RELAXED,
        STRICT,
        "interceptor-10-relaxed",
        "interceptor-10000-relaxed",
    )
    return [
        Measure("keep-64", "Keep-alive, 64 connections", Load(64), main, 3, seconds),
        Measure("keep-1", "Keep-alive, one connection", Load(1), (DIRECT, RELAXED, STRICT), 3, seconds),
        Measure("close-64", "`Connection: close`, 64 at a time", Load(64, close=True), ("nginx", RELAXED), 3, seconds),
    ]


def select(measures: list[Measure], known: dict[str, Contestant], only: tuple[str, ...]) -> list[Measure]:
    """The same cases with the contestants that exist and are asked for; cases without any are left out.

    ``only`` holds keys or beginnings of keys. A key given in full takes part in every case where it makes sense.
    """
    one_core = [key for key, contestant in known.items() if not contestant.all_cores and not key.startswith("baseline")]
    selected = []
    for measure in measures:
        planned = [key for part in measure.contestants for key in (one_core if part == "*" else [part])]
        if "workers" not in measure.key:
            planned += only
        chosen = [key for key in dict.fromkeys(planned) if _fits(measure, known, key) and _asked_for(key, only)]
        # A baseline runs beside each Interceptor of the same configuration.
        pairs = (pair for key in chosen for pair in (key, key.replace("interceptor", "baseline")))
        paired = tuple(dict.fromkeys(pair for pair in pairs if _fits(measure, known, pair)))
        if paired:
            selected.append(replace(measure, contestants=paired))
    return selected


def _fits(measure: Measure, known: dict[str, Contestant], key: str) -> bool:
    if key in (DIRECT, SHARED):
        return not measure.load.denied
    return key in known and bool(known[key].rules or not measure.load.denied)


def _asked_for(key: str, only: tuple[str, ...]) -> bool:
    return not only or any(f"{key}-".startswith(f"{part}-") for part in only)
