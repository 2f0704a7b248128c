"""Interceptor as a process of its own, as an operator starts it."""

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

from interceptor.settings import Address
from tests.gateway.harness import LOCAL, WAIT, Client

_CONFIG = """
country: HU
extensions: ["1xxx", "2xxx"]
time_zone: Europe/Budapest
workers: {workers}
state: state
rules: rules
listeners:
  commands: {{kind: command, address: "127.0.0.1:0"}}
  notifications: {{kind: notification, address: "127.0.0.1:0"}}
admin: "127.0.0.1:0"
clusters:
  pbx: {{endpoints: ["http://127.0.0.1:{pbx}"], retry_after: 200ms}}
default_cluster: pbx
apps:
  crm: {{sources: ["127.0.0.0/8"], url: "http://127.0.0.1:{app}/pbx"}}
notifications: [{{app: crm}}]
defaults: {{command: allow, notification: allow, verb: deny}}
journal: {{directory: journal, durability: strict}}
"""


class Process:
    """One run of ``interceptor run``. Its folder outlives it."""

    def __init__(self, folder: Path, pbx: int, app: int = 9, workers: int = 1) -> None:
        self.folder = folder
        (folder / "rules").mkdir(exist_ok=True)
        config = folder / "config.yaml"
        config.write_text(_CONFIG.format(pbx=pbx, app=app, workers=workers))
        self.log: list[str] = []
        self.addresses: dict[str, Address] = {}
        self._listening = threading.Event()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "interceptor", "run", "--config", str(config)],
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "NO_COLOR": "1"},
        )
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()
        assert self._listening.wait(WAIT * 2), self.log
        assert len(self.addresses) == 3, self.log

    @property
    def pid(self) -> int:
        return self._process.pid

    def client(self, listener: str = "commands") -> Client:
        return Client(self.addresses[listener])

    def kill(self) -> None:
        """End it as a power cut does."""
        self._end(signal.SIGKILL)

    def terminate(self) -> int:
        """End it as an operator does; its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        if self._process.poll() is None:
            self._process.send_signal(number)
        code = self._process.wait(WAIT)
        self._reading.join(WAIT)
        assert self._process.stderr is not None
        self._process.stderr.close()
        return code

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.log.append(line)
            found = re.search(r"(commands|notifications|admin) listens on (\S+):(\d+)", line)
            if found:
                self.addresses[found[1]] = Address(LOCAL, int(found[3]))
                if len(self.addresses) == 3:
                    self._listening.set()
        self._listening.set()
