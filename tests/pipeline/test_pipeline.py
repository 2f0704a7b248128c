"""One exchange without I/O: what is planned for a message, and how every end of it is settled."""

from collections.abc import Callable

import pytest
from msgspec.structs import replace

from interceptor.exchanges import NO_OPINION, Answer, Fault, Forward, Patience
from interceptor.pipeline import Pipeline, patience_of
from interceptor.settings import Credentials, Masking, Secret
from interceptor.values import NumberClass, ToApp, ToCluster, ToUrl, Verdict
from interceptor.wire.answers import read_answer
from interceptor.wire.parameters import decode, encode
from tests.pipeline.conftest import FORM, command, make, notification, site

Build = Callable[..., Pipeline]

ROUTING = b"NotificationName=RoutingInterception&CallerID=2301&OriginalDialedNumber=2405"
CRM = b"http://crm.test:8001"


def rules(only: str) -> str:
    """One rule, given as a YAML mapping without its name, before one that allows everything."""
    return f"rules:\n  - {{name: only, {only[1:]}\n  - {{name: rest, on: [command, notification], allow: true}}\n"


# commands


def test_the_rules_the_choice_of_the_number_and_the_record_see_the_classes_of_the_rules_files(pipeline: Build) -> None:
    policy = "classes: {premium: {prefix: +3655}}\n" + rules("{on: '*', when: {number: {class: premium}}, deny: true}")
    build = pipeline(policy)
    for target in (b"/?command=Call&Dialed=0655123456", b"/?command=Other&Dialed=1099&Target=0655123456"):
        opened = build.begin(command(target))
        assert opened.decision.rule == "only"
        assert opened.record.number_class is NumberClass.PREMIUM
    assert build.begin(command(b"/?command=Call&Dialed=0620123456")).decision.rule == "rest"


def test_a_call_is_sampled_by_its_exchange(pipeline: Build) -> None:
    build = pipeline(rules("{on: Call, when: {sample: 50%}, tag: sampled}"))
    seen = {build.begin(command(b"/?command=Call", exchange=f"x-{at}")).decision.tags for at in range(30)}
    assert seen == {("sampled",), ()}


def test_a_command_that_no_rule_touches_is_forwarded_as_it_came(pipeline: Build) -> None:
    opened = pipeline().begin(command(b"/api/x?comMand=Call&Dialed=%2b36%zz&&X"))
    assert opened.plan == Forward(ToCluster("pbx"), b"/api/x?comMand=Call&Dialed=%2b36%zz&&X", None)
    assert (opened.name, opened.patience, opened.safe_to_repeat, opened.app) == ("Call", Patience.COMMAND, False, "crm")


def test_the_form_without_a_question_mark_is_a_command_and_keeps_its_form(pipeline: Build) -> None:
    opened = pipeline(rules("{on: ListActiveCalls, rewrite: {set: {X: 1}}}")).begin(
        command(b"/command=ListActiveCalls")
    )
    assert opened.plan == Forward(ToCluster("pbx"), b"/command=ListActiveCalls&X=1", None)
    assert opened.safe_to_repeat


def test_a_denied_command_is_answered_with_code_and_message_of_the_rule(pipeline: Build) -> None:
    opened = pipeline(rules('{on: Call, deny: {code: 306, message: "no & no"}}')).begin(command(b"/?command=Call"))
    assert isinstance(opened.plan, Answer)
    assert (opened.plan.code, read_answer(opened.plan.body).message) == (306, "no & no")
    settled = pipeline().settle_answer(opened, opened.plan)
    assert (settled.outcome, settled.code, settled.fault) == ("refused", 306, None)


def test_what_no_rule_allows_is_denied_by_default(pipeline: Build) -> None:
    opened = pipeline("rules:\n  - {name: other, on: Call, allow: true}\n").begin(command())
    assert (opened.decision.verdict, opened.decision.reason) == (Verdict.DENY, "default")
    assert isinstance(opened.plan, Answer)
    assert opened.plan.code == 306


def test_a_rule_answers_a_command_in_place_of_the_pbx(pipeline: Build) -> None:
    built = pipeline(rules("{on: Hangup, answer: {code: 601, message: gone}}"))
    opened = built.begin(command(b"/?command=hangup&CallId=1"))
    assert isinstance(opened.plan, Answer)
    assert (read_answer(opened.plan.body).code, built.settle_answer(opened, opened.plan).outcome) == (601, "rule")


