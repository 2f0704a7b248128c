"""Traces: what they say of each rule is true, and their outcome is the decision's."""

import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from interceptor.policy import Mode, Source, compile_policy
from interceptor.policy.condition import AllOf, AnyOf, Not
from interceptor.policy.readings import Readings
from interceptor.policy.tracing import HiddenError, Standing, Tracer, atoms, hidden_texts, trace
from interceptor.values import Decision, Facts, Kind, Number, NumberClass, Verdict

NUMBERS = ("1001", "+36201234567", "+36901234567", "+4915112345678", "112", "")
TEXTS = ("", "a", "ab", "b")

leaves = st.fixed_dictionaries(
    {},
    optional={
        "app": st.sampled_from(("crm", ["crm", "marketing"], {"exists": "false"}, {"not": "crm"})),
        "source": st.sampled_from(("10.0.0.7", "10.0.0.0/8", ["192.0.2.1", "2001:db8::/32"])),
        "number": st.sampled_from(
            ("1001", {"class": ["premium", "mobile"]}, {"prefix": "+36", "not": {"class": "premium"}}, ["112", "1001"])
        ),
        "caller": st.sampled_from(({"exists": "true"}, {"country": "HU"}, "1001")),
        "time": st.sampled_from(({"days": "mon-fri"}, {"hours": "22:00-06:00"}, {"not": {"days": "sun"}})),
        "header": st.just({"X-Tenant": ["a", "b"]}),
        "Foo": st.sampled_from(
            ("a", {"prefix": "a"}, {"not": {"contains": "b"}}, {"exists": "false"}, {"regex": "^a"})
        ),
    },
).filter(bool)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"any": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"not": inner}),
        st.tuples(inner, st.fixed_dictionaries({"all": st.lists(inner, min_size=1, max_size=2)})).map(
            lambda both: both[0] | both[1]
        ),
    ),
    max_leaves=4,
)
rules = st.lists(
    st.builds(
        lambda on, when, action, mode: {"on": on, "mode": mode} | ({"when": when} if when else {}) | action,
        st.sampled_from(("Call", "command", "*", ["Hangup", "verb:Route"], "other:Foo")),
        st.one_of(st.none(), conditions),
        st.sampled_from(({"allow": "true"}, {"deny": "true"}, {"tag": "seen"}, {"rewrite": {"set": {"Foo": "z"}}})),
        st.sampled_from(("enforce", "enforce", "enforce", "shadow", "off")),
    ),
    max_size=8,
)


@pytest.fixture(scope="module")
def messages(context):
    numbers = st.sampled_from(NUMBERS).map(lambda text: context.number(text) if text else None)
    return st.builds(
        Facts,
        kind=st.sampled_from(Kind),
        name=st.sampled_from(("Call", "call", "Hangup", "Route", "FOO", "Unheard")),
        app=st.sampled_from(("", "crm", "marketing")),
        source=st.sampled_from(("10.0.0.7", "192.0.2.1", "2001:db8::1", "rubbish")),
        number=numbers,
        caller=numbers,
        values=st.dictionaries(st.just("foo"), st.sampled_from(TEXTS)),
        headers=st.dictionaries(st.just("x-tenant"), st.sampled_from(TEXTS)),
        at=st.integers(0, 14 * 24).map(lambda hours: 1_700_000_000.0 + hours * 3600),
    )


def compiled_from(written, context):
    named = [{"name": f"rule {index}", **rule} for index, rule in enumerate(written)]
    return compile_policy([Source("p.yaml", json.dumps({"rules": named}).encode() if named else b"")], context)


def parts_of(condition):
    yield condition
    for part in condition.parts if isinstance(condition, AllOf | AnyOf) else ():
        yield from parts_of(part)
    if isinstance(condition, Not):
        yield from parts_of(condition.part)


@given(data=st.data(), written=rules)
def test_a_trace_agrees_with_the_decision_and_with_every_condition(data, written, context, messages):
    policy = compiled_from(written, context)
    facts = data.draw(messages)
    decision, found, readings = policy.decide(facts), trace(policy, facts), Readings()
    assert (found.verdict, found.reason, found.rule) == (decision.verdict, decision.reason, decision.rule)
    assert len(policy.rules) == len(found.steps)
    stood = {standing: [step.label for step in found.steps if step.standing is standing] for standing in Standing}
    assert list(decision.rules) == stood[Standing.ACTED]
    assert list(decision.shadow) == stood[Standing.SHADOW]
    assert stood[Standing.UNKNOWN] == []
    for rule, step in zip(policy.rules, found.steps, strict=True):
        assert (rule.mode is Mode.OFF) == (step.standing is Standing.OFF)
        if step.standing is Standing.FAILED:
            assert not rule.when.test(readings)(facts)
            false = [part for part in parts_of(rule.when) if not part.test(readings)(facts)]
            assert step.because.expected in [part.expects() for part in false]
        elif step.standing in {Standing.ACTED, Standing.SHADOW}:
            assert rule.when is None or rule.when.test(readings)(facts)
            assert step.because is None
    order = [step.standing for step in found.steps if step.standing not in {Standing.OFF, Standing.OTHER_MESSAGE}]
    reached = [standing is not Standing.NOT_REACHED for standing in order]
    assert reached == sorted(reached, reverse=True)
    assert json.loads(msgspec.json.encode(found))["verdict"] == decision.verdict.value


