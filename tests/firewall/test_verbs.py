"""Verbs in answers are judged by the rules, and what a rule does not touch stays byte for byte."""

from xml.sax.saxutils import escape, quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from interceptor.settings import Limits
from interceptor.values import NumberClass, Verdict
from interceptor.wire import knowledge
from tests.firewall.conftest import HERE, answered, command, firewall, policy

NO_PREMIUM = policy(
    "rules:\n  - {name: no-premium, on: verb, when: {number: {class: premium}}, deny: {message: Not this one}}\n"
)


SOMETHING_ELSE = "rules:\n  - {name: other, on: verb:Reject, deny: true}\n"


def written(body: bytes, *arguments: object, **named: object) -> bytes:
    judged = answered(body, *arguments, **named)  # type: ignore[arg-type]
    return body if judged.body is None else judged.body


def test_what_no_rule_touches_stays_byte_for_byte():
    body = (
        b"\r\n<?xml version=\"1.0\"?>\n<response>\n  <Speak  Voice='a'>Hi<!-- ho --></Speak>\n  <hangup /></response>"
    )
    judged = answered(body, NO_PREMIUM)
    assert (judged.body, judged.verbs, judged.refused, judged.records) == (None, 2, 0, [])


def test_a_verb_is_judged_by_the_number_it_dials_and_its_app():
    judged = answered(b"<Response><SendSms Recipient='06 90 123456' Message='x'/><Hangup/></Response>", NO_PREMIUM)
    (record,) = judged.records
    assert (record.kind.value, record.name, record.app, record.exchange) == ("verb", "SendSms", "crm", HERE.exchange)
    assert (record.verdict, record.rule, record.number) == (Verdict.DENY, "no-premium", "+3690123456")
    assert record.number_class is NumberClass.PREMIUM
    assert judged.body == b"<Response><Hangup/></Response>"


def test_a_verb_that_dials_is_recorded_when_it_is_allowed_too():
    judged = answered(b"<Response><BlindTransfer>+36201234567</BlindTransfer><Speak>x</Speak></Response>")
    assert next((record.name, record.number) for record in judged.records) == ("BlindTransfer", "+36201234567")


def test_the_record_of_a_verb_in_a_menu_says_which_keys_come_first():
    inner = b"<UserInput><Inputs><Input key='9'><BlindTransfer>2</BlindTransfer></Input></Inputs></UserInput>"
    body = (
        b"<Response><BlindTransfer>1</BlindTransfer><UserInput><InitialCommands><BlindTransfer>3</BlindTransfer>"
        b"</InitialCommands><Inputs><Input Key='1'>" + inner + b"</Input></Inputs></UserInput></Response>"
    )
    menus = {record.number: record.menu for record in answered(body).records if record.number}
    assert menus == {"1": "", "3": "", "2": "1 9"}


@pytest.mark.parametrize(
    ("waits", "left"),
    [
        (True, b"<Speak>Not this one</Speak><Hangup/>"),
        (False, b""),
    ],
)
def test_a_caller_hears_why_the_way_on_was_refused_if_there_is_one(waits: bool, left: bytes):
    here = replace(HERE, caller_waits=waits)
    body = b"<Response><BlindTransfer Target='+3690123456'/><Play>a</Play></Response>"
    assert written(body, NO_PREMIUM, here) == b"<Response>" + left + b"<Play>a</Play></Response>"


def test_verbs_are_judged_at_any_depth_and_in_every_spelling():
    body = (
        b"<OzML><USERINPUT><InitialCommands><Speak>x</Speak></InitialCommands><Inputs>"
        b"<Input Key='1'><x:sendsms xmlns:x='u' RECIPIENT='+3690123456'/></Input></Inputs></USERINPUT></OzML>"
    )
    gone = b"<x:sendsms xmlns:x='u' RECIPIENT='+3690123456'/>"
    assert written(body, NO_PREMIUM) == body.replace(gone, b"")


def test_a_number_may_not_hide_in_markup_or_as_a_second_attribute():
    for hidden in (
        b"<SendSms Recipient='1001' recipient='+3690123456'/>",
        b"<BlindTransfer Target='1001'>+3690123456</BlindTransfer>",
    ):
        judged = answered(b"<Response>" + hidden + b"</Response>", policy(SOMETHING_ELSE))
        assert judged.records[0].reason == "ambiguous"
    split = b"<Response><BlindTransfer>+36<!-- -->90<![CDATA[12]]>3456</BlindTransfer></Response>"
    assert answered(split, NO_PREMIUM).refused == 1


def test_a_rules_own_verbs_take_the_place_of_a_verb():
    rules = policy("rules:\n  - {name: r, on: 'verb:Call', answer: [{Speak: 'No & out'}, Hangup]}\n")
    body = b"<Response><Call Dialled='1001' ApiExtension='9'/><Play>a</Play></Response>"
    assert written(body, rules) == b"<Response><Speak>No &amp; out</Speak><Hangup/><Play>a</Play></Response>"