def test_a_command_is_rerouted_to_another_cluster(pipeline: Build) -> None:
    opened = pipeline(rules("{on: Call, reroute: elsewhere}")).begin(command(b"/?command=Call"))
    assert opened.plan == Forward(ToCluster("elsewhere"), b"/?command=Call", None)
    assert opened.record.target == "elsewhere"


def test_an_app_has_its_own_cluster_unless_a_rule_names_another(pipeline: Build) -> None:
    apps = site().apps
    moved = {**apps, "crm": replace(apps["crm"], cluster="elsewhere")}
    assert pipeline(apps=moved).begin(command()).plan == Forward(ToCluster("elsewhere"), command().target, None)
    named = pipeline(rules("{on: command, reroute: pbx}"), apps=moved)
    assert named.begin(command()).plan == Forward(ToCluster("pbx"), command().target, None)


def test_the_clusters_credentials_replace_what_came_where_it_stood(pipeline: Build) -> None:
    clusters = site().clusters
    secured = {**clusters, "pbx": replace(clusters["pbx"], credentials=Credentials("us", Secret("o&o")))}
    built = pipeline(clusters=secured)
    in_query = built.begin(command(b"/?USERNAME=x&command=Call&password=%zz&Z=%2b"))
    assert in_query.plan == Forward(ToCluster("pbx"), b"/?USERNAME=us&command=Call&password=o%26o&Z=%2b", None)
    in_body = built.begin(command(b"/?a=1", b"command=Call&Password=y&Z=%2b"))
    assert in_body.plan == Forward(ToCluster("pbx"), b"/?a=1", b"command=Call&Password=o%26o&Z=%2b&Username=us")
    assert "o&o" not in repr(in_body.record)


@pytest.mark.parametrize(
    ("target", "named"),
    [
        (b"/?command=Call&Dialed=1&dIALED=2", "dIALED"),
        (b"/?command=Call&Dialed=1&Dialled=2", "Dialled"),
        (b"/?command=Call&command=Hangup", "command"),
        (b"/?command=Call%00", "command"),
        (b"/command=Hangup?command=Call", "command"),
    ],
)
def test_an_ambiguous_command_is_refused_with_302_that_names_the_parameter(
    pipeline: Build, target: bytes, named: str
) -> None:
    opened = pipeline().begin(command(target))
    assert isinstance(opened.plan, Answer)
    assert (opened.plan.code, opened.decision.reason) == (302, "ambiguous")
    assert named.lower() in read_answer(opened.plan.body).message.lower()


def test_the_same_parameter_in_query_and_form_is_ambiguous(pipeline: Build) -> None:
    opened = pipeline().begin(command(b"/?command=ListActiveCalls", b"command=Call&Dialed=1"))
    assert opened.decision.reason == "ambiguous"


def test_where_config_lets_ambiguous_commands_pass_they_pass_as_they_came_and_are_marked(pipeline: Build) -> None:
    built = pipeline(pass_ambiguous=True)
    opened = built.begin(command(b"/?command=Call&Dialed=1&dIALED=2"))
    assert opened.plan == Forward(ToCluster("pbx"), b"/?command=Call&Dialed=1&dIALED=2", None)
    assert opened.ambiguous
    assert not built.begin(command()).ambiguous


def test_a_command_rewritten_while_ambiguous_keeps_no_second_occurrence(pipeline: Build) -> None:
    built = pipeline(rules("{on: Call, rewrite: {set: {Dialed: 1099}}}"), pass_ambiguous=True)
    opened = built.begin(command(b"/?command=Call&Dialed=1&X=2&dIALED=2"))
    assert opened.plan == Forward(ToCluster("pbx"), b"/?command=Call&Dialed=1099&X=2", None)


def test_without_a_command_there_is_nothing_to_ask(pipeline: Build) -> None:
    opened = pipeline().begin(command(b"/?Dialed=1"))
    assert isinstance(opened.plan, Answer)
    assert (opened.plan.code, opened.decision.reason) == (302, "no_command")


