"""From the bytes of all rules files to the set that runs, or to every problem in them."""

from collections import deque
from collections.abc import Mapping, Sequence
from hashlib import sha256
from types import MappingProxyType
from typing import NamedTuple

import msgspec

from interceptor import document
from interceptor.document import Node, Problems
from interceptor.policy.classes import ClassReader, Declared
from interceptor.policy.context import Context, Source
from interceptor.policy.dates import HolidayReader
from interceptor.policy.grammar import Reading
from interceptor.policy.invariants import Invariant, InvariantReader
from interceptor.policy.rules import Rule, RuleReader
from interceptor.policy.ruleset import RuleSet
from interceptor.policy.tables import Table, TableKey, is_table, read_tables, table_name
from interceptor.values import Kind, Problem, ProblemsError, Severity


def read_policy(sources: Sequence[Source], context: Context) -> tuple[tuple[Rule, ...], tuple[Problem, ...]]:
    """Every rule of every file in order, and every problem: those of the tables, then by file in order, by place."""
    read, problems = _read(sources, context, {})
    return read.rules, problems


class _Read(NamedTuple):
    rules: tuple[Rule, ...]
    tables: dict[str, Table]
    invariants: tuple[Invariant, ...]
    classes: Declared


def _read(
    sources: Sequence[Source], context: Context, made: Mapping[TableKey, Table]
) -> tuple[_Read, tuple[Problem, ...]]:
    written = [source for source in sources if is_table(source.file)]
    tables, found = read_tables(written, context, made)
    broken = frozenset(table_name(source.file) for source in written) - tables.keys()
    reader, holidays, invariants = RuleReader(context.mode), HolidayReader(tables), InvariantReader()
    classes = ClassReader()
    files: deque[tuple[Node | None, Problems]] = deque()
    for source in sources:
        if not is_table(source.file):
            root, problems_of_form = document.read(source.data, source.file, context.pace)
            files.append((root, Problems(problems_of_form)))
    for root, problems in files:
        if root is not None:
            holidays.read_file(root, problems)
            classes.read_file(root, Reading(context, problems, tables, broken=broken))
    while files:  # each tree is let go when its rules are read
        root, problems = files.popleft()
        if root is not None:
            reading = Reading(context, problems, tables, holidays.sets, broken=broken)
            reader.read_file(root, reading)
            invariants.read_file(root, reading)
        told = [problem for problem in problems.found if not _follows(problem, broken)]
        found += sorted(told, key=lambda problem: (problem.place.line, problem.place.column))
    return _Read(tuple(reader.rules), tables, tuple(invariants.invariants), tuple(classes.declared)), tuple(found)


def _follows(problem: Problem, broken: frozenset[str]) -> bool:
    """Whether a problem is only that a table is missing which is there, with problems of its own that are told."""
    what = {"unknown_table": "table", "unknown_holidays": "holidays"}.get(problem.code)
    return what is not None and any(problem.message.startswith(f"unknown {what} `{name}`") for name in broken)


def compile_policy(
    sources: Sequence[Source], context: Context, made: Mapping[TableKey, Table] = MappingProxyType({})
) -> RuleSet:
    """The tables and rules of all ``sources``, in their order, as one set.

    Where one of them has an error, :class:`ProblemsError` tells every problem there is; else what is left (warnings and
    notes) is in the set's ``warnings``. Tables that were ``made`` of the same texts are used as they are.
    """
    read, problems = _read(sources, context, made)
    if any(problem.severity is Severity.ERROR for problem in problems):
        raise ProblemsError(problems)
    names = {kind: context.names(kind) for kind in Kind}
    revision = revision_of(sources, context)
    return RuleSet(
        read.rules,
        names,
        context.defaults,
        revision,
        problems,
        read.tables,
        read.invariants,
        mode=context.mode,
        classes=read.classes,
        inside=context.inside,
        pace=context.pace,
    )


def revision_of(sources: Sequence[Source], context: Context) -> str:
    """Twelve hexadecimal digits that differ when a text differs, or something around it that decisions depend on."""
    around = (
        (context.commands, context.notifications, context.verbs),
        sorted(context.apps),
        sorted(context.clusters),
        [context.defaults[kind].value for kind in Kind],
        context.zone,
        context.mode.value,
    )
    digest = sha256(msgspec.json.encode(around))
    for source in sources:
        digest.update(msgspec.json.encode((source.file, len(source.data))))
        digest.update(source.data)
    return digest.hexdigest()[:12]
