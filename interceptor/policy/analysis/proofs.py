"""Invariants, decided for every message that they are for.

Rules that cannot match such a message are left out first, so that the proof costs what the rules around the invariant
cost and not what the whole policy does. A violation is told with a real message that shows it; where the rules could
break an invariant and no such message is found, it is said that it cannot be decided.
"""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from msgspec import Struct

from interceptor.policy.actions.limit import Limit
from interceptor.policy.actions.mirror import Mirror
from interceptor.policy.actions.outcome import Action
from interceptor.policy.actions.reroute import Reroute
from interceptor.policy.actions.rewrite import Rewrite
from interceptor.policy.actions.tag import Tag
from interceptor.policy.analysis.alignment import written_out
from interceptor.policy.analysis.diagrams import ALL, NONE, TooLarge
from interceptor.policy.analysis.effects import Effect
from interceptor.policy.analysis.findings import Finding
from interceptor.policy.analysis.parties import sure_number
from interceptor.policy.analysis.space import Space
from interceptor.policy.analysis.walk import Entry, Part, Point, Walk
from interceptor.policy.analysis.words import message_text
from interceptor.policy.condition import AllOf, AnyOf, Condition, Not
from interceptor.policy.context import Context
from interceptor.policy.invariants import Invariant
from interceptor.policy.matchers.app import AppIn
from interceptor.policy.names import ANY, Names
from interceptor.policy.numbers import NumberClassIn, NumberIn
from interceptor.policy.readings import Readings
from interceptor.policy.rules import Mode, Rule
from interceptor.values import (
    Facts,
    Kind,
    Number,
    NumberClass,
    Place,
    RenameParameter,
    Severity,
    Verdict,
)

STEPS: Final = 400_000
EMERGENCY: Final = "emergency numbers are always reached"
_WORDS: Final = {Verdict.ALLOW: "allowed", Verdict.DENY: "denied", Verdict.ANSWER: "answered"}


def emergency_invariant(context: Context) -> Invariant | None:
    """The invariant that is built in; ``None`` where the context knows no emergency numbers or what dials."""
    names: Names = {
        kind: frozenset(context.dial.get(kind, {})) for kind in (Kind.COMMAND, Kind.VERB) if context.dial.get(kind)
    }
    if not names or not context.emergency:
        return None
    when: Condition = NumberClassIn("number", (NumberClass.EMERGENCY,))
    if _declares_emergency(context):
        when = AnyOf((NumberIn("number", context.emergency), when))
    return Invariant(EMERGENCY, None, names, when, Verdict.ALLOW, ("limit", "reroute"))


def _declares_emergency(context: Context) -> bool:
    return any(number_class is NumberClass.EMERGENCY for number_class, _ in context.declared)


def prove(rules: Sequence[Rule], invariants: Iterable[Invariant], context: Context) -> Iterator[Finding]:
    """What is wrong with each invariant; nothing where it holds."""
    for invariant in invariants:
        finding = _Proof(invariant, rules, context).finding()
        if finding is not None:
            yield finding


def covered(invariant: Invariant, space: Space) -> int:
    """The messages that an invariant is for."""
    diagrams = space.diagrams
    when = diagrams.both(space.set_of(invariant.when), space.universe)
    found = NONE
    for kind in Kind:
        names = space.names(invariant.names, kind)
        apps = ALL if kind is Kind.NOTIFICATION else space.known_apps()
        found = diagrams.either(found, diagrams.both(names, diagrams.both(apps, when)))
    return found


class _Broken(Struct, frozen=True):
    """What happens to some messages that the invariant does not have; ``does`` are the actions that do it, if any."""

    part: Part
    what: str
    does: tuple[type[Action], ...]
    walk: Walk


