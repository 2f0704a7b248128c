"""Several PBXs behind one name: commands that follow their call, lists of all, draining, canaries, checks."""

import http.client
import json
import re
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from interceptor.settings import (
    App,
    CallbackSettings,
    Cluster,
    Credentials,
    Deadlines,
    Durability,
    Each,
    JournalSettings,
    Partial,
    Secret,
    Timeouts,
    Url,
)
from tests.gateway.harness import (
    LOCAL,
    OK_XML,
    Backend,
    Gate,
    Loop,
    Proxy,
    Script,
    answering,
    free_port,
    hanging,
    read_request,
)
from tests.gateway.misbehaving import HTML, await_until, counted, kept_then_cut, said, side_by_side

Start = Callable[..., Proxy]
StartBackend = Callable[[Script], Backend]
NOT_FOUND = b"<Response><Code>601</Code><Message>Call not found with ID</Message></Response>"
PATIENT = Timeouts(command=Deadlines(10.0, 20.0))
KEYS = (Secret("a key that is long enough for a test"),)


def active(*calls: str) -> bytes:
    items = "".join(f"<CallInfo><CallId>{call}</CallId></CallInfo>" for call in calls)
    return f"<Response><Code>200</Code><Message>done</Message><ActiveCalls>{items}</ActiveCalls></Response>".encode()


class Pbx:
    """Has some calls, answers as a PBX, remembers the commands that it saw."""

    def __init__(self, start: StartBackend, *calls: str, gate: Gate | None = None) -> None:
        self.calls = set(calls)
        self._gate = gate
        self.backend = start(self._script)
        self.port = self.backend.port
        self.host = f"{LOCAL}:{self.port}"

    async def _script(self, reader: Any, writer: Any, backend: Backend) -> None:
        while True:
            request = await read_request(reader)
            backend.seen(request)
            if self._gate is not None:
                await self._gate.passed()
            body = self._answer(request.decode("latin-1"))
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body))
            await writer.drain()

    def _answer(self, request: str) -> bytes:
        named = re.search(r"(?i)[?&]callid=(\w+)", request)
        if "ListActiveCalls" in request:
            return active(*sorted(self.calls))
        return OK_XML if named is None or named[1] in self.calls else NOT_FOUND

    @property
    def commands(self) -> list[str]:
        """The names of the commands it saw, in order."""
        return [re.findall(r"(?i)command=(\w+)", each.decode("latin-1"))[0] for each in self.backend.requests]


def several(*pbxs: Any, **changes: Any) -> dict[str, Any]:
    """The argument that gives the proxy a cluster of several PBXs."""
    ports = [each if isinstance(each, int) else each.port for each in pbxs]
    whole = Cluster("pbx", tuple(Url(LOCAL, port, "/") for port in ports), retry_after=0.2, each=Each.PBX)
    return {"clusters": {"pbx": replace(whole, **changes)}}


def post(proxy: Proxy, path: str) -> tuple[int, Any]:
    """A change that is asked for at the admin listener."""
    admin = proxy.running.addresses["admin"]
    connection = http.client.HTTPConnection(admin.host, admin.port, timeout=10)
    try:
        connection.request("POST", path)
        response = connection.getresponse()
        text = response.read().decode()
        return response.status, json.loads(text) if text.startswith("{") else text
    finally:
        connection.close()


def lookups(proxy: Proxy) -> dict[str, float]:
    outcomes = ("known", "asked", "unknown")
    found = {each: counted(proxy, "interceptor_call_lookups_total", outcome=each) for each in outcomes}
    return {each: count for each, count in found.items() if count}


# affinity


def test_a_command_goes_to_the_pbx_that_has_its_call(proxy: Start, backend: StartBackend) -> None:
    first, second = Pbx(backend, "aaa"), Pbx(backend, "bbb", "ccc")
    running = proxy(9, **several(first, second))
    for command in ("Hold", "Unhold", "Hangup"):
        assert said(running.get(f"/?command={command}&CallId=bbb")) == (200, 200)
    assert said(running.get("/?command=Hangup&CallId=ccc")) == (200, 200)
    assert said(running.get("/?command=Hangup&CallId=aaa")) == (200, 200)
    assert first.commands == ["ListActiveCalls", "Hangup"]
    assert second.commands == ["ListActiveCalls", "Hold", "Unhold", "Hangup", "Hangup"]
    assert lookups(running) == {"asked": 1, "known": 4}
    assert running.settlements()[0].endpoint == second.host


