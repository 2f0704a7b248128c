"""Interceptor in a process of its own, for whoever must not share a processor with it: the load.

The process ends when it is told to, and when whoever started it is gone.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from pathlib import Path

from msgspec import Struct

from interceptor.app import Interceptor
from interceptor.policy import Source
from interceptor.processes import anew
from interceptor.rollout import begin_with
from interceptor.settings import Address, Settings
from interceptor.supervisor import Supervisor
from interceptor.worker import new_event_loop, settle_memory

START_SECONDS = 120.0
STOP_SECONDS = 20.0


class ProxyError(OSError):
    """It could not start."""


class Usage(Struct, frozen=True):
    """What a process, its children with it, has used: memory now in bytes, processor time in seconds."""

    memory: int
    processor: float


class ProxyProcess:
    """Interceptor with these settings and rules; ``start`` and ``stop`` it."""

    def __init__(self, settings: Settings, sources: Sequence[Source]) -> None:
        self._settings, self._sources = settings, tuple(sources)
        self._process: SpawnProcess | None = None
        self._line: Connection | None = None
        self._started = False

    async def start(self) -> dict[str, Address]:
        """Start; give the listeners' addresses by name. Raises :class:`ProxyError`; then no process is left."""
        context = anew()  # it is measured like one that somebody starts
        self._line, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, self._settings, self._sources), name="interceptor")
        self._process.start()
        theirs.close()
        try:
            told = await self._told(self._line)
            if isinstance(told, dict):
                self._started = True
                return told
            raise ProxyError(str(told))
        except BaseException:
            await self.stop()
            raise

    async def _told(self, line: Connection) -> object:
        """What the process says of its start."""
        loop, heard = asyncio.get_running_loop(), asyncio.Event()
        loop.add_reader(line.fileno(), heard.set)
        try:
            async with asyncio.timeout(START_SECONDS):
                await heard.wait()
        except TimeoutError:
            msg = f"Interceptor did not start in {START_SECONDS:.0f} seconds"
            raise ProxyError(msg) from None
        finally:
            loop.remove_reader(line.fileno())
        try:
            return line.recv()
        except EOFError:
            return "the process ended"

    async def stop(self) -> None:
        """Have it finish and end."""
        process, line = self._process, self._line
        self._process = self._line = None
        if line is not None:
            line.close()
        if process is not None:
            if not self._started:  # it does not look at the line yet
                process.terminate()
            await asyncio.to_thread(process.join, STOP_SECONDS)
            if process.is_alive():
                process.kill()
                await asyncio.to_thread(process.join)

    def usage(self) -> Usage:
        """What it has used; zeros where the system does not tell."""
        process = self._process
        return _usage(process.pid) if process is not None and process.pid is not None else Usage(0, 0.0)


def _usage(pid: int) -> Usage:
    used = Usage(0, 0.0)
    with contextlib.suppress(OSError, ValueError, IndexError):
        folder = Path(f"/proc/{pid}")
        pages = int((folder / "statm").read_text().split()[1])
        times = (folder / "stat").read_text().rpartition(")")[2].split()
        used = Usage(pages * os.sysconf("SC_PAGE_SIZE"), (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK"))
        for child in (folder / "task" / str(pid) / "children").read_text().split():
            below = _usage(int(child))
            used = Usage(used.memory + below.memory, used.processor + below.processor)
    return used


def _serve(line: Connection, settings: Settings, sources: tuple[Source, ...]) -> None:
    # As a service, in a session of its own: there are systems that share processors out by sessions, and a proxy that
    # shares one with its load, and with whoever started that, gets less than it would in life.
    os.setsid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of a terminal: ours ends us
    logging.basicConfig(level=logging.WARNING)
    logging.getLogger("mitmproxy").setLevel(logging.ERROR)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_until_told(line, settings, sources))


async def _until_told(line: Connection, settings: Settings, sources: tuple[Source, ...]) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, ended.set)
    proxy = (
        Interceptor(settings, sources) if settings.workers == 1 else Supervisor(settings, begin_with(sources, settings))
    )
    try:
        await proxy.start()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        line.send(f"{type(error).__name__}: {error}")
        return
    if isinstance(proxy, Interceptor):
        settle_memory()
    with contextlib.suppress(OSError):  # nobody may be there any more to be told, which ends it below
        line.send(dict(proxy.addresses))
    loop.add_reader(line.fileno(), ended.set)  # nothing is ever sent: readable means closed
    try:
        await ended.wait()
    finally:
        loop.remove_reader(line.fileno())
        await proxy.stop()