@pytest.mark.parametrize(
    "headers",
    [
        {"content-type": "text/plain"},
        {"content-type": "multipart/form-data; boundary=x"},
        {"content-type": "application/x-www-form-urlencoded; charset=utf-7"},
        {"content-type": "application/x-www-form-urlencoded; charset=IBM037"},
        {**FORM, "content-encoding": "gzip"},
    ],
)
def test_a_body_that_the_pbx_could_read_otherwise_is_refused_whatever_the_query_says(
    pipeline: Build, headers: dict[str, str]
) -> None:
    opened = pipeline().begin(command(b"/?command=ListActiveCalls", b"command=Call&Dialed=1", headers=headers))
    assert isinstance(opened.plan, Answer)
    assert (opened.plan.code, opened.decision.reason) == (302, "unreadable_body")


@pytest.mark.parametrize(
    ("source", "query", "code"),
    [("203.0.113.9", b"", 307), ("not an address", b"", 307), ("127.0.0.1", b"", None)],
)
def test_who_asks_is_known_by_the_address(pipeline: Build, source: str, query: bytes, code: int | None) -> None:
    opened = pipeline().begin(command(b"/?command=ListActiveCalls" + query, source=source))
    assert (opened.plan.code if isinstance(opened.plan, Answer) else None) == code


def test_an_unknown_command_is_judged_by_its_own_name(pipeline: Build) -> None:
    opened = pipeline().begin(command(b"/?command=TeleportCall&Dialed=%2B36201234567"))
    assert (opened.name, opened.safe_to_repeat) == ("TeleportCall", False)
    assert opened.record.number == "+36201234567"
    assert isinstance(opened.plan, Forward)


def test_a_parameter_that_was_renamed_or_removed_stands_in_the_record_as_it_came_and_as_it_left(
    pipeline: Build,
) -> None:
    built = pipeline(rules("{on: Call, rewrite: {rename: {Url: ErrorUrl}, remove: X}}"))
    opened = built.begin(command(b"/?command=Call&Url=http%3a%2f%2fa&X=1"))
    assert opened.plan == Forward(ToCluster("pbx"), b"/?command=Call&ErrorUrl=http%3a%2f%2fa", None)
    changed = {change.name: (change.before, change.after) for change in opened.record.changes}
    assert changed == {"Url": ("http://a", None), "ErrorUrl": (None, "http://a"), "X": ("1", None)}


# where notifications go


@pytest.mark.parametrize(
    ("body", "target", "plan", "app"),
    [
        (b"NotificationName=CallChanged", b"/", (b"http://crm.test:8001/pbx?key=1", b"/pbx?key=1"), "crm"),
        (b"NotificationName=CallChanged", b"/?t=7&u", (b"http://crm.test:8001/pbx?key=1", b"/pbx?key=1&t=7&u"), "crm"),
        (b"NotificationName=IncomingCall", b"/?t=7", (b"http://crm.test:8002/in", b"/in?t=7"), "crm"),
        (b"notificationname=incomingcall", b"/", (b"http://crm.test:8002/in", b"/in"), "crm"),
        (ROUTING, b"/route?t=%2b", (b"http://board.test:80/", b"/?t=%2b"), "board"),
        (b"NotificationName=CallChanged", b"/events", (b"http://board.test:80/", b"/"), "board"),
        (b"NotificationName=CallConnected", b"/events", (b"http://crm.test:8001/pbx?key=1", b"/pbx?key=1"), "crm"),
        (b"NotificationName=FromTheFuture&X=1", b"/", (b"http://crm.test:8001/pbx?key=1", b"/pbx?key=1"), "crm"),
        (b"X=1", b"/", (b"http://crm.test:8001/pbx?key=1", b"/pbx?key=1"), "crm"),
    ],
)
def test_a_notification_goes_to_the_first_app_whose_path_and_name_fit(
    pipeline: Build, body: bytes, target: bytes, plan: tuple[bytes, bytes], app: str
) -> None:
    opened = pipeline().begin(notification(body, target))
    assert opened.plan == Forward(ToUrl(plan[0].decode()), plan[1], None)
    assert opened.app == app