def test_a_rewrite_changes_an_attribute_or_the_text_in_its_place():
    rules = policy(
        "rules:\n"
        "  - {name: a, on: 'verb:Route', rewrite: {set: {Destination: '1099', RingTime: '20'}}}\n"
        "  - {name: b, on: 'verb:BlindTransfer', rewrite: {set: {Target: '1098'}}}\n"
        "  - {name: c, on: 'verb:SendSms', rewrite: {remove: [Sender], rename: {Message: Text}}}\n"
    )
    body = (
        b"<Response><Route  destination='1001' /><BlindTransfer> 1001 </BlindTransfer>"
        b"<SendSms Recipient='1' Sender='x' Message='m'/></Response>"
    )
    judged = answered(body, rules)
    assert judged.body == (
        b"<Response><Route RingTime=\"20\"  destination='1099' /><BlindTransfer> 1098 </BlindTransfer>"
        b"<SendSms Recipient='1' Text='m'/></Response>"
    )
    changes = [(change.name, change.before, change.after) for change in judged.records[0].changes]
    assert changes == [("Destination", "1001", "1099"), ("RingTime", None, "20")]


@pytest.mark.parametrize(
    "verb",
    [
        b"<DeleteFile>a</DeleteFile>",
        b"<movefile SourceFile='a' TargetDirectory='b'/>",
        b"<SQL Query='x'/>",
        b"<GoTo> Select url from t</GoTo>",
        b"<UserInput ExecuteSQL='update t'/>",
    ],
)
def test_what_reaches_files_and_databases_needs_a_rule(verb: bytes):
    body = b"<Response>" + verb + b"<Beep/></Response>"
    judged = answered(body, policy(SOMETHING_ELSE), replace(HERE, caller_waits=False))
    assert (judged.body, judged.records[0].reason) == (b"<Response><Beep/></Response>", "dangerous_verb")
    granted = policy("rules:\n  - {name: g, on: verb, when: {app: crm}, allow: true}\n")
    assert written(body, granted) == body


TALK = "rules:\n  - {name: talk, on: [GoTo, UserInput], allow: true}\n"


@pytest.mark.parametrize(
    "verb",
    [
        b"<GoTo>SELECT url FROM menus</GoTo>",
        b"<GoTo> -- x\n (select/**/1)</GoTo>",
        b"<GoTo>/* x */call(1)</GoTo>",
        b"<GoTo>delete*</GoTo>",
        b"<UserInput Digits='1' ExecuteSQL='update t'/>",
    ],
)
def test_whoever_may_send_callers_on_may_not_ask_a_database_by_that(verb: bytes):
    here = replace(HERE, caller_waits=False)
    body = b"<Response>" + verb + b"<GoTo>update.php?call=1</GoTo><UserInput Digits='1'/></Response>"
    rest = b"<Response><GoTo>update.php?call=1</GoTo><UserInput Digits='1'/></Response>"
    judged = answered(body, policy(TALK), here)
    assert (judged.body, judged.records[0].reason) == (rest, "dangerous_verb")
    judged = answered(body, policy(TALK, Verdict.DENY), here)
    assert (judged.body, judged.records[0].reason) == (rest, "default")
    asks = "  - {name: asks, on: SQL, when: {Query: {regex: '(?i)(select|call|delete|update)'}}, allow: true}\n"
    assert written(body, policy(TALK + asks)) == body
    refuses = "  - {name: refuses, on: SQL, deny: {message: No}}\n"
    assert answered(body, policy(TALK + refuses), here).records[0].rule == "refuses"


@pytest.mark.parametrize(
    "text",
    [
        "DELETE FROM x",
        ";WITH a AS (SELECT 1) DELETE FROM x",
        "SET NOCOUNT ON; DELETE FROM x",
        "IF 1=1 DELETE FROM x",
        "TABLE users",
        "/*!50000DELETE*/",
        "# x\nDELETE FROM x",
        "--",
        "$q",
        "$item.url",
    ],
)
def test_what_is_no_address_in_a_goto_is_taken_for_sql(text: str):
    body = b"<Response><GoTo>" + text.encode() + b"</GoTo></Response>"
    judged = answered(body, policy(TALK), replace(HERE, caller_waits=False))
    assert (judged.body, judged.records[0].reason) == (b"<Response></Response>", "dangerous_verb")


@pytest.mark.parametrize("text", ["menu", "/menu?step=2", "update.php", "call/me", "ftp://h/a b", "?step=1"])
def test_an_address_in_a_goto_is_none(text: str):
    body = b"<Response><GoTo>" + text.encode() + b"</GoTo></Response>"
    assert written(body, policy(TALK)) == body


