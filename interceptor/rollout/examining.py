"""A policy is examined before it comes into force: read, checked, its invariants proved, its cases run.

While traffic flows this is done in a process of its own with low priority, because a worker would feel it. What comes
back is what was found, not the compiled set: every worker compiles what is known to be good. What the analysis finds in
the order of the rules is a warning at most and takes seconds for thousands of rules, so it follows when the policy is
in force: who must stop calls now does not wait for it.
"""

import contextlib
import os
import pickle
import signal
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from interceptor import cases as running
from interceptor.loading import analyse_policy, as_enforced, load_policy, policy_context
from interceptor.policy import Rule, RuleSet, Source, compile_policy
from interceptor.policy.analysis import Difference, difference
from interceptor.policy.tables import Table, TableKey, is_table, table_key, table_name
from interceptor.processes import anew
from interceptor.settings import CasesRule, Settings
from interceptor.values import Problem, ProblemsError, Severity

EXAMINE_SECONDS: Final = 600.0
_NICENESS: Final = 10
_LARGE_TABLE: Final = 1 << 16  # bytes of its text
_KILLED_SECONDS: Final = 5.0


class RuleSummary(Struct, frozen=True):
    """What is told of a rule: its name, where it stands, its mode and the names of its actions.

    ``digest`` is equal as long as the rule's text and its mode are.
    """

    name: str
    place: str
    mode: str
    actions: tuple[str, ...]
    digest: str


class PackedTable(Struct, frozen=True):
    """A table as it was made of one text, for other processes of ours: making a large one takes seconds."""

    key: TableKey
    data: bytes


class Examined(Struct, frozen=True):
    """What an examination found. ``revision`` is ``""`` and there are no rules where the policy cannot be used.

    ``tables`` are the large ones, ready to be used, where another process made them.
    """

    revision: str = ""
    rules: tuple[RuleSummary, ...] = ()
    problems: tuple[Problem, ...] = ()
    tables: tuple[PackedTable, ...] = ()

    @property
    def good(self) -> bool:
        """Whether the policy may come into force; the problems are then warnings and notes."""
        return all(problem.severity is not Severity.ERROR for problem in self.problems)


class ExaminationError(Exception):
    """The examination itself failed, whatever the policy is like; the text says how."""


def examine(sources: Sequence[Source], cases: Sequence[Source], settings: Settings) -> tuple[Examined, RuleSet | None]:
    """Examine a policy in this process; the set is given too where it can be used."""
    try:
        rules = load_policy(settings, sources)
    except ProblemsError as fault:
        return Examined(problems=fault.problems), None
    told = summaries(sources, rules.rules)
    examined = Examined(rules.revision, told, (*rules.warnings, *_run_cases(cases, sources, rules, settings)))
    return examined, rules if examined.good else None


def pack_tables(sources: Sequence[Source], rules: RuleSet) -> tuple[PackedTable, ...]:
    """The tables of a set that are large enough to be worth it."""
    large = [source for source in sources if is_table(source.file) and len(source.data) >= _LARGE_TABLE]
    return tuple(
        PackedTable(table_key(source), pickle.dumps(rules.tables[table_name(source.file)], protocol=5))
        for source in large
    )


def unpack_tables(packed: Iterable[PackedTable]) -> dict[TableKey, Table]:
    """What :func:`pack_tables` packed, in a process of ours."""
    return {table.key: pickle.loads(table.data) for table in packed}  # noqa: S301 - we wrote it


def summaries(sources: Sequence[Source], rules: Sequence[Rule]) -> tuple[RuleSummary, ...]:
    """What is told of each rule, in order."""
    lines = {source.file: source.data.decode("utf-8", "replace").splitlines() for source in sources}
    ends = [rule.place for rule in rules[1:]]
    told: list[RuleSummary] = []
    for position, rule in enumerate(rules):
        file, begin = lines.get(rule.place.file, []), rule.place
        end = ends[position] if position < len(ends) else None
        if end is None or end.file != begin.file:
            text = file[begin.line - 1 :]
        elif end.line == begin.line:  # several on one line
            text = [file[begin.line - 1][begin.column - 1 : end.column - 1]]
        else:
            text = file[begin.line - 1 : end.line - 1]
        while text and text[-1].lstrip()[:1] in {"", "#"}:  # what stands between two rules belongs to the next
            text = text[:-1]
        digest = sha256("\n".join([rule.mode.value, *(line.strip() for line in text)]).encode()).hexdigest()[:16]
        actions = tuple(type(action).__module__.rpartition(".")[2] for action in rule.actions)
        told.append(RuleSummary(rule.name, f"{begin.file}:{begin.line}", rule.mode.value, actions, digest))
    return tuple(told)


def _run_cases(
    cases: Sequence[Source], sources: Sequence[Source], rules: RuleSet, settings: Settings
) -> tuple[Problem, ...]:
    """What the cases say, as errors or as warnings; a scenario among them is not played here."""
    if settings.policy.cases is CasesRule.OFF or not cases:
        return ()
    enforced = as_enforced(settings)  # what cases say is about rules that act
    if settings.policy.mode is not enforced.policy.mode:
        rules = compile_policy(sources, policy_context(enforced))
    report = running.run(cases, rules, enforced)
    failed = (
        Problem(result.place, f"the case `{result.name}` fails: {'; '.join(map(str, result.differences))}", "case")
        for result in report.failed
    )
    found = (*report.problems, *failed)
    if settings.policy.cases is CasesRule.REQUIRE:
        return found
    return tuple(replace(each, severity=max(each.severity, Severity.WARNING, key=_SEVERITIES.index)) for each in found)


