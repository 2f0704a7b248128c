"""mitmproxy's own layers (TLS, transparent, HTTP/2) through the same pipeline: one small addon.

mitmproxy forwards a request whose addon raised. So a refusal stands in the flow before we think, and only a whole
answer replaces it; mitmproxy itself never connects to anything.
"""

import asyncio
import logging
from collections.abc import Mapping

from mitmproxy import http

from interceptor.gateway.connection import Door, Hooks, Response
from interceptor.gateway.http1 import Http1Error, Request, read_block

log = logging.getLogger(__name__)

_CARRIED = frozenset({"GET", "POST"})
_DROPPED = frozenset({b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"expect"})


class PipelineAddon:
    """Answers every flow with what the pipeline makes of it."""

    def __init__(self, doors: Mapping[str, Door], hooks: Hooks, answer_seconds: float) -> None:
        self._doors = doors  # by the mode's specification, as mitmproxy was given it
        self._hooks = hooks
        self._answer_seconds = answer_seconds

    async def request(self, flow: http.HTTPFlow) -> None:
        """mitmproxy has read a whole request."""
        flow.response = http.Response.make(503, b"not decided\n", {"Content-Type": "text/plain"})
        try:
            flow.response = await self._answer(flow)
        except Http1Error as error:
            self._hooks.refused(error.reason)
            flow.response = http.Response.make(error.status, error.reason + "\n", {"Content-Type": "text/plain"})
        except TimeoutError:
            log.error("a flow was not answered in %s seconds", self._answer_seconds)  # noqa: TRY400 - it says all

    async def _answer(self, flow: http.HTTPFlow) -> http.Response:
        if flow.request.method not in _CARRIED:
            return http.Response.make(405, b"", {"Allow": "GET, POST"})
        door = self._doors[flow.client_conn.proxy_mode.full_spec]
        asker = _Waiting()
        self._hooks.ask(asker, _request_of(flow.request), flow.client_conn.peername[0], door)
        async with asyncio.timeout(self._answer_seconds):
            response = await asker.response
        status, _, reason = response.status_line.partition(b" ")
        fields = [_field(line) for line in response.lines.split(b"\r\n") if line]
        kept = [(name, value) for name, value in fields if name.lower() not in _DROPPED]
        answer = http.Response.make(int(status), response.body, kept)
        answer.reason = reason.decode("latin-1")
        return answer


class _Waiting:
    """An asker that is a task."""

    def __init__(self) -> None:
        self.response: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

    def release(self, response: Response) -> None:
        """Wake the task."""
        if not self.response.done():
            self.response.set_result(response)


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name, value.strip(b" \t")


def _request_of(request: http.Request) -> Request:
    """The request as the gateway would have read it. Raises :class:`Http1Error` where it would not."""
    body = request.raw_content or b""
    lines = [
        b"%b: %b\r\n" % (name, value)
        for name, value in request.headers.fields
        if name.lower() not in _DROPPED and not name.startswith(b":")
    ]
    if "host" not in request.headers and request.authority:
        lines.insert(0, b"Host: %b\r\n" % request.authority.encode())
    if body:
        lines.append(b"Content-Length: %d\r\n" % len(body))
    block = read_block(b"".join(lines))
    target = request.path.encode("utf-8", "surrogateescape")
    minor = request.http_version != "HTTP/1.0"
    return Request(request.method, target, minor, block, body)
