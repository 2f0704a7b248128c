"""What each action makes of a decision."""

import pytest

from interceptor.values import (
    Kind,
    Refusal,
    RemoveParameter,
    RenameParameter,
    Reply,
    SetParameter,
    ToApp,
    ToCluster,
    ToUrl,
    Verb,
    Verdict,
)


@pytest.mark.parametrize("written", ["allow: true", "allow:", "allow: yes"])
def test_allow(rule, facts, written):
    assert rule(f"on: Call\n    {written}").decide(facts()).verdict is Verdict.ALLOW


@pytest.mark.parametrize(
    ("written", "refusal"),
    [
        ("deny: true", Refusal(306, "Not allowed by rule 'it'")),
        ("deny:", Refusal(306, "Not allowed by rule 'it'")),
        ("deny: {}", Refusal(306, "Not allowed by rule 'it'")),
        ("deny: {code: 307}", Refusal(307, "Not allowed by rule 'it'")),
        ("deny: {message: Not today}", Refusal(306, "Not today")),
        ('deny: {code: 999, message: "Nie"}', Refusal(999, "Nie")),
    ],
)
def test_deny(rule, facts, written, refusal):
    decision = rule(f"on: Call\n    {written}").decide(facts())
    assert (decision.verdict, decision.refusal, decision.reply) == (Verdict.DENY, refusal, None)


@pytest.mark.parametrize(
    ("written", "verbs"),
    [
        ("[]", ()),
        ("[Hangup]", (Verb("Hangup"),)),
        (
            '[{Route: {Destination: "1099", RingTime: 30}}]',
            (Verb("Route", (("Destination", "1099"), ("RingTime", "30"))),),
        ),
        ('[{Route: {Destination: ""}}]', (Verb("Route", (("Destination", ""),)),)),
        ("[{Speak: Please wait}]", (Verb("Speak", text="Please wait"),)),
        ("[{Hangup: }]", (Verb("Hangup"),)),
        ("[{Speak: {text: Hi, Language: en-UK}}]", (Verb("Speak", (("Language", "en-UK"),), "Hi"),)),
        (
            "[{UserInput: {Digits: 1, InitialCommands: [{Speak: Hi}], Inputs: [{Input: {Key: 1, do: [Hangup]}}]}}]",
            (
                Verb(
                    "UserInput",
                    (("Digits", "1"),),
                    children=(
                        Verb("InitialCommands", children=(Verb("Speak", text="Hi"),)),
                        Verb("Inputs", children=(Verb("Input", (("Key", "1"),), children=(Verb("Hangup"),)),)),
                    ),
                ),
            ),
        ),
        ("[{UserInput: [{InitialCommands: [Hangup]}]}]",
         (Verb("UserInput", children=(Verb("InitialCommands", children=(Verb("Hangup"),)),)),)),
    ],
)  # fmt: skip
def test_answer_to_a_notification(rule, facts, written, verbs):
    decision = rule(f"on: RoutingInterception\n    answer: {written}").decide(
        facts(kind=Kind.NOTIFICATION, name="RoutingInterception")
    )
    assert (decision.verdict, decision.reply) == (Verdict.ANSWER, Reply(verbs=verbs))


@pytest.mark.parametrize(
    ("written", "reply"),
    [
        ("{code: 601, message: gone}", Reply((), 601, "gone")),
        ("{code: 200}", Reply()),
        ('{message: ""}', Reply((), 200, "")),
    ],
)
def test_answer_to_a_command(rule, facts, written, reply):
    decision = rule(f"on: command:Hangup\n    answer: {written}").decide(facts(name="Hangup"))
    assert (decision.verdict, decision.reply, decision.refusal) == (Verdict.ANSWER, reply, None)


def test_rewrite(rule, facts):
    policy = rule(
        r"""on: Call
    rewrite:
      set: {A: "1", B: , C: no}
      remove: [D, E]
      rename: {F: G}
      replace: {H: {regex: "^0([0-9]+)", with: '+36\1'}}
    allow: true"""
    )
    *plain, replace = policy.decide(facts()).changes
    assert plain == [
        SetParameter("A", "1"),
        SetParameter("B", ""),
        SetParameter("C", "no"),
        RemoveParameter("D"),
        RemoveParameter("E"),
        RenameParameter("F", "G"),
    ]
    assert (replace.name, replace.pattern.sub(replace.replacement, "0620123")) == ("H", "+36620123")


def test_changes_keep_the_order_they_are_written_in(rule, facts):
    decision = rule("on: Call\n    rewrite: [{remove: A}, {set: {A: '1'}}]\n    allow: true").decide(facts())
    assert decision.changes == (RemoveParameter("A"), SetParameter("A", "1"))


@pytest.mark.parametrize(
    ("regex", "replacement", "value", "expected"),
    [
        ("a", "b", "banana", "bbnbnb"),
        ("(a)(n)?", r"<\1\2>", "ban", "b<an>"),
        ("(a)(n)?", r"<\1\2>", "ba", "b<a>"),
        ("an", r"\0\0", "ban", "banan"),
        ("a", r"\\", "a", "\\"),
        ("x(.*)", r"\1", "x\udcffé", "\udcffé"),
        ("é", "e", "café", "cafe"),
        (r"(\d)", r"\10", "5", "50"),
    ],
)
def test_replacements(rule, facts, regex, replacement, value, expected):
    policy = rule(
        f"on: Call\n    rewrite: {{replace: {{A: {{regex: '{regex}', with: '{replacement}'}}}}}}\n    allow: true"
    )
    (change,) = policy.decide(facts()).changes
    assert change.pattern.sub(change.replacement, value) == expected


