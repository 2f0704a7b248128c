"""What is told: in the words of the person who wrote the rules, with a message that shows it."""

import msgspec
import pytest

from interceptor.policy import Source, compile_policy
from interceptor.policy.analysis import analyse, difference, examine_order, prove_policy
from interceptor.policy.analysis.findings import Finding
from interceptor.values import Kind, Mode, Severity, Verdict
from tests.policy.conftest import CONTEXT, TABLES

WORLD = msgspec.structs.replace(
    CONTEXT,
    country="HU",
    extensions=("1xxx", "2xxx"),
    emergency=("105", "112"),
    dial={
        Kind.COMMAND: {"Call": ("dialed",), "BlindTransfer": ("target",), "SendSms": ("recipient",)},
        Kind.VERB: {"Call": ("dialed",), "BlindTransfer": ("target",), "Route": ("destination",)},
    },
)
DIALLING = "[Call, BlindTransfer, SendSms, Route]"
EMERGENCY = f"  - {{name: emergency, on: {DIALLING}, when: {{number: {{class: emergency}}}}, allow: true}}\n"


def policy(text, context=WORLD):
    return compile_policy([Source("p.yaml", text.encode()), *TABLES], context)


def told(findings, *codes):
    return [str(each.problem) for each in findings if not codes or each.code in codes]


def order(text, *codes, context=WORLD):
    return told(examine_order(policy(text, context), context), *codes)


def proofs(text, context=WORLD, **given):
    return told(prove_policy(policy(text, context), context, **given))


# the built-in invariant


def test_a_policy_that_lets_emergency_calls_through_is_fine():
    assert proofs(f"rules:\n{EMERGENCY}") == []


def test_a_policy_without_rules_denies_emergency_calls_by_default():
    assert proofs("") == [
        (
            ":1:1: the built-in invariant `emergency numbers are always reached` is violated: "
            "command BlindTransfer by crm to 105 is denied by default"
        )
    ]


def test_where_the_default_allows_no_rule_is_needed():
    context = msgspec.structs.replace(WORLD, defaults=dict.fromkeys(Kind, Verdict.ALLOW))
    assert proofs("", context) == []


@pytest.mark.parametrize(
    ("above", "happens"),
    [
        ("when: {app: marketing}, deny: true", "command Call by marketing to 105 is denied by rule `it` (p.yaml:2:5)"),
        ("answer: {code: 200}", "command Call by crm to 105 is answered by rule `it` (p.yaml:2:5)"),
        ("when: {time: {hours: '22:00-23:00'}}, deny: true", "Tue 2024-01-02 22:00 is denied by rule `it`"),
        ("when: {number: {prefix: '11'}}, deny: true", "command Call by crm to 112 is denied by rule `it`"),
        ("when: {Message: {regex: '^x+$'}}, deny: true", "to 105 with Message `x` is denied by rule `it`"),
        ("when: {source: 10.0.0.0/8}, deny: true", "to 105 from 10.0.0.0 is denied by rule `it`"),
        ("when: {caller: {class: premium}}, deny: true", "to 105 with caller +36"),
        ("when: {sample: 1%}, deny: true", "command Call by crm to 105 is denied by rule `it`"),
        ("reroute: pbx-marketing", "command Call by crm to 105 is rerouted by rule `it` (p.yaml:2:5)"),
        ("limit: {rate: 5/s}", "command Call by crm to 105 is denied by rule `it`"),
        ("limit: {rate: 5/s, otherwise: {tag: many}}", "command Call by crm to 105 is limited by rule `it`"),
        ("rewrite: {set: {Dialed: '1001'}}", "command Call by crm to 105 is rerouted by rule `it`"),
    ],
)
def test_whatever_stands_above_and_could_keep_a_call_from_help_is_found(above, happens):
    (finding,) = proofs(f"rules:\n  - {{name: it, on: command:Call, {above}}}\n{EMERGENCY}")
    assert happens in finding


@pytest.mark.parametrize(
    "above",
    [
        "when: {number: {class: premium}}, deny: true",
        "when: {number: {prefix: '+36'}}, deny: true",
        "when: {number: {length: 4..}}, deny: true",
        "when: {app: {exists: false}}, deny: true",
        "when: {number: {table: blocked}}, deny: true",
        "rewrite: {set: {CallerId: '1001'}}",
        "tag: seen",
        "mode: shadow, deny: true",
        "mode: off, deny: true",
    ],
)
def test_what_cannot_touch_an_emergency_call_may_stand_above(above):
    assert proofs(f"rules:\n  - {{name: it, on: command:Call, {above}}}\n{EMERGENCY}") == []


