"""Tags as conditions: a rule sees what the rules above it give to the message."""

import pytest

from interceptor.values import Kind, Verdict


def tags_of(policy, message):
    return policy.decide(message).tags


def test_a_rule_sees_the_tags_of_rules_above(compiled, facts):
    policy = compiled(
        """
rules:
  - {name: a, on: Call, when: {app: crm}, tag: mine}
  - {name: b, on: Call, when: {tag: mine}, tag: seen}
  - {name: c, on: Call, when: {tag: {not: mine}}, tag: other}
  - {name: d, on: Call, when: {tag: {all: [mine, seen]}, number: {exists: true}}, deny: true}
"""
    )
    assert tags_of(policy, facts()) == ("mine", "seen")
    assert tags_of(policy, facts(app="marketing")) == ("other",)
    assert policy.decide(facts(number="1001")).rule == "d"


def test_a_tag_of_another_message_counts_for_no_message(compiled, facts):
    policy = compiled(
        """
rules:
  - {name: a, on: [Hangup, "verb:Call"], tag: mine}
  - {name: b, on: "other:foo", tag: mine}
  - {name: c, on: "*", when: {tag: mine}, tag: seen}
"""
    )
    for kind, name, expected in (
        (Kind.COMMAND, "Call", ()),
        (Kind.COMMAND, "Hangup", ("mine", "seen")),
        (Kind.VERB, "Call", ("mine", "seen")),
        (Kind.COMMAND, "FOO", ("mine", "seen")),
        (Kind.NOTIFICATION, "CallChanged", ()),
    ):
        assert tags_of(policy, facts(kind=kind, name=name)) == expected


ASKERS = (("crm", None), ("marketing", "1001"), ("marketing", None))


def test_tags_reach_over_files_and_several_rules_may_give_one(compiled, facts):
    policy = compiled(
        "rules: [{name: a, on: Call, when: {app: crm}, tag: x}, {name: b, on: Call, when: {caller: '1001'}, tag: x}]",
        "rules: [{name: c, on: command, when: {tag: x}, allow: true}]",
    )
    assert [policy.decide(facts(app=app, caller=caller)).verdict for app, caller in ASKERS] == [
        Verdict.ALLOW,
        Verdict.ALLOW,
        Verdict.DENY,
    ]


def test_shadowed_rules_see_shadowed_tags_and_enforced_ones_do_not(compiled, facts):
    policy = compiled(
        """
rules:
  - {name: a, on: Call, mode: shadow, tag: trial}
  - {name: b, on: Call, mode: shadow, when: {tag: trial}, deny: true}
  - {name: c, on: Call, when: {tag: trial}, deny: true}
  - {name: d, on: Call, mode: "off", tag: never}
  - {name: e, on: Call, when: {tag: never}, deny: true}
  - {name: f, on: Call, allow: true}
"""
    )
    decision = policy.decide(facts())
    assert (decision.rule, decision.shadow) == ("f", ("0.yaml:3 a", "0.yaml:4 b"))


def chain(length):
    lines = ["  - {name: 0, on: Call, when: {app: crm}, tag: t0}"]
    lines += [f"  - {{name: {at}, on: Call, when: {{tag: t{at - 1}}}, tag: t{at}}}" for at in range(1, length)]
    return "rules:\n" + "\n".join(lines)


def test_tags_may_depend_on_tags_but_not_without_end(compiled, facts, problems):
    assert len(tags_of(compiled(chain(16)), facts())) == 16
    assert tags_of(compiled(chain(16)), facts(app="marketing")) == ()
    told = problems(chain(40))
    assert told[0].endswith("the tag `t16` depends on more than 15 other tags, one after the other")


def test_a_thousand_rules_that_give_and_ask_for_one_tag_cost_no_more_than_a_thousand(compiled, facts):
    lines = ["  - {name: first, on: Call, when: {app: crm}, tag: t}"]
    lines += [f"  - {{name: r{at}, on: Call, when: {{tag: t, number: '{at}'}}, tag: t}}" for at in range(1000)]
    lines += [f"  - {{name: n{at}, on: Call, when: {{tag: {{not: t}}}}, tag: u{at % 3}}}" for at in range(1000)]
    policy = compiled("rules:\n" + "\n".join(lines))
    assert tags_of(policy, facts()) == ("t",)
    assert tags_of(policy, facts(app="marketing")) == ("u0", "u1", "u2")


@pytest.mark.parametrize(
    ("given", "sees"),
    [
        ({"app": "marketing"}, "no tag mine"),
        ({"app": "crm"}, "tag mine by `who asks`"),
        ({"name": "Hangup"}, "no tag mine"),
    ],
)
def test_an_explanation_names_the_rule_that_gives_the_tag(compiled, facts, given, sees):
    from interceptor.policy.readings import Readings

    policy = compiled(
        """
rules:
  - {name: who asks, on: Call, when: {app: crm}, tag: mine}
  - {name: b, on: command, when: {tag: mine}, deny: true}
"""
    )
    condition = policy.rules[1].when
    assert (condition.expects(), condition.sees(facts(**given), Readings())) == ("tag mine", sees)
