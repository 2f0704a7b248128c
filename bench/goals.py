"""The goals of the project, each with how its figure is found in the results."""

from collections.abc import Callable
from typing import Final

from msgspec import Struct

from bench import decisions
from bench.plan import DIRECT, RELAXED, STRICT
from bench.results import Decided, Results, Spread


class Goal(Struct, frozen=True):
    """One goal. ``unit`` ends the figure; ``at_least`` says on which side of ``bound`` it is reached."""

    title: str
    at_least: bool
    bound: float
    unit: str
    find: Callable[[Results], Spread | None]

    def reached(self, figure: Spread) -> bool:
        return figure.median >= self.bound if self.at_least else figure.median <= self.bound


def _ratio(case: str, one: str, other: str) -> Callable[[Results], Spread | None]:
    return lambda results: results.ratio(case, one, other)


def _added_milliseconds(contestant: str) -> Callable[[Results], Spread | None]:
    return lambda results: results.difference("keep-1", contestant, DIRECT, lambda sample: sample.counted.p50 / 1000)


def _most_memory(results: Results) -> Spread | None:
    readings = [reading.resident / 1e6 for reading in results.memory.get(RELAXED, [])]
    return Spread(max(readings), min(readings), max(readings)) if readings else None


def _growth(results: Results) -> Spread | None:
    readings = [reading.resident for reading in results.memory.get(RELAXED, [])]
    if len(readings) < 2:
        return None
    growth = (readings[-1] / readings[0] - 1) * 100
    return Spread(growth, growth, growth)


def _decided(size: int, of: Callable[[Decided], float], *, table: str = "") -> Callable[[Results], Spread | None]:
    return lambda results: decisions.figure(results, size, of, table=table)


def _worst_table(of: Callable[[Decided], float]) -> Callable[[Results], Spread | None]:
    def worst(results: Results) -> Spread | None:
        found = [decisions.figure(results, 1_000, of, table=table) for table in decisions.TABLES]
        return max((each for each in found if each is not None), key=lambda each: each.median, default=None)

    return worst


GOALS: Final = (
    Goal(
        "1,000 rules, metrics, journal `relaxed`, of nginx `proxy_pass`",
        True,
        0.40,
        "",
        _ratio("keep-64", RELAXED, "nginx"),
    ),
    Goal(
        "the same, of HAProxy with a Lua policy (reach for: ahead of it)",
        True,
        1.0,
        "",
        _ratio("keep-64", RELAXED, "haproxy-lua"),
    ),
    Goal("the same, of Envoy with a Lua policy", True, 1.5, "", _ratio("keep-64", RELAXED, "envoy-lua")),
    Goal("the same, of stock `mitmdump` with an addon", True, 30, "", _ratio("keep-64", RELAXED, "mitmdump")),
    Goal("journal `strict` of `relaxed`, 64 connections", True, 0.8, "", _ratio("keep-64", STRICT, RELAXED)),
    Goal(
        "10,000 rules of 10 rules",
        True,
        0.95,
        "",
        _ratio("keep-64", "interceptor-10000-relaxed", "interceptor-10-relaxed"),
    ),
    Goal("`Connection: close`, of nginx", True, 0.5, "", _ratio("close-64", RELAXED, "nginx")),
    Goal(
        "one connection, added p50 over the back end directly, `relaxed`",
        False,
        0.2,
        " ms",
        _added_milliseconds(RELAXED),
    ),
    Goal(
        "one connection, added p50 over the back end directly, `strict`", False, 0.6, " ms", _added_milliseconds(STRICT)
    ),
    Goal("memory of a worker over 1,000,000 exchanges, the most", False, 110, " MB", _most_memory),
    Goal("growth of that after the first 50,000", False, 5, " %", _growth),
    Goal(
        "two workers on two cores, of one (load on the same cores)",
        True,
        1.6,
        "",
        _ratio("workers-64", "workers-2", "workers-1"),
    ),
    Goal("a decision, 1,000 rules, p50", False, 8, " µs", _decided(1_000, lambda each: each.p50)),
    Goal("the same, p99", False, 25, " µs", _decided(1_000, lambda each: each.p99)),
    Goal("a decision, 10,000 rules, p50", False, 8, " µs", _decided(10_000, lambda each: each.p50)),
    Goal("the same, p99", False, 25, " µs", _decided(10_000, lambda each: each.p99)),
    Goal("the same, p50 for numbers never seen", False, 60, " µs", _decided(10_000, lambda each: each.unseen)),
    Goal("p50 of 100,000 rules, of 100 rules", False, 3, "", lambda results: decisions.growth(results, 100_000, 100)),
    Goal("load of 100,000 rules, processor time", False, 10, " s", _decided(100_000, lambda each: each.cpu)),
    Goal("room that 100,000 rules take", False, 150, " MB", _decided(100_000, lambda each: each.memory)),
    Goal(
        "load of a table of 1,000,000, processor time, the slowest kind",
        False,
        5,
        " s",
        _worst_table(lambda each: each.cpu),
    ),
    Goal("room that it takes, the largest kind", False, 100, " MB", _worst_table(lambda each: each.memory)),
    Goal(
        "10,000 rules, times as fast as the fastest other policy engine",
        True,
        1_000,
        "",
        lambda results: decisions.ahead(results, 10_000),
    ),
)
