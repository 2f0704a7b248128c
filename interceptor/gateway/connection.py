"""The connections of askers: plain HTTP/1 on a listener, one request at a time, answers in the order of the requests.

A connection that does not begin with text is handed to mitmproxy's layers (``mode.py``).
"""

import asyncio
from collections.abc import Callable
from enum import Enum
from typing import Final, Protocol, cast

from msgspec import Struct

from interceptor.gateway.deadlines import NEVER, Sweeper, Timed
from interceptor.gateway.http1 import Request, RequestReader
from interceptor.gateway.http1_error import Http1Error
from interceptor.settings import Limits, Listener, Mode, Timeouts

_PLAIN_FIRST: Final = frozenset(b"\t\r\n") | frozenset(range(0x20, 0x7F))  # text: HTTP/1, or a refusal by its rules
_PIPELINED_MOST: Final = 64 << 10  # bytes of further requests that may wait while one is in flight
_LAST_SECONDS: Final = 2.0  # for each step of a connection that found no room
_LINGER_SECONDS: Final = 1.0  # after a refusal we read on this long, or the reset would overtake the answer
_SWEPT_EVERY: Final = 10  # ticks: their deadlines are seconds, and there may be thousands of them
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
MESSAGE_METHODS: Final = frozenset({"GET", "POST"})
"""Only these carry messages. HEAD and OPTIONS ask about the place, so they never reach the other side."""
_METHODS: Final = b"GET, OPTIONS, POST"
_METHODS_OF_PLACES: Final = b"GET, HEAD, OPTIONS, POST"
_REASONS: Final = {
    200: b"200 OK",
    204: b"204 No Content",
    400: b"400 Bad Request",
    405: b"405 Method Not Allowed",
    408: b"408 Request Timeout",
    413: b"413 Content Too Large",
    417: b"417 Expectation Failed",
    431: b"431 Request Header Fields Too Large",
    503: b"503 Service Unavailable",
    505: b"505 HTTP Version Not Supported",
}


class Response(Struct, gc=False):
    """What goes back to the asker. ``lines`` are header lines, each with its CRLF, the framing of ``body`` included."""

    status_line: bytes
    lines: bytes
    body: bytes

    def written(self, minor: int, keeps: bool) -> bytes:
        """All of it, for an asker of HTTP/1.``minor`` whose connection stays open or does not."""
        if minor:
            head, ending = b"HTTP/1.1 ", b"\r\n" if keeps else b"Connection: close\r\n\r\n"
        else:
            head, ending = b"HTTP/1.0 ", b"Connection: keep-alive\r\n\r\n" if keeps else b"Connection: close\r\n\r\n"
        return b"".join((head, self.status_line, b"\r\n", self.lines, ending, self.body))


def about_the_place(request: Request) -> tuple[Response, bool]:
    """The answer to a request that carries no message, and whether its method is one that may ask.

    What a command would answer to HEAD nobody can tell without carrying it out.
    """
    head = request.method == "HEAD"
    is_place = b"?" not in request.target and not (head and request.body)
    allowed = b"Allow: %b\r\n" % (_METHODS_OF_PLACES if is_place else _METHODS)
    if request.method == "OPTIONS":
        return Response(_REASONS[204], allowed, b""), True
    if head and is_place:
        return Response(_REASONS[200], b"Content-Type: application/xml\r\n", b""), True
    return Response(_REASONS[405], allowed if head else allowed + b"Content-Length: 0\r\n", b""), False


class Asker(Protocol):
    """Who waits for a response. Called once for each request."""

    def release(self, response: Response) -> None: ...


class Room(Enum):
    """Whether there is room for one more connection."""

    FREE = "free"
    LAST = "last"  # it is heard once, and answered as an overload is
    NONE = "none"


class Hooks(Protocol):
    """What a listener's connections tell: whole requests, and what is worth counting."""

    def ask(self, asker: Asker, request: Request, source: str, door: "Door") -> None: ...

    def turn_away(self, asker: Asker, request: Request, source: str, door: "Door") -> None: ...

    def refused(self, reason: str) -> None: ...

    def opened(self, listener: str) -> Room: ...

    def closed(self, listener: str, room: Room = Room.FREE) -> None: ...


class Held(Timed, Protocol):
    """A connection, whoever reads it, as its door sees it."""

    def close_when_idle(self) -> None: ...

    def abort(self) -> None: ...


