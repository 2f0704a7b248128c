"""Commands that dial, sent twice, the second time to another worker: processes and sockets."""

import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.harness import (
    LOCAL,
    OK_XML,
    Backend,
    Client,
    Gate,
    Loop,
    Script,
    eventually,
    free_port,
    gated,
)
from tests.gateway.process import Process

StartProcess = Callable[..., Process]
StartBackend = Callable[[Script], Backend]

LIST = b"GET /?command=ListActiveCalls HTTP/1.1\r\nHost: pbx.test\r\n\r\n"
REMEMBERED = "repeats_within: 60s"
REPEATED = "interceptor_commands_repeated_total"


def call(number: str) -> bytes:
    return f"GET /?command=Call&Caller=2301&Dialed=%2B3620{number} HTTP/1.1\r\nHost: pbx.test\r\n\r\n".encode()


def message(number: str) -> bytes:
    """Dials like a call, and has the deadlines of other commands."""
    return f"GET /?command=SendSms&Recipient=%2B3620{number}&Message=x HTTP/1.1\r\nHost: pbx.test\r\n\r\n".encode()


def start(process: StartProcess, pbx: int, **options: str) -> tuple[Process, list[Client]]:
    """Two workers, and a connection to each."""
    running = process(pbx, workers=2, commands=f"{LOCAL}:{free_port()}", crm=REMEMBERED, **options)
    running.wait_for("admin listens on")
    each = running.client_of_each(LIST)
    return running, [each["w0"], each["w1"]]


def pid_of(running: Process, worker: str) -> int:
    """The process that has written the files of a worker's journal."""
    for pid in running.workers():
        files = {str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()}
        if any(f"/journal/{worker}-" in file for file in files):
            return pid
    raise AssertionError(worker)


def calls_recorded(running: Process) -> int:
    return sum(each.get("name") == "Call" for each in running.journal())


def all_are_recorded(running: Process, count: int = 2) -> bool:
    """Whether so many calls have come as far as the disk, which may be a busy one."""
    return any(eventually(lambda: calls_recorded(running) == count) for _ in range(3))


def dialled(pbx: Backend, number: str = "") -> list[int]:
    """How often the PBX was asked to dial each number; questions left out."""
    lines = Counter(request.split(b"\r\n", 1)[0] for request in pbx.requests)
    return [count for line, count in lines.items() if b"ListActiveCalls" not in line and number.encode() in line]


class Site:
    """Two workers that remember, before a PBX whose answers may be held back. Each test has its own numbers."""

    def __init__(self, folder: Path) -> None:
        self.loop = Loop()
        self.gate = Gate(self.loop)
        self.gate.open()
        self.pbx = Backend(self.loop, gated(self.gate)).start()
        self._folder = folder
        self.running, self.clients = start(self._process, self.pbx.port, patience="2s")

    def _process(self, *pbx: int, **options: Any) -> Process:
        return Process(self._folder, pbx, **options)

    def close(self) -> None:
        self.running.kill()
        self.pbx.stop()
        self.loop.close()

    def repeated(self) -> int:
        """How often a command has got the answer of another."""
        lines = self.running.page("/metrics")[1].splitlines()
        return sum(int(float(line.split()[-1])) for line in lines if line.startswith(REPEATED))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = Site(tmp_path_factory.mktemp("repeats"))
    yield made
    made.close()


def test_the_same_call_at_another_worker_gets_the_first_answer_and_dials_nothing(site: Site) -> None:
    before = site.repeated()
    answers = [client.send(call("1111111")).read() for client in (*site.clients, *reversed(site.clients))]
    assert [each.body for each in answers] == [OK_XML] * 4
    assert dialled(site.pbx, "1111111") == [1]
    assert site.repeated() == before + 3
    first = answers[0].headers["x-interceptor-exchange"]
    assert eventually(lambda: [each.get("repeats") for each in site.running.journal()].count(first) == 3)


def test_one_that_is_under_way_at_another_worker_is_waited_for(site: Site) -> None:
    site.gate.close()
    so_far = len(site.pbx.requests)
    recorded = calls_recorded(site.running)
    for client in site.clients:
        client.send(call("2222222"))
    assert all_are_recorded(site.running, recorded + 2)
    site.pbx.wait_for(so_far + 1)
    site.gate.open()
    assert [client.read().body for client in site.clients] == [OK_XML] * 2
    assert dialled(site.pbx, "2222222") == [1]


def test_of_many_at_once_at_both_workers_one_dials(site: Site) -> None:
    numbers = [f"{3333000 + number}" for number in range(100)]
    for client in site.clients:
        client.send(b"".join(call(number) for number in numbers))
    assert [client.read().body for client in site.clients for _ in numbers] == [OK_XML] * 200
    assert dialled(site.pbx, "3333") == [1] * 100


def test_what_was_never_sent_is_a_first_at_the_other_worker(site: Site) -> None:
    site.pbx.stop()
    assert site.clients[0].send(call("4444444")).read().code == 901
    site.pbx.start()
    assert eventually(lambda: site.running.page("/readyz")[0] == 200)
    assert site.clients[1].send(call("4444444")).read().body == OK_XML
    assert site.clients[0].send(call("4444444")).read().body == OK_XML
    assert dialled(site.pbx, "4444444") == [1]


def test_a_call_whose_worker_was_killed_is_not_dialled_again_and_its_repetition_is_told(
    process: StartProcess, backend: StartBackend, loop: Loop
) -> None:
    gate = Gate(loop)
    gate.open()
    pbx = backend(gated(gate))
    running, (other, killed) = start(process, pbx.port)
    gate.close()
    so_far = len(pbx.requests)
    killed.send(call("1234567"))
    pbx.wait_for(so_far + 1)
    other.send(call("1234567"))
    assert all_are_recorded(running)
    os.kill(pid_of(running, "w1"), signal.SIGKILL)
    assert killed.ended()
    assert other.read().code == 904  # long before its own deadline
    gate.open()
    assert eventually(lambda: running.page("/readyz")[0] == 200)
    clients = running.client_of_each(LIST)
    assert {client.send(call("1234567")).read().code for client in clients.values()} == {904}
    assert dialled(pbx) == [1]
    answers = [client.send(call("7654321")).read() for client in clients.values()]
    assert [each.body for each in answers] == [OK_XML] * 2
    assert dialled(pbx) == [1, 1]


def test_one_waits_for_a_worker_that_stands_still_as_long_as_for_any_answer(site: Site) -> None:
    other, still = site.clients
    site.gate.close()
    so_far = len(site.pbx.requests)
    still.send(message("5555555"))
    site.pbx.wait_for(so_far + 1)
    stopped = pid_of(site.running, "w1")
    os.kill(stopped, signal.SIGSTOP)
    try:
        assert other.send(message("5555555")).read().code == 904
    finally:
        os.kill(stopped, signal.SIGCONT)
        site.gate.open()
    assert still.read().code in {200, 904}  # it may have been late itself
    assert dialled(site.pbx, "5555555") == [1]
