"""Every wait of a connection has an end."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from interceptor.gateway.deadlines import NEVER, Sweeper
from interceptor.gateway.upstream import Pool
from interceptor.settings import Address, Deadlines, Limits, Timeouts
from interceptor.worker import new_event_loop
from tests.gateway.harness import Backend, Gate, Loop, Proxy, Script, answering, eventually, gated, hanging

Start = Callable[..., Proxy]
StartBackend = Callable[[Script], Backend]

COMMAND = b"GET /?command=ListActiveCalls HTTP/1.1\r\nHost: pbx.test\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: 22\r\n\r\n"
OPEN = 'interceptor_connections{listener="commands"}'
SHORT = Timeouts(command=Deadlines(0.4, 0.8), call=Deadlines(0.4, 0.8), request=0.3, idle=0.3, shutdown=0.2)


def refusals(running: Proxy, reason: str) -> float:
    return running.counted(f'interceptor_refusals_total{{reason="{reason}"}}')


@pytest.mark.parametrize(
    "part", [b"G", b"GET /?command=ListActiveCalls HTTP/1.1\r\nHost: a\r\n", POST, POST + b"command=List"]
)
def test_a_slow_sender_is_told_so_and_cut(proxy: Start, backend: StartBackend, part: bytes) -> None:
    pbx = backend(answering())
    running = proxy(pbx.port, timeouts=SHORT)
    client = running.client().send(part)
    answer = client.read()
    assert (answer.status, answer.body, client.ended()) == (408, b"slow_sender\n", True)
    assert refusals(running, "slow_sender") == 1
    assert (pbx.requests, running.records) == ([], [])


def test_a_call_may_wait_for_its_pickup_and_other_commands_may_not(
    proxy: Start, backend: StartBackend, loop: Loop
) -> None:
    gate = Gate(loop)
    pbx = backend(gated(gate))
    patient = Timeouts(command=Deadlines(0.1, 0.2), call=Deadlines(30.0, 30.0), shutdown=0.2)
    running = proxy(pbx.port, timeouts=patient)
    calling = running.client().send(b"GET /?command=Call&Dialed=1 HTTP/1.1\r\nHost: a\r\n\r\n")
    pbx.wait_for(1)
    assert running.get("/?command=SendSms&Recipient=1").code == 904
    gate.open()
    assert calling.read().code == 200


def test_a_command_whose_time_is_over_before_it_is_on_record_is_not_sent(
    proxy: Start, backend: StartBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    pbx = backend(answering())
    running = proxy(pbx.port, timeouts=SHORT)
    assert running.get("/?command=ListActiveCalls").code == 200
    chain = running.running.worker.journal._chain
    write, never = chain.write, threading.Event()
    monkeypatch.setattr(chain, "write", lambda *a, **k: (never.wait(1.0), write(*a, **k)))  # longer than it may take
    answer = running.get("/?command=Call&Dialed=1001")
    assert answer.code == 902
    assert len(pbx.requests) == 1
    assert running.counted("interceptor_endpoint_failures_total") == 0


def test_a_byte_now_and_then_does_not_buy_more_time(proxy: Start, backend: StartBackend) -> None:
    running = proxy(backend(answering()).port, timeouts=SHORT)
    client = running.client()
    client.socket.settimeout(0.02)
    began = time.monotonic()
    dripped, came = 0, b""
    while time.monotonic() - began < 5.0:
        client.send(POST[dripped : dripped + 1])
        dripped += 1
        try:
            came = client.socket.recv(9)
            break
        except TimeoutError:
            continue
    assert came == b"HTTP/1.1 "
    assert dripped < len(POST)
    assert 0.3 <= time.monotonic() - began < 3.0


def test_a_slow_second_request_is_cut_too(proxy: Start, backend: StartBackend) -> None:
    running = proxy(backend(answering()).port, timeouts=SHORT)
    client = running.client().send(COMMAND + b"GET /")
    assert client.read().code == 200
    assert client.read().status == 408


def test_an_idle_connection_is_closed_without_a_word(proxy: Start, backend: StartBackend) -> None:
    running = proxy(backend(answering()).port, timeouts=SHORT)
    fresh, used, emptied = running.client(), running.client(), running.client()
    assert used.send(COMMAND).read().code == 200
    emptied.send(b"\r\n")
    assert [fresh.ended(), used.ended(), emptied.ended()] == [True] * 3
    assert eventually(lambda: running.counted(OPEN) == 0)


def test_a_connection_that_waits_for_its_answer_is_not_idle(proxy: Start, backend: StartBackend, loop: Loop) -> None:
    gate = Gate(loop)
    pbx = backend(gated(gate))
    patient = Timeouts(command=Deadlines(9.0, 9.0), call=Deadlines(9.0, 9.0), request=0.05, idle=0.05, shutdown=0.2)
    running = proxy(pbx.port, timeouts=patient)
    client = running.client().send(COMMAND)
    pbx.wait_for(1)
    assert running.client().ended()  # one that is idle is closed meanwhile
    gate.open()
    assert client.read().code == 200


def test_an_answer_that_does_not_come_in_time_is_answered_for(proxy: Start, backend: StartBackend) -> None:
    running = proxy(backend(hanging).port, timeouts=SHORT)
    client = running.client().send(COMMAND)
    assert client.read().code == 904
    assert client.send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n").read(bodiless=True).status == 204  # it may go on


def transports(connections: set[Any]) -> list[asyncio.Transport]:
    """What those are written to that go the long way."""
    found = (getattr(connection, "_transport", None) for connection in connections)
    return [transport for transport in found if transport is not None]


@pytest.mark.parametrize("option", [b"", b"Connection: close\r\n"])
def test_an_asker_that_never_reads_its_answers_is_cut(proxy: Start, backend: StartBackend, option: bytes) -> None:
    """Whatever the size: what the system did not take over from us may be much or little."""
    body = b"<Response><Code>200</Code>" + b" " * 20_000 + b"</Response>"
    running = proxy(backend(answering(body)).port, timeouts=SHORT)
    connections = running.running.worker._doors["commands"].connections
    last = COMMAND.replace(b"\r\n\r\n", b"\r\n" + option + b"\r\n")
    for count in (1, 2, 3, 4, 6, 20):
        before = set(connections)
        client = running.client()
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.send(b"\r\n")  # no whole request: it goes the long way, where there is a transport
        assert eventually(lambda before=before: transports(set(connections) - before))
        (ours,) = transports(set(connections) - before)
        ours.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        client.send(COMMAND * (count - 1) + last)
    assert eventually(lambda: running.counted(OPEN) == 0)


def test_the_sweeper_meets_every_deadline_even_after_one_that_fails(loop: Loop) -> None:
    met: list[str] = []

    class Waiting:
        def __init__(self, name: str) -> None:
            self.name = name
            self.due = 0.0

        def overdue(self) -> None:
            self.due = NEVER
            met.append(self.name)
            if self.name == "bad":
                raise RuntimeError

    async def swept() -> None:
        sweeper = Sweeper(loop.loop)
        sweeper.watch([Waiting("bad"), Waiting("good")])
        sweeper.start()

    loop.run(swept())
    assert eventually(lambda: met == ["bad", "good"])


class Waiting:
    """Waits for a byte on a socket, until it is overdue."""

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self.due = loop.time() + seconds
        self.ended: asyncio.Future[str] = loop.create_future()

    def came(self) -> None:
        self.due = NEVER
        self.ended.set_result("came")

    def overdue(self) -> None:
        self.due = NEVER
        self.ended.set_result("overdue")


@pytest.mark.parametrize("new_loop", [new_event_loop, asyncio.new_event_loop], ids=["ours", "asyncio"])
@pytest.mark.parametrize("answered", [True, False])
def test_an_answer_that_was_there_in_time_is_not_late_because_we_were_held_up(
    new_loop: Callable[[], asyncio.AbstractEventLoop], answered: bool
) -> None:
    async def whole() -> str:
        loop = asyncio.get_running_loop()
        (ours, theirs), (busy, caller) = socket.socketpair(), socket.socketpair()

        def held_up() -> None:
            """What another socket brings takes long, and meanwhile the answer comes."""
            loop.remove_reader(busy)
            if answered:
                theirs.send(b"x")
            time.sleep(0.3)

        with ours, theirs, busy, caller:
            sweeper, waiting = Sweeper(loop), Waiting(loop, 0.1)
            sweeper.watch([waiting])
            loop.add_reader(ours, waiting.came)
            loop.add_reader(busy, held_up)
            sweeper.start()
            caller.send(b"x")
            try:
                async with asyncio.timeout(5):
                    return await waiting.ended
            finally:
                sweeper.stop()
                loop.remove_reader(ours)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(whole()) == ("came" if answered else "overdue")


def test_a_pool_that_was_closed_is_looked_at_no_more() -> None:
    async def whole() -> None:
        loop = asyncio.get_running_loop()
        sweeper = Sweeper(loop)
        kept, closed = (
            Pool(Address("127.0.0.1", 9), Limits(), connect_seconds=1, idle_seconds=1, sweeper=sweeper, loop=loop)
            for _ in range(2)
        )
        before = sweeper.watched
        closed.close()
        assert sweeper.watched == before // 2
        kept.close()
        assert sweeper.watched == 0

    asyncio.run(whole())
