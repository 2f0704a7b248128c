"""How a running proxy ends, and how it tells that it cannot begin."""

import signal
import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.gateway.harness import LOCAL, Backend, Gate, Loop, Script, answering, eventually, free_port, gated, hanging
from tests.gateway.process import ROOT, Process

StartProcess = Callable[..., Process]
StartBackend = Callable[[Script], Backend]

CALL = b"GET /?command=Call&Dialed=1001 HTTP/1.1\r\nHost: pbx.test\r\n\r\n"


def refuses_connections(process: Process) -> bool:
    try:
        process.client().close()
    except ConnectionRefusedError:
        return True
    return False


def test_health_is_0_while_the_server_of_the_configuration_answers(process: StartProcess) -> None:
    running = process(9, admin=f"{LOCAL}:{free_port()}")
    running.wait_for("admin listens on")
    ask = [sys.executable, "-m", "interceptor", "health", "--config", str(running.folder / "config.yaml")]
    assert subprocess.run(ask, cwd=ROOT, check=False).returncode == 0
    running.signal(signal.SIGTERM)
    assert running.ended() == 0
    assert subprocess.run(ask, cwd=ROOT, check=False).returncode == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_end_it_finishes_what_is_in_flight_and_takes_nothing_new(
    process: StartProcess, backend: StartBackend, loop: Loop, number: signal.Signals
) -> None:
    gate = Gate(loop)
    pbx = backend(gated(gate))
    running = process(pbx.port, shutdown="50s")
    idle = running.client()
    client = running.client().send(CALL)
    pbx.wait_for(1)
    assert running.page("/readyz")[0] == 200
    running.signal(number)
    assert eventually(lambda: running.page("/readyz")[0] == 503)
    assert "shutting down" in running.page("/readyz")[1]
    assert running.page("/livez")[0] == 200
    assert eventually(lambda: refuses_connections(running))
    assert idle.ended()
    gate.open()
    answer = client.read()
    assert (answer.code, answer.headers["connection"], client.ended()) == (200, "close", True)
    assert running.ended(10.0) == 0
    records = [record for record in running.journal() if record.get("exchange")]
    assert [record["exchange"] for record in records] == [answer.headers["x-interceptor-exchange"]] * 2
    assert records[1]["outcome"] == "answered"
    assert not any("Traceback" in line for line in running.lines)


def test_a_request_that_has_come_in_part_when_the_end_comes_is_served(
    process: StartProcess, backend: StartBackend
) -> None:
    pbx = backend(answering())
    running = process(pbx.port, shutdown="50s")
    client, idle = running.client(), running.client()
    body = b"command=ListActiveCalls"
    head = b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Type: application/x-www-form-urlencoded\r\n"
    client.send(head + b"Content-Length: %d\r\n\r\n" % len(body))
    assert client.read().status == 100
    running.signal(signal.SIGTERM)
    assert idle.ended()
    answer = client.send(body).read()
    assert (answer.code, answer.headers["connection"], client.ended()) == (200, "close", True)
    assert running.ended(10.0) == 0


def test_what_is_in_flight_for_too_long_has_the_answer_of_a_failure_and_is_on_record(
    process: StartProcess, backend: StartBackend
) -> None:
    pbx = backend(hanging)
    running = process(pbx.port, shutdown="300ms")
    client = running.client().send(CALL)
    pbx.wait_for(1)
    running.signal(signal.SIGTERM)
    assert (client.read().code, client.ended()) == (904, True)
    assert running.ended(10.0) == 0
    settlement = [record for record in running.journal() if "outcome" in record]
    assert [(record["outcome"], record["code"]) for record in settlement] == [("failed", 904)]


@pytest.mark.parametrize(
    ("what", "named", "workers"), [("commands", "listener `commands`", 2), ("admin", "the admin listener", 1)]
)
def test_an_address_that_is_taken_is_told_in_one_sentence(
    process: StartProcess, what: str, named: str, workers: int
) -> None:
    with socket.socket() as taken:
        taken.bind((LOCAL, 0))
        taken.listen()
        address = f"{LOCAL}:{taken.getsockname()[1]}"
        running = process(9, workers=workers, **{what: address})
        assert running.ended(40.0) == 2
    worker = "worker 0: " if workers > 1 else ""
    assert running.lines[-1:] == [f"cannot start: {worker}{named} cannot listen on {address}: address already in use"]
