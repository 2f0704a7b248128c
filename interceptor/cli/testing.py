"""``interceptor test``: the cases beside the rules, and what they have shown of the rules."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interceptor.cli.check import config_beside, is_config, is_part
from interceptor.cli.problems import named, named_file, told, write

if TYPE_CHECKING:
    from rich.text import Text

    from interceptor.cases import Case, Played, Report, Result
    from interceptor.settings import Settings

WATCH_SECONDS = 0.3
CLEAR = "\x1b[H\x1b[2J"


class Format(StrEnum):
    """How the results are told."""

    TEXT = "text"
    JSON = "json"


def run_cases(
    path: Annotated[
        Path | None,
        typer.Argument(help="A folder of rules, a rules file or a file of cases; else the configured rules."),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="The configuration that the rules are for; else one beside them."),
    ] = None,
    rules: Annotated[
        Path | None, typer.Option("--rules", help="The rules to test, where PATH is a file of cases.")
    ] = None,
    wanted: Annotated[
        str, typer.Option("--filter", "-k", help="Only cases with this text in their file or name.")
    ] = "",
    fail_under: Annotated[
        float | None, typer.Option("--fail-under", min=0, max=100, help="Fail below this coverage in percent.")
    ] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="A file for the results in JUnit's form.")] = None,
    form: Annotated[Format, typer.Option("--format", "-f", help="How to tell the results.")] = Format.TEXT,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Name the cases that passed as well.")] = False,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Run again whenever a file changes.")] = False,
) -> None:
    """Run the cases beside the rules (`*.test.yaml`) and tell which rules and conditions they have not shown.

    Exits with 0 when all is well, 1 when a case fails, there are problems or the coverage is too low, 2 when a file
    cannot be read.
    """
    with told():
        plan = _plan(path, config, rules)
    if not watch:
        raise typer.Exit(_once(plan, wanted, fail_under, junit, form, verbose=verbose))
    with contextlib.suppress(KeyboardInterrupt):
        for _ in _changes(plan):
            if sys.stdout.isatty():
                sys.stdout.write(CLEAR)
            with contextlib.suppress(typer.Exit):
                _once(plan, wanted, fail_under, junit, form, verbose=verbose)
            typer.echo("waiting for a change; Ctrl-C ends", err=True)
    raise typer.Exit(130)


class _Plan:
    """Which files are tested. ``part`` is the one file of the rules that was named, read with all the others."""

    def __init__(self, config: Path, rules: Path, cases: Path, part: Path | None) -> None:
        self.config = config
        self.rules = rules
        self.cases = cases
        self.part = part
        self.names = {each.resolve().name: each for each in (cases, _beside(cases), rules)}

    def covers(self, place: str) -> bool:
        """Whether the coverage of the rule there is asked for."""
        if self.part is None:
            return True
        below = self.part.resolve().relative_to(self.rules.resolve()).as_posix()
        return place.startswith(f"{self.rules.resolve().name}/{below}:")


def _plan(path: Path | None, config: Path | None, rules: Path | None) -> _Plan:
    from interceptor.loading import CASES, load_settings

    if path is not None and not path.exists():
        path.stat()  # tells in the system's words what is wrong
    if path is not None and not path.name.endswith(CASES) and is_config(path):
        config, path = path, None
    if config is None:
        config = config_beside(path or rules or Path())
    if path is None:
        path = rules = rules or load_settings(config, os.environ, secrets=False).rules
        return _Plan(config, rules, path, None)
    of_cases = path.name.endswith(CASES)
    if rules is None:
        configured = load_settings(config, os.environ, secrets=False).rules
        rules = configured if of_cases or is_part(path, configured) else path
    return _Plan(config, rules, path, path if not of_cases and is_part(path, rules) else None)


def _beside(rules: Path) -> Path:
    """Where the cases for a rules file stand; cases and folders are themselves."""
    from interceptor.loading import CASES

    name = rules.name.removesuffix(".yaml")
    return rules if rules.is_dir() or rules.name.endswith(CASES) else rules.with_name(f"{name}{CASES}")


def _once(
    plan: _Plan, wanted: str, fail_under: float | None, junit: Path | None, form: Format, *, verbose: bool
) -> int:
    """Run everything once and tell it; what to exit with."""
    from msgspec.structs import replace

    from interceptor.cases import run
    from interceptor.loading import as_enforced, case_sources, load_settings, policy_context, rule_sources
    from interceptor.policy import compile_policy

    with told(plan.names):
        settings = as_enforced(load_settings(plan.config, os.environ, secrets=False))
        ruleset = compile_policy(rule_sources(plan.rules), policy_context(settings))
        sources = case_sources(plan.cases)
        report = run(
            sources,
            ruleset,
            settings,
            play=lambda case: _play(case, plan),
            selected=lambda case: wanted in case.label,
            coverage=True,
        )
        if report.coverage is not None:
            covered = tuple(rule for rule in report.coverage.rules if plan.covers(rule.place))
            report = replace(report, coverage=replace(report.coverage, rules=covered))
        if junit is not None:
            write(junit, _junit(report, plan, settings))
    if form is Format.JSON:
        sys.stdout.write(_json(report, plan))
    else:
        _tell(report, plan, settings, verbose=verbose)
    return _code(report, fail_under)


def _code(report: "Report", fail_under: float | None) -> int:
    percent = 100.0 if report.coverage is None else report.coverage.percent
    low = fail_under is not None and percent < fail_under
    if low and report.ok:
        typer.echo(f"the coverage is below {fail_under:g} %", err=True)
    return 0 if report.ok and not low else 1


def _play(case: "Case", plan: _Plan) -> "Played":
    """A scenario, in a whole installation on free ports of this machine."""
    from interceptor.cli.playing import play_scenario

    return play_scenario(case, plan.config, plan.rules, _scenario_path(case, plan))


def _scenario_path(case: "Case", plan: _Plan) -> Path:
    file = Path(named_file(case.place.file, plan.names))
    return file.parent / case.scenario


# --- for people -----------------------------------------------------------------------------------------------------


def _tell(report: "Report", plan: _Plan, settings: "Settings", *, verbose: bool) -> None:
    from rich.text import Text

    from interceptor.cli.telling import console

    out = console()
    for problem in report.problems:
        out.print(Text(str(named(problem, plan.names))))
    for result in report.results:
        if verbose or not result.passed:
            for line in _result(result, plan, settings):
                out.print(line)
    if report.problems and not report.ok and not report.results:
        count = len(report.problems)
        out.print(Text(f"{count} problem{'' if count == 1 else 's'} found, no case was run", style="bold red"))
        return
    passed = sum(result.passed for result in report.results)
    left_out = sum(bool(result.left_out) for result in report.results)
    counts = [f"{passed} passed"]
    counts += [f"{len(report.failed)} failed"] if report.failed else []
    counts += [f"{left_out} left out"] if left_out else []
    count = len(report.results)
    style = "green" if report.ok else "bold red"
    out.print(Text(f"{count} case{'' if count == 1 else 's'}: {', '.join(counts)}", style=style))
    if report.coverage is None:
        return
    seen = sum(rule.outcomes[0] for rule in report.coverage.rules)
    every = sum(rule.outcomes[1] for rule in report.coverage.rules)
    out.print(Text(f"coverage {report.coverage.percent:.1f} %: {seen} of {every} outcomes of rules and conditions"))
    for rule in report.coverage.rules:
        for missing in rule.missing:
            line = Text(f"  {named_file(rule.place, plan.names)}", style="dim")
            line.append(f" {rule.name}: ", style="")
            line.append(missing, style="yellow")
            out.print(line)


def _result(result: "Result", plan: _Plan, settings: "Settings") -> "Iterator[Text]":
    from rich.text import Text

    place = f"{named_file(result.place.file, plan.names)}:{result.place.line}"
    sign, style = ("–", "yellow") if result.left_out else ("✓", "green") if result.passed else ("✗", "bold red")
    line = Text(f"{sign} ", style=style)
    line.append(result.name, style="bold" if result.differences else "")
    line.append(f"  {place}", style="dim")
    yield line
    if result.left_out:
        yield Text(f"    left out: {result.left_out}", style="yellow")
    for text in _detail(result, settings):
        yield Text("    ") + text if text.plain else text


def _detail(result: "Result", settings: "Settings") -> "Iterator[Text]":
    """What differed, and why the rules decided so."""
    from rich.text import Text

    from interceptor.cli.telling import told as explained

    if result.step:
        yield Text(f"in {result.step}:", style="dim")
    for difference in result.differences:
        yield Text(str(difference), style="red")
    if result.explanation is not None:
        yield Text()
        yield from explained(result.explanation, settings.time_zone)


# --- for machines -----------------------------------------------------------------------------------------------------


def _junit(report: "Report", plan: _Plan, settings: "Settings") -> str:
    from msgspec.structs import replace

    from interceptor.reports.junit import Case as JunitCase
    from interceptor.reports.junit import Suite, write_suites

    suites: dict[str, list[JunitCase]] = {}
    for problem in report.problems:
        shown = named(problem, plan.names)
        name = f"{problem.code} at {problem.place.line}:{problem.place.column}"
        case = JunitCase(name, shown.place, problem.message, problem.code, str(shown))
        suites.setdefault(shown.place.file, []).append(case)
    for result in report.results:
        file = named_file(result.place.file, plan.names)
        failure = "; ".join(map(str, result.differences))
        detail = "\n".join(text.plain for text in _detail(result, settings)) if failure else result.left_out
        case = JunitCase(result.name, replace(result.place, file=file), failure, "case", detail, result.seconds)
        suites.setdefault(file, []).append(case)
    return write_suites("interceptor test", [Suite(file, tuple(cases)) for file, cases in suites.items()])


def _json(report: "Report", plan: _Plan) -> str:
    import msgspec

    coverage = report.coverage
    found = {
        "ok": report.ok,
        "revision": report.revision,
        "problems": [named(problem, plan.names) for problem in report.problems],
        "cases": [
            {
                "name": result.name,
                "file": named_file(result.place.file, plan.names),
                "line": result.place.line,
                "passed": result.passed,
                "left_out": result.left_out,
                "step": result.step,
                "seconds": round(result.seconds, 6),
                "differences": result.differences,
                "explanation": result.explanation,
            }
            for result in report.results
        ],
        "coverage": coverage and {"percent": round(coverage.percent, 2), "rules": coverage.rules},
    }
    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n"


# --- again and again ------------------------------------------------------------------------------------------------


def _changes(plan: _Plan) -> Iterator[None]:
    """Once at the beginning, and then each time a file has changed and all have come to rest."""
    seen = None
    while True:
        now = _signature(plan)
        if now != seen:
            time.sleep(WATCH_SECONDS if seen is not None else 0)
            seen = _signature(plan)
            yield
        time.sleep(WATCH_SECONDS)


def _signature(plan: _Plan) -> tuple[tuple[str, int, int], ...]:
    found = []
    for root in (plan.config, plan.rules, plan.cases):
        for file in (root, *root.rglob("*")) if root.is_dir() else (root,):
            with contextlib.suppress(OSError):
                stat = file.stat()
                found.append((str(file), stat.st_mtime_ns, stat.st_size))
    return tuple(found)
