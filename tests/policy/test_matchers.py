"""Every dimension of `when`, by what it matches and what it passes over."""

from datetime import UTC, datetime

import pytest

from interceptor.calls import State
from interceptor.policy.matchers.call import STATES
from interceptor.values import CallFacts, Kind


def at(text):
    """Unix time of a moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("when", "app", "expected"),
    [
        ("{app: crm}", "crm", True),
        ("{app: crm}", "marketing", False),
        ("{app: [crm, marketing]}", "marketing", True),
        ("{app: {not: crm}}", "", True),
        ("{app: {exists: true}}", "crm", True),
        ("{app: {exists: true}}", "", False),
        ("{app: {exists: false}}", "", True),
        ("{app: {exact: crm, not: marketing}}", "crm", True),
        ("{app: [crm, {exists: false}]}", "", True),
        ("{app: {any: [crm, marketing]}}", "switchboard", False),
        ("{app: {all: [{exists: true}, {not: crm}]}}", "crm", False),
        ("{app: [crm, switchboard, marketing, crm]}", "marketing", True),
    ],
)
def test_app(matches, when, app, expected):
    assert matches(when, app=app) is expected


@pytest.mark.parametrize(
    ("when", "source", "expected"),
    [
        ("{source: 10.0.0.7}", "10.0.0.7", True),
        ("{source: 10.0.0.0/24}", "10.0.0.255", True),
        ("{source: 10.0.0.0/24}", "10.0.1.0", False),
        ("{source: 10.0.0.0/24}", "::ffff:10.0.0.9", True),
        ("{source: ['2001:db8::/32', 192.0.2.0/25]}", "2001:db8::1", True),
        ("{source: ['2001:db8::/32', 192.0.2.0/25]}", "192.0.2.200", False),
        ("{source: {not: 0.0.0.0/0}}", "not an address", True),
        ("{source: 0.0.0.0/0}", "not an address", False),
        ("{source: '::/0'}", "not an address", False),
        ("{source: {not: ['2001:db8::/32', 192.0.2.0/25]}}", "192.0.2.200", True),
    ],
)
def test_source(matches, when, source, expected):
    assert matches(when, source=source) is expected


def test_more_sources_than_are_remembered_are_still_read_right(rule, facts):
    rules = rule("on: command\n    when: {source: 10.0.0.0/16}\n    tag: seen")
    for host in range(5000):
        assert rules.decide(facts(source=f"10.0.{host // 256}.{host % 256}")).tags == ("seen",)
    assert rules.decide(facts(source="10.1.0.0")).tags == ()


@pytest.mark.parametrize("party", ["number", "caller"])
@pytest.mark.parametrize(
    ("when", "number", "expected"),
    [
        ('"06 20 123 4567"', "+36201234567", True),
        ('"+36201234567"', "0036-20-1234567", True),
        ('["1001", "1002"]', "1002", True),
        ('["1001", "1002"]', "1003", False),
        ('{exact: ["1001", "1002", "1003", "1004"]}', "1003", True),
        ("{prefix: +3620}", "06201234567", True),
        ("{prefix: [+3620, +3630, +36]}", "06901234567", True),
        ("{prefix: [+3620, +3630]}", "06901234567", False),
        ("{prefix: '+36 (20)'}", "06201234567", True),
        ("{class: [premium, satellite]}", "06901234567", True),
        ("{class: premium}", "06201234567", False),
        ("{country: HU}", "06201234567", True),
        ("{country: [DE, AT]}", "06201234567", False),
        ("{country: HU, not: {class: premium}}", "06901234567", False),
        ("{not: {country: HU}}", None, True),
        ("{exists: true}", None, False),
        ("{exists: false}", None, True),
        ("{exists: true}", "1001", True),
        ("{not: '1001'}", None, True),
        ("{not: {prefix: '1'}}", "1001", False),
        ("{not: {class: internal}}", "1001", False),
        ("[{prefix: +49}, {class: internal}, '112']", "112", True),
        ("{country: HU}", None, False),
        ("{class: premium}", None, False),
        ("{prefix: '1'}", None, False),
        ("{prefix: '1000000'}", "1001", False),
        ("{table: blocked}", "06901234567", True),
        ("{table: blocked}", "1002", True),
        ("{table: blocked}", "1001", False),
        ("{table: blocked}", None, False),
        ("{not: {table: blocked}}", None, True),
        ("{table: [blocked, customers]}", "1001", True),
        ("{table: blocked, not: '1002'}", "1002", False),
        ("[{table: blocked}, '1001']", "1001", True),
        ("{table: customers, column: tier, is: gold}", "+36301234567", True),
        ("{table: customers, column: tier, is: gold}", "+36302234567", False),
        ("{table: customers, column: tier, is: [gold, silver]}", "+36302234567", True),
        ("{table: customers, column: tier, is: gold}", "+36209999999", False),
        ("{table: customers, column: tier, is: ''}", "1001", True),
        ("{table: customers, column: tier, is: gold, prefix: +3620}", "+36301234567", False),
        ("{type: extension}", "1001", True),
        ("{type: [mobile, voip]}", "06201234567", True),
        ("{type: [mobile, voip]}", "1001", False),
        ("{not: {type: mobile}}", None, True),
        ("{type: unknown}", "+4930123456", True),
        ("{type: unknown}", None, False),
        ("{length: 4}", "1001", True),
        ("{length: 4}", "+36201", False),
        ("{length: 5}", "+36201", True),
        ("{length: 3..5}", "112", True),
        ("{length: [3, 6..11]}", "1001", False),
        ("{length: '6 .. 11'}", "+36201234567", True),
        ("{length: 12..}", "+36201234567", False),
        ("{length: 11..}", "+36201234567", True),
        ("{length: ..3}", "1001", False),
        ("{length: 0..}", None, False),
        ("{length: 19..30}", "+3620123456789012345678", True),
    ],
)
def test_number_and_caller(matches, party, when, number, expected):
    assert matches(f"{{{party}: {when}}}", **{party: number}) is expected


TEXTS = [
    ("SIP", {"x": "SIP"}, True),
    ("SIP", {"x": "sip"}, False),
    ("[SIP, ISDN]", {"x": "ISDN"}, True),
    ("''", {"x": ""}, True),
    ("{exact: [a, b, c, d]}", {"x": "d"}, True),
    ("{prefix: [ab, cd]}", {"x": "cde"}, True),
    ("{prefix: ab}", {"x": "a"}, False),
    ("{suffix: [bc, de]}", {"x": "cde"}, True),
    ("{suffix: bc}", {}, False),
    ("{contains: [q, ell]}", {"x": "hello"}, True),
    ("{contains: [q, w, z]}", {"x": "hello"}, False),
    ("{contains: q}", {}, False),
    ("{regex: '^h.*o$'}", {"x": "hello"}, True),
    ("{regex: ell}", {"x": "hello"}, True),
    ("{regex: [^a, ^b]}", {"x": "hello"}, False),
    ("{regex: ell}", {}, False),
    ("{regex: é}", {"x": "caf\u00e9"}, True),
    ("{regex: a}", {"x": "\udcff a"}, True),
    ("{exists: true}", {"x": ""}, True),
    ("{exists: true}", {}, False),
    ("{exists: false}", {}, True),
    ("{exists: false}", {"x": "1"}, False),
    ("{not: {prefix: a}}", {}, True),
    ("{not: SIP}", {}, True),
    ("{not: SIP}", {"x": "SIP"}, False),
    ("{not: {contains: b, suffix: c}}", {"x": "abc"}, False),
    ("{prefix: a, suffix: c, contains: b, not: abbc}", {"x": "abc"}, True),
    ("[SIP, {prefix: IS, suffix: DN}]", {"x": "ISDN"}, True),
    ("[SIP, {prefix: IS}, {suffix: X}]", {"x": "CPX"}, True),
    ("+36201234567", {"x": "+36201234567"}, True),
    ("0612345", {"x": "0612345"}, True),
    ("{range: 1..100}", {"x": "100"}, True),
    ("{range: 1..100}", {"x": "100.000001"}, False),
    ("{range: 1..100}", {"x": "0100"}, True),
    ("{range: 1..100}", {"x": "12a"}, False),
    ("{range: 1..100}", {"x": ""}, False),
    ("{range: 1..100}", {}, False),
    ("{range: 1..100}", {"x": "\u0661"}, False),
    ("{range: 1..100}", {"x": "1" * 19}, False),
    ("{range: -5..-1.5}", {"x": "-1.50"}, True),
    ("{range: [7, 9..]}", {"x": "+9"}, True),
    ("{range: [7, 9..]}", {"x": "8"}, False),
    ("{range: ..0}", {"x": "-1"}, True),
    ("{not: {range: ..0}}", {"x": "abc"}, True),
    ("{length: 3}", {"x": "caf"}, True),
    ("{length: [2, 5..]}", {"x": "caf"}, False),
    ("{length: 0..}", {}, False),
    ("{length: ..0}", {"x": ""}, True),
    ("{table: words}", {"x": "ab"}, True),
    ("{table: words}", {"x": "AB"}, False),
    ("{table: words}", {}, False),
    ("{table: [words, tenants]}", {"x": "a"}, True),
    ("{table: tenants, column: plan, is: gold}", {"x": "a"}, True),
    ("{table: tenants, column: plan, is: gold}", {"x": "ab"}, False),
    ("{table: tenants, column: plan, is: gold}", {"x": "abc"}, False),
    ("{not: {table: tenants, column: plan, is: [gold, silver]}}", {"x": "ab"}, False),
    ("{table: customers, column: tier, is: gold}", {"x": "06 20 123 4567"}, True),
    ("{table: blocked}", {"x": "0690-1234567"}, True),
    ("{table: blocked}", {"x": "no number"}, False),
    ("{table: blocked}", {}, False),
    ("no", {"x": "no"}, True),
]


@pytest.mark.parametrize(("when", "values", "expected"), TEXTS)
def test_parameters(matches, when, values, expected):
    assert matches(f"{{X: {when}}}", values=values) is expected
    assert matches(f"{{parameters: {{x: {when}}}}}", values=values) is expected


@pytest.mark.parametrize(("when", "values", "expected"), TEXTS)
def test_headers(matches, when, values, expected):
    assert matches(f"{{header: {{X: {when}}}}}", headers=values) is expected
    assert matches(f"{{any: [{{not: {{header: {{X: {when}}}}}}}, {{app: marketing}}]}}", headers=values) is not expected


def test_parameter_names_are_compared_without_letter_case(matches):
    assert matches("{CALLERID: '1'}", values={"CallerId": "1"})
    assert matches("{X-Own: '1', parameters: {y: '2'}}", values={"x-own": "1", "Y": "2"})


def test_a_parameter_far_from_all_known_ones_needs_no_escape(matches):
    assert matches("{Zzyzx: '1'}", values={"zzyzx": "1"})


@pytest.mark.parametrize(
    ("when", "moment", "expected"),
    [
        # Budapest is an hour ahead of UTC in winter, two in summer. 2024-01-01 was a Monday.
        ("{hours: '08:00-18:00'}", "2024-01-01T07:00", True),
        ("{hours: '08:00-18:00'}", "2024-01-01T06:59", False),
        ("{hours: '08:00-18:00'}", "2024-01-01T16:59", True),
        ("{hours: '08:00-18:00'}", "2024-01-01T17:00", False),
        ("{hours: '08:00-18:00'}", "2024-07-01T06:00", True),
        ("{hours: '08:00-18:00', zone: UTC}", "2024-07-01T06:00", False),
        ("{days: mon-fri}", "2024-01-05T22:59", True),
        ("{days: mon-fri}", "2024-01-05T23:00", False),
        ("{days: [sat, sun]}", "2024-01-05T23:00", True),
        ("{days: fri-mon}", "2024-01-08T12:00", True),
        ("{days: fri-mon}", "2024-01-09T12:00", False),
        ("{days: fri, hours: '22:00-06:00'}", "2024-01-06T04:59", True),
        ("{days: fri, hours: '22:00-06:00'}", "2024-01-06T05:00", False),
        ("{days: sun, hours: '22:00-06:00'}", "2024-01-08T04:59", True),
        ("{days: sun, hours: '22:00-06:00'}", "2024-01-08T05:00", False),
        ("{hours: '00:00-24:00'}", "2024-01-03T12:00", True),
        ("{hours: ['08:00-12:00', '13:00-18:00']}", "2024-01-03T11:30", False),
        ("{hours: ['08:00-14:00', '13:00-18:00']}", "2024-01-03T12:30", True),
        ("{not: {days: mon-fri, hours: '08:00-18:00'}}", "2024-01-06T12:00", True),
        ("{not: {days: mon-fri, hours: '08:00-18:00'}}", "2024-01-05T12:00", False),
        ("[{days: sat}, {days: sun}]", "2024-01-06T12:00", True),
        ("{any: [{days: sat}, {hours: '08:00-09:00'}]}", "2024-01-05T07:30", True),
        ("{days: mon, not: {hours: '12:00-13:00'}}", "2024-01-01T11:30", False),
        ("{hours: ['20:00-23:00', '22:00-02:00']}", "2024-01-03T00:30", True),
        ("{dates: 2024-01-05}", "2024-01-04T23:00", True),
        ("{dates: 2024-01-05}", "2024-01-04T22:59", False),
        ("{dates: 2024-01-05}", "2024-01-05T22:59", True),
        ("{dates: 2024-01-05}", "2023-01-05T12:00", False),
        ("{dates: 2024-01-05, zone: UTC}", "2024-01-04T23:00", False),
        ("{dates: 01-05}", "2023-01-05T12:00", True),
        ("{dates: [01-05, 2024-02-01..2024-02-03]}", "2024-02-03T12:00", True),
        ("{dates: [01-05, 2024-02-01..2024-02-03]}", "2024-02-04T12:00", False),
        ("{dates: 12-24..01-06}", "2024-01-06T12:00", True),
        ("{dates: 12-24..01-06}", "2024-12-24T12:00", True),
        ("{dates: 12-24..01-06}", "2024-01-07T12:00", False),
        ("{dates: 02-29}", "2024-02-29T12:00", True),
        ("{dates: 02-28..03-01}", "2024-02-29T12:00", True),
        ("{dates: 2024-01-05..}", "2030-01-05T12:00", True),
        ("{dates: 2024-01-05..}", "2024-01-04T12:00", False),
        ("{dates: '.. 2024-01-05'}", "2024-01-05T12:00", True),
        ("{dates: '.. 2024-01-05'}", "2024-01-06T12:00", False),
        ("{dates: 2024-01-05, hours: '22:00-06:00'}", "2024-01-06T04:59", True),
        ("{dates: 2024-01-05, hours: '22:00-06:00'}", "2024-01-05T04:59", False),
        ("{dates: 2024-01-05, hours: '22:00-06:00'}", "2024-01-05T21:00", True),
        ("{dates: 01-01..01-31, days: fri}", "2024-01-12T12:00", True),
        ("{dates: 01-01..01-31, days: fri}", "2024-01-13T12:00", False),
        ("{not: {dates: 01-05}}", "2024-01-05T12:00", False),
        ("{holidays: days}", "2024-05-01T12:00", True),
        ("{holidays: days}", "2024-01-03T12:00", True),
        ("{holidays: days}", "2024-01-04T12:00", False),
        ("{holidays: days, hours: '10:00-12:00'}", "2024-01-03T12:00", False),
        ("{days: mon-fri, not: {holidays: days}}", "2024-01-03T12:00", False),
    ],
)
def test_time(matches, when, moment, expected):
    assert matches(f"{{time: {when}}}", at=at(moment)) is expected


HOLIDAYS = """
rules: [{name: it, on: command, when: {time: {holidays: [hungary, house]}}, tag: closed}]
holidays:
  hungary:
    01-01: New Year
    12-24..12-26: Christmas
    2026-04-06:
  house: [2026-08-10..2026-08-14, 12-31..01-01]
