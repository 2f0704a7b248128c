"""Reports that an app could not take: kept through restarts, delivered in order, once in the quiet case."""

import asyncio
import json
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from msgspec.structs import replace

from interceptor.exchanges import NO_OPINION
from interceptor.settings import Deadlines, Limits
from tests.gateway.harness import (
    Backend,
    Client,
    Loop,
    Proxy,
    Script,
    answering,
    free_port,
    hanging,
    read_request,
    settings_for,
)
from tests.gateway.misbehaving import HTML, PHP_ERROR, after, ask_admin, await_until, counted, dripping, resetting
from tests.gateway.process import Process

Start = Callable[..., Proxy]
StartBackend = Callable[[Script], Backend]

OZML = answering(b"<Response/>")


@pytest.fixture
def app_at(loop: Loop) -> Callable[..., Backend]:
    """Starts an app at a port that was its own before."""
    started: list[Backend] = []

    def start(port: int, script: Script = OZML) -> Backend:
        started.append(Backend(loop, script, port=port).start())
        return started[-1]

    yield start
    for each in started:
        each.stop()


def report(running: Proxy, number: int, path: str = "/") -> str:
    """Send a report as the PBX does; how it ended."""
    before = len(running.settlements())
    answer = running.notify(f"NotificationName=CallChanged&CallId={number}&CallState=Ringing", path)
    assert (answer.status, answer.body.strip()[-11:]) == (200, b"<Response/>")
    return running.settlements()[before].outcome


def arrived(app: Backend) -> list[int]:
    """The numbers of the reports that an app took, in the order they came."""
    return [int(re.findall(rb"CallId=(\d+)", request)[0]) for request in app.requests]


def waiting(running: Proxy) -> int:
    return running.running.worker.deliveries.depths()["crm"]