class Door:
    """One listener of one worker: what all its connections share."""

    def __init__(
        self,
        listener: Listener,
        limits: Limits,
        timeouts: Timeouts,
        sweeper: Sweeper,
        hooks: Hooks,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.listener = listener
        self.limits = limits
        self.hooks = hooks
        self.now = loop.time
        self.only_tls = listener.mode is Mode.TLS
        self.idle_seconds = timeouts.idle
        self.request_seconds = timeouts.request
        self.stopping = False
        self.connections: set[Held] = set()
        self.hand_over: Callable[[asyncio.Transport, bytes], None] | None = None
        sweeper.watch(self.connections, every=_SWEPT_EVERY)

    def stop(self) -> None:
        """Serve no new request: idle connections close now, the others after their answer."""
        self.stopping = True
        for connection in tuple(self.connections):
            connection.close_when_idle()


class _Wait(Enum):
    """What a connection waits for, and so what happens when it takes too long."""

    NOTHING = "nothing"  # a request is in flight: the upstream's deadlines hold
    REQUEST = "request"  # for the first byte of a request
    REST = "rest"  # for the rest of a request
    READER = "reader"  # for the asker to read its answers
    END = "end"  # for the asker to close


class ClientConnection(asyncio.Protocol):
    """One asker's connection, which its door has counted. ``room`` says whether it may stay, ``came`` what was read."""

    __slots__ = (
        "_address_lines",
        "_busy",
        "_came",
        "_closing",
        "_door",
        "_eof",
        "_first",
        "_keeps_alive",
        "_minor",
        "_paused_reading",
        "_reader",
        "_serving",
        "_transport",
        "_waits",
        "_writable",
        "due",
        "room",
        "source",
    )

    def __init__(self, door: Door, *, room: Room = Room.FREE, came: bytes = b"") -> None:
        self._door = door
        self.room = room
        self._came = came  # less than may wait on a connection: it is never a reason to read no further
        self._reader = RequestReader(door.limits.head, door.limits.body)
        self._transport: asyncio.Transport | None = None
        self.source = ""
        self._first = True
        self._busy = False  # a request is in flight
        self._serving = False  # _serve is on the stack
        self._closing = False  # nothing more is read
        self._eof = False
        self._keeps_alive = True
        self._minor = 1
        self._writable = True
        self._waits = _Wait.REQUEST
        self.due = NEVER
        self._paused_reading = False

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with what was read, or refuse it where there are too many."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass of asyncio's
        peer = transport.get_extra_info("peername")
        self.source = peer[0] if peer else ""
        door = self._door
        door.connections.add(self)
        if self.room is Room.NONE or door.stopping:
            self._refuse("too_many_connections", 503)
            return
        self.due = door.now() + door.idle_seconds
        if self._came:
            came, self._came = self._came, b""
            self.data_received(came)

    def data_received(self, data: bytes) -> None:
        """Read on, and serve what is whole."""
        if self._closing:
            return
        if self._first:
            self._first = False
            if data[0] in _PLAIN_FIRST:
                if self._door.only_tls:  # it may hold a password, and the next one would, too
                    self._refuse("not_tls", 400)
                    return
            elif self._hand_over(data):
                return
        if not self._busy and self._writable:
            request = self._reader.take_whole(data)
            if request is not None:
                self._begin(request)
                return
            self._reader.push(data)
            self._serve()
            return
        self._reader.push(data)
        if self._reader.buffered > _PIPELINED_MOST and not self._paused_reading:
            self._paused_reading = True
            assert self._transport is not None
            self._transport.pause_reading()

    def eof_received(self) -> bool:
        """The asker sends no more; what is in flight is still answered."""
        self._eof = True
        if self._busy or not self._writable:
            return True
        if self._reader.unfinished:
            self._door.hooks.refused("incomplete")
        self.close()
        return False

    def pause_writing(self) -> None:
        """The asker does not read its answers: it gets no more of them until it does."""
        self._writable = False
        self._wait_for(_Wait.READER, self._door.request_seconds)

    def resume_writing(self) -> None:
        """The asker reads again."""
        self._writable = True
        if self._closing:
            return  # what is left is still to be taken in time
        if self._waits is _Wait.READER:
            self._wait_for(_Wait.NOTHING, NEVER)
        if not self._busy and not self._serving:
            self._serve()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it. What is in flight goes on to its settlement; nobody hears the answer."""
        del exc
        self._leave()
        self._door.hooks.closed(self._door.listener.name, self.room)

    # deadlines and ends

    def overdue(self) -> None:
        """A deadline passed."""
        match self._waits:
            case _Wait.REST:
                self._refuse("slow_sender", 408)
            case _Wait.REQUEST:
                self.close()
            case _Wait.READER | _Wait.END:
                self.abort()
            case _Wait.NOTHING:
                self.due = NEVER

    def _wait_for(self, what: _Wait, seconds: float) -> None:
        self._waits = what
        self.due = self._door.now() + seconds

    def close(self) -> None:
        """Close once what was written has gone, or nobody took it in time."""
        self._closing = True
        if self._transport is not None:
            if self._waits is not _Wait.READER:
                self._wait_for(_Wait.READER, self._door.request_seconds)
            self._transport.close()

    def abort(self) -> None:
        """Close now."""
        self._closing = True
        if self._transport is not None:
            self._transport.abort()

    def close_when_idle(self) -> None:
        """Close now if no request is in flight or on its way here, else after its answer."""
        self._keeps_alive = False
        if not (self._busy or self._reader.unfinished):
            self.close()

    # serving

    def _serve(self) -> None:
        reader = self._reader
        self._serving = True
        try:
            while not (self._busy or self._closing) and self._writable:
                request = reader.take()
                if request is None:
                    self._wait()
                    return
                self._begin(request)
        except Http1Error as error:
            self._refuse(error.reason, error.status)
        finally:
            self._serving = False

    def _wait(self) -> None:
        """The next request has not come whole."""
        reader = self._reader
        if self._paused_reading:  # whatever waits is part of one request, and has the bound of one
            self._resume_reading()
        if self._eof:
            if reader.unfinished:
                self._door.hooks.refused("incomplete")
            self.close()
        elif reader.unfinished:
            if self._waits is not _Wait.REST:
                self._wait_for(_Wait.REST, self._door.request_seconds)
            if reader.wants_continue:
                reader.wants_continue = False
                assert self._transport is not None
                self._transport.write(_CONTINUE)
        elif self._waits is not _Wait.REQUEST:
            self._wait_for(_Wait.REQUEST, self._door.idle_seconds)

    def _begin(self, request: Request) -> None:
        self._waits = _Wait.NOTHING
        self.due = NEVER
        self._busy = True
        self._minor = request.minor
        self._keeps_alive = request.keeps_alive and not self._door.stopping
        if request.method in MESSAGE_METHODS:
            self._door.hooks.ask(self, request, self.source, self._door)
            return
        answer, known = about_the_place(request)
        if not known:
            self._door.hooks.refused("method")
        self.release(answer)

    def release(self, response: Response) -> None:
        """Write the answer of the request in flight, and go on."""
        self._busy = False
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(response.written(self._minor, self._keeps_alive))
        if not self._keeps_alive:
            self.close()
            return
        if self._serving:
            return  # a request that was answered at once: the loop goes on
        if self._paused_reading and self._reader.buffered <= _PIPELINED_MOST:
            self._resume_reading()
        if self._reader.buffered or self._eof:
            self._serve()
        elif self._writable:
            self._waits = _Wait.REQUEST
            self.due = self._door.now() + self._door.idle_seconds

    def _refuse(self, reason: str, status: int) -> None:
        """Say what is wrong with what was sent, and end the connection: what follows cannot be told apart any more."""
        if self._closing:
            return
        self._closing = True
        self._door.hooks.refused(reason)
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        body = reason.encode() + b"\n"
        transport.write(
            b"HTTP/1.1 %b\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
            % (_REASONS[status], len(body), body)
        )
        if self._paused_reading:
            self._resume_reading()
        if transport.can_write_eof():
            transport.write_eof()
            self._wait_for(_Wait.END, _LINGER_SECONDS)
        else:
            transport.close()

    def _resume_reading(self) -> None:
        self._paused_reading = False
        if self._transport is not None:
            self._transport.resume_reading()

    def _hand_over(self, data: bytes) -> bool:
        hand_over = self._door.hand_over
        transport = self._transport
        if hand_over is None or transport is None:
            return False
        self._leave()
        self._door.hooks.closed(self._door.listener.name, self.room)
        hand_over(transport, data)
        return True

    def _leave(self) -> None:
        self._transport = None
        self._closing = True
        self.due = NEVER
        self._door.connections.discard(self)


class LastHeard(ClientConnection):
    """One more connection than there may be: its first request has the answer of an overload, and is its last.

    It must come soon. A connection that was only closed would cost a caller the call, and a report its delivery.
    """

    __slots__ = ()

    def __init__(self, door: Door) -> None:
        super().__init__(door, room=Room.LAST)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        super().connection_made(transport)
        if self._waits is _Wait.REQUEST:
            self._wait_for(_Wait.REQUEST, _LAST_SECONDS)

    def _wait_for(self, what: _Wait, seconds: float) -> None:
        super()._wait_for(what, min(seconds, _LAST_SECONDS))

    def _hand_over(self, data: bytes) -> bool:
        """TLS takes longer than there is room for: it is refused as what is no HTTP."""
        del data
        return False

    def release(self, response: Response) -> None:
        """Answer, and close."""
        self._keeps_alive = False
        super().release(response)

    def _begin(self, request: Request) -> None:
        if request.method not in MESSAGE_METHODS:
            super()._begin(request)
            return
        self._waits = _Wait.NOTHING
        self.due = NEVER
        self._busy = True
        self._minor = request.minor
        self._door.hooks.turn_away(self, request, self.source, self._door)
