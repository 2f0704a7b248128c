"""Taking connections off listening sockets, and the short way for those that came for one answer.

Who closes after each answer, as the PBX does, has mostly sent its whole request by the time that its connection is
taken. So each begins as a :class:`Visit`, which is read once. With one whole request after which it closes, it is
answered and closed, the answer and the end in one segment, and the event loop never hears of it (``docs/adr/0021``).
Where nothing has come, it waits, within the time that all have who send nothing.

Every other goes the long way, over a transport of the event loop to a :class:`ClientConnection`, which is given what
was read: whatever is not whole, stays open, is no plain request, or finds no room. So does the rest of an answer that
its asker does not take at once. The other bounds and deadlines of connections are there, and a visit needs none: while
its request is in flight, those of the exchange hold.
"""

import asyncio
import logging
import socket
from typing import Final, cast

from interceptor.gateway.connection import MESSAGE_METHODS, ClientConnection, Door, LastHeard, Response, Room
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


def _pass_over(taken: socket.socket) -> None:
    """Read what came after the request: unread, it would make a reset of the end, and cost the asker its answer."""
    try:
        taken.recv(_READ, _NOW)
    except OSError:
        return  # nothing came


class Visit:
    """A connection that came for one answer, as far as can be seen: it becomes another if it did not."""

    __slots__ = ("_door", "_minor", "_source", "_taken", "_taker", "_waits", "due")

    def __init__(self, taker: "Taker", taken: socket.socket, source: str) -> None:
        self._taker = taker
        self._door = taker.door
        self._taken: socket.socket | None = taken
        self._source = source
        self._waits = False  # for what its asker sends
        self._minor = 1
        self.due = NEVER
        self._door.connections.add(self)

    def read(self) -> None:
        """Serve what has come, and wait for it where nothing has."""
        taken, door = self._taken, self._door
        assert taken is not None
        try:
            came = taken.recv(_READ, _NOW)
        except BlockingIOError:
            self._wait(taken)
            return
        except OSError:
            came = b""
        if not came:
            self.abort()  # it has ended
            return
        self._wait_no_more(taken)
        request = whole_request(came, door.limits.head, door.limits.body)
        if request is None or request.keeps_alive or request.method not in MESSAGE_METHODS:
            self._go_on(taken, ClientConnection(door, came=came))
            return
        self._minor = request.minor
        door.hooks.ask(self, request, self._source, door)

    def release(self, response: Response) -> None:
        """Answer, with all that are answered in this turn of the loop: the first wakes its asker for the others."""
        self._taker.leave(self, response.written(self._minor, False))

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
            self._go_on(taken, _Rest(self._door, answer[sent:]))
            return
        _pass_over(taken)
        self.abort()

    def abort(self) -> None:
        """Close now."""
        taken, self._taken = self._taken, None
        if taken is not None:
            self._wait_no_more(taken)
            taken.close()
            self._door.connections.discard(self)
            self._door.hooks.closed(self._door.listener.name)

    def close_when_idle(self) -> None:
        """Close now if nothing has come; else its answer is its end."""
        if self._waits:
            self.abort()

    def overdue(self) -> None:
        """It has sent nothing for too long."""
        self.abort()

    def _wait(self, taken: socket.socket) -> None:
        if not self._waits:
            self._waits = True
            self.due = self._door.now() + self._door.idle_seconds
            self._taker.loop.add_reader(taken, self.read)

    def _wait_no_more(self, taken: socket.socket) -> None:
        if self._waits:
            self._waits = False
            self.due = NEVER
            self._taker.loop.remove_reader(taken)

    def _go_on(self, taken: socket.socket, connection: ClientConnection) -> None:
        """What is left is for a connection of the other sort."""
        self._taken = None
        self._taker.go_the_long_way(taken, connection, self)


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
        self.door = door
        self._listening = listening
        self.loop = loop
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
        self.loop.remove_reader(self._listening)
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
        door = self.door
        room = door.hooks.opened(door.listener.name)
        if room is Room.FREE and not door.stopping and not door.only_tls:
            Visit(self, taken, source).read()
        elif room is Room.LAST and not door.only_tls:
            self.go_the_long_way(taken, LastHeard(door))
        else:
            self.go_the_long_way(taken, ClientConnection(door, room=room if room is Room.FREE else Room.NONE))

    def _pause(self, fault: OSError) -> None:
        """The system has no room for another connection: those that come wait until it has."""
        log.warning("listener %s takes no connections for a moment: %s", self.door.listener.name, fault.strerror)
        self.loop.remove_reader(self._listening)
        self._paused = self.loop.call_later(_PAUSE_SECONDS, self._resume)

    def _resume(self) -> None:
        self.loop.add_reader(self._listening, self._take)

    def leave(self, visit: Visit, answer: bytes) -> None:
        """Let it end at the end of this turn of the loop."""
        if not self._leaving:
            self.loop.call_soon(self._leave)
        self._leaving.append((visit, answer))

    def _leave(self) -> None:
        leaving, self._leaving = self._leaving, []
        for visit, answer in leaving:
            visit.end(answer)

    # the long way

    def go_the_long_way(self, taken: socket.socket, connection: ClientConnection, visit: Visit | None = None) -> None:
        """Leave a connection, which its door has counted, to the event loop; until then it is the ``visit`` it was."""
        task = self.loop.create_task(self._connect(taken, connection, visit))
        self._going_on.add(task)
        task.add_done_callback(self._going_on.discard)

    async def _connect(self, taken: socket.socket, connection: ClientConnection, visit: Visit | None) -> None:
        try:
            await self.loop.connect_accepted_socket(lambda: connection, taken)
        except OSError:  # it has gone
            taken.close()
            self.door.hooks.closed(self.door.listener.name, connection.room)
        if visit is not None:
            self.door.connections.discard(visit)
