"""Processes of a measurement: started on chosen cores, watched from outside, and all gone at the end."""

import contextlib
import ctypes
import http.client
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

_CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")
_SET_PARENT_DEATH_SIGNAL: Final = 1  # PR_SET_PDEATHSIG
_LIBC: Final = ctypes.CDLL(None)


class StartError(Exception):
    """A process did not come up; the text says what its log says."""


class Running:
    """One process we started, with all it started itself (they share its session)."""

    def __init__(self, name: str, popen: "subprocess.Popen[bytes]", log: Path) -> None:
        self.name = name
        self.popen = popen
        self.log = log

    def members(self) -> list[int]:
        """The ids of the processes of this session that are alive."""
        return [pid for pid, session in _sessions() if session == self.popen.pid]

    def cpu_seconds(self) -> float:
        """User and system time of all members so far."""
        return sum(_cpu_seconds(pid) for pid in self.members())

    def busiest(self) -> int:
        """The member that has used the most processor time: the worker, where there is a supervisor."""
        return max(self.members(), key=_cpu_seconds, default=self.popen.pid)

    def pin(self, cores: Sequence[int]) -> None:
        """Let every thread of every member run on these cores only."""
        for pid in self.members():
            for thread in Path(f"/proc/{pid}/task").iterdir():
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(int(thread.name), cores)

    def last_words(self) -> str:
        """The end of its log."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text("utf-8", "replace").splitlines()[-12:])
        return ""


class Pen:
    """Keeps what was started and ends all of it when the ``with`` block ends."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._running: list[Running] = []

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        self.stop(*self._running)

    def start(
        self,
        name: str,
        command: Sequence[str],
        *,
        cores: Sequence[int],
        folder: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Running:
        """Start a command in a session of its own, on these cores; its output goes to ``NAME.log``."""
        log = self._folder / f"{name}.log"

        def prepare() -> None:
            _LIBC.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM, 0, 0, 0)  # also when we are killed with -9
            os.sched_setaffinity(0, cores)

        with log.open("wb") as output:
            popen = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder or self._folder,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
                preexec_fn=prepare,  # noqa: PLW1509  (we have no threads)
            )
        running = Running(name, popen, log)
        self._running.append(running)
        return running

    def stop(self, *processes: Running) -> None:
        """Ask these to end, and make them end after three seconds."""
        for running in processes:
            _signal(running, signal.SIGTERM)
        deadline = time.monotonic() + 3.0
        for running in processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                running.popen.wait(max(0.01, deadline - time.monotonic()))
            _signal(running, signal.SIGKILL)
            running.popen.wait()
            while running.members() and time.monotonic() < deadline + 1.0:  # the kernel takes a moment with orphans
                time.sleep(0.005)
            if running in self._running:
                self._running.remove(running)


def wait_until(running: Running, ready: Callable[[], bool], seconds: float) -> float:
    """Wait until ``ready`` holds; the seconds it took. Raises :class:`StartError` when it ends or takes too long."""
    begin = time.monotonic()
    while not ready():
        if running.popen.poll() is not None:
            raise StartError(f"{running.name} ended with status {running.popen.returncode}:\n{running.last_words()}")
        if time.monotonic() - begin > seconds:
            raise StartError(f"{running.name} was not ready after {seconds:.0f} s:\n{running.last_words()}")
        time.sleep(0.02)
    return time.monotonic() - begin


def fetch(port: int, path: str, headers: Mapping[str, str] | None = None, timeout: float = 5.0) -> tuple[int, bytes]:
    """Status and body of a GET on loopback; status 0 when there is no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET", path, headers=dict(headers or {}))
        response = connection.getresponse()
        return response.status, response.read()
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()


def free_ports(count: int) -> list[int]:
    """Different ports that nobody listens on now."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for candidate in sockets:
            candidate.bind(("127.0.0.1", 0))
        return [int(candidate.getsockname()[1]) for candidate in sockets]


def resident_bytes(pid: int) -> int:
    """The memory of one process that is in RAM."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE


def _sessions() -> Iterator[tuple[int, int]]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError, IndexError):
                yield int(entry.name), int(_after_name(entry).split()[3])


def _cpu_seconds(pid: int) -> float:
    with contextlib.suppress(OSError, IndexError):
        fields = _after_name(Path(f"/proc/{pid}")).split()
        return (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS
    return 0.0


def _after_name(entry: Path) -> str:
    # A command's name may hold blanks and brackets; the fields begin after the last one.
    return (entry / "stat").read_text().rpartition(")")[2]


def _signal(running: Running, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(running.popen.pid, number)
