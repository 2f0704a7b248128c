"""Several workers on the same ports: started, watched, asked, ended.

Each worker is a process with a journal chain of its own. The supervisor holds no traffic; it owns the admin listener,
asks the workers for their numbers when it is asked, and adds them up. A worker that dies is started again, each time a
little later; what it had counted stays counted.

A new policy comes to all workers at once: every worker compiles it and says that it is ready, then all change. A worker
that starts meanwhile waits for the change or is asked like the others; one that does not change when it is told to is
ended, and begins anew with the policy in force.
"""

import asyncio
import contextlib
import itertools
import logging
import os
import secrets
import signal
import socket
import tempfile
from collections.abc import Mapping, Sequence
from multiprocessing import reduction
from multiprocessing.connection import Connection
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any

import msgspec

from interceptor.admin import AdminServer
from interceptor.calls.ladder import Ladder
from interceptor.config import public
from interceptor.gateway.breakers import TABLE_BYTES as BREAKERS_BYTES
from interceptor.gateway.clusters import host_of, merged_pages
from interceptor.gateway.firsts import TABLE_BYTES as FIRSTS_BYTES
from interceptor.gateway.firsts import Firsts
from interceptor.gateway.health import health_bytes
from interceptor.live_calls import (
    CallsPage,
    Export,
    Wanted,
    bounds_of,
    decode_export,
    ladder_from,
    page_of,
    wanted_beside,
)
from interceptor.metrics import Gatherer, Snapshot, merge
from interceptor.outbox import first_table
from interceptor.processes import copies
from interceptor.rollout import Attempt, Beginning, By, Package, PolicySet, Rollout, RolloutError
from interceptor.rollout.page import attempt_page, policy_page, preview_page
from interceptor.settings import Address, Listener, Mode, Settings
from interceptor.state import BREAKERS, FIRSTS, HEALTH, SharedTable, keep_draining, make_tables
from interceptor.worker_process import add_reader, work

log = logging.getLogger(__name__)

START_SECONDS = 60.0
ASK_SECONDS = 2.0
PREPARE_SECONDS = 600.0
ACTIVATE_SECONDS = 10.0
RESTART_FIRST_SECONDS = 0.2
RESTART_MOST_SECONDS = 10.0
_SECRET_BYTES = 32
_KILLED_SECONDS = 5.0  # for the system to take a process away that was killed
_GRACE_SECONDS = 5.0  # beyond the shutdown time of config, before a worker is killed


class WorkerError(OSError):
    """A worker could not start."""


