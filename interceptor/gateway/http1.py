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

Header blocks are read in ``header_blocks.py``, bodies in chunks in ``chunks.py``, by the same laws.
"""

import re
from typing import ClassVar, Final

from msgspec import Struct

from interceptor.gateway.chunks import Chunks
from interceptor.gateway.header_blocks import (
    BARE_NEWLINE,
    HOST,
    KEPT_BLOCK_BYTES,
    KEPT_BLOCKS,
    TOKEN,
    HeaderBlock,
    read_block,
)
from interceptor.gateway.http1_error import Http1Error

_REQUEST_LINE: Final = re.compile(rb"(" + TOKEN + rb"{1,32}) ([\x21\x22\x24-\x7e\x80-\xff]+) HTTP/(\d)\.(\d)")
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([\t \x21-\x7e\x80-\xff]*))?")
_MINORS: Final = frozenset({b"0", b"1"})
_BODILESS: Final = frozenset({204, 304})


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
        self._chunks: Chunks | None = None

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
        if BARE_NEWLINE.search(data, self._searched, most):
            raise Http1Error("bare_newline")
        if len(data) > most:
            raise Http1Error("head_too_large", 431)
        self._searched = max(0, len(data) - 3)
        return -1

    def _start_body(self, block: HeaderBlock) -> bytes | None:
        """The body where it is here already; else prepare for it. The buffer begins after the head."""
        if block.chunked:
            self._chunks = Chunks(self.body_most, self._head_most)
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
    if data[:2] != b"\r\n" and BARE_NEWLINE.search(data, 0, end + 2):
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
    if not HOST.fullmatch(authority) or _without_port_80(authority) != _without_port_80(host):
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
        if end <= KEPT_BLOCK_BYTES:
            if len(_reply_heads) >= KEPT_BLOCKS:
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
