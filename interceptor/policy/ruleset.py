"""The policy as it runs: facts go in, a decision comes out.

Laws: rules act in the order of reading; an enforced ``allow``, ``deny`` or ``answer`` ends it; conditions see the facts
and nothing else; shadowed rules change nothing but the list of those that would have acted. A decision is the same
value every time the same rules act, so it is made once and remembered; where actions take words out of tables, once for
the same words; where an action puts values of the message into it, it is made for each message. Limits alone have a
memory, which lies outside: in the meters that are handed in.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from msgspec.structs import replace

from interceptor.pacing import Pace, paced, unhurried
from interceptor.policy.actions.limit import Limit
from interceptor.policy.actions.outcome import Action, Outcome, together
from interceptor.policy.classes import Classify, Declared, classifier
from interceptor.policy.condition import Test
from interceptor.policy.index import Filed, Filing, Parts, build
from interceptor.policy.invariants import Invariant
from interceptor.policy.matchers.call import ask_for_calls
from interceptor.policy.meters import GRANTED, REFUSED, Meters
from interceptor.policy.readings import Readings
from interceptor.policy.rules import Mode, Rule
from interceptor.policy.tables import Table
from interceptor.values import Decision, Facts, Kind, Number, NumberClass, Problem, Refusal, Reply, Verdict

_REMEMBERED: Final = 8192
_REFUSED: Final = Refusal(306, "Not allowed by any rule")
_WOULD_DENY: Final = "default: deny"  # among the rules that would have acted, where everything is in shadow
_LONGEST_EXTENSION: Final = 6  # digits
_COMMAND: Final = Kind.COMMAND
_NOTIFICATION: Final = Kind.NOTIFICATION


class Metered:
    """What a rule with a limit has beside other rules: what it counts with, and whether it ends the reading."""

    __slots__ = ("ends_beyond", "ends_within", "key_of", "meter", "otherwise")

    def __init__(self, rule: Rule, actions: tuple[Action, ...], limit: Limit) -> None:
        enforced = rule.mode is Mode.ENFORCE
        self.meter = limit.meter(rule.name)
        self.key_of = limit.key_of
        self.otherwise = limit.otherwise
        self.ends_within = enforced and any(action.ends for action in actions)
        self.ends_beyond = enforced and any(action.ends for action in limit.otherwise)


class Step:
    """What a rule does to messages of one kind; rules that do the same share it.

    ``reads`` are the columns that what it does depends on, ``None`` where it depends on more of the message.
    """

    __slots__ = ("actions", "ends", "limit", "reads")

    def __init__(self, rule: Rule, actions: tuple[Action, ...]) -> None:
        self.actions = actions
        limit = next((action for action in actions if isinstance(action, Limit)), None)
        self.limit = None if limit is None else Metered(rule, actions, limit)
        self.ends = limit is None and rule.mode is Mode.ENFORCE and any(action.ends for action in actions)
        self.reads = together(actions) if rule.mode is Mode.ENFORCE else ()


class KindRules:
    """The rules for messages of one kind."""

    __slots__ = (
        "_default",
        "_indexes",
        "_kind",
        "_others",
        "_remembered",
        "_revision",
        "_rules",
        "_steps",
        "_tests",
        "_untouched",
        "_words",
        "_would_deny",
    )

    def __init__(
        self,
        kind: Kind,
        rules: Sequence[Rule],
        known: tuple[str, ...],
        default: Verdict,
        revision: str,
        mode: Mode,
        parts: Parts,
    ) -> None:
        self._kind = kind
        self._default = default if mode is Mode.ENFORCE else Verdict.ALLOW
        self._would_deny = mode is Mode.SHADOW and default is Verdict.DENY
        self._revision = revision
        self._rules = [rule for rule in rules if rule.mode is not Mode.OFF and rule.names.get(kind)]
        self._steps = _steps(paced(self._rules, parts.pace), kind)
        self._tests: list[Test | None] = []
        filing = Filing((rule.when for rule in self._rules), parts)
        filed: list[Filed] = []
        for position, rule in enumerate(paced(self._rules, parts.pace)):
            where, test = filing.choose(position, rule.names[kind])
            filed.append(where)
            self._tests.append(test)
        self._indexes, self._others = build(filed, known, parts.readings, parts.pace)
        self._remembered: dict[Hashable, Decision] = {}  # by those that acted, and the words of their columns
        self._words: dict[tuple[int, ...], tuple[Callable[[Facts], str], ...]] = {}  # what reads these
        self._untouched = self._compose(())

    def decide(self, facts: Facts, meters: Meters | None) -> Decision:
        """The decision for one message of this kind."""
        index = self._indexes.get(facts.name) or self._indexes.get(facts.name.lower(), self._others)
        hits: list[int] = []
        for probe in index.probes:
            probe(facts, hits)
        of_app = index.of_app.get(facts.app)
        if of_app is not None:
            for probe in of_app:
                probe(facts, hits)
        if index.always:
            hits += index.always
        if len(hits) > 1:
            hits.sort()
        tests, steps = self._tests, self._steps
        acted: list[int] | None = None
        last = -1
        for position in hits:
            if position == last:
                continue
            last = position
            test = tests[position]
            if test is not None and not test(facts):
                continue
            step = steps[position]
            if step.ends:
                if acted is None:
                    return self._remember((position,), facts)
                acted.append(position)
                break
            if step.limit is not None:
                return self._metered(facts, meters, hits, position, acted or [])
            if acted is None:
                acted = [position]
            else:
                acted.append(position)
        return self._untouched if acted is None else self._remember(tuple(acted), facts)

    def _metered(self, facts: Facts, meters: Meters | None, hits: list[int], first: int, acted: list[int]) -> Decision:
        """Go on reading at the position ``first``, whose rule matches and has a limit.

        In ``acted``, a rule whose limit was reached stands with the complement of its position.
        """
        slots: list[int] = []
        last = -1
        for position in hits:
            if position < first or position == last:
                continue
            last = position
            test, step = self._tests[position], self._steps[position]
            if position > first and test is not None and not test(facts):
                continue
            ends, limit = step.ends, step.limit
            if limit is not None:
                taken = GRANTED if meters is None else meters.take(limit.meter, limit.key_of(facts), facts.at)
                ends = limit.ends_beyond if taken == REFUSED else limit.ends_within
                if taken > GRANTED:
                    slots.append(taken)
            acted.append(~position if limit is not None and taken == REFUSED else position)
            if ends:
                break
        decision = self._remember(tuple(acted), facts)
        return replace(decision, slots=tuple(slots)) if slots else decision

    def _remember(self, acted: tuple[int, ...], facts: Facts) -> Decision:
        decision = self._remembered.get(acted)
        if decision is not None:
            return decision
        words = self._words.get(acted)
        if words is None:
            steps = self._steps
            reads = [steps[max(position, ~position)].reads for position in acted]
            if None in reads:
                return self._compose(acted, facts)
            columns = dict.fromkeys(column for each in reads if each is not None for column in each)
            if not columns:
                return self._keep(acted, self._compose(acted))
            if len(self._words) >= _REMEMBERED:
                self._words.clear()
            words = self._words[acted] = tuple(column.reader() for column in columns)
        key = (acted, words[0](facts)) if len(words) == 1 else (acted, *[word(facts) for word in words])
        return self._remembered.get(key) or self._keep(key, self._compose(acted, facts))

    def _keep(self, key: Hashable, decision: Decision) -> Decision:
        if len(self._remembered) >= _REMEMBERED:
            self._remembered.clear()
        self._remembered[key] = decision
        return decision

    def _compose(self, acted: tuple[int, ...], facts: Facts | None = None) -> Decision:
        """The decision when the rules at these positions acted, in this order; ``facts`` for those that vary."""
        outcome = Outcome(self._kind, facts)
        rules: list[str] = []
        shadow: list[str] = []
        limited: list[str] = []
        would_end = False
        for position in acted:
            rule, step = self._rules[max(position, ~position)], self._steps[max(position, ~position)]
            over = position < 0
            if over:
                limited.append(rule.label)
            actions = step.limit.otherwise if step.limit is not None and over else step.actions
            if rule.mode is Mode.SHADOW:
                shadow.append(rule.label)
                would_end = would_end or any(action.ends for action in actions)
                continue
            rules.append(rule.label)
            outcome.rule = rule.name
            for action in actions:
                if self._kind in action.kinds:
                    action.act(outcome)
        if self._would_deny and not would_end:
            shadow.append(_WOULD_DENY)
        reason = "default" if outcome.verdict is None else "limit" if acted[-1] < 0 else "rule"
        return self._finish(outcome, reason, tuple(rules), tuple(shadow), tuple(limited))

    def _finish(
        self, outcome: Outcome, reason: str, rules: tuple[str, ...], shadow: tuple[str, ...], limited: tuple[str, ...]
    ) -> Decision:
        verdict = outcome.verdict or self._default
        leaves = verdict is Verdict.ALLOW  # what goes nowhere is neither changed nor rerouted
        return Decision(
            verdict=verdict,
            reason=reason,
            revision=self._revision,
            rule="" if outcome.verdict is None else outcome.rule,
            rules=rules,
            shadow=shadow,
            changes=tuple(outcome.changes) if leaves else (),
            target=outcome.target if leaves else None,
            mirrors=tuple(outcome.mirrors) if leaves else (),
            refusal=(outcome.refusal or _REFUSED) if verdict is Verdict.DENY else None,
            reply=(outcome.reply or Reply()) if verdict is Verdict.ANSWER else None,
            tags=tuple(outcome.tags),
            limited=limited,
            owns_any=outcome.owns_any,
        )


def _steps(rules: Iterable[Rule], kind: Kind) -> list[Step]:
    """What each rule does; one step for all that do the same, but for those with a limit, which each have their own."""
    made: dict[tuple[int, Mode], Step] = {}
    steps: list[Step] = []
    for rule in rules:
        step = made.get((id(rule.actions), rule.mode))
        if step is None:
            step = Step(rule, rule.actions_for(kind))
            if step.limit is None:
                made[id(rule.actions), rule.mode] = step
        steps.append(step)
    return steps


class RuleSet:
    """All rules in force. Immutable in what it decides, and swapped whole.

    ``classify`` gives a number the class that the rules files declare for it; it is ``None`` where they declare none.
    The numbers in the facts of a message have gone through it. ``asks_for_calls`` says whether the facts need a call.
    """

    __slots__ = (
        "_commands",
        "_notifications",
        "_verbs",
        "asks_for_calls",
        "classes",
        "classify",
        "invariants",
        "revision",
        "rules",
        "tables",
        "warnings",
    )

    def __init__(
        self,
        rules: Sequence[Rule],
        names: dict[Kind, tuple[str, ...]],
        defaults: dict[Kind, Verdict],
        revision: str,
        warnings: Sequence[Problem] = (),
        tables: Mapping[str, Table] = MappingProxyType({}),
        invariants: Sequence[Invariant] = (),
        *,
        mode: Mode = Mode.ENFORCE,
        classes: Declared = (),
        inside: Callable[[str], tuple[Number, ...]] = lambda _: (),
        pace: Pace = unhurried,
    ) -> None:
        self.revision = revision
        self.rules = tuple(rules)
        self.invariants = tuple(invariants)
        self.warnings = tuple(warnings)
        self.classes = classes
        self.classify: Classify | None = classifier(classes, inside) if classes else None
        self.tables = MappingProxyType(dict(tables))
        self.asks_for_calls = ask_for_calls(rule.when for rule in self.rules if rule.mode is not Mode.OFF)
        parts = Parts(Readings(), pace)
        self._commands, self._notifications, self._verbs = (
            KindRules(kind, rules, names[kind], defaults[kind], revision, mode, parts) for kind in Kind
        )

    def strictest(self, facts: Facts, others: Iterable[Number]) -> Facts:
        """What a message that dials several numbers is judged by: one that is refused, where the first is not.

        An extension counts where a rule refuses it, not where none allows it: it is mostly who asked for the call. A
        call for help is judged as one.
        """
        for number in others:
            first = facts.number
            if first is not None and first.number_class is NumberClass.EMERGENCY:
                break
            other = replace(facts, number=number)
            decision = self.decide(other)
            refused = decision.verdict is Verdict.DENY and (decision.reason != "default" or not _is_inside(number))
            if refused and self.decide(facts).verdict is not Verdict.DENY:
                return other
        return facts

    def decide(self, facts: Facts, meters: Meters | None = None) -> Decision:
        """The decision for one message. The same facts always get the same, as far as no limit stands against it.

        Limits count with ``meters``; without them every message is within its limits.
        """
        kind = facts.kind  # compared by identity: hashing an Enum costs as much as a table
        if kind is _COMMAND:
            return self._commands.decide(facts, meters)
        rules = self._notifications if kind is _NOTIFICATION else self._verbs
        return rules.decide(facts, meters)


def _is_inside(number: Number) -> bool:
    """An extension, as far as can be seen without a plan of them."""
    return number.number_class is NumberClass.INTERNAL or (
        len(number.canonical) <= _LONGEST_EXTENSION and number.canonical[0] != "+"
    )
