"""Limits through a whole exchange: what the record says of them, and what a fault of ours gives back."""

import pytest

from interceptor.audit.record import Recorder
from interceptor.exchanges import NO_OPINION, Answer, Forward
from interceptor.identity import Identifier
from interceptor.loading import policy_context
from interceptor.pipeline import Pipeline
from interceptor.policy import Meters, Source, compile_policy
from interceptor.values import Verdict
from interceptor.wire.answers import read_answer
from interceptor.wire.parameters import encode
from tests.pipeline.conftest import command, notification, site

CALL = b"/?command=Call&Dialed=1002"
RULES = """rules:
  - {name: one-call, on: Call, limit: {key: app, concurrency: 1}}
  - {name: few, on: [Hangup, IncomingCall], limit: {key: number, rate: 1/h}}
  - {name: trial, on: ListActiveCalls, mode: shadow, limit: {rate: 1/h}}
  - {name: rest, on: [command, notification], allow: true}
"""


@pytest.fixture
def limited() -> Pipeline:
    settings = site()
    rules = compile_policy([Source("test.yaml", RULES.encode())], policy_context(settings))
    identifier = Identifier(settings.apps.values(), b"key")
    return Pipeline(settings, rules, Recorder("w0", settings.journal.masking), identifier, Meters())


def test_a_command_over_its_limit_is_told_so_and_the_record_names_the_limit(limited: Pipeline) -> None:
    first, second = limited.begin(command(CALL)), limited.begin(command(CALL))
    assert isinstance(first.plan, Forward)
    assert isinstance(second.plan, Answer)
    assert (second.plan.code, read_answer(second.plan.body).message) == (306, "Too many requests")
    assert limited.settle_answer(second, second.plan).outcome == "refused"
    assert (first.record.limited, first.record.reason) == ((), "rule")
    assert (second.record.limited, second.record.reason, second.record.rule) == (
        ("test.yaml:2 one-call",),
        "limit",
        "one-call",
    )


def test_a_slot_is_free_when_the_exchange_has_ended_and_only_once(limited: Pipeline) -> None:
    first = limited.begin(command(CALL))
    limited.give_back(first.decision.slots)
    second = limited.begin(command(CALL))
    assert isinstance(second.plan, Forward)
    limited.give_back(first.decision.slots)
    assert isinstance(limited.begin(command(CALL)).plan, Answer)


def test_what_a_message_took_is_free_when_a_fault_of_ours_ends_it(
    limited: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(Recorder, "decision", None)
        with pytest.raises(TypeError):
            limited.begin(command(CALL))
    assert limited.broken(command(CALL)).decision.reason == "fault"
    assert isinstance(limited.begin(command(CALL)).plan, Forward)


def test_a_notification_over_its_limit_is_answered_without_verbs(limited: Pipeline) -> None:
    asked = notification(b"NotificationName=IncomingCall&CallerID=1001")
    assert isinstance(limited.begin(asked).plan, Forward)
    assert limited.begin(asked).plan == Answer(NO_OPINION)


def test_a_limit_in_shadow_is_told_in_the_record_alone(limited: Pipeline) -> None:
    records = [limited.begin(command()).record for _ in range(2)]
    assert [record.limited for record in records] == [(), ("test.yaml:4 trial",)]
    assert [record.verdict.value for record in records] == ["allow", "allow"]


@pytest.mark.parametrize("verbs", ["<broken>", "<Response>" + "<Beep/>" * 501 + "</Response>"])
def test_a_command_that_is_refused_for_its_verbs_takes_nothing_of_a_limit(limited: Pipeline, verbs: str) -> None:
    refused = CALL + b"&ResponseOzml=" + encode(verbs)
    for _ in range(2):
        decision = limited.begin(command(refused)).decision
        assert decision.reason in {"unreadable_ozml", "verbs_over_cap"}
        assert decision.rules  # which acted before
    assert limited.begin(command(CALL)).decision.verdict is Verdict.ALLOW
