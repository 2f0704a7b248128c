"""Copies of messages for other places, whose answers nobody waits for.

Laws: sending a copy happens after the message itself is on its way, on connections and in queues that no message uses;
whatever becomes of it, the exchange does not hear of it. What finds no room is dropped and counted.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

from interceptor.exchanges import Copy, Fault
from interceptor.gateway.clusters import ClusterRoute
from interceptor.gateway.deadlines import Sweeper
from interceptor.gateway.http1 import Reply
from interceptor.gateway.upstream import Pool
from interceptor.settings import Address, Deadlines, Limits
from interceptor.values import ToCluster

log = logging.getLogger(__name__)

MARK: Final = "x-interceptor-mirror"
"""The header of a copy, in lower case: the id of the exchange that it is a copy of."""
CONNECTIONS: Final = 4  # to each address
QUEUED: Final = 256  # copies that wait or are on their way
QUEUED_BYTES: Final = 16 << 20
ADDRESSES: Final = 64
DEADLINES: Final = Deadlines(5.0, 10.0)
_REPLY_BYTES: Final = 4 << 20
_OUTCOMES: Final = {
    Fault.OVERLOADED: "full",
    Fault.UNREACHABLE: "unreachable",
    Fault.TIMEOUT: "timeout",
    Fault.BROKEN: "broken",
    Fault.UNREADABLE: "unreadable",
}


class Mirrors:
    """Sends the copies of one worker. ``count`` is told the outcome of each."""

    def __init__(
        self,
        clusters: Mapping[str, ClusterRoute],
        *,
        connect_seconds: float,
        idle_seconds: float,
        sweeper: Sweeper,
        loop: asyncio.AbstractEventLoop,
        count: Callable[[str], None],
    ) -> None:
        self._clusters = clusters
        self._connect_seconds = connect_seconds
        self._idle_seconds = idle_seconds
        self._sweeper = sweeper
        self._loop = loop
        self._count = count
        self._limits = Limits(upstream_connections=CONNECTIONS, queued=QUEUED, reply_body=_REPLY_BYTES)
        self._pools: dict[Address, Pool] = {}
        self._copies = 0
        self._bytes = 0
        self._closed = False

    def send(self, copies: tuple[Copy, ...], exchange: str, headers: Mapping[str, str]) -> None:
        """Send these copies of a message that came with ``headers``, as soon as there is nothing better to do."""
        for copy in copies:
            size = len(copy.path) + len(copy.body)
            if MARK in headers:
                self._count("loop")
            elif self._closed or self._copies >= QUEUED or self._bytes + size > QUEUED_BYTES:
                self._count("full")
            else:
                self._copies += 1
                self._bytes += size
                self._loop.call_soon(self._send, copy, exchange, size)

    def close(self) -> None:
        """Close all connections; the copies on them are dropped."""
        self._closed = True
        for pool in self._pools.values():
            pool.close()

    def ended(self, size: int, outcome: str) -> None:
        """A copy was answered or dropped."""
        self._copies -= 1
        self._bytes -= size
        self._count(outcome)

    def _send(self, copy: Copy, exchange: str, size: int) -> None:
        try:
            self._begin(copy, exchange, size)
        except Exception:  # a copy must not end what it is a copy of
            log.exception("a copy of exchange %s could not be sent", exchange)
            self.ended(size, "broken")

    def _begin(self, copy: Copy, exchange: str, size: int) -> None:
        target, path = copy.target, copy.path
        if isinstance(target, ToCluster):
            endpoint = self._clusters[target.cluster].choose(())
            if endpoint is None:
                self.ended(size, "unreachable")
                return
            host = endpoint.host
            if endpoint.path:
                path = endpoint.path + (path[1:] if path[:2] == b"/?" else path)
        else:
            host = target.url.split("/", 3)[2].partition("?")[0]
        pool = self._pool_for(_address(host))
        if pool is None:
            self.ended(size, "full")
        else:
            pool.send(_Copying(self, size), _request(copy, path, host, exchange), DEADLINES)

    def _pool_for(self, address: Address) -> Pool | None:
        pool = self._pools.get(address)
        if pool is None and len(self._pools) < ADDRESSES and not self._closed:
            pool = self._pools[address] = Pool(
                address,
                self._limits,
                connect_seconds=self._connect_seconds,
                idle_seconds=self._idle_seconds,
                sweeper=self._sweeper,
                loop=self._loop,
            )
        return pool


class _Copying:
    """The errand of one copy."""

    __slots__ = ("_mirrors", "_size")

    def __init__(self, mirrors: Mirrors, size: int) -> None:
        self._mirrors = mirrors
        self._size = size

    def replied(self, reply: Reply) -> None:
        """The other place answered; nobody reads what."""
        del reply
        self._mirrors.ended(self._size, "answered")

    def failed(self, fault: Fault, *, sent: bool, stale: bool = False) -> None:
        """The other place did not."""
        del sent, stale
        self._mirrors.ended(self._size, _OUTCOMES.get(fault, "broken"))


def _address(host: str) -> Address:
    name, _, port = host.rpartition(":")
    return Address(name.strip("[]"), int(port)) if port.isdigit() and name else Address(host.strip("[]"), 80)


def _request(copy: Copy, path: bytes, host: str, exchange: str) -> bytes:
    lines = b"Host: %b\r\nX-Interceptor-Mirror: %b\r\n" % (host.encode("latin-1"), exchange.encode("latin-1"))
    if copy.method == "GET":
        return b"GET %b HTTP/1.1\r\n%b\r\n" % (path, lines)
    kind = copy.content_type.encode("latin-1")
    return b"POST %b HTTP/1.1\r\n%bContent-Type: %b\r\nContent-Length: %d\r\n\r\n%b" % (
        path,
        lines,
        kind,
        len(copy.body),
        copy.body,
    )