def test_a_notification_without_a_subscription_has_nowhere_to_go(pipeline: Build) -> None:
    opened = pipeline(subscriptions=()).begin(notification(ROUTING))
    assert opened.plan == Forward(ToApp(""), b"")


def test_an_app_without_an_address_has_nowhere_to_be_told(pipeline: Build) -> None:
    built = pipeline()
    opened = built.begin(notification(b"NotificationName=Error"))
    assert opened.plan == Forward(ToApp("mute"), b"")
    assert built.addresses.kept(opened) == ""


@pytest.mark.parametrize(
    ("reroute", "target", "path", "app"),
    [
        ("{app: board}", ToUrl("http://board.test:80/"), b"/?t=7", "board"),
        ("{app: mute}", ToApp("mute"), b"", "mute"),
        ('{url: "http://other.test:81/x?y=1"}', ToUrl("http://other.test:81/x?y=1"), b"/x?y=1&t=7", "crm"),
        ('{url: "http://other.test"}', None, b"/?t=7", "crm"),
    ],
)
def test_a_rule_sends_a_notification_elsewhere(
    pipeline: Build, reroute: str, target: object, path: bytes, app: str
) -> None:
    built = pipeline(rules(f"{{on: IncomingCall, reroute: {reroute}}}"))
    opened = built.begin(notification(b"NotificationName=IncomingCall", b"/?t=7"))
    assert isinstance(opened.plan, Forward)
    assert target in {None, opened.plan.target}
    assert (opened.plan.path, opened.app) == (path, app)


def test_a_rule_answers_a_notification_in_place_of_the_app(pipeline: Build) -> None:
    built = pipeline(rules('{on: RoutingInterception, answer: [{Route: {Destination: "1099"}}]}'))
    opened = built.begin(notification(ROUTING))
    assert isinstance(opened.plan, Answer)
    assert b'<Route Destination="1099"' in opened.plan.body
    assert built.settle_answer(opened, opened.plan).outcome == "rule"


def test_a_denied_notification_reaches_nobody_and_says_nothing_to_the_pbx(pipeline: Build) -> None:
    built = pipeline(rules("{on: CallChanged, deny: true}"))
    opened = built.begin(notification(b"NotificationName=CallChanged"))
    assert opened.plan == Answer(NO_OPINION)
    settled = built.settle_answer(opened, Answer(NO_OPINION))
    assert (settled.outcome, settled.keep) == ("refused", False)


def test_a_rewritten_notification_keeps_the_query_of_its_callback(pipeline: Build) -> None:
    built = pipeline(rules("{on: CallChanged, rewrite: {set: {CallState: Seen}}}"))
    opened = built.begin(notification(b"NotificationName=CallChanged&CallState=Busy&X=%2b", b"/?CallState=mine&t=%2b"))
    assert isinstance(opened.plan, Forward)
    assert opened.plan.path == b"/pbx?key=1&CallState=mine&t=%2b"
    assert opened.plan.body == b"NotificationName=CallChanged&CallState=Seen&X=%2b"


def test_a_kept_notification_goes_to_the_address_of_its_plan(pipeline: Build) -> None:
    built = pipeline()
    opened = built.begin(notification(b"NotificationName=CallChanged", b"/?t=7"))
    assert built.addresses.kept(opened) == "http://crm.test:8001/pbx?key=1&t=7"


# how exchanges end


def test_the_code_of_the_pbx_is_read_wherever_it_stands(pipeline: Build) -> None:
    built = pipeline()
    opened = built.begin(command())
    settled = built.finish(opened, 200, b"\xef\xbb\xbf\r\n<response xmlns='x'><A/><code>601</code></response>")
    assert (settled.outcome, settled.code, settled.answer, settled.well_formed) == ("answered", 601, None, True)
    assert not built.finish(opened, 200, b"<html>").well_formed


@pytest.mark.parametrize(
    ("status", "body", "taken"),
    [
        (200, b"", True),
        (200, b" \r\n", True),
        (204, b"", True),
        (200, b"<OzML/>", True),
        (200, b"<Response><Play></Response>", False),
        (404, b"<Response/>", False),
        (302, b"", False),
        (200, b"<html></html>", False),
        (200, b"{}", False),
        (200, b"OK", False),
    ],
)
def test_what_reads_like_ozml_is_the_apps_answer(pipeline: Build, status: int, body: bytes, *, taken: bool) -> None:
    built = pipeline()
    settled = built.finish(built.begin(notification(b"NotificationName=GoTo")), status, body)
    assert (settled.outcome, settled.fault) == (("answered", None) if taken else ("fallback", Fault.UNREADABLE))


