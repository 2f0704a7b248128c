"""Why a decision fell: every rule in the order of reading, with what it did or the first condition that failed.

Laws: rules and shadow of a trace are those of :meth:`RuleSet.decide` for the same facts, though the trace asks every
rule and no index; a rule that is said to have failed because of a condition does not match, and that condition does not
hold. Tracing changes nothing: where the facts were decided before, that decision is told, and no limit counts twice.

A trace is made for people, when they ask. It costs a thousand decisions.
"""

import itertools
import re
from collections.abc import Callable, Iterator, Mapping
from enum import Enum

from msgspec import Struct
from msgspec.structs import replace

from interceptor.policy.actions import LIST
from interceptor.policy.actions.outcome import Action
from interceptor.policy.condition import AllOf, AnyOf, Condition, Not, Test
from interceptor.policy.names import ANY
from interceptor.policy.readings import Readings
from interceptor.policy.rules import Mode, Rule
from interceptor.policy.ruleset import RuleSet
from interceptor.values import Decision, Facts, Kind, Verdict


class Standing(Enum):
    """How one rule stood to one message."""

    ACTED = "acted"
    SHADOW = "would_have_acted"
    FAILED = "did_not_match"
    NOT_REACHED = "not_reached"
    OTHER_MESSAGE = "other_message"
    OFF = "off"
    UNKNOWN = "cannot_be_told"


class Because(Struct, frozen=True):
    """The first condition that failed: what it expects, and what the message has instead."""

    expected: str
    actual: str

    def __str__(self) -> str:
        return f"expected {self.expected}, is {self.actual}"


class TracedRule(Struct, frozen=True, omit_defaults=True):
    """One rule in a trace. ``place`` is ``file:line``; ``actions`` are its actions for this kind of message.

    ``limited`` says that it acted on a message over its limit.
    """

    name: str
    place: str
    standing: Standing
    because: Because | None = None
    actions: tuple[str, ...] = ()
    mode: Mode = Mode.ENFORCE
    ends: bool = False
    limited: bool = False

    @property
    def label(self) -> str:
        """How decisions name the rule."""
        return f"{self.place} {self.name}"


class Trace(Struct, frozen=True):
    """A decision with the way to it.

    ``reason`` is the decision's: other than ``rule``, ``limit`` and ``default`` it says that the rules were not asked,
    and then there are no ``steps``.
    """

    verdict: Verdict
    reason: str
    revision: str
    rule: str
    rules: tuple[str, ...]
    shadow: tuple[str, ...]
    tags: tuple[str, ...]
    steps: tuple[TracedRule, ...]


class HiddenError(Exception):
    """A condition asked for something that is masked: nobody knows any more whether it held."""


Watch = Callable[[Rule, int, bool], None]
"""Told each outcome of a condition: the rule, which of its atoms (in the order of :func:`atoms`), whether it held."""

_SHORTEST_ANYWHERE = 6
BY_POLICY = frozenset({"rule", "limit", "default"})


def trace(ruleset: RuleSet, facts: Facts, decision: Decision | None = None, shown: Facts | None = None) -> Trace:
    """The trace of one message; see :meth:`Tracer.trace`."""
    return Tracer(ruleset).trace(facts, decision, shown)


def atoms(condition: Condition | None) -> Iterator[Condition]:
    """The conditions that are not made of others, in the order in which they are written."""
    match condition:
        case None:
            return
        case AllOf(parts) | AnyOf(parts):
            for part in parts:
                yield from atoms(part)
        case Not(part):
            yield from atoms(part)
        case _:
            yield condition


