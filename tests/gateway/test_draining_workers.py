"""Draining with several workers, from the outside."""

import http.client
import json
import os
import signal
from collections.abc import Callable

from tests.gateway.harness import LOCAL, Backend, Script, answering, eventually, free_port
from tests.gateway.process import Process

StartProcess = Callable[..., Process]
StartBackend = Callable[[Script], Backend]

CALL = b"GET /?command=Call&Dialed=2405&ApiExtension=9000 HTTP/1.1\r\nHost: pbx.test\r\n\r\n"


def call_by_both(running: Process) -> None:
    """Ask for calls until both workers have answered one."""
    served: set[str] = set()
    while len(served) < 2:
        client = running.client()
        served.add(client.send(CALL).read().headers["x-interceptor-exchange"].split("-")[1])
        client.close()


def drain(running: Process, which: str, how: str) -> int:
    admin = running.address("admin")
    connection = http.client.HTTPConnection(admin.host, admin.port, timeout=10)
    connection.request("POST", f"/clusters/pbx/endpoints/{which}/{how}")
    status = connection.getresponse().status
    connection.close()
    return status


def test_all_workers_drain_an_endpoint_and_so_does_one_that_begins_anew(
    process: StartProcess, backend: StartBackend
) -> None:
    first, second = backend(answering()), backend(answering())
    running = process(first.port, second.port, workers=2, commands=f"{LOCAL}:{free_port()}")
    running.wait_for("admin listens on")
    assert drain(running, "3", "drain") == 404
    assert drain(running, "1", "drain") == 200
    call_by_both(running)
    os.kill(running.workers()[0], signal.SIGKILL)
    assert eventually(lambda: running.page("/readyz")[0] == 503)
    ready = (eventually(lambda: running.page("/readyz")[0] == 200) for _ in range(4))
    assert any(ready)  # a worker may take its time to start on a busy machine
    call_by_both(running)
    assert first.requests == []
    endpoints = json.loads(running.page("/clusters")[1])["clusters"][0]["endpoints"]
    assert [(each["endpoint"], each["draining"]) for each in endpoints] == [
        (f"{LOCAL}:{first.port}", True),
        (f"{LOCAL}:{second.port}", False),
    ]
    assert f"endpoint {LOCAL}:{first.port} of cluster pbx is draining" in running.page("/readyz")[1]
    assert drain(running, f"{LOCAL}:{first.port}", "undrain") == 200
    call_by_both(running)
    assert len(first.requests) >= 2