def test_a_call_that_nobody_has_takes_the_ordinary_way_and_is_not_asked_for_again_at_once(
    proxy: Start, backend: StartBackend
) -> None:
    first, second = Pbx(backend, "aaa"), Pbx(backend, "bbb")
    running = proxy(9, **several(first, second))
    assert said(running.get("/?command=Hangup&CallId=zzz")) == (200, 601)
    assert said(running.get("/?command=Hangup&CallId=zzz")) == (200, 601)
    assert first.commands == ["ListActiveCalls", "Hangup", "Hangup"]
    assert second.commands == ["ListActiveCalls"]
    assert lookups(running) == {"unknown": 2}


def test_to_look_for_a_call_takes_no_longer_than_its_command_may(proxy: Start, backend: StartBackend) -> None:
    pbxs = backend(hanging), backend(hanging)
    running = proxy(9, **several(*pbxs), timeouts=Timeouts(command=Deadlines(1.0, 1.2)))
    assert said(running.get("/?command=Hangup&CallId=zzz")) == (200, 904)
    assert running.settlements()[0].total_microseconds < 1_900_000  # it would be two seconds if each had its own


def test_those_who_ask_at_the_same_time_share_the_question(
    loop: Loop, proxy: Start, backend: StartBackend, tmp_path: Path
) -> None:
    gate = Gate(loop)
    first, second = Pbx(backend, "aaa", gate=gate), Pbx(backend, *(f"b{n}" for n in range(8)), gate=gate)
    journal = JournalSettings(tmp_path / "journal", Durability.RELAXED)  # so that whoever is in flight has asked
    running = proxy(9, **several(first, second), timeouts=PATIENT, journal=journal)
    clients = [
        running.client().send(b"GET /?command=Hold&CallId=b%d HTTP/1.1\r\nHost: x\r\n\r\n" % n) for n in range(8)
    ]
    second.backend.wait_for(1)
    await_until(lambda: running.running.worker._carrier.in_flight == 8)
    gate.open()
    assert [said(client.read()) for client in clients] == [(200, 200)] * 8
    assert second.commands == ["ListActiveCalls", *["Hold"] * 8]
    assert first.commands == ["ListActiveCalls"]
    assert sum(lookups(running).values()) == 8
    assert "unknown" not in lookups(running)


def test_a_call_that_began_after_the_question_is_asked_for_once_more(
    loop: Loop, proxy: Start, backend: StartBackend
) -> None:
    gate = Gate(loop)
    first, second = Pbx(backend, "aaa", gate=gate), Pbx(backend, "bbb")
    running = proxy(9, **several(first, second), timeouts=PATIENT)
    assert said(running.get("/?command=Hold&CallId=bbb")) == (200, 200)  # without the first PBX's answer
    second.calls.add("new")
    late = running.client().send(b"GET /?command=Hold&CallId=new HTTP/1.1\r\nHost: x\r\n\r\n")
    await_until(lambda: running.running.worker._carrier.in_flight == 1)
    gate.open()
    assert said(late.read()) == (200, 200)
    assert sorted(second.commands) == ["Hold", "Hold", "ListActiveCalls", "ListActiveCalls"]
    assert "Hold" not in first.commands


def test_a_command_for_a_call_is_never_tried_at_a_pbx_that_does_not_have_it(
    proxy: Start, backend: StartBackend
) -> None:
    first, second = Pbx(backend, "aaa"), Pbx(backend, "bbb")
    running = proxy(9, **several(first, second))
    assert said(running.get("/?command=Hold&CallId=bbb")) == (200, 200)
    second.backend.stop()
    answer = running.get("/?command=Hangup&CallId=bbb")
    assert answer.code in {901, 904}
    assert "Hangup" not in first.commands


def test_a_call_is_asked_for_anew_when_it_is_not_where_it_was(proxy: Start, backend: StartBackend) -> None:
    first, second = Pbx(backend, "aaa"), Pbx(backend, "bbb")
    running = proxy(9, **several(first, second))
    assert said(running.get("/?command=Hold&CallId=bbb")) == (200, 200)
    second.calls.remove("bbb")
    first.calls.add("bbb")
    assert said(running.get("/?command=Hold&CallId=bbb")) == (200, 601)  # nothing is sent twice
    assert said(running.get("/?command=Hold&CallId=bbb")) == (200, 200)
    assert first.commands == ["ListActiveCalls", "ListActiveCalls", "Hold"]


