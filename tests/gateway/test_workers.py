"""Several workers on one port, from the outside: how they end, and what is left when they end otherwise."""

import asyncio
import itertools
import multiprocessing
import os
import re
import resource
import signal
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interceptor.policy import Source
from interceptor.rollout import begin_with
from interceptor.supervisor import Supervisor, WorkerError
from tests.gateway.harness import (
    ALLOW_ALL,
    LOCAL,
    Backend,
    Gate,
    Loop,
    Script,
    answering,
    eventually,
    free_port,
    gated,
    settings_for,
)
from tests.gateway.process import Process, alive

StartProcess = Callable[..., Process]
StartBackend = Callable[[Script], Backend]

COMMAND = b"GET /?command=ListActiveCalls HTTP/1.1\r\nHost: pbx.test\r\n\r\n"
COUNTER = re.compile(r"^(interceptor_\w+_total(?:\{[^}]*\})?) (\S+)$", re.MULTILINE)


def counters(running: Process) -> dict[str, float]:
    return {name: float(value) for name, value in COUNTER.findall(running.page("/metrics")[1])}


def ask_both(running: Process) -> set[str]:
    """Ask until both workers have answered; their names."""
    served: set[str] = set()
    for _ in range(200):
        client = running.client()
        served.add(client.send(COMMAND).read().headers["x-interceptor-exchange"].split("-")[1])
        client.close()
        if len(served) == 2:
            break
    return served


def test_no_counter_falls_when_workers_are_killed_and_all_that_is_in_flight_is_finished_at_the_end(
    process: StartProcess, backend: StartBackend, loop: Loop
) -> None:
    gate = Gate(loop)
    gate.open()
    pbx = backend(gated(gate))
    running = process(pbx.port, workers=2, commands=f"{LOCAL}:{free_port()}")
    running.wait_for("admin listens on")
    assert ask_both(running) == {"w0", "w1"}
    before = counters(running)
    assert before['interceptor_commands_total{code="200",command="ListActiveCalls"}'] == len(pbx.requests)
    killed = running.workers()
    for pid in killed:
        os.kill(running.template(), signal.SIGSTOP)  # nobody takes its place until it was looked
        os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: running.page("/readyz")[0] == 503)
        assert "does not answer" in running.page("/readyz")[1]
        now = counters(running)
        assert {name: value for name, value in before.items() if now.get(name, 0.0) < value} == {}
        os.kill(running.template(), signal.SIGCONT)
        assert eventually(lambda: running.page("/readyz")[0] == 200)
    assert len(set(running.workers()) - set(killed)) == 2
    assert ask_both(running) == {"w0", "w1"}
    after = counters(running)
    assert {name: value for name, value in before.items() if after.get(name, 0.0) < value} == {}
    assert after['interceptor_commands_total{code="200",command="ListActiveCalls"}'] == len(pbx.requests)

    gate.close()
    count = len(pbx.requests)
    clients = [running.client().send(COMMAND) for _ in range(8)]
    pbx.wait_for(count + 8)
    children = running.children()
    running.signal(signal.SIGTERM)
    assert eventually(lambda: "shutting down" in running.page("/readyz")[1])
    gate.open()
    answers = [client.read() for client in clients]
    assert [answer.code for answer in answers] == [200] * 8
    assert running.ended() == 0
    assert eventually(lambda: not any(alive(pid) for pid in children))
    settled = {record["exchange"] for record in running.journal() if record.get("outcome") == "answered"}
    assert {answer.headers["x-interceptor-exchange"] for answer in answers} <= settled
    numbers = [[each["sequence"] for each in running.journal() if each["worker"] == name] for name in ("w0", "w1")]
    assert [each == list(range(1, len(each) + 1)) for each in numbers] == [True, True]


def test_the_process_that_workers_are_copies_of_may_die_and_another_takes_its_place(
    process: StartProcess, backend: StartBackend
) -> None:
    running = process(backend(answering()).port, workers=2, commands=f"{LOCAL}:{free_port()}")
    running.wait_for("admin listens on")
    template, workers = running.template(), running.workers()
    os.kill(template, signal.SIGKILL)
    assert eventually(lambda: not alive(template))
    assert ask_both(running) == {"w0", "w1"}  # they go on without it
    os.kill(workers[0], signal.SIGKILL)
    running.wait_for(r"worker \d ended; it is started again")
    assert eventually(lambda: running.page("/readyz")[0] == 200)
    assert ask_both(running) == {"w0", "w1"}
    others = running.children()
    running.signal(signal.SIGTERM)
    assert running.ended() == 0
    assert eventually(lambda: not any(alive(pid) for pid in (workers[1], *others)))


def test_a_template_that_fails_is_followed_by_another(process: StartProcess, backend: StartBackend) -> None:
    running = process(backend(answering()).port, workers=2, commands=f"{LOCAL}:{free_port()}")
    running.wait_for("admin listens on")
    template, worker = running.template(), running.workers()[0]
    taken = {int(each.name) for each in Path(f"/proc/{template}/fd").iterdir()}
    room = 1 + next(number for number in itertools.count() if number not in taken)  # for who asks, not for what he says
    resource.prlimit(template, resource.RLIMIT_NOFILE, (room, room))
    os.kill(worker, signal.SIGKILL)
    assert eventually(lambda: not alive(template))
    assert eventually(lambda: running.page("/readyz")[0] == 200)
    assert ask_both(running) == {"w0", "w1"}


