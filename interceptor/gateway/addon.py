"""mitmproxy's own layers (TLS, HTTP/2) through the same pipeline: one small addon.

It says which layers a connection gets: TLS where it begins with a hello, HTTP/2 where that was agreed on, and else
HTTP/1 as every listener reads it (``http1_layer.py``).

With HTTP/2, mitmproxy makes flows, and forwards one whose addon raised. So a refusal stands in the flow before we
think, and only a whole answer replaces it; mitmproxy itself never connects to anything. What it read is written down as
HTTP/1.1 and read again by the gateway's own reader: the same requests pass, with the same caps, and nothing that HTTP/2
may carry becomes another message in HTTP/1.
"""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any, Final, Protocol

from mitmproxy import connection, http
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import Layer, NextLayer
from mitmproxy.proxy.server import ConnectionHandler, ConnectionIO
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from mitmproxy.tls import TlsData

from interceptor.gateway.circles import Http2Layer, Leavings, take_apart
from interceptor.gateway.connection import MESSAGE_METHODS, Door, Hooks, Response, about_the_place
from interceptor.gateway.deadlines import NEVER
from interceptor.gateway.http1 import Request, RequestReader
from interceptor.gateway.http1_error import Http1Error
from interceptor.gateway.http1_layer import Http1Layer, Intake
from interceptor.gateway.tls_layer import TlsLayer
from interceptor.settings import Limits

log = logging.getLogger(__name__)

_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})
_DROPPED: Final = _FRAMING | {b"connection", b"keep-alive"}
_HELLO: Final = 0x16  # the first byte of a TLS connection
_LAST_ANSWER_SECONDS: Final = 0.5  # for the layers to write an answer out before a stopping worker closes


class LayerHooks(Hooks, Protocol):
    """What connections in mitmproxy's layers tell."""

    def handed_over(self, listener: str) -> None: ...


class PipelineAddon:
    """Answers every flow with what the pipeline makes of it, and keeps an eye on the connections.

    ``doors`` are the listeners by name; ``serving`` is what serves each connection, by its id.
    """

    name = "nextlayer"  # mitmproxy warns where nobody of this name says what the layers are

    def __init__(
        self,
        doors: Mapping[str, Door],
        hooks: Hooks,
        answer_seconds: float,
        serving: Mapping[Any, ConnectionHandler],
    ) -> None:
        self._doors = doors
        self._hooks = hooks
        self._answer_seconds = answer_seconds
        self._serving = serving
        self._connections: dict[str, _Connection] = {}
        self._leavings = Leavings()

    # mitmproxy's hooks

    def client_connected(self, client: connection.Client) -> None:
        """A connection was handed over, which kept its place."""
        door = self._doors[client.proxy_mode.data]
        if door.stopping:
            client.error = "we are told to end"
        streams = self._serving[client.id].transports[client]
        self._connections[client.id] = _Connection(door, self._hooks, streams)

    def next_layer(self, next_layer: NextLayer) -> None:
        """What is to be made of the bytes of a connection."""
        context = next_layer.context
        held = self._connections.get(context.client.id)
        if held is None:
            return  # it has gone meanwhile
        if context.client.tls_established:
            next_layer.layer = self._over_tls(context, held)
        elif next_layer.data_client()[0] == _HELLO:
            next_layer.layer = TlsLayer(context)
        else:
            next_layer.layer = held.speak_http1(context, self._serving[context.client.id])

    def tls_established_client(self, data: TlsData) -> None:
        """Both sides speak TLS."""
        held = self._connections.get(data.context.client.id)
        if held is not None:
            held.agreed()

    def _over_tls(self, context: Context, held: "_Connection") -> Layer | None:
        match context.client.alpn:
            case b"h2":
                return Http2Layer(context)
            case None | b"" | b"http/1.1" | b"http/1.0":
                return held.speak_http1(context, self._serving[context.client.id])
            case _:
                held.abort()  # nobody here speaks that
                return None

    def client_disconnected(self, client: connection.Client) -> None:
        """It is gone."""
        known = self._connections.pop(client.id)
        known.forget()
        take_apart(self._serving[client.id])
        self._leavings.more()
        self._hooks.closed(known.door.listener.name)

    def server_connect(self, data: ServerConnectionHookData) -> None:
        """mitmproxy would connect somewhere: never."""
        data.server.error = "not decided"

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """The head of a request is here; the rest has its time."""
        self._connections[flow.client_conn.id].expect_rest()

    async def request(self, flow: http.HTTPFlow) -> None:
        """mitmproxy has read a whole request."""
        flow.response = _plain(503, "not decided")
        held = self._connections[flow.client_conn.id]
        held.begin()
        try:
            flow.response = await self._answer(flow, held.door)
        except Http1Error as error:
            self._hooks.refused(error.reason)
            flow.response = _plain(error.status, error.reason)
        except TimeoutError:
            log.error("a flow was not answered in %s seconds", self._answer_seconds)  # noqa: TRY400 - it says all
        finally:
            held.end()
            self._leavings.more(len(flow.request.raw_content or b"") + len(flow.response.raw_content or b""))

    async def _answer(self, flow: http.HTTPFlow, door: Door) -> http.Response:
        request = _request_of(flow.request, door.limits)
        if request.method in MESSAGE_METHODS:
            asker = _Waiting()
            self._hooks.ask(asker, request, flow.client_conn.peername[0], door)
            async with asyncio.timeout(self._answer_seconds):
                response = await asker.response
        else:
            response, known = about_the_place(request)
            if not known:
                self._hooks.refused("method")
        status, _, reason = response.status_line.partition(b" ")
        fields = [_field(line) for line in response.lines.split(b"\r\n") if line]
        kept = [(name, value) for name, value in fields if name.lower() not in _DROPPED]
        answer = http.Response.make(int(status), response.body, kept)
        answer.reason = reason.decode("latin-1")
        if request.method not in MESSAGE_METHODS and not response.body:
            del answer.headers["content-length"]  # there is none to tell of, and 204 must not have one (RFC 9110, 8.6)
        return answer