@given(data=st.data(), written=rules)
def test_what_is_hidden_is_never_told_and_never_decides(data, written, context, messages):
    """With everything hidden, a rule is told as acting or failing only where that holds whatever is hidden."""
    policy = compiled_from(written, context)
    facts = data.draw(messages)

    class Hidden:
        def __getattr__(self, name):
            raise HiddenError

    class HiddenValues(dict):
        def get(self, name, default=None):
            raise HiddenError

    hidden = replace(facts, number=facts.number and Hidden(), values=HiddenValues(facts.values))
    told = list(Tracer(policy).steps(hidden))
    for step, truth in zip(told, trace(policy, facts).steps, strict=True):
        if step.standing is Standing.UNKNOWN:
            break  # below it, what was reached is not known either
        assert step.standing is truth.standing
    for step, truth in zip(Tracer(policy).steps(hidden, policy.decide(facts)), trace(policy, facts).steps, strict=True):
        assert step.standing is truth.standing


NIGHT = """
rules:
  - name: off
    mode: off
    on: Call
    deny: true
  - name: night
    on: Call
    when: {number: {class: premium}, any: [{app: marketing}, {Foo: a}]}
    deny: true
  - name: tagged
    on: [Call, Hangup]
    when: {number: {not: "+36201234567"}}
    tag: not-that-one
  - name: pass
    on: command:Call
    allow: true
  - name: late
    on: Call
    rewrite: {set: {Foo: b}}
"""


def test_a_trace_says_why_in_the_words_of_the_rules(compiled, facts):
    found = trace(compiled(NIGHT), facts(number="+36201234567", values={"Foo": "b"}))
    assert [(step.name, step.standing.value) for step in found.steps] == [
        ("off", "off"),
        ("night", "did_not_match"),
        ("tagged", "did_not_match"),
        ("pass", "acted"),
        ("late", "not_reached"),
    ]
    assert str(found.steps[1].because) == "expected number class premium, is +36201234567 (mobile)"
    assert found.steps[2].because.expected == "not number +36201234567"
    assert found.steps[3].actions == ("allow",)
    assert found.steps[4].actions == ("rewrite",)


def test_none_of_several_is_told_as_a_whole(compiled, facts):
    found = trace(compiled(NIGHT), facts(number="+36901234567", values={"Foo": "b"}))
    because = found.steps[1].because
    assert "marketing" in because.expected
    assert " or " in because.expected
    assert "app crm" in because.actual
    assert "`b`" in because.actual


def test_a_rule_for_other_messages_says_for_which(compiled, facts):
    found = trace(compiled(NIGHT), facts(name="Hangup"))
    assert found.steps[1].standing is Standing.OTHER_MESSAGE
    assert str(found.steps[1].because) == "expected command Call, verb Call, is command Hangup"
    assert found.steps[2].standing is Standing.ACTED


def test_a_decision_made_before_is_told_and_not_made_again(compiled, facts):
    policy, asked = compiled(NIGHT), facts(number="1001")
    refused = Decision(Verdict.DENY, "authentication_failed", policy.revision)
    found = trace(policy, asked, refused)
    assert (found.verdict, found.reason, found.steps) == (Verdict.DENY, "authentication_failed", ())


def test_hidden_values_do_not_stand_in_a_trace(compiled, facts):
    policy = compiled("rules: [{name: it, on: Call, when: {Message: other, number: '1'}, deny: true}]")
    asked = facts(number="+36201234567", values={"Message": "hunter2"}, headers={"x-key": "abc"})
    masked = Number("*******4567", "*******4567", "HU", NumberClass.MOBILE)
    shown = replace(asked, number=masked, values={"message": "***"}, headers={"x-key": "***"})
    found = trace(policy, asked, None, shown)
    assert "***" in found.steps[0].because.actual
    assert "hunter2" not in str(found)
    own = compiled("rules: [{name: it, on: Call, when: {Message: {not: hunter2}}, deny: true}]")
    assert "hunter2" not in str(trace(own, asked, None, shown))
    assert hidden_texts(asked, shown) == {
        "+36201234567": "*******4567",
        "36201234567": "*******4567",
        "hunter2": "***",
        "abc": "***",
    }


def test_outcomes_of_conditions_can_be_watched(compiled, facts):
    seen = []
    policy = compiled(NIGHT)
    tracer = Tracer(policy, lambda rule, at, held: seen.append((rule.name, at, held)))
    tracer.trace(facts(number="+36901234567", values={"Foo": "a"}))
    assert seen == [("night", 0, True), ("night", 1, False), ("night", 2, True)]
    assert len(list(atoms(policy.rules[1].when))) == 3
    assert list(atoms(None)) == []
