"""Every store has a bound: bodies, heads, connections, queues, and what waits on one connection."""

import asyncio
import resource
import socket
from collections.abc import Callable
from typing import Any

import pytest

from interceptor.exchanges import NO_OPINION
from interceptor.gateway import carrier
from interceptor.gateway.connection import ClientConnection, Door
from interceptor.settings import Deadlines, Limits, Timeouts
from interceptor.values import Verdict
from tests.gateway.harness import (
    LOCAL,
    OK_XML,
    Backend,
    Client,
    Gate,
    Loop,
    Proxy,
    Script,
    answering,
    eventually,
    free_port,
    gated,
    read_request,
)
from tests.gateway.misbehaving import counted
from tests.gateway.process import Process

Start = Callable[..., Proxy]
StartBackend = Callable[[Script], Backend]
StartProcess = Callable[..., Process]

FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
COMMAND = b"GET /?command=ListActiveCalls HTTP/1.1\r\nHost: pbx.test\r\n\r\n"
OPEN = 'interceptor_connections{listener="commands"}'


def posted(body: bytes, lines: bytes = b"") -> bytes:
    return b"POST / HTTP/1.1\r\nHost: a\r\n%b%bContent-Length: %d\r\n\r\n%b" % (FORM, lines, len(body), body)


def chunked(body: bytes, size: int) -> bytes:
    pieces = [body[at : at + size] for at in range(0, len(body), size)]
    head = b"POST / HTTP/1.1\r\nHost: a\r\n%bTransfer-Encoding: chunked\r\n\r\n" % FORM
    return head + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def refusals(running: Proxy, reason: str) -> float:
    return running.counted(f'interceptor_refusals_total{{reason="{reason}"}}')


# bodies and heads


@pytest.mark.parametrize("make", [posted, lambda body: chunked(body, 700)])
def test_a_body_may_be_as_large_as_its_cap_and_not_a_byte_larger(
    proxy: Start, backend: StartBackend, make: Callable[[bytes], bytes]
) -> None:
    pbx = backend(answering())
    running = proxy(pbx.port, limits=Limits(body=2000))
    body = b"command=ListExtensions&x=".ljust(2000, b"y")
    assert running.client().send(make(body)).read().code == 200
    assert pbx.requests[0].endswith(b"\r\n\r\n" + body)
    client = running.client().send(make(body + b"y"))
    answer = client.read()
    assert (answer.status, answer.body, client.ended()) == (413, b"body_too_large\n", True)
    assert refusals(running, "body_too_large") == 1
    assert (len(pbx.requests), len(running.decisions())) == (1, 1)


def test_a_body_that_announces_too_much_is_refused_before_it_comes(proxy: Start, backend: StartBackend) -> None:
    running = proxy(backend(answering()).port)
    client = running.client().send(
        b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1048577\r\n\r\n"
    )
    assert client.read().status == 413


def test_a_sender_that_goes_on_after_a_refusal_still_reads_the_refusal(proxy: Start, backend: StartBackend) -> None:
    running = proxy(backend(answering()).port, limits=Limits(body=1000))
    client = running.client().send(posted(b"x" * 500_000))
    assert client.read().status == 413