def test_a_pbx_that_does_not_answer_the_question_holds_nobody_up(proxy: Start, backend: StartBackend) -> None:
    first, second = backend(hanging), Pbx(backend, "bbb")
    running = proxy(9, **several(first, second))
    assert said(running.get("/?command=Hold&CallId=bbb")) == (200, 200)
    assert second.commands == ["ListActiveCalls", "Hold"]


def test_a_pbx_that_is_not_there_is_no_reason_to_fail(proxy: Start, backend: StartBackend) -> None:
    second = Pbx(backend, "bbb")
    running = proxy(9, **several(free_port(), second))
    assert said(running.get("/?command=Hold&CallId=bbb")) == (200, 200)
    assert said(running.get("/?command=Call&Dialed=2405&ApiExtension=9000")) == (200, 200)


def test_the_list_that_an_app_asked_for_tells_where_calls_are(proxy: Start, backend: StartBackend) -> None:
    first, second = Pbx(backend, "aaa"), Pbx(backend, "bbb")
    running = proxy(9, **several(first, second))
    running.get("/?command=ListActiveCalls")
    assert said(running.get("/?command=Hold&CallId=bbb")) == (200, 200)
    assert lookups(running) == {"known": 1}


def test_a_notification_tells_where_its_call_is(proxy: Start, backend: StartBackend) -> None:
    first, second = Pbx(backend), Pbx(backend, "bbb")
    endpoints = (Url("127.0.0.2", first.port, "/"), Url("127.0.0.1", second.port, "/"))
    running = proxy(9, backend(answering(b"<Response/>")).port, **several(first, second, endpoints=endpoints))
    running.notify("NotificationName=CallChanged&CallId=bbb")
    assert said(running.get("/?command=Hold&CallId=bbb")) == (200, 200)
    assert second.commands == ["Hold"]
    assert lookups(running) == {"known": 1}


def test_a_notification_from_an_address_of_several_pbxs_tells_nothing(proxy: Start, backend: StartBackend) -> None:
    first, second = Pbx(backend), Pbx(backend, "bbb")
    running = proxy(9, backend(answering(b"<Response/>")).port, **several(first, second))
    running.notify("NotificationName=CallChanged&CallId=bbb")
    assert said(running.get("/?command=Hold&CallId=bbb")) == (200, 200)
    assert lookups(running) == {"asked": 1}


def test_a_callback_tells_that_its_call_is_where_its_command_went(proxy: Start, backend: StartBackend) -> None:
    first, second = Pbx(backend), Pbx(backend, "bbb")
    app = backend(answering(b"<Response/>"))
    apps = {"crm": App("crm", (ip_network("127.0.0.0/8"),), url=Url(LOCAL, app.port, "/"), callbacks=("127.0.0.0/8",))}
    mine = CallbackSettings(Url("127.0.0.1", 7781, "/"), KEYS)
    running = proxy(9, apps=apps, callbacks=mine, **several(first, second))
    assert post(running, "/clusters/pbx/endpoints/1/drain")[0] == 200
    running.get(f"/?command=Call&Dialed=2405&Url=http%3a%2f%2f127.0.0.1%3a{app.port}%2fc")
    token = re.findall(r"%2Fcb%2F([\w.~-]+)|/cb/([\w.~-]+)", second.backend.requests[0].decode())[0]
    running.notify("NotificationName=CallConnected&CallId=bbb", f"/cb/{''.join(token)}")
    assert len(app.requests) == 1
    assert said(running.get("/?command=Hold&CallId=bbb")) == (200, 200)
    assert second.commands == ["Call", "Hold"]
    assert lookups(running) == {"known": 1}


def test_endpoints_that_lead_to_one_pbx_are_as_before(proxy: Start, backend: StartBackend) -> None:
    first, second = Pbx(backend, "aaa"), Pbx(backend, "aaa")
    running = proxy(9, **several(first, second, each=Each.WAY))
    running.get("/?command=ListActiveCalls")
    running.get("/?command=Hangup&CallId=aaa")
    assert (first.commands, second.commands) == (["ListActiveCalls", "Hangup"], [])
    assert lookups(running) == {}


# lists


