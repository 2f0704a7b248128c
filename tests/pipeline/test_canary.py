"""A share of the calls is decided by other rules, each from its beginning to its end."""

from urllib.parse import unquote_to_bytes

import pytest
from msgspec.structs import replace

from interceptor.canary import CanaryRules, is_among, read_share
from interceptor.exchanges import Forward
from interceptor.policy import RuleSet
from interceptor.settings import CallbackSettings, CallsRule, Ownership, Url
from interceptor.values import Verdict
from tests.pipeline.conftest import command, notification, site
from tests.pipeline.test_known_calls import AT, FREEZE, SILENT, Line, rules_of

CALLS = [f"call-{number}" for number in range(400)]
WITH_CALLBACKS = replace(site(), callbacks=CallbackSettings(public_url=Url("proxy.test", 7781, "")))


@pytest.fixture
def line() -> Line:
    return Line(SILENT, WITH_CALLBACKS)


def canary_of(line: Line, percent: float, text: str = FREEZE) -> CanaryRules:
    return CanaryRules(rules_of(text, line.settings), percent)


def begin(line: Line, percent: float) -> RuleSet:
    """Give a share of the calls to a canary; its rules."""
    canary = canary_of(line, percent)
    line.pipeline.adopt(line.pipeline.rules, AT, canary)
    return canary.rules


def told(line: Line, call: str, more: str = "", target: bytes = b"/") -> str:
    """The revision that decides a notification of a call, which is answered."""
    body = f"NotificationName=CallChanged&CallId={call}{more}".encode()
    opened = line.pipeline.begin(notification(body, target=target))
    line.pipeline.finish(opened, 200, b"<Response/>")
    assert opened.record.revision == opened.decision.revision
    return opened.decision.revision


def asked(line: Line, call: str, exchange: str = "x-1") -> str:
    """The revision that decides a command that names a call."""
    return line.pipeline.begin(command(f"/?command=Hold&CallId={call}".encode(), exchange=exchange)).record.revision


@pytest.mark.parametrize(
    ("written", "percent"),
    [
        ("5%", 5.0),
        (" 0.25 % ", 0.25),
        ("off", 0.0),
        ("0%", 0.0),
        ("100%", 100.0),
        ("101%", None),
        ("5", None),
        ("", None),
    ],
)
def test_a_share_is_written_in_percent(written: str, percent: float | None) -> None:
    assert read_share(written) == percent


def test_about_the_share_is_taken_and_a_larger_one_has_the_smaller_in_it() -> None:
    taken = [{call for call in CALLS if is_among(call, percent)} for percent in (0, 5, 25, 100)]
    assert [len(each) for each in taken] == [0, 26, 102, 400]
    assert taken[0] < taken[1] < taken[2] < taken[3]


def test_a_canary_and_a_rule_with_a_sample_choose_independently() -> None:
    text = 'rules: [{name: some, on: "*", when: {sample: 50%}, tag: some}, {name: rest, on: "*", allow: true}]'
    sampled = Line(text)
    begun = [sampled.pipeline.begin(command(f"/?command=Hold&CallId={call}".encode())) for call in CALLS]
    both = sum(bool(each.decision.tags) for each, call in zip(begun, CALLS, strict=True) if is_among(call, 50))
    assert 80 < both < 120  # a quarter


def test_each_call_is_decided_by_one_revision_in_all_its_messages(line: Line) -> None:
    policy, canary = line.pipeline.rules.revision, begin(line, 25).revision
    seen = {}
    for number, call in enumerate(CALLS):
        revisions = {asked(line, call, f"x-{number}"), told(line, call), asked(line, call, f"y-{number}")}
        revisions.add(told(line, call, "&CallState=Completed"))
        assert len(revisions) == 1, call
        seen[call] = revisions.pop()
    assert [list(seen.values()).count(each) for each in (canary, policy)] == [102, 298]
    counted = line.pipeline.canary
    assert counted is not None
    assert counted.counted == {(canary, "deny"): 4 * 102, (policy, "allow"): 4 * 298}


