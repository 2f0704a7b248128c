"""Rules that a message just misses."""

from hypothesis import given
from hypothesis import strategies as st

from interceptor.policy import near
from interceptor.policy.near import NearMisses
from interceptor.values import Kind

RULES = """
rules:
  - {name: premium-by-crm, on: Call, when: {number: {class: premium}, app: crm}, deny: true}
  - {name: premium-by-marketing, on: [Call, SendSms], when: {number: {class: premium}, app: marketing}, deny: true}
  - {name: three, on: command, when: {app: crm, number: {prefix: "+49"}, source: 10.0.0.0/8}, deny: true}
  - {name: alone, on: Call, when: {app: switchboard}, deny: true}
  - {name: always, on: Call, tag: seen}
  - {name: switched-off, on: Call, mode: off, when: {number: {class: premium}, app: marketing}, deny: true}
  - {name: of-verbs, on: "verb:Call", when: {number: {class: premium}, app: marketing}, deny: true}
  - {name: either, on: Call, when: {any: [{app: marketing}, {app: switchboard}]}, deny: true}
"""


def test_a_rule_is_near_when_all_conditions_but_one_hold(compiled, facts):
    misses = NearMisses(compiled(RULES))
    assert misses.find(facts(number="+36901234567", app="crm")) == ("premium-by-marketing", "three")
    assert misses.find(facts(number="+36201234567", app="crm", source="192.0.2.1")) == ("premium-by-crm",)
    assert misses.find(facts(number="+491234", app="crm")) == ("premium-by-crm",)
    assert misses.find(facts(name="SendSms", number="+36901234567", app="switchboard")) == ("premium-by-marketing",)
    assert misses.find(facts(kind=Kind.VERB, number="+36901234567", app="crm")) == ("premium-by-marketing", "of-verbs")
    assert misses.find(facts(kind=Kind.NOTIFICATION, name="CallChanged")) == ()


def test_a_policy_without_such_rules_has_no_near_misses(compiled, facts):
    assert NearMisses(compiled("rules:\n  - {name: a, on: Call, deny: true}\n")).find(facts()) == ()


@given(most=st.integers(1, 12))
def test_all_rules_have_their_turn_however_few_are_looked_at_each_time(compiled, facts, most):
    before, near.MOST = near.MOST, most
    try:
        misses = NearMisses(compiled(RULES))
        message = facts(number="+36901234567", app="crm")
        seen = {name for _ in range(12) for name in misses.find(message)}
    finally:
        near.MOST = before
    assert seen == {"premium-by-marketing", "three"}
