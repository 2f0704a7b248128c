"""HTTP for the admin pages: a coroutine for each connection, over the reader of the gateway (``docs/adr/0004``).

Laws of this module:

* What two parsers could read differently is refused, and ends the connection.
* Every wait for a peer has an end, and there is a bound for connections: who is slow or many keeps nobody else out
  for long, and nobody for ever.
* One request of a connection after the other. Once asked, a page is made to its end, whether its asker waits or not.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Final

from msgspec import Struct

from interceptor.gateway.http1 import Request, RequestReader
from interceptor.gateway.http1_error import Http1Error
from interceptor.settings import Address

PATIENCE_SECONDS: Final = 30.0  # for a whole request, from the last answer on, and for an answer to be taken
STOP_SECONDS: Final = 1.0  # for the answers that are being made when it stops
MOST_CONNECTIONS: Final = 256
REQUEST_BYTES: Final = 4096  # of a head, and of a body: nobody has anything to post here
_LINGER_SECONDS: Final = 1.0  # after a refusal we read on this long, or the reset would overtake the answer
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


class Answer(Struct, frozen=True):
    """What goes back. ``headers`` are further ones."""

    status: int
    content_type: str
    body: bytes
    headers: tuple[tuple[str, str], ...] = ()


class HttpServer:
    """Takes connections, has ``answer`` called for each request, and writes what it gives."""

    def __init__(
        self,
        answer: Callable[[Request], Awaitable[Answer]],
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        most_connections: int = MOST_CONNECTIONS,
    ) -> None:
        self._answer = answer
        self._patience_seconds = patience_seconds
        self._most_connections = most_connections
        self._server: asyncio.Server | None = None
        self._stopping = False
        self._connections: set[asyncio.Task[None]] = set()
        self._busy: set[asyncio.Task[None]] = set()  # those of which a request is being answered

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._connections)

    async def start(self, address: Address) -> Address:
        """Listen; the address with the port that is really used. Raises :class:`OSError`."""
        self._server = await asyncio.start_server(self._serve, address.host, address.port)
        host, port = self._server.sockets[0].getsockname()[:2]
        return Address(host, port)

    async def stop(self) -> None:
        """Listen no more; requests being answered have a moment to end."""
        if self._server is None:
            return
        self._stopping = True
        self._server.close()
        for idle in self._connections - self._busy:
            idle.cancel()
        if self._busy:
            await asyncio.wait(tuple(self._busy), timeout=STOP_SECONDS)
        for late in tuple(self._connections):
            late.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._connections) >= self._most_connections or self._stopping:
            writer.transport.abort()
            return
        self._connections.add(task)
        try:
            writer.transport.set_write_buffer_limits(0)  # an answer is written when it has been taken
            await self._converse(task, reader, writer)
        except TimeoutError:
            writer.transport.abort()
        except OSError:
            pass  # the peer is gone: nobody is left to tell
        finally:
            self._connections.discard(task)
            self._busy.discard(task)
            writer.close()

    async def _converse(
        self, task: asyncio.Task[None], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        requests = RequestReader(REQUEST_BYTES, REQUEST_BYTES)
        keeps = True
        while keeps:
            try:
                async with asyncio.timeout(self._patience_seconds):
                    request = await _next(requests, reader, writer)
            except Http1Error as fault:
                await self._refuse(fault, reader, writer)
                return
            if request is None:
                return
            self._busy.add(task)
            answer = await self._answer(request)
            keeps = request.keeps_alive and not self._stopping
            async with asyncio.timeout(self._patience_seconds):
                await _write(writer, answer, minor=request.minor, keeps=keeps, headless=request.method == "HEAD")
            self._busy.discard(task)

    async def _refuse(self, fault: Http1Error, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        status = 413 if fault.status == 413 else 400
        answer = Answer(status, "text/plain; charset=utf-8", f"{fault.reason}\n".encode())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                await _write(writer, answer, minor=1, keeps=False, headless=False)
                if writer.can_write_eof():
                    writer.write_eof()
                while await reader.read(REQUEST_BYTES):
                    pass


async def _next(requests: RequestReader, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
    """The next request; none where the peer has closed. Raises :class:`Http1Error`."""
    while (request := requests.take()) is None:
        if requests.wants_continue:
            requests.wants_continue = False
            writer.write(_CONTINUE)
        data = await reader.read(REQUEST_BYTES)
        if not data:
            return None
        requests.push(data)
    return request


async def _write(writer: asyncio.StreamWriter, answer: Answer, *, minor: int, keeps: bool, headless: bool) -> None:
    lines = [
        f"HTTP/1.{int(minor)} {answer.status} {HTTPStatus(answer.status).phrase}",
        f"Content-Type: {answer.content_type}",
        f"Content-Length: {len(answer.body)}",
        f"Date: {formatdate(usegmt=True)}",
        *(f"{name}: {value}" for name, value in answer.headers),
    ]
    if not keeps:
        lines.append("Connection: close")
    elif not minor:
        lines.append("Connection: keep-alive")
    head = "\r\n".join([*lines, "\r\n"]).encode()
    writer.write(head if headless else head + answer.body)
    await writer.drain()
