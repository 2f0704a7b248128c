"""Calls of processes as users run them: killed and started again, spread over workers, asked by the command line."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.gateway.harness import LOCAL, Backend, Loop, answering, eventually, free_port
from tests.gateway.process import ROOT, Process

Start = Callable[..., Process]
OZML = b"<Response><Speak>Hello</Speak></Response>"


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts Interceptor between a PBX and an app, in the same folder each time."""
    loop = Loop()
    pbx, app = Backend(loop, answering()).start(), Backend(loop, answering(OZML)).start()
    started: list[Process] = []
    admin = f"{LOCAL}:{free_port()}"

    def begin(**changes: Any) -> Process:
        running = Process(tmp_path, [pbx.port], app=app.port, admin=admin, **changes)
        started.append(running)
        running.address("admin")
        return running

    yield begin
    for each in started:
        each.kill()
    for backend in (pbx, app):
        backend.stop()
    loop.close()


def tell(running: Process, name: str, **parameters: str) -> str:
    """Send a notification on a connection of its own; the exchange's id."""
    client = running.client("notifications")
    body = urlencode({"NotificationName": name, **parameters}).encode()
    head = b"POST / HTTP/1.0\r\nHost: app.test\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    answer = client.send(head + b"Content-Length: %d\r\n\r\n" % len(body) + body).read()
    client.close()
    exchange: str = answer.headers["x-interceptor-exchange"]
    return exchange


def changed(running: Process, call: str, state: str) -> str:
    return tell(running, "CallChanged", CallId=call, CallState=state, Source="+36301112233", Destination="1001")


def command(running: Process, line: str) -> str:
    client = running.client()
    answer = client.send(f"GET /?{line} HTTP/1.1\r\nHost: pbx.test\r\n\r\n".encode()).read()
    client.close()
    assert answer.code == 200
    exchange: str = answer.headers["x-interceptor-exchange"]
    return exchange


def page(running: Process, path: str) -> dict[str, Any]:
    status, text = running.page(path)
    assert status == 200, text
    found: dict[str, Any] = json.loads(text)
    return found


def asked(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`interceptor calls` with these arguments."""
    return subprocess.run(
        [sys.executable, "-m", "interceptor", "calls", *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_after_kill_9_the_calls_that_were_open_go_on_as_they_were(start: Start, tmp_path: Path) -> None:
    running = start()
    tell(running, "RoutingInterception", CallerID="+36301112233", OriginalDialedNumber="1001", LastCallState="Calling")
    changed(running, "X1", "Ringing")
    changed(running, "X1", "InCall")
    changed(running, "Y2", "Ringing")
    command(running, "command=Hold&CallId=X1")
    before = page(running, "/calls/X1")
    assert (before["call"]["state"], before["call"]["messages"]) == ("held", 4)
    # The settlement of the last exchange is on disk a flush later; a command's decision waits for nothing.
    assert eventually(lambda: sum(record["event"] == "settlement" for record in running.journal()) >= 5)
    running.kill()

    running = start()
    after = page(running, "/calls/X1")
    assert after == before
    assert page(running, "/calls?most=10")["open"] == 2
    assert "interceptor_calls_begun_total 0.0" in running.page("/metrics")[1]
    changed(running, "X1", "Completed")
    ended = page(running, "/calls/X1")["call"]
    assert (ended["state"], ended["cause"], ended["messages"]) == ("ended", "completed", 5)
    assert page(running, "/calls/Y2")["call"]["state"] == "ringing"

    told = asked(tmp_path)
    assert told.returncode == 0
    assert told.stdout.splitlines()[0] == "1 open: 1 ringing"
    assert [line.split()[2] for line in told.stdout.splitlines()[2:]] == ["Y2", "X1"]
    running.kill()

    stored = asked(tmp_path, "show", "X1")
    assert stored.returncode == 0, stored.stderr
    assert "ended: completed" in stored.stdout
    assert "│ crm: " not in stored.stdout  # one app has the column for itself
    assert stored.stdout.count("◀") + stored.stdout.count("▶") >= 18
    assert asked(tmp_path, "show", "nobody").returncode == 2


def test_messages_of_a_call_that_came_to_two_workers_are_told_as_one_call(start: Start) -> None:
    running = start(workers=2, commands=f"{LOCAL}:{free_port()}")
    seen: set[str] = set()
    exchanges = []
    routing = tell(
        running, "RoutingInterception", CallerID="+36301112233", OriginalDialedNumber="1001", LastCallState="Calling"
    )
    exchanges.append(changed(running, "X1", "Ringing"))
    exchanges.append(changed(running, "X1", "Answered"))
    for _ in range(60):
        exchange = tell(running, "DtmfEntered", CallId="X1", DtmfDigits="1")
        exchanges.append(exchange)
        seen = {each.split("-")[1] for each in exchanges}
        if len(seen) == 2 and len(exchanges) > 4:
            break
    assert seen == {"w0", "w1"}
    ladder = page(running, "/calls/X1")
    told = list(dict.fromkeys(rung["exchange"] for rung in ladder["rungs"]))
    assert sorted(told) == sorted([routing, *exchanges])
    assert ladder["call"]["state"] == "connected"
    assert page(running, f"/calls/{exchanges[-1]}")["call"]["id"] == "X1"
    listed = page(running, "/calls?most=10")["calls"]
    assert [(each["id"], each["messages"]) for each in listed] == [("X1", len(exchanges) + 1)]