class Tracer:
    """Makes traces of messages for one set of rules. Belongs to one thread."""

    def __init__(self, ruleset: RuleSet, watch: Watch | None = None) -> None:
        self._ruleset = ruleset
        self._readings = Readings()
        self._asked = [_Asked(rule) for rule in ruleset.rules]
        self._watch = watch

    def trace(self, facts: Facts, decision: Decision | None = None, shown: Facts | None = None) -> Trace:
        """The trace of a message that has this ``decision``; without one it is decided here.

        ``shown`` are the facts as they may be shown, where that differs: what a condition saw is told from these.
        """
        decided = self._ruleset.decide(facts) if decision is None else decision
        steps = tuple(self._steps(facts, decided, shown)) if decided.reason in BY_POLICY else ()
        return Trace(
            decided.verdict,
            decided.reason,
            decided.revision,
            decided.rule,
            decided.rules,
            decided.shadow,
            decided.tags,
            steps,
        )

    def steps(self, facts: Facts, decision: Decision | None = None) -> Iterator[TracedRule]:
        """How every rule stands to facts of which a part may be hidden.

        Conditions that ask for a hidden part raise :class:`HiddenError`. Where a rule cannot be told by the facts, the
        ``decision`` that these rules made tells it, if it is known.
        """
        acted = None if decision is None else frozenset((*decision.rules, *decision.shadow))
        limited = frozenset(() if decision is None else decision.limited)
        kind, over = facts.kind, False
        for asked in self._asked:
            rule, step = asked.rule, self._step(asked, facts, None, over=over)
            if step.standing is Standing.UNKNOWN and acted is not None:
                standing = Standing.FAILED
                if rule.label in acted:
                    standing = Standing.SHADOW if rule.mode is Mode.SHADOW else Standing.ACTED
                step = _told(rule, kind, standing, step.because if standing is Standing.FAILED else None)
            if decision is not None:
                step = replace(step, limited=rule.label in limited)
            ended = step.ends if decision is None else step.name == decision.rule
            over = over or (step.standing is Standing.ACTED and ended)
            yield step

    def _steps(self, facts: Facts, decision: Decision, shown: Facts | None) -> Iterator[TracedRule]:
        over = False
        for asked in self._asked:
            step = self._step(asked, facts, shown, over=over)
            if decision.limited and step.label in decision.limited:
                step = replace(step, limited=True)
            # A limit ends the reading at some times and not at others, so the decision says where it ended.
            over = over or (step.standing is Standing.ACTED and step.name == decision.rule)
            yield step

    def _step(self, asked: "_Asked", facts: Facts, shown: Facts | None, *, over: bool) -> TracedRule:
        kind, rule = facts.kind, asked.rule
        if rule.mode is Mode.OFF:
            return _told(rule, kind, Standing.OFF)
        if not asked.is_for(facts):
            return _told(rule, kind, Standing.OTHER_MESSAGE, Because(_names(rule), f"{kind.value} {facts.name}"))
        if over:
            return _told(rule, kind, Standing.NOT_REACHED)
        part = asked.whole(self._readings)
        if part is not None:
            holds, culprit = self._ask(rule, part, facts)
            if holds is not True:
                standing = Standing.FAILED if holds is False else Standing.UNKNOWN
                return _told(rule, kind, standing, self._because(culprit, facts, shown))
        return _told(rule, kind, Standing.SHADOW if rule.mode is Mode.SHADOW else Standing.ACTED)

    def _ask(self, rule: Rule, part: "_Part", facts: Facts) -> tuple[bool | None, Condition]:
        """Whether a condition holds (``None``: it cannot be told), and where not, the part of it to blame."""
        condition = part.condition
        match condition:
            case AllOf():
                unknown: Condition | None = None
                for inner in part.parts:
                    holds, culprit = self._ask(rule, inner, facts)
                    if holds is False:
                        return False, culprit
                    if holds is None and unknown is None:
                        unknown = culprit
                return (True, condition) if unknown is None else (None, unknown)
            case AnyOf():
                told: bool | None = False
                for inner in part.parts:
                    holds, _ = self._ask(rule, inner, facts)
                    if holds is True:
                        return True, condition
                    if holds is None:
                        told = None
                return told, condition
            case Not():
                holds, _ = self._ask(rule, part.parts[0], facts)
                return None if holds is None else not holds, condition
            case _:
                return self._ask_atom(rule, part, facts), condition

    def _ask_atom(self, rule: Rule, part: "_Part", facts: Facts) -> bool | None:
        assert part.test is not None
        try:
            holds = bool(part.test(facts))
        except HiddenError:
            return None
        if self._watch is not None:
            self._watch(rule, part.at, holds)
        return holds

    def _because(self, condition: Condition, facts: Facts, shown: Facts | None) -> Because:
        expected = condition.expects()
        if shown is not None:
            # A rule that names the very number or word that is hidden must not tell it either.
            expected = scrubbed(expected, facts, shown)
        try:
            return Because(expected, condition.sees(shown or facts, self._readings))
        except HiddenError:
            return Because(expected, "masked")


