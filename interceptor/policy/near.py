"""Near misses: rules all of whose conditions hold for a message, but one.

A rule that is never hit and often nearly is usually wrong in one condition: a prefix, an hour, an app. A rule with one
condition alone is never near: it would be near to everything.
"""

from collections.abc import Sequence
from typing import Final

from interceptor.policy.condition import AllOf, Condition
from interceptor.policy.names import ANY
from interceptor.policy.readings import Readings
from interceptor.policy.rules import Mode, Rule
from interceptor.policy.ruleset import RuleSet
from interceptor.values import Facts

MOST: Final = 500  # rules that one message is held against: about a millisecond


class NearMisses:
    """Holds messages against the rules of a set, so many at a time, in turn: all have theirs, none costs much."""

    def __init__(self, ruleset: RuleSet) -> None:
        self._rules: Sequence[tuple[Rule, tuple[Condition, ...]]] = [
            (rule, rule.when.parts)
            for rule in ruleset.rules
            if rule.mode is not Mode.OFF and isinstance(rule.when, AllOf) and len(rule.when.parts) > 1
        ]
        self._next = 0
        self._readings = Readings()

    def find(self, facts: Facts) -> tuple[str, ...]:
        """The names of the rules that just miss this message, of those whose turn it is."""
        count = len(self._rules)
        found: list[str] = []
        held: dict[int, bool] = {}  # equal conditions of many rules are one object
        for _ in range(min(MOST, count)):
            rule, parts = self._rules[self._next]
            self._next = (self._next + 1) % count
            if _is_for(rule, facts) and self._misses(parts, facts, held) == 1:
                found.append(rule.name)
        return tuple(found)

    def _misses(self, parts: Sequence[Condition], facts: Facts, held: dict[int, bool]) -> int:
        """How many of the conditions do not hold; two are told for more."""
        missed = 0
        for part in parts:
            holds = held.get(id(part))
            if holds is None:
                holds = held[id(part)] = part.test(self._readings)(facts)
            if not holds:
                missed += 1
                if missed == 2:
                    break
        return missed


def _is_for(rule: Rule, facts: Facts) -> bool:
    names = rule.names.get(facts.kind)
    return names is not None and (ANY in names or facts.name in names or facts.name.lower() in names)