def test_a_list_is_asked_of_all_and_answered_as_one(proxy: Start, backend: StartBackend) -> None:
    first, second = Pbx(backend, "aaa"), Pbx(backend, "bbb", "ccc")
    running = proxy(9, **several(first, second))
    answer = running.get("/?command=ListActiveCalls")
    assert answer.body == active("aaa", "bbb", "ccc")
    assert answer.headers["content-length"] == str(len(answer.body))
    assert "x-interceptor-partial" not in answer.headers
    settled = running.settlements()[0]
    assert (settled.code, settled.endpoint, settled.attempts) == (200, f"{first.host},{second.host}", 2)
    assert counted(running, "interceptor_lists_merged_total", outcome="whole") == 1


@pytest.mark.parametrize("partial", Partial)
@pytest.mark.parametrize("how", ["away", "hangs", "rubbish", "refuses"])
def test_a_list_that_lacks_a_pbx_says_so(proxy: Start, backend: StartBackend, how: str, partial: Partial) -> None:
    scripts = {"hangs": hanging, "rubbish": answering(HTML), "refuses": answering(NOT_FOUND)}
    port = free_port() if how == "away" else backend(scripts[how]).port
    second = Pbx(backend, "bbb")
    running = proxy(9, **several(port, second, partial=partial))
    answer = running.get("/?command=ListActiveCalls")
    assert re.findall(rb"<CallId>(\w+)</CallId>", answer.body) == [b"bbb"]
    assert answer.headers["x-interceptor-partial"] == f"{LOCAL}:{port}"
    assert said(answer) == (200, 907 if partial is Partial.CODE else 200)
    assert (b"exchange '" in answer.body) == (partial is Partial.CODE)
    assert running.settlements()[0].code == answer.code
    assert counted(running, "interceptor_lists_merged_total", outcome="partial") == 1


@pytest.mark.parametrize(("hangs", "code"), [(False, 901), (True, 904)])
def test_a_list_that_no_pbx_answers_fails_as_any_command(
    proxy: Start, backend: StartBackend, *, hangs: bool, code: int
) -> None:
    running = proxy(9, **several(*((backend(hanging), backend(hanging)) if hangs else (free_port(), free_port()))))
    assert said(running.get("/?command=ListActiveCalls")) == (200, code)
    assert counted(running, "interceptor_lists_merged_total", outcome="none") == 1


def test_where_all_refuse_a_list_the_refusal_goes_back(proxy: Start, backend: StartBackend) -> None:
    running = proxy(9, **several(backend(answering(NOT_FOUND)), backend(answering(NOT_FOUND))))
    assert running.get("/?command=GetCallHistory").body == NOT_FOUND


@pytest.mark.parametrize("full", [0, 1, None])
def test_an_answer_without_a_list_is_an_empty_one(proxy: Start, backend: StartBackend, full: int | None) -> None:
    pbxs = [backend(answering(active("aaa") if number == full else OK_XML)) for number in range(2)]
    running = proxy(9, **several(*pbxs))
    assert running.get("/?command=ListActiveCalls").body == (OK_XML if full is None else active("aaa"))


def test_a_page_of_the_history_is_cut_out_of_that_of_all(proxy: Start, backend: StartBackend) -> None:
    def history(*minutes: int) -> bytes:
        calls = "".join(
            f"<Call><StartTime>2026-03-02 10:{each:02d}:00</StartTime><CallId>c{each}</CallId></Call>"
            for each in minutes
        )
        count = f"<NumberOfCalls>{len(minutes)}</NumberOfCalls>"
        return f"<Response><Code>200</Code>{count}<Calls>{calls}</Calls></Response>".encode()

    first, second = backend(answering(history(9, 5, 1))), backend(answering(history(7, 3)))
    running = proxy(9, **several(first, second))
    answer = running.get("/?command=GetCallHistory&PageNumber=1&RowsPerPage=2")
    assert re.findall(rb"<CallId>(\w+)</CallId>", answer.body) == [b"c5", b"c3"]
    assert b"<NumberOfCalls>5</NumberOfCalls>" in answer.body
    for each in (first, second):
        assert each.requests[0].startswith(b"GET /?command=GetCallHistory&PageNumber=0&RowsPerPage=4 HTTP/1.1\r\n")
    running.get("/?command=GetCallHistory&PageNumber=1")  # the PBX alone knows how long its pages are
    running.get("/?command=GetCallHistory&PageNumber=9999999&RowsPerPage=500")
    for n, query in ((1, b"PageNumber=1"), (2, b"PageNumber=9999999&RowsPerPage=500")):
        assert first.requests[n].startswith(b"GET /?command=GetCallHistory&%b HTTP/1.1\r\n" % query)


