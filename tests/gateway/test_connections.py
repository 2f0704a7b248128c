"""Connections of askers: how long they live, in which order they are answered, and how they end."""

import asyncio
import socket
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from interceptor.settings import Limits
from tests.gateway.harness import OK_XML, Backend, Gate, Loop, Proxy, Script, answering, eventually, gated, read_request
from tests.gateway.misbehaving import after

Start = Callable[..., Proxy]
StartBackend = Callable[[Script], Backend]

MIXED = """
rules:
  - name: no-calls
    on: Call
    deny: {code: 306, message: "No calls"}
  - name: rest
    on: command
    allow: true
"""


def request(target: str = "/?command=ListActiveCalls", version: str = "1.1", *lines: str) -> bytes:
    return "\r\n".join([f"GET {target} HTTP/{version}", "Host: pbx.test", *lines, "", ""]).encode()


async def echoing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, backend: Backend) -> None:
    """Answers each request with its target."""
    while True:
        came = await read_request(reader)
        backend.seen(came)
        target = came.split(b" ")[1]
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))


@pytest.mark.parametrize(
    ("version", "option", "stays", "said"),
    [
        ("1.1", "", True, None),
        ("1.1", "keep-alive", True, None),
        ("1.1", "close", False, "close"),
        ("1.1", "CLOSE", False, "close"),
        ("1.1", "keep-alive, close", False, "close"),
        ("1.1", "TE", True, None),
        ("1.0", "", False, "close"),
        ("1.0", "keep-alive", True, "keep-alive"),
        ("1.0", "Keep-Alive", True, "keep-alive"),
        ("1.0", "close", False, "close"),
        ("1.0", "keep-alive, close", False, "close"),
    ],
)
def test_a_connection_stays_or_closes_as_its_version_and_its_header_say(
    proxy: Start, backend: StartBackend, version: str, option: str, stays: bool, said: str | None
) -> None:
    client = proxy(backend(answering()).port).client()
    lines = [f"Connection: {option}"] if option else []
    answer = client.send(request("/?command=ListActiveCalls", version, *lines)).read()
    assert answer.raw.startswith(f"HTTP/{version} 200 OK\r\n".encode())
    assert answer.headers.get("connection") == said
    assert answer.body == OK_XML
    if stays:
        assert client.send(request()).read().body == OK_XML
    else:
        assert client.ended()


def test_pipelined_requests_are_answered_in_their_order_with_refusals_among_them(
    proxy: Start, backend: StartBackend, loop: Loop
) -> None:
    gate = Gate(loop)
    pbx = backend(gated(gate))
    client = proxy(pbx.port, rules=MIXED).client()
    client.send(
        request("/?command=ListActiveCalls&n=1")
        + request("/?command=Call&Dialed=1001")
        + b"OPTIONS * HTTP/1.1\r\nHost: pbx.test\r\n\r\n"
        + b"PUT /?command=Call HTTP/1.1\r\nHost: pbx.test\r\nContent-Length: 3\r\n\r\nabc"
        + b"POST / HTTP/1.1\r\nHost: pbx.test\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        + b"Content-Length: 26\r\n\r\ncommand=ListExtensions&n=2"
        + request("/?command=Call&Dialed=1002")
        + request("/?command=ListActiveCalls&n=3", "1.1", "Connection: close")
        + request("/?command=ListActiveCalls&n=never")
    )
    pbx.wait_for(1)
    gate.open()
    answers = [client.read(), client.read(), client.read(bodiless=True), *(client.read() for _ in range(4))]
    assert [(answer.status, answer.code) for answer in answers] == [
        (200, 200),
        (200, 306),
        (204, None),
        (405, None),
        (200, 200),
        (200, 306),
        (200, 200),
    ]
    assert client.ended()
    assert [b"n=1" in pbx.requests[0], b"n=2" in pbx.requests[1], b"n=3" in pbx.requests[2]] == [True] * 3
    assert len(pbx.requests) == 3


