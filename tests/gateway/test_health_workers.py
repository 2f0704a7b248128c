"""An endpoint that fails is left by all workers, and comes back for all: processes and sockets."""

import asyncio
import json
import os
import signal
from collections.abc import Callable

from tests.gateway.harness import (
    LOCAL,
    Backend,
    Client,
    Gate,
    Loop,
    Script,
    answering,
    eventually,
    free_port,
    gated,
    read_request,
)
from tests.gateway.process import Process, alive

StartProcess = Callable[..., Process]
StartBackend = Callable[[Script], Backend]

QUESTION = b"GET /?command=ListActiveCalls HTTP/1.1\r\nHost: pbx.test\r\n\r\n"
ANSWER = b"<Response><Code>200</Code></Response>"


class MoodyPbx:
    """A PBX that answers until it is told to cut every connection."""

    well = True

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, backend: Backend) -> None:
        while True:
            request = await read_request(reader)
            backend.seen(request)
            if not self.well:
                writer.transport.abort()
                return
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(ANSWER), ANSWER))
            await writer.drain()


def start(process: StartProcess, ports: list[int], cluster: str, **more: str) -> Process:
    running = process(*ports, workers=2, commands=f"{LOCAL}:{free_port()}", cluster=cluster, **more)
    running.wait_for("admin listens on")
    return running


def client_of(running: Process, worker: str) -> Client:
    """A further connection to this worker."""
    while True:
        client = running.client()
        if client.send(QUESTION).read().headers["x-interceptor-exchange"].split("-")[1] == worker:
            return client
        client.close()


def questions(pbx: Backend) -> int:
    """How many were asked that were not the probe's."""
    return sum(b"ListActiveCalls" in request for request in pbx.requests)


def first_is_up(running: Process) -> bool:
    return bool(json.loads(running.page("/clusters")[1])["clusters"][0]["endpoints"][0]["up"])


def test_all_workers_count_an_endpoints_failures_together_and_it_comes_back_for_all(
    process: StartProcess, backend: StartBackend
) -> None:
    mood = MoodyPbx()
    first, second = backend(mood), backend(answering())
    running = start(process, [first.port, second.port], "failures_to_open: 3, retry_after: 1s")
    clients = running.client_of_each(QUESTION)
    mood.well = False
    so_far = questions(first)
    for worker in ("w0", "w1", "w0"):
        assert clients[worker].send(QUESTION).read().status == 200  # the second has answered
    failed = so_far + 3 + 2  # each worker's kept connection broke on reuse: that is asked again, and is no failure
    assert questions(first) == failed
    assert not first_is_up(running)
    for worker in ("w0", "w1"):
        assert clients[worker].send(QUESTION).read().status == 200
    assert questions(first) == failed
    mood.well = True
    assert eventually(lambda: first_is_up(running))
    so_far = len(second.requests)
    for worker in ("w0", "w1"):
        assert clients[worker].send(QUESTION).read().status == 200
    assert len(second.requests) == so_far


def test_an_endpoint_comes_back_although_the_worker_that_took_it_out_has_died(
    process: StartProcess, backend: StartBackend
) -> None:
    mood = MoodyPbx()
    first, second = backend(mood), backend(answering())
    running = start(process, [first.port, second.port], "failures_to_open: 1, retry_after: 1s")
    clients = running.client_of_each(QUESTION)
    pids = running.workers()
    os.kill(running.template(), signal.SIGSTOP)  # nobody takes its place
    try:
        mood.well = False
        assert clients["w0"].send(QUESTION).read().status == 200  # the second has answered
        os.kill(pids[0], signal.SIGKILL)
        mood.well = True

        def is_asked_again() -> bool:
            so_far = questions(first)
            return clients["w1"].send(QUESTION).read().status == 200 and questions(first) > so_far

        assert eventually(is_asked_again)
    finally:
        os.kill(running.template(), signal.SIGCONT)


def test_a_worker_that_ends_alone_leaves_the_endpoints_to_the_others(
    process: StartProcess, backend: StartBackend, loop: Loop
) -> None:
    gate = Gate(loop)
    gate.open()
    first, second = backend(gated(gate)), backend(gated(gate))
    running = start(process, [first.port, second.port], "failures_to_open: 1, retry_after: 60s", shutdown="1s")
    each = running.client_of_each(QUESTION)
    other, ours = each["w1"], [each["w0"], *(client_of(running, "w0") for _ in range(3))]
    pids = running.workers()
    gate.close()
    so_far = questions(first)
    for client in ours:
        client.send(QUESTION)
    assert eventually(lambda: questions(first) == so_far + 4)
    os.kill(running.template(), signal.SIGSTOP)  # nobody takes its place
    try:
        os.kill(pids[0], signal.SIGTERM)
        assert eventually(lambda: not alive(pids[0]))  # what was in flight has been cut off
        gate.open()
        assert other.send(QUESTION).read().code == 200
        assert first_is_up(running)
    finally:
        os.kill(running.template(), signal.SIGCONT)
