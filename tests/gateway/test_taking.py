"""Connections that came for one answer, and how they are taken: as all others, only sooner."""

import os
import resource
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from msgspec.structs import replace

from interceptor.settings import Deadlines, Limits, Timeouts
from tests.gateway.harness import (
    OK_XML,
    WAIT,
    Backend,
    Client,
    Gate,
    Loop,
    Proxy,
    Script,
    answering,
    eventually,
    gated,
    held,
)

Start = Callable[..., Proxy]
StartBackend = Callable[[Script], Backend]

OPEN = 'interceptor_connections{listener="commands"}'
ACCEPTED = 'interceptor_connections_accepted_total{listener="commands"}'
SHORT = Timeouts(command=Deadlines(0.4, 0.8), call=Deadlines(0.4, 0.8), request=0.3, idle=0.3, shutdown=0.2)
ASKS = b"GET /?command=ListActiveCalls HTTP/1.1\r\nHost: pbx.test\r\nConnection: close\r\n\r\n"
POSTS = (
    b"POST / HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 22\r\n\r\n"
    b"command=ListExtensions"
)


def visit(running: Proxy, loop: Loop, data: bytes = ASKS) -> Client:
    """A client whose request is there when it is taken."""
    with held(loop):
        return running.client().send(data)


@pytest.mark.parametrize("data", [ASKS, POSTS])
def test_a_request_that_came_with_its_connection_is_answered_and_the_connection_ended(
    proxy: Start, backend: StartBackend, loop: Loop, data: bytes
) -> None:
    pbx = backend(answering())
    running = proxy(pbx.port)
    for _ in range(3):
        client = visit(running, loop, data)
        answer = client.read()
        assert (answer.body, answer.headers["connection"], client.ended()) == (OK_XML, "close", True)
    assert (len(pbx.requests), pbx.connections) == (3, 1)
    assert [record.source for record in running.decisions()] == ["127.0.0.1"] * 3
    assert (running.counted(OPEN), running.counted(ACCEPTED)) == (0, 3)


@pytest.mark.parametrize("cut", [1, 20, len(ASKS) - 1])
def test_a_request_that_comes_in_pieces_is_answered_all_the_same(
    proxy: Start, backend: StartBackend, loop: Loop, cut: int
) -> None:
    client = visit(proxy(backend(answering()).port), loop, ASKS[:cut]).send(ASKS[cut:])
    assert (client.read().code, client.ended()) == (200, True)


def test_many_at_once_are_all_answered(proxy: Start, backend: StartBackend, loop: Loop) -> None:
    running = proxy(backend(answering()).port)
    with held(loop):
        clients = [running.client().send(ASKS) for _ in range(150)]
    assert [client.read().code for client in clients] == [200] * 150
    assert all(client.ended() for client in clients)


@pytest.mark.parametrize("more", [b"\r\n", ASKS, b"\0"])
def test_what_comes_after_the_request_costs_nobody_the_answer(
    proxy: Start, backend: StartBackend, loop: Loop, more: bytes
) -> None:
    gate = Gate(loop)
    pbx = backend(gated(gate))
    running = proxy(pbx.port)
    client = visit(running, loop)
    pbx.wait_for(1)
    client.send(more)
    gate.open()
    assert (client.read().code, client.ended()) == (200, True)
    assert len(pbx.requests) == 1


@pytest.mark.parametrize("reset", [False, True])
def test_the_exchange_of_an_asker_that_has_gone_is_settled(
    proxy: Start, backend: StartBackend, loop: Loop, reset: bool
) -> None:
    gate = Gate(loop)
    pbx = backend(gated(gate))
    running = proxy(pbx.port)
    client = visit(running, loop)
    pbx.wait_for(1)
    if reset:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    gate.open()
    assert running.settled(1)[0].code == 200
    assert eventually(lambda: running.counted(OPEN) == 0)


def test_a_half_closed_asker_has_its_answer(proxy: Start, backend: StartBackend, loop: Loop) -> None:
    running = proxy(backend(answering()).port)
    with held(loop):
        client = running.client().send(ASKS).half_close()
    assert (client.read().code, client.ended()) == (200, True)


@pytest.mark.parametrize("option", [b"Connection: close\r\n", b""])
def test_a_request_that_comes_after_its_connection_was_taken_is_answered(
    proxy: Start, backend: StartBackend, option: bytes
) -> None:
    running = proxy(backend(answering()).port)
    client = running.client()
    assert eventually(lambda: running.counted(OPEN) == 1)
    client.send(b"GET /?command=ListActiveCalls HTTP/1.1\r\nHost: pbx.test\r\n%b\r\n" % option)
    assert client.read().code == 200
    if option:
        assert client.ended()
    else:
        assert client.send(ASKS).read().code == 200


@pytest.mark.parametrize("reset", [False, True])
def test_one_that_ends_before_it_has_sent_anything_is_forgotten(
    proxy: Start, backend: StartBackend, reset: bool
) -> None:
    running = proxy(backend(answering()).port)
    client = running.client()
    assert eventually(lambda: running.counted(OPEN) == 1)
    if reset:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    assert eventually(lambda: running.counted(OPEN) == 0)
    assert running.records == []