def test_an_emergency_call_is_rerouted_by_a_table_that_has_a_row_for_it():
    text = f"rules:\n  - {{name: it, on: command:Call, reroute: {{table: lcr, column: to}}}}\n{EMERGENCY}"

    def proved(rows):
        rules = compile_policy([Source("tables/lcr.csv", rows), Source("p.yaml", text.encode())], WORLD)
        return told(prove_policy(rules, WORLD))

    assert proved(b"prefix,to\n+36,pbx-marketing\n1,\n") == []
    (found,) = proved(b"prefix,to\n+36,pbx-marketing\n11,pbx-main\n")
    assert "command Call by crm to 112 is rerouted by rule `it` (p.yaml:2:5)" in found


def test_what_nobody_can_decide_keeps_a_policy_out():
    above = "  - {name: it, on: command:Call, when: {Message: {regex: 'a', not: {contains: a}}}, deny: true}\n"
    (finding,) = prove_policy(policy(f"rules:\n{above}{EMERGENCY}"), WORLD)
    assert (finding.severity, finding.code) == (Severity.ERROR, "invariant_undecided")
    assert "cannot be decided: no message was found that is denied, but none was ruled out" in finding.message


def test_where_nothing_is_known_of_emergency_numbers_there_is_nothing_built_in():
    assert proofs("", CONTEXT) == []
    assert proofs("", emergency=False) == []


def test_declared_emergency_numbers_are_guarded_too():
    declared = "classes: {emergency: '1003'}\n"
    assert proofs(f"{declared}rules:\n{EMERGENCY}") == []
    by_number = EMERGENCY.replace("{class: emergency}", "['112', '105']")
    (finding,) = proofs(f"{declared}rules:\n{by_number}")
    assert "command BlindTransfer by crm to 1003 is denied by default" in finding


def test_a_trial_of_everything_denies_nothing():
    context = msgspec.structs.replace(WORLD, mode=Mode.SHADOW)
    assert proofs("", context) == []


# declared invariants


def invariant(says, rules=""):
    text = f"invariants:\n  - {{name: it, {says}}}\nrules:\n{rules}{EMERGENCY}"
    return [each.problem.message for each in prove_policy(policy(text), WORLD)]


@pytest.mark.parametrize(
    ("says", "rules"),
    [
        ("for: {on: Call, number: {class: premium}}, always: deny", ""),
        ("for: {on: command:Call, number: '1001'}, always: allow", "{on: Call, when: {number: '1001'}, allow: true}"),
        ("for: {on: Call}, never: answer", ""),
        ("for: {on: notification}, always: allow, never: [reroute, rewrite, mirror]", ""),
        (
            "for: {on: Hangup, app: crm}, never: reroute",
            "{on: 'command:Hangup', when: {app: marketing}, reroute: pbx-marketing}",
        ),
        ("for: {on: Call}, never: limit", "{on: Call, mode: shadow, limit: {rate: 5/s}}"),
    ],
)
def test_an_invariant_that_holds_says_nothing(says, rules):
    assert invariant(says, f"  - {{name: one, {rules[1:-1]}}}\n" if rules else "") == []


@pytest.mark.parametrize(
    ("says", "rules", "message"),
    [
        (
            "for: {on: command:Call, number: {class: mobile}}, always: deny",
            "on: Call, when: {app: crm, time: {days: sat}}, allow: true",
            (
                "invariant `it` is violated: command Call by crm to +36201234567, Sat 2024-01-06 00:00 is allowed "
                "by rule `one` (p.yaml:4:5)"
            ),
        ),
        (
            "for: {on: RoutingInterception}, never: answer",
            "on: RoutingInterception, when: {caller: {table: blocked}}, answer: []",
            (
                "invariant `it` is violated: notification RoutingInterception for crm with caller +4915112345678 "
                "is answered by rule `one` (p.yaml:4:5)"
            ),
        ),
        (
            "for: {on: command:Call, number: '1001'}, never: rewrite",
            "on: Call, rewrite: {set: {CallerId: '1002'}}, allow: true",
            "invariant `it` is violated: command Call by crm to 1001 is rewritten by rule `one` (p.yaml:4:5)",
        ),
        (
            "for: {on: command:Call, number: '1001'}, never: mirror",
            "on: 'command:Call', when: {app: crm}, mirror: 'http://10.0.0.9:1/', allow: true",
            "invariant `it` is violated: command Call by crm to 1001 is mirrored by rule `one` (p.yaml:4:5)",
        ),
    ],
)
def test_a_broken_invariant_is_told_with_a_message_that_shows_it(says, rules, message):
    assert message in " ".join(invariant(says, f"  - {{name: one, {rules}}}\n"))