def test_a_list_passes_over_a_connection_that_went_stale(proxy: Start, backend: StartBackend) -> None:
    first, second = backend(kept_then_cut(1, active("aaa"))), Pbx(backend, "bbb")
    running = proxy(9, **several(first, second))
    for _ in range(3):
        assert running.get("/?command=ListActiveCalls").body == active("aaa", "bbb")
    assert len(first.requests) >= 4
    assert counted(running, "interceptor_upstream_retries_total", reason="stale_connection") == 2


def test_each_pbx_is_asked_with_the_credentials_of_its_cluster(proxy: Start, backend: StartBackend) -> None:
    first, second, third = (Pbx(backend, each) for each in ("aaa", "bbb", "ccc"))
    clusters = several(first, second, credentials=Credentials("main", Secret("m1")))["clusters"]
    canary = Cluster(
        "new", (Url(LOCAL, third.port, "/"),), credentials=Credentials("other", Secret("o1")), beside="pbx"
    )
    running = proxy(9, clusters=clusters | {"new": canary})
    body = b"command=ListActiveCalls&Username=app&Password=secret"
    request = (
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%b"
    )
    answer = running.client().send(request % (len(body), body)).read()
    assert answer.body == active("aaa", "bbb", "ccc")
    assert first.backend.requests[0].endswith(b"command=ListActiveCalls&Username=main&Password=m1")
    assert third.backend.requests[0].endswith(b"command=ListActiveCalls&Username=other&Password=o1")


def test_a_pbx_that_refuses_our_own_credentials_is_missing(proxy: Start, backend: StartBackend) -> None:
    refusing = backend(answering(b"<Response><Code>305</Code><Message>no</Message></Response>"))
    second = Pbx(backend, "bbb")
    running = proxy(9, **several(refusing, second, credentials=Credentials("u", Secret("p"))))
    assert said(running.get("/?command=ListActiveCalls")) == (200, 907)
    assert counted(running, "interceptor_endpoint_failures_total", reason="code") == 1


def test_a_pbx_with_two_ways_is_asked_by_the_second_where_the_first_fails(proxy: Start, backend: StartBackend) -> None:
    old, new = Pbx(backend, "aaa"), Pbx(backend, "bbb")
    ways = (Url(LOCAL, free_port(), "/"), Url(LOCAL, old.port, "/"))
    beside = Cluster("new", (Url(LOCAL, new.port, "/"),), beside="pbx")
    running = proxy(9, clusters={"pbx": Cluster("pbx", ways, failures_to_open=100), "new": beside})
    answer = running.get("/?command=ListActiveCalls")
    assert (answer.code, answer.body) == (200, active("aaa", "bbb"))
    assert said(running.get("/?command=Hangup&CallId=aaa")) == (200, 200)
    assert old.commands == ["ListActiveCalls", "Hangup"]


@pytest.mark.parametrize(
    ("body", "status", "reason"), [(OK_XML, b"503 Busy", "status"), (b"<R><Code>306</Code></R>", b"200 OK", "code")]
)
def test_a_pbx_that_answers_otherwise_is_missing_in_a_list(
    proxy: Start, backend: StartBackend, body: bytes, status: bytes, reason: str
) -> None:
    first, second = backend(answering(body, status=status)), Pbx(backend, "bbb")
    running = proxy(9, **several(first, second, credentials=Credentials("u", Secret("p"))))
    answer = running.get("/?command=ListActiveCalls")
    assert re.findall(rb"<CallId>(\w+)</CallId>", answer.body) == [b"bbb"]
    assert answer.code == 907
    assert counted(running, "interceptor_endpoint_failures_total", reason=reason) == (reason == "status")


# draining


