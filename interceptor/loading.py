"""From files to what the server is made of: settings, the sources of the rules, and what rules may name.

The server and ``interceptor check`` take the same way, so that what passes the one starts the other.
"""

import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from msgspec.structs import replace

from interceptor.config import read_settings
from interceptor.policy import Context, RuleSet, Source, compile_policy
from interceptor.policy.analysis import examine_order, prove_policy
from interceptor.policy.tables import is_table
from interceptor.settings import EmergencyRule, Ground, Settings
from interceptor.values import Mode, Place, Problem, ProblemsError, Severity
from interceptor.wire import knowledge
from interceptor.wire.e164 import canonical_test
from interceptor.wire.numbers import NumberReader, emergency_numbers

log = logging.getLogger(__name__)

TABLES = "tables"
CASES = ".test.yaml"
SCENARIO = ".scenario.yaml"
_LARGEST_FILE = 64 << 20
_SECRET_HEADERS = frozenset(("authorization", "proxy-authorization", "cookie"))


def load_settings(config: Path, environment: Mapping[str, str], *, secrets: bool = True) -> Settings:
    """The settings in a file. ``OSError`` where it cannot be read, :class:`ProblemsError` where it cannot be used.

    With ``secrets`` false, passwords that come from elsewhere are not looked up: such settings are for checking only.
    """
    settings, _, problems = check_settings(config, environment, secrets=secrets)
    if settings is None:
        raise ProblemsError(problems)
    return settings


def check_settings(
    config: Path, environment: Mapping[str, str], *, secrets: bool = True
) -> tuple[Settings | None, Ground, tuple[Problem, ...]]:
    """The same with every problem as a value, and what rules need of a configuration even if it has errors."""
    with config.open("rb") as opened:
        data = opened.read(_LARGEST_FILE)
    return read_settings(data, str(config), base=config.parent, environment=environment, secrets=secrets)


def rule_sources(path: Path) -> tuple[Source, ...]:
    """What the rules in ``path`` are made of: the rules files and the tables, in path order.

    Rules are the file ``path``, or every ``*.yaml`` below the folder ``path`` but cases (``*.test.yaml``) and the
    scenarios that cases play (``*.scenario.yaml``). Tables are every ``*.csv`` and ``*.txt`` in a folder ``tables``
    below it, or beside the file. Names begin at the folder, not at the root of the file system: they go into every
    decision's record, which should not change when the folder moves. Hidden files and folders are passed over (mounted
    configuration keeps its own books in them). A file that looks like rules but would not be read is a problem: nobody
    wants a rule that is silently not in force. ``OSError`` where something cannot be read.
    """
    sources, problems = find_sources(path)
    if problems:
        raise ProblemsError(problems)
    return sources


def find_sources(path: Path) -> tuple[tuple[Source, ...], tuple[Problem, ...]]:
    """The sources as :func:`rule_sources` finds them, and what is wrong with the names and sizes of the files."""
    problems: list[Problem] = []
    if not path.is_dir():
        beside = [file for file in sorted((path.parent / TABLES).glob("[!.]*")) if is_table(file.name)]
        named = [(path, path.name), *((file, f"{TABLES}/{file.name}") for file in beside)]
        return _sources(named, problems), tuple(problems)
    folder = path.resolve().name
    named = []
    for file in sorted(_visible(path), key=lambda file: file.relative_to(path).parts):
        name = f"{folder}/{file.relative_to(path).as_posix()}"
        if file.name.endswith((CASES, SCENARIO)):
            continue
        if file.name.endswith(".yaml") or (is_table(file.name) and file.parent.name == TABLES):
            named.append((file, name))
        elif file.name.lower().endswith((".yaml", ".yml")):
            problems.append(Problem(Place(name, 1, 1), "only files named `*.yaml` are read, rename it", "file_name"))
        elif file.name.lower().endswith(".csv"):
            message = f"only tables named `*.csv` in a folder `{TABLES}` are read, move it there"
            problems.append(Problem(Place(name, 1, 1), message, "file_name"))
    return _sources(named, problems), tuple(problems)


