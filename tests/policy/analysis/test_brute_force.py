"""The analysis says what going through every message says: on small worlds, thousands of them.

A world of three commands, two apps, a handful of texts and hours, and numbers of which every one stands for all that a
policy of these words can tell apart. What is said of a policy is compared with what all its messages say.
"""

import json
from itertools import product

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interceptor.policy import Source, compile_policy
from interceptor.policy.actions.outcome import Outcome
from interceptor.policy.analysis import analyse, difference
from interceptor.policy.analysis.callings import CALLS
from interceptor.policy.names import ANY
from interceptor.policy.readings import Readings
from interceptor.values import Facts, Kind, Severity, Verdict
from tests.policy.conftest import CONTEXT

WORLD = msgspec.structs.replace(
    CONTEXT,
    commands=("Call", "Hangup", "SendSms"),
    apps=frozenset(("crm", "marketing")),
    country="HU",
    extensions=("1xxx", "2xxx"),
    emergency=("105", "112"),
)
PREFIXES = ("1", "10", "+36", "+3620", "+3690", "+4")
EXACT = ("1001", "1002", "+36201234567", "+36901234567", "112")
REGIONS = (None, "x", "1", "10", "+36", "+3620", "+3690", "+4", *EXACT)  # one of everything that these tell apart
HOURS = (
    1_704_186_000.0,
    1_704_186_000.0 + 9 * 3600,
    1_704_186_000.0 + 4 * 86_400,
    1_704_186_000.0 + 4 * 86_400 + 32400,
)
TEXTS = (None, "", "a", "ab", "abc", "b")


def messages(numbers, hours, texts):
    return tuple(
        Facts(
            Kind.COMMAND, name, app, "10.0.0.7", None if number is None else WORLD.number(number), None,
            {} if text is None else {"foo": text}, {}, at,
        )
        for name, app, number, at, text in product(
            ("Call", "Hangup", "SendSms", "Unheard"), ("crm", "marketing"), numbers, hours, texts
        )
    )  # fmt: skip


PLAIN = messages(REGIONS, HOURS, TEXTS)

number_tests = st.one_of(
    st.sampled_from(EXACT),
    st.lists(st.sampled_from(EXACT), min_size=1, max_size=3, unique=True),
    st.fixed_dictionaries(
        {},
        optional={
            "prefix": st.lists(st.sampled_from(PREFIXES), min_size=1, max_size=2),
            "exists": st.sampled_from(("true", "false")),
            "not": st.one_of(st.sampled_from(EXACT), st.sampled_from(PREFIXES).map(lambda prefix: {"prefix": prefix})),
        },
    ).filter(bool),
)
classes = st.fixed_dictionaries(
    {"class": st.lists(st.sampled_from(("emergency", "premium", "internal", "mobile")), min_size=1, max_size=2)}
)
EXACTLY = {
    "app": st.sampled_from(("crm", "marketing", {"exists": "true"}, {"not": "crm"})),
    "number": number_tests,
    "time": st.sampled_from(({"days": "mon-fri"}, {"hours": "08:00-18:00"}, {"not": {"days": "sat-sun"}})),
    "Foo": st.one_of(
        st.sampled_from(("a", "ab", "b", {"exists": "true"}, {"exists": "false"})),
        st.sampled_from(({"prefix": "a"}, {"prefix": "ab"}, {"not": {"prefix": "a"}}, ["a", "b"])),
    ),
}


def policies(dimensions):
    leaves = st.one_of(
        *(st.fixed_dictionaries({name: tests}) for name, tests in dimensions.items()),
        st.fixed_dictionaries({}, optional=dimensions).filter(bool),
    )
    conditions = st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.fixed_dictionaries({"any": st.lists(inner, min_size=1, max_size=3)}),
            st.fixed_dictionaries({"not": inner}),
            st.fixed_dictionaries({"all": st.lists(inner, min_size=1, max_size=2)}),
        ),
        max_leaves=4,
    )
    rule = st.fixed_dictionaries(
        {
            "on": st.sampled_from(("command:Call", "command", ["command:Call", "command:Hangup"], "command:Hangup")),
            "does": st.sampled_from(
                (
                    {"allow": "true"},
                    {"allow": "true"},
                    {"deny": "true"},
                    {"deny": "true"},
                    {"deny": {"message": "no"}},
                    {"answer": {"code": "200"}},
                    {"tag": "seen"},
                    {"rewrite": {"set": {"Foo": "z"}}},
                    {"rewrite": {"remove": "Bar"}, "allow": "true"},
                    {"reroute": "pbx-main"},
                    {"reroute": "pbx-marketing", "tag": "moved"},
                )
            ),
            "mode": st.sampled_from(("enforce", "enforce", "enforce", "enforce", "shadow", "off")),
        },
        optional={"when": conditions},
    )
    invariant = st.fixed_dictionaries(
        {"on": st.sampled_from(("command:Call", "command"))}, optional={"when": conditions}
    ).flatmap(
        lambda covered: st.one_of(
            st.sampled_from(({"always": "allow"}, {"always": "deny"}, {"never": "deny"}, {"never": "answer"})),
            st.sampled_from(({"never": ["reroute", "rewrite"]}, {"never": ["allow", "answer"]})),
        ).map(lambda says: {"for": {"on": covered["on"], **covered.get("when", {})}, **says})
    )
    return st.tuples(st.lists(rule, max_size=6), st.lists(invariant, max_size=2))


