"""The process of one worker under ``supervisor.py``: it lives on a line on which it is asked and told.

A module of its own, because such a process imports what it needs to be found: the supervisor's would bring the admin
listener and all that is under it.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import reduction
from multiprocessing.connection import Connection
from typing import Any

import msgspec

from interceptor.live_calls import Wanted, encode_export
from interceptor.policy import Source
from interceptor.rollout import Canary, Package
from interceptor.settings import Settings
from interceptor.state import SharedTable
from interceptor.worker import Worker, new_event_loop, settle_memory


def work(
    line: Connection, settings: Settings, sources: list[Source], canary: Canary | None, index: int, secret: bytes
) -> None:
    """The whole life of a worker process."""
    logging.basicConfig(level=logging.INFO, format=f"%(asctime)s %(levelname)s w{index} %(name)s: %(message)s")
    logging.getLogger("mitmproxy").setLevel(logging.WARNING)
    logging.getLogger("mitmproxy.addons.proxyserver").setLevel(logging.CRITICAL)  # a ListenError tells it better
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor decides
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as above
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_live(line, settings, sources, canary, index, secret))


async def _live(
    line: Connection, settings: Settings, sources: list[Source], canary: Canary | None, index: int, secret: bytes
) -> None:
    loop = asyncio.get_running_loop()
    ending = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, ending.set)
    try:
        worker = Worker(
            settings,
            sources,
            name=f"w{index}",
            share_port=True,
            shared=SharedTable(settings.state),
            index=index,
            canary=canary,
            secret=secret,
        )
        addresses = await worker.start()
        settle_memory()
    except Exception as error:  # noqa: BLE001 - whatever it is, the supervisor tells it
        line.send((0, f"worker {index}: {error}"))
        return

    preparing: set[asyncio.Task[None]] = set()
    # Some answers are long. Where the supervisor takes its time to read them, no message should have to wait.
    sender = ThreadPoolExecutor(1, "sender")

    def send(number: int, answer: Any) -> None:
        sender.submit(_send, line, (number, answer))

    def answer() -> None:
        try:
            if not line.poll():
                return
            number, question, more = line.recv()
            if question == "prepare":
                bulk = reduction.recv_handle(line)
                task = loop.create_task(prepare(number, more, bulk))
                preparing.add(task)
                task.add_done_callback(preparing.discard)
                return
        except (EOFError, OSError):
            loop.remove_reader(line.fileno())
            ending.set()  # the supervisor is gone: nobody would end us
            return
        if question == "explain":
            explaining = loop.create_task(explain(number, more))
            preparing.add(explaining)
            explaining.add_done_callback(preparing.discard)
            return
        send(number, _answer(worker, question, more))

    async def explain(number: int, exchange: str) -> None:
        explanation = worker.explain(exchange)
        # With very many rules this takes longer than a caller should wait, so it has a thread of its own.
        found = None
        if explanation is not None:
            found = msgspec.json.encode(await asyncio.to_thread(explanation))
        send(number, found)

    async def prepare(number: int, revision: str, bulk: int) -> None:
        why = await worker.policies.prepare(lambda: _unspool(bulk), revision)
        send(number, why)

    send(0, addresses)
    add_reader(loop, line, answer)
    await ending.wait()
    worker.drain()
    await worker.stop()


def _send(line: Connection, answer: tuple[int, Any]) -> None:
    with contextlib.suppress(OSError):  # the supervisor is gone; the reader sees that too
        line.send(answer)


def _answer(worker: Worker, question: str, more: str) -> Any:
    match question:
        case "snapshot":
            return msgspec.msgpack.encode(worker.snapshot())
        case "unready":
            return worker.unready()
        case "revision":
            return worker.policies.rules.revision
        case "activate":
            return worker.policies.activate(more)
        case "kept":
            return worker.kept.summaries()
        case "calls":
            return encode_export(worker.calls.export(msgspec.json.decode(more, type=Wanted)))
        case "forget":
            return worker.policies.forget()
        case "change_calls":
            return worker.change_calls()
        case "warnings":
            return worker.warnings()
        case "clusters":
            return worker.cluster_pages()
        case "outbox":
            return worker.outbox_pages()
        case "drain" | "undrain":
            cluster, _, endpoint = more.partition(" ")
            return worker.set_draining(cluster, endpoint, draining=question == "drain")
        case _:
            return None


def _unspool(descriptor: int) -> Package:
    """What :func:`_spool` wrote; the descriptor is closed. Several processes share its place, so none is kept there."""
    try:
        size = os.fstat(descriptor).st_size
        data = bytearray()
        while len(data) < size:
            data += os.pread(descriptor, size - len(data), len(data))
        return msgspec.msgpack.decode(data, type=Package)
    finally:
        os.close(descriptor)


def add_reader(loop: asyncio.AbstractEventLoop, line: Connection, read: Callable[[], None]) -> None:
    """Have ``read`` called when something comes. It asks :meth:`Connection.poll` first: some loops call in vain.

    Some loops also make a file non-blocking, and then a long message would break in the middle.
    """
    loop.add_reader(line.fileno(), read)
    os.set_blocking(line.fileno(), True)
