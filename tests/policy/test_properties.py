"""Promises about every policy: the index finds what asking each rule finds, a deny never grants, bytes never raise."""

import json
import re
from datetime import datetime
from hashlib import blake2b
from ipaddress import ip_address, ip_network
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from interceptor.policy import Source, compile_policy, index
from interceptor.policy.actions.outcome import Outcome
from interceptor.policy.names import ANY
from interceptor.values import CallFacts, Facts, Kind, Number, NumberClass, ProblemsError, Verdict

NUMBERS = ("1001", "1002", "+36201234567", "+36901234567", "+4915112345678", "112", "+36", "")
APPS = ("", "crm", "marketing", "switchboard")
SOURCES = ("10.0.0.7", "10.1.0.1", "::ffff:10.0.0.7", "2001:db8::1", "rubbish")
CALLS = (None, CallFacts(), CallFacts(True, "held", "incoming"), CallFacts(False, "ended", "outgoing"))
TEXTS = ("", "a", "ab", "abc", "b", "7", "-5", "1002")
ROWS = {
    "customers": {"+36201234567": "gold", "+3630*": "silver", "+36301*": "gold", "1001": ""},
    "blocked": {"+3690*": "", "+4915112345678": "", "1002": ""},
    "tenants": {"a": "gold", "ab": "silver"},
    "words": {"ab": "", "abc": ""},
    "days": {"11-15": "", "2023-11-21": ""},
}
COLUMNS = {"customers": "number,tier", "tenants": "tenant,plan", "days": "date,name"}
TABLES = [
    Source(f"tables/{name}.csv", "\n".join([COLUMNS[name], *(",".join(row) for row in rows.items())]).encode())
    if name in COLUMNS
    else Source(f"tables/{name}.txt", "\n".join(rows).encode())
    for name, rows in ROWS.items()
]
HEAD = "rules:\n"