def test_an_invariant_that_cannot_be_decided_is_a_warning():
    rules = "  - {name: one, on: Call, when: {Message: {regex: 'a', not: {contains: a}}}, allow: true}\n"
    text = f"invariants:\n  - {{name: it, for: {{on: Call, number: '+3611111111'}}, always: deny}}\nrules:\n{rules}"
    (finding,) = prove_policy(policy(text), WORLD, emergency=False)
    assert (finding.severity, finding.place.line) == (Severity.WARNING, 2)


# the order of rules


def test_a_rule_that_others_hide_is_told_with_those_that_do():
    text = """rules:
  - {name: home, on: command:Call, when: {number: {country: HU}}, allow: true}
  - {name: far, on: command:Call, when: {number: {not: {country: HU}}}, deny: true}
  - {name: more, on: command:Call, when: {app: marketing}, deny: true}
  - {name: late, on: command:Call, when: {app: crm}, deny: true}
"""
    assert order(text, "hidden_rule") == [
        f"p.yaml:{line}:5: warning: rule `{name}` never acts: above it, `home` (p.yaml:2) and `far` (p.yaml:3) decide "
        "all that it is for"
        for line, name in ((4, "more"), (5, "late"))
    ]


def test_a_rule_that_no_message_fits():
    when = "{number: {prefix: '+49', not: {prefix: '+4'}}}"
    assert order(f"rules:\n  - {{name: it, on: Call, when: {when}, deny: true}}\n") == [
        "p.yaml:2:5: warning: rule `it` never acts: no message fits its conditions"
    ]


def test_a_rule_on_the_number_of_messages_that_dial_none():
    assert order("rules:\n  - {name: it, on: Hangup, when: {number: '1001'}, deny: {code: 304}}\n") == [
        "p.yaml:2:5: warning: rule `it` never acts: no message fits its conditions"
    ]


def test_a_rule_that_is_off_is_not_looked_at():
    assert order("rules:\n  - {name: it, on: Hangup, mode: off, when: {number: '1001'}, deny: true}\n") == []


def test_a_rule_in_shadow_can_be_hidden_but_not_redundant():
    above = "  - {name: one, on: command:Call, deny: {code: 304}}\n"
    shadow = "  - {name: two, on: command:Call, mode: shadow, deny: true}\n"
    assert [line.split(":")[4].strip() for line in order(f"rules:\n{above}{shadow}")] == ["rule `two` never acts"]
    assert order(f"rules:\n{shadow}{above}") == []


def test_a_rule_that_changes_nothing():
    text = """rules:
  - {name: one, on: command:Call, when: {app: crm}, deny: {code: 304}}
  - {name: all, on: command:Call, deny: {code: 304}}
  - {name: like-the-default, on: command:Hangup, deny: true}
  - {name: for-nothing, on: command:Hangup, reroute: pbx-marketing}
"""
    same = "is redundant: without it every decision is the same,"
    assert order(text) == [
        f"p.yaml:2:5: warning: rule `one` {same} `all` (p.yaml:3) does it",
        f"p.yaml:4:5: note: rule `like-the-default` {same} the default does the same",
        (
            "p.yaml:5:5: warning: rule `for-nothing` never acts: above it, `like-the-default` (p.yaml:4) decides all "
            "that it is for"
        ),
    ]


def test_a_reroute_of_what_is_denied_changes_nothing():
    text = "rules:\n  - {name: it, on: command:Hangup, reroute: pbx-marketing}\n"
    assert order(text) == [
        "p.yaml:2:5: note: rule `it` is redundant: without it every decision is the same, it does nothing that lasts"
    ]


CROSSING = """rules:
  - {name: one, on: command:Call, when: {app: crm}, %s}
  - {name: two, on: command:Call, when: {number: {prefix: '+49'}}, %s}
  - {name: rest, on: command, allow: true}
"""


def test_rules_that_cross_are_told_with_a_message_where_they_meet():
    (finding,) = order(CROSSING % ("allow: true", "deny: true"), "contradiction")
    assert finding.startswith(
        "p.yaml:2:5: warning: rule `one` and, below it, `two` (p.yaml:3) contradict (allow and deny) and nothing but "
        "their order says which is right; for example command Call by crm to +49"
    )