def test_calls_in_progress_stay_with_the_policy_when_a_canary_comes_and_with_the_canary_when_it_goes(
    line: Line,
) -> None:
    policy = line.pipeline.rules
    assert told(line, "before") == policy.revision
    canary = begin(line, 100)
    assert [told(line, "before"), asked(line, "before"), told(line, "meanwhile")] == [
        policy.revision,
        policy.revision,
        canary.revision,
    ]
    line.pipeline.adopt(policy, AT)
    assert [told(line, "meanwhile"), asked(line, "meanwhile"), told(line, "after")] == [
        canary.revision,
        canary.revision,
        policy.revision,
    ]
    assert len(line.pipeline.older) == 1
    begin(line, 50)  # it comes back: it decides, and is none of the older any more
    assert (len(line.pipeline.older), told(line, "meanwhile")) == (0, canary.revision)
    line.pipeline.adopt(policy, AT)
    assert told(line, "meanwhile", "&CallState=Completed") == canary.revision
    line.pipeline.let_go(AT + 1000)
    assert len(line.pipeline.older) == 0


def test_other_rules_in_the_place_of_the_policy_leave_the_canary_its_calls(line: Line) -> None:
    canary = begin(line, 100)
    told(line, "abc")
    stays = line.pipeline.canary
    other = rules_of(FREEZE.replace("Frozen", "Other"), line.settings)
    line.pipeline.adopt(other, AT, stays)
    assert [told(line, "abc"), len(line.pipeline.older)] == [canary.revision, 1]
    line.pipeline.adopt(other, AT, canary_of(line, 100, FREEZE.replace("Frozen", "Next")))
    assert [told(line, "abc"), len(line.pipeline.older)] == [canary.revision, 2]


def test_with_calls_that_change_nothing_is_kept_of_a_canary_that_went() -> None:
    settings = site()
    line = Line(SILENT, replace(settings, policy=replace(settings.policy, calls=CallsRule.CHANGE)))
    policy, canary = line.pipeline.rules, begin(line, 100)
    assert told(line, "abc") == canary.revision
    line.pipeline.adopt(policy, AT)
    assert [told(line, "abc"), len(line.pipeline.older)] == [policy.revision, 0]


def test_what_comes_to_a_callback_is_decided_by_the_rules_that_its_command_began_with(line: Line) -> None:
    text = FREEZE.replace('on: "*"', "on: Hold", 1)
    policy, canary = line.pipeline.rules, canary_of(line, 50, text)
    line.pipeline.adopt(policy, AT, canary)
    by_exchange = {True: 0, False: 0}
    for number in range(40):
        asks = command(b"/?command=Call&Dialed=1001&Url=http://crm.test:8001/connected", exchange=f"x-{number}")
        opened = line.pipeline.begin(asks)
        assert isinstance(opened.plan, Forward)
        path = unquote_to_bytes(opened.plan.path).partition(b"proxy.test:7781")[2].partition(b"&")[0]
        assert path.startswith(b"/cb/")
        began = opened.record.revision
        assert (began == canary.rules.revision) == canary.takes(f"x-{number}")
        by_exchange[began == canary.rules.revision] += 1
        # its id would choose anew, but the callback says what it began with, and from then on the call has it
        assert {told(line, f"call-{number}", target=path), told(line, f"call-{number}")} == {began}
        assert asked(line, f"call-{number}") == began
        assert told(line, f"call-{number}", "&CallState=Completed", target=path) == began
    assert min(by_exchange.values()) > 10


def test_verbs_in_an_answer_are_judged_by_the_canary_that_decided_the_message(line: Line) -> None:
    text = """
rules:
  - {name: no-transfers, on: "verb:BlindTransfer", deny: true}
  - {name: rest, on: "*", allow: true}
"""
    line.pipeline.adopt(line.pipeline.rules, AT, canary_of(line, 100, text))
    opened = line.pipeline.begin(notification(b"NotificationName=IncomingCall&CallId=abc"))
    assert opened.decision.verdict is Verdict.ALLOW
    judged = line.pipeline.finish(opened, 200, b'<Response><BlindTransfer Target="1001"/></Response>').judged
    assert judged is not None
    assert judged.refused == 1


def test_a_refusal_names_the_revision_that_would_have_decided() -> None:
    settings = replace(site(), ownership=Ownership.ENFORCE)
    line = Line(SILENT, settings)
    canary = canary_of(line, 100, SILENT + " # next")
    line.pipeline.adopt(line.pipeline.rules, AT, canary)
    opened = line.pipeline.begin(command(b"/?command=Hangup&CallId=not-mine"))
    assert (opened.decision.reason, opened.record.revision) == ("not_owned", canary.rules.revision)


def test_what_names_no_call_is_chosen_by_its_exchange(line: Line) -> None:
    canary = canary_of(line, 25)
    line.pipeline.adopt(line.pipeline.rules, AT, canary)
    for number in range(100):
        opened = line.pipeline.begin(command(exchange=f"x-{number}"))
        assert (opened.record.revision == canary.rules.revision) == canary.takes(f"x-{number}")