number_tests = st.one_of(
    st.sampled_from([number for number in NUMBERS if number]),
    st.lists(st.sampled_from(NUMBERS[:6]), min_size=1, max_size=5),
    st.fixed_dictionaries(
        {},
        optional={
            "prefix": st.lists(
                st.sampled_from(("1", "10", "1001", "+36", "+3620", "+4", "11")), min_size=1, max_size=3
            ),
            "class": st.lists(st.sampled_from(("premium", "mobile", "internal", "emergency")), min_size=1, max_size=2),
            "country": st.sampled_from(("HU", "DE")),
            "type": st.lists(st.sampled_from(("mobile", "extension", "unknown")), min_size=1, max_size=2),
            "length": st.sampled_from(("4", "3..4", "11..", "..4", "10..13", ["4", "11"])),
            "exists": st.sampled_from(("true", "false")),
            "not": st.sampled_from(NUMBERS[:4]),
            "table": st.sampled_from(("customers", "blocked", ["customers", "blocked"])),
        },
    ).filter(bool),
)
with_column = st.fixed_dictionaries(
    {
        "table": st.just("customers"),
        "column": st.just("tier"),
        "is": st.one_of(st.sampled_from(("gold", "silver", "tin", "")), st.just(["gold", "silver"])),
    }
)
number_tests = st.one_of(number_tests, number_tests, with_column)
text_tests = st.one_of(
    st.sampled_from(TEXTS),
    st.fixed_dictionaries(
        {},
        optional={
            "exact": st.lists(st.sampled_from(TEXTS), min_size=1, max_size=5),
            "prefix": st.lists(st.sampled_from(TEXTS[1:]), min_size=1, max_size=2),
            "suffix": st.sampled_from(TEXTS[1:]),
            "contains": st.lists(st.sampled_from(TEXTS[1:]), min_size=1, max_size=3),
            "regex": st.sampled_from(("^a", "b$", "[ac]")),
            "exists": st.sampled_from(("true", "false")),
            "range": st.sampled_from(("1..9", "..0", "7", ["7..", "-5"])),
            "length": st.sampled_from(("1", "..1", "2..3", ["0", "3.."])),
            "table": st.sampled_from(("words", "tenants", ["tenants", "blocked"])),
        },
    ).filter(bool),
    with_column.map(lambda rows: rows | {"table": "tenants", "column": "plan"}),
)
DIMENSIONS = {
    "app": st.one_of(
        st.sampled_from(APPS[1:]),
        st.lists(st.sampled_from(APPS[1:]), min_size=1, max_size=2),
        st.just({"exists": "false"}),
    ),
    "source": st.lists(
        st.sampled_from(("10.0.0.7", "10.0.0.0/8", "10.0.0.0/16", "2001:db8::/32", "0.0.0.0/0")),
        min_size=1,
        max_size=2,
    ),
    "number": number_tests,
    "caller": number_tests,
    "time": st.sampled_from(
        (
            {"days": "mon-fri"},
            {"hours": "22:00-06:00"},
            {"not": {"days": "sun"}},
            {"dates": "2023-11-20"},
            {"dates": ["11-16..11-17", "2023-11-22.."]},
            {"holidays": "days"},
            {"not": {"holidays": "days"}},
        )
    ),
    "header": st.fixed_dictionaries({"X-Tenant": text_tests}),
    "tag": st.one_of(
        st.sampled_from(("seen", "moved", "refused")),
        st.sampled_from(
            (["seen", "refused"], {"not": "seen"}, {"all": ["seen", "moved"]}, {"any": ["moved", "refused"]})
        ),
    ),
    "sample": st.sampled_from(("0.01%", "50%", "100%")),
    "call": st.fixed_dictionaries(
        {},
        optional={
            "owned": st.sampled_from(("true", "false")),
            "state": st.sampled_from(("held", ["ringing", "ended"])),
            "direction": st.sampled_from(("incoming", "outgoing")),
            "exists": st.sampled_from(("true", "false")),
            "not": st.sampled_from(({"owned": "true"}, {"state": "held"})),
        },
    ).filter(bool),
    "Foo": text_tests,
    "Bar": text_tests,
}
leaves = st.one_of(
    *(st.fixed_dictionaries({name: tests}) for name, tests in DIMENSIONS.items()),
    st.fixed_dictionaries({}, optional=DIMENSIONS).filter(bool),
)
conditions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.fixed_dictionaries({"any": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"all": st.lists(inner, min_size=1, max_size=3)}),
        st.fixed_dictionaries({"not": inner}),
        st.tuples(inner, st.fixed_dictionaries({"any": st.lists(inner, min_size=1, max_size=2)})).map(
            lambda both: both[0] | both[1]
        ),
    ),
    max_leaves=5,
)
actions = st.sampled_from(
    (
        {"allow": "true"},
        {"deny": "true"},
        {"deny": {"code": "307"}, "tag": "refused"},
        {"tag": "seen"},
        {"tag": ["seen", "moved"]},
        {"tag": "refused", "deny": "true"},
        {"rewrite": {"set": {"Foo": "z"}}},
        {"rewrite": {"remove": "Bar"}, "allow": "true"},
        {"reroute": "pbx-main"},
        {"reroute": "pbx-marketing", "tag": "moved"},
    )
)
rules = st.lists(
    st.tuples(
        st.sampled_from(("Call", "command", "*", ["Hangup", "verb:Route"], "other:Foo", ["Call", "Hangup", "SendSms"])),
        st.one_of(st.none(), conditions),
        actions,
        st.sampled_from(("enforce", "enforce", "enforce", "shadow", "off")),
    ).map(
        lambda parts: (
            {"on": parts[0], "mode": parts[3]}
            | ({} if parts[1] is None else {"when": parts[1]})
            | _fitting(parts[0], parts[2])
        )
    ),
    max_size=12,
).map(lambda written: [ALL_TAGS, *written])
# Switched off, it gives no message a tag; but the rules below may ask for these.
ALL_TAGS = {"on": "*", "mode": "off", "tag": ["seen", "moved", "refused", "elsewhere"]}


