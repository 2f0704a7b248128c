"""The action `limit`: what passes, what happens to the rest, and what a decision says of it."""

import pytest

from interceptor.policy.meters import Meters
from interceptor.values import Kind, Refusal, Reply, ToCluster, Verb, Verdict

TOO_MANY = Refusal(306, "Too many requests")


@pytest.fixture
def decide(facts):
    """Decide messages with meters that last through the test."""
    meters = Meters()

    def ask(policy, **given):
        return policy.decide(facts(**({"at": 1_800_000_000.0} | given)), meters)

    ask.meters = meters
    return ask


def test_what_is_within_the_limit_goes_on_and_the_rest_is_denied(compiled, decide):
    policy = compiled(
        "rules:\n  - {name: few, on: Call, limit: {key: app, rate: 2/s}}\n  - {name: all, on: Call, allow: true}\n"
    )
    first, _, third = (decide(policy) for _ in range(3))
    assert (first.verdict, first.reason, first.rule, first.rules) == (
        Verdict.ALLOW, "rule", "all", ("0.yaml:2 few", "0.yaml:3 all"),
    )  # fmt: skip
    assert (third.verdict, third.reason, third.rule, third.rules) == (
        Verdict.DENY, "limit", "few", ("0.yaml:2 few",),
    )  # fmt: skip
    assert (first.limited, third.limited) == ((), ("0.yaml:2 few",))
    assert (first.refusal, third.refusal) == (None, TOO_MANY)
    assert decide(policy, app="marketing").verdict is Verdict.ALLOW
    assert decide(policy, at=1_800_000_000.5).verdict is Verdict.ALLOW


def test_without_meters_everything_is_within_its_limits(rule, facts):
    policy = rule("on: Call\n    limit: {rate: 1/d}\n    allow: true")
    assert [policy.decide(facts()).verdict for _ in range(5)] == [Verdict.ALLOW] * 5


def test_a_limit_with_other_actions_does_them_within_it_only(rule, decide):
    policy = rule("on: Call\n    limit: {rate: 1/s, otherwise: {tag: over}}\n    tag: within\n    allow: true")
    within, over = decide(policy), decide(policy)
    assert (within.verdict, within.reason, within.tags) == (Verdict.ALLOW, "rule", ("within",))
    assert (over.verdict, over.reason, over.tags, over.limited) == (
        Verdict.DENY, "default", ("over",), ("0.yaml:2 it",),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("written", "kind", "expected"),
    [
        ("{deny: {code: 307, message: 'Slow down {{app}}'}}", Kind.COMMAND,
         {"verdict": Verdict.DENY, "refusal": Refusal(307, "Slow down crm"), "reason": "limit"}),
        ("{deny: true}", Kind.COMMAND, {"refusal": Refusal(306, "Not allowed by rule 'it'")}),
        ("{answer: {code: 601}}", Kind.COMMAND, {"verdict": Verdict.ANSWER, "reply": Reply((), 601)}),
        ("{answer: [Hangup]}", Kind.NOTIFICATION, {"verdict": Verdict.ANSWER, "reply": Reply((Verb("Hangup"),))}),
        ("{allow: true, reroute: pbx-marketing}", Kind.COMMAND,
         {"verdict": Verdict.ALLOW, "target": ToCluster("pbx-marketing"), "reason": "limit"}),
        ("{reroute: pbx-marketing, tag: [a, b]}", Kind.NOTIFICATION,
         {"verdict": Verdict.ALLOW, "target": None, "reason": "default", "tags": ("a", "b")}),
    ],
)  # fmt: skip
def test_otherwise(rule, decide, written, kind, expected):
    policy = rule(f"on: {kind.value}\n    limit: {{rate: 1/s, otherwise: {written}}}\n    tag: within")
    name = "Call" if kind is Kind.COMMAND else "IncomingCall"
    within, over = decide(policy, kind=kind, name=name), decide(policy, kind=kind, name=name)
    assert (within.reason, within.tags) == ("default", ("within",))
    assert {field: getattr(over, field) for field in expected} == expected


def test_slots_of_concurrency_stand_in_the_decision(compiled, decide):
    policy = compiled(
        "rules:\n"
        "  - {name: few, on: Call, limit: {concurrency: 2}}\n"
        "  - {name: fewer, on: Call, limit: {key: app, concurrency: 1}}\n"
        "  - {name: all, on: Call, allow: true}\n"
    )
    first, second = decide(policy), decide(policy)
    assert (first.verdict, first.slots) == (Verdict.ALLOW, (1, 2))
    assert (second.verdict, second.rule, second.slots) == (Verdict.DENY, "fewer", (3,))
    assert decide(policy, app="marketing").rule == "few"
    for slot in (*first.slots, *second.slots):
        decide.meters.give_back(slot)
    assert decide(policy).verdict is Verdict.ALLOW