def test_one_that_sends_nothing_is_closed_in_time(proxy: Start, backend: StartBackend) -> None:
    running = proxy(backend(answering()).port, timeouts=SHORT)
    assert running.client().ended()
    assert eventually(lambda: running.counted(OPEN) == 0)


def test_one_that_has_sent_nothing_is_closed_at_a_stop(proxy: Start, backend: StartBackend) -> None:
    running = proxy(backend(answering()).port)
    address = running.running.addresses["commands"]
    with socket.create_connection((address.host, address.port), WAIT) as silent:
        assert eventually(lambda: running.counted(OPEN) == 1)
        running.stop()
        assert silent.recv(1) == b""


# what does not fit


LONG = b"<Response><Code>200</Code>" + b" " * 6_000_000 + b"</Response>"


def small_window(running: Proxy, loop: Loop) -> Client:
    """A client that takes little at a time, whose request is there when it is taken."""
    address = running.running.addresses["commands"]
    with held(loop):
        client = running.client()
        client.socket.close()
        client.socket = socket.socket()
        client.socket.settimeout(10.0)
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.socket.connect((address.host, address.port))
        return client.send(ASKS)


def test_a_long_answer_reaches_an_asker_that_takes_it_slowly(proxy: Start, backend: StartBackend, loop: Loop) -> None:
    patient = Timeouts(request=10.0)
    running = proxy(backend(answering(LONG)).port, limits=replace(Limits(), reply_body=8 << 20), timeouts=patient)
    client = small_window(running, loop)
    running.settled(1)
    assert (client.read().body, client.ended()) == (LONG, True)
    assert eventually(lambda: running.counted(OPEN) == 0)


def test_an_asker_that_does_not_take_its_answer_in_time_is_cut(proxy: Start, backend: StartBackend, loop: Loop) -> None:
    running = proxy(backend(answering(LONG)).port, limits=replace(Limits(), reply_body=8 << 20), timeouts=SHORT)
    client = small_window(running, loop)
    running.settled(1)
    assert eventually(lambda: running.counted(OPEN) == 0)
    client.close()


# bounds and ends


def test_a_request_that_finds_no_room_is_refused_as_overload(proxy: Start, backend: StartBackend, loop: Loop) -> None:
    pbx = backend(answering())
    running = proxy(pbx.port, limits=Limits(connections=1))
    staying = running.client()
    assert eventually(lambda: running.counted(OPEN) == 1)
    client = visit(running, loop)
    answer = client.read()
    assert (answer.status, answer.code, client.ended()) == (200, 902, True)
    assert running.counted('interceptor_connections_refused_total{listener="commands"}') == 1
    staying.close()
    assert eventually(lambda: running.counted(OPEN) == 0)
    assert visit(running, loop).read().code == 200
    assert len(pbx.requests) == 1


def test_a_request_in_flight_has_the_answer_of_a_failure_when_the_time_to_end_is_over(
    proxy: Start, backend: StartBackend, loop: Loop
) -> None:
    pbx = backend(gated(Gate(loop)))
    running = proxy(pbx.port, timeouts=replace(SHORT, command=Deadlines(9.0, 9.0), shutdown=0.1))
    address = running.running.addresses["commands"]
    with socket.create_connection((address.host, address.port), WAIT) as asker:
        asker.sendall(ASKS)
        pbx.wait_for(1)
        running.stop()
        assert b"<Code>904</Code>" in asker.recv(65536)


@contextmanager
def no_file_left() -> Iterator[None]:
    """This process can open nothing more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open(os.devnull, os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken[0] + 50, hard))
    try:
        while True:
            try:
                taken.append(os.dup(taken[0]))
            except OSError:
                break
        yield
    finally:
        for each in taken:
            os.close(each)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_where_no_file_can_be_opened_the_pbx_is_not_to_blame(proxy: Start, backend: StartBackend, loop: Loop) -> None:
    pbx = backend(answering())
    running = proxy(pbx.port)
    client = running.client()
    assert client.send(b"OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n").read().status == 204  # its connection was taken
    with no_file_left():
        client.send(b"GET /?command=Call&Dialed=1001 HTTP/1.1\r\nHost: a\r\n\r\n")
        assert client.read().code == 902
    assert pbx.requests == []
    assert running.counted("interceptor_endpoint_failures_total") == 0
    assert client.send(b"GET /?command=ListActiveCalls HTTP/1.1\r\nHost: a\r\n\r\n").read().code == 200


def test_where_no_file_can_be_opened_connections_wait_until_one_can(
    proxy: Start, backend: StartBackend, loop: Loop, caplog: pytest.LogCaptureFixture
) -> None:
    running = proxy(backend(answering()).port)
    assert running.get("/?command=ListActiveCalls").code == 200
    address = running.running.addresses["commands"]
    with socket.socket() as client:
        client.settimeout(10.0)
        with no_file_left():
            client.connect((address.host, address.port))
            client.sendall(ASKS)
            assert eventually(lambda: "takes no connections for a moment" in caplog.text)
        assert client.recv(65536).startswith(b"HTTP/1.1 200 OK\r\n")