@pytest.mark.parametrize(
    ("status", "body", "taken"),
    [(200, b"OK", True), (201, b'{"ok": true}', True), (200, b"<html></html>", False), (500, b"OK", False)],
)
def test_a_report_is_taken_by_any_text_but_an_error_page(
    pipeline: Build, status: int, body: bytes, *, taken: bool
) -> None:
    built = pipeline()
    settled = built.finish(built.begin(notification(b"NotificationName=CallChanged")), status, body)
    assert (settled.outcome, settled.fault) == (("answered", None) if taken else ("kept", Fault.UNREADABLE))
    assert (settled.answer, settled.keep) == (Answer(NO_OPINION), not taken)


CODES = {
    Fault.UNREACHABLE: 901,
    Fault.DRAINING: 901,
    Fault.OVERLOADED: 902,
    Fault.STORM: 902,
    Fault.UNRECORDED: 903,
    Fault.TIMEOUT: 904,
    Fault.BROKEN: 904,
    Fault.UNREADABLE: 906,
    Fault.UNROUTABLE: 901,
    Fault.ENGINE: 905,
    Fault.BREAKER_OPEN: 901,
}


@pytest.mark.parametrize("fault", Fault)
def test_every_fault_of_a_command_has_its_code_and_names_the_exchange(pipeline: Build, fault: Fault) -> None:
    built = pipeline()
    settled = built.fail(built.begin(command(exchange="w0-7f")), fault)
    assert (settled.outcome, settled.fault, settled.code) == ("failed", fault, CODES[fault])
    assert settled.answer is not None
    answer = read_answer(settled.answer.body)
    assert answer.code == CODES[fault]
    assert "w0-7f" in answer.message
    carried_out = fault in {Fault.TIMEOUT, Fault.BROKEN, Fault.UNREADABLE}
    assert ("may have been carried out" in answer.message) == carried_out


@pytest.mark.parametrize("fault", Fault)
@pytest.mark.parametrize(
    ("body", "outcome", "keep", "saved"),
    [
        (ROUTING, "dial_plan", False, False),
        (b"NotificationName=CallConnected", "fallback", False, True),
        (b"NotificationName=CallChanged", "kept", True, False),
        (b"NotificationName=Unheard-of", "kept", True, False),
    ],
)
def test_every_fault_of_a_notification_ends_as_its_row_says(
    pipeline: Build, fault: Fault, body: bytes, outcome: str, *, keep: bool, saved: bool
) -> None:
    built = pipeline()
    settled = built.fail(built.begin(notification(body)), fault)
    assert (settled.outcome, settled.keep, settled.saved, settled.fault) == (outcome, keep, saved, fault)
    assert settled.answer is not None
    assert settled.answer.body.startswith(b"<?xml")


def test_a_fault_of_ours_after_a_command_was_sent_does_not_say_that_it_was_not(pipeline: Build) -> None:
    built = pipeline()
    settled = built.fail(built.begin(command()), Fault.ENGINE, sent=True)
    assert (settled.code, settled.fault) == (906, Fault.ENGINE)


# what cannot be decided


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (ROUTING, "dial_plan"),
        (b"X=1&notificationNAME=GoTo", "fallback"),
        (b"NotificationName=CallChanged", "kept"),
        (b"", "kept"),
    ],
)
def test_a_notification_that_could_not_be_decided_ends_as_its_row_says(
    pipeline: Build, body: bytes, outcome: str
) -> None:
    built = pipeline()
    opened = built.broken(notification(body, b"/?t=7"))
    assert isinstance(opened.plan, Answer)
    assert built.settle_answer(opened, opened.plan).outcome == outcome
    if outcome == "kept":
        assert built.addresses.kept(opened) == "http://crm.test:8001/pbx?key=1&t=7"


