"""The HTTP server under both the simulated PBX and the simulated app: aiohttp's, with faults on top."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import parse_qsl, unquote

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from msgspec import Struct

from interceptor.simulator import faults as f
from interceptor.simulator.events import Pairs
from interceptor.simulator.faults import Faults

MAX_BODY_BYTES = 8 << 20
MAX_LINE_BYTES = 64 << 10
"""Of the request line, which holds the whole of a command by GET, and of each header."""
GRACE_SECONDS = 0.2
"""How long a request in flight may go on when the server stops; nobody waits for what they have hung themselves."""


def _briefly(record: logging.LogRecord) -> bool:
    """Somebody who sends what cannot be read gets a line in the log; the place in aiohttp tells nobody anything."""
    fault = record.exc_info[1] if record.exc_info else None
    if isinstance(fault, HttpProcessingError):
        record.levelno, record.levelname = logging.WARNING, "WARNING"
        # What stands behind the colon are the bytes themselves, a password perhaps among them.
        reason = fault.message.partition(":")[0].strip().removesuffix(" when reading")
        record.msg, record.exc_info = f"a request from %s cannot be read: {reason.replace('%', '%%')}", None
    return True


log = logging.getLogger(__name__)
log.addFilter(_briefly)


class Asked(Struct, frozen=True):
    """One whole request; ``target`` is as it stood in the request line, ``pairs`` are its parameters in order."""

    method: str
    target: str
    headers: Pairs
    body: bytes
    source: str
    http_version: str
    path: str
    pairs: Pairs


class Given(Struct, frozen=True):
    """One answer, and the name of the message it is for (that is what faults are chosen by)."""

    name: str
    body: bytes
    content_type: str = "application/xml"
    status: int = 200


Answerer = Callable[[Asked], Awaitable[Given]]


def read_pairs(text: str) -> Pairs:
    """The parameters of a query or a form, decoded once; bytes that are no UTF-8 stay as surrogates."""
    return tuple(parse_qsl(text, keep_blank_values=True, errors="surrogateescape", max_num_fields=10_000))


def take_apart(target: str, body: bytes, *, bare_query: bool) -> tuple[str, Pairs]:
    """Path and parameters of a request; with ``bare_query``, ``/command=X`` counts as ``/?command=X``."""
    path, mark, query = target.partition("?")
    if bare_query and not mark and "=" in path:
        folder, _, query = path.rpartition("/")
        path = folder + "/"
    return unquote(path), read_pairs(query) + read_pairs(body.decode("utf-8", "surrogateescape"))


class HeldPort:
    """A port kept from everybody else while nobody listens on it: connections to it are refused.

    Without it another connection could have it for its own end meanwhile, and whoever comes back could not listen.
    """

    def __init__(self) -> None:
        self._held: socket.socket | None = None

    def hold(self, host: str, port: int) -> None:
        """Keep it, as far as the system allows."""
        self.release()
        held = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            held.bind((host, port))
        except OSError:
            held.close()
        else:
            self._held = held

    def release(self) -> None:
        """Somebody listens again, or nobody ever will."""
        held, self._held = self._held, None
        if held is not None:
            held.close()


class HttpServer:
    """Listens on ``host:port`` (0: a free one) between ``start`` and ``stop``; can refuse connections meanwhile."""

    def __init__(self, answerer: Answerer, *, host: str, port: int, software: str, bare_query: bool) -> None:
        self.faults = Faults()
        self.connections_accepted = 0
        self._answerer = answerer
        self._host, self._wanted_port = host, port
        self._software = software
        self._bare_query = bare_query
        self._runner: web.ServerRunner | None = None
        self._stopping = asyncio.Event()
        self._held = HeldPort()
        self.port = 0

    @property
    def url(self) -> str:
        """Where it listens, without a slash at the end."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self.port}"

    async def start(self) -> None:
        """Listen; a port that was taken once is kept over :meth:`refuse`."""
        self._stopping = asyncio.Event()
        runner = web.ServerRunner(
            web.Server(
                self._handle,
                access_log=None,
                logger=log,
                keepalive_timeout=75.0,
                max_line_size=MAX_LINE_BYTES,
                max_field_size=MAX_LINE_BYTES,
            ),
            handle_signals=False,
            shutdown_timeout=GRACE_SECONDS,
        )
        await runner.setup()
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((self._host, self.port or self._wanted_port))
            self.port = listening.getsockname()[1]
            await web.SockSite(runner, listening).start()
        except BaseException:
            listening.close()
            await runner.cleanup()
            raise
        self._runner = runner
        self._held.release()

    async def stop(self) -> None:
        """Close the listening socket and every connection."""
        runner, self._runner = self._runner, None
        self._held.release()
        self._stopping.set()
        if runner is not None:
            await runner.cleanup()

    async def refuse(self) -> None:
        """Be a machine that is down: connections are closed, new ones refused."""
        await self.stop()
        self._held.hold(self._host, self.port)

    async def accept(self) -> None:
        """Be up again, on the same port."""
        if self._runner is None:
            await self.start()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await self._read_body(request)
        path, pairs = take_apart(request.raw_path, body, bare_query=self._bare_query)
        version = request.version
        given = await self._answerer(
            Asked(
                method=request.method,
                target=request.raw_path,
                headers=tuple((_text(name), _text(value)) for name, value in request.raw_headers),
                body=body,
                source=request.remote or "",
                http_version=f"{version.major}.{version.minor}",
                path=path,
                pairs=pairs,
            )
        )
        return await self._give(request, given, self.faults.take(given.name))

    async def _read_body(self, request: web.BaseRequest) -> bytes:
        pieces: list[bytes] = []
        size = 0
        async for piece in request.content.iter_any():
            size += len(piece)
            if size > MAX_BODY_BYTES:
                raise web.HTTPRequestEntityTooLarge(MAX_BODY_BYTES, size)
            pieces.append(piece)
        return b"".join(pieces)

    def _response(self, given: Given) -> web.Response:
        headers = {"Content-Type": given.content_type, "Server": self._software}
        return web.Response(body=given.body, status=given.status, headers=headers)

    async def _give(self, request: web.BaseRequest, given: Given, fault: f.Fault | None) -> web.StreamResponse:
        match fault:
            case f.Hang(seconds=seconds):
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), seconds)
                return self._cut(request, given)
            case f.CloseWithoutAnswer():
                return self._cut(request, given)
            case f.NotHttp(data=data):
                if request.transport is not None:
                    request.transport.write(data)
                return self._cut(request, given)
            case f.HttpStatus(status=status):
                page = f"<html><body><h1>{status}</h1></body></html>".encode()
                return self._response(Given(given.name, page, "text/html", status))
            case f.Rubbish(body=body, content_type=content_type):
                return self._response(Given(given.name, body, content_type))
            case f.CloseMidAnswer(body_bytes=count):
                return await self._pieces(request, given, [given.body[:count]], cut=True)
            case f.SlowBytes(step_bytes=step, pause_seconds=pause):
                return await self._pieces(request, given, _steps(given.body, step), pause_seconds=pause)
            case f.Chunked(step_bytes=step) if request.version >= (1, 1):
                return await self._pieces(request, given, _steps(given.body, step), chunked=True)
            case f.CloseAfterAnswer():
                response = self._response(given)
                response.force_close()
                return response
            case _:
                return self._response(given)

    def _cut(self, request: web.BaseRequest, given: Given) -> web.StreamResponse:
        """Close the connection; what is returned goes nowhere."""
        if request.transport is not None:
            request.transport.close()
        response = self._response(given)
        response.force_close()
        return response

    async def _pieces(
        self,
        request: web.BaseRequest,
        given: Given,
        pieces: list[bytes],
        *,
        pause_seconds: float = 0.0,
        chunked: bool = False,
        cut: bool = False,
    ) -> web.StreamResponse:
        headers = {"Content-Type": given.content_type, "Server": self._software}
        response = web.StreamResponse(status=given.status, headers=headers)
        if chunked:
            response.enable_chunked_encoding()
        else:
            response.content_length = len(given.body)
        with suppress(ConnectionError):
            await response.prepare(request)
            for piece in pieces:
                if pause_seconds:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._stopping.wait(), pause_seconds)
                        break
                await response.write(piece)
            if cut:
                if request.transport is not None:
                    request.transport.close()
                response.force_close()
            else:
                await response.write_eof()
        return response


def _steps(body: bytes, step: int) -> list[bytes]:
    return [body[at : at + step] for at in range(0, len(body), step)]


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
