"""Values from the message in the texts of actions: what fills them, and what a message cannot do with them."""

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.policy.placeholders import into_url
from interceptor.values import Kind, Refusal, Reply, SetParameter, Verb
from interceptor.wire.ozml import decode_verbs, encode_verbs

ASKED = {
    "app": "crm",
    "source": "10.0.0.7",
    "number": "+36201234567",
    "caller": "1001",
    "values": {"Dialed": "06 20 123 4567", "CallerId": "", "X-Tenant": "7"},
}


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("{{number}}", "+36201234567"),
        ("<{{ caller }}>", "<1001>"),
        ("{{class}} {{country}}", "mobile HU"),
        ("{{app}}@{{source}}: {{name}}", "crm@10.0.0.7: Call"),
        ("{{Dialed}}, {{dialed}}"[:10], "06 20 123 4567"),
        ("{{DIALED}}", "06 20 123 4567"),
        ("{{other:x-tenant}}{{other: X-Tenant}}", "77"),
        ("{{CallerId}}.", "."),
        ("{{CallerId|nobody}} {{Message|no, no}}", "nobody no, no"),
        (r"\{{number}} is {{number}}", "{{number}} is +36201234567"),
        (r"only \{{ braces }}", "only {{ braces }}"),
        ("{number} }}", "{number} }}"),
        ("$Dialed {{number}}", "$Dialed +36201234567"),
    ],
)
def test_a_placeholder_becomes_what_the_message_says(rule, facts, written, expected):
    decision = rule(f"on: Call\n    deny: {{message: '{written}'}}").decide(facts(**ASKED))
    assert decision.refusal == Refusal(306, expected)


def test_a_message_without_the_value_leaves_nothing_or_what_stands_instead(rule, facts):
    text = "'[{{number}}{{caller}}{{class}}{{country}}{{Dialed}}] {{number|none}}'"
    decision = rule(f"on: Call\n    deny: {{message: {text}}}").decide(facts())
    assert decision.refusal == Refusal(306, "[] none")


def test_an_empty_refusal_names_the_rule(rule, facts):
    decision = rule("on: Call\n    deny: {message: '{{Dialed}}'}").decide(facts())
    assert decision.refusal == Refusal(306, "Not allowed by rule 'it'")


def test_each_message_has_its_own_decision(rule, facts):
    policy = rule("on: Call\n    rewrite: {set: {CallerId: '{{number}}'}}\n    allow: true")
    numbers = ("+36201234567", "1001", "+36201234567")
    decisions = [policy.decide(facts(number=number)) for number in numbers]
    assert [decision.changes for decision in decisions] == [(SetParameter("CallerId", number),) for number in numbers]


def test_a_rule_that_goes_on_varies_too(compiled, facts):
    policy = compiled(
        "rules:\n"
        "  - {name: one, on: Call, rewrite: {set: {CallerId: '{{caller}}'}}}\n"
        "  - {name: two, on: Call, allow: true}\n"
    )
    for caller in ("1001", "1002"):
        decision = policy.decide(facts(caller=caller))
        assert decision.changes == (SetParameter("CallerId", caller),)
        assert decision.rules == ("0.yaml:2 one", "0.yaml:3 two")


def test_an_answer_to_a_command(rule, facts):
    policy = rule("on: command:Call\n    answer: {code: 601, message: 'No {{number}}'}")
    assert policy.decide(facts(number="+36201234567")).reply == Reply((), 601, "No +36201234567")


def test_verbs_have_their_texts_attributes_and_children_filled(rule, facts):
    policy = rule(
        """on: IncomingCall
    answer:
      - Speak: "You are {{caller}}"
      - UserInput:
          Digits: "{{Digits|1}}"
          InitialCommands: [{Speak: {text: "{{number}}", Language: en-UK}}]
      - GoTo: {Url: "http://10.0.0.9/next?from={{caller}}&x=1"}""".replace("{{Digits|1}}", "{{other:Digits|1}}")
    )
    asked = facts(kind=Kind.NOTIFICATION, name="IncomingCall", caller="+36201234567", number="1001")
    assert policy.decide(asked).reply == Reply(
        (
            Verb("Speak", text="You are +36201234567"),
            Verb(
                "UserInput",
                (("Digits", "1"),),
                children=(
                    Verb("InitialCommands", children=(Verb("Speak", (("Language", "en-UK"),), "1001"),)),
                ),
            ),
            Verb("GoTo", (("Url", "http://10.0.0.9/next?from=%2B36201234567&x=1"),)),
        )
    )  # fmt: skip


def test_a_variable_of_the_pbx_cannot_come_from_a_message(rule, facts):
    policy = rule("on: IncomingCall\n    answer: [{Speak: 'Hello {{Message}}'}]")
    asked = facts(kind=Kind.NOTIFICATION, name="IncomingCall", values={"Message": "$pin and $$pin"})
    assert policy.decide(asked).reply == Reply((Verb("Speak", text="Hello pin and pin"),))


@given(st.text())
def test_a_value_is_never_markup_nor_a_verb(rule, facts, value):
    policy = rule("on: IncomingCall\n    answer: [{Speak: {text: '<{{Message}}>', Language: '{{Message}}'}}]")
    asked = facts(kind=Kind.NOTIFICATION, name="IncomingCall", values={"Message": value})
    (read,) = decode_verbs(encode_verbs(policy.decide(asked).reply.verbs))
    assert (read.name, [name for name, _ in read.attributes], read.children) == ("Speak", ["Language"], ())
    assert "$" not in read.text


@given(st.text())
def test_a_value_in_an_address_is_one_value_of_its_query(value):
    url = "http://10.0.0.9/pbx?a=1&b=" + into_url(value) + "&c=3"
    assert urlsplit(url)[:3] == ("http", "10.0.0.9", "/pbx")
    sane = value.encode("utf-8", "replace").decode()
    assert parse_qsl(urlsplit(url).query, keep_blank_values=True) == [("a", "1"), ("b", sane), ("c", "3")]
