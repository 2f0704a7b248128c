"""A small world for policies: a few names, a number plan of five lines, and facts with defaults."""

import re

import pytest

from interceptor.policy import Context, Source, compile_policy
from interceptor.values import Facts, Kind, Number, NumberClass, NumberType, ProblemsError, Verdict


def plain_number(text):
    """Hungarian numbers without a library: `06…` and `00…` become `+…`, four digits are an extension."""
    digits = re.sub(r"[^0-9+]", "", text)
    if digits in ("112", "105"):
        return Number(text, digits, "HU", NumberClass.EMERGENCY, NumberType.EMERGENCY)
    if re.fullmatch("[12][0-9]{3}", digits):
        return Number(text, digits, "", NumberClass.INTERNAL, NumberType.EXTENSION)
    if digits.startswith("00"):
        digits = "+" + digits[2:]
    elif digits.startswith("06"):
        digits = "+36" + digits[2:]
    if not digits.startswith("+"):
        return Number(text, text, "", NumberClass.OTHER)
    country = "HU" if digits.startswith("+36") else "DE" if digits.startswith("+49") else ""
    premium, mobile = digits.startswith("+3690"), digits.startswith(("+3620", "+3630", "+4915"))
    number_class = NumberClass.PREMIUM if premium else NumberClass.MOBILE if mobile else NumberClass.FIXED
    number_type = NumberType.MOBILE if mobile else NumberType.UNKNOWN
    return Number(text, digits, country, number_class, number_type)


CONTEXT = Context(
    commands=("Call", "BlindTransfer", "Hangup", "SendSms", "ListActiveCalls"),
    notifications=("RoutingInterception", "CallChanged", "IncomingCall"),
    verbs=("Call", "BlindTransfer", "Route", "Speak", "Hangup", "UserInput", "GoTo"),
    apps=frozenset(("crm", "switchboard", "marketing")),
    clusters=frozenset(("pbx-main", "pbx-marketing")),
    defaults={Kind.COMMAND: Verdict.DENY, Kind.NOTIFICATION: Verdict.ALLOW, Kind.VERB: Verdict.DENY},
    zone="Europe/Budapest",
    number=plain_number,
    parameters=frozenset(("Dialed", "CallerId", "CallerID", "Message", "ApiExtension", "Recipient", "Url")),
    secrets=frozenset(("password", "cookie")),
    calls=("callid", "targetcallid"),
)


TABLES = (
    Source("tables/customers.csv", b"number,tier\n+36201234567,gold\n+3630*,silver\n+36301*,gold\n1001,\n"),
    Source("tables/blocked.txt", b"+3690*\n+4915112345678\n1002\n"),
    Source("tables/tenants.csv", b"tenant,plan\na,gold\nab,silver\n"),
    Source("tables/days.csv", b"date,name\n05-01,Labour Day\n2024-01-02..2024-01-03,Closed\n"),
    Source("tables/words.txt", b"ab\nabc\n"),
)


@pytest.fixture(scope="session")
def tables():
    return TABLES


@pytest.fixture(scope="session")
def context():
    return CONTEXT


@pytest.fixture(scope="session")
def compiled():
    """Compile one text, or several files in order."""

    def compile_texts(*texts, context=CONTEXT):
        sources = [Source(f"{index}.yaml", text.encode()) for index, text in enumerate(texts)]
        return compile_policy([*sources, *TABLES], context)

    return compile_texts


@pytest.fixture(scope="session")
def rule(compiled):
    """Compile one rule, written without its name, that matches or does not."""

    def compile_rule(text, **keywords):
        return compiled(f"rules:\n  - name: it\n    {text.strip()}\n", **keywords)

    return compile_rule


@pytest.fixture(scope="session")
def problems(compiled):
    """The problems of a text, each as `line:column: message`."""

    def read(*texts, context=CONTEXT):
        with pytest.raises(ProblemsError) as caught:
            compiled(*texts, context=context)
        return [str(problem).partition(":")[2] for problem in caught.value.problems]

    return read


@pytest.fixture(scope="session")
def facts():
    """Facts of one message; a number may be given as text."""

    def make(kind=Kind.COMMAND, name="Call", **given):
        for party in ("number", "caller"):
            if isinstance(given.get(party), str):
                given[party] = plain_number(given[party])
        given.setdefault("values", {})
        values = {key.lower(): value for key, value in given.pop("values").items()}
        empty = {"app": "crm", "source": "10.0.0.7", "number": None, "caller": None, "headers": {}, "at": 0.0}
        return Facts(kind=kind, name=name, values=values, **(empty | given))

    return make


@pytest.fixture(scope="session")
def matches(rule, facts):
    """Whether a `when` matches a message."""

    def decide(when, **given):
        on = {Kind.COMMAND: "command", Kind.NOTIFICATION: "notification", Kind.VERB: "verb"}[
            given.get("kind", Kind.COMMAND)
        ]
        return bool(rule(f"on: {on}\n    when: {when}\n    tag: seen").decide(facts(**given)).tags)

    return decide
