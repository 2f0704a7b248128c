"""Connections to the PBX and to apps: pools with reuse, deadlines, and what may have been carried out.

A request that went out is never sent again from here. Whoever asked is told, once, either the reply or how it failed
and whether the other side may have read any of it (``sent``); only the asker knows whether it is safe to repeat.
"""

import asyncio
import errno
import socket
import ssl
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol, cast

from msgspec import Struct

from interceptor.exchanges import Fault
from interceptor.gateway.deadlines import NEVER, Sweeper
from interceptor.gateway.http1 import Reply, ReplyReader
from interceptor.gateway.http1_error import Http1Error
from interceptor.settings import Address, Deadlines, Limits

_NO_DESCRIPTORS: Final = frozenset({errno.EMFILE, errno.ENFILE})  # of this process, of the system
_CAPS: Final = {"body_too_large": "reply_body", "head_too_large": "head"}


class Errand(Protocol):
    """Who asked. Exactly one of the two is called, once."""

    def replied(self, reply: Reply) -> None:
        """The whole reply is here."""

    def failed(self, fault: Fault, *, sent: bool, stale: bool = False) -> None:
        """There is no reply.

        ``sent`` says whether the other side may have read any of the request; ``stale`` that it went out on a
        connection that had carried others and broke before a byte of reply, as one does that the other side was just
        closing.
        """


class _Job:
    """A request that waits for a connection."""

    __slots__ = ("began", "behind", "data", "due", "errand", "fresh", "patience", "pool")

    def __init__(
        self, pool: "Pool", errand: Errand, data: bytes, patience: Deadlines, began: float, *, fresh: bool
    ) -> None:
        self.pool = pool
        self.fresh = fresh  # only a connection will do that has carried nothing
        self.behind = bool(pool.connected)  # others are being served: then waiting too long is overload
        self.errand = errand
        self.data = data
        self.patience = patience
        self.began = began
        self.due = began + patience.first_byte

    def overdue(self) -> None:
        """No connection became free in time."""
        self.pool.abandon(self)


class UpstreamConnection(asyncio.Protocol):
    """One connection, carrying at most one request at a time."""

    __slots__ = ("_errand", "_patience", "_pool", "_reader", "_total", "_transport", "_unread", "_used", "due")

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self._reader = ReplyReader(pool.limits.head, pool.limits.reply_body)
        self._transport: asyncio.Transport | None = None
        self._errand: Errand | None = None
        self._unread = True  # no byte of the reply has come
        self._used = False  # it carried a request before this one
        self._total = NEVER
        self.due = NEVER

    def send(self, errand: Errand, data: bytes, patience: Deadlines, now: float, began: float) -> bool:
        """Send a request, and its reply to the errand, unless the connection is gone; whether it is not.

        ``began`` is when the wait for a connection began.
        """
        transport = self._transport
        if transport is None or transport.is_closing():
            return False
        self._errand = errand
        self._unread = True
        first, total = now + patience.first_byte, began + patience.total
        self.due = min(total, first)
        self._total = total
        transport.write(data)
        return True

    def rest(self, until: float) -> None:
        """Wait for the next request, at most until then."""
        self.due = until

    @property
    def usable(self) -> bool:
        """Whether a request may be sent on it now."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def fresh(self) -> bool:
        """Whether it has carried no request yet."""
        return not self._used

    def overdue(self) -> None:
        """A deadline passed: the other side's, or that of waiting for another request."""
        self._fail(Fault.TIMEOUT)

    def close(self) -> None:
        """Close it; a request on its way fails."""
        self._fail(Fault.BROKEN)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass of asyncio's
        peer = transport.get_extra_info("peername")
        if peer:
            self._pool.peer = peer[0]

    def data_received(self, data: bytes) -> None:
        """Read on; hand the reply over once it is whole."""
        if self._errand is None:
            self.close()  # bytes that nobody asked for
            return
        reader = self._reader
        try:
            reply = reader.take_whole(data)
            if reply is None:
                reader.push(data)
                reply = reader.take()
        except Http1Error as error:
            if error.reason in _CAPS:
                self._pool.hit(_CAPS[error.reason])
            self._fail(Fault.UNREADABLE)
            return
        if reply is not None:
            self._finish(reply)
        elif self._unread:
            self._unread = False
            self.due = self._total

    def eof_received(self) -> bool:
        """The other side sends no more: the end of a reply without a length, or of an idle connection."""
        if self._errand is not None:
            try:
                reply = self._reader.end()
            except Http1Error:
                reply = None
            if reply is not None:
                self._finish(reply)
                return False
        self.close()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        del exc
        self._fail(Fault.BROKEN)

    def _finish(self, reply: Reply) -> None:
        errand, self._errand = self._errand, None
        transport = self._transport
        # A reply that came before its request has gone: what is left of that would stand before the next one.
        if reply.reusable and (transport is None or not transport.get_write_buffer_size()):
            self._used = True
            self._pool.release(self)
        else:
            self._drop()
        assert errand is not None
        errand.replied(reply)

    def _fail(self, fault: Fault) -> None:
        errand, self._errand = self._errand, None
        self._drop()
        if errand is not None:
            errand.failed(fault, sent=True, stale=self._used and self._unread and fault is Fault.BROKEN)

    def _drop(self) -> None:
        self.due = NEVER
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
            self._pool.forget(self)


