"""Explanations: what the record hides they hide, what was kept has bounds, and what a record lacks is not guessed."""

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.audit.record import DecisionRecord, SettlementRecord
from interceptor.config import read_config
from interceptor.exchanges import Answer, Arrival, Opened, Patience
from interceptor.explanation import KEPT_BYTES, Explanation, Kept, explain, explain_record
from interceptor.journal.finding import find_decision
from interceptor.loading import policy_context
from interceptor.policy import Source, compile_policy
from interceptor.policy.tracing import Standing, Tracer
from interceptor.rehearsal import Message, Rehearsal
from interceptor.settings import ExplainSettings, Masking
from interceptor.values import Kind, Verdict

CONFIG = b"""\
country: HU
extensions: ["1xxx"]
time_zone: Europe/Budapest
listeners: {commands: {kind: command, address: "127.0.0.1:0"}}
clusters: {pbx: {endpoints: ["http://127.0.0.1:9780"]}}
apps: {crm: {sources: ["10.0.0.0/8"], url: "http://10.0.0.1:8001/pbx"}}
notifications: [{app: crm}]
"""
RULES = """\
rules:
  - name: number
    on: Call
    when: {number: {prefix: "+3670"}}
    tag: number
  - name: class
    on: Call
    when: {number: {class: premium}}
    deny: true
  - name: echo
    on: DtmfEntered
    when: {DtmfDigits: {not: "1234"}, header: {X-Key: {not: {exists: true}}}}
    tag: other-digits
  - name: told
    on: DtmfEntered
    answer: [{Speak: "You said {{DtmfDigits}}"}]
  - name: pass
    on: [Call, Hangup]
    when: {app: crm}
    allow: true
"""


@pytest.fixture(scope="module")
def settings():
    return read_config(CONFIG, "config.yaml", base=Path("/site"), environment={}, secrets=False)


@pytest.fixture(scope="module")
def policy(settings):
    return compile_policy([Source("all.yaml", RULES.encode())], policy_context(settings))


@pytest.fixture(scope="module")
def sent(settings, policy):
    """Send one message, with the masking of a careful site."""

    def send(kind, name, headers=None, **parameters):
        message = Message(
            kind=kind,
            name=name,
            app="crm",
            parameters=tuple(parameters.items()),
            headers=headers or {},
            at=1_800_000_000.0,
            exchange="b-w0-1",
        )
        return Rehearsal(settings, policy, Masking(numbers=4, dtmf=True)).send(message)

    return send


def test_what_the_record_hides_no_explanation_shows(sent, policy):
    rehearsed = sent(Kind.COMMAND, "Call", Dialed="+36201234567", Password="hunter2", Authorization="x")
    found = msgspec.json.encode(explain(rehearsed, Tracer(policy))).decode()
    for secret in ("36201234567", "hunter2"):
        assert secret not in found
    assert "*******4567" in found
    digits = sent(Kind.NOTIFICATION, "DtmfEntered", headers={"X-Key": "k3y", "Cookie": "c00kie"}, DtmfDigits="4711")
    explanation = explain(digits, Tracer(policy))
    found = msgspec.json.encode(explanation).decode()
    assert "4711" not in found
    assert "You said ***" in explanation.answer
    assert "c00kie" not in found


@given(number=st.text("0123456789", min_size=7, max_size=12), password=st.text("XYZ%&=", min_size=7, max_size=12))
def test_no_number_and_no_password_is_ever_shown(number, password, sent, policy):
    rehearsed = sent(Kind.COMMAND, "Call", Dialed=f"+3670{number}", CallerId=number, Password=password)
    found = msgspec.json.encode(explain(rehearsed, Tracer(policy))).decode()
    assert f"3670{number}" not in found
    assert password not in found


def test_an_explanation_is_read_back_as_it_was_written(sent, policy):
    explanation = explain(sent(Kind.COMMAND, "Call", Dialed="1001"), Tracer(policy), ("a note",))
    assert msgspec.json.decode(msgspec.json.encode(explanation), type=Explanation) == explanation


def test_a_record_is_told_with_what_it_holds(sent, policy):
    rehearsed = sent(Kind.COMMAND, "Call", Dialed="+3690123456")
    told = explain_record(rehearsed.record, policy)
    standings = [(step.name, step.standing) for step in told.trace.steps]
    assert standings[:2] == [("number", Standing.FAILED), ("class", Standing.ACTED)]
    assert told.trace.steps[0].because.actual == "masked"
    assert told.notes == ("masked in the journal: dialed",)
    assert (told.trace.verdict, told.trace.rule) == (Verdict.DENY, "class")


def test_with_other_rules_what_a_record_lacks_is_not_guessed(sent, policy, settings):
    other = compile_policy([Source("all.yaml", RULES.encode() + b"# changed\n")], policy_context(settings))
    told = explain_record(sent(Kind.COMMAND, "Call", Dialed="+36201234567").record, other)
    standings = [(step.name, step.standing) for step in told.trace.steps]
    assert standings[:2] == [("number", Standing.UNKNOWN), ("class", Standing.FAILED)]
    assert standings[4] == ("pass", Standing.ACTED)
    assert told.notes[1] == f"decided by revision {policy.revision}; the rules told here are those of {other.revision}"
    assert told.notes[2].startswith("some rules cannot be told")
    digits = explain_record(sent(Kind.NOTIFICATION, "DtmfEntered", DtmfDigits="1").record, other)
    assert digits.trace.steps[2].standing is Standing.UNKNOWN