def test_an_address_of_many_blanks_is_looked_at_in_linear_time():
    body = b"<Response><GoTo Url='" + b" " * 200_000 + b"a;'/></Response>"  # in quadratic time it would take minutes
    assert answered(body, policy(TALK), replace(HERE, caller_waits=False)).records[0].reason == "dangerous_verb"


@pytest.mark.parametrize(
    ("to", "body"), [("Dialed", b"<Call Dialled='+36201234567'/>"), ("Dialled", b"<Call Dialed='1'/>")]
)
def test_a_rule_may_give_a_parameter_the_other_of_its_spellings(to: str, body: bytes):
    was = "Dialled" if to == "Dialed" else "Dialed"
    rules = policy(f"rules:\n  - {{name: it, on: verb, rewrite: {{rename: {{{was}: {to}}}}}, allow: true}}\n")
    assert (
        written(b"<Response>" + body + b"</Response>", rules)
        == b"<Response>" + body.replace(was.encode(), to.encode()) + b"</Response>"
    )


@pytest.mark.parametrize("change", ["{set: {'b:c': x}}", "{set: {'9 x': x}}", "{rename: {Text: 'T x'}}"])
def test_a_verb_that_a_rule_would_give_a_name_which_no_attribute_has_is_refused(change: str):
    rules = policy(f"rules:\n  - {{name: odd, on: [command, verb], rewrite: {change}, allow: true}}\n")
    judged = answered(b"<Response><Speak Text='a'/><Beep/></Response>", rules)
    assert "unwritable" in [record.reason for record in judged.records]
    assert judged.body is not None
    assert b"Speak" not in judged.body


def test_a_call_for_help_is_made_whatever_a_rule_would_write_into_it():
    rules = policy("rules:\n  - {name: odd, on: verb, rewrite: {set: {'9 x': x}}, allow: true}\n")
    assert (
        written(b"<Response><Call Dialled='112'/></Response>", rules) == b"<Response><Call Dialled='112'/></Response>"
    )


def test_where_verbs_are_denied_by_default_only_what_a_rule_allows_passes():
    rules = policy("rules:\n  - {name: talk, on: [Speak], allow: true}\n", Verdict.DENY)
    assert (
        written(b"<Response><Speak>x</Speak><Play>a</Play><New/></Response>", rules)
        == b"<Response><Speak>x</Speak></Response>"
    )


def test_verbs_inside_a_parameter_are_judged():
    inner = "<Response><SendSms Recipient='+3690123456'/><Hangup/></Response>"
    (change,), judged = command(knowledge.command("Call"), {"command": "Call", "responseozml": inner}, NO_PREMIUM)
    assert (change.name, change.value, judged.refused) == ("responseozml", "<Response><Hangup/></Response>", 1)


DIALS = "<Response><SendSms Recipient='+3690123456'/></Response>"
SILENCE = "<Response></Response>"
QUOTES = {'"': "&quot;"}


def around(inner: str, times: int) -> str:
    """OzML in a parameter of OzML in a parameter of …"""
    for _ in range(times):
        inner = f'<Response><Call ResponseOzml="{escape(inner, QUOTES)}"/></Response>'
    return inner


@pytest.mark.parametrize(
    ("inner", "reason", "caps"),
    [
        (DIALS.replace("/></R", "></R"), "unreadable_ozml", []),  # not well-formed: the PBX may read on where we cannot
        ("<html/>", "unreadable_ozml", []),
        ("<Response>" + "<a>" * 65 + "</a>" * 65 + "</Response>", "verbs_over_cap", ["xml_depth"]),
        ("<Response>" + "<a>" * 400 + "</a>" * 400 + "</Response>", "verbs_over_cap", ["xml_depth"]),
        ("<Response>" + "<Beep/>" * 501 + "</Response>", "verbs_over_cap", ["verbs"]),
        (f"<Response><Speak>{'x' * (256 << 10)}</Speak></Response>", "verbs_over_cap", []),
    ],
)
def test_verbs_inside_a_parameter_that_nobody_can_judge_do_not_pass(inner: str, reason: str, caps: list[str]):
    call = knowledge.command("Call")
    changes, judged = command(call, {"command": "Call", "responseozml": inner}, NO_PREMIUM)
    assert (changes, judged.unjudged, judged.caps) == ((), reason, caps)
    (change,), judged = command(call, {"command": "Call", "responseozml": inner}, NO_PREMIUM, emergency=True)
    assert (change.value, judged.unjudged, judged.caps) == (SILENCE, "", caps)
    body = f"<Response><Beep/><Call Dialled='2405' ResponseOzml={quoteattr(inner)}/></Response>".encode()
    judged = answered(body, NO_PREMIUM)  # of an answer the verb is refused that has them
    assert (judged.body, judged.records[-1].reason) == (b"<Response><Beep/></Response>", reason)
    assert (judged.over, judged.refused) == ("", 1)


