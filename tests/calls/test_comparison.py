"""The PBX's own list against ours: what is unknown or lost is believed at the second time."""

import pytest

from interceptor.calls import Cause
from interceptor.calls.comparison import Comparer, Listed
from interceptor.wire.active import ActiveCall, read_active_calls
from tests.calls.conftest import Line


def listed(*ids: str) -> list[Listed]:
    return [Listed(each) for each in ids]


def test_a_call_that_is_unknown_twice_is_told_and_one_that_is_missing_twice_ends(line: Line) -> None:
    line.state("X", "InCall")
    line.state("Y", "InCall")
    line.pause(10)
    comparer = Comparer("pbx:80", alone=True)
    first = comparer.compare(line.calls, listed("X", "strange"), line.now)
    assert (first.listed, first.unknown, first.lost) == (2, 0, 0)
    second = comparer.compare(line.calls, listed("X", "strange"), line.now + 30)
    assert ([each.call_id for each in second.unknown_calls], second.lost_calls) == (["strange"], ("Y",))
    assert (line.find("Y").cause, line.find("X").is_open) == (Cause.GONE, True)
    third = comparer.compare(line.calls, listed("X"), line.now + 60)
    assert (third.unknown, third.lost) == (0, 0)


def test_messages_that_cross_make_nothing_of_it(line: Line) -> None:
    line.state("X", "InCall")
    comparer = Comparer("pbx:80", alone=True)
    for _ in range(3):
        assert comparer.compare(line.calls, listed(), line.now + 1).lost == 0
    line.pause(10)
    comparer.compare(line.calls, listed("Z"), line.now)
    line.state("Z", "Ringing")
    assert comparer.compare(line.calls, listed("X", "Z"), line.now + 5).unknown == 0


def test_calls_of_another_pbx_and_calls_without_an_id_are_not_missed(line: Line) -> None:
    asked = line.command("Call", dialled="1")
    line.told("CallConnected", call_id="X", origin=asked)
    nameless = line.routed("1", "2")
    line.pause(10)
    comparer = Comparer("other:80", alone=False)
    for _ in range(3):
        assert comparer.compare(line.calls, [], line.now).lost == 0
    ours = Comparer("pbx:80", alone=False)
    ours.compare(line.calls, [], line.now)
    assert ours.compare(line.calls, [], line.now).lost_calls == ("X",)
    assert line.find(nameless).is_open


ANSWER = """<?xml version="1.0"?><Response><ActiveCalls>
<CallInfo><CallState>InCall</CallState><CallId>7Kq2pX</CallId><Source>2301</Source><Destination>2405</Destination>
<StartTime>2026-11-23T09:12:51.2500+01:00</StartTime></CallInfo>
<Call><callid>8</callid></Call><CallInfo><CallId/></CallInfo></ActiveCalls><Code>200</Code></Response>"""


def test_both_generations_of_lists_are_read() -> None:
    assert read_active_calls(ANSWER.encode()) == (
        ActiveCall("7Kq2pX", "InCall", "2301", "2405", "2026-11-23T09:12:51.2500+01:00"),
        ActiveCall("8", "", "", "", ""),
    )


@pytest.mark.parametrize("body", [b"", b"<html>", ANSWER.replace("200", "306").encode(), b"<Response/>"])
def test_what_is_no_list_is_none(body: bytes) -> None:
    assert read_active_calls(body) is None
