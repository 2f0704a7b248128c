"""Interceptor as users run it: a process, its configuration file, its journal."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from interceptor.settings import Address
from tests.gateway.harness import ALLOW_ALL, LOCAL, Client, page

ROOT = Path(__file__).parents[2]
START_SECONDS = 40.0  # a loaded machine takes its time to import everything, once for each worker
CONFIG = """\
country: HU
extensions: ["1xxx"]
time_zone: Europe/Budapest
workers: {workers}
state: state
rules: rules
policy: {{emergency: unchecked, {policy}}}
listeners:
  commands: {{kind: command, address: "{commands}"{mode}}}
  notifications: {{kind: notification, address: "127.0.0.1:0"}}
admin: "{admin}"
clusters:
  pbx: {{endpoints: [{endpoints}]{cluster}}}
default_cluster: pbx
apps:
  crm: {{sources: ["0.0.0.0/0"], url: "http://127.0.0.1:{app}/pbx"{crm}}}
notifications: [{{app: crm}}]
timeouts: {{command: {{first_byte: {patience}, total: {patience}}}, shutdown: {shutdown}}}
"""


class Process:
    """One run of ``interceptor run``, in a folder that may be one of a run before it.

    ``prefix`` is a command that runs it elsewhere, such as in a namespace.
    """

    def __init__(
        self,
        folder: Path,
        pbx: Sequence[int],
        *,
        app: int = 9,
        crm: str = "",
        cluster: str = "",
        workers: int = 1,
        commands: str = f"{LOCAL}:0",
        admin: str = f"{LOCAL}:0",
        mode: str = "",
        patience: str = "20s",
        shutdown: str = "5s",
        prefix: Sequence[str] = (),
        rules: str = ALLOW_ALL,
        policy: str = "watch: true",
        more: str = "",
    ) -> None:
        self.folder = folder
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        (folder / "rules").mkdir(exist_ok=True)
        (folder / "rules" / "allow.yaml").write_text(rules)
        endpoints = ", ".join(f'"http://{LOCAL}:{port}"' for port in pbx)
        (folder / "config.yaml").write_text(
            CONFIG.format(
                workers=workers,
                app=app,
                crm=crm and f", {crm}",
                cluster=cluster and f", {cluster}",
                commands=commands,
                mode=mode and f", mode: {mode}",
                admin=admin,
                endpoints=endpoints,
                patience=patience,
                shutdown=shutdown,
                policy=policy,
            )
            + more
        )
        self.process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "interceptor", "run", "--config", str(folder / "config.yaml")],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._changed:
                self.lines.append(line.rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def wait_for(self, pattern: str, seconds: float = START_SECONDS) -> re.Match[str]:
        """Wait for a line of its log."""

        def found() -> re.Match[str] | None:
            return next((match for line in self.lines if (match := re.search(pattern, line))), None)

        with self._changed:
            self._changed.wait_for(lambda: found() or self._ended, seconds)
            match = found()
        assert match, self.lines
        return match

    def address(self, listener: str) -> Address:
        """Where it listens, once it does."""
        found = self.wait_for(rf" {listener} listens on (\S+):(\d+)$")
        return Address(found[1], int(found[2]))

    def client(self, listener: str = "commands") -> Client:
        return Client(self.address(listener))

    def page(self, path: str) -> tuple[int, str]:
        return page(self.address("admin"), path)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self, seconds: float = 20.0) -> int:
        """What it exits with."""
        code = self.process.wait(seconds)
        self._reader.join(seconds)
        return code

    def children(self) -> list[int]:
        """The processes that it started, and those that they started; those of Python's own housekeeping included."""
        found = _children(self.process.pid)
        return found + [below for pid in found for below in _children(pid)]

    def template(self) -> int:
        """The process that its workers are copies of."""
        return next(pid for pid in _children(self.process.pid) if b"forkserver" in _command_line(pid))

    def workers(self) -> list[int]:
        """The processes of its workers; and the examiner's, while one works."""
        return _children(self.template())

    def client_of_each(self, request: bytes, listener: str = "commands") -> dict[str, Client]:
        """A connection to each of two workers, by the worker's name; ``request`` is asked until both have answered."""
        found: dict[str, Client] = {}
        for _ in range(200):
            client = self.client(listener)
            name = client.send(request).read().headers["x-interceptor-exchange"].split("-")[1]
            if name in found:
                client.close()
            else:
                found[name] = client
            if len(found) == 2:
                break
        return found

    def journal(self) -> list[dict[str, Any]]:
        """Every record on disk."""
        files = sorted((self.folder / "state" / "journal").rglob("*.jsonl"))
        return [json.loads(line) for file in files for line in file.read_bytes().splitlines()]

    def kill(self) -> None:
        """End it and whatever it started, however far the test came."""
        if self.process.poll() is None:
            children = self.children()
            self.process.kill()
            self.process.wait(10)
            for pid in children:
                if alive(pid):
                    os.kill(pid, signal.SIGKILL)
        self._reader.join(10)
        assert self.process.stderr is not None
        self.process.stderr.close()


StartProcess = Callable[..., Process]


def _children(pid: int) -> list[int]:
    """Of a process, none where it has ended meanwhile."""
    try:
        listed = [each.read_text() for each in Path(f"/proc/{pid}/task").glob("*/children")]
    except (FileNotFoundError, ProcessLookupError):
        return []
    return [int(below) for each in listed for below in each.split()]


def _command_line(pid: int) -> bytes:
    """Of a process, nothing where it has ended meanwhile."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""


def alive(pid: int) -> bool:
    """Whether a process runs; one that only waits for its parent does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state not in "ZX"