def test_the_stricter_above_is_a_note():
    (finding,) = order(CROSSING % ("deny: true", "allow: true"), "contradiction")
    assert ": note: rule `one` and, below it, `two` (p.yaml:3)" in finding


@pytest.mark.parametrize(
    ("one", "two"), [("deny: true", "deny: {code: 304}"), ("allow: true", "tag: seen"), ("tag: seen", "deny: true")]
)
def test_rules_that_end_alike_or_go_on_do_not_contradict(one, two):
    assert order(CROSSING % (one, two), "contradiction") == []


def test_two_different_answers_contradict_and_equal_ones_do_not():
    text = """rules:
  - {name: one, on: RoutingInterception, when: {caller: '1001'}, answer: [Hangup]}
  - {name: two, on: RoutingInterception, when: {time: {days: sun}}, answer: [%s]}
"""
    (finding,) = order(text % "{Route: {Destination: '1'}}")
    assert "(two answers)" in finding
    assert order(text % "Hangup") == []


def test_an_exception_above_a_rule_is_how_people_write():
    text = """rules:
  - {name: exception, on: command:Call, when: {number: '+4915112345678'}, allow: true}
  - {name: rule, on: command:Call, when: {number: {prefix: '+49'}}, deny: {code: 304}}
  - {name: rest, on: command, allow: true}
"""
    assert order(text) == []


def test_an_invariant_settles_what_two_rules_leave_open():
    meeting = "{on: command:Call, app: crm, number: {prefix: '+49'}}"
    text = CROSSING % ("allow: true", "deny: true") + f"invariants:\n  - {{name: ok, for: {meeting}, always: allow}}\n"
    assert order(text, "contradiction") == []


def test_what_cannot_be_decided_is_said():
    when = "{Message: {regex: 'a', not: {contains: a}}}"
    (finding,) = order(f"rules:\n  - {{name: it, on: command:Call, when: {when}, allow: true}}\n")
    assert finding == (
        "p.yaml:2:5: note: whether rule `it` ever acts cannot be decided: no message was found that comes to it"
    )


def test_without_steps_nothing_is_said_but_that():
    text = CROSSING % ("allow: true", "deny: true")
    findings = examine_order(policy(text), WORLD, steps=0)
    assert [finding.code for finding in findings] == ["not_analysed"]
    findings = examine_order(policy(text), WORLD, steps=60)
    assert {finding.code for finding in findings} >= {"not_analysed"}
    assert examine_order(policy(""), WORLD) == ()


def test_very_many_rules_are_left_alone(monkeypatch):
    monkeypatch.setattr("interceptor.policy.analysis.MOST_RULES", 2)
    (finding,) = examine_order(policy(CROSSING % ("allow: true", "deny: true")), WORLD)
    assert (finding.code, finding.severity) == ("not_analysed", Severity.NOTE)


def test_analyse_does_both():
    found = analyse(
        policy(f"rules:\n  - {{name: it, on: Call, when: {{number: '112'}}, deny: true}}\n{EMERGENCY}"), WORLD
    )
    assert {each.code for each in found} >= {"invariant_violated"}
    assert all(isinstance(each, Finding) for each in found)


def test_what_stands_in_a_very_large_table_is_found_there():
    many = "".join(f"+3620{row:07},{'gold' if row % 1000 == 999 else ''}\n" for row in range(30_000))
    words = "".join(f"word{row}\n" for row in range(30_000))
    text = """rules:
  - {name: all, on: command:Call, when: {app: crm}, allow: true}
  - {name: listed, on: command:Call, when: {number: {table: many}}, deny: true}
invariants:
  - {name: listed-numbers-are-not-called, for: {on: command:Call, number: {table: many}}, always: deny}
  - {name: nor-golden-ones, for: {on: command:Call, number: {table: many, column: tier, is: gold}}, always: deny}
  - {name: nor-with-a-word, for: {on: command:Call, Message: {table: words}}, always: deny}
"""
    tables = [Source("tables/many.csv", f"number,tier\n{many}".encode()), Source("tables/words.txt", words.encode())]
    rules = compile_policy([Source("p.yaml", text.encode()), *tables], WORLD)
    found = {each.message.split("`")[1]: each for each in prove_policy(rules, WORLD, emergency=False)}
    assert {each.severity for each in found.values()} == {Severity.ERROR}
    assert "command Call by crm to +36200000000 is allowed" in found["listed-numbers-are-not-called"].message
    assert "command Call by crm to +36200000999 is allowed" in found["nor-golden-ones"].message
    assert "with Message `word0` is allowed" in found["nor-with-a-word"].message