def test_while_one_request_waits_for_its_answer_the_next_is_not_sent_on(
    proxy: Start, backend: StartBackend, loop: Loop
) -> None:
    gate = Gate(loop)
    pbx = backend(gated(gate))
    running = proxy(pbx.port)
    client = running.client().send(request("/?command=ListActiveCalls&n=1") + request("/?command=ListActiveCalls&n=2"))
    pbx.wait_for(1)
    assert len(running.decisions()) == 1
    gate.open()
    assert (client.read().code, client.read().code) == (200, 200)
    assert len(pbx.requests) == 2


def test_requests_may_come_in_pieces_of_one_byte(proxy: Start, backend: StartBackend) -> None:
    client = proxy(backend(echoing).port).client()
    body = b"command=ListExtensions"
    for byte in (
        request("/?command=ListActiveCalls&n=1")
        + b"POST /two HTTP/1.1\r\nHost: pbx.test\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        + request("/?command=ListActiveCalls&n=3")
    ):
        client.send(bytes([byte]))
    assert [client.read().body for _ in range(3)] == [
        b"/?command=ListActiveCalls&n=1",
        b"/two",
        b"/?command=ListActiveCalls&n=3",
    ]


def test_a_large_body_behind_a_request_in_flight_is_read_once_its_turn_comes(
    proxy: Start, backend: StartBackend, loop: Loop
) -> None:
    gate = Gate(loop)
    pbx = backend(gated(gate))
    running = proxy(pbx.port)
    client = running.client()
    body = b"command=ListExtensions&x=" + b"y" * 700_000
    head = b"POST / HTTP/1.1\r\nHost: pbx.test\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    client.send(request())
    pbx.wait_for(1)
    client.send(head + b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
    for _ in range(3):  # each of these is answered after what had come by then was read
        assert running.client().send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").read(bodiless=True).status == 204
    gate.open()
    assert client.read().code == 200
    assert client.read().code == 200
    assert pbx.wait_for(2)[1].endswith(body)


def test_an_empty_line_before_a_request_is_passed_over(proxy: Start, backend: StartBackend) -> None:
    client = proxy(backend(answering()).port).client()
    assert client.send(b"\r\n" + request()).read().code == 200
    assert client.send(b"\r\n" + request()).read().code == 200


# ends


def test_a_half_closed_asker_still_gets_its_answer(proxy: Start, backend: StartBackend, loop: Loop) -> None:
    gate = Gate(loop)
    pbx = backend(gated(gate))
    client = proxy(pbx.port).client().send(request()).half_close()
    pbx.wait_for(1)
    gate.open()
    assert client.read().code == 200
    assert client.ended()


def test_a_half_closed_asker_gets_the_answers_of_all_that_it_sent(proxy: Start, backend: StartBackend) -> None:
    long = b"<Response><Code>200</Code><Message>" + b"x" * 300_000 + b"</Message></Response>"
    pbx = backend(answering(long))
    client = proxy(pbx.port).client().send(request() * 20).half_close()
    pbx.wait_for(2)  # by now the answers are more than the asker has read
    assert [client.read().code for _ in range(20)] == [200] * 20
    assert client.ended()


def test_a_half_close_within_a_request_ends_the_connection_undecided(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(answering())
    running = proxy(pbx.port)
    whole = (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 99\r\n\r\n"
    )
    for part in (b"", b"GET /?comm", whole, whole + b"command=ListExtensions"):
        assert running.client().send(part).half_close().read_to_end() == b""
    assert (pbx.requests, running.records) == ([], [])


def test_an_asker_that_goes_within_a_request_is_forgotten(proxy: Start, backend: StartBackend) -> None:
    running = proxy(backend(answering()).port)
    client = running.client().send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\ncommand=")
    open_now = 'interceptor_connections{listener="commands"}'
    assert eventually(lambda: running.counted(open_now) == 1)
    client.close()
    assert eventually(lambda: running.counted(open_now) == 0)
    assert running.records == []


@pytest.mark.parametrize("reset", [False, True])
def test_an_exchange_whose_asker_has_gone_is_settled_and_recorded(
    proxy: Start, backend: StartBackend, loop: Loop, reset: bool
) -> None:
    import socket
    import struct

    gate = Gate(loop)
    pbx = backend(gated(gate))
    running = proxy(pbx.port)
    client = running.client().send(request("/?command=Call&Dialed=1001") + request("/?command=Call&Dialed=1002"))
    pbx.wait_for(1)
    if reset:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    if reset:
        assert eventually(lambda: running.counted('interceptor_connections{listener="commands"}') == 0)
    gate.open()
    settled = running.settled(1)[0]
    assert (settled.outcome, settled.code) == ("answered", 200)
    assert eventually(lambda: running.counted('interceptor_connections{listener="commands"}') == 0)
    if reset:
        assert len(pbx.requests) == 1  # nobody waits for the second one any more


def test_what_follows_a_refused_request_is_not_read(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(answering())
    client = proxy(pbx.port).client().send(b"GET /?a b HTTP/1.1\r\nHost: a\r\n\r\n" + request())
    answer = client.read()
    assert (answer.status, answer.headers["connection"]) == (400, "close")
    assert client.ended()
    assert pbx.requests == []


@pytest.mark.parametrize(
    ("raw", "reason", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "bad_host", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", "bad_host", 400),
        (b"GET / HTTP/1.1\nHost: a\n\n", "bare_newline", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n folded: x\r\n\r\n", "bad_header", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\na", "bad_content_length", 400),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "length_and_chunked",
            400,
        ),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", "bad_transfer_encoding", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;x=y\r\nab\r\n0\r\n\r\n", "bad_chunk", 400),
        (b"POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "bad_transfer_encoding", 400),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", "bad_version", 505),
        (b"GET / HTTP/0.9\r\n\r\n", "bad_version", 505),
        (b"GET /#x HTTP/1.1\r\nHost: a\r\n\r\n", "bad_target", 400),
        (b"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", "bad_host", 400),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "bad_version", 505),
    ],
)
def test_framing_that_could_be_read_in_two_ways_is_refused_and_closes(
    proxy: Start, backend: StartBackend, raw: bytes, reason: str, status: int
) -> None:
    pbx = backend(answering())
    running = proxy(pbx.port)
    client = running.client().send(raw)
    answer = client.read()
    assert (answer.status, answer.body) == (status, reason.encode() + b"\n")
    assert client.ended()
    assert running.counted(f'interceptor_refusals_total{{reason="{reason}"}}') == 1
    assert (pbx.requests, running.records) == ([], [])


def test_a_connection_on_which_a_reply_came_before_its_request_had_gone_carries_no_other(
    proxy: Start, backend: StartBackend, loop: Loop
) -> None:
    gate = Gate(loop)

    async def hasty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, here: Backend) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(OK_XML), OK_XML))
        await writer.drain()
        await gate.passed()

    pbx = backend(after(hasty, answering()))
    running = proxy(pbx.port, limits=replace(Limits(), body=32 << 20))
    body = b"command=ListActiveCalls&x=" + b"y" * (20 << 20)
    head = (
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n"
    )
    assert running.client().send(head % len(body) + body).read().code == 200
    assert running.get("/?command=Call&Dialed=1001").code == 200
    assert pbx.connections == 2
    gate.open()


@pytest.mark.parametrize(("part", "counted"), [(b"", 0), (b"GET / HT", 1), (request()[:-2], 1), (request(), 0)])
def test_a_request_that_ends_in_the_middle_is_counted(
    proxy: Start, backend: StartBackend, part: bytes, counted: int
) -> None:
    running = proxy(backend(answering()).port)
    client = running.client().send(part)
    client.socket.shutdown(socket.SHUT_WR)
    client.read_to_end()
    assert running.counted('interceptor_refusals_total{reason="incomplete"}') == counted
