"""Apps act on their own calls and see no others."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from interceptor.audit.record import Recorder
from interceptor.exchanges import Answer, Forward
from interceptor.identity import Identifier
from interceptor.loading import policy_context
from interceptor.ownership import KEPT_SECONDS, Holdings, filtered
from interceptor.pipeline import Pipeline
from interceptor.policy import Source, compile_policy
from interceptor.rows import TABLE_BYTES
from interceptor.settings import Ownership, Settings
from interceptor.values import Verdict
from tests.gateway.harness import ALLOW_ALL
from tests.pipeline.conftest import command, notification, site

GRANT = ALLOW_ALL.replace(
    "rules:\n", "rules:\n  - {name: operators, on: [Hangup, ListActiveCalls], when: {app: crm}, owns: any}\n"
)
HANGUP = b"/?command=Hangup&CallId=abc"
CALLS = b"""<?xml version="1.0"?>
<Response>
  <Code>200</Code>
  <ActiveCalls>
    <CallInfo><CallId>abc</CallId><Source>1</Source></CallInfo>
    <CallInfo>
      <CallId>xyz</CallId>
    </CallInfo>
  </ActiveCalls>
</Response>"""


def build(rules: str = ALLOW_ALL, **changes: object) -> Pipeline:
    settings: Settings = site(**({"ownership": Ownership.ENFORCE} | changes))
    compiled = compile_policy([Source("test.yaml", rules.encode())], policy_context(settings))
    identifier = Identifier(settings.apps.values(), b"key")
    recorder = Recorder("w0", settings.journal.masking)
    return Pipeline(settings, compiled, recorder, identifier, holdings=Holdings())


def refusal(built: Pipeline, target: bytes) -> int | None:
    plan = built.begin(command(target)).plan
    return plan.code if isinstance(plan, Answer) else None


def test_a_call_that_the_app_was_not_told_about_does_not_exist_for_it():
    built = build()
    opened = built.begin(command(HANGUP))
    assert isinstance(opened.plan, Answer)
    assert (opened.plan.code, opened.decision.reason) == (601, "not_owned")
    built.begin(notification(b"NotificationName=IncomingCall&CallId=abc"))
    assert isinstance(built.begin(command(HANGUP)).plan, Forward)
    assert refusal(built, b"/?command=Hangup&CallID=other") == 601


def test_every_call_that_a_command_names_has_to_be_the_apps_own():
    built = build()
    built.begin(notification(b"NotificationName=IncomingCall&CallId=abc"))
    transfer = b"/?command=AttendedTransfer&TransferredCallId=abc&TargetCallId=%b"
    assert [refusal(built, transfer % call) for call in (b"abc", b"xyz")] == [None, 601]


def test_a_call_that_another_app_was_told_about_is_not_ones_own():
    built = build()
    built.begin(notification(b"NotificationName=IncomingCall&CallId=abc", b"/route"))  # goes to the other app
    assert refusal(built, HANGUP) == 601


def test_a_verb_acts_on_own_calls_only_and_always_on_the_call_it_is_run_in():
    built = build()
    opened = built.begin(notification(b"NotificationName=IncomingCall&CallId=abc"))
    body = b"<Response><Hangup CallId='xyz'/><Hold CallId='abc'/><Play CallId='$call'>a</Play><Hangup/></Response>"
    settled = built.finish(opened, 200, body)
    assert settled.body == body.replace(b"<Hangup CallId='xyz'/>", b"")


def test_a_variable_names_no_call_in_a_command():
    assert refusal(build(), b"/?command=Hangup&CallId=$xyz") == 601


def test_a_call_for_help_is_everybodys():
    assert refusal(build(), b"/?command=BlindTransfer&CallId=abc&Target=112") is None
    assert refusal(build(), b"/?command=BlindTransfer&CallId=abc&Target=1099") == 601


def test_a_rule_grants_every_call():
    built = build(GRANT)
    assert refusal(built, HANGUP) is None
    assert refusal(built, b"/?command=Hold&CallId=abc") == 601


def test_in_shadow_nothing_is_refused_and_the_record_tells():
    built = build(ownership=Ownership.SHADOW)
    opened = built.begin(command(HANGUP))
    assert (opened.decision.verdict, opened.record.tags) == (Verdict.ALLOW, ("not_owned",))
    assert built.finish(built.begin(command(b"/?command=ListActiveCalls")), 200, CALLS).body is None


def test_a_list_shows_the_apps_own_calls_and_keeps_every_other_byte():
    built = build()
    built.begin(notification(b"NotificationName=IncomingCall&CallId=abc"))
    settled = built.finish(built.begin(command(b"/?command=ListActiveCalls")), 200, CALLS)
    gone = b"\n    <CallInfo>\n      <CallId>xyz</CallId>\n    </CallInfo>"
    assert (settled.body, settled.code) == (CALLS.replace(gone, b""), 200)
    everything = build(GRANT)
    assert everything.finish(everything.begin(command(b"/?command=ListActiveCalls")), 200, CALLS).body is None


def test_a_history_counts_what_it_shows():
    body = (
        b"<Response><Code>200</Code><NumberOfCalls> 12 </NumberOfCalls><Calls><Call><CallId>abc</CallId></Call>"
        b"<Call><CallId>xyz</CallId></Call><Call><Source>1</Source></Call></Calls></Response>"
    )
    shown = filtered("GetCallHistory", body, {"abc"}.__contains__, lambda _: True)
    assert shown == (
        b"<Response><Code>200</Code><NumberOfCalls> 10 </NumberOfCalls><Calls><Call><CallId>abc</CallId></Call>"
        b"</Calls></Response>"
    )


def test_a_list_of_extensions_shows_those_of_the_app():
    settings = site()
    crm = replace(settings.apps["crm"], extensions=("2xxx",))
    built = build(apps={**settings.apps, "crm": crm})
    body = (
        b"<Response><Extensions><ExtensionSummary><Id>2301@localhost</Id></ExtensionSummary>"
        b"<ExtensionSummary><Id>5000</Id></ExtensionSummary></Extensions></Response>"
    )
    settled = built.finish(built.begin(command(b"/?command=ListExtensions")), 200, body)
    assert settled.body == body.replace(b"<ExtensionSummary><Id>5000</Id></ExtensionSummary>", b"")


@pytest.mark.parametrize(("body", "left"), [(b"", None), (b"OK", None), (b"<Response><CallInfo>", b"<Response/>")])
def test_a_list_that_cannot_be_read_shows_nothing(body: bytes, left: bytes | None):
    assert filtered("ListActiveCalls", body, lambda _: True, lambda _: True) == left


def test_a_holding_is_renewed_and_forgotten_in_time():
    held = Holdings()
    held.hold("crm", "abc", 1000.0)
    assert held.holds("crm", "abc", 1000.0 + KEPT_SECONDS)
    assert not held.holds("crm", "abc", 1001.0 + KEPT_SECONDS)
    held.hold("crm", "abc", 2000.0)
    assert held.holds("crm", "abc", 1001.0 + KEPT_SECONDS)
    assert [held.holds("crm", "abd", 2000.0), held.holds("shop", "abc", 2000.0)] == [False, False]


def test_a_full_table_forgets_the_oldest_and_never_grows():
    memory = bytearray(28 * 16)
    held = Holdings(memory)
    for number in range(40):
        held.hold("crm", str(number), float(number))
    assert [held.holds("crm", str(number), 40.0) for number in range(40)] == [False] * 24 + [True] * 16
    assert (len(memory), TABLE_BYTES) == (28 * 16, 28 * 65_536)


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.text(max_size=3)), max_size=30))
def test_what_was_held_is_held_and_nothing_else(pairs: list[tuple[str, str]]):
    held = Holdings()
    for app, call in pairs:
        held.hold(app, call, 5.0)
    for app in ("a", "b"):
        for call in {call for _, call in pairs} | {"other"}:
            assert held.holds(app, call, 6.0) is ((app, call) in pairs)