class Enumerated:
    """What all messages say of a policy."""

    def __init__(self, policy, messages):
        self.policy = policy
        self.messages = messages
        self.remembered = {}
        self.rules = [rule for rule in policy.rules if rule.mode.value != "off"]
        readings = Readings()
        self.matches = {}
        for rule in self.rules:
            self.matches[rule.name] = frozenset(self._matching(rule.names, rule.when, readings))
        self.decisions = [self.decide(index) for index in range(len(self.messages))]

    def _matching(self, names, when, readings):
        mine = {name.lower() for name in names.get(Kind.COMMAND, ())}
        test = None if when is None else when.test(readings)
        for index, facts in enumerate(self.messages):
            if (ANY in mine or facts.name.lower() in mine) and (test is None or test(facts)):
                yield index

    def acting(self, index, without=None):
        """The rules that act on a message, in order."""
        for rule in self.rules:
            if rule is not without and index in self.matches[rule.name]:
                yield rule
                if rule.mode.value == "enforce" and any(action.ends for action in rule.actions):
                    return

    def decide(self, index, without=None):
        acting = tuple(self.acting(index, without))
        key = tuple(rule.name for rule in acting)
        if key not in self.remembered:
            self.remembered[key] = self.outcome(acting)
        return self.remembered[key]

    @staticmethod
    def outcome(acting):
        outcome = Outcome(Kind.COMMAND)
        message = None
        for rule in acting:
            if rule.mode.value == "enforce":
                for action in rule.actions:
                    action.act(outcome)
                    message = getattr(action, "message", message)
        verdict = outcome.verdict or Verdict.DENY
        leaves = verdict is Verdict.ALLOW
        return (
            verdict,
            message if verdict is not Verdict.ALLOW else None,
            tuple(outcome.changes) if leaves else (),
            outcome.target if leaves else None,
            frozenset(outcome.tags),
        )

    def never_acting(self):
        acted = {rule.name for index in range(len(self.messages)) for rule in self.acting(index)}
        return {rule.name for rule in self.rules if rule.name not in acted}

    def redundant(self):
        never = self.never_acting()
        for rule in self.rules:
            if rule.mode.value == "enforce" and rule.name not in never:
                touched = self.matches[rule.name]
                if all(self.decide(index, without=rule) == self.decisions[index] for index in touched):
                    yield rule.name

    def contradicting(self, settled):
        skipped = self.never_acting() | set(self.redundant())
        enders = [
            rule for rule in self.rules if rule.mode.value == "enforce" and any(action.ends for action in rule.actions)
        ]
        ends = {rule.name: next(action for action in rule.actions if action.ends) for rule in enders}
        found = set()
        for index in range(len(self.messages)):
            met = [rule.name for rule in enders if index in self.matches[rule.name]][:2]
            if len(met) < 2 or index in settled or met[0] in skipped:
                continue
            one, two = met
            if type(ends[one]) is type(ends[two]):
                continue
            if not self.matches[one] <= self.matches[two] and not self.matches[two] <= self.matches[one]:
                found.add((one, two))
        return found

    def broken(self):
        readings = Readings()
        for invariant in self.policy.invariants:
            known = [
                index for index in self._matching(invariant.names, invariant.when, readings) if self.messages[index].app
            ]
            for index in known:
                verdict, _, changes, target, _ = self.decisions[index]
                happens = {verdict.value} | {"rewrite"} & {"rewrite" if changes else ""}
                happens |= {"reroute"} if target is not None else set()
                if (invariant.always is not None and verdict is not invariant.always) or happens & set(invariant.never):
                    yield invariant.name
                    break

    def settled(self):
        readings = Readings()
        return {
            index
            for invariant in self.policy.invariants
            if invariant.always is not None
            for index in self._matching(invariant.names, invariant.when, readings)
            if self.messages[index].app
        }


def compiled(written):
    rules, invariants = written
    text = {
        "rules": [
            {"name": f"rule {index}"} | {key: value for key, value in rule.items() if key != "does"} | rule["does"]
            for index, rule in enumerate(rules)
        ],
        "invariants": [{"name": f"invariant {index}", **each} for index, each in enumerate(invariants)],
    }
    written = {key: each for key, each in text.items() if each}
    return compile_policy([Source("p.yaml", json.dumps(written).encode() if written else b"")], WORLD)


