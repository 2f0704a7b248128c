"""What happens when several rules match, when none does, and how far a mode lets them go."""

import msgspec
import pytest

from interceptor.policy import Mode
from interceptor.values import Kind, Refusal, SetParameter, ToCluster, Verdict


def rules(*lines):
    return "rules:\n" + "".join(f"  - {{{line}}}\n" for line in lines)


def test_nothing_matches_and_the_default_of_the_kind_stands(compiled, facts):
    policy = compiled("rules:\n")
    command, notification, verb = (policy.decide(facts(kind=kind)) for kind in Kind)
    assert (command.verdict, command.reason, command.rule, command.rules) == (Verdict.DENY, "default", "", ())
    assert command.refusal == Refusal(306, "Not allowed by any rule")
    assert (notification.verdict, notification.refusal) == (Verdict.ALLOW, None)
    assert verb.verdict is Verdict.DENY


def test_the_first_ending_action_ends_the_reading(compiled, facts):
    policy = compiled(rules("name: a, on: Call, when: {app: crm}, allow: true", "name: b, on: Call, deny: true"))
    decision = policy.decide(facts())
    assert (decision.verdict, decision.reason, decision.rule) == (Verdict.ALLOW, "rule", "a")
    assert decision.rules == ("0.yaml:2 a",)
    assert policy.decide(facts(app="marketing")).rule == "b"


def test_actions_that_do_not_end_the_reading_add_up_in_order(compiled, facts):
    policy = compiled(
        rules("name: a, on: Call, rewrite: {set: {X: '1'}}, tag: [t, u]", "name: b, on: command, tag: [u, v]"),
        rules(
            "name: c, on: Call, when: {X: '1'}, deny: true", "name: d, on: '*', rewrite: {set: {X: '2'}}, allow: true"
        ),
    )
    decision = policy.decide(facts(values={"X": "0"}))
    assert decision.changes == (SetParameter("X", "1"), SetParameter("X", "2"))
    assert decision.tags == ("t", "u", "v")
    assert decision.rules == ("0.yaml:2 a", "0.yaml:3 b", "1.yaml:3 d")
    assert decision.rule == "d"
    assert policy.decide(facts(values={"X": "0"})) is decision


def test_conditions_see_the_message_as_it_arrived(compiled, facts):
    policy = compiled(
        rules("name: a, on: Call, rewrite: {set: {X: '1'}}", "name: b, on: Call, when: {X: '1'}, allow: true")
    )
    assert policy.decide(facts()).verdict is Verdict.DENY
    assert policy.decide(facts(values={"X": "1"})).verdict is Verdict.ALLOW


def test_the_first_reroute_stands(compiled, facts):
    policy = compiled(
        rules(
            "name: a, on: Call, reroute: pbx-marketing",
            "name: b, on: Call, reroute: pbx-main",
            "name: c, on: Call, allow: true",
        )
    )
    assert policy.decide(facts()).target == ToCluster("pbx-marketing")


def test_what_is_refused_is_neither_changed_nor_rerouted(compiled, facts):
    policy = compiled(
        rules("name: a, on: Call, reroute: pbx-main, rewrite: {remove: X}, tag: t", "name: b, on: Call, deny: true")
    )
    decision = policy.decide(facts())
    assert (decision.changes, decision.target, decision.tags) == ((), None, ("t",))
    assert decision.rules == ("0.yaml:2 a", "0.yaml:3 b")


def test_a_rule_may_change_and_end_at_once(rule, facts):
    decision = rule("on: Call\n    rewrite: {set: {X: '1'}}\n    allow: true").decide(facts())
    assert (decision.verdict, decision.changes) == (Verdict.ALLOW, (SetParameter("X", "1"),))


def test_a_shadowed_rule_is_told_and_does_nothing(compiled, facts):
    policy = compiled(
        rules("name: a, mode: shadow, on: Call, deny: true", "name: b, on: Call, allow: true, tag: t"),
    )
    decision = policy.decide(facts())
    assert (decision.verdict, decision.shadow, decision.rules) == (Verdict.ALLOW, ("0.yaml:2 a",), ("0.yaml:3 b",))
    assert policy.decide(facts(name="Hangup")).shadow == ()