def _fitting(on, action):
    """`other:` and verbs know no clusters; a tag does for them."""
    return {"tag": "elsewhere"} if "reroute" in action and on not in ("Call", "command", "*") else action


@pytest.fixture(scope="module")
def messages(context):
    def number(text):
        return None if text == "" else context.number(text)

    return st.builds(
        Facts,
        kind=st.sampled_from(Kind),
        name=st.sampled_from(("Call", "Hangup", "SendSms", "Route", "call", "Foo", "FOO", "Unheard", "")),
        app=st.sampled_from(APPS),
        source=st.sampled_from(SOURCES),
        number=st.sampled_from(NUMBERS).map(number),
        caller=st.sampled_from(NUMBERS).map(number),
        values=st.dictionaries(st.sampled_from(("foo", "bar")), st.sampled_from(TEXTS)),
        headers=st.dictionaries(st.just("x-tenant"), st.sampled_from(TEXTS)),
        exchange=st.sampled_from(("e1", "e2", "e3", "")),
        call=st.sampled_from(CALLS),
        at=st.integers(0, 14 * 24).map(lambda hours: 1_700_000_000.0 + hours * 3600),
    )


def compiled(written, context):
    named = [{"name": f"rule {index}", **rule} for index, rule in enumerate(written)]
    rules = Source("p.yaml", json.dumps({"rules": named}).encode() if named else b"")
    return compile_policy([rules, *TABLES], context)


def naive(written, policy, facts, default):
    """The verdict, the rules and the effects, by asking every rule as it was written, in order."""
    outcome, acted, shadow = Outcome(facts.kind), [], []
    tags = {"enforce": set(), "shadow": set()}
    for rule, read in zip(written, policy.rules, strict=True):
        names = {name.lower() for name in read.names.get(facts.kind, ())}
        named = ANY in names or facts.name.lower() in names
        if (
            rule["mode"] == "off"
            or not named
            or not ("when" not in rule or holds(rule["when"], facts, tags[rule["mode"]]))
        ):
            continue
        given = rule.get("tag", ())
        for mode in ("enforce", "shadow") if rule["mode"] == "enforce" else ("shadow",):
            tags[mode] |= {given} if isinstance(given, str) else set(given)
        if rule["mode"] == "shadow":
            shadow.append(read.label)
            continue
        acted.append(read.label)
        for action in read.actions_for(facts.kind):
            action.act(outcome)
        if outcome.verdict is not None:
            break
    verdict = outcome.verdict or default
    changes = tuple(outcome.changes) if verdict is Verdict.ALLOW else ()
    target = outcome.target if verdict is Verdict.ALLOW else None
    return verdict, tuple(acted), tuple(shadow), changes, target, tuple(outcome.tags)


def holds(when, facts, tags):
    """The meaning of a written `when`, said once more and without any of the compiler."""
    return all(dimension(key, test, facts, tags) for key, test in when.items())


def dimension(key, test, facts, tags):
    match key:
        case "any":
            return any(holds(part, facts, tags) for part in test)
        case "all":
            return all(holds(part, facts, tags) for part in test)
        case "not":
            return not holds(test, facts, tags)
        case "tag":
            return asked(test, tags, lambda _name, word, tags: word in tags)
        case "sample":
            # Said once more; the calls of the context are in no message here.
            place = int(blake2b(facts.exchange.encode(), digest_size=8).hexdigest(), 16)
            return place < float(test.rstrip("%")) / 100 * 2**64
        case "app":
            return asked(test, facts.app or None, text_test)
        case "call":
            return asked(test, facts.call, call_test)
        case "source":
            return asked(test, facts.source, source_test)
        case "number" | "caller":
            return asked(test, getattr(facts, key), number_test)
        case "time":
            return asked(test, datetime.fromtimestamp(facts.at, ZoneInfo("Europe/Budapest")), time_test)
        case "header":
            return all(asked(inner, facts.headers.get(name.lower()), text_test) for name, inner in test.items())
    return asked(test, facts.values.get(key.lower()), text_test)