def test_when_every_process_is_told_to_end_what_is_in_flight_is_finished(
    process: StartProcess, backend: StartBackend, loop: Loop
) -> None:
    gate = Gate(loop)
    pbx = backend(gated(gate))
    running = process(pbx.port, workers=2, commands=f"{LOCAL}:{free_port()}")
    running.wait_for("admin listens on")
    clients = [running.client().send(COMMAND) for _ in range(8)]
    pbx.wait_for(8)
    template, children = running.template(), running.children()
    for pid in (*children, running.process.pid):  # as a service manager does, or a terminal that is closed
        os.kill(pid, signal.SIGTERM)
    assert eventually(lambda: not alive(template))  # it has nothing to finish
    gate.open()
    assert [client.read().code for client in clients] == [200] * 8
    assert running.ended() == 0
    assert eventually(lambda: not any(alive(pid) for pid in children))


class Nobody:
    """Starts no process."""

    Pipe = staticmethod(multiprocessing.Pipe)

    def __init__(self, fault: Exception) -> None:
        self._fault = fault

    def Process(self, **_: object) -> "Nobody":  # noqa: N802 - multiprocessing's name
        return self

    def start(self) -> None:
        raise self._fault


@pytest.mark.parametrize("fault", [BlockingIOError(11, "no more processes"), EOFError("the template is gone")])
def test_a_worker_that_cannot_be_started_is_told_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    monkeypatch.setattr("interceptor.supervisor.copies", lambda: Nobody(fault))
    settings = settings_for(tmp_path, [9], workers=2)

    async def begin() -> None:
        supervisor = Supervisor(settings, begin_with((Source("a.yaml", ALLOW_ALL.encode()),), settings))
        with pytest.raises(WorkerError, match=r"worker 0 could not be started: .*(no more processes|is gone)"):
            await supervisor.start()

    before = len([*Path("/proc/self/fd").iterdir()])
    asyncio.run(begin())
    assert len([*Path("/proc/self/fd").iterdir()]) == before


class Sometimes:
    """Starts processes, but for a while when it is told not to."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self.Pipe = context.Pipe
        self.started: list[Any] = []
        self.refused = 0
        self.refuses = False

    def Process(self, **given: Any) -> Any:  # noqa: N802 - multiprocessing's name
        process = self._context.Process(**given)
        if self.refuses:
            self.refused += 1
            process.start = Nobody(BlockingIOError(11, "no more processes")).start
        self.started.append(process)
        return process


def test_a_worker_that_could_not_be_started_again_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = Sometimes(multiprocessing.get_context("spawn"))
    monkeypatch.setattr("interceptor.supervisor.copies", lambda: context)
    settings = settings_for(tmp_path, [9], workers=1)

    async def holds(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(40):
            while not condition():  # noqa: ASYNC110 - another process changes it
                await asyncio.sleep(0.02)

    async def story() -> None:
        supervisor = Supervisor(settings, begin_with((Source("a.yaml", ALLOW_ALL.encode()),), settings))
        await supervisor.start()
        try:
            context.refuses = True
            os.kill(context.started[0].pid, signal.SIGKILL)
            await holds(lambda: context.refused >= 2)
            context.refuses = False
            await holds(lambda: supervisor.restarts == 1)
        finally:
            await supervisor.stop()

    asyncio.run(story())


def test_a_start_waits_for_workers_whose_supervisor_was_killed_and_who_finish_what_is_in_flight(
    process: StartProcess, backend: StartBackend, loop: Loop
) -> None:
    gate = Gate(loop)
    pbx = backend(gated(gate))
    first = process(pbx.port, workers=2, commands=f"{LOCAL}:{free_port()}", shutdown="50s")
    client = first.client().send(b"GET /?command=Call&Dialed=1001 HTTP/1.1\r\nHost: a\r\n\r\n")
    pbx.wait_for(1)
    first.signal(signal.SIGKILL)
    assert first.process.wait(10) == -signal.SIGKILL  # its workers go on, and with them what it writes to
    second = process(pbx.port, workers=2, commands=f"{LOCAL}:{free_port()}", shutdown="50s", folder=first.folder)
    second.wait_for("another process writes the journal of `w.`.*; waiting for it to end")
    gate.open()
    assert client.read().code == 200
    second.wait_for("admin listens on")
    assert second.client().send(b"GET /?command=ListActiveCalls HTTP/1.1\r\nHost: a\r\n\r\n").read().code == 200


def test_workers_end_when_their_supervisor_is_killed_and_leave_nothing(
    process: StartProcess, backend: StartBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tempfile.TemporaryDirectory() as temporary:  # pytest's own has too long a name
        monkeypatch.setenv("TMPDIR", temporary)
        running = process(backend(answering()).port, workers=2, commands=f"{LOCAL}:{free_port()}")
        running.wait_for("admin listens on")
        children = running.children()
        assert len(running.workers()) == 2
        assert list(Path(temporary).iterdir())
        running.signal(signal.SIGKILL)
        assert running.ended() == -signal.SIGKILL
        assert eventually(lambda: not any(alive(pid) for pid in children))
        assert not list(Path(temporary).iterdir())
