"""What the cases have seen of the rules: each acting, and each condition both holding and failing.

A condition counts when it decides: conditions of a rule are asked in the order they are written in, as far as needed,
and only of messages that the rule is for and that come as far as the rule. A limit is one more condition: that a
message is within it.
"""

from collections.abc import Iterable, Iterator

from msgspec import Struct

from interceptor.policy import Mode, Rule
from interceptor.policy.actions.limit import Limit
from interceptor.policy.condition import Condition
from interceptor.policy.tracing import Standing, Trace, atoms


class CoveredCondition(Struct, frozen=True):
    """One condition without parts, and how often it held and failed."""

    expects: str
    held: int
    failed: int


class CoveredRule(Struct, frozen=True):
    """One rule: how often it acted (in shadow: would have), and its conditions."""

    name: str
    place: str
    acted: int
    conditions: tuple[CoveredCondition, ...]

    @property
    def missing(self) -> tuple[str, ...]:
        """What no case has shown, one sentence each."""
        found = [] if self.acted else ["never acted"]
        for condition in self.conditions:
            if not condition.held and not condition.failed:
                found.append(f"never asked: {condition.expects}")
            elif not condition.held or not condition.failed:
                found.append(f"never {'failed' if condition.held else 'held'}: {condition.expects}")
        return tuple(found)

    @property
    def outcomes(self) -> tuple[int, int]:
        """How many outcomes were seen, and how many there are."""
        seen = bool(self.acted) + sum(bool(each.held) + bool(each.failed) for each in self.conditions)
        return seen, 1 + 2 * len(self.conditions)


class Coverage(Struct, frozen=True):
    """All rules that are not off."""

    rules: tuple[CoveredRule, ...]

    @property
    def percent(self) -> float:
        """Of all outcomes of rules and conditions, how many were seen; 100 where there are none."""
        counts = [rule.outcomes for rule in self.rules]
        every = sum(count for _, count in counts)
        return 100.0 * sum(seen for seen, _ in counts) / every if every else 100.0


class Counter:
    """Counts while cases run."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self._rules = [rule for rule in rules if rule.mode is not Mode.OFF]
        self._atoms: dict[str, tuple[Condition, ...]] = {rule.name: tuple(atoms(rule.when)) for rule in self._rules}
        self._held: dict[str, list[int]] = {name: [0] * len(found) for name, found in self._atoms.items()}
        self._failed: dict[str, list[int]] = {name: [0] * len(found) for name, found in self._atoms.items()}
        self._acted = dict.fromkeys(self._atoms, 0)
        self._limits = {
            rule.name: [0, 0] for rule in self._rules if any(isinstance(each, Limit) for each in rule.actions)
        }

    def watch(self, rule: Rule, at: int, held: bool) -> None:
        """One condition of a rule was asked."""
        (self._held if held else self._failed)[rule.name][at] += 1

    def count(self, trace: Trace) -> None:
        """One message was decided."""
        for step in trace.steps:
            if step.standing in {Standing.ACTED, Standing.SHADOW}:
                self._acted[step.name] += 1
                if step.name in self._limits:
                    self._limits[step.name][step.limited] += 1

    def coverage(self) -> Coverage:
        """What was seen so far."""
        return Coverage(
            tuple(
                CoveredRule(
                    rule.name,
                    f"{rule.place.file}:{rule.place.line}",
                    self._acted[rule.name],
                    tuple(self._conditions(rule.name)),
                )
                for rule in self._rules
            )
        )

    def _conditions(self, rule: str) -> Iterator[CoveredCondition]:
        counts = zip(self._atoms[rule], self._held[rule], self._failed[rule], strict=True)
        for condition, held, failed in counts:
            yield CoveredCondition(condition.expects(), held, failed)
        if rule in self._limits:
            yield CoveredCondition("the limit", *self._limits[rule])