def asked(test, value, one):
    """A value, a list of them, or a mapping of tests."""
    if isinstance(test, list):
        return any(asked(inner, value, one) for inner in test)
    if not isinstance(test, dict):
        return one("exact", test, value)
    if "column" in test:
        wanted = test["is"] if isinstance(test["is"], list) else [test["is"]]
        return value is not None and row(test["table"], value) in wanted
    return all(
        not asked(inner, value, one)
        if name == "not"
        else any(asked(part, value, one) for part in inner)
        if name == "any"
        else all(asked(part, value, one) for part in inner)
        if name == "all"
        else (value is not None) == (inner == "true")
        if name == "exists"
        else any(one(name, word, value) for word in (inner if isinstance(inner, list) else [inner]))
        for name, inner in test.items()
    )


def row(table, value):
    """The value in the row of a table, `None` where none fits."""
    key = value.canonical if isinstance(value, Number) else value
    rows = ROWS[table]
    fitting = [entry for entry in rows if entry.endswith("*") and key.startswith(entry[:-1])]
    found = key if key in rows else max(fitting, key=len, default=None)
    return None if found is None else rows[found]


def text_test(name, word, value):
    tests = {
        "exact": lambda: value == word,
        "prefix": lambda: value.startswith(word),
        "suffix": lambda: value.endswith(word),
        "contains": lambda: word in value,
        "regex": lambda: re.search(word, value) is not None,
        "range": lambda: value.lstrip("-").isdigit() and spanned(word, int(value)),
        "length": lambda: spanned(word, len(value)),
        "table": lambda: row(word, value) is not None,
    }
    return value is not None and tests[name]()


def number_test(name, word, value):
    tests = {
        "exact": lambda: value.canonical == word,
        "prefix": lambda: value.canonical.startswith(word),
        "class": lambda: value.number_class.value == word,
        "country": lambda: value.country == word,
        "type": lambda: value.number_type.value == word,
        "length": lambda: spanned(word, len(value.canonical.lstrip("+"))),
        "table": lambda: row(word, value) is not None,
    }
    return value is not None and tests[name]()


def call_test(name, word, value):
    if value is None:
        return False
    return value.owned == (word == "true") if name == "owned" else word == getattr(value, name)


def spanned(span, number):
    least, dots, most = span.partition("..")
    return (
        number == int(least) if not dots else (not least or int(least) <= number) and (not most or number <= int(most))
    )


def source_test(_name, word, value):
    try:
        address = ip_address(value)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address) in ip_network(word)


def time_test(name, word, value):
    if name in ("dates", "holidays"):
        days = {"2023-11-20": (20,), "11-16..11-17": (16, 17), "2023-11-22..": range(22, 32), "days": (15, 21)}
        return value.day in days[word]
    if name == "days":
        return value.strftime("%a").lower() in (["sun"] if word == "sun" else ["mon", "tue", "wed", "thu", "fri"])
    return value.hour >= 22 or value.hour < 6


def decided(policy, facts):
    found = policy.decide(facts)
    return found.verdict, found.rules, found.shadow, found.changes, found.target, found.tags


@pytest.mark.parametrize("shared_from", [index.SHARED_FROM, 1], ids=["own tables", "shared tables"])
@given(data=st.data())
def test_the_index_finds_what_asking_every_rule_finds(data, context, messages, shared_from):
    written = data.draw(rules)
    before, index.SHARED_FROM = index.SHARED_FROM, shared_from
    try:
        policy = compiled(written, context)
    finally:
        index.SHARED_FROM = before
    for facts in data.draw(st.lists(messages, min_size=1, max_size=8)):
        expected = naive(written, policy, facts, context.defaults[facts.kind])
        assert decided(policy, facts) == expected
        assert decided(policy, facts) == expected  # remembered


short = st.text(alphabet="12", min_size=1, max_size=4)


