"""Audit records are read into sightings: ids in all spellings, numbers in one form, nothing from strangers."""

from datetime import datetime
from typing import Any

import msgspec
import pytest

from interceptor.audit.record import ChangedParameter, DecisionRecord, GapRecord, RefusalRecord, SettlementRecord
from interceptor.calls import Call, Calls, State
from interceptor.settings import Masking
from interceptor.sightings import LONGEST_ID, Follower
from interceptor.values import Kind, Verdict
from interceptor.wire import knowledge
from interceptor.wire.numbers import NumberReader

AT = "2026-11-23T09:12:51.250000Z"
NUMBERS = NumberReader("HU", ("1xxx", "2xxx"))


def follower(numbers: int | None = None) -> Follower:
    return Follower(Calls(), NUMBERS, Masking(numbers))


def decision(kind: Kind, name: str, exchange: str = "e1", at: str = AT, **fields: Any) -> DecisionRecord:
    fields.setdefault("verdict", Verdict.ALLOW)
    fields.setdefault("reason", "rule")
    return DecisionRecord(
        1, at, exchange, "w0", "commands", kind, name, fields.pop("app", "crm"), "10.0.0.1", "POST", "/",
        fields.pop("verdict"), fields.pop("reason"), "r1", **fields,
    )  # fmt: skip


def settlement(exchange: str = "e1", code: int | None = 200, **fields: Any) -> SettlementRecord:
    return SettlementRecord(2, AT, exchange, "w0", fields.pop("outcome", "answered"), "pbx:80", code, **fields)


def told(name: str, **parameters: str) -> DecisionRecord:
    return decision(Kind.NOTIFICATION, name, parameters={"notificationname": name, **parameters})


def only(follow: Follower) -> Call:
    found = [*follow.calls.open, *follow.calls.recent]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize("spelling", [name for name in knowledge.CALL_IDS if name != "targetcallid"])
def test_a_call_id_is_found_in_every_spelling_of_the_reference(spelling: str) -> None:
    follow = follower()
    follow.follow(told("CallChanged", **{spelling: "X", "callstate": "Ringing"}))
    assert only(follow).ids == ("X",)


def test_an_attended_transfer_names_two_calls() -> None:
    follow = follower()
    for call, exchange in (("X", "e1"), ("Y", "e2")):
        record = told("CallChanged", callid=call, callstate="InCall")
        record.exchange = exchange
        follow.follow(record)
    parameters = {"transferredcallid": "X", "targetcallid": "Y"}
    follow.follow(decision(Kind.COMMAND, "AttendedTransfer", "e3", parameters=parameters))
    follow.follow(settlement("e3"))
    assert {call.state for call in follow.calls.open} == {State.TRANSFERRING}


@pytest.mark.parametrize(
    ("names", "state"),
    [
        (("callid", "x-source", "x-destination", "x-callstate"), "Ringing"),
        (("callid", "caller", "callee", "state"), "InCall"),
    ],
)
def test_numbers_and_state_are_found_by_any_of_their_names_in_canonical_form(
    names: tuple[str, ...], state: str
) -> None:
    follow = follower()
    values = dict(zip(names, ("X", "06 30 111 2233", "2301", state), strict=True))
    follow.follow(told("CallChanged", **values))
    call = only(follow)
    assert (call.caller, call.dialled) == ("+36301112233", "2301")
    assert call.state is (State.RINGING if state == "Ringing" else State.CONNECTED)


def test_masked_numbers_of_records_and_parameters_look_alike() -> None:
    follow = follower(4)
    record = told("RoutingInterception", callerid="*******2233", lastcallstate="Calling")
    record.caller, record.number = "*******2233", "2301"
    follow.follow(record)
    record = told(
        "CallChanged", **{"callid": "X", "x-source": "06301112233", "x-destination": "2301", "state": "Ringing"}
    )
    record.exchange = "e2"
    follow.follow(record)
    assert [passage.sighting.name for passage in only(follow).passages] == ["RoutingInterception", "CallChanged"]