def test_a_large_body_passes_whole(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(answering())
    body = b"command=ListExtensions&x=".ljust(1 << 20, b"y")
    assert proxy(pbx.port).client().send(posted(body)).read().code == 200
    assert pbx.requests[0].endswith(body)


def test_a_head_may_be_as_large_as_its_cap_and_not_a_byte_larger(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(answering())
    running = proxy(pbx.port, limits=Limits(head=1000))
    lines = b"GET /?command=ListActiveCalls&x=%b HTTP/1.1\r\nHost: a\r\nX: y"
    fitting = b"z" * (1000 - len(lines % b""))
    assert running.client().send(lines % fitting + b"\r\n\r\n").read().code == 200
    client = running.client().send(lines % (fitting + b"z") + b"\r\n\r\n")
    answer = client.read()
    assert (answer.status, answer.body, client.ended()) == (431, b"head_too_large\n", True)
    endless = running.client().send(b"GET /" + b"x" * 2000)
    assert endless.read().status == 431
    assert refusals(running, "head_too_large") == 2
    assert len(pbx.requests) == 1


def test_an_answer_over_its_cap_is_answered_with_our_code(proxy: Start, backend: StartBackend) -> None:
    running = proxy(backend(answering(b"x" * 3001)).port, limits=Limits(reply_body=3000))
    assert running.get("/?command=ListActiveCalls").code == 906
    assert counted(running, "interceptor_limit_hits_total", limit="reply_body") == 1


def test_an_answer_as_large_as_its_cap_passes(proxy: Start, backend: StartBackend) -> None:
    running = proxy(backend(answering(b"x" * 3000)).port, limits=Limits(reply_body=3000))
    assert running.get("/?command=ListActiveCalls").body == b"x" * 3000


# connections


def crowded(proxy: Start, app: int = 9, pbx: int = 9, **changes: Any) -> tuple[Proxy, Client]:
    """One that has all the connections that it may have."""
    running = proxy(pbx, app, limits=Limits(connections=1), **changes)
    staying = running.client()
    assert eventually(lambda: running.counted(OPEN) == 1)
    return running, staying


def notification(name: str, version: str = "1.0") -> bytes:
    body = f"NotificationName={name}&CallId=1&Dialed=2405&CallerId=2301".encode()
    head = f"POST / HTTP/{version}\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    return head.encode() + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)


def test_a_command_on_a_connection_over_the_cap_is_refused_as_overload_and_room_comes_back(
    proxy: Start, backend: StartBackend
) -> None:
    pbx = backend(answering())
    running, staying = crowded(proxy, pbx=pbx.port)
    client = running.client()
    answer = client.send(COMMAND).read()
    assert (answer.status, answer.code, client.ended()) == (200, 902, True)
    client.close()
    assert (running.decisions()[0].verdict, running.settlements()[0].code, pbx.requests) == (Verdict.ALLOW, 902, [])
    assert running.counted('interceptor_connections_refused_total{listener="commands"}') == 1
    assert running.counted('interceptor_limit_hits_total{limit="connections"}') == 1
    staying.close()
    assert eventually(lambda: running.counted(OPEN) == 0)
    assert running.client().send(COMMAND).read().code == 200


def test_what_a_rule_refuses_is_refused_also_where_there_is_no_room(proxy: Start) -> None:
    running, _ = crowded(proxy, rules="rules:\n  - {name: none, on: command, deny: true}\n")
    assert running.client().send(COMMAND).read().code == 306


@pytest.mark.parametrize(
    ("name", "version", "outcome", "heard"),
    [
        ("RoutingInterception", "1.0", "dial_plan", NO_OPINION),
        ("IncomingCall", "1.1", "fallback", b"One moment"),
        ("CallChanged", "1.0", "kept", NO_OPINION),
    ],
)
def test_a_notification_on_a_connection_over_the_cap_has_what_an_overload_has(
    proxy: Start, name: str, version: str, outcome: str, heard: bytes
) -> None:
    running, _ = crowded(proxy, app=free_port())
    client = running.client("notifications")
    assert heard in client.send(notification(name, version)).read().body
    assert client.ended()
    assert [record.outcome for record in running.settled(1)] == [outcome]


def test_a_connection_over_the_cap_takes_no_room_of_others(proxy: Start, backend: StartBackend) -> None:
    running, staying = crowded(proxy, pbx=backend(answering()).port)
    last = running.client()
    assert eventually(lambda: running.counted(OPEN) == 2)
    staying.close()
    assert eventually(lambda: running.counted(OPEN) == 1)
    assert running.client().send(COMMAND).read().code == 200
    last.close()


def test_connections_far_over_the_cap_are_told_so_and_no_more(proxy: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(carrier, "_LAST_HEARD", 1)
    running, _ = crowded(proxy)
    last = running.client()
    assert eventually(lambda: running.counted(OPEN) == 2)
    beyond = running.client()
    answer = beyond.read()
    assert (answer.status, answer.body, beyond.ended()) == (503, b"too_many_connections\n", True)
    assert last.send(COMMAND).read().code == 902


def test_a_connection_over_the_cap_is_not_waited_for_as_long_as_others(proxy: Start) -> None:
    running, _ = crowded(proxy, timeouts=Timeouts(idle=60.0, request=0.2))
    assert running.client().ended()


# queues


def test_a_command_that_finds_the_queue_full_is_refused_as_overload(
    proxy: Start, backend: StartBackend, loop: Loop
) -> None:
    gate = Gate(loop)
    pbx = backend(gated(gate))
    patient = Timeouts(connect=1.0, command=Deadlines(20.0, 20.0), call=Deadlines(20.0, 20.0), shutdown=2.0)
    running = proxy(pbx.port, limits=Limits(upstream_connections=1, queued=2), timeouts=patient)
    clients = [running.client().send(COMMAND)]
    pbx.wait_for(1)
    clients += [running.client().send(COMMAND) for _ in range(2)]
    running.records.wait_for("DecisionRecord", 3)
    queued = f'interceptor_upstream_queued_requests{{upstream="{LOCAL}:{pbx.port}"}}'
    assert eventually(lambda: running.counted(queued) == 2)
    refused = running.get("/?command=ListActiveCalls")
    assert (refused.status, refused.code) == (200, 902)
    assert refusals(running, "overload") == 1
    gate.open()
    assert [client.read().code for client in clients] == [200] * 3
    assert (len(pbx.requests), pbx.connections) == (3, 1)


def test_a_command_that_waits_too_long_in_the_queue_is_refused_unsent(proxy: Start, backend: StartBackend) -> None:
    async def beginning(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, backend: Backend) -> None:
        backend.seen(await read_request(reader))
        writer.write(b"HTTP/1.1 200 OK\r\n")
        await reader.read()

    pbx = backend(beginning)
    running = proxy(
        pbx.port,
        limits=Limits(upstream_connections=1),
        timeouts=Timeouts(command=Deadlines(0.3, 10.0), call=Deadlines(0.3, 10.0), shutdown=0.1),
    )
    running.client().send(COMMAND)
    pbx.wait_for(1)
    assert running.get("/?command=Call&Dialed=1001").code == 902
    assert len(pbx.requests) == 1


# one connection's share


def flood(client: Client, data: bytes, times: int) -> int:
    """Send until it is all sent, or nothing more is taken."""
    client.socket.settimeout(0.3)
    sent = 0
    for _ in range(times):
        try:
            client.socket.sendall(data)
        except OSError:
            break
        sent += len(data)
    client.socket.settimeout(10.0)
    return sent


def long_ways(door: Door) -> list[ClientConnection]:
    """The connections of a door that more may come on."""
    return [connection for connection in tuple(door.connections) if isinstance(connection, ClientConnection)]


def buffered(running: Proxy) -> int:
    """The most that waits on one connection."""
    doors = running.running.worker._doors.values()
    return max((connection._reader.buffered for door in doors for connection in long_ways(door)), default=0)


def writable(running: Proxy) -> bool:
    """Whether every asker takes more."""
    doors = running.running.worker._doors.values()
    return all(connection._writable for door in doors for connection in long_ways(door))


def test_pipelined_requests_are_read_only_as_far_as_they_may_wait(
    proxy: Start, backend: StartBackend, loop: Loop
) -> None:
    pbx = backend(gated(Gate(loop)))
    running = proxy(
        pbx.port, timeouts=Timeouts(command=Deadlines(20.0, 20.0), call=Deadlines(20.0, 20.0), shutdown=0.1)
    )
    client = running.client()
    sent = flood(client, COMMAND * 5000, 60)
    assert sent < 60 * 5000 * len(COMMAND)
    assert buffered(running) < 1 << 20
    assert len(running.decisions()) == 1


def test_requests_of_an_asker_that_does_not_read_are_not_read_either(proxy: Start, backend: StartBackend) -> None:
    long = b"<Response><Code>200</Code>" + b" " * 400_000 + b"</Response>"
    running = proxy(backend(answering(long)).port, timeouts=Timeouts(request=20.0, shutdown=0.1))
    client = running.client()
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.send(COMMAND * 20)
    assert eventually(lambda: not writable(running))
    sent = flood(client, COMMAND * 5000, 60)
    assert sent < 60 * 5000 * len(COMMAND)
    assert buffered(running) < 1 << 20
    assert len(running.decisions()) < 60  # it would be many thousands


def test_a_refused_flood_that_is_answered_at_once_is_bounded_too(proxy: Start) -> None:
    running = proxy(9, timeouts=Timeouts(request=20.0, shutdown=0.1))
    client = running.client()
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sent = flood(client, b"DELETE / HTTP/1.1\r\nHost: a\r\n\r\n" * 20_000, 60)
    assert sent < 60 * 20_000 * 30
    assert buffered(running) < 1 << 20


def test_many_answers_that_nobody_read_arrive_whole_once_they_are(proxy: Start, backend: StartBackend) -> None:
    long = OK_XML.replace(b"Command", b"x" * 100_000)
    running = proxy(backend(answering(long)).port, timeouts=Timeouts(request=20.0, shutdown=0.1))
    client = running.client().send(COMMAND * 50)
    assert eventually(lambda: not writable(running) or len(running.settlements()) == 50)
    assert [client.read().body == long for _ in range(50)] == [True] * 50


def test_a_process_may_open_as_many_files_as_the_system_allows(process: StartProcess, backend: StartBackend) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        running = process(backend(answering()).port)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    running.wait_for("listens on")
    assert resource.prlimit(running.process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