class _Part:
    """A condition of a rule with its parts, or, where it has none, its test and its place among the atoms."""

    __slots__ = ("at", "condition", "parts", "test")

    def __init__(self, condition: Condition, readings: Readings, count: Iterator[int]) -> None:
        self.condition = condition
        self.parts: tuple[_Part, ...] = ()
        self.test: Test | None = None
        self.at = -1
        match condition:
            case AllOf(inner) | AnyOf(inner):
                self.parts = tuple(_Part(each, readings, count) for each in inner)
            case Not(inner):
                self.parts = (_Part(inner, readings, count),)
            case _:
                self.test = condition.test(readings)
                self.at = next(count)


class _Asked:
    """A rule with what it takes to ask it, made when it is asked for the first time."""

    __slots__ = ("_names", "_whole", "rule")

    def __init__(self, rule: Rule) -> None:
        self.rule = rule
        self._names: dict[Kind, frozenset[str]] = {}
        self._whole: _Part | None = None

    def is_for(self, facts: Facts) -> bool:
        """Whether its ``on`` names the message."""
        names = self._names.get(facts.kind)
        if names is None:
            written = self.rule.names.get(facts.kind, ())
            names = self._names[facts.kind] = frozenset(name.lower() for name in written)
        return ANY in names or facts.name.lower() in names

    def whole(self, readings: Readings) -> _Part | None:
        """Its condition, ready to be asked."""
        if self._whole is None and self.rule.when is not None:
            self._whole = _Part(self.rule.when, readings, itertools.count())
        return self._whole


def action_key(action: Action) -> str:
    """The word that writes an action in a rule."""
    return _ACTION_KEYS[type(action).__module__]


_ACTION_KEYS: Mapping[str, str] = {str(vars(module)["__name__"]): module.KEY for module in LIST}


def hidden_texts(facts: Facts, shown: Facts) -> Mapping[str, str]:
    """What stands in ``facts`` and not in ``shown``, each with what stands there instead."""
    found: dict[str, str] = {}
    for number, instead in ((facts.number, shown.number), (facts.caller, shown.caller)):
        if number is not None and instead is not None and number.canonical != instead.canonical:
            found |= {number.canonical: instead.canonical, number.written: instead.canonical}
            found[number.canonical.lstrip("+")] = instead.canonical
    for real, masked in ((facts.values, shown.values), (facts.headers, shown.headers)):
        for name, value in real.items():
            if value and masked.get(name) != value:
                found[value] = masked.get(name, "***")
    return found


def scrubbed(text: str, facts: Facts, shown: Facts) -> str:
    """``text`` with everything replaced that stands in ``facts`` and is not ``shown``."""
    hidden = hidden_texts(facts, shown)
    for needle in sorted(filter(None, hidden), key=len, reverse=True):
        if len(needle) >= _SHORTEST_ANYWHERE:
            text = text.replace(needle, hidden[needle])
        elif needle in text:  # "1" is everywhere: a short text counts where it stands alone
            alone = re.compile(rf"(?<!\w){re.escape(needle)}(?!\w)")
            text = hidden[needle].join(alone.split(text))
    return text


def _told(rule: Rule, kind: Kind, standing: Standing, because: Because | None = None) -> TracedRule:
    actions = rule.actions_for(kind)
    return TracedRule(
        rule.name,
        f"{rule.place.file}:{rule.place.line}",
        standing,
        because,
        tuple(action_key(action) for action in actions),
        rule.mode,
        any(action.ends for action in actions),
    )


def _names(rule: Rule) -> str:
    return ", ".join(
        kind.value if name == ANY else f"{kind.value} {name}"
        for kind, names in rule.names.items()
        for name in sorted(names)
    )


__all__ = [
    "BY_POLICY",
    "Because",
    "HiddenError",
    "Standing",
    "Trace",
    "TracedRule",
    "Tracer",
    "Watch",
    "action_key",
    "atoms",
    "hidden_texts",
    "scrubbed",
    "trace",
]
