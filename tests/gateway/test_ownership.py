"""Calls, their owners and how they stand, in running servers: one worker's notification counts at every other."""

import os
from collections.abc import Callable

from interceptor.settings import Ownership
from tests.gateway.harness import LOCAL, Backend, Client, Proxy, Script, answering, free_port
from tests.gateway.process import Process

Start = Callable[..., Proxy]
StartBackend = Callable[[Script], Backend]
StartProcess = Callable[..., Process]

CALLS = b"<Response><ActiveCalls><CallInfo><CallId>%b</CallId></CallInfo></ActiveCalls><Code>200</Code></Response>"


def test_a_call_that_is_not_the_apps_own_is_answered_with_the_pbxs_own_601(proxy: Start, backend: StartBackend) -> None:
    pbx, app = backend(answering(CALLS % b"mine")), backend(answering(b"<Response/>"))
    running = proxy(pbx.port, app.port, ownership=Ownership.ENFORCE)
    assert running.get("/?command=Hangup&CallId=mine").code == 601
    assert b"CallInfo" not in running.get("/?command=ListActiveCalls").body
    running.notify("NotificationName=IncomingCall&CallId=mine")
    assert running.get("/?command=Hangup&CallId=mine").code == 200
    shown = running.get("/?command=ListActiveCalls")
    assert (shown.body, int(shown.headers["content-length"])) == (CALLS % b"mine", len(CALLS % b"mine"))
    assert running.counted('interceptor_refusals_total{reason="not_owned"}') == 1


def test_what_one_worker_was_told_every_worker_knows(process: StartProcess, backend: StartBackend) -> None:
    pbx, app = backend(answering()), backend(answering(b"<Response/>"))
    running = process(pbx.port, app=app.port, workers=2, commands=f"{LOCAL}:{free_port()}", more="ownership: enforce\n")
    commands, notifications = running.address("commands"), running.address("notifications")
    calls = [os.urandom(4).hex() for _ in range(12)]
    for call in calls:  # each on a connection of its own, so that both workers have some
        body = f"NotificationName=IncomingCall&CallId={call}".encode()
        head = (
            f"POST / HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        assert Client(notifications).send(head.encode() + body).read().status == 200
    codes = {
        call: Client(commands).send(f"GET /?command=Hangup&CallId={call} HTTP/1.0\r\n\r\n".encode()).read().code
        for call in (*calls, "other")
    }
    assert codes == {**dict.fromkeys(calls, 200), "other": 601}


KEEPING = """\
rules:
  - {name: only-connected, on: [Hold], when: {call: {not: {owned: true, state: connected}}}, deny: {code: 601}}
  - {name: rest, on: "*", allow: true}
"""


def test_rules_that_ask_how_a_call_stands_are_told_by_every_worker(
    process: StartProcess, backend: StartBackend
) -> None:
    pbx, app = backend(answering()), backend(answering(b"<Response/>"))
    running = process(pbx.port, app=app.port, workers=2, commands=f"{LOCAL}:{free_port()}", rules=KEEPING)
    commands, notifications = running.address("commands"), running.address("notifications")

    def told(call: str, name: str) -> None:
        body = f"NotificationName={name}&CallId={call}".encode()
        head = (
            f"POST / HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        assert Client(notifications).send(head.encode() + body).read().status == 200

    def held(call: str) -> int | None:
        return Client(commands).send(f"GET /?command=Hold&CallId={call} HTTP/1.0\r\n\r\n".encode()).read().code

    calls = [os.urandom(4).hex() for _ in range(8)]
    for call in calls:  # each on a connection of its own, so that both workers have some
        told(call, "CallConnected")
    assert [held(call) for call in (*calls, "other")] == [200] * 8 + [601]
    assert [held(call) for call in calls] == [601] * 8  # they are held now