def test_an_endpoint_that_is_draining_gets_what_is_about_its_calls_and_nothing_new(
    proxy: Start, backend: StartBackend
) -> None:
    first, second = Pbx(backend, "aaa"), Pbx(backend, "bbb")
    running = proxy(9, **several(first, second))
    status, page = post(running, f"/clusters/pbx/endpoints/{first.host}/drain")
    assert (status, page["clusters"][0]["endpoints"][0]["draining"]) == (200, True)
    assert said(running.get("/?command=Call&Dialed=2405&ApiExtension=9000")) == (200, 200)
    assert said(running.get("/?command=Hold&CallId=aaa")) == (200, 200)
    assert running.get("/?command=ListActiveCalls").body == active("aaa", "bbb")
    assert first.commands == ["ListActiveCalls", "Hold", "ListActiveCalls"]
    assert second.commands == ["Call", "ListActiveCalls", "ListActiveCalls"]
    assert counted(running, "interceptor_endpoint_draining", endpoint=first.host) == 1
    ready = json.loads(running.page("/readyz"))
    assert ready["ready"]
    assert ready["warnings"] == [f"endpoint {first.host} of cluster pbx is draining: it gets nothing new"]
    endpoints = json.loads(running.page("/clusters"))["clusters"][0]["endpoints"]
    assert [(each["number"], each["up"], each["draining"], each["calls"]) for each in endpoints] == [
        (1, True, True, 1),
        (2, True, False, 1),
    ]
    assert post(running, "/clusters/pbx/endpoints/1/undrain")[0] == 200
    assert said(running.get("/?command=Call&Dialed=2405&ApiExtension=9000")) == (200, 200)
    assert first.commands[-1] == "Call"


def test_draining_survives_a_reload_and_a_restart(proxy: Start, backend: StartBackend) -> None:
    first, second = Pbx(backend), Pbx(backend)
    running = proxy(9, **several(first, second))
    post(running, "/clusters/pbx/endpoints/1/drain")
    post(running, "/policy/reload")
    running.get("/?command=Call&Dialed=2405&ApiExtension=9000")
    running.stop()
    running.start()
    running.get("/?command=Call&Dialed=2405&ApiExtension=9000")
    assert (first.commands, second.commands) == ([], ["Call", "Call"])
    post(running, "/clusters/pbx/endpoints/1/undrain")
    running.stop()
    running.start()
    running.get("/?command=Call&Dialed=2405&ApiExtension=9000")
    assert first.commands == ["Call"]


def test_where_every_endpoint_is_draining_nothing_new_begins(proxy: Start, backend: StartBackend) -> None:
    only = Pbx(backend, "aaa")
    running = proxy(9, **several(only, free_port()))
    for number in (1, 2):
        post(running, f"/clusters/pbx/endpoints/{number}/drain")
    drained = running.get("/?command=Call&Dialed=2405&ApiExtension=9000")
    assert said(drained) == (200, 901)
    assert b"The PBX is drained and takes nothing new, exchange '" in drained.body
    assert said(running.get("/?command=Hangup&CallId=aaa")) == (200, 200)
    assert "nothing new can begin there" in running.page("/readyz")
    assert counted(running, "interceptor_refusals_total", reason="draining") == 1
    post(running, "/clusters/pbx/endpoints/1/undrain")
    assert said(running.get("/?command=Call&Dialed=2405&ApiExtension=9000")) == (200, 200)


@pytest.mark.parametrize(
    "path",
    ["/clusters/nobody/endpoints/1/drain", "/clusters/pbx/endpoints/3/drain", "/clusters/pbx/endpoints/x/undrain"],
)
def test_an_endpoint_that_is_not_there_cannot_be_drained(proxy: Start, path: str) -> None:
    assert post(proxy(9), path)[0] == 404


def test_what_was_kept_of_draining_and_cannot_be_read_drains_nothing(
    proxy: Start, backend: StartBackend, tmp_path: Path
) -> None:
    (tmp_path / "draining.json").write_text('{"pbx": 1}')
    only = Pbx(backend)
    assert said(proxy(only.port).get("/?command=Call&Dialed=2405&ApiExtension=9000")) == (200, 200)


# a part of the calls at a new PBX

CANARY = """
rules:
  - name: a-part-of-the-calls-goes-to-the-new-pbx
    on: Call
    when: {sample: 25%}
    reroute: new
  - name: everything
    on: [command, notification]
    allow: true
"""


