"""Bodies of HTTP/1 that come in chunks."""

import re
from typing import Final

from interceptor.gateway.header_blocks import BARE_NEWLINE, BLOCK
from interceptor.gateway.http1_error import Http1Error

_CHUNK_SIZE: Final = re.compile(rb"[0-9A-Fa-f]{1,8}")
_CHUNK_LINE_MOST: Final = 10
_FORBIDDEN_TRAILER: Final = re.compile(rb"(?i)(?:content-length|transfer-encoding|host):")


class Chunks:
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
            if len(data) > self._trailer_most + 3 or BARE_NEWLINE.search(data, self._searched):
                raise Http1Error("bad_trailer")
            self._searched = max(0, len(data) - 3)
            return None, data
        if end > self._trailer_most or not BLOCK.fullmatch(data, 0, end + 2):
            raise Http1Error("bad_trailer")
        if any(_FORBIDDEN_TRAILER.match(line) for line in data[:end].split(b"\r\n")):
            raise Http1Error("bad_trailer")  # dropped by us, but not by whoever merges trailers into the head
        return bytes(self._body), data[end + 4 :]
