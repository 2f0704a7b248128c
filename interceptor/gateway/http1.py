"""HTTP/1.0 and 1.1 without I/O: bytes in, whole requests and whole replies out.

Laws of this module:

1. Anything that two parsers could read differently is refused, never repaired: a bare CR or LF, a folded header, a
   blank before the colon, Content-Length beside Transfer-Encoding, two lengths, any coding but ``chunked``, chunk
   extensions, a fragment in the target, two hosts. In a request also what would let a rule see another message than the
   receiver: a ``Connection`` that names a header of the message, two content types, framing headers spelt with ``_``.
2. What came out does not depend on how the bytes were cut, and neither does the reason of a refusal.
3. What is not touched is kept as written: header blocks are forwarded as the bytes that came, less the hop-by-hop
   lines.
4. Every buffer has a bound.

Peers repeat their header blocks byte for byte, so a block that was read before is looked up, not read again
(``docs/adr/0003``). The table is bounded and holds nothing but what the bytes say.
"""

import re
from typing import ClassVar, Final

from msgspec import Struct

_TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
_HEADER_LINE: Final = _TOKEN + rb"+:[\t \x21-\x7e\x80-\xff]*\r\n"
_BLOCK: Final = re.compile(rb"(?:" + _HEADER_LINE + rb")*+")
_REQUEST_LINE: Final = re.compile(rb"(" + _TOKEN + rb"{1,32}) ([\x21\x22\x24-\x7e\x80-\xff]+) HTTP/(\d)\.(\d)")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([\t \x21-\x7e\x80-\xff]*))?")
_MINORS: Final = frozenset({b"0", b"1"})
_BARE_NEWLINE: Final = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)")
_LENGTH: Final = re.compile(rb"0|[1-9][0-9]{0,14}")  # a leading zero means octal to some
_HOST: Final = re.compile(r"[A-Za-z0-9.\-_~%:\[\]]*")
_CHUNK_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,8}")
_CHUNK_LINE_MOST: Final = 10

_HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"http2-settings",
        b"keep-alive",
        b"proxy-connection",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        # Each proxy of our kind gives its own: one that came along would stand beside ours.
        b"x-interceptor-exchange",
    }
)
# Sent at most once in a request, or the receiver may read the body as another type than we do.
_ONCE: Final = frozenset({b"content-type", b"content-encoding"})
# Behind CGI-like doors "_" and "-" are the same letter: in these names that would make a second, unseen header.
_DISGUISES: Final = frozenset({b"content_type", b"content_encoding", b"content_length", b"transfer_encoding"})
# Spaces before the values of these, and no other blanks around them: here readers differ.
_ODD_BLANKS: Final = re.compile(rb"(?i)(?:content-length|transfer-encoding):.*(?:\t| \Z)")
_FORBIDDEN_TRAILER: Final = re.compile(rb"(?i)(?:content-length|transfer-encoding|host):")
_BODILESS: Final = frozenset({204, 304})
_KEPT_BLOCKS: Final = 512
_KEPT_BLOCK_BYTES: Final = 2048


REASONS: Final = (
    "bad_chunk",
    "bad_connection",
    "bad_content_length",
    "bad_expectation",
    "bad_header",
    "bad_host",
    "bad_request_line",
    "bad_status_line",
    "bad_target",
    "bad_trailer",
    "bad_transfer_encoding",
    "bad_version",
    "bare_newline",
    "body_too_large",
    "head_too_large",
    "incomplete",
    "length_and_chunked",
    "repeated_header",
)


