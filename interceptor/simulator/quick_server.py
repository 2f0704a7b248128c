"""An HTTP server for a load: answers what well-behaved clients ask, at a third of the cost, and knows no faults.

It takes requests with a Content-Length or none, one after the other on a connection that stays open.
"""

import asyncio
import re
import socket
from collections.abc import Callable, Coroutine
from typing import Any, cast

from interceptor.simulator.faults import Faults
from interceptor.simulator.http_server import MAX_BODY_BYTES, Answerer, Asked, HeldPort, take_apart

_MAX_HEAD_BYTES = 64 << 10
_REQUEST = re.compile(r"([A-Z]+) (\S+) HTTP/(1\.[01])", re.ASCII)
_BAD = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class QuickServer:
    """As :class:`HttpServer`; what is injected into its ``faults`` never happens."""

    def __init__(self, answerer: Answerer, *, host: str, port: int, software: str, bare_query: bool) -> None:
        self.faults = Faults()
        self.port = 0
        self._answerer, self._bare_query = answerer, bare_query
        self._host, self._wanted_port = host, port
        self._software = software.encode()
        self._server: asyncio.Server | None = None
        self._open: set[_Connection] = set()
        self._held = HeldPort()

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    async def start(self) -> None:
        """Listen; a port that was taken once is kept over :meth:`refuse`."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(
            lambda: _Connection(self._answer, self._open), self._host, self.port or self._wanted_port, backlog=1024
        )
        self.port = self._server.sockets[0].getsockname()[1]
        self._held.release()

    async def stop(self) -> None:
        """Close the listening socket and every connection."""
        server, self._server = self._server, None
        self._held.release()
        if server is not None:
            server.close()
            for connection in list(self._open):
                connection.close()
            await server.wait_closed()

    async def refuse(self) -> None:
        """Be a machine that is down."""
        await self.stop()
        self._held.hold(self._host, self.port)

    async def accept(self) -> None:
        """Be up again, on the same port."""
        if self._server is None:
            await self.start()

    async def _answer(self, request: Asked) -> bytes:
        path, pairs = take_apart(request.target, request.body, bare_query=self._bare_query)
        given = await self._answerer(
            Asked(
                request.method,
                request.target,
                request.headers,
                request.body,
                request.source,
                request.http_version,
                path,
                pairs,
            )
        )
        return (
            b"HTTP/1.1 %d %b\r\nContent-Type: %b\r\nServer: %b\r\nContent-Length: %d\r\n"
            % (
                given.status,
                b"OK" if given.status == 200 else b"Error",
                given.content_type.encode(),
                self._software,
                len(given.body),
            )
            + (b"Connection: close\r\n\r\n" if _is_last(request) else b"\r\n")
            + given.body
        )


def _is_last(request: Asked) -> bool:
    wish = next((value.lower() for name, value in request.headers if name.lower() == "connection"), "")
    return wish == "close" or (request.http_version == "1.0" and wish != "keep-alive")


class _Connection(asyncio.Protocol):
    """One connection; requests are answered in the order in which they came."""

    def __init__(self, answer: Callable[[Asked], Coroutine[Any, Any, bytes]], among: "set[_Connection]") -> None:
        self._answer, self._among = answer, among
        self._data = b""
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None
        self._source = ""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Be open."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one without saying so
        self._source = str((transport.get_extra_info("peername") or ("",))[0])
        opened = transport.get_extra_info("socket")
        if opened is not None:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._among.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Be closed; what is being answered goes on, as it does in life."""
        del exc
        self._among.discard(self)
        self._transport = None

    def close(self) -> None:
        """Close now."""
        if self._transport is not None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        """Take bytes in, and answer the request when it is whole."""
        self._data += data
        if self._task is None:
            self._next()

    def _next(self) -> None:
        end = self._data.find(b"\r\n\r\n")
        if end < 0:
            if len(self._data) > _MAX_HEAD_BYTES:
                self._refuse()
            return
        first, *lines = self._data[:end].decode("latin-1").split("\r\n")
        found = _REQUEST.fullmatch(first)
        pairs, length = [], "0"
        for line in lines:
            name, _, value = line.partition(":")
            pairs.append((name, value := value.strip()))
            if name.lower() == "content-length":
                length = value
        if found is None or not length.isdigit() or int(length) > MAX_BODY_BYTES:
            self._refuse()
            return
        whole = end + 4 + int(length)
        if len(self._data) < whole:
            return
        body, self._data = self._data[end + 4 : whole], self._data[whole:]
        method, target, version = found.groups()
        if not target.isascii():
            target = target.encode("latin-1").decode("utf-8", "surrogateescape")
        request = Asked(method, target, tuple(pairs), body, self._source, version, "", ())
        self._task = asyncio.get_running_loop().create_task(self._give(request))

    async def _give(self, request: Asked) -> None:
        answer = await self._answer(request)
        self._task = None
        if self._transport is None:
            return
        self._transport.write(answer)
        if _is_last(request):
            self._transport.close()
        else:
            self._next()

    def _refuse(self) -> None:
        if self._transport is not None:
            self._transport.write(_BAD)
            self._transport.close()
