"""Any bytes, in any pieces: requests, replies or an :class:`Http1Error`, within the bounds, and nothing else."""

import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from fuzz.seeds import HTTP_TOKENS, REPLIES, REQUESTS
from interceptor.gateway.http1 import ReplyReader, Request, RequestReader, whole_request
from interceptor.gateway.http1_error import REASONS, Http1Error

HEAD_MOST, BODY_MOST = 96, 48
_PIECES = st.lists(
    st.one_of(st.binary(max_size=64), st.sampled_from(HTTP_TOKENS), st.sampled_from(REQUESTS + REPLIES)), max_size=12
)
MANY = settings(max_examples=min(8_000, settings().max_examples * 4), deadline=None)


def drive(reader: RequestReader | ReplyReader, pieces: list[bytes]) -> None:
    largest = max(map(len, pieces), default=0)
    try:
        for piece in pieces:
            reader.push(piece)
            while (message := reader.take()) is not None:
                assert len(message.body) <= BODY_MOST
            assert reader.buffered <= HEAD_MOST + 4 + largest
            held = reader._body
            assert held is None or len(held) <= BODY_MOST
        if isinstance(reader, ReplyReader):
            last = reader.end()
            assert last is None or len(last.body) <= BODY_MOST
    except Http1Error as error:
        assert error.reason in REASONS
        assert error.status in {400, 413, 417, 431, 505}


@pytest.mark.fuzz
@MANY
@given(_PIECES)
def test_any_pieces_are_requests_or_refused_within_the_bounds(pieces: list[bytes]) -> None:
    drive(RequestReader(HEAD_MOST, BODY_MOST), pieces)


@pytest.mark.fuzz
@MANY
@given(_PIECES)
def test_any_pieces_are_replies_or_refused_within_the_bounds(pieces: list[bytes]) -> None:
    drive(ReplyReader(HEAD_MOST, BODY_MOST), pieces)


def read_alone(data: bytes) -> Request | None:
    """The request of a connection that sends nothing else; ``None`` where these bytes are not just one."""
    reader = RequestReader(HEAD_MOST, BODY_MOST)
    reader.push(data)
    try:
        request = reader.take()
    except Http1Error:
        return None
    return None if reader.unfinished else request


@pytest.mark.fuzz
@MANY
@given(_PIECES)
@example([b"GET /?a=1 HTTP/1.1\r\nHost: a\r\n\r\n"])
@example([b"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nok"])
@example([b"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nok\r\n"])
def test_a_request_that_came_in_one_piece_is_the_one_that_is_read_piece_by_piece(pieces: list[bytes]) -> None:
    data = b"".join(pieces)
    whole, read = whole_request(data, HEAD_MOST, BODY_MOST), read_alone(data)
    if whole is not None:
        assert whole == read
    elif read is not None:  # it goes the long way
        assert read.block.chunked or data.startswith(b"\r\n")


def read_all(reader: RequestReader | ReplyReader, pieces: list[bytes], *, at_once: bool) -> list[object]:
    """What comes out of these pieces in order, the refusal included; ``at_once`` as connections read."""
    out: list[object] = []
    try:
        for piece in pieces:
            whole = reader.take_whole(piece) if at_once else None
            if whole is not None:
                out.append(whole)
                continue
            reader.push(piece)
            while (message := reader.take()) is not None:
                out.append(message)
    except Http1Error as error:
        out.append((error.reason, error.status))
    return [*out, reader.buffered]


@pytest.mark.fuzz
@MANY
@given(_PIECES)
@example([b"\r\n", b"GET /?a=1 HTTP/1.1\r\nHost: a\r\n\r\n", b"\r\nGET /?a=1 HTTP/1.1\r\nHost: a\r\n\r\n"])
@example([b"POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nok", b"\r\n\r\n"])
def test_requests_taken_whole_are_those_that_are_read_piece_by_piece(pieces: list[bytes]) -> None:
    piece_by_piece = read_all(RequestReader(HEAD_MOST, BODY_MOST), pieces, at_once=False)
    assert read_all(RequestReader(HEAD_MOST, BODY_MOST), pieces, at_once=True) == piece_by_piece


@pytest.mark.fuzz
@MANY
@given(_PIECES)
@example([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", b"HTTP/1.1 204 No\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
@example([b"HTTP/1.1 100 Go on\r\n\r\n"] * 8 + [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"] * 2)
def test_replies_taken_whole_are_those_that_are_read_piece_by_piece(pieces: list[bytes]) -> None:
    piece_by_piece = read_all(ReplyReader(HEAD_MOST, BODY_MOST), pieces, at_once=False)
    assert read_all(ReplyReader(HEAD_MOST, BODY_MOST), pieces, at_once=True) == piece_by_piece


@pytest.mark.fuzz
@MANY
@given(
    st.dictionaries(
        st.text(string.ascii_letters + "-", min_size=1, max_size=12).map(str.encode),
        st.text("".join(map(chr, range(0x21, 0x7F))), max_size=20).map(str.encode),
    )
)
def test_header_blocks_are_forwarded_with_every_line_as_written_but_those_of_the_hop(
    headers: dict[bytes, bytes],
) -> None:
    lines = [
        b"%b: %b\r\n" % pair for pair in headers.items() if not pair[0].lower().startswith((b"c", b"t", b"h", b"e"))
    ]
    reader = RequestReader(1 << 14, BODY_MOST)
    reader.push(b"GET / HTTP/1.0\r\n" + b"".join(lines) + b"\r\n")
    read = reader.take()
    assert read is not None
    hop = (b"keep-alive:", b"proxy-", b"upgrade:")
    assert read.block.forwarded == b"".join(line for line in lines if not line.lower().startswith(hop))
