"""Writes the results as a page: goals first, then a table for each case, then how it was measured."""

from collections.abc import Sequence

from bench import decisions
from bench.goals import GOALS, Goal
from bench.plan import DIRECT, RELAXED, SHARED
from bench.results import Case, Results, Spread

NOTES_BEGIN = "<!-- notes: what stands between these two marks is written by people and kept -->"
NOTES_END = "<!-- end of notes -->"
_NOT_MEASURED = "not measured"
_NO_NOTES = "\nNothing is noted yet.\n"

_HOW = """\
* Every proxy runs on one core of its own; wrk (one thread) and the back end share another. So the load core can be
  the limit, for the fast proxies above all: the column *busy* says how much of its core the proxy used. Well below
  100 % means that the proxy was waiting for the load, and its true figure is higher. *µs each* is the processor time
  the proxy used for one exchange, which does not depend on that; *by processor time* is nginx's divided by it.
* Added latency is over the back end on the proxies' core: a client crosses to another core to reach it, as it does to
  reach a proxy. The table of one connection also has the back end on the load's own core, which nothing crosses.
* Rounds are interleaved (A B C, A B C, …) and a ratio is taken within each round; the tables give the median over the
  rounds and, in brackets, the least and the greatest.
* The load is `command=Call` by GET with seven parameters, {numbers:,} different dialled numbers, four apps that
  identify themselves by `Username` and `Password`. The back end is nginx, which answers 263 bytes of XML; it counts
  what it saw, and a share that does not fit the policy becomes a remark below.
* All policies come out of one generator (`bench/rules.py`): deny rules by command, app, number prefix and hour of
  day, near the numbers that are dialled, and one rule that allows the rest of the country. Before it is loaded, each
  proxy has to let an allowed command through, refuse a denied one (306) and one with a wrong password (305).
* Interceptor writes its journal (two records an exchange) and keeps its metrics in every case. The others write no
  log at all.
* Latencies are wrk's, as seen by the client.
* A decision is the whole of it: the numbers of the message read to their canonical form (5,000 that come again and
  again; *unseen*: each for the first time), the facts made, the rules asked. Each row is a process of its own; memory
  is what it grew by, the bytes of the files aside. With a table, load and memory are its own and those of the 1,000
  rules beside it. The policy is half exact numbers, a third prefixes with an app, callers with hours, and a few more.
* The other engines have the deny rules by command, app, prefix and hours that the proxies have; one message in four is
  denied. What an engine can prepare (parsed policies, compiled tables) is prepared before; the Rego policy is indexed
  by hand. What they say to the first twenty messages is checked.
"""
_DIRECT = {DIRECT: "no proxy, back end on the proxies' core", SHARED: "no proxy, back end on the load's core"}


def page(results: Results, notes: str = _NO_NOTES) -> str:
    """The whole of ``docs/benchmarks.md``. ``notes`` is what people wrote on the page before."""
    parts = [
        "# Benchmarks",
        f"Written by `make bench`, {results.at}. Raw figures: `.bench/results.json`. Its parts: `bench/README.md`.",
        "## Goals",
        goals(results),
        f"{NOTES_BEGIN}\n{notes.strip(chr(10))}\n{NOTES_END}",
        *(f"## {case.title}\n\n{table(results, case)}" for case in results.cases),
        *_memory(results),
        *decided(results),
        "## How it was measured\n\n" + _HOW.format(numbers=results.settings.get("numbers", 0)),
        "## Machine and versions\n\n" + _pairs({**results.machine, **results.versions}),
        "Seconds from start to ready: "
        + ", ".join(f"{key} {seconds:.1f}" for key, seconds in results.seconds_to_start.items())
        + ".",
    ]
    if results.remarks:
        parts.append("## Remarks\n\n" + "\n".join(f"* {_one_line(remark)}" for remark in results.remarks))
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def kept_notes(page_before: str) -> str:
    """What people wrote between the marks of an earlier page."""
    _, found, rest = page_before.partition(NOTES_BEGIN)
    return rest.partition(NOTES_END)[0] if found else _NO_NOTES