class _Connection:
    """One connection in mitmproxy's layers, as its door sees it.

    To agree on TLS may take the time of one request. With HTTP/2, the next request must be here, whole, within the time
    that a connection may be idle; what follows a head, within the time of one request. With HTTP/1, its deadlines are
    those of what reads it.
    """

    __slots__ = ("_agreed", "_hooks", "_in_flight", "_intake", "_streams", "_transport", "door", "due")

    def __init__(self, door: Door, hooks: Hooks, streams: ConnectionIO) -> None:
        assert isinstance(streams.writer, asyncio.StreamWriter)  # all our listeners are TCP
        assert isinstance(streams.reader, Intake)
        self.door = door
        self._hooks = hooks
        self._streams = streams
        self._agreed = False  # on how to speak
        self._intake = streams.reader
        self._transport = streams.writer.transport
        self._in_flight = 0
        self.due = door.now() + door.request_seconds
        door.connections.add(self)

    def agreed(self) -> None:
        """It may say something now."""
        self._agreed = True
        self.due = self.door.now() + self.door.idle_seconds

    def speak_http1(self, context: Context, handler: ConnectionHandler) -> Layer:
        """Leave it to what reads HTTP/1."""
        self._agreed = True
        self.due = NEVER
        return Http1Layer(context, self.door, handler, self._intake, self.abort)

    def expect_rest(self) -> None:
        """A request has begun."""
        if not self._in_flight:
            self.due = self.door.now() + self.door.request_seconds

    def begin(self) -> None:
        """A request is whole: the deadlines of its exchange hold now."""
        self._in_flight += 1
        self.due = NEVER

    def end(self) -> None:
        """It is answered."""
        self._in_flight -= 1
        if not self._in_flight:
            seconds = _LAST_ANSWER_SECONDS if self.door.stopping else self.door.idle_seconds
            self.due = self.door.now() + seconds

    def forget(self) -> None:
        """mitmproxy is done with it, which does not always mean that it closed it."""
        connection, self._intake.connection = self._intake.connection, None
        if connection is not None:
            connection.connection_lost(None)
        if self._transport.is_closing() and self._transport.get_write_buffer_size():
            self._agreed = True  # or not: it is no matter any more
            self.due = self.door.now() + self.door.request_seconds  # for the rest to be taken
        else:
            self.abort()

    # gateway.connection.Held

    def overdue(self) -> None:
        """A deadline passed."""
        if not self._agreed:
            self._hooks.refused("slow_sender")
        self.abort()

    def close_when_idle(self) -> None:
        """Close now if nothing is in flight, else after the answer."""
        if not self._in_flight and self._intake.connection is None:  # which is told of it, too
            self.abort()

    def abort(self) -> None:
        """Close now."""
        self.due = NEVER
        self.door.connections.discard(self)
        self._transport.abort()
        if self._streams.handler is not None:
            self._streams.handler.cancel("closed")  # a layer may wait for the other half of a connection to close


class _Waiting:
    """An asker that is a task."""

    def __init__(self) -> None:
        self.response: asyncio.Future[Response] = asyncio.get_running_loop().create_future()

    def release(self, response: Response) -> None:
        """Wake the task."""
        if not self.response.done():
            self.response.set_result(response)


def _plain(status: int, text: str) -> http.Response:
    return http.Response.make(status, text + "\n", {"Content-Type": "text/plain"})


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name, value.strip(b" \t")


def _request_of(request: http.Request, limits: Limits) -> Request:
    """The request as the gateway reads it. Raises :class:`Http1Error` where it would refuse it."""
    body = request.raw_content or b""
    authority, target = request.authority.encode("utf-8", "surrogateescape"), request.data.path
    fields = [(name, value) for name, value in request.headers.fields if name[:1] != b":"]
    names = {name.lower() for name, _ in fields}
    if authority:  # it must be the host's, and stands for a missing one
        target = b"http://" + authority + (target if target[:1] == b"/" else b"/" + target)
        if b"host" not in names:
            fields.insert(0, (b"Host", authority))
    fields = [(name, value) for name, value in fields if name.lower() not in _FRAMING]
    if body or names & _FRAMING:
        fields.append((b"Content-Length", b"%d" % len(body)))
    lines = [b" ".join((request.data.method, target, b"HTTP/1.1")), *(name + b": " + value for name, value in fields)]
    if any(b"\r" in line or b"\n" in line for line in lines):
        raise Http1Error("bare_newline")
    reader = RequestReader(limits.head, limits.body)
    reader.push(b"\r\n".join((*lines, b"", body)))
    read = reader.take()
    assert read is not None  # it was written whole
    return read
