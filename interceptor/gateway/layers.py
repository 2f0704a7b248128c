"""mitmproxy's layers (TLS, HTTP/2), made when the first connection wants them.

mitmproxy is two fifths of what a worker imports, and most sites speak plain HTTP with their PBX. So it is imported and
started, beside the event loop, for the first connection that does not begin like HTTP/1, or at the start where a
listener is made for TLS. Whoever comes meanwhile waits, within the time that a request has.
"""

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from interceptor.gateway.connection import Door, Hooks
from interceptor.gateway.deadlines import NEVER
from interceptor.settings import Limits

if TYPE_CHECKING:
    from interceptor.gateway.master import GatewayMaster

log = logging.getLogger(__name__)


class Layers:
    """The layers of one worker. ``doors`` are its listeners by name, ``state`` the folder of what it keeps.

    An answer is waited for ``answer_seconds``.
    """

    def __init__(
        self, doors: Mapping[str, Door], hooks: Hooks, limits: Limits, *, state: Path, answer_seconds: float
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self._doors = doors
        self._hooks = hooks
        self._limits = limits
        self._state = state
        self._answer_seconds = answer_seconds
        self._opening = asyncio.Lock()
        self._master: GatewayMaster | None = None
        self._stopped = asyncio.Event()
        self._serving: set[asyncio.Task[None]] = set()

    async def open(self) -> "GatewayMaster | None":
        """Have the layers there, unless they were stopped."""
        async with self._opening:
            if self._master is None and not self._stopped.is_set():
                made = await asyncio.to_thread(_imported)
                master = made(
                    self._doors, self._hooks, self._limits, state=self._state, answer_seconds=self._answer_seconds
                )
                await master.start()
                if self._stopped.is_set():
                    await master.stop()
                else:
                    self._master = master
            return self._master

    def take(self, door: Door, transport: asyncio.Transport, data: bytes) -> None:
        """Serve a connection from here on, which its ``door`` has counted and of which ``data`` was read."""
        reader = asyncio.StreamReader(loop=self.loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=self.loop)
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        protocol.data_received(data)
        writer = asyncio.StreamWriter(transport, protocol, reader, self.loop)
        task = self.loop.create_task(self._serve(_Newcomer(door, transport), reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)

    async def stop(self) -> None:
        """End whatever runs in the layers, and start them no more."""
        self._stopped.set()
        if self._master is not None:
            await self._master.stop()

    async def _serve(self, newcomer: "_Newcomer", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            master = await self.open()
        except Exception:  # whatever mitmproxy could not do: it costs those who want it, and the next one tries again
            log.exception("mitmproxy, which serves TLS, could not be started")
            newcomer.abort()
            return
        if master is None:
            newcomer.abort()
        elif newcomer.leave():
            await master.serve(newcomer.door.listener.name, reader, writer)


class _Newcomer:
    """A connection that waits for the layers, as its door sees it; what it sends meanwhile is kept up to a bound."""

    __slots__ = ("_transport", "door", "due")

    def __init__(self, door: Door, transport: asyncio.Transport) -> None:
        self.door = door
        self._transport = transport
        self.due = door.now() + door.request_seconds
        door.connections.add(self)

    def leave(self) -> bool:
        """The layers are there, and count it from now on; whether it is still wanted."""
        if self not in self.door.connections:
            return False
        self.door.connections.discard(self)
        self.door.hooks.closed(self.door.listener.name)
        return True

    # gateway.connection.Held

    def overdue(self) -> None:
        """It took too long."""
        self.abort()

    def close_when_idle(self) -> None:
        """Nothing of it is in flight."""
        self.abort()

    def abort(self) -> None:
        """Close now."""
        self.due = NEVER
        if self.leave():
            self._transport.abort()


def _imported() -> "type[GatewayMaster]":
    from interceptor.gateway.master import GatewayMaster  # noqa: PLC0415 - that is the point

    return GatewayMaster