def test_an_app_that_answers_again_gets_its_reports_at_once(
    proxy: Start, app_at: Callable[..., Backend], monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    running = proxy(9, port)
    monkeypatch.setattr(running.running.worker.deliveries._boxes["crm"], "_first_pause", 600.0)
    assert report(running, 1) == "kept"
    app = app_at(port)
    assert running.notify("NotificationName=CallConnected&CallId=2").status == 200
    app.wait_for(2)
    assert arrived(app) == [2, 1]


def test_reports_survive_a_restart_and_arrive_in_order_and_once_before_newer_ones(
    proxy: Start, app_at: Callable[..., Backend]
) -> None:
    port = free_port()
    running = proxy(9, port)
    assert [report(running, number) for number in (1, 2, 3)] == ["kept"] * 3
    running.stop()
    running = proxy(9, port)
    assert waiting(running) == 3
    assert [report(running, number) for number in (4, 5)] == ["kept"] * 2  # behind those that wait
    app = app_at(port)
    app.wait_for(5)
    await_until(lambda: waiting(running) == 0)
    assert report(running, 6) == "answered"
    assert arrived(app) == [1, 2, 3, 4, 5, 6]
    assert counted(running, "interceptor_outbox_delivered_total", app="crm") == 5
    assert counted(running, "interceptor_outbox_entries", app="crm") == 0
    running.stop()
    running = proxy(9, port)
    assert waiting(running) == 0
    assert report(running, 7) == "answered"
    assert arrived(app) == [1, 2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("page", [HTML, PHP_ERROR])
def test_a_report_that_an_error_page_is_the_answer_to_is_delivered_again(
    proxy: Start, app_at: Callable[..., Backend], page: bytes
) -> None:
    port = free_port()
    app = app_at(port, answering(page, b"Content-Type: text/html\r\n"))
    running = proxy(9, port)
    assert report(running, 1) == "kept"
    app.wait_for(2)  # asked again, and no better
    assert waiting(running) == 1
    app.stop()
    app = app_at(port)
    app.wait_for(1)
    await_until(lambda: waiting(running) == 0)
    assert arrived(app) == [1]


@pytest.mark.parametrize("receipt", [b"OK", b'{"ok": true}'])
def test_any_other_text_is_a_receipt_at_once_and_for_what_is_delivered_later(
    proxy: Start, app_at: Callable[..., Backend], receipt: bytes
) -> None:
    port = free_port()
    running = proxy(9, port)
    assert report(running, 1) == "kept"
    app = app_at(port, answering(receipt, b"Content-Type: text/plain\r\n"))
    await_until(lambda: waiting(running) == 0)
    assert report(running, 2) == "answered"
    assert arrived(app) == [1, 2]  # neither of them twice


def test_what_is_delivered_later_is_what_came_with_path_query_and_exchange(
    proxy: Start, app_at: Callable[..., Backend]
) -> None:
    port = free_port()
    rules = """
rules:
  - name: shorter
    on: CallChanged
    rewrite: {set: {CallState: Seen}}
"""
    running = proxy(9, port, rules=rules)
    report(running, 1, "/anything?tenant=7&x=%2b")
    request = app_at(port).wait_for(1)[0]
    head, _, body = request.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /pbx?tenant=7&x=%2b HTTP/1.1"
    assert b"Content-Type: application/x-www-form-urlencoded" in lines
    assert b"Host: 127.0.0.1:%d" % port in lines
    assert b"X-Interceptor-Exchange: " + running.decisions()[0].exchange.encode() in lines
    assert body == b"NotificationName=CallChanged&CallId=1&CallState=Seen"


def test_while_reports_wait_a_caller_is_still_served_at_once(proxy: Start, app_at: Callable[..., Backend]) -> None:
    port = free_port()
    running = proxy(9, port)
    report(running, 1)
    running.stop()
    app = app_at(port, after(dripping, answering(b"<Response><Speak>Hi</Speak></Response>")))
    running = proxy(9, port)  # its first delivery meets the slow connection
    app.wait_for(1)
    assert report(running, 2) == "kept"
    assert b"<Speak>Hi</Speak>" in running.notify("NotificationName=IncomingCall&CallId=9").body


def test_an_app_that_comes_and_goes_misses_nothing_and_sees_the_order(
    proxy: Start, app_at: Callable[..., Backend]
) -> None:
    port = free_port()
    app = app_at(port)
    running = proxy(9, port)
    seen: list[int] = []
    number = 0
    for phase in range(4):
        if phase % 2:
            app.stop()
            seen += arrived(app)
        elif phase:
            app = app_at(port)
        for _ in range(8):
            number += 1
            report(running, number)
    app = app_at(port)
    await_until(lambda: waiting(running) == 0)
    seen += arrived(app)
    assert seen == sorted(seen)
    assert set(seen) == set(range(1, number + 1))


def test_an_app_that_answers_a_delivery_with_an_error_gets_it_again_before_the_next(
    proxy: Start, app_at: Callable[..., Backend]
) -> None:
    port = free_port()
    running = proxy(9, port)
    report(running, 1)
    report(running, 2)

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, backend: Backend) -> None:
        backend.seen(await read_request(reader))
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    app = app_at(port, after(once, resetting, OZML))
    app.wait_for(4)
    assert arrived(app) == [1, 1, 1, 2]


def test_a_full_outbox_refuses_the_newest_and_says_so(proxy: Start) -> None:
    running = proxy(9, free_port(), limits=replace(Limits(), outbox=2))
    assert [report(running, number) for number in (1, 2, 3)] == ["kept", "kept", "lost"]
    assert counted(running, "interceptor_outbox_dropped_total", app="crm", reason="full") == 1
    assert counted(running, "interceptor_limit_hits_total", limit="outbox") == 1
    assert counted(running, "interceptor_notifications_total", outcome="lost") == 1


def test_an_outbox_that_cannot_write_answers_all_the_same_and_counts_the_loss(proxy: Start, tmp_path: Path) -> None:
    running = proxy(9, free_port())
    shutil.rmtree(tmp_path / "outbox")
    (tmp_path / "outbox").write_bytes(b"")  # so that the folder cannot be made again
    answer = running.notify("NotificationName=CallChanged&CallId=1")
    assert (answer.status, answer.body) == (200, NO_OPINION)
    assert running.settlements()[0].outcome == "lost"
    assert counted(running, "interceptor_outbox_dropped_total", app="crm", reason="cannot_write") == 1


def test_a_report_that_waits_does_not_make_the_proxy_unready(proxy: Start) -> None:
    running = proxy(9, free_port())
    report(running, 1)
    assert waiting(running) == 1
    assert ask_admin(running, "/readyz")[0] == 200
    assert counted(running, "interceptor_outbox_entries", app="crm") == 1


def test_a_report_that_is_on_its_way_when_the_time_to_end_is_over_is_kept(
    proxy: Start, app_at: Callable[..., Backend]
) -> None:
    port = free_port()
    app = app_at(port, hanging)
    timeouts = replace(settings_for(Path(), []).timeouts, report=Deadlines(30.0, 30.0), shutdown=0.1)
    running = proxy(9, port, timeouts=timeouts)
    body = b"NotificationName=CallChanged&CallId=1"
    head = b"POST / HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n"
    client = running.client("notifications").send(head % len(body) + body)
    app.wait_for(1)
    assert running._interceptor is not None
    running.loop.run(running._interceptor.stop())
    running._interceptor = None
    assert client.ended()
    assert running.settlements()[0].outcome == "kept"
    running = proxy(9, port)
    app.wait_for(2)
    assert arrived(app) == [1, 1]


def test_the_end_does_not_wait_for_an_app_that_is_away(proxy: Start) -> None:
    running = proxy(9, free_port())
    for number in range(5):
        report(running, number)
    began = running.loop.loop.time()
    running.stop()
    assert running.loop.loop.time() - began < 1.5  # the shutdown cap of the tests is 2


def tell_each(running: Process, numbers: Iterable[int]) -> None:
    """Send reports, each on a connection of its own, as the PBX sends them: so all workers have some."""
    listener = running.address("notifications")
    for number in numbers:
        body = f"NotificationName=CallChanged&CallId={number}&CallState=Ringing".encode()
        head = (
            f"POST / HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        assert Client(listener).send(head.encode() + body).read().status == 200


def test_several_workers_deliver_what_they_have_kept_in_one_order(
    process: Callable[..., Process], app_at: Callable[..., Backend]
) -> None:
    port = free_port()
    running = process(9, app=port, workers=2)
    numbers = list(range(1, 25))
    tell_each(running, numbers)
    queues = json.loads(running.page("/outbox")[1])["outbox"]
    assert sorted(each["worker"] for each in queues if each["waiting"]) == ["w0", "w1"]
    app = app_at(port)
    app.wait_for(len(numbers))
    assert arrived(app) == numbers


@pytest.mark.timeout(240)  # ten processes are started
def test_fewer_workers_deliver_what_more_have_kept_in_one_order_whatever_kills_them(
    process: Callable[..., Process], app_at: Callable[..., Backend]
) -> None:
    port = free_port()
    running = process(9, app=port, workers=4)
    tell_each(running, range(1, 41))
    queues = json.loads(running.page("/outbox")[1])["outbox"]
    assert {"w2", "w3"} & {each["worker"] for each in queues if each["waiting"]}
    running.kill()
    running = process(9, app=port, workers=2, folder=running.folder)
    tell_each(running, range(41, 51))
    running.kill()
    assert not any(path.stat().st_size for path in (running.folder / "state" / "outbox").glob("w[23]/*.outbox"))
    running = process(9, app=port, workers=1, folder=running.folder)
    running.address("admin")
    queues = json.loads(running.page("/outbox")[1])["outbox"]
    assert [(each["worker"], each["waiting"]) for each in queues] == [("w0", 50)]
    app = app_at(port)
    app.wait_for(50)
    assert arrived(app) == list(range(1, 51))


def test_what_waits_for_an_app_that_is_no_longer_configured_stays_and_is_told(
    process: Callable[..., Process], tmp_path: Path
) -> None:
    left = tmp_path / "state" / "outbox" / "w0" / "gone%20app.outbox"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"whatever\n")
    running = process(9, folder=tmp_path)
    running.wait_for("gone%20app.outbox` stays as it is: no app of this name is configured")
    assert left.read_bytes() == b"whatever\n"