@pytest.mark.parametrize(
    ("written", "value", "expected"),
    [
        ('{strip: "06", prefix: "+36"}', "06201234567", "+36201234567"),
        ('{strip: "06", prefix: "+36"}', "06 (20) 123-45.67", "+36201234567"),
        ('{strip: "06", prefix: "+36"}', "+36 20 1234567", "+36 20 1234567"),
        ('{strip: "06", prefix: "+36"}', "06abc", "06abc"),
        ('{strip: "06", prefix: "+36"}', "", ""),
        ('{strip: ["0", "00", "+"]}', "0036201234567", "36201234567"),
        ('{strip: ["0", "00", "+"]}', "+36201234567", "36201234567"),
        ('{strip: "9", prefix: ""}', "91001", "1001"),
        ('{strip: "9"}', "9", ""),
        ('{prefix: "*31#"}', "1001", "*31#1001"),
        ('{prefix: "9"}', "sip:x", "sip:x"),
    ],
)
def test_digits(rule, facts, written, value, expected):
    policy = rule(f"on: Call\n    rewrite: {{digits: {{Dialed: {written}}}}}\n    allow: true")
    (change,) = policy.decide(facts()).changes
    assert (change.name, change.pattern.sub(change.replacement, value)) == ("Dialed", expected)


def test_equal_patterns_are_equal_values(rule, facts):
    text = "on: Call\n    rewrite: {replace: {A: {regex: a, with: b}}}\n    allow: true"
    one, other = rule(text).decide(facts()), rule(text).decide(facts())
    assert one == other
    assert hash(one.changes[0].pattern) == hash(other.changes[0].pattern)
    assert repr(one.changes[0].pattern) == "LinearPattern('a')"


@pytest.mark.parametrize(
    ("written", "kind", "target"),
    [
        ("pbx-main", Kind.COMMAND, ToCluster("pbx-main")),
        ("{cluster: pbx-main}", Kind.COMMAND, ToCluster("pbx-main")),
        ("{app: crm}", Kind.NOTIFICATION, ToApp("crm")),
        ("{url: 'http://10.0.0.9:8001/pbx?x=1'}", Kind.NOTIFICATION, ToUrl("http://10.0.0.9:8001/pbx?x=1")),
        ("{url: 'http://[::1]/'}", Kind.NOTIFICATION, ToUrl("http://[::1]/")),
    ],
)
def test_reroute(rule, facts, written, kind, target):
    policy = rule(f"on: '*'\n    reroute: {written}\n    allow: true")
    for asked in Kind:
        decision = policy.decide(facts(kind=asked))
        assert decision.target == (target if asked is kind else None)
        assert decision.verdict is Verdict.ALLOW


def test_tags_are_told_once(rule, facts):
    assert rule("on: Call\n    tag: [b, a, b]").decide(facts()).tags == ("b", "a")


@pytest.mark.parametrize(
    ("written", "kind", "mirrors"),
    [
        ("pbx-marketing", Kind.COMMAND, (ToCluster("pbx-marketing"),)),
        ("{cluster: pbx-main}", Kind.COMMAND, (ToCluster("pbx-main"),)),
        ("{app: crm}", Kind.NOTIFICATION, (ToApp("crm"),)),
        ("http://10.0.0.9:8001/x", Kind.COMMAND, (ToUrl("http://10.0.0.9:8001/x"),)),
        ("http://10.0.0.9:8001/x", Kind.NOTIFICATION, (ToUrl("http://10.0.0.9:8001/x"),)),
        ("{url: 'http://10.0.0.9/?of={{app}}'}", Kind.COMMAND, (ToUrl("http://10.0.0.9/?of=crm"),)),
        ("http://10.0.0.9/", Kind.VERB, ()),
    ],
)
def test_mirror(rule, facts, written, kind, mirrors):
    policy = rule(f"on: '*'\n    mirror: {written}\n    allow: true")
    decision = policy.decide(facts(kind=kind))
    assert (decision.verdict, decision.target, decision.mirrors) == (Verdict.ALLOW, None, mirrors)


def test_every_mirror_is_told_once_and_none_of_what_goes_nowhere(compiled, facts):
    policy = compiled(
        "rules:\n"
        "  - {name: one, on: [Call, Hangup], mirror: pbx-main}\n"
        "  - {name: two, on: [Call, Hangup], mirror: pbx-marketing}\n"
        "  - {name: again, on: [Call, Hangup], mirror: pbx-main}\n"
        "  - {name: trial, on: [Call, Hangup], mode: shadow, mirror: http://10.0.0.9/}\n"
        "  - {name: go, on: Call, allow: true}\n"
    )
    decision = policy.decide(facts())
    assert decision.mirrors == (ToCluster("pbx-main"), ToCluster("pbx-marketing"))
    assert decision.shadow == ("0.yaml:5 trial",)
    assert policy.decide(facts(name="Hangup")).mirrors == ()
