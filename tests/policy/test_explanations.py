"""What a condition says that it expects, and what it says that it sees."""
# ruff: noqa: E501 - one case, one line

import pytest

from interceptor.policy import Source, read_policy
from interceptor.policy.readings import Readings
from interceptor.values import CallFacts, Severity

NEW_YEAR = 1704067200.0  # Monday 2024-01-01 00:00 UTC, 01:00 in Budapest


@pytest.fixture(scope="module")
def told(context, tables, facts):
    """The words of a `when`: what it expects, and what it sees in a message."""

    def tell(when, **given):
        text = f"rules: [{{name: it, on: command, when: {when}, tag: seen}}]"
        rules, problems = read_policy([Source("it.yaml", text.encode()), *tables], context)
        assert [problem for problem in problems if problem.severity is Severity.ERROR] == []
        condition = rules[0].when
        return condition.expects(), condition.sees(facts(**given), Readings())

    return tell


@pytest.mark.parametrize(
    ("when", "given", "expects", "sees"),
    [
        ("{app: crm}", {"app": "marketing"}, "app crm", "app marketing"),
        ("{app: [crm, marketing, {exists: false}]}", {"app": ""}, "app crm or marketing or no known app", None),
        ("{app: {exists: true}}", {"app": ""}, "not no known app", "no known app"),
        ("{source: 10.0.0.0/8}", {"source": "192.0.2.7"}, "source 10.0.0.0/8", "192.0.2.7"),
        ("{source: [192.0.2.7, '2001:db8::/32', '::/0', 0.0.0.0/0]}", {"source": ""}, None, "no address"),
        ("{number: '1001'}", {}, "number 1001", "no number"),
        ("{number: '1001'}", {"number": "06 20 123"}, "number 1001", "+3620123 (mobile)"),
        ("{number: '1001'}", {"number": "sip:a@b"}, "number 1001", "`sip:a@b` (other)"),
        ("{caller: {prefix: +36}}", {"caller": "112"}, "caller prefix +36", "112 (emergency)"),
        ("{number: {class: [premium, satellite]}}", {"number": "1001"}, "number class premium or satellite", None),
        ("{number: {country: DE}}", {"number": "+3612345"}, "number country DE", "+3612345 (HU)"),
        ("{number: {country: DE}}", {"number": "1001"}, "number country DE", "1001 (no country)"),
        ("{caller: {exists: true}}", {}, "a caller", "no caller"),
        ("{number: {type: [voip, extension]}}", {"number": "1001"}, "number type voip or extension", "1001 (extension)"),
        ("{number: {table: blocked}}", {"number": "+3690123"}, "number in table blocked", "+3690123 (in table blocked)"),
        ("{number: {table: blocked}}", {"number": "1001"}, None, "1001 (not in table blocked)"),
        ("{caller: {table: customers, column: tier, is: [gold, tin]}}", {"caller": "+36302"}, "caller in table customers with tier `gold` or `tin`", "+36302 (in table customers with tier `silver`)"),
        ("{caller: {table: customers, column: tier, is: gold}}", {}, None, "no caller"),
        ("{Recipient: {table: words}}", {"values": {"recipient": "a"}}, "parameter Recipient in table words", "parameter Recipient `a` (not in table words)"),
        ("{Recipient: {table: words}}", {}, None, "no parameter Recipient"),
        ("{parameters: {password: {table: words}}}", {"values": {"password": "a"}}, None, "parameter password that is not shown"),
        ("{parameters: {password: {length: 9..}}}", {"values": {"password": "a"}}, None, "parameter password that is not shown"),
        ("{Message: {range: [1..9, 0.5]}}", {"values": {"message": "x"}}, "parameter Message range 1..9 or 0.5", "parameter Message `x`"),
        ("{Message: {length: 160..}}", {"values": {"message": "xyz"}}, "parameter Message length 160..", "parameter Message length 3"),
        ("{Message: {length: 160..}}", {}, None, "no parameter Message"),
        ("{number: {length: [4, 6..]}}", {"number": "+36123"}, "number length 4 or 6..", "+36123 (length 5)"),
        ("{caller: {length: ..6}}", {}, "caller length ..6", "no caller"),
        ("{CallerID: '7'}", {"values": {"callerid": ""}}, "parameter CallerID `7`", "parameter CallerID ``"),
        ("{CallerID: '7'}", {}, None, "no parameter CallerID"),
        ("{header: {User-Agent: {prefix: crm}}}", {}, "header User-Agent prefix `crm`", "no header User-Agent"),
        ("{Message: {suffix: [a, b]}}", {}, "parameter Message suffix `a` or `b`", None),
        ("{Message: {contains: a}}", {}, "parameter Message contains `a`", None),
        ("{Message: {regex: ^a}}", {}, "parameter Message regex `^a`", None),
        ("{Message: {exists: true}}", {}, "a parameter Message", None),
        ("{Message: a}", {"values": {"Message": "x" * 70 + "y" * 70}}, None, f"parameter Message `{'x' * 60}…{'y' * 19}`"),
        ("{parameters: {Password: letmein}}", {}, "parameter Password a value that is not shown", None),
        ("{parameters: {password: a}}", {"values": {"Password": "b"}}, None, "parameter password that is not shown"),
        ("{header: {Cookie: a}}", {"headers": {"cookie": "b"}}, None, "header Cookie that is not shown"),
        ("{Message: [a, b, c, d, e, f, g]}", {}, "parameter Message `a`, `b`, `c`, `d` or one of 3 others", None),
        ("{time: {days: mon-fri, hours: '08:00-18:00'}}", {"at": NEW_YEAR}, "time mon-fri 08:00-18:00 Europe/Budapest", "time mon 01:00 Europe/Budapest"),
        ("{time: {days: [sat, sun], zone: UTC}}", {"at": NEW_YEAR + 61}, "time sat-sun UTC", "time mon 00:01 UTC"),
        ("{time: {days: fri, hours: '22:00-06:00'}}", {}, "time fri 22:00-24:00, sat 00:00-06:00 Europe/Budapest", None),
        ("{time: {hours: ['08:00-12:00', '13:00-18:00'], zone: UTC}}", {}, "time mon-sun 08:00-12:00 and 13:00-18:00 UTC", None),
        ("{time: {dates: [12-24, 2026-01-01..2026-01-03]}}", {"at": NEW_YEAR}, "time on 12-24 or 2026-01-01..2026-01-03 Europe/Budapest", "time mon 2024-01-01 01:00 Europe/Budapest"),
        ("{time: {dates: 2026-01-01.., days: fri, hours: '22:00-06:00'}}", {}, "time on 2026-01-01.. fri 22:00-24:00, sat 00:00-06:00 Europe/Budapest", None),
        ("{time: {holidays: days, zone: UTC}}", {"at": NEW_YEAR + 86400}, "time on holidays days UTC", "time tue 2024-01-02 00:00 (Closed) UTC"),
        ("{sample: 2.5%}", {"values": {"CallId": "7"}}, "sample 2.5%", "`7` at 90.356587%"),
        ("{sample: 100%}", {}, "sample 100%", "no call and no exchange, at 89.316752%"),
        ("{call: {owned: true}}", {}, "a call of the app's own", "no call"),
        ("{call: {owned: false}}", {"call": CallFacts(owned=True)}, "a call that is not the app's own", "a call of the app's own, state not known, direction not known"),
        ("{call: {state: [held, ringing]}}", {"call": CallFacts(state="connected", direction="incoming")}, "call state held or ringing", "a call that is not the app's own, connected, incoming"),
        ("{call: {direction: incoming}}", {}, "call direction incoming", None),
        ("{call: {exists: false}}", {}, "not a call", "no call"),
        ("{not: {app: crm}}", {}, "not app crm", "app crm"),
        ("{app: crm, number: '1001'}", {}, "app crm and number 1001", "app crm, no number"),
        ("{app: crm, any: [{number: '1001'}, {number: {prefix: '2'}}]}", {}, "app crm and (number 1001 or number prefix 2)", "app crm, no number"),
        ("{not: {any: [{app: crm}, {number: '1001'}]}}", {}, "not (app crm or number 1001)", None),
    ],
)  # fmt: skip
def test_a_condition_says_what_it_expects_and_what_it_sees(told, when, given, expects, sees):
    said = told(when, **given)
    assert said[0] == expects or expects is None
    assert said[1] == sees or sees is None


@pytest.mark.parametrize(
    ("written", "expects"),
    [
        ("10.0.0.0/8", "10.0.0.0/8"),
        ("192.0.2.7", "192.0.2.7"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("::/0", "::/0"),
        ("2001:db8::/32", "2001:db8::/32"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
def test_a_network_is_told_as_it_was_written(told, written, expects):
    assert told(f"{{source: '{written}'}}")[0] == f"source {expects}"