def test_a_command_that_could_not_be_decided_is_denied_with_905_and_its_record_has_no_parameters(
    pipeline: Build,
) -> None:
    built = pipeline()
    opened = built.broken(command(b"/?command=Call&Password=secret"))
    assert isinstance(opened.plan, Answer)
    assert built.settle_answer(opened, opened.plan).code == 905
    assert (opened.record.verdict, opened.record.reason) == (Verdict.DENY, "fault")
    assert "secret" not in repr(opened.record)


def test_every_row_has_its_deadlines() -> None:
    timeouts = site().timeouts
    assert patience_of(site()) == {
        Patience.COMMAND: timeouts.command,
        Patience.CALL: timeouts.call,
        Patience.ROUTING: timeouts.routing,
        Patience.INTERACTIVE: timeouts.interactive,
        Patience.REPORT: timeouts.report,
    }


def test_a_rules_answer_is_made_once(pipeline: Build) -> None:
    built = pipeline(rules('{on: RoutingInterception, answer: [{Route: {Destination: "1099"}}]}'))
    first, second = (built.begin(notification(ROUTING)).plan for _ in range(2))
    assert isinstance(first, Answer)
    assert isinstance(second, Answer)
    assert first.body is second.body


def test_the_verbs_of_an_answer_are_judged_by_the_rules_that_decided_the_question(pipeline: Build) -> None:
    built = pipeline(rules("{on: command, allow: true}"))
    opened = built.begin(notification(b"NotificationName=CallConnected"))
    before, built.rules = built.rules, pipeline(rules("{on: Speak, deny: true}")).rules
    assert built.finish(opened, 200, b"<Response><Speak>a</Speak></Response>").body is None
    after = built.begin(notification(b"NotificationName=CallConnected"))
    assert built.finish(after, 200, b"<Response><Speak>a</Speak></Response>").body == b"<Response></Response>"
    assert before.revision != built.rules.revision


@pytest.mark.parametrize("parameter", ["ResponseOzml", "requestozml"])
def test_verbs_in_a_command_are_judged_in_whichever_parameter_they_stand(pipeline: Build, parameter: str) -> None:
    dials = "<Response><SendSms Recipient='+3690123456'/><Hangup/></Response>"
    target = b"/?command=Request&DialedAddress=2405&" + parameter.encode() + b"=" + encode(dials)
    opened = pipeline(rules("{on: 'verb:SendSms', deny: true}")).begin(command(target))
    assert isinstance(opened.plan, Forward)
    assert decode(opened.plan.path.partition(b"?")[2]).values[parameter.lower()] == "<Response><Hangup/></Response>"


def test_a_command_with_verbs_that_cannot_be_read_is_invalid_unless_its_app_is_of_old(pipeline: Build) -> None:
    target = b"/?command=Call&Dialed=2405&ResponseOzml=" + encode("<Response><Speak>Hi</Response>")
    opened = pipeline().begin(command(target))
    assert isinstance(opened.plan, Answer)
    assert (opened.decision.reason, opened.plan.code) == ("unreadable_ozml", 302)
    apps = {"crm": replace(site().apps["crm"], legacy=True)}
    opened = pipeline(apps=apps).begin(command(target))
    assert isinstance(opened.plan, Forward)
    assert opened.plan.path == target


def test_verbs_that_a_rule_puts_into_their_place_are_judged(pipeline: Build) -> None:
    moves = "{on: Call, rewrite: {rename: {Verbs: ResponseOzml}}}"
    opened = pipeline(rules(moves)).begin(command(b"/?command=Call&Dialed=2405&Verbs=" + encode("<broken>")))
    assert opened.decision.reason == "unreadable_ozml"
    assert isinstance(opened.plan, Answer)
    assert b"responseozml" in opened.plan.body


BOTH_SPELLINGS = pytest.mark.parametrize("written", ["Dialed", "Dialled", "DIALLED", "%44ialled"])


@BOTH_SPELLINGS
@pytest.mark.parametrize("named", ["Dialed", "Dialled"])
def test_a_condition_on_a_parameter_holds_for_every_spelling_of_it(pipeline: Build, written: str, named: str) -> None:
    built = pipeline(rules(f"{{on: Call, when: {{{named}: {{prefix: '0690'}}}}, deny: true}}"))
    opened = built.begin(command(f"/?command=Call&{written}=0690123456".encode()))
    assert (opened.decision.rule, opened.decision.verdict) == ("only", Verdict.DENY)