@given(prefixes=st.lists(st.lists(short, min_size=1, max_size=3), min_size=1, max_size=8), dialled=short)
def test_a_number_finds_every_prefix_that_it_begins_with(prefixes, dialled, context):
    for when, part in (("number", "number"), ("caller", "caller"), ("Foo", "values")):
        written = [
            {"on": "Call", "when": {when: {"prefix": several}}, "tag": str(index)}
            for index, several in enumerate(prefixes)
        ]
        number = Number(dialled, dialled, "", NumberClass.OTHER)
        given_parts = {"number": None, "caller": None, "values": {}}
        given_parts[part] = {"foo": dialled} if part == "values" else number
        asked = Facts(kind=Kind.COMMAND, name="Call", app="", source="", headers={}, at=0.0, **given_parts)
        expected = tuple(str(at) for at, several in enumerate(prefixes) if dialled.startswith(tuple(several)))
        assert compiled(written, context).decide(asked).tags == expected


@given(data=st.data())
def test_adding_a_deny_never_allows_what_was_denied(data, context, messages):
    written = data.draw(rules)
    at = data.draw(st.integers(1, len(written)))
    deny = {"on": "*", "deny": "true"}
    when = data.draw(st.one_of(st.none(), conditions))
    more = [*written[:at], deny if when is None else deny | {"when": when}, *written[at:]]
    less, stricter = compiled(written, context), compiled(more, context)
    for facts in data.draw(st.lists(messages, min_size=1, max_size=8)):
        if less.decide(facts).verdict is Verdict.DENY:
            assert stricter.decide(facts).verdict is Verdict.DENY


def refused_with_places(data, context):
    """Compile, or collect the problems; anything else is an exception and fails the test."""
    try:
        compile_policy([Source("any.yaml", data), *TABLES], context)
    except ProblemsError as error:
        lines = data.count(b"\n") + data.count(b"\r") + data.count(b"\xc2\x85") + data.count(b"\xe2\x80") + 2
        for problem in error.problems:
            assert problem.place.file == "any.yaml"
            assert 1 <= problem.place.line <= lines
            assert problem.place.column >= 1
            assert problem.message
            assert "\n" not in problem.code


@given(data=st.binary(max_size=300))
def test_any_bytes_are_rules_or_problems_with_a_place(data, context):
    refused_with_places(data, context)


@given(data=st.text(alphabet="{}[]:,-'\"\n \t#&*!|>%@`?~.0aé\u2028\x85", max_size=80))
def test_any_punctuation_is_rules_or_problems_with_a_place(data, context):
    refused_with_places(HEAD.encode() + b"  - name: it\n    on: Call\n    when: " + data.encode(), context)


WORDS = """
    rules name on when mode any all not app source number caller time header parameters prefix class country exists days
    hours zone allow deny answer rewrite reroute tag set remove rename replace regex with code message cluster url Call
    type length range table column is dates holidays sample tag days customers words tier gold mobile 4 3..6 12-24
    2026-12-24..2026-12-26 10% seen call owned state direction connected incoming
    Dialed crm mon 08:00-18:00 true 10.0.0.0/8 +36 1001 premium HU UTC pbx-main Route do text * ~
"""
words = st.sampled_from(WORDS.split())
trees = st.recursive(
    words,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(words, inner, max_size=4)),
    max_leaves=12,
)


KEYS = ("name", "on", "when", "mode", "allow", "deny", "answer", "rewrite", "reroute", "tag")


@given(top=st.fixed_dictionaries({}, optional=dict.fromkeys(("classes", "holidays"), trees)))
def test_any_declarations_of_known_words_are_read_or_problems_with_a_place(top, context):
    refused_with_places(json.dumps({"rules": [], **top}).encode(), context)


@given(rule=st.dictionaries(st.sampled_from(KEYS), trees, min_size=1))
@example(rule={"tag": "x", "when": {"app": "nobody", "source": "nowhere"}})  # of neither condition anything remains
def test_any_tree_of_known_words_is_rules_or_problems_with_a_place(rule, context):
    refused_with_places(json.dumps({"rules": [rule]}).encode(), context)