def test_how_a_call_stood_no_record_tells_but_whether_there_was_one(sent, settings):
    text = """
rules:
  - {name: own, on: [Hold, Call, "verb:Speak"], when: {call: {owned: true}}, tag: own}
  - {name: held, on: [Hold, Call, "verb:Speak"], when: {call: {state: held}}, tag: held}
  - {name: any, on: [Hold, Call, "verb:Speak"], when: {call: {exists: true}}, tag: any}
"""
    asking = compile_policy([Source("all.yaml", text.encode())], policy_context(settings))

    def standings(kind, name, **parameters):
        record = sent(kind, name, **parameters).record
        return [step.standing for step in explain_record(record, asking).trace.steps]

    unknown, failed, acted = Standing.UNKNOWN, Standing.FAILED, Standing.ACTED
    assert standings(Kind.COMMAND, "Hold", CallId="7") == [unknown, unknown, acted]
    assert standings(Kind.COMMAND, "Call", Dialed="1001") == [failed, failed, failed]
    assert standings(Kind.VERB, "Speak", Text="Hello") == [unknown, unknown, unknown]


def test_a_record_from_before_the_rules_were_asked_has_no_rules(sent, policy, settings):
    message = Message(kind=Kind.COMMAND, name="Call", source="192.0.2.1")
    told = explain_record(Rehearsal(settings, policy).send(message).record, policy)
    assert (told.trace.reason, told.trace.steps) == ("address_forbidden", ())


# --- what is kept ---------------------------------------------------------------------------------------------------


def opened(rehearsed, exchange, body=b""):
    arrival = Arrival(exchange, "commands", Kind.COMMAND, "10.0.0.1", "GET", b"/?x", {}, body, 1_800_000_000.0)
    return Opened(
        arrival,
        rehearsed.facts.name,
        Patience.COMMAND,
        False,
        "crm",
        rehearsed.decision,
        Answer(b""),
        msgspec.structs.replace(rehearsed.record, exchange=exchange),
        False,
        rehearsed.facts,
    )


@pytest.fixture
def denied(sent):
    return sent(Kind.COMMAND, "Call", Dialed="+3690123456")


@pytest.fixture
def allowed(sent):
    return sent(Kind.COMMAND, "Call", Dialed="1001")


def test_all_denied_and_a_share_of_all_are_kept(policy, denied, allowed):
    kept = Kept(ExplainSettings(denied=True, sample=0.1, keep=1000), lambda: 0.5)
    for number in range(100):
        kept.saw(opened(denied if number % 50 == 0 else allowed, f"e{number}"), policy)
    verdicts = [summary["verdict"] for summary in kept.summaries()]
    assert verdicts.count("deny") == 2
    assert 8 <= verdicts.count("allow") <= 10
    assert kept.find("e0", policy)().trace.rule == "class"
    assert kept.find("nothing", policy) is None
    assert kept.summaries()[-1] == {
        "exchange": "e0",
        "at": denied.record.at,
        "message": "command Call",
        "app": "crm",
        "verdict": "deny",
        "by": "class",
    }


@pytest.mark.parametrize(
    ("settings_of_kept", "count"),
    [
        (ExplainSettings(denied=False, sample=0.0), 0),
        (ExplainSettings(denied=True, sample=0.0), 10),
        (ExplainSettings(denied=True, sample=1.0, keep=7), 7),
        (ExplainSettings(denied=False, sample=1.0), 20),
        (ExplainSettings(denied=True, sample=1.0, keep=0), 0),
    ],
)
def test_no_more_is_kept_than_settings_say(settings_of_kept, count, policy, denied, allowed):
    kept = Kept(settings_of_kept, lambda: 0.99)
    for number in range(20):
        kept.saw(opened(denied if number % 2 else allowed, f"e{number}"), policy)
    assert len(kept.messages()) == count
    if count == 7:
        assert kept.find("e19", policy) is not None
        assert kept.find("e12", policy) is None


def test_large_messages_push_out_older_ones(policy, denied):
    kept = Kept(ExplainSettings(keep=1000), lambda: 0.5)
    for number in range(20):
        kept.saw(opened(denied, f"e{number}", bytes(1 << 20)), policy)
    assert len(kept.messages()) == KEPT_BYTES // (3 * (1 << 20) + 5000)


def test_rules_that_are_gone_are_replaced_by_those_in_force(settings, policy, denied):
    kept = Kept(ExplainSettings(sample=1.0), lambda: 0.5)
    kept.saw(opened(denied, "old"), policy)
    later = [
        compile_policy([Source("all.yaml", RULES.encode() + b"#" * number)], policy_context(settings))
        for number in (1, 2)
    ]
    assert kept.find("old", later[0])().notes == ()
    for each in later:
        kept.saw(opened(denied, each.revision), each)
    assert kept.find("old", later[1])().notes[1].startswith(f"decided by revision {policy.revision}")


# --- in the journal ---------------------------------------------------------------------------------------------------


def test_a_decision_is_found_in_the_files_of_all_workers(tmp_path, denied):
    record = msgspec.structs.replace(denied.record, exchange="b-w1-7", sequence=1)
    settled = SettlementRecord(2, "", "b-w1-7", "w1", "refused")
    quoting = msgspec.structs.replace(record, exchange="b-w1-8", parameters={"x": '"exchange":"b-w1-7"'})
    lines = [msgspec.json.encode(each) for each in (record, settled, quoting)]
    (tmp_path / "w0-20260101T000000Z-1.jsonl").write_bytes(b"")
    (tmp_path / "w1-20260101T000000Z-1.jsonl").write_bytes(b"\n".join(lines) + b'\n{"exchange":"b-w1-7","tor')
    found = find_decision(tmp_path, "b-w1-7")
    assert isinstance(found, DecisionRecord)
    assert (found.sequence, found.rule) == (1, "class")
    assert find_decision(tmp_path, "b-w1-70") is None
    assert find_decision(tmp_path / "nowhere", "b-w1-7") is None
    assert json.loads(lines[0])["exchange"] == found.exchange