def test_nothing_that_looks_like_a_number_is_told_whole_where_numbers_are_masked() -> None:
    follow = follower(4)
    numbers = ("06301112233", "+36 30 111 2233", "0036301112233")
    parties = {"x-caller": numbers[0], "x-callee": numbers[1], "x-dialed": numbers[2]}
    follow.follow(told("IncomingCall", callid="X", **parties, **{"x-via": numbers[0], "x-line": "7"}))
    sighting = only(follow).passages[0].sighting
    assert sighting.gist == "x-via=*******2233 x-line=7"
    assert (sighting.caller, sighting.dialled) == ("*******2233", "*******2233")


def test_a_call_is_known_by_the_numbers_that_the_pbx_was_given() -> None:
    follow = follower()
    changes = (ChangedParameter("CallerId", "1500", "0612222222"), ChangedParameter("Dialed", "2301", "2405"))
    follow.follow(
        decision(Kind.COMMAND, "Call", caller="1500", number="2301", changes=changes, parameters={"command": "Call"})
    )
    assert (only(follow).caller, only(follow).dialled) == ("+3612222222", "2405")


def test_who_has_no_callback_of_ours_says_nothing() -> None:
    follow = follower()
    for reason in ("callback_forged", "callback_expired", "callback_foreign", "callback_forbidden"):
        record = told("CallChanged", callid="X", callstate="Ringing")
        record.verdict, record.reason = Verdict.DENY, reason
        follow.follow(record)
    assert list(follow.calls.open) == []


def test_what_is_about_no_call_is_passed_over() -> None:
    follow = follower()
    for name, parameters in (
        ("ListExtensions", {}),
        ("GetCallHistory", {"callid": "X"}),
        ("SendSms", {"recipient": "+36301112233"}),
        ("Hangup", {"callid": ""}),
        ("Hangup", {"callid": "x" * (LONGEST_ID + 1)}),
    ):
        follow.follow(decision(Kind.COMMAND, name, parameters=parameters))
        follow.follow(settlement())
    follow.follow(told("IncomingSMS", sender="1"))
    follow.follow(told("CallChanged", callstate="Ringing"))
    follow.follow(GapRecord(3, AT, "w0", "torn_line"))
    follow.follow(settlement("unknown"))
    assert [*follow.calls.open, *follow.calls.recent] == []


def test_a_call_that_names_an_id_is_not_taken_for_that_call() -> None:
    follow = follower()
    follow.follow(decision(Kind.COMMAND, "Call", parameters={"command": "Call", "callid": "X"}))
    assert only(follow).ids == ()


def test_times_verbs_and_refusals_are_read() -> None:
    follow = follower()
    follow.follow(told("IncomingCall", callid="X"))
    verb = decision(
        Kind.VERB,
        "BlindTransfer",
        number="+3690123456",
        verdict=Verdict.DENY,
        refusal=RefusalRecord(306, "no"),
        rules=("rules.yaml:6 no-premium",),
    )
    follow.follow(verb)
    follow.follow(settlement(code=None, answered=("Speak", "Hangup"), verbs=2, verbs_refused=1))
    sighting = only(follow).passages[0].sighting
    assert sighting.at == datetime.fromisoformat(AT).timestamp()
    assert [(said.name, said.code, said.rules) for said in sighting.said] == [
        ("BlindTransfer", 306, ("rules.yaml:6 no-premium",))
    ]
    assert sighting.closing is not None
    assert sighting.closing.answered == ("Speak", "Hangup")


def test_bytes_that_are_no_text_are_told_as_the_journal_tells_them() -> None:
    follow = follower()
    follow.follow(told("CallChanged", callid="X\udcff", callstate="Ring\udcffing", **{"x-source": "\udcfe"}))
    call = only(follow)
    assert call.ids == ("X\\udcff",)
    msgspec.msgpack.encode(call)


def test_what_a_message_says_is_told_in_few_words_without_secrets_numbers_and_addresses() -> None:
    follow = follower()
    parameters = {
        "command": "Speak", "username": "u", "password": "***", "callid": "X", "text": "h" * 100, "party": "all",
    }  # fmt: skip
    follow.follow(decision(Kind.COMMAND, "Speak", parameters=parameters))
    follow.follow(settlement())
    assert only(follow).passages[0].sighting.gist == f"text={'h' * 60} party=all"
