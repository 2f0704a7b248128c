"""``interceptor check``: every problem of a configuration and its rules, each with its place, before it is used."""

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interceptor.cli.problems import named, named_file, told, write

if TYPE_CHECKING:
    from interceptor.reports import Report
    from interceptor.settings import Ground, Settings
    from interceptor.values import Problem

_NAMES_OF_CONFIG = ("config.yaml", "config.example.yaml")
_KEYS_OF_CONFIG = ("country", "time_zone", "listeners", "clusters", "apps")


class Format(StrEnum):
    """How the problems are told; see ``interceptor.reports``."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    JUNIT = "junit"


FormatOption = Annotated[Format, typer.Option("--format", "-f", help="How to tell what was found.")]
OutputOption = Annotated[
    Path | None, typer.Option("--output", "-o", help="A file to write it to, in place of the terminal.")
]


def check(
    path: Annotated[
        Path | None, typer.Argument(help="A configuration file, a rules file or a folder of rules; else config.yaml.")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", "-c", help="The configuration that the rules are for; else one that stands beside them."
        ),
    ] = None,
    secrets: Annotated[
        bool, typer.Option("--secrets/--no-secrets", help="Whether the passwords a configuration names must be there.")
    ] = True,
    form: FormatOption = Format.TEXT,
    output: OutputOption = None,
    strict: Annotated[bool, typer.Option("--strict", help="Whether warnings fail as errors do.")] = False,
) -> None:
    """Tell every problem of a configuration and its rules as `file:line:column: message`.

    Exits with 0 when all is well, 1 when there are errors (with `--strict`, or warnings), 2 when a file cannot be read.
    """
    with told():
        rules: Path | None = path
        if path is None or is_config(path):
            config, rules = path or config or Path(_NAMES_OF_CONFIG[0]), None
        elif config is None:
            config = config_beside(path)
        report = _checked(config, rules, secrets=secrets and rules is None, strict=strict)
        tell(report, form, output)
    if not report.ok:
        raise typer.Exit(1)


def tell(report: "Report", form: Format, output: Path | None) -> None:
    """Write the report where it was asked for, and the end of it for a person."""
    from interceptor.reports import FORMATS

    written = FORMATS[form.value](report)
    if output is not None:
        write(output, written)
    else:
        sys.stdout.write(written)
    if report.problems:
        typer.echo(f"{_counted(report)} found", err=True)
    elif output is not None and report.summary:
        typer.echo(report.summary, err=True)


def _checked(config: Path, rules: Path | None, *, secrets: bool, strict: bool) -> "Report":
    """Everything that is wrong with a configuration and its rules, or with other ``rules`` for that configuration."""
    from interceptor.loading import CASES, check_settings
    from interceptor.reports import Report
    from interceptor.values import Severity

    settings, ground, problems = check_settings(config, os.environ, secrets=secrets)
    part = rules if rules is not None and is_part(rules, ground.rules) else None
    rules = ground.rules if part is not None else rules or ground.rules
    found, files, facts = _check_rules(rules, settings, ground)
    names = {rules.resolve().name: rules}
    summary = ""
    if part is not None:
        # It is read with all the others, since it may use what stands there; only what is wrong with it is told.
        name = f"{rules.resolve().name}/{part.resolve().relative_to(rules.resolve()).as_posix()}"
        others = sum(each.severity is Severity.ERROR for each in found if each.place.file != name)
        found = tuple(each for each in found if each.place.file == name)
        files, names = (name,), {name: part}
        if others:
            summary = f"ok as far as can be told: {others} problem{'' if others == 1 else 's'} in other files"
    shown = (*problems, *(named(problem, names) for problem in found))
    if facts:
        count = facts["rules"]
        read = sum(not file.endswith(CASES) for file in files)
        where = f" in {read} file{'' if read == 1 else 's'}" if part is None else ""
        summary = f"ok: {count} rule{'' if count == 1 else 's'}{where}, revision {facts['revision']}, with {config}"
    paths = (str(config), *(named_file(file, names) for file in files))
    return Report(shown, paths, summary, facts, strict)


def is_part(path: Path, rules: Path) -> bool:
    """Whether ``path`` is one file of the folder ``rules``."""
    return path.is_file() and rules.is_dir() and path.resolve().is_relative_to(rules.resolve())


def _check_rules(
    rules: Path, settings: "Settings | None", ground: "Ground"
) -> "tuple[tuple[Problem, ...], tuple[str, ...], dict[str, str | int]]":
    """The problems of the rules and of the cases beside them, their files, and what is known of rules that can be used.

    What the rules do is looked at whenever they can be read, also where an invariant is broken: all at once.
    """
    from interceptor.cases import ground_of, read_cases
    from interceptor.loading import analyse_policy, broken_invariants, case_sources, find_sources, policy_context
    from interceptor.policy import compile_policy
    from interceptor.values import Place, Problem, ProblemsError, Severity

    sources, problems = find_sources(rules)
    if not sources and not problems:  # a folder that is not mounted looks like that
        message = "there are no rules here (`*.yaml`): the defaults of the configuration decide alone"
        problems = (Problem(Place(str(rules), 1, 1), message, "no_rules", Severity.WARNING),)
    files = tuple(sorted({*(source.file for source in sources), *(problem.place.file for problem in problems)}))
    try:
        compiled = compile_policy(sources, policy_context(settings or ground))
    except ProblemsError as fault:
        return (*problems, *fault.problems), files, {}
    if settings is None:
        # What the rules do hangs on the configuration: while that is broken, only how they are written can be checked.
        return (*problems, *compiled.warnings), files, {}
    broken = broken_invariants(settings, sources, compiled)
    found = (*problems, *compiled.warnings, *broken, *analyse_policy(settings, compiled))
    cases = case_sources(rules)
    found = (*found, *read_cases(cases, ground_of(settings, compiled))[1])
    files = (*files, *(case.file for case in cases))
    usable = all(problem.severity is not Severity.ERROR for problem in (*problems, *broken))
    facts: dict[str, str | int] = {"rules": len(compiled.rules), "revision": compiled.revision}
    return found, files, facts if usable else {}


def _counted(report: "Report") -> str:
    from interceptor.values import Severity

    words = {Severity.ERROR: "problem", Severity.WARNING: "warning", Severity.NOTE: "note"}
    counts = [(report.count(severity), word) for severity, word in words.items()]
    return ", ".join(f"{count} {word}{'' if count == 1 else 's'}" for count, word in counts if count)


def is_config(path: Path) -> bool:
    """Whether a file is a configuration and not rules: told by its keys, so that its name is free."""
    from interceptor.document import Fields, read

    if path.is_dir():
        return False
    root, _ = read(path.read_bytes(), str(path))
    if isinstance(root, Fields):
        return any(root.get(key) is not None for key in _KEYS_OF_CONFIG)
    return root is None and path.name in _NAMES_OF_CONFIG


def config_beside(rules: Path) -> Path:
    """The configuration that the rules are for: here, or beside them; without one this ends with 2."""
    for folder in (Path(), *rules.absolute().parents[:2]):
        for name in _NAMES_OF_CONFIG:
            if (folder / name).is_file():
                return folder / name
    typer.echo(f"which configuration are the rules in `{rules}` for? name it with --config", err=True)
    raise typer.Exit(2)