class _Proof:
    def __init__(self, invariant: Invariant, rules: Sequence[Rule], context: Context) -> None:
        self._invariant = invariant
        self._context = context
        self._rules = rules
        readings = Readings()
        scope = _Scope(invariant.when, context, readings)
        self._relevant = written_out([rule for rule in rules if self._may_matter(rule, scope)])

    def _may_matter(self, rule: Rule, scope: "_Scope") -> bool:
        if rule.mode is not Mode.ENFORCE or all(isinstance(action, Tag) for action in rule.actions):
            return False
        if not any(self._share(rule.names, kind) for kind in Kind):
            return False
        return rule.when is None or scope.outcome(rule.when) is not False

    def _share(self, names: Names, kind: Kind) -> bool:
        one, two = names.get(kind), self._invariant.names.get(kind)
        return bool(one and two) and (ANY in one or ANY in two or not one.isdisjoint(two))  # type: ignore[operator, union-attr, arg-type]

    def finding(self) -> Finding | None:
        invariant = self._invariant
        conditions = [invariant.when, *(rule.when for rule in self._relevant)]
        names = [invariant.names, *(rule.names for rule in self._relevant)]
        try:
            space = Space(conditions, names, self._context, STEPS)
            messages = covered(invariant, space)
            broken = [each for kind in Kind for each in self._broken(space, messages, kind)]
        except (TooLarge, RecursionError):
            return self._undecided("what the rules do to the messages that it is for is too large to decide", None)
        for each in broken:
            for facts in space.messages(each.part[0]):
                return self._violated(each, facts, space)
        if not broken:
            return None
        end = broken[0].part[2]
        return self._undecided(f"no message was found that is {broken[0].what}, but none was ruled out", end)

    def _broken(self, space: Space, messages: int, kind: Kind) -> Iterator[_Broken]:
        here = space.diagrams.both(messages, space.kind(kind))
        if here == NONE:
            return
        walk = Walk(space, kind, self._relevant, self._context)
        for part in walk.parts(here):
            breach = self._breach(part[1], kind)
            if breach is not None:
                yield _Broken(part, *breach, walk)

    def _breach(self, effect: Effect, kind: Kind) -> tuple[str, tuple[type[Action], ...]] | None:
        """What an effect does that the invariant does not have, and which actions do it."""
        invariant, verdict = self._invariant, effect.verdict
        assert verdict is not None
        if invariant.always is not None and verdict is not invariant.always:
            return _WORDS[verdict], ()
        breaches: dict[str, tuple[str, tuple[type[Action], ...]]] = {verdict.value: (_WORDS[verdict], ())}
        if effect.choices:
            breaches["limit"] = "limited", (Limit,)
        if effect.target or self._dials_another(effect, kind):
            breaches["reroute"] = "rerouted", (Reroute,) if effect.target else (Rewrite,)
        if effect.changes:
            breaches["rewrite"] = "rewritten", (Rewrite,)
        if any(isinstance(other, Mirror) for other in effect.others):
            breaches["mirror"] = "mirrored", (Mirror,)
        return next((breaches[word] for word in invariant.never if word in breaches), None)

    def _dials_another(self, effect: Effect, kind: Kind) -> bool:
        """A change touches a parameter whose number is dialled."""
        dialled = {name for names in self._context.dial.get(kind, {}).values() for name in names}
        return any(dialled & set(map(self._context.parameter, _touched(change))) for change in effect.changes)

    def _violated(self, broken: _Broken, facts: Facts, space: Space) -> Finding:
        doer = _doer(broken, space.point(facts))
        by = "by default" if doer is None else f"by rule `{doer.rule.name}` ({doer.rule.place})"
        what = f"is violated: {message_text(facts, space)} is {broken.what} {by}"
        return self._told(what, "invariant_violated", doer, Severity.ERROR)

    def _undecided(self, why: str, end: Entry | None) -> Finding:
        built_in = self._invariant.place is None
        severity = Severity.ERROR if built_in else Severity.WARNING
        return self._told(f"cannot be decided: {why}", "invariant_undecided", end, severity)

    def _told(self, what: str, code: str, end: Entry | None, severity: Severity) -> Finding:
        invariant = self._invariant
        place = invariant.place
        name = f"invariant `{invariant.name}`"
        if place is None:
            name = f"the built-in invariant `{invariant.name}`"
            first = self._rules[0].place if self._rules else Place("", 1, 1)
            place = first if end is None else end.rule.place
        labels = () if end is None else (end.rule.label,)
        return Finding(severity, place, code, f"{name} {what}", rules=labels)


def _doer(broken: _Broken, point: Point | None) -> Entry | None:
    """The first rule that does it to the message at this point; the one that ends the reading, where that does it."""
    if point is not None and broken.does:
        for entry in broken.walk.at(point):
            acting = (*entry.actions, *(entry.over or ()))
            if entry.enforced and any(isinstance(action, broken.does) for action in acting):
                return entry
    return broken.part[2]


def _touched(change: Any) -> set[str]:
    """The parameters, in lower case, that a change may give another value."""
    found = {change.name.lower()}
    if isinstance(change, RenameParameter):
        found.add(change.to.lower())
    return found


class _Scope:
    """What is known of the messages that an invariant is for, before any space is made: at times their numbers."""

    def __init__(self, when: Condition | None, context: Context, readings: Readings) -> None:
        self._readings = readings
        self._numbers: tuple[Number, ...] | None = None
        self._apps: tuple[str, ...] | None = None
        for part in when.parts if isinstance(when, AllOf) else (when,):
            match part:
                case NumberIn() if part.party == "number":
                    numbers = tuple(context.number(number) for number in part.numbers)
                    sure = all(sure_number(number.canonical) for number in numbers)
                    self._numbers = numbers if sure else None
                case NumberClassIn() if part.party == "number" and part.classes == (NumberClass.EMERGENCY,):
                    if context.emergency is not None and not _declares_emergency(context):
                        self._numbers = tuple(context.number(number) for number in context.emergency)
                case AppIn():
                    self._apps = part.apps
                case _:
                    pass

    def outcome(self, condition: Condition) -> bool | None:
        """How a condition comes out for all these messages; ``None`` where that differs or is not known."""
        match condition:
            case AllOf():
                outcomes = {self.outcome(part) for part in condition.parts}
                return False if False in outcomes else None if None in outcomes else True
            case AnyOf():
                outcomes = {self.outcome(part) for part in condition.parts}
                return True if True in outcomes else None if None in outcomes else False
            case Not():
                outcome = self.outcome(condition.part)
                return None if outcome is None else not outcome
            case AppIn() if self._apps is not None:
                inside = {app in condition.apps for app in self._apps}
                return inside.pop() if len(inside) == 1 else None
            case _ if self._numbers and getattr(condition, "party", None) == "number":
                test = condition.test(self._readings)
                outcomes = {test(_dialling(number)) for number in self._numbers}
                return outcomes.pop() if len(outcomes) == 1 else None
            case _:
                return None


def _dialling(number: Number) -> Facts:
    return Facts(Kind.COMMAND, "", "", "", number, None, {}, {}, 0.0)