def test_a_limit_in_shadow_counts_and_stops_nobody(compiled, decide):
    policy = compiled(
        "rules:\n"
        "  - {name: trial, on: Call, mode: shadow, limit: {rate: 1/s, concurrency: 5}}\n"
        "  - {name: all, on: Call, allow: true}\n"
    )
    within, over = decide(policy), decide(policy)
    assert (within.verdict, within.shadow, within.limited, within.slots) == (
        Verdict.ALLOW, ("0.yaml:2 trial",), (), (1,),
    )  # fmt: skip
    assert (over.verdict, over.reason, over.rule) == (Verdict.ALLOW, "rule", "all")
    assert (over.shadow, over.limited, over.slots) == (("0.yaml:2 trial",), ("0.yaml:2 trial",), ())


@pytest.mark.parametrize(
    ("key", "alike", "other"),
    [
        ("rule", {"app": "marketing"}, None),
        ("[app, number]", {"source": "10.0.0.8"}, {"number": "1002"}),
        ("[number]", {"app": "marketing"}, {"number": None}),
        ("[class, country]", {"number": "+36301234567"}, {"number": "+36901234567"}),
        ("source", {"app": "marketing"}, {"source": "10.0.0.8"}),
        ("caller", {"app": "marketing"}, {"caller": "1002"}),
        ("name", {"app": "marketing"}, {"name": "Hangup"}),
        ("ApiExtension", {"values": {"apiextension": "7"}}, {"values": {"ApiExtension": "8"}}),
        ("other:x-tenant", {"values": {"ApiExtension": "8", "X-Tenant": ""}}, {"values": {"x-tenant": "8"}}),
        ("[app, rule]", {"source": "10.0.0.8"}, {"app": "marketing"}),
    ],
)  # fmt: skip
def test_keys(rule, decide, key, alike, other):
    policy = rule(f"on: command\n    limit: {{key: {key}, rate: 1/s}}\n    allow: true")
    asked = {"number": "+36201234567", "caller": "1001", "values": {"ApiExtension": "7"}}
    assert decide(policy, **asked).verdict is Verdict.ALLOW
    assert decide(policy, **(asked | alike)).verdict is Verdict.DENY
    if other is not None:
        assert decide(policy, **(asked | other)).verdict is Verdict.ALLOW


def test_meters_outlive_a_reload_that_leaves_the_rule_and_its_limit(compiled, decide):
    text = (
        "rules:\n  - {{name: {}, on: Call, limit: {{key: app, rate: {}}}}}\n  - {{name: all, on: Call, allow: true}}\n"
    )
    before, moved = text.format("few", "1/h"), "# moved\n" + text.format("few", "1/h")
    assert decide(compiled(before)).verdict is Verdict.ALLOW
    assert decide(compiled(moved)).verdict is Verdict.DENY
    assert decide(compiled(text.format("few", "2/h"))).verdict is Verdict.ALLOW
    assert decide(compiled(text.format("fewer", "1/h"))).verdict is Verdict.ALLOW


def test_a_command_and_a_verb_of_one_rule_are_counted_together(rule, decide):
    policy = rule("on: Call\n    limit: {rate: 1/s}\n    allow: true")
    assert decide(policy).verdict is Verdict.ALLOW
    assert decide(policy, kind=Kind.VERB).verdict is Verdict.DENY


def test_rules_above_a_limit_that_acted_stay_in_the_decision(compiled, decide):
    policy = compiled(
        "rules:\n"
        "  - {name: above, on: Call, tag: a}\n"
        "  - {name: few, on: Call, limit: {rate: 1/s}}\n"
        "  - {name: not-this, on: Call, when: {app: marketing}, deny: true}\n"
        "  - {name: below, on: Call, tag: b}\n"
        "  - {name: all, on: Call, when: {app: [crm, crm]}, allow: true}\n"
    )
    within, over = decide(policy), decide(policy)
    assert within.rules == ("0.yaml:2 above", "0.yaml:3 few", "0.yaml:5 below", "0.yaml:6 all")
    assert (over.rules, over.tags) == (("0.yaml:2 above", "0.yaml:3 few"), ("a",))