def goals(results: Results, *, whole: bool = True) -> str:
    """Goal, reached, verdict: one line each; goals that were not measured are said to be so, or left out."""
    rows = [_goal(goal, results) for goal in GOALS]
    rows = [row for row in rows if whole or row[-1] != _NOT_MEASURED]
    return _table(("goal", "wanted", "reached", "verdict"), rows)


def table(results: Results, case: Case) -> str:
    """One case: who, how many a second, of nginx, latencies, processor time."""
    rows = []
    for key in results.contestants(case.key):
        rate = results.spread(case.key, key, lambda sample: sample.requests_per_second)
        of_nginx = results.ratio(case.key, key, "nginx")
        by_time = results.ratio(case.key, "nginx", key, lambda sample: sample.cpu_microseconds)
        p50 = results.spread(case.key, key, lambda sample: sample.counted.p50 / 1000)
        p99 = results.spread(case.key, key, lambda sample: sample.counted.p99 / 1000)
        each = results.spread(case.key, key, lambda sample: sample.cpu_microseconds)
        busy = results.spread(case.key, key, lambda sample: sample.busy * 100)
        if not (rate and p50 and p99 and each and busy):
            continue
        rows.append(
            (
                results.titles.get(key) or _DIRECT.get(key, key),
                f"{rate.median:,.0f} [{rate.least:,.0f}–{rate.greatest:,.0f}]",
                _figure(of_nginx, "") if of_nginx else "–",
                f"{by_time.median:.2f}" if by_time else "–",
                f"{p50.median:.2f}",
                f"{p99.median:.2f}",
                f"{each.median:.1f}" if each.median else "–",
                f"{busy.median:.0f} %" if busy.median else "–",
            )
        )
    return _table(
        ("", "requests a second", "of nginx", "by processor time", "p50 ms", "p99 ms", "µs each", "busy"), rows
    )


def _goal(goal: Goal, results: Results) -> tuple[str, str, str, str]:
    wanted = f"{'≥' if goal.at_least else '≤'} {goal.bound:g}{goal.unit}"
    figure = goal.find(results)
    if figure is None:
        return goal.title, wanted, "–", _NOT_MEASURED
    verdict = "reached" if goal.reached(figure) else "**missed**"
    return goal.title, wanted, _figure(figure, goal.unit), verdict


def _figure(figure: Spread, unit: str) -> str:
    digits = 2 if abs(figure.median) < 20 else 1
    told = f"{figure.median:.{digits}f}{unit}"
    if figure.least == figure.greatest:
        return told
    return f"{told} [{figure.least:.{digits}f}–{figure.greatest:.{digits}f}]"


def _memory(results: Results) -> list[str]:
    readings = results.memory.get(RELAXED)
    if not readings:
        return []
    rows = [(f"{reading.exchanges:,}", f"{reading.resident / 1e6:.1f}") for reading in readings]
    return ["## Memory of one worker\n\n" + _table(("exchanges", "resident MB"), rows)]


def decided(results: Results) -> list[str]:
    """The decisions: Interceptor at every size, then all engines with one policy."""
    if not results.decisions:
        return []
    head = ("", "p50 µs", "p99 µs", "unseen p50 µs", "load s (of the processor)", "memory MB", "most MB while loading")
    sizes = tuple(f"{size:,} rules: p50 (p99) µs" for size in decisions.SHARED_SIZES)
    return [
        "## Decisions\n\n" + _table(head, decisions.grown_rows(results)),
        "## Decisions of other policy engines, with the same policy\n\n"
        + _table(("", *sizes, "load, s of the processor", "memory MB"), decisions.shared_rows(results)),
    ]


def _pairs(pairs: dict[str, str]) -> str:
    return _table(("", ""), list(pairs.items()))


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _one_line(text: str) -> str:
    return " ".join(text.split())
