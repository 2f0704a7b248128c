"""HTTP/1 on top of mitmproxy's layers, read and answered by the connection that serves plain listeners.

mitmproxy's own reader of HTTP/1 collects a head without a bound, and reads what ours refuses. So what its layers make
of the bytes (TLS taken away, mostly) goes to a :class:`ClientConnection`: the bounds, the deadlines, the refusals and
the answers are the same on every listener, because there is one place for them. Its transport is a :class:`_Link`, the
way back through the layers.
"""

import asyncio
import logging
from collections.abc import Callable, Generator
from typing import Any, Final

from mitmproxy.connection import Client, ConnectionState
from mitmproxy.proxy.commands import CloseConnection, CloseTcpConnection, Command, SendData
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.events import ConnectionClosed, DataReceived, Event, Start
from mitmproxy.proxy.layer import Layer
from mitmproxy.proxy.server import ConnectionHandler

from interceptor.gateway.connection import ClientConnection, Door

log = logging.getLogger(__name__)


class Intake(asyncio.StreamReader):
    """What mitmproxy reads a client from: it stands still while more waits to be served than may wait."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(loop=loop)
        self.connection: ClientConnection | None = None
        self.lost = False  # there is nobody any more
        self._flows = asyncio.Event()
        self._flows.set()

    async def read(self, n: int = -1) -> bytes:
        """Read on, as soon as that may be."""
        await self._flows.wait()
        return await super().read(n)

    def stand_still(self) -> None:
        """Read no further for now."""
        self._flows.clear()

    def flow(self) -> None:
        """Read on."""
        self._flows.set()


class IntakeProtocol(asyncio.StreamReaderProtocol):
    """Fills an :class:`Intake`, and tells its connection whether the client takes what was written."""

    def __init__(self, intake: Intake, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(intake, loop=loop)
        self._intake = intake

    def pause_writing(self) -> None:
        """The client does not read its answers."""
        super().pause_writing()
        if self._intake.connection is not None:
            self._intake.connection.pause_writing()

    def resume_writing(self) -> None:
        """It reads again."""
        super().resume_writing()
        if self._intake.connection is not None:
            self._intake.connection.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone. mitmproxy may have stopped to listen, when the client said that it says no more."""
        super().connection_lost(exc)
        self._intake.lost = True
        self._intake.flow()
        if self._intake.connection is not None:
            self._intake.connection.connection_lost(exc)


class Http1Layer(Layer):
    """The last of mitmproxy's layers for a client that speaks HTTP/1."""

    def __init__(
        self, context: Context, door: Door, handler: ConnectionHandler, intake: Intake, abort: Callable[[], None]
    ) -> None:
        super().__init__(context)
        writer = handler.transports[context.client].writer
        assert isinstance(writer, asyncio.StreamWriter)  # all our listeners are TCP
        self._intake = intake
        self._link = _Link(writer.transport, intake, abort, handler)
        self.connection = intake.connection = _LayeredConnection(door)

    def _handle_event(self, event: Event) -> Generator[Command, Any, None]:
        link, connection = self._link, self.connection
        link.within = True
        try:
            match event:
                case Start():
                    connection.connection_made(link)
                case DataReceived():
                    connection.data_received(event.data)
                case ConnectionClosed() if self._intake.lost or self.context.client.state is ConnectionState.CLOSED:
                    connection.connection_lost(None)
                case ConnectionClosed():
                    connection.eof_received()
                case _:
                    pass  # it had something to say
        except Exception:  # as an event loop does with a protocol that raises: nothing leaves undecided
            log.exception("a connection over mitmproxy's layers could not be served")
            link.abort()
        finally:
            link.within = False
        yield from link.commands(self.context.client)


class _LayeredConnection(ClientConnection):
    """A connection whose bytes come out of layers. Its place among all connections is kept by who set them up."""

    __slots__ = ()

    def __init__(self, door: Door) -> None:
        super().__init__(door)
        self._first = False  # what it begins with was looked at: it is not handed over again

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it, and have the layers do so."""
        del exc
        link = self._transport
        self._leave()
        if link is not None:
            link.close()


class _Turn(Event):
    """The connection has something for the layers, and none of them was at work."""


_TURN: Final = _Turn()


class _Link(asyncio.Transport):
    """The transport of a connection that lies on layers: what it is told becomes their commands."""

    def __init__(
        self, transport: asyncio.WriteTransport, intake: Intake, abort: Callable[[], None], handler: ConnectionHandler
    ) -> None:
        super().__init__()
        self.within = False  # the layers are at work: what is said now is taken along
        self._transport = transport
        self._intake = intake
        self._abort = abort
        self._handler = handler
        self._said: list[bytes] = []
        self._ends = False
        self._closing = False
        self._turn: asyncio.Task[None] | None = None

    def commands(self, client: Client) -> Generator[Command, Any, None]:
        """What was said since the last time, for the layers beneath."""
        said, self._said = self._said, []
        ends, self._ends = self._ends, False
        if said:
            yield SendData(client, b"".join(said))
        if self._closing:
            yield CloseConnection(client)
        elif ends:
            yield CloseTcpConnection(client, half_close=True)

    def _say(self) -> None:
        if not self.within and (self._turn is None or self._turn.done()):
            self._turn = asyncio.get_running_loop().create_task(self._take_turn())

    async def _take_turn(self) -> None:
        while self._said or self._ends or self._closing:
            await self._handler.server_event(_TURN)
            if self._closing:
                return

    # asyncio.Transport

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What is known of the client."""
        return self._transport.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """Whether nothing more can be said."""
        return self._closing or self._transport.is_closing()

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Say something."""
        self._said.append(bytes(data))
        self._say()

    def can_write_eof(self) -> bool:
        """A client can hear that no more will come, and say the rest."""
        return True

    def write_eof(self) -> None:
        """Say that no more will come."""
        self._ends = True
        self._say()

    def close(self) -> None:
        """Close when all was said."""
        if not self._closing:
            self._closing = True
            self._say()

    def abort(self) -> None:
        """Close now."""
        self._closing = True
        self._abort()

    def pause_reading(self) -> None:
        """Take no more from the client for now."""
        self._intake.stand_still()

    def resume_reading(self) -> None:
        """Read on."""
        self._intake.flow()
