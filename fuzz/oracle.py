"""What h11 and httptools make of the bytes that we read, and where we differ.

What we accept, h11 accepts, with the same method, target, headers and body, and as many messages. What h11 refuses, we
refuse. Where we are the more tolerant one, and nowhere else:

* bytes above 0x7f in a request target are kept (apps send raw UTF-8); h11 refuses them;
* one empty line before a request is passed over (RFC 9112, 2.2); h11 refuses it;
* an absolute target is brought into origin form; h11 leaves it as it came;
* h11 refuses a first byte below 0x21 at once; we wait for the end of the head.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple, Protocol

import h11
import httptools

from interceptor.gateway.header_blocks import HeaderBlock
from interceptor.gateway.http1 import Reply, ReplyReader, Request, RequestReader
from interceptor.gateway.http1_error import Http1Error

HEAD_MOST = 4096
BODY_MOST = 4096
_FIRST_BYTE = "illegal request line"  # what h11 says, to the letter, of a first byte below 0x21
_NO_LIMIT = 1 << 24
_HIGH = bytes(byte if byte < 0x80 else 0x78 for byte in range(256))
_LLHTTP_METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE"})


class Message(NamedTuple):
    """One message, as far as readers must agree on it. ``start`` is its first line."""

    start: tuple[str, ...]
    headers: dict[str, str]
    body: bytes


class Reading(NamedTuple):
    """What a reader made of a stream. ``refused`` is a reason, or empty; ``waits`` says that it wants more."""

    messages: tuple[Message, ...]
    refused: str
    waits: bool


class Reader(Protocol):
    """Both of our readers."""

    def push(self, data: bytes) -> None: ...

    def take(self) -> Request | Reply | None: ...


def cuts(data: bytes, places: Iterable[int]) -> Iterator[bytes]:
    """The bytes in pieces that end at these places, which are in order."""
    last = 0
    for place in places:
        yield data[last:place]
        last = place
    yield data[last:]


def requests(pieces: Iterable[bytes], head_most: int = HEAD_MOST, body_most: int = BODY_MOST) -> Reading:
    """What our reader makes of a stream of requests."""
    reader = RequestReader(head_most, body_most)
    messages, refused = _drain(reader, pieces)
    return Reading(tuple(messages), refused, not refused and reader.unfinished)


def replies(pieces: Iterable[bytes], *, ended: bool, head_most: int = HEAD_MOST, body_most: int = BODY_MOST) -> Reading:
    """What our reader makes of a stream of replies; ``ended``: the connection ends after it."""
    reader = ReplyReader(head_most, body_most)
    messages, refused = _drain(reader, pieces)
    waits = False
    if ended and not refused:
        try:
            last = reader.end()
        except Http1Error as error:
            refused = error.reason
        else:
            if last is not None:
                messages.append(_message(last))
    elif not refused:
        waits = reader._head is not None or reader.buffered > 0  # noqa: SLF001 - asked by nobody but this
    return Reading(tuple(messages), refused, waits)


def _drain(reader: Reader, pieces: Iterable[bytes]) -> tuple[list[Message], str]:
    messages: list[Message] = []
    try:
        for piece in pieces:
            reader.push(piece)
            while (message := reader.take()) is not None:
                messages.append(_message(message))
    except Http1Error as error:
        return messages, error.reason
    return messages, ""


def _message(message: Request | Reply) -> Message:
    if isinstance(message, Request):
        start = (message.method, message.target.translate(_HIGH).decode("ascii"), f"1.{int(message.minor)}")
    else:
        start = (str(message.status), message.status_line.decode("latin-1"), f"1.{int(message.minor)}")
    return Message(start, _as_h11(message.block), message.body)


def _as_h11(block: HeaderBlock) -> dict[str, str]:
    values = dict(block.values)
    if "transfer-encoding" in values:
        values["transfer-encoding"] = values["transfer-encoding"].lower()  # h11 lowers it
    return values


def h11_requests(data: bytes) -> Reading:
    """What h11 makes of a stream of requests."""
    messages: list[Message] = []
    while data:
        if data[:2] == b"\r\n":
            data = data[2:]
            if not data:
                break
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=_NO_LIMIT)
        message, refused = _h11_message(connection, _with_plain_target(data))
        if message is None:
            return Reading(tuple(messages), refused, not refused)
        messages.append(message)
        data = data[len(data) - len(connection.trailing_data[0]) :]
    return Reading(tuple(messages), "", waits=False)


def h11_replies(data: bytes, *, ended: bool) -> Reading:
    """What h11 makes of a stream of replies, each to a GET."""
    messages: list[Message] = []
    while data:
        connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=_NO_LIMIT)
        connection.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
        connection.send(h11.EndOfMessage())
        message, refused = _h11_message(connection, data, ended=ended)
        if message is None:
            return Reading(tuple(messages), refused, not refused)
        messages.append(message)
        data = connection.trailing_data[0]
    return Reading(tuple(messages), "", waits=False)


def _h11_message(connection: h11.Connection, data: bytes, *, ended: bool = False) -> tuple[Message | None, str]:
    """The first whole message, or why there is none; neither where it waits."""
    head: h11.Request | h11.Response | None = None
    body = b""
    try:
        connection.receive_data(data)
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if not ended:
                    return None, ""
                ended = False
                connection.receive_data(b"")
            elif isinstance(event, h11.Request | h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                return _message_of_h11(head, body), ""
            elif isinstance(event, h11.ConnectionClosed):
                return None, ""
    except h11.RemoteProtocolError as error:
        # The end of the connection where no reply has begun: we say that there is none, and whoever asked is told.
        return None, "" if "ConnectionClosed" in str(error) else str(error)


def _message_of_h11(head: "h11.Request | h11.Response", body: bytes) -> Message:
    values: dict[str, str] = {}
    for raw_name, raw_value in head.headers:
        name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
        values[name] = f"{values[name]}, {value}" if name in values else value
    version = head.http_version.decode("ascii")
    if isinstance(head, h11.Response):
        reason = bytes(head.reason).decode("latin-1")
        return Message((str(head.status_code), reason, version), values, body)
    return Message((head.method.decode("ascii"), _origin(head.target.decode("ascii")), version), values, body)


def _origin(target: str) -> str:
    """What is left of an absolute target without scheme and authority."""
    if target[:7].lower() != "http://":
        return target
    for at, letter in enumerate(target[7:], 7):
        if letter in "/?":
            return target[at:] if letter == "/" else "/" + target[at:]
    return "/"


def disagreement(data: bytes) -> str:
    """Where we and h11 differ about a stream of requests beyond what the head of this module grants; or empty."""
    return _difference(requests([data], _NO_LIMIT, _NO_LIMIT), h11_requests(data))


def disagreement_on_replies(data: bytes, *, ended: bool) -> str:
    """As :func:`disagreement`, about a stream of replies."""
    ours = replies([data], ended=ended, head_most=_NO_LIMIT, body_most=_NO_LIMIT)
    theirs = h11_replies(data, ended=ended)
    ours = ours._replace(messages=tuple(_with_bare_reason(message) for message in ours.messages))
    return _difference(ours, theirs)


def _with_bare_reason(message: Message) -> Message:
    status, line, version = message.start
    return message._replace(start=(status, line[4:], version))


def _difference(ours: Reading, theirs: Reading) -> str:
    for number, message in enumerate(ours.messages):
        if number >= len(theirs.messages):
            return f"we read message {number + 1} as {message}, h11 says {theirs.refused or 'that it is not whole'}"
        if message != theirs.messages[number]:
            return f"we read message {number + 1} as {message}, h11 as {theirs.messages[number]}"
    if ours.refused or (theirs.refused == _FIRST_BYTE and ours.waits):
        return ""
    if theirs.refused:
        return f"h11 refuses message {len(theirs.messages) + 1} ({theirs.refused}), we wait for more"
    if len(theirs.messages) > len(ours.messages):
        return f"h11 reads {theirs.messages[len(ours.messages)]} where we wait for more"
    return ""


def disagreement_with_llhttp(data: bytes) -> str:
    """Where httptools reads another request than we do out of the bytes that we take for one; or empty."""
    reader = RequestReader(_NO_LIMIT, _NO_LIMIT)
    reader.push(data)
    begin = 0
    while True:
        try:
            request = reader.take()
        except Http1Error:
            return ""
        if request is None:
            return ""
        end = len(data) - reader.buffered
        if request.method in _LLHTTP_METHODS:
            seen = _Seen()
            try:
                parser = httptools.HttpRequestParser(seen)
                parser.feed_data(_with_plain_target(data[begin:end]))
            except httptools.HttpParserUpgrade:  # it stops reading there; we forward no upgrade, so nobody else does
                begin = end
                continue
            except httptools.HttpParserError as error:
                return f"httptools refuses {data[begin:end]!r}: {error}"
            read = (seen.count, seen.target, seen.body)
            written = _with_plain_target(data[begin:end]).lstrip(b"\r\n").split(b" ", 2)[1]
            if read != (1, written, request.body):
                return f"httptools reads {read} of {data[begin:end]!r}, we read {request}"
        begin = end


def _with_plain_target(data: bytes) -> bytes:
    """The request, its target without bytes above 0x7f."""
    begin = 2 if data[:2] == b"\r\n" else 0
    line, newline, rest = data[begin:].partition(b"\r\n")
    return data[:begin] + line.translate(_HIGH) + newline + rest


class _Seen:
    def __init__(self) -> None:
        self.count = 0
        self.target = b""
        self.body = b""

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_body(self, body: bytes) -> None:
        self.body += body

    def on_message_complete(self) -> None:
        self.count += 1