def test_a_part_of_the_calls_is_at_the_new_pbx_and_all_that_names_them_follows(
    proxy: Start, backend: StartBackend
) -> None:
    old, new = Pbx(backend, *(f"o{n}" for n in range(20))), Pbx(backend, *(f"n{n}" for n in range(20)))
    clusters = {
        "pbx": Cluster("pbx", (Url(LOCAL, old.port, "/"),)),
        "new": Cluster("new", (Url(LOCAL, new.port, "/"),), beside="pbx"),
    }
    running = proxy(9, rules=CANARY, clusters=clusters)
    for _ in range(60):
        assert said(running.get("/?command=Call&Dialed=2405&ApiExtension=9000")) == (200, 200)
    began = new.commands.count("Call")
    assert 0 < began < 40
    assert old.commands.count("Call") == 60 - began
    for n in range(20):
        assert said(running.get(f"/?command=Hold&CallId=o{n}")) == (200, 200)
        assert said(running.get(f"/?command=Hold&CallId=n{n}")) == (200, 200)
    assert (old.commands.count("Hold"), new.commands.count("Hold")) == (20, 20)
    holds = [each.target for each in running.decisions() if each.name == "Hold"]
    assert (holds[0], holds.count("new")) == ("pbx", 20)  # the first had to be looked for, and that told of all
    running.get("/?command=Hangup&CallId=n1")
    assert running.decisions()[-1].target == "new"
    both = running.get("/?command=ListActiveCalls").body
    assert len(re.findall(rb"<CallId>", both)) == 40


def test_a_cluster_that_is_beside_no_other_shares_no_calls(proxy: Start, backend: StartBackend) -> None:
    old, new = Pbx(backend), Pbx(backend, "aaa")
    clusters = {name: Cluster(name, (Url(LOCAL, pbx.port, "/"),)) for name, pbx in (("pbx", old), ("new", new))}
    running = proxy(9, clusters=clusters)
    assert said(running.get("/?command=Hold&CallId=aaa")) == (200, 601)
    assert new.commands == []


# checks


def test_an_endpoint_is_asked_now_and_then_and_taken_out_before_a_command_meets_it(
    proxy: Start, backend: StartBackend
) -> None:
    first, second = Pbx(backend), Pbx(backend)
    running = proxy(9, **several(first, second, check_every=0.02, each=Each.WAY))
    first.backend.wait_for(2)
    assert first.commands[:2] == ["ListExtensions", "ListExtensions"]
    first.backend.stop()
    await_until(lambda: counted(running, "interceptor_endpoint_up", endpoint=first.host) == 0)
    assert said(running.get("/?command=Call&Dialed=2405&ApiExtension=9000")) == (200, 200)
    assert running.settlements()[0].attempts == 1
    assert counted(running, "interceptor_endpoint_failures_total", reason="check", endpoint=first.host) >= 3
    assert counted(running, "interceptor_endpoint_checks_total", outcome="answered", endpoint=second.host) >= 1
    first.backend.start()
    await_until(lambda: counted(running, "interceptor_endpoint_up", endpoint=first.host) == 1)


def test_checks_that_are_answered_do_not_excuse_commands_that_fail(proxy: Start, backend: StartBackend) -> None:
    async def script(reader: Any, writer: Any, backend: Backend) -> None:
        while True:
            request = await read_request(reader)
            backend.seen(request)
            if b"ListExtensions" not in request:
                return
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(OK_XML), OK_XML))

    first = backend(script)
    running = proxy(9, **several(first, free_port(), check_every=0.01, failures_to_open=2, retry_after=60.0))
    for _ in range(2):
        first.wait_for(len(first.requests) + 3)
        running.get("/?command=Call&Dialed=2405&ApiExtension=9000")
    assert counted(running, "interceptor_endpoint_up", endpoint=f"{LOCAL}:{first.port}") == 0


def test_without_the_key_nobody_is_asked(proxy: Start, backend: StartBackend) -> None:
    only = Pbx(backend)
    running = proxy(only.port)
    running.get("/?command=Hold&CallId=1")
    assert only.commands == ["Hold"]


def test_many_at_once_find_their_calls(proxy: Start, backend: StartBackend) -> None:
    pbxs = [Pbx(backend, *(f"p{n}c{each}" for each in range(10))) for n in range(3)]
    running = proxy(9, **several(*pbxs))
    work = [
        lambda n=n, each=each: said(running.get(f"/?command=Hangup&CallId=p{n}c{each}"))
        for each in range(10)
        for n in range(3)
    ]
    assert side_by_side(work) == [(200, 200)] * 30
    for pbx in pbxs:
        assert pbx.commands.count("Hangup") == 10
