"""Runs cases against a set of rules. No event loop, no file: it may run in any thread that has the set for itself."""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from time import perf_counter

from msgspec import Struct
from msgspec.structs import replace

from interceptor.cases.coverage import Counter, Coverage
from interceptor.cases.form import Case, Expect, Step
from interceptor.cases.reading import Ground, read_cases
from interceptor.explanation import Explanation, explain
from interceptor.policy import RuleSet, Source
from interceptor.policy.tracing import BY_POLICY, Tracer
from interceptor.rehearsal import Rehearsal, Rehearsed
from interceptor.settings import Settings
from interceptor.values import Facts, Kind, Place, Problem, Severity
from interceptor.wire import answers, ozml
from interceptor.wire.knowledge import parameter_name


class Difference(Struct, frozen=True):
    """One thing that is not as it should be."""

    what: str
    expected: str
    actual: str

    def __str__(self) -> str:
        return f"{self.what}: expected {self.expected}, is {self.actual}"


class Result(Struct, frozen=True):
    """How one case went. ``explanation`` is that of the message that differed; ``left_out`` says why it did not run."""

    name: str
    place: Place
    differences: tuple[Difference, ...] = ()
    step: str = ""
    explanation: Explanation | None = None
    left_out: str = ""
    seconds: float = 0.0

    @property
    def passed(self) -> bool:
        """It ran, and everything was as it should be."""
        return not self.differences and not self.left_out

    @property
    def label(self) -> str:
        """How reports name it."""
        return f"{self.place.file}:{self.place.line} {self.name}"


class Report(Struct, frozen=True):
    """How all cases went. ``problems`` are those of the files; with an error among them, nothing ran."""

    revision: str
    results: tuple[Result, ...] = ()
    problems: tuple[Problem, ...] = ()
    coverage: Coverage | None = None

    @property
    def failed(self) -> tuple[Result, ...]:
        """The cases that ran and did not pass."""
        return tuple(result for result in self.results if result.differences)

    @property
    def ok(self) -> bool:
        """Nothing is wrong."""
        return not self.failed and not any(problem.severity is Severity.ERROR for problem in self.problems)


class Played(Struct, frozen=True):
    """A scenario that was played: the first step that failed, and every message that was decided meanwhile."""

    failure: str
    messages: tuple[Rehearsed, ...]


Play = Callable[[Case], Played]
Selected = Callable[[Case], bool]


def run(
    sources: Sequence[Source],
    ruleset: RuleSet,
    settings: Settings,
    *,
    play: Play | None = None,
    selected: Selected = lambda _: True,
    coverage: bool = False,
) -> Report:
    """Run the cases in ``sources`` against ``ruleset``.

    Scenarios are for those who can ``play`` them; without it they are left out. ``coverage`` costs a trace of every
    message.
    """
    cases, problems = read_cases(sources, ground_of(settings, ruleset))
    if any(problem.severity is Severity.ERROR for problem in problems):
        return Report(ruleset.revision, problems=problems)
    counter = Counter(ruleset.rules) if coverage else None
    runner = _Runner(settings, ruleset, counter, play)
    results = tuple(runner.run(case) for case in cases if selected(case))
    return Report(ruleset.revision, results, problems, None if counter is None else counter.coverage())


def ground_of(settings: Settings, ruleset: RuleSet) -> Ground:
    """What cases may name, with these settings and rules."""
    return Ground(
        frozenset(settings.apps),
        frozenset(rule.name for rule in ruleset.rules),
        settings.time_zone,
        frozenset((*settings.apps, *settings.clusters)),
    )


