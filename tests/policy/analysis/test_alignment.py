"""Policies whose tables or number classes differ: what is told of them is what every message of a small world says."""

import json
from itertools import product

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interceptor.policy import Source, compile_policy
from interceptor.policy.analysis import difference
from interceptor.values import Facts, Kind, SetParameter, Verdict
from tests.policy.conftest import CONTEXT

WORLD = msgspec.structs.replace(
    CONTEXT,
    commands=("Call",),
    apps=frozenset(("crm", "marketing")),
    country="HU",
    extensions=("1xxx", "2xxx"),
    emergency=("105", "112"),
)
ENTRIES = ("1*", "10*", "+36*", "+3620*", "+3690*", "+4*", "1001", "+36201234567", "+36901234567", "*")
# One of everything that these and the classes of the plan tell apart.
NUMBERS = (
    *(None, "x", "+7", "1", "1500", "10", "1005", "105", "112", "1001", "2005"),
    *("+361", "+3630", "+3620", "+36201234567", "+3690", "+36901234567", "+4", "+4915"),
)
TEXTS = (None, "", "a", "b", "crm")
MESSAGES = tuple(
    Facts(
        Kind.COMMAND, "Call", app, "10.0.0.7", None if number is None else WORLD.number(number),
        None if caller is None else WORLD.number(caller), {} if text is None else {"foo": text}, {}, 0.0,
    )
    for app, text, number, caller in product(("crm", "marketing"), TEXTS, NUMBERS, NUMBERS)
)  # fmt: skip
OF_NUMBERS = MESSAGES[: len(NUMBERS) ** 2]
"""Those of one app with one text: all there are for policies that ask for neither."""

rows = st.dictionaries(st.sampled_from(ENTRIES), st.sampled_from(("", "pbx-main", "pbx-marketing")), max_size=6)
words = st.dictionaries(st.sampled_from(("a", "b", "crm")), st.sampled_from(("", "pbx-main", "x")), max_size=3)
NUMBER_TESTS = (
    {"table": "numbers"},
    {"table": "numbers", "column": "to", "is": "pbx-main"},
    {"not": {"table": "numbers"}},
    {"prefix": "+36", "not": {"table": "numbers"}},
    "+36201234567",
)
conditions = st.fixed_dictionaries(
    {},
    optional={
        "app": st.just("crm"),
        "number": st.sampled_from(NUMBER_TESTS),
        "caller": st.sampled_from(NUMBER_TESTS),
        "Foo": st.sampled_from(({"table": "texts"}, {"table": "texts", "column": "to", "is": ["x"]}, "a")),
        "tag": st.just("seen"),
    },
)
COLUMN = {"table": "numbers", "column": "to"}
ACTIONS = (
    {"allow": "true"},
    {"deny": "true"},
    {"deny": {"message": "no"}},
    {"tag": "seen"},
    {"reroute": COLUMN},
    {"reroute": {"cluster": {**COLUMN, "by": "caller"}}, "allow": "true"},
    {"reroute": "pbx-main"},
    {"rewrite": {"set": {"A": COLUMN, "B": "z"}}, "reroute": COLUMN},
    {"rewrite": {"set": {"A": {"table": "texts", "column": "to", "by": "other:foo"}}}},
    {"rewrite": {"set": {"A": {"table": "texts", "column": "to", "by": "app"}}}, "allow": "true"},
)


def policies(actions, conditions):
    rule = st.fixed_dictionaries({"does": st.sampled_from(actions)}, optional={"when": conditions.filter(bool)})
    return st.lists(rule, min_size=1, max_size=4)


def compiled(rules, numbers, texts=None, classes=None, *, tagged=False):
    named = [
        {"name": f"rule {index}", "on": "command:Call"} | {key: each for key, each in rule.items() if key != "does"}
        | rule["does"]
        for index, rule in enumerate(rules)
    ]  # fmt: skip
    if tagged:
        first = {"name": "first", "on": "command:Call", "when": {"number": {"table": "numbers"}}, "tag": "seen"}
        named.insert(0, first)
    text = {"rules": named} | ({"classes": classes} if classes else {})

    def table(name, key, entries):
        lines = "".join(f"{entry},{to}\n" for entry, to in entries.items())
        return Source(f"rules/tables/{name}.csv", f"{key},to\n{lines}".encode())

    sources = [table("numbers", "number", numbers), table("texts", "text", texts or {})]
    return compile_policy([*sources, Source("p.yaml", json.dumps(text).encode())], WORLD)


def decided(policy, facts):
    classify = policy.classify
    if classify is not None:
        number = None if facts.number is None else classify(facts.number)
        caller = None if facts.caller is None else classify(facts.caller)
        facts = msgspec.structs.replace(facts, number=number, caller=caller)
    return policy.decide(facts)


def told(was, now):
    """How a difference of two decisions should read."""
    same = was.verdict is now.verdict
    worded = same and usual(was) != usual(now)
    return text(was, same, worded), text(now, same, worded)


def usual(decision):
    message = "" if decision.refusal is None else decision.refusal.message
    return "" if message.startswith("Not allowed by") else message


def text(decision, whole, worded):
    said = usual(decision)
    found = ["allow" if decision.verdict is Verdict.ALLOW else "deny 306"]
    if worded:
        found[0] += f" with `{said}`" if said else " with the usual sentence"
    if whole:
        found += [] if decision.target is None else [f"to {decision.target.cluster}"]
        found += [f"{change.name} set to `{change.value}`" for change in decision.changes]
        found += [f"tag {tag}" for tag in decision.tags]
    return ", ".join(found)