def test_a_call_for_help_is_made_without_the_verbs_that_nobody_can_judge():
    help_wanted = f"<Response><Call Dialled='112' ResponseOzml={quoteattr(around('<broken>', 1))}/></Response>"
    beside = f"<Response><Call Dialled='2405' ResponseOzml='&lt;broken>'/>{help_wanted[10:]}"
    for body in (help_wanted, beside):
        judged = answered(body.encode(), NO_PREMIUM)
        assert judged.body is not None
        assert b"Dialled='112'" in judged.body
        assert b"broken" not in judged.body


def test_verbs_that_cannot_be_read_pass_for_a_legacy_app():
    body = b"<Response><Call Dialled='2405' ResponseOzml='&lt;Response>&lt;Beep>&lt;/Response>'/></Response>"
    judged = answered(body, NO_PREMIUM, replace(HERE, legacy=True))
    assert (judged.body, judged.refused) == (None, 0)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8", "UTF-32"])
def test_in_a_parameter_a_declared_encoding_says_nothing(encoding: str):
    inner = f'<?xml version="1.0" encoding="{encoding}"?>' + DIALS.replace("<SendSms", "<Beep/><SendSms")
    (change,), judged = command(knowledge.command("Call"), {"command": "Call", "responseozml": inner}, NO_PREMIUM)
    assert (change.value, judged.unjudged) == ("<Response><Beep/></Response>", "")


@pytest.mark.parametrize("inner", ["", "no verbs", "  "])
def test_a_parameter_for_verbs_without_any_passes(inner: str):
    changes, judged = command(knowledge.command("Call"), {"command": "Call", "responseozml": inner}, NO_PREMIUM)
    assert (changes, judged.unjudged) == ((), "")


def test_verbs_too_many_times_inside_one_another_are_taken_out_with_the_verb_that_holds_them():
    inner = around(DIALS, 4)
    (change,), judged = command(knowledge.command("Call"), {"command": "Call", "responseozml": inner}, NO_PREMIUM)
    assert (change.value, judged.caps) == (around(SILENCE, 3), ["verb_depth"])


def test_verbs_inside_parameters_inside_parameters_are_judged():
    inner = around(DIALS, 3)
    (change,), judged = command(knowledge.command("Call"), {"command": "Call", "responseozml": inner}, NO_PREMIUM)
    assert ("SendSms" in change.value, judged.refused, judged.unjudged) == (False, 1, "")


@pytest.mark.parametrize(
    ("limits", "over"),
    [
        (Limits(verbs=3), "verbs"),
        (Limits(verb_depth=2), "verb_depth"),
        (Limits(messages=1), "messages"),
        (Limits(), ""),
    ],
)
def test_caps_on_verbs_their_depth_and_the_messages_they_send(limits: Limits, over: str):
    body = b"<Response><UserInput><Inputs><SendSms/></Inputs></UserInput><SendEmail/></Response>"
    judged = answered(body, limits=limits)
    assert (judged.over, judged.body) == (over, None)


def test_loops_inside_loops_have_a_cap():
    for depth, over in ((3, ""), (4, "verb_depth")):
        body = b"<Response>" + b"<ForEach>" * depth + b"</ForEach>" * depth + b"</Response>"
        assert answered(body).over == over


def test_counts_tell_verdicts_by_rule():
    body = b"<Response><SendSms Recipient='+3690123456'/><Beep/><Beep/></Response>"
    assert answered(body, NO_PREMIUM).counts == {("deny", "no-premium"): 1, ("allow", ""): 2}


@pytest.mark.parametrize("body", [b"<Response><a></Response>", b"<html/>", b"\xff"])
def test_what_cannot_be_read_is_not_judged(body: bytes):
    assert firewall().answer(body, HERE, NO_PREMIUM, None) is None


def test_an_empty_answer_has_nothing_to_judge():
    assert (answered(b" \n").verbs, answered(b"<Response/>").verbs) == (0, 0)


REFUSED = b"<SendSms Recipient='+3690123456'/>"
VERBS = st.sampled_from(
    [
        b"<Speak>a</Speak>",
        REFUSED,
        b"<Route Destination='1001'/>",
        b"<Beep/>",
        b"<!-- c -->",
    ]
)


@given(st.lists(VERBS | VERBS.map(lambda verb: b"<Inputs><Input Key='1'>" + verb + b"</Input></Inputs>"), max_size=6))
def test_taking_out_the_refused_is_all_that_happens(verbs: list[bytes]):
    body = b"<Response>" + b"".join(verbs) + b"</Response>"
    assert written(body, NO_PREMIUM) == body.replace(REFUSED, b"")
