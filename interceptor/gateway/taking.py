"""Taking connections off listening sockets, and the short way for those that came for one answer.

Who closes after each answer, as the PBX does, has mostly sent its whole request by the time that its connection is
taken. Then it is a :class:`Visit`: read once, answered once and closed, the answer and the end in one segment. The
event loop never hears of it (``docs/adr/0020``).

Every other goes the long way, over a transport of the event loop to a :class:`ClientConnection`, which is given what
was read: whatever is not whole, stays open, is no plain request, or finds no room. So does the rest of an answer that
its asker does not take at once. All bounds and deadlines of connections are there, and a visit needs none: while it
waits, those of the exchange hold.
"""

import asyncio
import logging
import socket
from typing import Final, cast

from interceptor.gateway.connection import MESSAGE_METHODS, ClientConnection, Door, Response
from interceptor.gateway.deadlines import NEVER
from interceptor.gateway.http1 import whole_request
from interceptor.settings import Address

log = logging.getLogger(__name__)

_BACKLOG: Final = 4096
_AT_ONCE: Final = 64  # connections taken in one turn of the loop, so that those which are served have their turn
_READ: Final = 16 << 10
_PAUSE_SECONDS: Final = 0.1  # where the system has no file descriptor left
_NOW: Final = socket.MSG_DONTWAIT
_AND_END: Final = socket.MSG_DONTWAIT | getattr(socket, "MSG_MORE", 0)  # what is sent leaves with the end after it


async def listen(address: Address, *, share_port: bool) -> tuple[socket.socket, ...]:
    """Listen on every address that the host's name leads to. Raises :class:`OSError`."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(address.host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    shares = share_port and hasattr(socket, "SO_REUSEPORT")
    listening: list[socket.socket] = []
    try:
        for family, place in dict.fromkeys((family, place) for family, _, _, _, place in found):
            listening.append(socket.create_server(place, family=family, backlog=_BACKLOG, reuse_port=shares))
    except OSError:
        for each in listening:
            each.close()
        raise
    return tuple(listening)


def _read(taken: socket.socket) -> bytes:
    """What has come; nothing, too, where it has ended, which shows when somebody waits for more."""
    try:
        return taken.recv(_READ, _NOW)
    except OSError:
        return b""


class Visit:
    """A connection that came for one answer."""

    __slots__ = ("_minor", "_taken", "_taker", "due")

    def __init__(self, taker: "Taker", taken: socket.socket, minor: int) -> None:
        self._taker = taker
        self._taken: socket.socket | None = taken
        self._minor = minor
        self.due = NEVER

    def release(self, response: Response) -> None:
        """Answer, with all that are answered in this turn of the loop: the first wakes its asker for the others."""
        self._taker.leave(self, response.written(self._minor, keeps=False))

    def end(self, answer: bytes) -> None:
        """Send the answer and close."""
        taken = self._taken
        if taken is None:
            return
        try:
            sent = taken.send(answer, _AND_END)
        except BlockingIOError:
            sent = 0
        except OSError:
            sent = len(answer)  # nobody is there
        if sent < len(answer):
            self._taken = None
            self._taker.go_on(self, taken, answer[sent:])
            return
        _read(taken)  # what came after the request would, unread, make a reset of the end
        self.abort()

    def abort(self) -> None:
        """Close now."""
        taken, self._taken = self._taken, None
        if taken is not None:
            taken.close()
            self._taker.forget(self)

    def close_when_idle(self) -> None:
        """It is never idle, and its answer is its end."""

    def overdue(self) -> None:
        """It is never due."""


class _Rest(ClientConnection):
    """The rest of an answer, on its way to an asker that takes it slowly; then the end."""

    __slots__ = ("_rest",)

    def __init__(self, door: Door, rest: bytes) -> None:
        super().__init__(door)
        self._rest = rest

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Write it, to be taken within the time that every answer has."""
        self._transport = cast("asyncio.Transport", transport)
        self._door.connections.add(self)
        self._transport.write(self._rest)
        self.close()


class Taker:
    """Takes the connections of one listening socket."""

    def __init__(self, door: Door, listening: socket.socket, loop: asyncio.AbstractEventLoop) -> None:
        self._door = door
        self._listening = listening
        self._loop = loop
        self._leaving: list[tuple[Visit, bytes]] = []
        self._going_on: set[asyncio.Task[None]] = set()
        self._paused: asyncio.TimerHandle | None = None
        listening.setblocking(False)
        loop.add_reader(listening, self._take)

    @property
    def address(self) -> tuple[str, int]:
        """Where it listens, with the port that the system chose."""
        host, port, *_ = self._listening.getsockname()
        return host, port

    def close(self) -> None:
        """Take no more; who was taken stays."""
        if self._paused is not None:
            self._paused.cancel()
        self._loop.remove_reader(self._listening)
        self._listening.close()

    # taking

    def _take(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                taken, peer = self._listening.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as fault:
                self._pause(fault)
                return
            self._begin(taken, peer[0].partition("%")[0])  # without the interface of a link-local address

    def _begin(self, taken: socket.socket, source: str) -> None:
        door = self._door
        came = b""
        room = door.hooks.opened(door.listener.name)
        if room and not (door.stopping or door.only_tls):
            came = _read(taken)
            request = whole_request(came, door.limits.head, door.limits.body)
            if request is not None and not request.keeps_alive and request.method in MESSAGE_METHODS:
                visit = Visit(self, taken, request.minor)
                door.connections.add(visit)
                door.hooks.ask(visit, request, source, door)
                return
        self._go_the_long_way(taken, ClientConnection(door, room=room, came=came))

    def _pause(self, fault: OSError) -> None:
        """The system has no room for another connection: those that come wait until it has."""
        log.warning("listener %s takes no connections for a moment: %s", self._door.listener.name, fault.strerror)
        self._loop.remove_reader(self._listening)
        self._paused = self._loop.call_later(_PAUSE_SECONDS, self._resume)

    def _resume(self) -> None:
        self._loop.add_reader(self._listening, self._take)

    # the end of a visit

    def leave(self, visit: Visit, answer: bytes) -> None:
        """Let it end at the end of this turn of the loop."""
        if not self._leaving:
            self._loop.call_soon(self._leave)
        self._leaving.append((visit, answer))

    def _leave(self) -> None:
        leaving, self._leaving = self._leaving, []
        for visit, answer in leaving:
            visit.end(answer)

    def forget(self, visit: Visit) -> None:
        """It has ended."""
        self._door.connections.discard(visit)
        self._door.hooks.closed(self._door.listener.name)

    def go_on(self, visit: Visit, taken: socket.socket, rest: bytes) -> None:
        """Its asker has not taken all of the answer."""
        self._door.connections.discard(visit)
        self._go_the_long_way(taken, _Rest(self._door, rest))

    # the long way

    def _go_the_long_way(self, taken: socket.socket, connection: ClientConnection) -> None:
        task = self._loop.create_task(self._connect(taken, connection))
        self._going_on.add(task)
        task.add_done_callback(self._going_on.discard)

    async def _connect(self, taken: socket.socket, connection: ClientConnection) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: connection, taken)
        except OSError:  # it has gone
            taken.close()
            self._door.hooks.closed(self._door.listener.name)