class _Child:
    """One worker process and the line to it."""

    def __init__(self, index: int, settings: Settings, secret: bytes, context: BaseContext) -> None:
        self.index = index
        self._context = context
        self._settings = settings
        self._secret = secret
        self.ready_for = ""  # the revision that it has compiled and does not decide by yet
        self._process: BaseProcess | None = None
        self._line: Connection | None = None
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._ids = itertools.count(1)
        self._started: asyncio.Future[dict[str, Address]] | None = None
        self.ended = asyncio.Event()

    @property
    def alive(self) -> bool:
        """Whether it can be asked."""
        return self._line is not None

    async def start(self, policy: PolicySet) -> dict[str, Address]:
        """Start the process; give its listeners' addresses. Raises :class:`WorkerError`."""
        self.ready_for = ""
        loop = asyncio.get_running_loop()
        ours, theirs = self._context.Pipe()
        self.ended = asyncio.Event()
        self._started = loop.create_future()
        self._process = None
        process = self._context.Process(  # type: ignore[attr-defined]  # typeshed has it in each kind of context
            target=work,
            args=(theirs, self._settings, list(policy.sources), policy.canary, self.index, self._secret),
            name=f"worker-{self.index}",
        )
        starting = loop.run_in_executor(None, process.start)
        starting.add_done_callback(lambda _: theirs.close())
        try:
            async with asyncio.timeout(START_SECONDS):
                await asyncio.shield(starting)
                self._process, self._line = process, ours
                add_reader(loop, ours, self._read)
                return await self._started
        except WorkerError:
            raise
        except TimeoutError:
            await self.kill()
            why = f"did not start in {START_SECONDS:.0f} seconds"
        except (OSError, EOFError) as fault:
            why = f"could not be started: {fault}"
        if self._process is None:
            ours.close()  # should it come to life all the same, it finds nobody and ends
            self.ended.set()  # or whoever starts it again would wait for its end
        raise WorkerError(f"worker {self.index} {why}")

    async def ask(self, question: str, more: str = "", *, seconds: float = ASK_SECONDS, bulk: int = -1) -> Any:
        """Ask the worker. ``bulk`` is a file that it is handed with the question.

        Raises ``TimeoutError`` where it does not answer, ``ConnectionError`` where it is gone.
        """
        line = self._line
        if line is None:
            msg = f"worker {self.index} is not running"
            raise ConnectionError(msg)
        number = next(self._ids)
        answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            line.send((number, question, more))
            if bulk >= 0:
                reduction.send_handle(line, bulk, None)
            async with asyncio.timeout(seconds):
                return await answer
        finally:
            self._answers.pop(number, None)

    async def stop(self, seconds: float) -> None:
        """Ask it to end, and see that it does."""
        process = self._process
        if process is None or process.pid is None:
            return
        self._signal(signal.SIGTERM)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.ended.wait()
        await self.kill()

    async def kill(self) -> None:
        """End it now, and wait for its end."""
        process = self._process
        if process is not None:
            self._signal(signal.SIGKILL)
            await asyncio.to_thread(process.join, _KILLED_SECONDS)

    def _signal(self, number: signal.Signals) -> None:
        """Whoever could tell whether it is alive, the process that it is a copy of, may be gone itself."""
        process = self._process
        if process is not None and process.pid is not None and (process.is_alive() or not self.ended.is_set()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, number)

    def _read(self) -> None:
        line = self._line
        if line is None:
            return
        try:
            if not line.poll():
                return
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

    def __init__(self, settings: Settings, policy: Beginning) -> None:
        self._chosen = policy.chosen
        self._changing = asyncio.Lock()  # held while workers change, and while one starts
        self._reserved, self._settings = _reserve(settings)
        self._context = copies()
        self.rollout = Rollout(settings, self, policy, context=self._context)
        self._children: list[_Child] = []
        self._watchers: list[asyncio.Task[None]] = []
        self._gatherer = Gatherer()
        self._admin = AdminServer(settings.admin, self)
        self._stopping = False
        self._firsts: SharedTable | None = None  # where apps have commands that may come again
        self.restarts = 0
        self.addresses: dict[str, Address] = {}

    async def start(self) -> None:
        """Start all workers; ``addresses`` holds the listeners by name, and ``admin``, once it returns."""
        try:
            settings = self._settings
            turns = first_table(len(settings.apps) + 1, settings.workers, settings.limits.outbox_addresses)
            repeats = any(app.repeats_within for app in settings.apps.values())
            endpoints = sum(len(cluster.endpoints) for cluster in settings.clusters.values())
            more = {
                BREAKERS: BREAKERS_BYTES,
                FIRSTS: FIRSTS_BYTES if repeats else 0,
                HEALTH: health_bytes(endpoints),
            }
            make_tables(settings.state, settings.workers, turns, more)
            self._firsts = SharedTable(settings.state, FIRSTS) if repeats else None
            secret = secrets.token_bytes(_SECRET_BYTES)
            self._children = [_Child(n, self._settings, secret, self._context) for n in range(self._settings.workers)]
            for child in self._children:  # one after the other: the first problem is told once
                self.addresses |= await child.start(self._chosen)
            await self.rollout.start()
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
        await self.rollout.stop()
        seconds = self._settings.timeouts.shutdown + _GRACE_SECONDS
        await asyncio.gather(*(child.stop(seconds) for child in self._children))
        for reserved in self._reserved:
            reserved.close()
        if self._firsts is not None:
            self._firsts.close()
            self._firsts = None
        await self._admin.stop()

    async def _watch(self, child: _Child) -> None:
        """Start a worker again whenever it ends."""
        wait = RESTART_FIRST_SECONDS
        while True:
            await child.ended.wait()
            log.error("worker %d ended; it is started again in %.1f seconds", child.index, wait)
            self._gatherer.retire(f"w{child.index}")
            await child.kill()
            if self._firsts is not None:  # at once: the other workers may have commands that wait for its answers
                Firsts(self._firsts.memory, self._firsts).lose(child.index)
            await asyncio.sleep(wait)
            try:
                async with self._changing:
                    await child.start(self._chosen)
            except WorkerError as error:
                log.error("%s", error)  # noqa: TRY400 - it says all
                wait = min(wait * 2, RESTART_MOST_SECONDS)
            else:
                self.restarts += 1
                wait = RESTART_FIRST_SECONDS

    async def _gather(self, question: str, more: str = "") -> list[Any]:
        asked = (child.ask(question, more) for child in self._children)
        answers = await asyncio.gather(*asked, return_exceptions=True)
        return [None if isinstance(answer, BaseException) else answer for answer in answers]

    async def reload(self, by: By) -> Attempt:
        """Bring into force what the files say."""
        return await self.rollout.reload(by)

    # rollout.Fleet

    async def prepare(self, package: Package) -> None:
        """Have every worker compile the policy and keep it ready."""
        await self._prepare(self._children, package)

    async def activate(self, chosen: PolicySet) -> None:
        """Have every worker decide by the policy; those that start from now on begin with it."""
        async with self._changing:
            late = [child for child in self._children if child.alive and child.ready_for != chosen.revision]
            await self._prepare(late, Package(chosen.sources, chosen.revision, canary=chosen.canary))
            self._chosen = chosen
            alive = [child for child in self._children if child.alive]
            answers = await asyncio.gather(
                *(child.ask("activate", chosen.revision, seconds=ACTIVATE_SECONDS) for child in alive),
                return_exceptions=True,
            )
            for child, answer in zip(alive, answers, strict=True):
                child.ready_for = ""
                if answer is not True:  # it decides by another policy than the others: not for one moment longer
                    log.error("worker %d did not take revision %s and is ended", child.index, chosen.revision)
                    await child.kill()

    async def forget(self) -> None:
        """Have every worker drop what it has ready."""
        for child in self._children:
            child.ready_for = ""
        await self._gather("forget")

    async def _prepare(self, children: Sequence[_Child], package: Package) -> None:
        if not children:
            return
        revision = package.revision
        bulk = await asyncio.to_thread(_spool, package)
        try:
            answers = await asyncio.gather(
                *(child.ask("prepare", revision, seconds=PREPARE_SECONDS, bulk=bulk) for child in children),
                return_exceptions=True,
            )
        finally:
            os.close(bulk)
        for child, answer in zip(children, answers, strict=True):
            if answer != "":
                why = "took too long" if isinstance(answer, TimeoutError) else answer
                raise RolloutError(f"worker {child.index} could not take revision {revision}: {why}")
            child.ready_for = revision

    # admin.AdminSource

    async def warnings(self) -> tuple[str, ...]:
        """What an operator should know although messages are served."""
        answers = [answer for answer in await self._gather("warnings") if answer is not None]
        return tuple(dict.fromkeys([*self.rollout.warnings(), *(told for answer in answers for told in answer)]))

    async def not_ready(self) -> tuple[str, ...]:
        """Why no traffic should come here: the reasons of all workers, each once."""
        reasons = ["shutting down"] if self._stopping else []
        for child, answer in zip(self._children, await self._gather("unready"), strict=True):
            reasons.extend([f"worker {child.index} does not answer"] if answer is None else answer)
        return tuple(dict.fromkeys(reasons))

    async def metrics(self) -> Snapshot:
        """The sum over all workers, those that are gone included, and what is counted here."""
        return merge((await self.counted(), self.rollout.snapshot()))

    async def counted(self) -> Snapshot:
        """The sum over all workers, those that are gone included."""
        for answer in await self._gather("snapshot"):
            if answer is not None:
                self._gatherer.update(msgspec.msgpack.decode(answer, type=Snapshot))
        return self._gatherer.merged()

    async def config(self) -> Mapping[str, Any]:
        """The configuration without its secrets."""
        return public(self._settings)

    async def policy(self) -> Mapping[str, Any]:
        """The policy in force, and how it came there."""
        revisions = {
            f"w{child.index}": answer
            for child, answer in zip(self._children, await self._gather("revision"), strict=True)
            if answer is not None
        }
        return policy_page(self.rollout, await self.metrics(), self._settings, revisions)

    async def clusters(self) -> Sequence[Mapping[str, Any]]:
        """The PBX endpoints and how they stand, over all workers."""
        pages = [answer for answer in await self._gather("clusters") if answer is not None]
        return merged_pages(pages) if pages else ()

    async def outbox(self) -> Sequence[Mapping[str, Any]]:
        """How the outbox of each app stands, for each worker."""
        return [queue for answer in await self._gather("outbox") for queue in answer or ()]

    async def drain(self, cluster: str, endpoint: str, *, on: bool) -> bool:
        """Have all workers send nothing new to an endpoint, or do so again; those to come begin with it."""
        async with self._changing:  # a worker that starts meanwhile reads what is kept, or is told
            host = host_of(self._settings, cluster, endpoint)
            if not host:
                return False
            keep_draining(self._settings.state, cluster, host, on=on)
            await self._gather("drain" if on else "undrain", f"{cluster} {host}")
            return True

    async def kept(self) -> Sequence[Mapping[str, Any]]:
        """The exchanges that the workers can explain, newest first."""
        found = [summary for answer in await self._gather("kept") for summary in answer or ()]
        return sorted(found, key=lambda summary: str(summary["at"]), reverse=True)

    async def calls(self, most: int) -> CallsPage:
        """The newest calls, those of which several workers have parts brought together."""
        return page_of(await self._export(Wanted(newest=most)), bounds_of(self._settings.calls), most)

    async def call(self, name: str) -> Ladder | None:
        """All that is known of one call."""
        parts = await self._export(Wanted(names=[name]))
        if any(part.calls for part in parts):
            parts = await self._export(wanted_beside(parts))
        return ladder_from(parts, bounds_of(self._settings.calls), name)

    async def _export(self, wanted: Wanted) -> list[Export]:
        answers = await self._gather("calls", msgspec.json.encode(wanted).decode())
        return [decode_export(answer) for answer in answers if answer is not None]

    async def explain(self, exchange: str) -> Any | None:
        """Why an exchange was decided as it was."""
        for answer in await self._gather("explain", exchange):
            if answer is not None:
                return msgspec.json.decode(answer)
        return None

    async def reload_policy(self, *, at_once: bool) -> Mapping[str, Any]:
        """Load the files; ``at_once`` for calls in progress, too."""
        attempt = await self.rollout.reload(By.REQUEST)
        if at_once and attempt.good:
            await self._gather("change_calls")
        return attempt_page(attempt, self.rollout)

    async def preview_policy(self) -> Mapping[str, Any]:
        """What loading the files would change."""
        return await preview_page(self.rollout)

    async def roll_back_policy(self, revision: str) -> Mapping[str, Any]:
        """Return to the policy before this one, or to this revision."""
        return attempt_page(await self.rollout.rollback(revision), self.rollout)

    async def try_canary(self, percent: float) -> Mapping[str, Any]:
        """Give a share of the calls to the canary, or none."""
        return attempt_page(await self.rollout.try_canary(percent), self.rollout)


def _spool(package: Package) -> int:
    """The makings of a policy in a file without a name, which every worker reads by itself; its descriptor.

    Through the workers' lines they would hold up whatever else a worker has to do.
    """
    descriptor = os.memfd_create("policy") if hasattr(os, "memfd_create") else _unnamed()
    with open(descriptor, "wb", closefd=False) as opened:
        opened.write(msgspec.msgpack.encode(package))
    return descriptor


def _unnamed() -> int:  # pragma: no cover - systems without memory files
    with tempfile.TemporaryFile() as opened:
        return os.dup(opened.fileno())


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