class Http1Error(Exception):
    """The peer's bytes are not HTTP as we read it.

    ``reason`` is a stable code, one of ``REASONS``; ``status`` is what an asker is told.
    """

    def __init__(self, reason: str, status: int = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class HeaderBlock(Struct, frozen=True):
    """One header block, read.

    ``values`` maps names in lower case to values, equal names joined by a comma. ``length`` is the Content-Length, -1
    where there is none. ``before`` and ``after`` are the forwarded lines around the Content-Length line ``length_line``
    (as written; empty where there is none), so that an untouched message keeps its bytes and a changed one its order.
    ``forwarded`` is the three together. ``faults`` says why a request of HTTP/1.0, and one of HTTP/1.1, may not have
    these headers; empty where it may.
    """

    values: dict[str, str]
    length: int
    chunked: bool
    close: bool
    keep_alive: bool
    expects_continue: bool
    hosts: int
    faults: tuple[str, str]
    before: bytes
    length_line: bytes
    after: bytes
    forwarded: bytes

    def framed(self, length: int) -> bytes:
        """The forwarded lines with this body length, at the old place of the length or at the end."""
        if length == self.length:
            return self.forwarded
        name = self.length_line.partition(b":")[0] or b"Content-Length"
        return b"%b%b: %d\r\n%b" % (self.before, name, length, self.after)

    def with_host(self, host: bytes) -> "HeaderBlock":
        """The same block asking for another host; the line keeps its place, or comes first where it was missing."""
        before, after, found = self.before, self.after, False
        if self.hosts:
            before, in_before = _replace_host(before, host)
            after, in_after = _replace_host(after, host)
            found = in_before or in_after
        if not found:
            before = b"Host: %b\r\n%b" % (host, before)
        changed = {"before": before, "after": after, "forwarded": before + self.length_line + after, "hosts": 1}
        return HeaderBlock(**{name: getattr(self, name) for name in self.__struct_fields__} | changed)


def _replace_host(lines: bytes, host: bytes) -> tuple[bytes, bool]:
    kept = lines.split(b"\r\n")
    for index, line in enumerate(kept):
        if line[:5].lower() == b"host:":
            kept[index] = line[:5] + b" " + host
            return b"\r\n".join(kept), True
    return lines, False


def read_block(block: bytes) -> HeaderBlock:
    """Read header lines, each with its CRLF. Raises :class:`Http1Error`."""
    known = _blocks.get(block)
    if known is not None:
        return known
    read = _read_block(block)
    if len(block) <= _KEPT_BLOCK_BYTES:
        if len(_blocks) >= _KEPT_BLOCKS:
            _blocks.clear()  # rare, and cheaper than keeping an order on every hit
        _blocks[block] = read
    return read


_blocks: dict[bytes, HeaderBlock] = {}


def _read_block(block: bytes) -> HeaderBlock:
    match = _BLOCK.match(block)
    assert match is not None  # the pattern matches the empty text
    if match.end() != len(block):
        raise Http1Error("bad_header")
    lines = block.split(b"\r\n")[:-1]
    fields = [(name.lower(), value.strip(b" \t")) for name, _, value in (line.partition(b":") for line in lines)]
    options = _connection_options(fields)
    length = _content_length(fields)
    chunked = _is_chunked(fields)
    if chunked and length >= 0:
        raise Http1Error("length_and_chunked")
    before: list[bytes] = []
    after: list[bytes] = []
    length_line = b""
    values: dict[str, str] = {}
    for line, (name, value) in zip(lines, fields, strict=True):
        text = name.decode("ascii")
        values[text] = f"{values[text]}, {value.decode('latin-1')}" if text in values else value.decode("latin-1")
        if name == b"content-length":
            length_line = line + b"\r\n"
        elif name not in _HOP_BY_HOP and name not in options and name != b"expect":
            (after if length_line else before).append(line + b"\r\n")
    head, tail = b"".join(before), b"".join(after)
    expects = values.get("expect", "").lower()
    names = [name for name, _ in fields]
    hosts = names.count(b"host")
    fault = _fault(lines, names, options, values.get("host", ""))
    unexpected = "" if expects in {"", "100-continue"} else "bad_expectation"
    return HeaderBlock(
        values=values,
        length=length,
        chunked=chunked,
        close=b"close" in options,
        keep_alive=b"keep-alive" in options,
        expects_continue=expects == "100-continue",
        hosts=hosts,
        faults=(
            fault or ("bad_transfer_encoding" if chunked else "") or unexpected,
            fault or ("bad_host" if not hosts else "") or unexpected,
        ),
        before=head,
        length_line=length_line,
        after=tail,
        forwarded=head + length_line + tail,
    )


def _connection_options(fields: list[tuple[bytes, bytes]]) -> frozenset[bytes]:
    """What ``Connection`` names: options of this hop, and headers that must not go further."""
    return frozenset(
        option.strip(b" \t").lower() for name, value in fields if name == b"connection" for option in value.split(b",")
    )


def _fault(lines: list[bytes], names: list[bytes], options: frozenset[bytes], host: str) -> str:
    """Why a request of any version may not have these headers; empty where it may.

    ``Connection`` may name what belongs to this hop and nothing else that is here: a header that we had to drop would
    be one that a rule saw, or that a proxy before us added, and that the receiver never gets.
    """
    if names.count(b"host") > 1 or not _HOST.fullmatch(host):
        return "bad_host"
    if any(name in options and (name not in _HOP_BY_HOP or name == b"transfer-encoding") for name in names):
        return "bad_connection"
    if any(names.count(name) > 1 for name in _ONCE):
        return "repeated_header"
    if any(_ODD_BLANKS.match(line) for line in lines):
        return "bad_header"
    return "" if _DISGUISES.isdisjoint(names) else "bad_header"


def _content_length(fields: list[tuple[bytes, bytes]]) -> int:
    written = [value for name, value in fields if name == b"content-length"]
    if not written:
        return -1
    if len(written) > 1 or not _LENGTH.fullmatch(written[0]):
        raise Http1Error("bad_content_length")
    return int(written[0])


def _is_chunked(fields: list[tuple[bytes, bytes]]) -> bool:
    written = [value for name, value in fields if name == b"transfer-encoding"]
    if not written:
        return False
    if len(written) > 1 or written[0].lower() != b"chunked":
        raise Http1Error("bad_transfer_encoding")
    return True


class Request(Struct, gc=False):
    """One whole request. ``target`` is in origin form, or ``*``; ``minor`` is the x of HTTP/1.x."""

    method: str
    target: bytes
    minor: int
    block: HeaderBlock
    body: bytes

    @property
    def keeps_alive(self) -> bool:
        """Whether the asker wants the connection to stay open after the answer."""
        block = self.block
        return not block.close if self.minor else block.keep_alive and not block.close


class Reply(Struct, gc=False):
    """One whole reply. ``status_line`` is what follows the version: code and reason as written."""

    status: int
    status_line: bytes
    minor: int
    block: HeaderBlock
    body: bytes
    reusable: bool  # the connection it came on may carry another request


class _Chunks:
    """Puts a chunked body together, up to a cap."""

    __slots__ = ("_body", "_body_most", "_left", "_searched", "_trailer_most")

    _SIZE: Final = -1  # a size line is next
    _TRAILER: Final = -2  # the last chunk was read

    def __init__(self, body_most: int, trailer_most: int) -> None:
        self._body = bytearray()
        self._body_most = body_most
        self._trailer_most = trailer_most
        self._left = self._SIZE
        self._searched = 0  # how much of the trailers holds no end of them

    def take(self, data: bytes) -> tuple[bytes | None, bytes]:
        """Read on; give (the whole body or ``None``, the bytes not used yet). Raises :class:`Http1Error`."""
        at = 0  # data is cut once, at the end: chunks may be many and small
        while self._left != self._TRAILER:
            if self._left == self._SIZE:
                end = data.find(b"\r\n", at, at + _CHUNK_LINE_MOST)
                if end < 0:
                    if len(data) - at >= _CHUNK_LINE_MOST:
                        raise Http1Error("bad_chunk")
                    return None, data[at:]
                if not _CHUNK_SIZE.fullmatch(data, at, end):
                    raise Http1Error("bad_chunk")
                size = int(data[at:end], 16)
                if len(self._body) + size > self._body_most:
                    raise Http1Error("body_too_large", 413)
                at = end + 2
                self._left = size or self._TRAILER
                continue
            if self._left:
                piece = data[at : at + self._left]
                self._body += piece
                self._left -= len(piece)
                at += len(piece)
            ending = data[at : at + 2]
            if ending != b"\r\n":
                if ending not in {b"", b"\r"}:
                    raise Http1Error("bad_chunk")
                return None, data[at:]
            at += 2
            self._left = self._SIZE
        return self._end(data[at:])

    def _end(self, data: bytes) -> tuple[bytes | None, bytes]:
        """Trailers are read by the same grammar as headers, and dropped: nothing we forward may depend on them."""
        if data[:2] == b"\r\n":
            return bytes(self._body), data[2:]
        end = data.find(b"\r\n\r\n", self._searched)
        if end < 0:
            if len(data) > self._trailer_most + 3 or _BARE_NEWLINE.search(data, self._searched):
                raise Http1Error("bad_trailer")
            self._searched = max(0, len(data) - 3)
            return None, data
        if end > self._trailer_most or not _BLOCK.fullmatch(data, 0, end + 2):
            raise Http1Error("bad_trailer")
        if any(_FORBIDDEN_TRAILER.match(line) for line in data[:end].split(b"\r\n")):
            raise Http1Error("bad_trailer")  # dropped by us, but not by whoever merges trailers into the head
        return bytes(self._body), data[end + 4 :]


class _Reader:
    """What reading requests and reading replies share: the buffer, the search for the head, the body."""

    __slots__ = ("_body", "_buffer", "_chunks", "_head_most", "_missing", "_searched", "body_most")

    _BAD_FIRST_LINE: ClassVar[str]

    def __init__(self, head_most: int, body_most: int) -> None:
        self._buffer = b""
        self._head_most = head_most
        self.body_most = body_most
        self._searched = 0  # how much of the buffer holds no end of the head
        self._body: bytearray | None = None  # a body without chunks that did not come at once
        self._missing = 0
        self._chunks: _Chunks | None = None

    def push(self, data: bytes) -> None:
        """Add bytes that came from the peer."""
        if self._body is not None and not self._buffer and len(data) <= self._missing:
            self._body += data  # the way of large bodies: nothing is copied twice
            self._missing -= len(data)
        else:
            self._buffer = self._buffer + data if self._buffer else data

    @property
    def buffered(self) -> int:
        """Bytes that wait to be read."""
        return len(self._buffer)

    def _find_head(self) -> int:
        """Where the head ends, -1 where it has not come whole. Raises :class:`Http1Error`.

        The first fault in the order of the bytes is the one that is told, however they were cut.
        """
        data = self._buffer
        end = data.find(b"\r\n\r\n", self._searched)
        if 0 <= end <= self._head_most:
            self._searched = 0
            return end
        if data[:2] == b"\r\n":
            raise Http1Error(self._BAD_FIRST_LINE)
        most = self._head_most + 3
        if _BARE_NEWLINE.search(data, self._searched, most):
            raise Http1Error("bare_newline")
        if len(data) > most:
            raise Http1Error("head_too_large", 431)
        self._searched = max(0, len(data) - 3)
        return -1

    def _start_body(self, block: HeaderBlock) -> bytes | None:
        """The body where it is here already; else prepare for it. The buffer begins after the head."""
        if block.chunked:
            self._chunks = _Chunks(self.body_most, self._head_most)
            return self._more_body()
        length = block.length
        if length <= 0:
            return b""
        if length > self.body_most:
            raise Http1Error("body_too_large", 413)
        data = self._buffer
        if len(data) >= length:
            self._buffer = data[length:]
            return data[:length]
        self._body = bytearray(data)
        self._missing = length - len(data)
        self._buffer = b""
        return None

    def _more_body(self) -> bytes | None:
        """The body, once it is whole."""
        if self._chunks is not None:
            body, self._buffer = self._chunks.take(self._buffer)
            if body is not None:
                self._chunks = None
            return body
        collected = self._body
        assert collected is not None
        if self._buffer:
            piece = self._buffer[: self._missing]
            collected += piece
            self._missing -= len(piece)
            self._buffer = self._buffer[len(piece) :]
        if self._missing:
            return None
        self._body = None
        return bytes(collected)


class RequestReader(_Reader):
    """Reads the requests of one connection, in order. After an :class:`Http1Error` the connection is of no use."""

    __slots__ = ("_after_empty_line", "_head", "wants_continue")

    _BAD_FIRST_LINE = "bad_request_line"

    def __init__(self, head_most: int, body_most: int) -> None:
        super().__init__(head_most, body_most)
        self._head: Request | None = None
        self._after_empty_line = False
        self.wants_continue = False  # the asker waits for "100 Continue" before it sends the body

    @property
    def unfinished(self) -> bool:
        """Whether a request has begun that has not come whole."""
        return self._head is not None or bool(self._buffer)

    def take_whole(self, data: bytes) -> Request | None:
        """The request, where nothing was pushed before these bytes and they are just one; else push them.

        Most requests come so: it is what :meth:`push` and :meth:`take` would give, in half of the time.
        """
        if self._buffer or self._head is not None or self._after_empty_line:
            return None
        return whole_request(data, self._head_most, self.body_most)

    def take(self) -> Request | None:
        """The next whole request, if it is here. Raises :class:`Http1Error`."""
        request = self._head
        if request is None:
            if not self._buffer:
                return None
            request = self._read_head()
            if request is None:
                return None
            body = self._start_body(request.block)
        else:
            body = self._more_body()
        if body is None:
            if self._head is None:
                self._head = request
                self.wants_continue = request.block.expects_continue and request.minor == 1
            return None
        self._head = None
        self.wants_continue = False
        request.body = body
        return request

    def _read_head(self) -> Request | None:
        data = self._buffer
        if data[:2] == b"\r\n" and not self._after_empty_line:
            self._after_empty_line = True  # one empty line before a request is allowed (RFC 9112, 2.2)
            self._buffer = data = data[2:]
        end = self._find_head()
        if end < 0:
            return None
        try:
            request = _request(data, end)
        except Http1Error:
            _refuse_bare_newline(data, end)
            raise
        self._buffer = data[end + 4 :]
        self._after_empty_line = False
        return request


def whole_request(data: bytes, head_most: int, body_most: int) -> Request | None:
    """The request, where these bytes are just one as :class:`RequestReader` would read it, the plainest way.

    Else ``None``: where it is not whole, where something comes after it, where it is chunked, and where it is none.
    """
    end = data.find(b"\r\n\r\n")
    if not 0 <= end <= head_most:
        return None
    try:
        request = _request(data, end)
    except Http1Error:
        return None
    block = request.block
    length = max(block.length, 0)
    if block.chunked or length > body_most or len(data) != end + 4 + length:
        return None
    if length:
        request.body = data[end + 4 :]
    return request


def _refuse_bare_newline(data: bytes, end: int) -> None:
    """Raise what would have been raised, had the head come in pieces."""
    if data[:2] != b"\r\n" and _BARE_NEWLINE.search(data, 0, end + 2):
        raise Http1Error("bare_newline") from None


def _request(data: bytes, end: int) -> Request:
    """Read the head of a request that ends there. Raises :class:`Http1Error`."""
    line_end = data.find(b"\r\n")
    line = _REQUEST_LINE.fullmatch(data, 0, line_end)
    if line is None:  # a fragment never travels: some would cut there, some read on
        raise Http1Error("bad_target" if b"#" in data[:line_end] else "bad_request_line")
    method, target, major, minor = line.groups()
    if major != b"1" or minor not in _MINORS:
        raise Http1Error("bad_version", 505)
    block = read_block(data[line_end + 2 : end + 2])
    fault = block.faults[minor == b"1"]
    if fault:
        raise Http1Error(fault, 417 if fault == "bad_expectation" else 400)
    if target[:1] != b"/" and not (target == b"*" and method == b"OPTIONS"):
        target = _origin(target, block)
    return Request(method.decode("ascii"), target, minor == b"1", block, b"")


def _origin(target: bytes, block: HeaderBlock) -> bytes:
    """The origin form of an absolute target. Its host must be the one that ``Host`` names."""
    start = min((at for at in (target.find(b"/", 7), target.find(b"?", 7)) if at >= 0), default=len(target))
    if target[:7].lower() != b"http://" or start == 7:
        raise Http1Error("bad_target")
    authority = target[7:start].decode("latin-1")
    host = block.values["host"] if block.hosts else authority
    if not _HOST.fullmatch(authority) or _without_port_80(authority) != _without_port_80(host):
        raise Http1Error("bad_host")
    origin = target[start:]
    return origin if origin[:1] == b"/" else b"/" + origin


def _without_port_80(authority: str) -> str:
    return authority.lower().removesuffix(":80")


class ReplyReader(_Reader):
    """Reads the replies of one upstream connection. After an :class:`Http1Error` the connection is of no use."""

    __slots__ = ("_head", "_interim", "_until_close")

    _BAD_FIRST_LINE = "bad_status_line"
    _INTERIM_MOST: Final = 8

    def __init__(self, head_most: int, body_most: int) -> None:
        super().__init__(head_most, body_most)
        self._head: Reply | None = None
        self._until_close = False
        self._interim = 0

    def take_whole(self, data: bytes) -> Reply | None:
        """The reply, where nothing was pushed before these bytes and they are just one whose head is known; else push.

        As :meth:`RequestReader.take_whole`.
        """
        if self._buffer or self._head is not None or self._interim:
            return None
        end = data.find(b"\r\n\r\n")
        head = _reply_heads.get(data[:end])
        if head is None or not 0 < end <= self._head_most:
            return None
        length = head.block.length
        if not head.has_length or len(data) != end + 4 + length or length > self.body_most:
            return None
        return Reply(head.status, head.status_line, head.minor, head.block, data[end + 4 :], head.reusable)

    def take(self) -> Reply | None:
        """The next whole reply, if it is here. Raises :class:`Http1Error`."""
        reply = self._head
        if reply is None:
            reply = self._read_head()
            if reply is None:
                return None
            body = self._begin(reply)
        elif self._until_close:
            self._read_on()
            body = None
        else:
            body = self._more_body()
        if body is None:
            self._head = reply
            return None
        return self._finished(reply, body)

    def end(self) -> Reply | None:
        """The connection ended: the reply that ends with it. Raises :class:`Http1Error` in the middle of one."""
        if self._head is None:
            if self._buffer:
                raise Http1Error("incomplete")
            return None
        if not self._until_close:
            raise Http1Error("incomplete")
        body, self._body, self._until_close = self._body, None, False
        assert body is not None
        return self._finished(self._head, bytes(body))

    def _begin(self, reply: Reply) -> bytes | None:
        block = reply.block
        if reply.status in _BODILESS:
            if block.chunked or block.length > 0:
                reply.reusable = False  # has no body (RFC 9112, 6.3); but does the other side know?
            return b""
        if not block.chunked and block.length < 0:
            self._until_close = True
            reply.reusable = False
            self._body = bytearray()
            self._read_on()
            return None
        return self._start_body(block)

    def _read_on(self) -> None:
        """Collect a body that lasts until the connection ends."""
        assert self._body is not None
        self._body += self._buffer
        self._buffer = b""
        if len(self._body) > self.body_most:
            raise Http1Error("body_too_large", 413)

    def _finished(self, reply: Reply, body: bytes) -> Reply:
        self._head = None
        self._interim = 0
        reply.body = body
        if self._buffer:
            reply.reusable = False  # bytes that nobody asked for: whose are they?
        return reply

    def _read_head(self) -> Reply | None:
        while self._buffer:
            end = self._find_head()
            if end < 0:
                return None
            data = self._buffer
            try:
                reply = _reply(data, end)
            except Http1Error:
                _refuse_bare_newline(data, end)
                raise
            self._buffer = data[end + 4 :]
            if reply.status >= 200:
                return reply
            self._interim += 1
            if reply.status == 101 or self._interim > self._INTERIM_MOST:  # we never ask to switch
                raise Http1Error("bad_status_line")
        return None


class _ReplyHead(Struct, frozen=True, gc=False):
    """The head of a reply, read. ``has_length`` says that a body of the length in its block follows, and no more."""

    status: int
    status_line: bytes
    minor: int
    block: HeaderBlock
    reusable: bool
    has_length: bool


_reply_heads: dict[bytes, _ReplyHead] = {}  # as ``_blocks``; what differs is the ``Date``, and that once a second


def _reply(data: bytes, end: int) -> Reply:
    """Read the head of a reply that ends there. Raises :class:`Http1Error`."""
    written = data[:end]
    head = _reply_heads.get(written)
    if head is None:
        head = _read_reply_head(data, end)
        if end <= _KEPT_BLOCK_BYTES:
            if len(_reply_heads) >= _KEPT_BLOCKS:
                _reply_heads.clear()
            _reply_heads[written] = head
    return Reply(head.status, head.status_line, head.minor, head.block, b"", head.reusable)


def _read_reply_head(data: bytes, end: int) -> _ReplyHead:
    line_end = data.find(b"\r\n")
    line = _STATUS_LINE.fullmatch(data, 0, line_end)
    if line is None:
        raise Http1Error("bad_status_line")
    block = read_block(data[line_end + 2 : end + 2])
    minor = line[1] == b"1"
    if block.chunked and not minor:
        raise Http1Error("bad_transfer_encoding")
    reusable = not block.close if minor else block.keep_alive and not block.close
    status = int(line[2])
    has_length = status >= 200 and status not in _BODILESS and not block.chunked and block.length >= 0
    return _ReplyHead(status, data[9:line_end], minor, block, reusable, has_length)