@BOTH_SPELLINGS
def test_a_change_is_on_record_and_leaves_the_spelling_that_came(pipeline: Build, written: str) -> None:
    built = pipeline(rules("{on: Call, rewrite: {set: {Dialed: '2099'}}, allow: true}"))
    opened = built.begin(command(f"/?command=Call&{written}=06201234567".encode()))
    assert isinstance(opened.plan, Forward)
    assert opened.plan.path == f"/?command=Call&{written}=2099".encode()
    assert [(each.name, each.before, each.after) for each in opened.record.changes] == [
        ("Dialed", "06201234567", "2099")
    ]


def test_a_number_in_the_other_spelling_is_hidden_on_record() -> None:
    settings = site()
    journal = replace(settings.journal, masking=Masking(numbers=4))
    written = rules("{on: Call, rewrite: {set: {Dialled: '+36301112222'}}, allow: true}")
    built = make(replace(settings, journal=journal), written)
    opened = built.begin(command(b"/?command=Call&Dialed=%2B36201234567"))
    assert [(each.before, each.after) for each in opened.record.changes] == [("*******4567", "*******2222")]


def test_a_verbs_own_spelling_is_judged_and_changed_by_the_other_name(pipeline: Build) -> None:
    written = """rules:
      - {name: no, on: Call, when: {Dialed: {prefix: '0690'}}, deny: true}
      - {name: other, on: "verb:Call", when: {Dialed: "1001"}, rewrite: {set: {Dialed: "1002"}}, allow: true}
      - {name: rest, on: '*', allow: true}
    """
    one = pipeline(written)
    body = b'<Response><Call Dialled="%b"/></Response>'
    opened = one.begin(notification(b"NotificationName=CallConnected&CallId=1"))
    refused = one.finish(opened, 200, body % b"0690123456").judged
    assert refused is not None
    assert refused.refused == 1
    assert one.finish(opened, 200, body % b"1001").body == body % b"1002"


@pytest.mark.parametrize(
    ("callee", "caller", "rule"),
    [
        ("+442079460018", "1001", "blocked"),
        ("1001", "+442079460018", ""),  # the first is refused already
        ("+36201234567", "+442079460018", "blocked"),
        ("+36201234567", "+4930123456", ""),  # no rule allows it
        ("+36201234567", "1001", "mobile"),
        ("1001", "+36201234567", ""),
        ("+36201234567", "1099", "nobody"),
        ("112", "+442079460018", "help"),
        ("+36201234567", "sip:main-line", "mobile"),
    ],
)
def test_a_command_that_dials_two_numbers_is_allowed_where_both_are(
    pipeline: Build, callee: str, caller: str, rule: str
) -> None:
    written = """rules:
      - {name: help, on: [command, verb], when: {number: {class: emergency}}, allow: true}
      - {name: blocked, on: [command, verb], when: {number: {prefix: "+4420"}}, deny: true}
      - {name: nobody, on: [command, verb], when: {number: "1099"}, deny: true}
      - {name: mobile, on: [command, verb], when: {number: {class: mobile}}, allow: true}
    """
    opened = pipeline(written).begin(
        command(f"/?command=CallSetup&Callee={callee}&Caller={caller}".replace("+", "%2B").encode())
    )
    assert opened.decision.rule == rule
    assert (opened.decision.verdict is Verdict.ALLOW) == (rule in ("help", "mobile"))


def test_an_outside_line_beside_the_number_of_a_route_is_no_number(pipeline: Build) -> None:
    built = pipeline(rules("{on: verb, when: {number: {class: fixed}}, deny: true}"))
    body = b'<Response><Route DialedNumber="+36201234567" Destination="%b"/></Response>'
    opened = built.begin(notification(b"NotificationName=IncomingCall&CallId=1"))
    for line in (b"Line1", b"+3612345678", b"3612345678"):
        assert built.finish(opened, 200, body % line).body is None
    refused = built.finish(opened, 200, b'<Response><Route Destination="+3612345678"/></Response>').judged
    assert refused is not None
    assert refused.refused == 1