def test_numbers_that_rules_name_are_looked_up_in_a_very_large_table():
    many = "".join(f"+3620{row:07}\n" for row in range(30_000))
    text = """rules:
  - {name: exact, on: command:Call, when: {number: ["+36200000007", "+36200000008"]}, allow: true}
  - {name: listed, on: command:Call, when: {number: {table: many}}, deny: true}
  - {name: hidden, on: command:Call, when: {number: "+36200000009"}, deny: {code: 307}}
  - {name: elsewhere, on: command:Call, when: {number: {prefix: "+3670", table: many}}, deny: {code: 307}}
  - {name: rest, on: command:Call, allow: true}
"""
    rules = compile_policy([Source("p.yaml", text.encode()), Source("tables/many.txt", many.encode())], WORLD)
    assert told(examine_order(rules, WORLD), "hidden_rule", "never_matches", "cannot_be_decided") == [
        "p.yaml:4:5: warning: rule `hidden` never acts: above it, `listed` (p.yaml:3) decides all that it is for",
        "p.yaml:5:5: warning: rule `elsewhere` never acts: no message fits its conditions",
    ]


# differences


def changes(old, new, old_context=None, context=WORLD):
    found = difference(policy(old, old_context or context), policy(new, context), context, old_context)
    assert found.complete
    return [(each.before, each.after, each.messages) for each in found.changes]


def test_equal_policies_do_not_differ():
    text = CROSSING % ("allow: true", "deny: true")
    assert changes(text, text) == []
    assert not difference(policy(text), policy(text), WORLD)


def test_one_more_rule_is_told_as_the_messages_it_decides():
    more = """  - {name: night, on: Call, when: {app: crm, number: {prefix: '+3690'},
      time: {days: mon-fri, hours: '18:00-24:00'}}, deny: true}
"""
    old = "rules:\n  - {name: rest, on: command:Call, allow: true}\n"
    new = f"rules:\n{more}  - {{name: rest, on: command:Call, allow: true}}\n"
    assert changes(old, new) == [
        ("allow", "deny 306", ("command Call by crm to +3690…, mon-fri 18:00-24:00",)),
    ]
    (change,) = difference(policy(old), policy(new), WORLD).changes
    assert (change.newly_denied, change.newly_allowed, change.was, change.now) == (
        True, False, "p.yaml:2 rest", "p.yaml:2 night",
    )  # fmt: skip
    (back,) = difference(policy(new), policy(old), WORLD).changes
    assert (back.newly_denied, back.newly_allowed) == (False, True)
    assert back.example.startswith("command Call by crm to +3690")


def test_targets_and_changes_are_differences_too():
    old = "rules:\n  - {name: it, on: command:Call, allow: true}\n"
    secret = "rewrite: {set: {Password: hush, CallerId: '1001'}, remove: Url, rename: {Message: Text}}"
    moved = f"reroute: pbx-marketing, tag: moved, {secret}"
    new = f"rules:\n  - {{name: to, on: command:Call, when: {{app: crm}}, {moved}}}\n"
    new += "  - {name: it, on: command:Call, allow: true}\n"
    ((before, after, messages),) = changes(old, new)
    assert (before, messages) == ("allow", ("command Call by crm",))
    assert after == (
        "allow, to pbx-marketing, Password set, CallerId set to `1001`, Url removed, Message renamed to Text, tag moved"
    )


def test_notifications_go_elsewhere():
    def rule(action):
        return f"rules:\n  - {{name: it, on: RoutingInterception, {action}}}\n"

    def after(new):
        ((_, told, messages),) = changes("", rule(new))
        assert messages == ("notification RoutingInterception",)
        return told

    assert after("reroute: {app: crm}") == "allow, to crm"
    assert after("reroute: {url: 'http://10.0.0.9:1/x'}") == "allow, to http://10.0.0.9:1/x"
    url = "http://10.0.0.9:1/x?n={{number}}"
    assert after(f"reroute: {{url: '{url}'}}") == f"allow, to {url}"
    assert after("rewrite: {replace: {Message: {regex: a, with: b}}}") == "allow, Message with `b` for `a`"
    assert after("rewrite: {replace: {Password: {regex: a, with: b}}}") == "allow, Password changed"
    assert after("answer: [Hangup, {Speak: x}]") == "answer [Hangup, Speak]"


