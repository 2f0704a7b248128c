"""Several workers on the same ports: started, watched, asked, ended.

Each worker is a process with a journal chain of its own. The supervisor holds no traffic; it owns the admin listener,
asks the workers for their numbers when it is asked, and adds them up. A worker that dies is started again, each time a
little later; what it had counted stays counted.
"""

import asyncio
import contextlib
import itertools
import logging
import multiprocessing
import signal
import socket
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess
from typing import Any

import msgspec

from interceptor.admin import AdminServer
from interceptor.config import public
from interceptor.metrics import Gatherer, Snapshot
from interceptor.policy import Source
from interceptor.settings import Address, Listener, Mode, Settings
from interceptor.state import SharedTable, make_table
from interceptor.worker import Worker, new_event_loop

log = logging.getLogger(__name__)

START_SECONDS = 60.0
ASK_SECONDS = 2.0
RESTART_FIRST_SECONDS = 0.2
RESTART_MOST_SECONDS = 10.0
_GRACE_SECONDS = 5.0  # beyond the shutdown time of config, before a worker is killed


class WorkerError(OSError):
    """A worker could not start."""


class _Child:
    """One worker process and the line to it."""

    def __init__(self, index: int, settings: Settings, sources: Sequence[Source]) -> None:
        self.index = index
        self._settings = settings
        self._sources = sources
        self._process: SpawnProcess | None = None
        self._line: Connection | None = None
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._ids = itertools.count(1)
        self._started: asyncio.Future[dict[str, Address]] | None = None
        self.ended = asyncio.Event()

    async def start(self) -> dict[str, Address]:
        """Start the process; give its listeners' addresses. Raises :class:`WorkerError`."""
        loop = asyncio.get_running_loop()
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        self.ended = asyncio.Event()
        self._started = loop.create_future()
        process = context.Process(
            target=_work, args=(theirs, self._settings, list(self._sources), self.index), name=f"worker-{self.index}"
        )
        await asyncio.to_thread(process.start)
        theirs.close()
        self._process, self._line = process, ours
        loop.add_reader(ours.fileno(), self._read)
        try:
            async with asyncio.timeout(START_SECONDS):
                return await self._started
        except TimeoutError:
            await self.kill()
            msg = f"worker {self.index} did not start in {START_SECONDS:.0f} seconds"
            raise WorkerError(msg) from None

    async def ask(self, question: str) -> Any:
        """Ask the worker. Raises ``TimeoutError`` where it does not answer, ``ConnectionError`` where it is gone."""
        line = self._line
        if line is None:
            msg = f"worker {self.index} is not running"
            raise ConnectionError(msg)
        number = next(self._ids)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            line.send((number, question))
            async with asyncio.timeout(ASK_SECONDS):
                return await answer
        finally:
            self._answers.pop(number, None)

    async def stop(self, seconds: float) -> None:
        """Ask it to end, and see that it does."""
        process = self._process
        if process is None or process.pid is None:
            return
        process.terminate()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.ended.wait()
        await self.kill()

    async def kill(self) -> None:
        """End it now, and wait for its end."""
        process = self._process
        if process is not None:
            if process.is_alive():
                process.kill()
            await asyncio.to_thread(process.join)

    def _read(self) -> None:
        line = self._line
        if line is None:
            return
        try:
            number, answer = line.recv()
        except (EOFError, OSError):
            self._gone()
            return
        if number == 0 and self._started is not None and not self._started.done():
            if isinstance(answer, str):
                self._started.set_exception(WorkerError(answer))
            else:
                self._started.set_result(answer)
        elif number in self._answers and not self._answers[number].done():
            self._answers[number].set_result(answer)

    def _gone(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            asyncio.get_running_loop().remove_reader(line.fileno())
            line.close()
        gone = ConnectionError(f"worker {self.index} is gone")
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(gone)
        if self._started is not None and not self._started.done():
            self._started.set_exception(WorkerError(f"worker {self.index} ended while it started"))
        self.ended.set()


class Supervisor:
    """The workers and the admin listener."""

    def __init__(self, settings: Settings, rules: Sequence[Source]) -> None:
        self._sources = rules
        self._reserved, self._settings = _reserve(settings)
        self._children: list[_Child] = []
        self._watchers: list[asyncio.Task[None]] = []
        self._gatherer = Gatherer()
        self._admin = AdminServer(settings.admin, self)
        self._stopping = False
        self.restarts = 0
        self.addresses: dict[str, Address] = {}

    async def start(self) -> None:
        """Start all workers; ``addresses`` holds the listeners by name, and ``admin``, once it returns."""
        try:
            make_table(self._settings.state, self._settings.workers)
            self._children = [_Child(n, self._settings, self._sources) for n in range(self._settings.workers)]
            for child in self._children:  # one after the other: the first problem is told once
                self.addresses |= await child.start()
            self._watchers = [asyncio.create_task(self._watch(child)) for child in self._children]
            self.addresses["admin"] = await self._admin.start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Ask all workers to end, and see that they do."""
        self._stopping = True
        for watcher in self._watchers:
            watcher.cancel()
        seconds = self._settings.timeouts.shutdown + _GRACE_SECONDS
        await asyncio.gather(*(child.stop(seconds) for child in self._children))
        for reserved in self._reserved:
            reserved.close()
        await self._admin.stop()

    async def _watch(self, child: _Child) -> None:
        """Start a worker again whenever it ends."""
        wait = RESTART_FIRST_SECONDS
        while True:
            await child.ended.wait()
            log.error("worker %d ended; it is started again in %.1f seconds", child.index, wait)
            self._gatherer.retire(f"w{child.index}")
            await child.kill()
            await asyncio.sleep(wait)
            try:
                await child.start()
            except WorkerError as error:
                log.error("%s", error)  # noqa: TRY400 - it says all
                wait = min(wait * 2, RESTART_MOST_SECONDS)
            else:
                self.restarts += 1
                wait = RESTART_FIRST_SECONDS

    async def _gather(self, question: str) -> list[Any]:
        answers = await asyncio.gather(*(child.ask(question) for child in self._children), return_exceptions=True)
        return [None if isinstance(answer, BaseException) else answer for answer in answers]

    # admin.AdminSource

    async def not_ready(self) -> tuple[str, ...]:
        """Why no traffic should come here: the reasons of all workers, each once."""
        reasons = ["shutting down"] if self._stopping else []
        for child, answer in zip(self._children, await self._gather("unready"), strict=True):
            reasons.extend([f"worker {child.index} does not answer"] if answer is None else answer)
        return tuple(dict.fromkeys(reasons))

    async def metrics(self) -> Snapshot:
        """The sum over all workers, those that are gone included."""
        for answer in await self._gather("snapshot"):
            if answer is not None:
                self._gatherer.update(msgspec.msgpack.decode(answer, type=Snapshot))
        return self._gatherer.merged()

    async def config(self) -> Mapping[str, Any]:
        """The configuration without its secrets."""
        return public(self._settings)

    async def policy(self) -> Mapping[str, Any]:
        """The rules in force."""
        answers = [answer for answer in await self._gather("policy") if answer is not None]
        return answers[0] | {"workers": len(answers)} if answers else {}


def _reserve(settings: Settings) -> tuple[list[socket.socket], Settings]:
    """Choose the ports that the system was asked for, once for all workers, and keep them."""
    reserved: list[socket.socket] = []
    listeners: list[Listener] = []
    for listener in settings.listeners:
        chosen = listener
        if listener.address.port == 0 and listener.mode is Mode.GATEWAY:
            family = socket.AF_INET6 if ":" in listener.address.host else socket.AF_INET
            held = socket.socket(family, socket.SOCK_STREAM)
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.bind((listener.address.host, 0))
            reserved.append(held)
            address = Address(listener.address.host, held.getsockname()[1])
            chosen = msgspec.structs.replace(listener, address=address)
        listeners.append(chosen)
    return reserved, msgspec.structs.replace(settings, listeners=tuple(listeners))


# in the worker's process


def _work(line: Connection, settings: Settings, sources: list[Source], index: int) -> None:
    """The whole life of a worker process."""
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s %(levelname)s w{index} %(name)s: %(message)s")
    logging.getLogger("mitmproxy").setLevel(logging.WARNING)
    logging.getLogger("mitmproxy.addons.proxyserver").setLevel(logging.CRITICAL)  # a ListenError tells it better
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_live(line, settings, sources, index))


async def _live(line: Connection, settings: Settings, sources: list[Source], index: int) -> None:
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ending.set)
    try:
        worker = Worker(
            settings,
            sources,
            name=f"w{index}",
            first=index == 0,
            share_port=True,
            shared=SharedTable(settings.state),
            index=index,
        )
        addresses = await worker.start()
    except Exception as error:  # noqa: BLE001 - whatever it is, the supervisor tells it
        line.send((0, f"worker {index}: {error}"))
        return

    def answer() -> None:
        try:
            number, question = line.recv()
        except (EOFError, OSError):
            loop.remove_reader(line.fileno())
            ending.set()  # the supervisor is gone: nobody would end us
            return
        line.send((number, _answer(worker, question)))

    loop.add_reader(line.fileno(), answer)
    line.send((0, addresses))
    await ending.wait()
    worker.drain()
    await worker.stop()


def _answer(worker: Worker, question: str) -> Any:
    match question:
        case "snapshot":
            return msgspec.msgpack.encode(worker.snapshot())
        case "unready":
            return worker.unready()
        case "policy":
            return worker.policy()
        case _:
            return None