def case_sources(path: Path) -> tuple[Source, ...]:
    """The cases beside the rules in ``path``: every ``*.test.yaml`` below the folder, in path order.

    For a rules file ``night.yaml`` that is ``night.test.yaml``, if it is there; a file of cases is itself. ``OSError``
    where something cannot be read, :class:`ProblemsError` where a file is too large.
    """
    problems: list[Problem] = []
    if not path.is_dir():
        file = path if path.name.endswith(CASES) else path.with_name(path.name.removesuffix(".yaml") + CASES)
        sources = _sources([(file, file.name)] if file == path or file.is_file() else [], problems)
    else:
        found = sorted(_visible(path), key=lambda file: file.relative_to(path).parts)
        folder = path.resolve().name
        named = [(file, f"{folder}/{file.relative_to(path).as_posix()}") for file in found if file.name.endswith(CASES)]
        sources = _sources(named, problems)
    if problems:
        raise ProblemsError(tuple(problems))
    return sources


def _visible(path: Path) -> Iterator[Path]:
    for where, folders, files in os.walk(path, onerror=_fail):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (Path(where, name) for name in files if not name.startswith("."))


def policy_context(settings: Settings | Ground) -> Context:
    """What rules may name, with this configuration."""
    numbers = NumberReader(settings.country, settings.extensions)
    return Context(
        commands=knowledge.COMMANDS,
        notifications=knowledge.NOTIFICATIONS,
        verbs=knowledge.VERBS,
        apps=frozenset(settings.apps),
        clusters=frozenset(settings.clusters),
        defaults=settings.defaults,
        zone=settings.time_zone,
        number=numbers.read,
        inside=numbers.inside,
        parameters=knowledge.SPELLED_NAMES,
        spellings=knowledge.ALIASES,
        is_canonical=canonical_test(),
        secrets=knowledge.SECRET_NAMES | _SECRET_HEADERS,
        calls=knowledge.CALL_IDS,
        mode=settings.mode,
        country=settings.country,
        extensions=settings.extensions,
        emergency=emergency_numbers(settings.country),
        dial=knowledge.DIALLED,
    )


def load_policy(settings: Settings | Ground, sources: Sequence[Source]) -> RuleSet:
    """The policy that ``sources`` make with this configuration, its invariants proved.

    Everything that comes into force comes this way. :class:`ProblemsError` where it must not; warnings and notes are in
    the set's ``warnings``. Rules that are all in shadow or off today are proved as they will be when they are enforced.
    """
    rules = compile_policy(sources, policy_context(settings))
    if settings.emergency is not EmergencyRule.GUARDED:
        log.warning("policy.emergency is `unchecked`: rules may keep calls from emergency numbers")
    found = broken_invariants(settings, sources, rules)
    problems = (*rules.warnings, *found)
    if any(problem.severity is Severity.ERROR for problem in found):
        raise ProblemsError(problems)
    rules.warnings = problems
    return rules


def broken_invariants(settings: Settings | Ground, sources: Sequence[Source], rules: RuleSet) -> tuple[Problem, ...]:
    """What is wrong with the invariants of ``rules``, which these ``sources`` make with this configuration."""
    context = policy_context(settings)
    if context.mode is not Mode.ENFORCE:
        context = replace(context, mode=Mode.ENFORCE)
        rules = compile_policy(sources, context)
    guarded = settings.emergency is EmergencyRule.GUARDED
    return tuple(finding.problem for finding in prove_policy(rules, context, emergency=guarded))


def as_enforced(settings: Settings) -> Settings:
    """The same settings with rules that act: those that cases and analyses are about, however far they go today."""
    return replace(settings, policy=replace(settings.policy, mode=Mode.ENFORCE))


def analyse_policy(settings: Settings | Ground, rules: RuleSet) -> tuple[Problem, ...]:
    """What the order of the rules makes of them, as warnings and notes. For thousands of rules this takes seconds."""
    guarded = settings.emergency is EmergencyRule.GUARDED
    return tuple(finding.problem for finding in examine_order(rules, policy_context(settings), emergency=guarded))


def _sources(files: Sequence[tuple[Path, str]], problems: list[Problem]) -> tuple[Source, ...]:
    sources: list[Source] = []
    for file, name in files:
        if file.is_fifo():  # whoever opens it waits for somebody who writes
            problems.append(Problem(Place(name, 1, 1), "this is a pipe and not a file", "not_a_file"))
            continue
        with file.open("rb") as opened:
            data = opened.read(_LARGEST_FILE + 1)
        if len(data) > _LARGEST_FILE:
            message = f"the file is larger than {_LARGEST_FILE >> 20} MiB, divide it"
            problems.append(Problem(Place(name, 1, 1), message, "file_too_large"))
        else:
            sources.append(Source(name, data))
    return tuple(sources)


def _fail(fault: OSError) -> None:
    raise fault