class _Runner:
    def __init__(self, settings: Settings, ruleset: RuleSet, counter: Counter | None, play: Play | None) -> None:
        self._ruleset = ruleset
        self._counter = counter
        self._play = play
        self._tracer = Tracer(ruleset, None if counter is None else counter.watch)
        self._rehearsal = Rehearsal(settings, ruleset)
        self._names = {rule.label: rule.name for rule in ruleset.rules}

    def run(self, case: Case) -> Result:
        started = perf_counter()
        result = self._scenario(case) if case.scenario else self._steps(case)
        return replace(result, seconds=perf_counter() - started)

    def _steps(self, case: Case) -> Result:
        rehearsal, at = self._rehearsal, 0.0
        rehearsal.begin_anew()
        for number, step in enumerate(case.steps, 1):
            at += step.after
            for turn in range(step.repeat):
                at += step.every if turn else 0.0
                message = replace(step.message, at=step.message.at + at)
                rehearsed = rehearsal.send(message)
                self._seen(rehearsed)
                found = tuple(differences(step.expect, message.kind, rehearsed, self._names))
                if found:
                    explanation = explain(rehearsed, self._tracer)
                    return Result(case.name, case.place, found, _which(case, step, number, turn), explanation)
        return Result(case.name, case.place)

    def _seen(self, rehearsed: Rehearsed) -> None:
        if self._counter is not None:
            self._counter.count(self._tracer.trace(rehearsed.facts, rehearsed.decision))

    def _scenario(self, case: Case) -> Result:
        if self._play is None:
            return Result(case.name, case.place, left_out="a scenario is not played here")
        played = self._play(case)
        found = [Difference("scenario", "to be played to its end", played.failure)] if played.failure else []
        for rehearsed in played.messages:
            self._seen(rehearsed)
        expect = case.expect
        if expect is not None:
            acted = {self._names.get(label, label) for each in played.messages for label in each.decision.rules}
            shadow = {self._names.get(label, label) for each in played.messages for label in each.decision.shadow}
            for what, wanted, seen in (("rules", expect.rules, acted), ("shadow", expect.shadow, shadow)):
                missing = [name for name in wanted or () if name not in seen]
                if missing:
                    found.append(Difference(what, _list(wanted or ()), f"without {_list(missing)}"))
        return Result(case.name, case.place, tuple(found))


def differences(expect: Expect, kind: Kind, rehearsed: Rehearsed, names: Mapping[str, str]) -> Iterable[Difference]:
    """Everything that is not as it should be; ``names`` are the rules' names by their labels."""
    decision, facts = rehearsed.decision, rehearsed.facts
    if expect.verdict not in {None, decision.verdict}:
        assert expect.verdict is not None
        why = "" if decision.reason in BY_POLICY else f" ({decision.reason})"
        yield Difference("verdict", expect.verdict.value, decision.verdict.value + why)
    if expect.reason not in {None, decision.reason}:
        yield Difference("reason", expect.reason or "", decision.reason)
    for what, wanted, labels in (
        ("rules", expect.rules, decision.rules),
        ("shadow", expect.shadow, decision.shadow),
        ("limited", expect.limited, decision.limited),
    ):
        acted = tuple(names.get(label, label) for label in labels)
        if wanted not in {None, acted}:
            yield Difference(what, _list(wanted or ()), _list(acted))
    if expect.tags is not None and sorted(expect.tags) != sorted(decision.tags):
        yield Difference("tags", _list(expect.tags), _list(decision.tags))
    mirrors = rehearsed.record.mirrors
    if expect.mirrors not in {None, mirrors}:
        yield Difference("mirrors", _list(expect.mirrors or ()), _list(mirrors))
    if expect.parameters:
        yield from _parameters(expect, facts, rehearsed)
    if expect.target not in {None, rehearsed.record.target}:
        yield Difference("target", expect.target or "", rehearsed.record.target or "none")
    yield from _answer(expect, kind, rehearsed)


def _parameters(expect: Expect, facts: Facts, rehearsed: Rehearsed) -> Iterable[Difference]:
    values = rehearsed.values()
    for name, wanted in (expect.parameters or {}).items():
        actual = values.get(parameter_name(name))
        if actual != wanted:
            came = facts.values.get(parameter_name(name))
            told = _value(actual) + (f" (came as {_value(came)})" if came != actual else " (as it came)")
            yield Difference(name, _value(wanted), told)


def _answer(expect: Expect, kind: Kind, rehearsed: Rehearsed) -> Iterable[Difference]:
    body = rehearsed.answer
    if expect.verbs is not None:
        actual = None if body is None else ozml.decode_verbs(body)
        if actual != ozml.decode_verbs(ozml.encode_verbs(expect.verbs)):
            yield Difference("answer", _xml(ozml.encode_verbs(expect.verbs)), "none" if body is None else _xml(body))
    if expect.code is None and expect.message is None:
        return
    told = answers.read_answer(body) if body is not None and kind is Kind.COMMAND else None
    code, message = (None, None) if told is None else (told.code, told.message)
    if expect.code not in {None, code}:
        yield Difference("code of the answer", str(expect.code), "no answer" if code is None else str(code))
    if expect.message not in {None, message}:
        yield Difference("message of the answer", _value(expect.message), _value(message))


def _which(case: Case, step: Step, number: int, turn: int) -> str:
    told = [f"step {number}"] if len(case.steps) > 1 else []
    if step.repeat > 1:
        told.append(f"message {turn + 1} of {step.repeat}")
    return ", ".join(told)


def _list(names: Collection[str]) -> str:
    return ", ".join(names) or "none"


def _value(text: str | None) -> str:
    return "not there" if text is None else f"`{text}`"


def _xml(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    return text.partition("?>")[2].strip() if text.startswith("<?xml") else text
