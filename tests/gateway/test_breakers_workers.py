"""An app that fails is left alone by all workers: processes and sockets."""

import asyncio
import os
import select
import signal
from collections.abc import Callable

from tests.gateway.harness import LOCAL, Backend, Client, Gate, Loop, Script, eventually, free_port, read_request
from tests.gateway.process import Process

StartProcess = Callable[..., Process]
StartBackend = Callable[[Script], Backend]

BODY = b"NotificationName=IncomingCall&Dialed=2405"
CALL = (
    b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(BODY), BODY)
)
HELLO = b"<Response></Response>"
CRM = "failures_to_open: 4, retry_after: {}, fallback: [{{Speak: Sorry}}]"


class MoodyApp:
    """An app that answers, each answer behind a gate, until it is told to cut every connection."""

    def __init__(self, loop: Loop) -> None:
        self.well = True
        self.gate = Gate(loop)
        self.gate.open()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, backend: Backend) -> None:
        while True:
            backend.seen(await read_request(reader))
            await self.gate.passed()
            if not self.well:
                writer.transport.abort()
                return
            writer.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: text/xml\r\nContent-Length: %d\r\n\r\n" % len(HELLO) + HELLO
            )
            await writer.drain()


def start(process: StartProcess, app: int, pause: str) -> tuple[Process, list[Client]]:
    """Two workers, and a connection of the PBX to each."""
    running = process(9, app=app, workers=2, commands=f"{LOCAL}:{free_port()}", crm=CRM.format(pause))
    running.wait_for("admin listens on")
    each = running.client_of_each(CALL, "notifications")
    return running, [each["w0"], each["w1"]]


def heard(client: Client) -> bytes:
    return client.send(CALL).read().body


def is_under_way(client: Client) -> bool:
    """Whether a call is being asked about; an answer that came at once is read."""
    client.send(CALL)
    if select.select([client.socket], [], [], 0.1)[0]:
        assert b"Sorry" in client.read().body
        return False
    return True


def test_all_workers_count_an_apps_failures_together_and_one_that_begins_anew_leaves_it_alone_too(
    process: StartProcess, backend: StartBackend, loop: Loop
) -> None:
    mood = MoodyApp(loop)
    app = backend(mood)
    running, clients = start(process, app.port, "60s")
    assert not (running.folder / "state" / "firsts").exists()  # no app wants to have commands remembered
    mood.well = False
    so_far = len(app.requests)
    for client in (*clients, *clients):
        assert b"Sorry" in heard(client)
    assert len(app.requests) == so_far + 4
    for client in clients:
        assert b"Sorry" in heard(client)
    assert len(app.requests) == so_far + 4
    told = f"app crm is not asked at http://{LOCAL}:{app.port}/pbx: it failed too often"
    assert running.page("/readyz")[1].count(told) == 1
    assert 'interceptor_app_asked{app="crm"} 0' in running.page("/metrics")[1]
    for pid in running.workers():
        os.kill(pid, signal.SIGKILL)
    assert eventually(lambda: running.page("/readyz")[0] == 503)
    ready = (eventually(lambda: running.page("/readyz")[0] == 200) for _ in range(4))
    assert any(ready)  # a worker may take its time to start on a busy machine
    assert told in running.page("/readyz")[1]
    assert 'interceptor_app_asked{app="crm"} 0' in running.page("/metrics")[1]
    for client in running.client_of_each(CALL, "notifications").values():
        assert b"Sorry" in heard(client)
    assert len(app.requests) == so_far + 4


def test_after_the_pause_one_worker_tries_the_app_and_its_answer_counts_for_all(
    process: StartProcess, backend: StartBackend, loop: Loop
) -> None:
    mood = MoodyApp(loop)
    app = backend(mood)
    running, (one, other) = start(process, app.port, "3s")
    mood.well = False
    for client in (one, other, one, other):
        assert b"Sorry" in heard(client)
    mood.well = True
    mood.gate.close()
    so_far = len(app.requests)
    assert eventually(lambda: is_under_way(one))
    assert b"Sorry" in heard(other)
    assert len(app.requests) == so_far + 1
    mood.gate.open()
    assert one.read().body == HELLO
    assert [heard(client) for client in (other, one)] == [HELLO] * 2
    assert 'interceptor_app_asked{app="crm"} 1' in running.page("/metrics")[1]
    assert "is not asked" not in running.page("/readyz")[1]
