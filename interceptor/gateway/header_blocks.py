"""Header blocks of HTTP/1: what they say, and what of them goes on.

Peers repeat their header blocks byte for byte, so a block that was read before is looked up, not read again
(``docs/adr/0003``). The table is bounded and holds nothing but what the bytes say.
"""

import re
from typing import Final

from msgspec import Struct

from interceptor.gateway.http1_error import Http1Error

TOKEN: Final = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]"
"""Of one letter of a name, as a pattern."""
_HEADER_LINE: Final = TOKEN + rb"+:[\t \x21-\x7e\x80-\xff]*\r\n"
BLOCK: Final = re.compile(rb"(?:" + _HEADER_LINE + rb")*+")
"""Header lines, as many as there are."""
HOST: Final = re.compile(r"[A-Za-z0-9.\-_~%:\[\]]*")
"""A host and a port."""
BARE_NEWLINE: Final = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)")
"""A CR or an LF that is not half of a line's end."""
_LENGTH: Final = re.compile(rb"0|[1-9][0-9]{0,14}")  # a leading zero means octal to some
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
KEPT_BLOCKS: Final = 512
KEPT_BLOCK_BYTES: Final = 2048


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
    if len(block) <= KEPT_BLOCK_BYTES:
        if len(_blocks) >= KEPT_BLOCKS:
            _blocks.clear()  # rare, and cheaper than keeping an order on every hit
        _blocks[block] = read
    return read


_blocks: dict[bytes, HeaderBlock] = {}


def _read_block(block: bytes) -> HeaderBlock:
    match = BLOCK.match(block)
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
    if names.count(b"host") > 1 or not HOST.fullmatch(host):
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
