"""A policy is examined before it comes into force: read, checked, its invariants proved, its cases run.

While traffic flows this is done in a process of its own with low priority, because a worker would feel it. What comes
back is what was found, not the compiled set: every worker compiles what is known to be good. What the analysis finds in
the order of the rules is a warning at most and takes seconds for thousands of rules, so it follows when the policy is
in force: who must stop calls now does not wait for it.
"""

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Sequence
from hashlib import sha256
from multiprocessing.connection import Connection
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from interceptor import cases as running
from interceptor.loading import analyse_policy, load_policy
from interceptor.policy import Rule, RuleSet, Source
from interceptor.settings import CasesRule, Settings
from interceptor.values import Problem, ProblemsError, Severity

EXAMINE_SECONDS: Final = 600.0
_NICENESS: Final = 10
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


class Examined(Struct, frozen=True):
    """What an examination found. ``revision`` is ``""`` and there are no rules where the policy cannot be used."""

    revision: str = ""
    rules: tuple[RuleSummary, ...] = ()
    problems: tuple[Problem, ...] = ()

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
    examined = Examined(rules.revision, told, (*rules.warnings, *_run_cases(cases, rules, settings)))
    return examined, rules if examined.good else None


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


def _run_cases(sources: Sequence[Source], rules: RuleSet, settings: Settings) -> tuple[Problem, ...]:
    """What the cases say, as errors or as warnings; a scenario among them is not played here."""
    if settings.policy.cases is CasesRule.OFF or not sources:
        return ()
    report = running.run(sources, rules, settings)
    failed = (
        Problem(result.place, f"the case `{result.name}` fails: {'; '.join(map(str, result.differences))}", "case")
        for result in report.failed
    )
    found = (*report.problems, *failed)
    if settings.policy.cases is CasesRule.REQUIRE:
        return found
    return tuple(replace(each, severity=max(each.severity, Severity.WARNING, key=_SEVERITIES.index)) for each in found)


_SEVERITIES: Final = tuple(Severity)  # the gravest first


def _analyse(sources: Sequence[Source], settings: Settings) -> Examined:
    return Examined(problems=analyse_policy(settings, load_policy(settings, sources)))


class Examiner:
    """Works in a process of its own. One thing at a time; the methods block and belong in a thread.

    They raise :class:`ExaminationError` where the work cannot be done.
    """

    def __init__(self) -> None:
        self._process: multiprocessing.context.SpawnProcess | None = None
        self._stopped = False

    def examine(self, sources: Sequence[Source], cases: Sequence[Source], settings: Settings) -> Examined:
        """What an examination finds."""
        return self._run(tuple(sources), tuple(cases), settings)

    def analyse(self, sources: Sequence[Source], settings: Settings) -> tuple[Problem, ...]:
        """What a good policy's order of rules makes of them, as warnings and notes."""
        return self._run(tuple(sources), None, settings).problems

    def _run(self, sources: tuple[Source, ...], cases: tuple[Source, ...] | None, settings: Settings) -> Examined:
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe(duplex=False)
        process = context.Process(
            target=_examine, args=(theirs, sources, cases, settings), name="examiner", daemon=True
        )
        try:
            try:
                process.start()
            except OSError as fault:
                raise ExaminationError(
                    f"no process could be started: {(fault.strerror or str(fault)).lower()}"
                ) from None
            finally:
                theirs.close()
            self._process = process
            if self._stopped:
                process.kill()
            try:
                if not ours.poll(EXAMINE_SECONDS):
                    raise ExaminationError(f"it was not done in {EXAMINE_SECONDS:.0f} seconds")
                answer = ours.recv_bytes()
            except (EOFError, OSError):
                process.join(_KILLED_SECONDS)
                raise ExaminationError(f"its process ended with {process.exitcode}") from None
            found = msgspec.msgpack.decode(answer, type=Examined | str)
            if isinstance(found, str):
                raise ExaminationError(found)
            return found
        finally:
            self._process = None
            ours.close()
            _end(process)

    def stop(self) -> None:
        """End what is running, which raises then; nothing is begun any more."""
        self._stopped = True
        process = self._process
        if process is not None:
            with contextlib.suppress(ValueError):  # it has just ended by itself
                process.kill()


def _end(process: multiprocessing.context.SpawnProcess) -> None:
    if process.pid is None:
        return
    process.join(_KILLED_SECONDS)
    if process.is_alive():
        process.kill()
        process.join()
    process.close()


def _examine(
    line: Connection, sources: tuple[Source, ...], cases: tuple[Source, ...] | None, settings: Settings
) -> None:  # pragma: no cover - runs in the examiner's process
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    os.nice(_NICENESS)
    answer: Examined | str
    try:
        answer = _analyse(sources, settings) if cases is None else examine(sources, cases, settings)[0]
    except BaseException as fault:  # noqa: BLE001 - whatever it is, who asked is told
        answer = f"it failed: {type(fault).__name__}: {fault}"
    line.send_bytes(msgspec.msgpack.encode(answer))
