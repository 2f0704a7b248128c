"""The example policy loads, and does what its comments say."""

from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from interceptor.policy import Source, compile_policy
from interceptor.values import Kind, RemoveParameter, SetParameter, ToCluster, Verb, Verdict

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "rules"
MONDAY_NOON = datetime(2024, 1, 1, 11, 0, tzinfo=UTC).timestamp()
MONDAY_NIGHT = datetime(2024, 1, 1, 22, 0, tzinfo=UTC).timestamp()


@pytest.fixture(scope="module")
def shipped(context):
    transfer = ["AttendedTransfer", "BlindTransfer", "Forward", "Hangup", "Hold", "Unhold"]
    texting = ["SendSms", "SendMessage", "SendAlarmNotification"]
    shared = ["Call", "CallSetup", "Request", "ForwardCall", *texting, "Play", "Speak", "Record", "SendDTMF", *transfer]
    reading = ["ListActiveCalls", "ListExtensions", "ListExtensionTypes", "GetConfig", "GetCallHistory", "RemoveConfig"]
    talking = ["Route", "UserInput", "GoTo", "Delay", "Reject", "Var", "Array", "ForEach", "DeleteFile"]
    wide = msgspec.structs.replace(context, commands=(*shared, *reading), verbs=(*shared, *talking))
    files = sorted(file for file in FOLDER.glob("**/*.yaml") if not file.name.endswith(".test.yaml"))
    return compile_policy([Source(path.name, path.read_bytes()) for path in files], wide)


@pytest.mark.parametrize(
    ("given", "verdict", "rule"),
    [
        ({"number": "112", "app": ""}, Verdict.ALLOW, "emergency-numbers-always-pass"),
        ({"kind": Kind.VERB, "name": "BlindTransfer", "number": "112"}, Verdict.ALLOW, "emergency-numbers-always-pass"),
        ({"number": "06901234567"}, Verdict.DENY, "premium-and-satellite-numbers-are-never-dialled"),
        (
            {"name": "BlindTransfer", "number": "06901234567"},
            Verdict.DENY,
            "premium-and-satellite-numbers-are-never-dialled",
        ),
        ({"kind": Kind.VERB, "number": "06901234567"}, Verdict.DENY, "premium-and-satellite-numbers-are-never-dialled"),
        ({"number": "06201234567"}, Verdict.ALLOW, "applications-may-dial-ordinary-numbers"),
        ({"number": "06201234567", "app": ""}, Verdict.DENY, ""),
        ({"name": "ListActiveCalls"}, Verdict.ALLOW, "applications-may-read"),
        ({"name": "RemoveConfig"}, Verdict.DENY, ""),
        ({"name": "Hangup"}, Verdict.ALLOW, "applications-control-their-calls"),
        ({"kind": Kind.VERB, "name": "UserInput"}, Verdict.ALLOW, "applications-talk-to-callers"),
        ({"kind": Kind.VERB, "name": "DeleteFile"}, Verdict.DENY, ""),
        ({"kind": Kind.NOTIFICATION, "name": "CallChanged"}, Verdict.ALLOW, ""),
    ],
)
def test_the_verdict(shipped, facts, given, verdict, rule):
    decision = shipped.decide(facts(at=MONDAY_NOON, **given))
    assert (decision.verdict, decision.rule) == (verdict, rule)


def test_the_crm_shows_the_main_line_at_home_only(shipped, facts):
    changes = shipped.decide(facts(number="06201234567")).changes
    assert changes == (SetParameter("CallerId", "+3612222222"), SetParameter("CallerDisplayName", "Example Ltd"))
    assert shipped.decide(facts(number="+4915112345678")).changes == ()
    assert shipped.decide(facts(number="06201234567", app="marketing")).changes == ()


def test_marketing_extensions_go_to_their_own_pbx(shipped, facts):
    decision = shipped.decide(facts(number="1001", values={"ApiExtension": "2001"}))
    assert decision.target == ToCluster("pbx-marketing")
    assert shipped.decide(facts(number="1001", values={"ApiExtension": "1001"})).target is None


@pytest.mark.parametrize(
    ("caller", "at", "destination"),
    [
        ("06 20 999 0001", MONDAY_NOON, ""),
        ("06 20 999 0001", MONDAY_NIGHT, ""),
        ("06201234567", MONDAY_NIGHT, "1099"),
        ("06201234567", MONDAY_NOON, None),
    ],
)
def test_calls_to_the_main_line(shipped, facts, caller, at, destination):
    asked = facts(kind=Kind.NOTIFICATION, name="RoutingInterception", caller=caller, number="+3612222222", at=at)
    decision = shipped.decide(asked)
    if destination is None:
        assert decision.verdict is Verdict.ALLOW
    else:
        (verb,) = decision.reply.verbs
        assert isinstance(verb, Verb)
        assert dict(verb.attributes)["Destination"] == destination


def test_the_trial_tells_calls_abroad_and_lets_them_pass(shipped, facts):
    abroad = shipped.decide(facts(number="+4915112345678"))
    assert abroad.verdict is Verdict.ALLOW
    assert [label.partition(" ")[2] for label in abroad.shadow] == ["trial-no-calls-abroad"]
    assert shipped.decide(facts(number="06201234567")).shadow == ()


def test_no_shipped_rule_takes_a_parameter_away(shipped):
    changes = [change for rule in shipped.rules for action in rule.actions for change in getattr(action, "changes", ())]
    assert not any(isinstance(change, RemoveParameter) for change in changes)
