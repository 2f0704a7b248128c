"""The policy as it runs: facts go in, a decision comes out.

Laws: rules act in the order of reading; an enforced ``allow``, ``deny`` or ``answer`` ends it; conditions see the facts
and nothing else; shadowed rules change nothing but the list of those that would have acted. A decision is the same
value every time the same rules act, so it is made once and remembered; where an action puts values of the message into
it, it is made for each message.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from interceptor.policy.actions.outcome import Action, Outcome
from interceptor.policy.condition import Test
from interceptor.policy.index import Filed, Filing, build
from interceptor.policy.readings import Readings
from interceptor.policy.rules import Mode, Rule
from interceptor.policy.tables import Table
from interceptor.values import Decision, Facts, Kind, Problem, Refusal, Reply, Verdict

_REMEMBERED: Final = 8192
_REFUSED: Final = Refusal(306, "Not allowed by any rule")
_COMMAND: Final = Kind.COMMAND
_NOTIFICATION: Final = Kind.NOTIFICATION


class Step:
    """One rule, for one kind of message, as it runs."""

    __slots__ = ("actions", "alone", "ends", "rule", "test", "varies")

    def __init__(self, rule: Rule, actions: tuple[Action, ...], test: Test | None) -> None:
        self.rule = rule
        self.actions = actions
        self.test = test
        self.ends = rule.mode is Mode.ENFORCE and any(action.ends for action in actions)
        self.varies = rule.mode is Mode.ENFORCE and any(action.varies for action in actions)
        self.alone: Decision | None = None  # the decision when this rule ends the reading and no other acted


class KindRules:
    """The rules for messages of one kind."""

    __slots__ = ("_default", "_indexes", "_kind", "_others", "_remembered", "_revision", "_steps", "_untouched")

    def __init__(
        self, kind: Kind, rules: Sequence[Rule], known: tuple[str, ...], default: Verdict, revision: str
    ) -> None:
        self._kind = kind
        self._default = default
        self._revision = revision
        readings = Readings()
        mine = [rule for rule in rules if rule.mode is not Mode.OFF and rule.names.get(kind)]
        filing = Filing(rule.when for rule in mine)
        filed: list[Filed] = []
        self._steps: list[Step] = []
        for position, rule in enumerate(mine):
            keys, test = filing.choose(position, readings)
            filed.append(Filed(position, rule.names[kind], keys))
            self._steps.append(Step(rule, rule.actions_for(kind), test))
        self._indexes, self._others = build(filed, known, readings)
        self._remembered: dict[tuple[int, ...], Decision] = {}
        self._untouched = self._compose(())

    def decide(self, facts: Facts) -> Decision:
        """The decision for one message of this kind."""
        index = self._indexes.get(facts.name) or self._indexes.get(facts.name.lower(), self._others)
        hits: list[int] = []
        for probe in index.probes:
            probe(facts, hits)
        if index.always:
            hits += index.always
        if len(hits) > 1:
            hits.sort()
        steps = self._steps
        acted: list[int] | None = None
        last = -1
        for position in hits:
            if position == last:
                continue
            last = position
            step = steps[position]
            test = step.test
            if test is not None and not test(facts):
                continue
            if step.ends:
                if acted is None:
                    if step.alone is None:
                        if step.varies:
                            return self._compose((position,), facts)
                        step.alone = self._compose((position,))
                    return step.alone
                acted.append(position)
                break
            if acted is None:
                acted = [position]
            else:
                acted.append(position)
        return self._untouched if acted is None else self._remember(tuple(acted), facts)

    def _remember(self, acted: tuple[int, ...], facts: Facts) -> Decision:
        decision = self._remembered.get(acted)
        if decision is None:
            steps = self._steps
            if any(steps[position].varies for position in acted):
                return self._compose(acted, facts)
            if len(self._remembered) >= _REMEMBERED:
                self._remembered.clear()
            decision = self._remembered[acted] = self._compose(acted)
        return decision

    def _compose(self, acted: tuple[int, ...], facts: Facts | None = None) -> Decision:
        """The decision when the rules at these positions acted, in this order; ``facts`` for those that vary."""
        outcome = Outcome(self._kind, facts)
        rules: list[str] = []
        shadow: list[str] = []
        for position in acted:
            step = self._steps[position]
            if step.rule.mode is Mode.SHADOW:
                shadow.append(step.rule.label)
                continue
            rules.append(step.rule.label)
            outcome.rule = step.rule.name
            for action in step.actions:
                action.act(outcome)
        return self._finish(outcome, tuple(rules), tuple(shadow))

    def _finish(self, outcome: Outcome, rules: tuple[str, ...], shadow: tuple[str, ...]) -> Decision:
        ended = outcome.verdict is not None
        verdict = outcome.verdict or self._default
        leaves = verdict is Verdict.ALLOW  # what goes nowhere is neither changed nor rerouted
        return Decision(
            verdict=verdict,
            reason="rule" if ended else "default",
            revision=self._revision,
            rule=outcome.rule if ended else "",
            rules=rules,
            shadow=shadow,
            changes=tuple(outcome.changes) if leaves else (),
            target=outcome.target if leaves else None,
            refusal=(outcome.refusal or _REFUSED) if verdict is Verdict.DENY else None,
            reply=(outcome.reply or Reply()) if verdict is Verdict.ANSWER else None,
            tags=tuple(outcome.tags),
        )


class RuleSet:
    """All rules in force. Immutable in what it decides, and swapped whole."""

    __slots__ = ("_commands", "_notifications", "_verbs", "revision", "rules", "tables", "warnings")

    def __init__(
        self,
        rules: Sequence[Rule],
        names: dict[Kind, tuple[str, ...]],
        defaults: dict[Kind, Verdict],
        revision: str,
        warnings: Sequence[Problem] = (),
        tables: Mapping[str, Table] = MappingProxyType({}),
    ) -> None:
        self.revision = revision
        self.rules = tuple(rules)
        self.warnings = tuple(warnings)
        self.tables = MappingProxyType(dict(tables))
        self._commands, self._notifications, self._verbs = (
            KindRules(kind, rules, names[kind], defaults[kind], revision) for kind in Kind
        )

    def decide(self, facts: Facts) -> Decision:
        """The decision for one message. The same facts always get the same."""
        kind = facts.kind  # compared by identity: hashing an Enum costs as much as a table
        if kind is _COMMAND:
            return self._commands.decide(facts)
        return self._notifications.decide(facts) if kind is _NOTIFICATION else self._verbs.decide(facts)