def test_other_defaults_are_a_difference_where_no_rule_decides():
    before = msgspec.structs.replace(WORLD, defaults=dict.fromkeys(Kind, Verdict.ALLOW))
    text = "rules:\n  - {name: it, on: [Call, BlindTransfer], deny: true}\n"
    told = changes(text, text, before)
    assert [each[:2] for each in told] == [("allow", "deny 306")] * 2
    assert told[0][2] == ("command any other, another that dials or of an unknown name",)


def test_a_table_that_changed_is_told_by_its_numbers():
    rules = "rules:\n  - {name: it, on: command:Call, when: {number: {table: few}}, allow: true}\n"

    def with_table(rows):
        return compile_policy([Source("p.yaml", rules.encode()), Source("tables/few.txt", rows)], WORLD)

    found = difference(with_table(b"+3611111111\n+4930*\n"), with_table(b"+3611111111\n+4931*\n"), WORLD)
    assert [(each.before, each.after, each.messages) for each in found.changes] == [
        ("allow", "deny 306", ("command Call to +4930…",)),
        ("deny 306", "allow", ("command Call to +4931…",)),
    ]
    assert not difference(with_table(b"+3611111111\n"), with_table(b"+3611111111\n"), WORLD)


def test_a_limit_that_goes_is_told_as_what_may_happen():
    rest = "  - {name: rest, on: command:Call, allow: true}\n"
    old = f"rules:\n  - {{name: few, on: command:Call, limit: {{rate: 5/s}}}}\n{rest}"
    assert changes(old, f"rules:\n{rest}") == [("deny 306 or allow", "allow", ("command Call",))]
    denied = (
        "rules:\n  - {name: few, on: command:Call, limit: {rate: 5/s}}\n  - {name: no, on: command:Call, deny: true}\n"
    )
    assert changes(denied, "rules:\n  - {name: no, on: command:Call, deny: true}\n") == [
        (
            "deny 306 with `Too many requests` or deny 306 with the usual sentence",
            "deny 306 with the usual sentence",
            ("command Call",),
        )
    ]


def test_another_limit_is_told_where_it_makes_a_difference():
    def limited(limit):
        rest = "  - {name: rest, on: command:Call, allow: true}\n"
        return f"rules:\n  - {{name: few, on: command:Call, limit: {limit}}}\n{rest}"

    def told(old, new):
        ((before, after, messages),) = changes(limited(old), limited(new))
        assert messages == ("command Call",)
        return before, after

    assert told("{rate: 300/m, key: [app, number]}", "{rate: 7/s, key: app}") == (
        "limited to 5/s, burst 300, for each app and number",
        "limited to 7/s, burst 7, for each app",
    )
    assert told("{rate: 2/d}", "{rate: 2/d, concurrency: 3}") == (
        "limited to 2/d, burst 2",
        "limited to 2/d, burst 2, limited to 3 at the same time",
    )
    assert changes(limited("{rate: 60/m}"), limited("{rate: 1/s, burst: 60}")) == []
    said = "{rate: 5/s, otherwise: {deny: {message: %s}}}"
    assert told(said % "Slow", said % "Slower") == (
        "deny 306 with `Slow`",
        "deny 306 with `Slower`",
    )
    renamed = limited("{rate: 5/s}").replace("few", "other")
    assert changes(renamed, limited("{rate: 6/s}")) == [
        (
            "deny 306 or allow, limited to 5/s, burst 5",
            "deny 306 or allow, limited to 6/s, burst 6",
            ("command Call",),
        )
    ]


