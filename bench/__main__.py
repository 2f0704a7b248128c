"""The command line: ``python -m bench [run|decide|reload|peers|profile|report]``; ``--help`` tells the rest."""

import argparse
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import msgspec

from bench import decisions, machine, peers, plan, profiling, reload, report
from bench.measure import Course
from bench.processes import Pen
from bench.results import Results
from bench.rules import NUMBERS

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / ".bench"
PAGE = ROOT / "docs" / "benchmarks.md"


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; the exit status."""
    options = _parser().parse_args(arguments)
    # A SIGTERM unwinds like Ctrl-C does, so that what was started is stopped; some shells start us with Ctrl-C ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    FOLDER.mkdir(exist_ok=True)
    try:
        match options.command or "run":
            case "run":
                return run(options)
            case "peers":
                return peers.install(FOLDER / "venv")
            case "decide":
                return decide(options)
            case "reload":
                return reload.run(options, FOLDER)
            case "profile":
                return profiling.profile(options, FOLDER)
            case _:
                return write_report(options.results)
    except KeyboardInterrupt:
        print("\nstopped; everything that was started is ended", file=sys.stderr)
        return 130


def run(options: argparse.Namespace) -> int:
    """Measure, print the tables, keep the figures; the page is written by a whole run only."""
    if not shutil.which("wrk"):
        print("bench: wrk is not installed; `python -m bench peers` tries to", file=sys.stderr)
        return 2
    begin = time.monotonic()
    proxy_cores, load_cores = machine.cores()
    known = plan.available(FOLDER / "venv", options.baseline, options.python)
    measures = plan.quick(options.seconds or 1) if options.quick else plan.whole(options.seconds or 3)
    if options.case:
        measures = [measure for measure in measures if measure.key in options.case]
    measures = plan.select(measures, known, tuple(options.only))
    if options.rounds:
        measures = [msgspec.structs.replace(measure, rounds=options.rounds) for measure in measures]
    if not measures:
        print("bench: nothing to measure; contestants: " + " ".join(known), file=sys.stderr)
        return 2
    whole = not (options.quick or options.only or options.case)
    results = Results(
        at=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        machine=machine.describe(FOLDER),
        versions=machine.versions(FOLDER / "venv"),
        settings={"numbers": NUMBERS, "seconds": options.seconds, "quick": options.quick, "only": options.only},
    )
    work = FOLDER / f"run-{os.getpid()}"
    try:
        with Pen(work / "logs") as pen:
            course = Course(pen, work, proxy_cores, load_cores, results)
            for position, measure in enumerate(measures):
                course.measure(measure, known, _tell)
                later = {key for coming in measures[position + 1 :] for key in coming.contestants}
                course.stop(set(measure.contestants) - later)
            if whole:
                decisions.measure(results, FOLDER / "venv", work / "decisions", options.rounds or 3, 3.0, _tell)
            if whole or options.memory:
                course.memory(known[plan.RELAXED], options.memory or 1_000_000, _tell)
            reloads = None
            if whole and options.reloads:
                cores = proxy_cores, load_cores
                reloads = reload.measure(pen, work, reloads=options.reloads, rules=10_000, rounds=5, cores=cores)
    finally:
        _keep(results, whole)
        if not options.keep:
            shutil.rmtree(work, ignore_errors=True)
    print(_summary(results))
    print(f"\nmeasured in {time.monotonic() - begin:.0f} s; figures in {_results_file(whole)}")
    if reloads is not None:
        print(f"\n{reload.table(reloads)}")
    if whole:
        write_report(_results_file(whole))
    if reloads is not None:
        reload.put_on_page(PAGE, reloads, results.at)
    return 0


def decide(options: argparse.Namespace) -> int:
    """Measure decisions only, print their tables, and put them on the page beside what stands there."""
    file = _results_file(whole=True)
    fresh = Results(
        at=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        machine=machine.describe(FOLDER),
        versions=machine.versions(FOLDER / "venv"),
        settings={"numbers": NUMBERS},
    )
    decisions.measure(fresh, FOLDER / "venv", FOLDER / "decisions", options.rounds, options.seconds, _tell)
    print("\n\n".join(["", report.goals(fresh, whole=False), *report.decided(fresh), *fresh.remarks]))
    if not file.exists():
        return 0
    kept = msgspec.json.decode(file.read_bytes(), type=Results)
    kept.decisions = fresh.decisions
    kept.versions |= {name: fresh.versions[name] for name in decisions.PEERS if name in fresh.versions}
    kept.machine["decisions measured"] = f"{fresh.at}, load average before {fresh.machine['load average before']}"
    kept.remarks = list(dict.fromkeys([*kept.remarks, *fresh.remarks]))
    file.write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=1))
    return write_report(file)


def write_report(file: Path) -> int:
    """Write the page from figures that were kept."""
    results = msgspec.json.decode(file.read_bytes(), type=Results)
    before = PAGE.read_text("utf-8") if PAGE.exists() else ""
    PAGE.parent.mkdir(exist_ok=True)
    parts = (report.page(results, report.kept_notes(before)).rstrip(), reload.kept_part(before))
    PAGE.write_text("\n\n".join(part for part in parts if part) + "\n", "utf-8")
    print(f"wrote {PAGE}")
    return 0


def _summary(results: Results) -> str:
    parts = ["", report.goals(results)]
    parts += [f"{case.title}\n\n{report.table(results, case)}" for case in results.cases]
    parts += [f"remark: {remark}" for remark in results.remarks]
    return "\n\n".join(parts)


def _keep(results: Results, whole: bool) -> None:
    _results_file(whole).write_bytes(msgspec.json.format(msgspec.json.encode(results), indent=1))


def _results_file(whole: bool) -> Path:
    return FOLDER / ("results.json" if whole else "part.json")


def _tell(line: str) -> None:
    print(line, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench", description="Measure Interceptor beside other proxies.")
    _add_run_options(parser)
    commands = parser.add_subparsers(dest="command")
    _add_run_options(
        commands.add_parser("run", help="measure (also without a word); a whole run writes docs/benchmarks.md")
    )
    commands.add_parser("peers", help="install the other proxies and wrk, as far as this machine allows")
    alone = commands.add_parser("decide", help="measure decisions only, beside other policy engines")
    alone.add_argument("--rounds", type=int, default=1, help="how many rounds")
    alone.add_argument("--seconds", type=float, default=5.0, help="how long a slow engine is asked, at each size")
    reload.add_options(commands.add_parser("reload", help="what a reload costs those who are being served"))
    profiling.add_options(commands.add_parser("profile", help="where Interceptor's time goes under load"))
    again = commands.add_parser("report", help="write docs/benchmarks.md again from figures that were kept")
    again.add_argument("results", nargs="?", type=Path, default=FOLDER / "results.json")
    return parser


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--quick", action="store_true", help="the main cases in less than two minutes; no page")
    parser.add_argument(
        "--only", metavar="KEYS", type=_words, default=[], help="contestants, such as interceptor-1000,nginx; no page"
    )
    parser.add_argument(
        "--case", metavar="KEYS", type=_words, default=[], help="cases, such as keep-64,close-64; no page"
    )
    parser.add_argument("--seconds", type=int, help="how long each load lasts")
    parser.add_argument("--rounds", type=int, help="how many rounds in each case")
    parser.add_argument(
        "--memory", type=int, metavar="N", help="measure memory over N exchanges (a whole run: 1000000)"
    )
    parser.add_argument(
        "--baseline", type=Path, metavar="CHECKOUT", help="run Interceptor of this checkout beside ours"
    )
    parser.add_argument(
        "--python", metavar="TITLE=COMMAND", default="", help="run Interceptor with another interpreter beside ours"
    )
    parser.add_argument(
        "--reloads",
        type=int,
        default=20,
        help="reloads in a whole run: enough to see that something got worse; 0 leaves those on the page (20)",
    )
    parser.add_argument("--keep", action="store_true", help="leave the folder with configurations and logs")


def _words(text: str) -> list[str]:
    return [word for word in text.split(",") if word]


if __name__ == "__main__":
    sys.exit(main())
