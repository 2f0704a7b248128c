"""Connections to the PBX and to apps: pools with reuse, deadlines, and an honest word about what may have been carried out.

A request that went out is never sent again from here. Whoever asked is told, once, either the reply or how it failed
and whether the other side may have read any of it (``sent``); only the asker knows whether it is safe to repeat.
"""

import asyncio
from collections import deque
from typing import Protocol, cast

from interceptor.gateway.deadlines import Deadlines, Line
from interceptor.gateway.http1 import Http1Error, Reply, ReplyReader
from interceptor.pipeline import Fault
from interceptor.settings import Address, Limits
from interceptor.settings import Deadlines as Patience


class Errand(Protocol):
    """Who asked. Exactly one of the two is called, once."""

    def replied(self, reply: Reply) -> None: ...

    def failed(self, fault: Fault, *, sent: bool) -> None: ...


class _Job:
    """One request on its way."""

    __slots__ = ("abandoned", "data", "errand", "patience", "pool")

    def __init__(self, pool: "Pool", errand: Errand, data: bytes, patience: "Patiences") -> None:
        self.pool = pool
        self.errand = errand
        self.data = data
        self.patience = patience
        self.abandoned = False


class Patiences:
    """The two deadlines of one kind of message, shared by all connections."""

    __slots__ = ("first_byte", "queue", "total")

    def __init__(self, deadlines: Deadlines, patience: Patience) -> None:
        self.first_byte: Line[UpstreamConnection] = deadlines.line(patience.first_byte, UpstreamConnection.too_slow)
        self.total: Line[UpstreamConnection] = deadlines.line(patience.total, UpstreamConnection.too_slow)
        self.queue: Line[_Job] = deadlines.line(patience.first_byte, _give_up)


def _give_up(job: _Job) -> None:
    job.abandoned = True
    job.errand.failed(Fault.OVERLOADED if job.pool.open else Fault.UNREACHABLE, sent=False)