@pytest.mark.parametrize(
    ("old", "new", "before", "after"),
    [
        ("deny: {message: No}", "deny: {message: Never}", "deny 306 with `No`", "deny 306 with `Never`"),
        ("deny: true", "deny: {message: No}", "deny 306 with the usual sentence", "deny 306 with `No`"),
        ("deny: {message: No}", "deny: {message: No, code: 601}", "deny 306 with `No`", "deny 601 with `No`"),
        (
            "deny: {message: 'No {{number}}'}",
            "deny: {message: 'No {{number|number}}, {{Dialed}}'}",
            "deny 306 with `No {{number}}`",
            "deny 306 with `No {{number|number}}, {{dialed}}`",
        ),
        (
            "answer: {code: 200, message: Done}",
            "answer: {code: 200, message: Well done}",
            "answer 200 with `Done`",
            "answer 200 with `Well done`",
        ),
        ("deny: true, tag: a", "deny: true, tag: b", "deny 306, tag a", "deny 306, tag b"),
        (
            "allow: true, rewrite: {digits: {Dialed: {strip: ['06', '0'], prefix: '+36'}}}",
            "allow: true, rewrite: {digits: {Dialed: {prefix: '9'}}}",
            "allow, Dialed with `+36` for a leading `06` or `0`",
            "allow, Dialed with `9` in front",
        ),
        (
            "allow: true, rewrite: {set: {CallerId: 'to {{number}}'}}",
            "allow: true, rewrite: {set: {CallerId: {table: customers, column: tier, by: Dialed}}}",
            "allow, CallerId set to `to {{number}}`",
            "allow, CallerId set to what stands in table `customers` under `tier` for parameter dialed",
        ),
        (
            "allow: true, mirror: 'http://10.0.0.9:1/'",
            "allow: true, mirror: pbx-marketing",
            "allow, mirrored to http://10.0.0.9:1/",
            "allow, mirrored to pbx-marketing",
        ),
        ("allow: true, owns: any", "allow: true", "allow, owns any call", "allow"),
        (
            "allow: true, rewrite: {set: {Password: hush}}",
            "allow: true, rewrite: {set: {Password: hash}}",
            "allow, Password set",
            "allow, Password set, in another way",
        ),
    ],
)
def test_where_the_verdict_stays_what_is_said_and_done_is_told(old, new, before, after):
    def rule(action):
        return f"rules:\n  - {{name: it, on: command:Call, {action}}}\n"

    assert changes(rule(old), rule(new)) == [(before, after, ("command Call",))]


def test_answers_are_told_in_full_where_the_verbs_are_the_same():
    def rule(answer):
        return f"rules:\n  - {{name: it, on: IncomingCall, answer: {answer}}}\n"

    ((before, after, _),) = changes(
        rule("[{Speak: {text: Closed, Language: en-UK}}, Hangup]"),
        rule("[{Speak: {text: 'Closed, {{caller}}', Language: en-UK}}, Hangup]"),
    )
    assert before == "answer [Speak Language `en-UK` `Closed`, Hangup]"
    assert after == "answer [Speak Language `en-UK` `Closed, {{caller}}`, Hangup]"
    ((before, after, _),) = changes(
        rule("[{UserInput: {Digits: '1', Inputs: [{Input: {Key: '1'}}]}}]"),
        rule("[{UserInput: {Digits: '1', Inputs: [{Input: {Key: '2'}}]}}]"),
    )
    assert before == "answer [UserInput Digits `1` [Inputs [Input Key `1`]]]"
    assert after == "answer [UserInput Digits `1` [Inputs [Input Key `2`]]]"


def test_long_texts_are_told_whole_where_only_their_middle_differs():
    def rule(word):
        text = f"{'a' * 60} {word} {'z' * 60}"
        return text, f"rules:\n  - {{name: it, on: command:Call, deny: {{message: '{text}'}}}}\n"

    (one, old), (two, new) = rule("up"), rule("down")
    assert [each[:2] for each in changes(old, new)] == [(f"deny 306 with `{one}`", f"deny 306 with `{two}`")]


def test_a_rule_that_only_has_another_name_is_no_difference():
    old = "rules:\n  - {name: one, on: command:Call, deny: true}\n"
    assert changes(old, old.replace("one", "two")) == []
    assert changes(old, "") == []


def test_boxes_read_as_rules_are_written():
    def only(when):
        ((_, _, messages),) = changes("", f"rules:\n  - {{name: it, on: command:Call, when: {when}, allow: true}}\n")
        return messages

    assert only("{app: [crm, marketing]}") == ("command Call not by switchboard",)
    assert only("{number: {exists: false}}") == ("command Call without a number",)
    assert only("{caller: {exists: false}}") == ("command Call without a caller",)
    assert only("{number: {class: [premium, mobile]}}") == ("command Call to any number, class premium or mobile",)
    assert only("{number: {not: {class: premium}}}") == ("command Call to any number, class not premium",)
    assert only("{number: {prefix: '+36', not: ['+3612222222', {prefix: '+3690'}]}}") == (
        "command Call to +36… but not +3612222222 or +3690…",
    )
    assert only("{source: 10.0.0.0/8}") == ("command Call from 10.0.0.0/8",)
    assert only("{Message: {prefix: a}}") == ("command Call with parameter Message a…",)
    assert only("{Message: {exists: false}}") == ("command Call without parameter Message",)
    assert only("{Message: ''}") == ("command Call with parameter Message empty",)
    assert only("{Message: {prefix: a, not: ''}, Url: {not: ['', b]}}") == (
        "command Call with parameter Message a… with parameter Url any but not empty or b or none",
    )
    assert only("{Password: x}") == ("command Call with parameter Password any",)
    assert only("{Message: {regex: b}}") == ("command Call with parameter Message any, parameter Message regex `b`",)
    assert only("{sample: 10%}") == ("command Call, sample up to 10%",)
    assert only("{time: {dates: 12-24}}") == ("command Call, on 12-24",)
    assert only("{time: {not: {dates: 12-24}}}") == ("command Call, not on 12-24",)