def test_a_shadowed_rule_alone_leaves_the_default(compiled, facts):
    decision = compiled(rules("name: a, mode: shadow, on: Call, allow: true")).decide(facts())
    assert (decision.verdict, decision.reason, decision.shadow) == (Verdict.DENY, "default", ("0.yaml:2 a",))


def test_a_rule_that_is_off_is_checked_but_not_read(compiled, facts, problems):
    policy = compiled(rules("name: a, mode: off, on: Call, allow: true"))
    assert policy.decide(facts()).verdict is Verdict.DENY
    assert [rule.mode for rule in policy.rules] == [Mode.OFF]
    assert problems(rules("name: a, mode: off, on: Cal, allow: true"))


@pytest.mark.parametrize(
    ("file", "rule", "expected"),
    [
        ("enforce", "enforce", Mode.ENFORCE),
        ("enforce", "shadow", Mode.SHADOW),
        ("shadow", "enforce", Mode.SHADOW),
        ("shadow", "off", Mode.OFF),
        ("off", "shadow", Mode.OFF),
    ],
)
def test_the_weaker_mode_of_file_and_rule_counts(compiled, file, rule, expected):
    policy = compiled(f"mode: {file}\n" + rules(f"name: a, mode: {rule}, on: Call, allow: true"))
    assert policy.rules[0].mode is expected


def trial(compiled, context, mode, *written):
    return compiled(rules(*written), context=msgspec.structs.replace(context, mode=mode))


def test_where_everything_is_in_shadow_nothing_is_enforced_and_all_is_told(compiled, context, facts):
    policy = trial(
        compiled,
        context,
        Mode.SHADOW,
        "name: a, on: Call, when: {app: crm}, deny: true, tag: t",
        "name: b, on: Call, mode: off, allow: true",
        "name: c, on: command, reroute: pbx-marketing, rewrite: {remove: X}",
    )
    decision = policy.decide(facts())
    assert (decision.verdict, decision.reason, decision.rules) == (Verdict.ALLOW, "default", ())
    assert (decision.changes, decision.target, decision.tags) == ((), None, ())
    assert decision.shadow == ("0.yaml:2 a", "0.yaml:4 c")
    assert policy.decide(facts(app="marketing")).shadow == ("0.yaml:4 c", "default: deny")
    assert policy.decide(facts(name="Hangup")).verdict is Verdict.ALLOW
    notification = policy.decide(facts(kind=Kind.NOTIFICATION, name="CallChanged"))
    assert (notification.verdict, notification.shadow) == (Verdict.ALLOW, ())


def test_where_everything_is_off_everything_passes_without_a_word(compiled, context, facts):
    policy = trial(compiled, context, Mode.OFF, "name: a, on: Call, deny: true")
    decision = policy.decide(facts())
    assert (decision.verdict, decision.rules, decision.shadow) == (Verdict.ALLOW, (), ())


def test_the_mode_of_everything_is_part_of_the_revision(compiled, context):
    written = "name: a, on: Call, deny: true"
    assert len({trial(compiled, context, mode, written).revision for mode in Mode}) == 3


def test_a_file_in_shadow_leaves_other_files_alone(compiled, facts):
    shadowed = "mode: shadow\n" + rules("name: a, on: Call, deny: true")
    decision = compiled(shadowed, rules("name: b, on: Call, allow: true")).decide(facts())
    assert (decision.verdict, decision.shadow) == (Verdict.ALLOW, ("0.yaml:3 a",))


def test_more_combinations_than_are_remembered_are_still_decided_right(compiled, facts):
    lines = [f"name: t{bit}, on: Call, when: {{P{bit}: '1'}}, tag: t{bit}" for bit in range(14)]
    policy = compiled(rules(*lines))
    for number in range(1 << 14):
        values = {f"p{bit}": "1" for bit in range(14) if number >> bit & 1}
        assert len(policy.decide(facts(values=values)).tags) == number.bit_count()
    assert policy.decide(facts(values={"P3": "1"})).tags == ("t3",)


