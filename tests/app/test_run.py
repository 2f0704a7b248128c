"""`interceptor run` as an operator sees it: the end of it, several workers, and what keeps it from starting."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.gateway.harness import LOCAL, OK_XML, WAIT, Backend, Client, Loop, answering, read_request
from tests.gateway.running import Process

GET = b"GET /?command=ListActiveCalls HTTP/1.1\r\nHost: pbx.test\r\n\r\n"


@pytest.fixture
def loop() -> Iterator[Loop]:
    running = Loop()
    yield running
    running.close()


def admin(process: Process, page: str) -> tuple[int, str]:
    """A page of the admin listener."""
    try:
        with urllib.request.urlopen(f"http://{process.addresses['admin']}{page}", timeout=WAIT) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def until(holds: Callable[[], bool]) -> None:
    """Ask again until it holds, for a limited time; each question is a round trip of its own."""
    over = time.monotonic() + WAIT * 2
    while not holds():
        assert time.monotonic() < over


def commands_counted(process: Process) -> int:
    text = admin(process, "/metrics")[1]
    return sum(int(float(n)) for n in re.findall(r"^interceptor_commands_total\{.*\} (\S+)$", text, re.MULTILINE))


def test_sigterm_finishes_what_is_in_flight_and_exits_with_0(loop: Loop, tmp_path: Path) -> None:
    let_go = threading.Event()

    async def held(reader: StreamReader, writer: StreamWriter, backend: Backend) -> None:
        backend.seen(await read_request(reader))
        await backend.loop.loop.run_in_executor(None, let_go.wait, WAIT)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(OK_XML), OK_XML))
        await writer.drain()

    pbx = Backend(loop, held).start()
    process = Process(tmp_path, pbx.port)
    client = process.client().send(GET)
    pbx.wait_for(1)
    os.kill(process.pid, signal.SIGTERM)
    until(lambda: admin(process, "/readyz")[0] == 503)
    assert "shutting down" in admin(process, "/readyz")[1]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((LOCAL, process.addresses["commands"].port), WAIT)
    let_go.set()
    answer = client.read()
    assert answer.body == OK_XML
    assert process.terminate() == 0
    records = [json.loads(line) for file in (tmp_path / "journal").glob("*.jsonl") for line in file.open()]
    assert [record["event"] for record in records] == ["decision", "settlement"]
    pbx.stop()


def test_two_workers_share_the_port_sum_their_counts_and_come_back_after_a_kill(loop: Loop, tmp_path: Path) -> None:
    pbx = Backend(loop, answering()).start()
    process = Process(tmp_path, pbx.port, workers=2)
    served: set[str] = set()
    asked = 0

    def ask() -> str:
        nonlocal asked
        client = Client(process.addresses["commands"])
        answer = client.send(GET).read()
        client.close()
        asked += 1
        return answer.headers["x-interceptor-exchange"].split("-")[1]

    try:
        while served != {"w0", "w1"} and asked < 200:
            served.add(ask())
        assert served == {"w0", "w1"}
        until(lambda: commands_counted(process) == asked)
        assert admin(process, "/readyz")[0] == 200
        children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True)
        workers = [
            int(pid) for pid in children.stdout.split() if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()
        ]
        assert len(workers) == 2
        os.kill(workers[1], signal.SIGKILL)
        until(lambda: admin(process, "/readyz")[0] == 503)
        until(lambda: admin(process, "/readyz")[0] == 200)
        assert commands_counted(process) == asked  # what the dead one counted is not lost: it was asked before
        ask()
        until(lambda: commands_counted(process) == asked)
    finally:
        code = process.terminate()
        pbx.stop()
    assert code == 0


def test_a_port_that_is_taken_is_one_clear_sentence_and_exit_code_2(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind((LOCAL, 0))
        taken.listen()
        port = taken.getsockname()[1]
        (tmp_path / "rules").mkdir()
        config = tmp_path / "config.yaml"
        config.write_text(
            f"country: HU\ntime_zone: Europe/Budapest\nstate: state\nrules: rules\n"
            f'listeners:\n  commands: {{kind: command, address: "127.0.0.1:{port}"}}\n'
            f'admin: "127.0.0.1:0"\nclusters:\n  pbx: {{endpoints: ["http://127.0.0.1:9"]}}\n'
            f'default_cluster: pbx\napps:\n  crm: {{sources: ["127.0.0.1"]}}\njournal: {{directory: journal}}\n'
        )
        ended = subprocess.run(
            [sys.executable, "-m", "interceptor", "run", "--config", str(config)],
            capture_output=True,
            text=True,
            timeout=WAIT * 3,
            check=False,
        )
    assert ended.returncode == 2, ended.stderr + ended.stdout
    assert f"listener `commands` cannot listen on 127.0.0.1:{port}" in ended.stderr
    assert "Traceback" not in ended.stderr