def test_policies_that_are_too_large_are_not_told_to_be_equal():
    text = CROSSING % ("allow: true", "deny: true")
    found = difference(policy(text), policy(""), WORLD, steps=10)
    assert (bool(found), found.complete) == (True, False)


# calls


def test_what_rules_ask_of_calls_is_decided_and_told_in_words():
    (hidden,) = order(
        """rules:
  - {name: emergency, on: "*", when: {number: {class: emergency}}, allow: true}
  - {name: own, on: command:Hangup, when: {call: {owned: true}}, allow: true}
  - {name: others, on: command:Hangup, when: {call: {owned: false}}, deny: true}
  - {name: held, on: command:Hangup, when: {call: {state: held, direction: incoming}}, allow: true}
""",
        "hidden_rule",
    )
    assert "rule `held` never acts" in hidden
    assert "`own`" in hidden
    assert "`others`" in hidden


def test_an_invariant_about_calls_is_refused_with_a_call_that_breaks_it():
    (violated,) = proofs(
        f"""rules:
{EMERGENCY}
  - {{name: all, on: command:Hangup, allow: true}}
invariants:
  - {{name: apps keep to their calls, for: {{on: command:Hangup, call: {{owned: false, state: held}}}}, always: deny}}
"""
    )
    assert "`apps keep to their calls` is violated" in violated
    assert "about a call that is not the app's own, held, incoming is allowed by rule `all`" in violated


@pytest.mark.parametrize(
    ("when", "words"),
    [
        ("{call: {owned: true}}", "about a call of its app"),
        ("{call: {owned: false}}", "about a call that is not of its app"),
        ("{call: {state: [held, ringing]}}", "about a call with state ringing or held"),
        ("{call: {state: {not: [held, ringing]}, exists: true}}", "about a call with state not ringing or held"),
        ("{call: {direction: incoming, owned: true}}", "about a call of its app with direction incoming"),
        ("{call: {exists: true, not: {direction: incoming}}}", "about a call with direction not incoming"),
        ("{call: {exists: false}}", "about no call"),
        ("{call: {not: {state: ended}}}", "about a call with state not ended or none"),
        ("{call: {exists: true}}", "about a call"),
        (
            "{call: [{owned: true, state: held, direction: incoming}, {owned: no, state: ended, direction: outgoing}]}",
            "about a call of the app's own, held, incoming or a call that is not the app's own, ended, outgoing",
        ),
    ],
)  # fmt: skip
def test_a_difference_tells_which_calls_it_is_about(when, words):
    allow = "  - {name: all, on: command:Hangup, allow: true}\n"
    deny = f"  - {{name: no, on: command:Hangup, when: {when}, deny: true}}\n"
    found = difference(policy(f"rules:\n{allow}"), policy(f"rules:\n{deny}{allow}"), WORLD)
    assert found.complete
    assert [each.messages for each in found.changes] == [(f"command Hangup {words}",)]


def test_where_the_verdict_stays_the_rules_that_make_the_difference_are_told():
    rest = "  - {name: rest, on: command, allow: true}\n"
    shown = "  - {name: shown, on: command:Call, when: {app: crm}, rewrite: {set: {CallerId: '1'}}}\n"
    moved = "  - {name: moved, on: command:Hangup, reroute: pbx-marketing}\n"
    plain, more = policy(f"rules:\n{rest}"), policy(f"rules:\n{shown}{moved}{rest}")
    found = difference(plain, more, WORLD)
    assert [(each.was, each.now) for each in found.changes] == [
        ("p.yaml:2 rest", "p.yaml:2 shown"),
        ("p.yaml:2 rest", "p.yaml:3 moved"),
    ]
    back = difference(more, plain, WORLD)
    assert [(each.was, each.now) for each in back.changes] == [
        ("p.yaml:2 shown", "p.yaml:2 rest"),
        ("p.yaml:3 moved", "p.yaml:2 rest"),
    ]