_SEVERITIES: Final = tuple(Severity)  # the gravest first


def analyse(sources: Sequence[Source], settings: Settings) -> tuple[Problem, ...]:
    """What a good policy's order of rules makes of them, as warnings and notes."""
    return analyse_policy(settings, load_policy(settings, sources))


class Preview(Struct, frozen=True):
    """What a policy would change that took the place of another.

    ``added``, ``removed`` and ``changed`` name the rules whose texts differ, ``difference`` tells the messages that are
    decided differently; there is none where the policy could not come into force, for the errors in ``problems``.
    """

    revision: str = ""
    problems: tuple[Problem, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    difference: Difference | None = None


def compare(
    before: Sequence[Source], sources: Sequence[Source], cases: Sequence[Source], settings: Settings
) -> Preview:
    """What ``sources`` would change that took the place of ``before``."""
    examined, rules = examine(sources, cases, settings)
    if rules is None:
        return Preview(examined.revision, examined.problems)
    context = policy_context(settings)
    old = compile_policy(before, context)
    was = {rule.name: rule.digest for rule in summaries(before, old.rules)}
    now = {rule.name: rule.digest for rule in examined.rules}
    return Preview(
        examined.revision,
        examined.problems,
        tuple(name for name in now if name not in was),
        tuple(name for name in was if name not in now),
        tuple(name for name in now if name in was and was[name] != now[name]),
        difference(old, rules, context),
    )


class Examiner:
    """Works in a process of its own, which ``context`` starts. One thing at a time; the methods block: for a thread.

    They raise :class:`ExaminationError` where the work cannot be done.
    """

    def __init__(self, context: BaseContext | None = None) -> None:
        self._context = context or anew()
        self._process: BaseProcess | None = None
        self._stopped = False

    def examine(self, sources: Sequence[Source], cases: Sequence[Source], settings: Settings) -> Examined:
        """As :func:`examine`, without the set."""
        return self._run(Examined, _examine, tuple(sources), tuple(cases), settings)

    def analyse(self, sources: Sequence[Source], settings: Settings) -> tuple[Problem, ...]:
        """As :func:`analyse`."""
        return self._run(tuple[Problem, ...], analyse, tuple(sources), settings)

    def compare(
        self, before: Sequence[Source], sources: Sequence[Source], cases: Sequence[Source], settings: Settings
    ) -> Preview:
        """As :func:`compare`."""
        return self._run(Preview, compare, tuple(before), tuple(sources), tuple(cases), settings)

    def stop(self) -> None:
        """End what is running, which raises then; nothing is begun any more."""
        self._stopped = True
        process = self._process
        if process is not None:
            with contextlib.suppress(ValueError):  # it has just ended by itself
                process.kill()

    def _run[T](self, kind: type[T], work: Callable[..., T], *arguments: object) -> T:
        context = self._context
        ours, theirs = context.Pipe(duplex=False)
        process: BaseProcess = context.Process(  # type: ignore[attr-defined]  # typeshed has it in each kind of context
            target=_work, args=(theirs, work, arguments), name="examiner", daemon=True
        )
        try:
            try:
                process.start()
            except OSError as fault:
                why = (fault.strerror or str(fault)).lower()
                raise ExaminationError(f"no process could be started: {why}") from None
            finally:
                theirs.close()
            self._process = process
            if self._stopped:
                process.kill()
            answer = self._answer(ours, process)
        finally:
            self._process = None
            ours.close()
            _end(process)
        if answer[:1] == _FAULT:
            raise ExaminationError(answer[1:].decode())
        return msgspec.msgpack.decode(answer[1:], type=kind)

    @staticmethod
    def _answer(line: Connection, process: BaseProcess) -> bytes:
        try:
            if not line.poll(EXAMINE_SECONDS):
                raise ExaminationError(f"it was not done in {EXAMINE_SECONDS:.0f} seconds")
            return line.recv_bytes()
        except (EOFError, OSError):
            process.join(_KILLED_SECONDS)
            raise ExaminationError(f"its process ended with {process.exitcode}") from None


def _end(process: BaseProcess) -> None:
    if process.pid is None:
        return
    process.join(_KILLED_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
    process.close()


# in the examiner's process

_DONE: Final = b"+"
_FAULT: Final = b"-"


def _examine(sources: tuple[Source, ...], cases: tuple[Source, ...], settings: Settings) -> Examined:
    examined, rules = examine(sources, cases, settings)
    return examined if rules is None else replace(examined, tables=pack_tables(sources, rules))


def _work(
    line: Connection, work: Callable[..., object], arguments: tuple[object, ...]
) -> None:  # pragma: no cover - runs in the examiner's process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.nice(_NICENESS)
    try:
        answer = _DONE + msgspec.msgpack.encode(work(*arguments))
    except BaseException as fault:  # noqa: BLE001 - whatever it is, who asked is told
        answer = _FAULT + f"it failed: {type(fault).__name__}: {fault}".encode()
    line.send_bytes(answer)