class Site(Struct, frozen=True):
    """What a pool is for: an address, whether over TLS, and the app that chose it, ``""`` where config did.

    ``connect`` is how long a connection may take, in seconds; 0: as long as everywhere.
    """

    address: Address
    tls: bool = False
    guarded_for: str = ""
    connect: float = 0.0


class Pool:
    """The connections to one address.

    At most ``limits.upstream_connections``, at most ``limits.queued`` requests waiting. With ``reaches``, every address
    that the host's name leads to is asked about, and only one that may be reached is connected to.

    ``limit_hit`` is told the caps that were reached, by their names in ``limits``.
    """

    def __init__(
        self,
        address: Address,
        limits: Limits,
        *,
        connect_seconds: float,
        idle_seconds: float,
        sweeper: Sweeper,
        loop: asyncio.AbstractEventLoop,
        tls: ssl.SSLContext | None = None,
        reaches: Callable[[str], bool] | None = None,
        limit_hit: Callable[[str], None] | None = None,
    ) -> None:
        self.address = address
        self._limit_hit = limit_hit
        self._tls = tls
        self._reaches = reaches
        self.limits = limits
        self._connect_seconds = connect_seconds
        self._idle_seconds = idle_seconds
        self._loop = loop
        self._now = loop.time
        self._idle: list[UpstreamConnection] = []  # the last used is used first, so that the others can expire
        self._all: set[UpstreamConnection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._waiting: deque[_Job] = deque()
        self._closed = False
        self.peer = ""  # the address that the last connection led to
        self._sweeper = sweeper
        sweeper.watch(self._all)
        sweeper.watch(self._waiting)

    @property
    def connections(self) -> int:
        """Open connections and those being opened."""
        return len(self._all) + len(self._connecting)

    @property
    def connected(self) -> int:
        """Open connections."""
        return len(self._all)

    @property
    def idle(self) -> int:
        """Open connections without a request."""
        return len(self._idle)

    @property
    def queued(self) -> int:
        """Requests that wait for a connection."""
        return len(self._waiting)

    def send(self, errand: Errand, data: bytes, patience: Deadlines, *, fresh: bool = False) -> None:
        """Send a request as soon as a connection is free, or on a ``fresh`` one: where one that rested was stale."""
        idle = self._idle
        now = self._now()
        while idle and not fresh:
            if idle.pop().send(errand, data, patience, now, now):
                return
        if self._closed or len(self._waiting) >= self.limits.queued:
            if not self._closed:
                self.hit("queued")
            errand.failed(Fault.OVERLOADED, sent=False)
            return
        self._waiting.append(_Job(self, errand, data, patience, now, fresh=fresh))
        if self.connections < self.limits.upstream_connections:
            self._connect()
        elif idle:
            idle[0].close()  # it makes room, and the place is taken at once
        else:
            self.hit("upstream_connections")

    def hit(self, limit: str) -> None:
        """A cap was reached, by its name in ``limits``."""
        if self._limit_hit is not None:
            self._limit_hit(limit)

    def abandon(self, job: _Job) -> None:
        """A request waited too long for a connection."""
        self._waiting.remove(job)
        job.errand.failed(Fault.OVERLOADED if job.behind else Fault.UNREACHABLE, sent=False)

    def release(self, connection: UpstreamConnection) -> None:
        """A connection is free again."""
        job = self._next_for(connection) if self._waiting else None
        if job is not None:
            # not from inside the reading of the last reply: its asker comes first
            self._loop.call_soon(self._send_or_requeue, connection, job)
        elif self._closed or (self._waiting and self.connections >= self.limits.upstream_connections):
            connection.close()  # those that wait want a fresh one, and this makes room
        else:
            connection.rest(self._now() + self._idle_seconds)
            self._idle.append(connection)

    def _next_for(self, connection: UpstreamConnection) -> _Job | None:
        """Who has it next; nobody where the first in the queue wants a fresh one, and there is no room beside it."""
        full = self.connections >= self.limits.upstream_connections
        if full and self._waiting[0].fresh and not connection.fresh:
            return None
        job = next((each for each in self._waiting if connection.fresh or not each.fresh), None)
        if job is not None:
            self._waiting.remove(job)
        return job

    def forget(self, connection: UpstreamConnection) -> None:
        """A connection is gone."""
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
        if self._waiting and not self._closed and len(self._connecting) < len(self._waiting):
            self._connect()

    def close(self) -> None:
        """Close every connection; what waits fails."""
        self._closed = True
        for task in tuple(self._connecting):
            task.cancel()
        for connection in tuple(self._all):
            connection.close()
        self._fail_waiting()
        self._sweeper.forget(self._all)
        self._sweeper.forget(self._waiting)

    def _send_or_requeue(self, connection: UpstreamConnection, job: _Job) -> None:
        if connection.send(job.errand, job.data, job.patience, self._now(), job.began):
            return
        if self._closed or connection.fresh:
            # One that accepts and closes at once is not there: connecting again would go round and round.
            job.errand.failed(Fault.UNREACHABLE, sent=False)
        else:
            self._waiting.appendleft(job)
            self._connect()

    def _connect(self) -> None:
        task = self._loop.create_task(self._open())
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _open(self) -> None:
        connection = UpstreamConnection(self)
        try:
            async with asyncio.timeout(self._connect_seconds):
                host = self.address.host if self._reaches is None else await self._reachable()
                name = self.address.host if self._tls is not None else None
                await self._loop.create_connection(
                    lambda: connection, host, self.address.port, ssl=self._tls, server_hostname=name
                )
        except (OSError, ValueError, OverflowError) as error:  # TimeoutError is the first; no host or port, the others
            # The address is as good as down for all that wait: none of them was sent, so each may try elsewhere.
            ours = isinstance(error, OSError) and error.errno in _NO_DESCRIPTORS
            self._fail_waiting(Fault.OVERLOADED if ours else Fault.UNREACHABLE)
            return
        if connection.usable:
            self._all.add(connection)
            self.release(connection)
        else:
            self._fail_waiting()

    async def _reachable(self) -> str:
        """An address of the host that may be reached; the name is resolved once, so it cannot change in between."""
        assert self._reaches is not None
        found = await self._loop.getaddrinfo(self.address.host, self.address.port, type=socket.SOCK_STREAM)
        for *_, place in found:
            if self._reaches(str(place[0])):
                return str(place[0])
        raise ConnectionRefusedError(f"no address of {self.address.host} may be reached")

    def _fail_waiting(self, fault: Fault = Fault.UNREACHABLE) -> None:
        for _ in range(len(self._waiting)):  # those who come back at once are not failed a second time
            self._waiting.popleft().errand.failed(fault, sent=False)
