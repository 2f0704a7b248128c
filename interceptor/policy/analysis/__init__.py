"""What a policy does to every message there can be, decided and not tried: see ``docs/analysis.md``.

:func:`prove_policy` decides the invariants and is asked before a policy comes into force. :func:`examine_order` tells
what the order of the rules makes of them; :func:`analyse` does both. :func:`difference` compares two policies.
"""

from collections.abc import Iterator
from typing import Final

from interceptor.policy.analysis.diagrams import NONE, TooLarge
from interceptor.policy.analysis.difference import Change, Difference, difference
from interceptor.policy.analysis.findings import Finding
from interceptor.policy.analysis.ground import grounded
from interceptor.policy.analysis.order import Order
from interceptor.policy.analysis.proofs import covered, emergency_invariant, prove
from interceptor.policy.analysis.space import Space
from interceptor.policy.analysis.walk import Walk
from interceptor.policy.context import Context
from interceptor.policy.invariants import Invariant
from interceptor.policy.rules import Mode
from interceptor.policy.ruleset import RuleSet
from interceptor.values import Kind, Severity

__all__ = ["Change", "Difference", "Finding", "analyse", "difference", "examine_order", "prove_policy"]

STEPS: Final = 1_000_000
MOST_RULES: Final = 20_000


def prove_policy(rules: RuleSet, context: Context, *, emergency: bool = True) -> tuple[Finding, ...]:
    """What is wrong with the invariants of a policy, the built-in one among them where ``emergency``."""
    context = grounded(context, rules)
    return tuple(prove(rules.rules, _invariants(rules, context, emergency=emergency), context))


def analyse(rules: RuleSet, context: Context, *, emergency: bool = True, steps: int = STEPS) -> tuple[Finding, ...]:
    """Everything there is to say about a policy; at most ``steps`` are spent on the order of its rules."""
    order = examine_order(rules, context, emergency=emergency, steps=steps)
    return (*prove_policy(rules, context, emergency=emergency), *order)


def examine_order(
    rules: RuleSet, context: Context, *, emergency: bool = True, steps: int = STEPS
) -> tuple[Finding, ...]:
    """The rules that never act, those that change nothing, and those that contradict each other."""
    return tuple(_of_order(rules, grounded(context, rules), emergency, steps))


def _invariants(rules: RuleSet, context: Context, *, emergency: bool) -> tuple[Invariant, ...]:
    built_in = emergency_invariant(context) if emergency else None
    return rules.invariants if built_in is None else (built_in, *rules.invariants)


def _of_order(rules: RuleSet, context: Context, emergency: bool, steps: int) -> Iterator[Finding]:
    read = [rule for rule in rules.rules if rule.mode is not Mode.OFF]
    if not read:
        return
    if len(read) > MOST_RULES:
        message = f"not analysed: these are {len(read)} rules, the order of more than {MOST_RULES} is not looked at"
        yield Finding(Severity.NOTE, read[0].place, "not_analysed", message)
        return
    invariants = [each for each in _invariants(rules, context, emergency=emergency) if each.always is not None]
    conditions = [*(rule.when for rule in read), *(invariant.when for invariant in invariants)]
    names = [*(rule.names for rule in read), *(invariant.names for invariant in invariants)]
    try:
        space = Space(conditions, names, context, steps)
        settled = NONE
        for invariant in invariants:
            settled = space.diagrams.either(settled, covered(invariant, space))
        walks = [Walk(space, kind, read, context) for kind in Kind]
    except (TooLarge, RecursionError):
        message = "not analysed: the conditions of the rules together are too large to decide what their order does"
        yield Finding(Severity.NOTE, read[0].place, "not_analysed", message)
        return
    yield from Order(space, walks, read, settled).findings()