"""


@pytest.mark.parametrize(
    ("moment", "closed"),
    [
        ("2024-01-01T12:00", True),
        ("2024-01-02T12:00", False),
        ("2024-12-25T12:00", True),
        ("2026-04-06T12:00", True),
        ("2027-04-06T12:00", False),
        ("2026-08-14T12:00", True),
        ("2026-08-15T12:00", False),
        ("2025-12-31T12:00", True),
    ],
)
def test_holidays_stand_in_rules_files(compiled, facts, moment, closed):
    assert (compiled(HOLIDAYS).decide(facts(at=at(moment))).tags == ("closed",)) is closed


def test_holidays_may_stand_in_a_later_file_without_rules(compiled, facts):
    first, _, second = HOLIDAYS.partition("holidays:\n")
    rules = compiled(first, "holidays:\n" + second)
    assert rules.decide(facts(at=at("2026-04-06T12:00"))).tags == ("closed",)


def test_more_days_than_are_remembered_are_still_read_right(compiled, facts):
    rules = compiled(HOLIDAYS)
    closed = [day for day in range(366) if rules.decide(facts(at=at("2024-01-01T12:00") + day * 86400)).tags]
    assert closed == [0, 358, 359, 360, 365]


def test_the_clock_follows_time_in_both_directions(rule, facts):
    rules = rule("on: command\n    when: {time: {hours: '08:00-18:00', zone: UTC}}\n    tag: open")
    for moment, tags in [("2024-01-01T12:00", 1), ("2024-01-01T19:00", 0), ("2024-01-01T12:00", 1)]:
        assert len(rules.decide(facts(at=at(moment))).tags) == tags


@pytest.mark.parametrize(
    ("when", "given", "expected"),
    [
        ("{any: [{app: crm}, {number: '1001'}]}", {"app": "marketing", "number": "1001"}, True),
        ("{any: [{app: crm}, {number: '1001'}]}", {"app": "marketing"}, False),
        ("{any: [{app: crm}]}", {"app": "crm"}, True),
        ("{all: [{app: crm}, {number: '1001'}]}", {"app": "crm"}, False),
        ("{not: {app: crm, number: '1001'}}", {"app": "crm"}, True),
        ("{not: {not: {app: crm}}}", {"app": "crm"}, True),
        ("{any: [{app: crm, number: '1001'}, {app: marketing, number: '1002'}]}", {"number": "1001"}, True),
        ("{any: [{app: crm, number: '1001'}, {app: marketing, number: '1002'}]}", {"number": "1002"}, False),
        ("{any: [{app: switchboard}, {Url: x}, {number: '1002'}, {not: {app: crm}}]}", {"number": "1001"}, False),
        (
            "{app: crm, any: [{number: '1'}, {X: '1'}], all: [{Y: '2'}], not: {Z: '3'}}",
            {"values": {"X": "1", "Y": "2"}},
            True,
        ),
    ],
)
def test_conditions_nest(matches, when, given, expected):
    assert matches(when, **given) is expected


def sampled(rule, facts, percent, messages):
    rules = rule(f"on: command\n    when: {{sample: {percent}}}\n    tag: seen")
    return {key for key, given in messages.items() if rules.decide(facts(**given)).tags}


def test_a_sample_has_its_part_of_all_calls_and_the_smaller_samples(rule, facts):
    messages = {call: {"values": {"CallId": f"call-{call}"}} for call in range(4000)}
    tenth, half = sampled(rule, facts, "10%", messages), sampled(rule, facts, "50 %", messages)
    assert 320 <= len(tenth) <= 480
    assert 1880 <= len(half) <= 2120
    assert tenth <= half
    assert sampled(rule, facts, "100%", messages) == set(messages)
    assert len(sampled(rule, facts, "0.5%", messages)) <= 40


def test_a_sample_is_by_the_call_where_there_is_one_else_by_the_exchange(rule, facts):
    exchanges = range(300)
    one_call = {at: {"values": {"CallId": "7"}, "exchange": f"x{at}"} for at in exchanges}
    assert sampled(rule, facts, "50%", one_call) in (set(exchanges), set())
    no_call = {at: {"values": {"CallId": ""}, "exchange": f"x{at}"} for at in exchanges}
    other_call = {at: {"values": {"TargetCallId": f"x{at}"}, "exchange": "7"} for at in exchanges}
    assert sampled(rule, facts, "50%", no_call) == sampled(rule, facts, "50%", other_call)
    assert 100 < len(sampled(rule, facts, "50%", no_call)) < 200


def test_a_sample_takes_any_text_for_a_call(rule, facts):
    assert sampled(rule, facts, "100%", {1: {"values": {"CallId": "\udcff\ud800é"}}}) == {1}


def test_conditions_hold_for_notifications_and_verbs_too(matches):
    assert matches("{number: {class: internal}}", kind=Kind.VERB, name="Route", number="1001")
    assert matches("{caller: {country: HU}}", kind=Kind.NOTIFICATION, name="IncomingCall", caller="06201234567")


OWN = CallFacts(owned=True, state="connected", direction="outgoing")
OTHER = CallFacts(owned=False, state="ringing", direction="incoming")
UNKNOWN = CallFacts()


@pytest.mark.parametrize(
    ("when", "call", "expected"),
    [
        ("{owned: true}", OWN, True),
        ("{owned: true}", OTHER, False),
        ("{owned: true}", None, False),
        ("{owned: false}", OTHER, True),
        ("{owned: false}", None, False),
        ("{owned: no}", OWN, False),
        ("{not: {owned: true}}", None, True),
        ("{state: connected}", OWN, True),
        ("{state: [held, ringing]}", OTHER, True),
        ("{state: [held, ringing]}", OWN, False),
        ("{state: connected}", UNKNOWN, False),
        ("{not: {state: connected}}", UNKNOWN, True),
        ("{state: {not: connected}}", UNKNOWN, True),
        ("{state: connected}", None, False),
        ("{direction: outgoing}", OWN, True),
        ("{direction: incoming}", OWN, False),
        ("{direction: [incoming, outgoing]}", UNKNOWN, False),
        ("{exists: true}", UNKNOWN, True),
        ("{exists: true}", None, False),
        ("{exists: false}", None, True),
        ("{exists: false}", OTHER, False),
        ("{owned: true, state: connected, direction: outgoing}", OWN, True),
        ("{owned: true, state: held}", OWN, False),
        ("{any: [{state: held}, {owned: true}]}", OWN, True),
        ("[{state: held}, {direction: incoming}]", OTHER, True),
    ],
)
def test_call(matches, when, call, expected):
    assert matches(f"{{call: {when}}}", call=call) is expected


def test_the_states_that_rules_may_name_are_states_of_calls():
    assert set(STATES) == {state.value for state in State} - {"new", "requested"}  # such a call has no id yet


@pytest.mark.parametrize(
    ("text", "asks"),
    [
        ("on: Hangup\n    when: {call: {owned: true}}\n    allow: true", True),
        ("on: Hangup\n    when: {app: crm, any: [{tag: x}, {not: {call: {exists: true}}}]}\n    allow: true", True),
        ("on: Hangup\n    mode: shadow\n    when: {call: {state: held}}\n    deny: true", True),
        ("on: Hangup\n    mode: off\n    when: {call: {state: held}}\n    deny: true", False),
        ("on: Hangup\n    when: {app: crm}\n    deny: true", False),
    ],
)
def test_a_set_knows_whether_its_rules_ask_for_calls(compiled, text, asks):
    tag = "  - {name: x, on: Hangup, tag: x}\n"
    assert compiled(f"rules:\n{tag}  - name: it\n    {text}\n").asks_for_calls is asks