class UpstreamConnection(asyncio.Protocol):
    """One connection, carrying at most one request at a time."""

    __slots__ = ("_job", "_pool", "_reader", "_transport", "_unread")

    def __init__(self, pool: "Pool") -> None:
        self._pool = pool
        self._reader = ReplyReader(pool.limits.head, pool.limits.reply_body)
        self._transport: asyncio.Transport | None = None
        self._job: _Job | None = None
        self._unread = True  # no byte of the reply has come

    def send(self, job: _Job) -> None:
        """Send a request; the reply goes to its errand."""
        transport = self._transport
        assert transport is not None
        self._job = job
        self._unread = True
        patience = job.patience
        patience.first_byte.arm(self)
        patience.total.arm(self)
        transport.write(job.data)

    @property
    def usable(self) -> bool:
        """Whether a request may be sent on it now."""
        return self._transport is not None and not self._transport.is_closing()

    def too_slow(self) -> None:
        """A deadline passed."""
        self._fail(Fault.TIMEOUT)

    def close(self) -> None:
        """Close it; a request on its way fails."""
        self._fail(Fault.BROKEN)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is not a subclass of asyncio's

    def data_received(self, data: bytes) -> None:
        """Read on; hand the reply over once it is whole."""
        job = self._job
        if job is None:
            self.close()  # bytes that nobody asked for
            return
        if self._unread:
            self._unread = False
            job.patience.first_byte.disarm(self)
        reader = self._reader
        try:
            reader.push(data)
            reply = reader.take()
        except Http1Error:
            self._fail(Fault.UNREADABLE)
            return
        if reply is not None:
            self._finish(job, reply)

    def eof_received(self) -> bool:
        """The other side sends no more: the end of a reply without a length, or of an idle connection."""
        job = self._job
        if job is not None:
            try:
                reply = self._reader.end()
            except Http1Error:
                reply = None
            if reply is not None:
                self._finish(job, reply)
                return False
        self.close()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell whoever waits."""
        del exc
        self._fail(Fault.BROKEN)

    def _finish(self, job: _Job, reply: Reply) -> None:
        self._job = None
        job.patience.first_byte.disarm(self)
        job.patience.total.disarm(self)
        if reply.reusable:
            self._pool.release(self)
        else:
            self._drop()
        job.errand.replied(reply)

    def _fail(self, fault: Fault) -> None:
        job, self._job = self._job, None
        if job is not None:
            job.patience.first_byte.disarm(self)
            job.patience.total.disarm(self)
        self._drop()
        if job is not None:
            job.errand.failed(fault, sent=True)

    def _drop(self) -> None:
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
            self._pool.forget(self)


class Pool:
    """The connections to one address. At most ``limits.upstream_connections``, at most ``limits.queued`` requests waiting."""

    def __init__(
        self,
        address: Address,
        limits: Limits,
        idle: "Line[UpstreamConnection]",
        connect_seconds: float,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.address = address
        self.limits = limits
        self._idle_line = idle
        self._connect_seconds = connect_seconds
        self._loop = loop
        self._idle: list[UpstreamConnection] = []  # the last used is used first, so that the others can expire
        self._all: set[UpstreamConnection] = set()
        self._connecting: set[asyncio.Task[None]] = set()
        self._waiting: deque[_Job] = deque()
        self._closed = False

    @property
    def connections(self) -> int:
        """Open connections and those being opened."""
        return len(self._all) + len(self._connecting)

    @property
    def open(self) -> int:
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

    def send(self, errand: Errand, data: bytes, patience: Patiences) -> None:
        """Send a request as soon as a connection is free."""
        idle = self._idle
        while idle:
            connection = idle.pop()
            self._idle_line.disarm(connection)
            if connection.usable:
                connection.send(_Job(self, errand, data, patience))
                return
        if self._closed or len(self._waiting) >= self.limits.queued:
            errand.failed(Fault.OVERLOADED, sent=False)
            return
        job = _Job(self, errand, data, patience)
        self._waiting.append(job)
        patience.queue.arm(job)
        if self.connections < self.limits.upstream_connections:
            self._connect()

    def release(self, connection: UpstreamConnection) -> None:
        """A connection is free again."""
        job = self._next_job()
        if job is not None:
            # not from inside the reading of the last reply: its asker comes first
            self._loop.call_soon(self._send_or_requeue, connection, job)
        elif self._closed:
            connection.close()
        else:
            self._idle.append(connection)
            self._idle_line.arm(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        """A connection is gone."""
        self._all.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)
            self._idle_line.disarm(connection)
        if self._waiting and not self._closed and len(self._connecting) < len(self._waiting):
            self._connect()

    def close(self) -> None:
        """Close every connection; what waits fails."""
        self._closed = True
        for task in tuple(self._connecting):
            task.cancel()
        for connection in tuple(self._all):
            connection.close()
        self._fail_waiting(Fault.UNREACHABLE)

    def _send_or_requeue(self, connection: UpstreamConnection, job: _Job) -> None:
        if connection.usable:
            connection.send(job)
            return
        self._waiting.appendleft(job)
        job.patience.queue.arm(job)
        self._connect()

    def _next_job(self) -> _Job | None:
        while self._waiting:
            job = self._waiting.popleft()
            if not job.abandoned:
                job.patience.queue.disarm(job)
                return job
        return None

    def _connect(self) -> None:
        task = self._loop.create_task(self._open())
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    async def _open(self) -> None:
        connection = UpstreamConnection(self)
        try:
            async with asyncio.timeout(self._connect_seconds):
                await self._loop.create_connection(lambda: connection, self.address.host, self.address.port)
        except OSError:  # TimeoutError is one
            # The address is as good as down for all that wait: none of them was sent, so each may try elsewhere.
            self._fail_waiting(Fault.UNREACHABLE)
            return
        self._all.add(connection)
        if connection.usable:
            self.release(connection)
        else:
            self.forget(connection)

    def _fail_waiting(self, fault: Fault) -> None:
        failed = 0
        waiting = len(self._waiting)
        while failed < waiting:  # those who come back at once are not failed a second time
            failed += 1
            job = self._next_job()
            if job is None:
                return
            job.errand.failed(fault, sent=False)