# --- names ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on", "kind", "name", "expected"),
    [
        ("Call", Kind.COMMAND, "Call", True),
        ("Call", Kind.VERB, "Call", True),
        ("Call", Kind.COMMAND, "call", True),
        ("command:Call", Kind.VERB, "Call", False),
        ("command:Call", Kind.COMMAND, "Call", True),
        ("[Hangup, 'verb:Route']", Kind.VERB, "Route", True),
        ("command", Kind.COMMAND, "Unheard", True),
        ("command", Kind.VERB, "Call", False),
        ("notification", Kind.NOTIFICATION, "", True),
        ("verb", Kind.VERB, "Speak", True),
        ("'*'", Kind.NOTIFICATION, "CallChanged", True),
        ("other:TransferDone", Kind.NOTIFICATION, "TransferDone", True),
        ("other:TransferDone", Kind.NOTIFICATION, "transferDONE", True),
        ("other:TransferDone", Kind.COMMAND, "TransferDone", True),
        ("other:TransferDone", Kind.COMMAND, "Call", False),
        ("[command, Call]", Kind.VERB, "Call", True),
    ],
)
def test_on_names_messages(rule, facts, on, kind, name, expected):
    assert bool(rule(f"on: {on}\n    tag: t").decide(facts(kind=kind, name=name)).tags) is expected


def test_a_name_of_two_kinds_means_those_that_the_action_is_for(rule, facts):
    policy = rule("on: Call\n    reroute: pbx-main\n    allow: true")
    assert policy.decide(facts()).target == ToCluster("pbx-main")
    verb = policy.decide(facts(kind=Kind.VERB))
    assert (verb.verdict, verb.target) == (Verdict.ALLOW, None)
    answering = rule("on: Hangup\n    answer: {code: 200}")
    assert answering.decide(facts(name="Hangup")).verdict is Verdict.ANSWER
    assert answering.decide(facts(kind=Kind.VERB, name="Hangup")).verdict is Verdict.DENY


# --- the set --------------------------------------------------------------------------------------------------------


def test_the_revision_is_the_digest_of_texts_and_context(compiled, context):
    import msgspec

    one = compiled("rules:\n")
    assert len(one.revision) == 12
    assert int(one.revision, 16) >= 0
    assert compiled("rules:\n").revision == one.revision
    assert compiled("rules: \n").revision != one.revision
    assert compiled("rules:\n", "rules:\n").revision != one.revision
    elsewhere = msgspec.structs.replace(context, zone="UTC")
    assert compiled("rules:\n", context=elsewhere).revision != one.revision


def test_every_decision_carries_the_revision(compiled, facts):
    policy = compiled(rules("name: a, on: Call, allow: true"))
    assert {policy.decide(facts(name=name)).revision for name in ("Call", "Hangup")} == {policy.revision}


def test_a_file_of_comments_and_an_empty_one_have_no_rules(compiled):
    assert compiled("# later\n", "", "rules:\n", "mode: shadow\nrules: ~\n").rules == ()


def test_rules_are_kept_as_they_were_written(compiled):
    policy = compiled("\n" + rules("name: a, on: [command, Call], allow: true"))
    (rule,) = policy.rules
    assert (rule.name, rule.place.line, rule.label) == ("a", 3, "0.yaml:3 a")
    assert rule.names == {Kind.COMMAND: frozenset(("",)), Kind.VERB: frozenset(("Call",))}


def test_duplicate_names_are_found_over_all_files(problems):
    one = rules("name: a, on: Call, allow: true")
    assert problems(one, one) == ["2:12: a rule named `a` stands already at 0.yaml:2:12"]


def test_every_problem_of_every_file_is_told(problems):
    bad = rules("name: a, on: Cal, when: {ap: crm, time: {days: mo}}, alow: true", "on: Call")
    assert problems(bad, "rules: [") == [
        "2:19: unknown name `Cal` in `on`, did you mean `Call`?",
        "2:31: unknown condition `ap` in `when`, did you mean `app`?",
        "2:53: unknown day `mo`, did you mean `mon`?",
        "2:59: unknown key `alow` in a rule, did you mean `allow`?",
        "3:5: a rule should have a `name`",
        (
            "3:5: a rule should have an action: "
            "`allow`, `deny`, `answer`, `rewrite`, `reroute`, `limit`, `mirror`, `owns`, `tag`"
        ),
        "1:9: not YAML: did not find expected node content, while parsing a flow node",
    ]