def essence(decision):
    return decision.verdict, usual(decision), decision.changes, decision.target, decision.tags


def assert_told(one, two, messages=MESSAGES):
    decisions = [(decided(one, facts), decided(two, facts)) for facts in messages]
    expected = {told(was, now) for was, now in decisions if essence(was) != essence(now)}
    found = difference(one, two, WORLD)
    assert found.complete
    assert {(each.before, each.after) for each in found.changes if each.example} <= expected
    assert {(each.before, each.after) for each in found.changes} >= expected


fewer = settings(max_examples=min(settings().max_examples, 2_000))


@fewer
@given(
    rules=policies(ACTIONS, conditions), more=policies(ACTIONS, conditions), one=rows, two=rows, some=words,
    others=words, same=st.booleans(),
)  # fmt: skip
@pytest.mark.fuzz
@pytest.mark.timeout(0)
def test_tables_that_differ_are_told_by_the_messages_that_they_decide(rules, more, one, two, some, others, same):
    texts = [{key: to for key, to in each.items() if to != "x"} | {"b": "x"} for each in (some, others)]
    assert_told(
        compiled(rules, one, texts[0], tagged=True), compiled(rules if same else more, two, texts[1], tagged=True)
    )


CLASS_TESTS = ("premium", ["premium", "mobile"], "internal", "emergency", ["fixed", "other"])
of_classes = st.fixed_dictionaries(
    {},
    optional={
        party: st.sampled_from([each for test in CLASS_TESTS for each in ({"class": test}, {"not": {"class": test}})])
        for party in ("number", "caller")
    },
)
declared = st.dictionaries(
    st.sampled_from(("premium", "mobile", "internal", "emergency")),
    st.sampled_from(({"prefix": "+36"}, {"table": "numbers"}, ["+36201234567", "1001"], {"not": {"prefix": "+4"}})),
    max_size=3,
)


@fewer
@given(rules=policies(ACTIONS[:4], of_classes), one=rows, two=rows, old=declared, new=declared)
@pytest.mark.fuzz
@pytest.mark.timeout(0)
def test_classes_that_differ_are_told_by_the_messages_that_they_decide(rules, one, two, old, new):
    one, two = compiled(rules, one, classes=old, tagged=True), compiled(rules, two, classes=new, tagged=True)
    assert_told(one, two, OF_NUMBERS)


def test_one_number_more_in_a_very_large_table_is_told_by_itself():
    rules = [{"does": {"deny": "true"}, "when": {"number": {"table": "numbers"}}}, {"does": {"allow": "true"}}]
    many = {f"+3620{row:07}": "" for row in range(0, 300_000, 7)}
    (change,) = difference(compiled(rules, many), compiled(rules, many | {"+3670*": ""}), WORLD).changes
    assert (change.before, change.after, change.messages) == ("allow", "deny 306", ("command Call to +3670…",))
    assert change.example == "command Call by crm to +36701234567"
    assert not difference(compiled(rules, many), compiled(rules, dict(reversed(many.items()))), WORLD)


def test_a_row_that_leads_elsewhere_is_told_with_what_stays_inside_of_it():
    rules = [{"does": {"reroute": COLUMN, "allow": "true"}}]
    lines = {"+49*": "pbx-main", "+4989*": "pbx-marketing", "+36*": "pbx-main"}
    (change,) = difference(compiled(rules, lines), compiled(rules, lines | {"+49*": ""}), WORLD).changes
    assert (change.before, change.after, change.messages) == (
        "allow, to pbx-main",
        "allow",
        ("command Call to +49… but not +4989…",),
    )


def test_where_too_much_of_a_table_differs_it_is_told_as_a_whole():
    rules = [{"does": {"reroute": COLUMN, "allow": "true"}}]
    one = {f"+3620{row:07}": "pbx-main" for row in range(3_000)}
    (change,) = difference(compiled(rules, one), compiled(rules, dict.fromkeys(one, "pbx-marketing")), WORLD).changes
    line = "to the cluster in table `numbers` under `to` for the number"
    assert (change.before, change.after) == (f"allow, {line}", f"allow, {line}, in another way")


def test_a_column_that_is_looked_up_by_a_parameter_is_told_as_a_whole():
    by = {"cluster": {**COLUMN, "by": "Dialed"}}
    rules = [{"does": {"reroute": by, "allow": "true"}}]
    (change,) = difference(compiled(rules, {"1001": "pbx-main"}), compiled(rules, {"1001": ""}), WORLD).changes
    assert change.after.endswith("for parameter dialed, in another way")
    assert not difference(compiled(rules, {"1001": "pbx-main"}), compiled(rules, {"1001": "pbx-main"}), WORLD)


def test_changes_that_tables_give_have_the_words_of_their_rows():
    rules = [{"does": {"rewrite": {"set": {"A": {**COLUMN, "by": "caller"}}}, "allow": "true"}}]
    (change,) = difference(
        compiled(rules, {"1001": "pbx-main"}), compiled(rules, {"1001": "pbx-marketing"}), WORLD
    ).changes
    assert (change.before, change.after) == ("allow, A set to `pbx-main`", "allow, A set to `pbx-marketing`")
    assert change.messages == ("command Call with caller 1001",)
    decision = compiled(rules, {"1001": "pbx-main"}).decide(MESSAGES[0])
    assert SetParameter("A", "pbx-main") not in decision.changes