CALLED = tuple(
    Facts(Kind.COMMAND, name, app, "10.0.0.7", None, None, {}, {}, 0.0, call=call)
    for name, app, call in product(("Call", "Hangup", "Unheard"), ("crm", "marketing"), CALLS)
)
OF_CALLS = {
    "app": st.sampled_from(("crm", "marketing", {"not": "crm"})),
    "call": st.one_of(
        st.fixed_dictionaries(
            {},
            optional={
                "owned": st.sampled_from(("true", "false")),
                "state": st.sampled_from(("held", ["ringing", "connected"], {"not": "ended"})),
                "direction": st.sampled_from(("incoming", "outgoing", ["incoming", "outgoing"])),
                "exists": st.sampled_from(("true", "false")),
            },
        ).filter(bool),
        st.sampled_from(({"not": {"owned": "true"}}, {"any": [{"state": "held"}, {"exists": "false"}]})),
    ),
}


def pairs_of(finding):
    above, *below = (label.partition(" ")[2] for label in finding.rules)
    return product((above,), below)


def named(findings, *codes):
    return {finding.rules[0].partition(" ")[2] for finding in findings if finding.code in codes}


@settings(max_examples=min(settings().max_examples, 5_000))
@given(written=policies(EXACTLY))
@pytest.mark.fuzz
@pytest.mark.timeout(0)
def test_what_is_said_of_finite_spaces_is_what_all_messages_say(written):
    assert_all_is_said(written, PLAIN)


@settings(max_examples=min(settings().max_examples, 5_000))
@given(written=policies(OF_CALLS))
@pytest.mark.fuzz
@pytest.mark.timeout(0)
def test_what_is_said_of_calls_is_what_all_messages_say(written):
    assert_all_is_said(written, CALLED)


def assert_all_is_said(written, messages):
    if not any(written):
        return
    policy = compiled(written)
    enumerated, findings = Enumerated(policy, messages), analyse(policy, WORLD)
    assert not [finding for finding in findings if finding.code in ("cannot_be_decided", "invariant_undecided")]
    assert enumerated.never_acting() == named(findings, "hidden_rule", "never_matches")
    assert set(enumerated.redundant()) == named(findings, "redundant_rule")
    pairs = {pair for each in findings if each.code == "contradiction" for pair in pairs_of(each)}
    assert enumerated.contradicting(enumerated.settled()) == pairs
    violated = {each.message.split("`")[1] for each in findings if each.code == "invariant_violated"}
    assert set(enumerated.broken()) == violated
    assert all((each.code == "invariant_violated") == (each.severity is Severity.ERROR) for each in findings)


@settings(max_examples=min(settings().max_examples, 5_000))
@given(old=policies(EXACTLY), new=policies(EXACTLY), data=st.data())
@pytest.mark.fuzz
@pytest.mark.timeout(0)
def test_the_difference_of_two_policies_is_what_differs_for_some_message(old, new, data):
    assert_difference(old, new, data, PLAIN)


@settings(max_examples=min(settings().max_examples, 5_000))
@given(old=policies(OF_CALLS), new=policies(OF_CALLS), data=st.data())
@pytest.mark.fuzz
@pytest.mark.timeout(0)
def test_the_difference_of_two_policies_of_calls_is_what_differs_for_some_message(old, new, data):
    assert_difference(old, new, data, CALLED)


def assert_difference(old, new, data, messages):
    rules = old[0]
    kind = data.draw(st.sampled_from(("others", "moved", "without one", "one more")))
    if kind == "moved":
        rules = data.draw(st.permutations(rules))
    elif kind == "without one" and rules:
        at = data.draw(st.integers(0, len(rules) - 1))
        rules = [*rules[:at], *rules[at + 1 :]]
    elif kind == "one more":
        at = data.draw(st.integers(0, len(rules)))
        rules = [*rules[:at], *new[0][:1], *rules[at:]]
    else:
        rules = new[0]
    one, two = compiled((old[0], [])), compiled((rules, []))
    before, after = Enumerated(one, messages), Enumerated(two, messages)
    pairs = set(zip(before.decisions, after.decisions, strict=True))
    differing = {(was[0].value, now[0].value) for was, now in pairs if was != now}
    found = difference(one, two, WORLD)
    assert found.complete
    told = {(each.before.split(",")[0].split()[0], each.after.split(",")[0].split()[0]) for each in found.changes}
    assert told == differing
    assert any(each.newly_allowed for each in found.changes) == any(now == "allow" != was for was, now in differing)
    assert any(each.newly_denied for each in found.changes) == any(now == "deny" != was for was, now in differing)
    assert all(each.example and each.messages and each.before != each.after for each in found.changes)
