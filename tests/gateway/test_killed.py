"""A process of its own under load, killed or without a disk: what the PBX saw is on record, and the numbers go on."""

import random
import re
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from tests.gateway.harness import Backend, Script, answering, free_port
from tests.gateway.misbehaving import await_until
from tests.gateway.process import Process

StartBackend = Callable[[Script], Backend]


@pytest.fixture
def again(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts Interceptor as processes, one after the other in the same folder."""
    started: list[Process] = []

    def start(pbx: int, app: int = 9) -> Process:
        started.append(Process(tmp_path, [pbx], app=app))
        started[-1].address("admin")  # the last thing that it says when it starts
        return started[-1]

    yield start
    for each in started:
        each.kill()


def end(running: Process) -> int:
    """End it as an operator does; what it exits with."""
    running.signal(signal.SIGTERM)
    return running.ended()


def records(folder: Path) -> list[dict[str, object]]:
    """The records on disk, file by file; a torn last line of the last file is left out."""
    found: list[dict[str, object]] = []
    files = sorted((folder / "state" / "journal").rglob("w0-*.jsonl"), key=lambda path: path.name.rpartition("-")[2])
    for path in files:
        *lines, rest = path.read_bytes().split(b"\n")
        assert not rest or path is files[-1]
        found += [msgspec.json.decode(line) for line in lines]
    return found


def exchanges_seen(pbx: Backend) -> set[str]:
    """The exchange ids of the commands that the PBX saw."""
    return {
        found[1].decode()
        for request in list(pbx.requests)
        if (found := re.search(rb"X-Interceptor-Exchange: (\S+)", request))
    }


class Load:
    """Clients that send commands one after another until their connection breaks."""

    def __init__(self, running: Process, clients: int = 4) -> None:
        self.answered = 0
        self._threads = [threading.Thread(target=self._send, args=(running, n), daemon=True) for n in range(clients)]
        for thread in self._threads:
            thread.start()

    def _send(self, running: Process, client: int) -> None:
        try:
            connection = running.client()
        except OSError:
            return
        with connection.socket:
            for number in range(1_000_000):
                line = b"GET /?command=Call&Dialed=%d%06d HTTP/1.1\r\nHost: pbx\r\n\r\n" % (client, number)
                try:
                    connection.send(line).read()
                except (OSError, AssertionError):
                    return
                self.answered += 1

    def wait(self) -> None:
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()


def test_after_kill_9_every_command_that_the_pbx_saw_is_on_record_and_the_numbers_go_on(
    again: Callable[..., Process], backend: StartBackend, tmp_path: Path
) -> None:
    pbx = backend(answering())
    dice = random.Random(20261123)
    for _ in range(2):
        running = again(pbx.port)
        load = Load(running)
        before = len(pbx.requests)
        moment = dice.randrange(20, 400)  # in commands, not in seconds: the machine may be slow
        await_until(lambda: len(pbx.requests) >= before + moment)  # noqa: B023
        running.kill()
        load.wait()
        decided = {record["exchange"] for record in records(tmp_path) if record["event"] == "decision"}
        assert exchanges_seen(pbx) <= decided
    running = again(pbx.port)
    client = running.client()
    assert client.send(b"GET /?command=ListActiveCalls HTTP/1.1\r\nHost: pbx\r\n\r\n").read().code == 200
    client.close()
    assert end(running) == 0
    numbers = [record["sequence"] for record in records(tmp_path)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert records(tmp_path)[-1]["event"] == "settlement"


def test_when_the_disk_takes_no_more_commands_are_refused_and_when_it_does_they_flow_again(
    again: Callable[..., Process], backend: StartBackend, tmp_path: Path
) -> None:
    pbx = backend(answering())
    running = again(pbx.port)
    command = b"GET /?command=Call&Dialed=2405 HTTP/1.1\r\nHost: pbx\r\n\r\n"
    client = running.client()
    assert client.send(command).read().code == 200
    no_more = 1  # bytes a file may have: every write fails as on a full disk
    resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (no_more, resource.RLIM_INFINITY))
    for _ in range(2):
        assert client.send(command).read().code == 903
    assert len(pbx.requests) == 1
    resource.prlimit(running.process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await_until(lambda: client.send(command).read().code == 200)
    assert len(pbx.requests) == 2
    client.close()
    assert end(running) == 0
    found = records(tmp_path)
    assert [record["reason"] for record in found if record["event"] == "audit.gap"] == ["not_written"]
    assert [record["sequence"] for record in found] == list(range(1, len(found) + 1))


def test_after_kill_9_the_reports_that_were_taken_are_delivered(
    again: Callable[..., Process], backend: StartBackend, loop: object
) -> None:
    port = free_port()
    running = again(9, port)
    for number in range(5):
        client = running.client("notifications")
        body = b"NotificationName=CallChanged&CallId=%d" % number
        head = b"POST / HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n"
        assert client.send(head % len(body) + body).read().status == 200
        client.close()
    running.kill()
    app = Backend(loop, answering(b"<Response/>"), port=port).start()
    again(9, port)
    found = [re.findall(rb"CallId=(\d)", request)[0] for request in app.wait_for(5)]
    assert found == [b"0", b"1", b"2", b"3", b"4"]
    app.stop()
