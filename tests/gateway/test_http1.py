"""The rules at the head of ``http1.py``, one by one."""

from time import process_time

import pytest

from interceptor.gateway import header_blocks
from interceptor.gateway.header_blocks import HeaderBlock
from interceptor.gateway.http1 import Reply, ReplyReader, Request, RequestReader, read_block
from interceptor.gateway.http1_error import REASONS, Http1Error

HEAD_MOST, BODY_MOST = 256, 64
HOST = b"Host: a\r\n"
CHUNKED = b"Transfer-Encoding: chunked\r\n"


def reading(data: bytes, head_most: int = HEAD_MOST, body_most: int = BODY_MOST) -> RequestReader:
    reader = RequestReader(head_most, body_most)
    reader.push(data)
    return reader


def request(data: bytes) -> Request:
    reader = reading(data)
    read = reader.take()
    assert read is not None
    assert reader.buffered == 0
    return read


def refusal(data: bytes, head_most: int = HEAD_MOST, body_most: int = BODY_MOST) -> tuple[str, int]:
    reader = reading(data, head_most, body_most)
    with pytest.raises(Http1Error) as caught:
        list(iter(reader.take, None))
    assert caught.value.reason in REASONS
    return caught.value.reason, caught.value.status


def get(*lines: bytes, first: bytes = b"GET / HTTP/1.1") -> bytes:
    return first + b"\r\n" + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


def chunked(body: bytes) -> bytes:
    return b"POST / HTTP/1.1\r\n" + HOST + CHUNKED + b"\r\n" + body


def replying(data: bytes, head_most: int = HEAD_MOST, body_most: int = BODY_MOST) -> ReplyReader:
    reader = ReplyReader(head_most, body_most)
    reader.push(data)
    return reader


def reply(data: bytes) -> Reply:
    read = replying(data).take()
    assert read is not None
    return read


def reply_refusal(data: bytes, head_most: int = HEAD_MOST, body_most: int = BODY_MOST) -> str:
    reader = replying(data, head_most, body_most)
    with pytest.raises(Http1Error) as caught:
        list(iter(reader.take, None))
    return caught.value.reason


# requests


def test_a_request_is_read_with_all_its_parts() -> None:
    read = request(get(b"Host: a:80", b"X-One: 1", b"x-one:  2 ", first=b"PATCH /p?q=\xc3\xa1 HTTP/1.0"))
    assert (read.method, read.target, read.minor, read.body) == ("PATCH", b"/p?q=\xc3\xa1", 0, b"")
    assert read.block.values == {"host": "a:80", "x-one": "1, 2"}


def test_nothing_is_read_from_nothing() -> None:
    reader = RequestReader(HEAD_MOST, BODY_MOST)
    assert reader.take() is None
    assert not reader.unfinished
    reader.push(b"G")
    assert reader.take() is None
    assert reader.unfinished


def test_pipelined_requests_come_out_in_order() -> None:
    reader = reading(b"".join(get(b"Host: a", first=b"GET /%d HTTP/1.1" % number) for number in range(3)))
    assert [read.target for read in iter(reader.take, None)] == [b"/0", b"/1", b"/2"]
    assert not reader.unfinished


@pytest.mark.parametrize(
    ("lines", "minor", "keeps"),
    [
        ([], 1, True),
        ([b"Connection: close"], 1, False),
        ([b"Connection: keep-alive, Close"], 1, False),
        ([b"Connection: keep-alive", b"Connection: close"], 1, False),
        ([], 0, False),
        ([b"Connection: Keep-Alive"], 0, True),
        ([b"Connection: keep-alive, close"], 0, False),
    ],
)
def test_whether_the_asker_keeps_the_connection_is_read_by_version(lines: list[bytes], minor: int, keeps: bool) -> None:
    read = request(get(b"Host: a", *lines, first=b"GET / HTTP/1.%d" % minor))
    assert keeps == read.keeps_alive


def test_one_empty_line_may_stand_before_each_request_and_no_second() -> None:
    reader = reading(b"\r\n" + get(b"Host: a") + b"\r\n" + get(b"Host: a"))
    assert len(list(iter(reader.take, None))) == 2
    assert refusal(b"\r\n\r\n" + get(b"Host: a")) == ("bad_request_line", 400)
    reader = RequestReader(HEAD_MOST, BODY_MOST)
    reader.push(b"\r\n")
    assert reader.take() is None
    assert not reader.unfinished
    reader.push(b"\r\n")
    with pytest.raises(Http1Error, match="bad_request_line"):
        reader.take()


@pytest.mark.parametrize(
    ("target", "host", "read"),
    [
        (b"http://a/p?q", b"a", b"/p?q"),
        (b"http://a", b"a", b"/"),
        (b"HTTP://A:80?q=/", b"a", b"/?q=/"),
        (b"http://a/", b"a:80", b"/"),
        (b"http://a:8080/x", b"A:8080", b"/x"),
        (b"http://[::1]/x", b"[::1]", b"/x"),
        (b"/http://a/", b"b", b"/http://a/"),
        (b"//a/", b"b", b"//a/"),
    ],
)
def test_an_absolute_target_of_the_same_host_becomes_a_path(target: bytes, host: bytes, read: bytes) -> None:
    assert read == request(get(b"Host: " + host, first=b"GET %b HTTP/1.1" % target)).target


def test_an_absolute_target_needs_no_host_in_http_10() -> None:
    assert request(get(first=b"GET http://b/x HTTP/1.0")).target == b"/x"
    assert refusal(get(first=b"GET http://b@c/x HTTP/1.0")) == ("bad_host", 400)


def test_only_options_may_ask_about_everything() -> None:
    assert request(get(b"Host: a", first=b"OPTIONS * HTTP/1.1")).target == b"*"
    assert refusal(get(b"Host: a", first=b"GET * HTTP/1.1")) == ("bad_target", 400)


@pytest.mark.parametrize("host", [b"", b"a", b"a.b-c_d~e:80", b"[2001:db8::1]:80", b"10.0.0.1", b"%41"])
def test_a_host_of_these_letters_is_taken(host: bytes) -> None:
    assert request(get(b"Host: " + host)).block.hosts == 1


def test_http_10_needs_no_host() -> None:
    assert request(get(first=b"GET / HTTP/1.0")).block.hosts == 0
    assert refusal(get()) == ("bad_host", 400)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (chunked(b"x\r\n"), ("bad_chunk", 400)),
        (chunked(b"0123456789"), ("bad_chunk", 400)),  # no size line is as long as that
        (chunked(b"1\r\nx\n"), ("bad_chunk", 400)),
        (get(b"Host: a", b"Connection: X", b"X: y"), ("bad_connection", 400)),
        (get(b"Host: a", b"Content-Length: x"), ("bad_content_length", 400)),
        (get(b"Host: a", b"Expect: x"), ("bad_expectation", 417)),
        (get(b"Host: a", b"X y"), ("bad_header", 400)),
        (get(b"Host: a/"), ("bad_host", 400)),
        (get(b"Host: a", first=b"GET /"), ("bad_request_line", 400)),
        (get(b"Host: a", first=b"GET x HTTP/1.1"), ("bad_target", 400)),
        (get(b"Host: a", first=b"GET /#x HTTP/1.1"), ("bad_target", 400)),
        (chunked(b"0\r\nx y\r\n\r\n"), ("bad_trailer", 400)),
        (get(b"Host: a", b"Transfer-Encoding: x"), ("bad_transfer_encoding", 400)),
        (get(b"Host: a", first=b"GET / HTTP/2.0"), ("bad_version", 505)),
        (get(b"Host: a\nb: c"), ("bare_newline", 400)),
        (get(b"Host: a", b"Content-Length: 65"), ("body_too_large", 413)),
        (get(b"Host: a", b"X: " + b"y" * 256), ("head_too_large", 431)),
        (get(b"Host: a", b"Content-Length: 1", b"Transfer-Encoding: chunked"), ("length_and_chunked", 400)),
        (get(b"Host: a", b"Content-Type: x", b"Content-Type: x"), ("repeated_header", 400)),
    ],
)
def test_a_refusal_has_its_reason_and_status(data: bytes, expected: tuple[str, int]) -> None:
    assert expected == refusal(data)


# caps


def test_a_head_of_exactly_the_cap_is_read_and_one_byte_more_is_not() -> None:
    head = get(b"Host: a", b"X: ")
    full = get(b"Host: a", b"X: " + b"y" * (HEAD_MOST + 4 - len(head)))
    assert len(full) == HEAD_MOST + 4
    for size in (1, len(full)):
        reader = RequestReader(HEAD_MOST, BODY_MOST)
        read = None
        for at in range(0, len(full), size):
            reader.push(full[at : at + size])
            read = reader.take()
        assert read is not None
    assert refusal(full.replace(b"yy", b"yyy", 1)) == ("head_too_large", 431)
    assert refusal(full.replace(b"yy", b"yyy", 1)[:-1]) == ("head_too_large", 431)
    assert reading(full[:-1]).take() is None


def test_a_body_of_exactly_the_cap_is_read_and_one_byte_more_is_refused_before_it_comes() -> None:
    assert len(request(get(b"Host: a", b"Content-Length: 64") + b"x" * 64).body) == 64
    assert refusal(get(b"Host: a", b"Content-Length: 65")) == ("body_too_large", 413)
    assert len(request(chunked(b"3C\r\n" + b"x" * 60 + b"\r\n4\r\nxxxx\r\n0\r\n\r\n")).body) == 64
    assert refusal(chunked(b"3C\r\n" + b"x" * 60 + b"\r\n5\r\n")) == ("body_too_large", 413)


def test_trailers_of_exactly_the_cap_are_read_and_one_byte_more_is_not() -> None:
    trailer = b"X: " + b"y" * (HEAD_MOST - 3)
    for size in (1, 1000):
        reader = RequestReader(HEAD_MOST, BODY_MOST)
        data = chunked(b"0\r\n" + trailer + b"\r\n\r\n")
        read = None
        for at in range(0, len(data), size):
            reader.push(data[at : at + size])
            read = reader.take()
        assert read is not None
    assert refusal(chunked(b"0\r\n" + trailer + b"y\r\n\r\n")) == ("bad_trailer", 400)
    assert refusal(chunked(b"0\r\n" + trailer + b"y" * 4)) == ("bad_trailer", 400)


def test_a_large_body_is_collected_in_pieces_without_waiting_in_the_buffer() -> None:
    reader = RequestReader(HEAD_MOST, 1 << 20)
    reader.push(get(b"Host: a", b"Content-Length: 1000"))
    for _ in range(9):
        assert reader.take() is None
        reader.push(b"x" * 100)
        assert reader.buffered == 0
    reader.push(b"x" * 100 + b"GET")
    read = reader.take()
    assert read is not None
    assert (read.body, reader.buffered) == (b"x" * 1000, 3)


def test_many_small_chunks_cost_one_look_each() -> None:
    """A body of 40,000 chunks of one byte is read in the time of its bytes, not of their square."""
    reader = RequestReader(HEAD_MOST, 1 << 20)
    reader.push(chunked(b"1\r\nx\r\n" * 40_000))
    begun = process_time()
    assert reader.take() is None
    assert process_time() - begun < 1.0  # 0.03 here; cutting the buffer for each chunk takes 3
    assert reader.buffered == 0
    reader.push(b"0\r\n\r\n")
    read = reader.take()
    assert read is not None
    assert len(read.body) == 40_000


def test_the_table_of_known_blocks_never_passes_its_bound() -> None:
    for number in range(10_000):
        request(get(b"Host: a", b"X-Number: %d" % number))
        assert len(header_blocks._blocks) <= header_blocks.KEPT_BLOCKS
    before = dict(header_blocks._blocks)
    read_block(b"X: " + b"y" * header_blocks.KEPT_BLOCK_BYTES + b"\r\n")
    assert before == header_blocks._blocks


def test_a_block_that_was_read_before_is_the_same_one() -> None:
    assert read_block(b"Host: same\r\n") is read_block(b"Host: same\r\n")


# Expect


def test_an_asker_that_waits_to_be_told_is_known_until_its_body_came() -> None:
    head = get(b"Host: a", b"Expect: 100-Continue", b"Content-Length: 2")
    reader = reading(head)
    assert reader.take() is None
    assert reader.wants_continue
    reader.push(b"ok")
    read = reader.take()
    assert read is not None
    assert not reader.wants_continue
    assert b"expect" not in read.block.forwarded.lower()


def test_an_asker_told_once_is_not_told_again() -> None:
    reader = reading(get(b"Host: a", b"Expect: 100-continue", b"Transfer-Encoding: chunked"))
    assert reader.take() is None
    reader.wants_continue = False
    reader.push(b"1\r\n")
    assert reader.take() is None
    assert not reader.wants_continue


def test_nobody_waits_who_sent_the_body_or_speaks_http_10() -> None:
    reader = reading(get(b"Host: a", b"Expect: 100-continue", b"Content-Length: 2") + b"ok")
    assert reader.take() is not None
    assert not reader.wants_continue
    reader = reading(get(b"Expect: 100-continue", b"Content-Length: 2", first=b"POST / HTTP/1.0"))
    assert reader.take() is None
    assert not reader.wants_continue


# header blocks


def block(*lines: bytes) -> HeaderBlock:
    return read_block(b"".join(line + b"\r\n" for line in lines))


def test_what_is_not_touched_is_forwarded_as_written_less_what_belongs_to_the_hop() -> None:
    read = block(
        b"HOST:a", b"x-Odd:\t1 ", b"Connection: close", b"TE: x", b"Trailer: y", b"Upgrade: z", b"Keep-Alive: 1",
        b"Proxy-Authorization: p", b"Proxy-Connection: q", b"Expect: 100-continue", b"content-LENGTH:  3", b"z: \xff",
    )  # fmt: skip
    assert read.forwarded == b"HOST:a\r\nx-Odd:\t1 \r\ncontent-LENGTH:  3\r\nz: \xff\r\n"
    assert read.framed(3) == read.forwarded


def test_a_new_length_stands_where_the_old_one_stood() -> None:
    read = block(b"Host: a", b"content-LENGTH:  3", b"X: y")
    assert read.framed(12) == b"Host: a\r\ncontent-LENGTH: 12\r\nX: y\r\n"


def test_a_length_is_added_at_the_end_where_there_was_none() -> None:
    assert block(b"Host: a", b"Transfer-Encoding: chunked").framed(0) == b"Host: a\r\nContent-Length: 0\r\n"
    assert block().framed(1) == b"Content-Length: 1\r\n"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([b"X: y", b"hOST:a", b"Z: w"], b"X: y\r\nhOST: b:1\r\nZ: w\r\n"),
        ([b"Content-Length: 0", b"Host: a"], b"Content-Length: 0\r\nHost: b:1\r\n"),
        ([b"Host: a", b"Content-Length: 0"], b"Host: b:1\r\nContent-Length: 0\r\n"),
        ([b"X: host:a"], b"Host: b:1\r\nX: host:a\r\n"),
        ([], b"Host: b:1\r\n"),
    ],
)
def test_another_host_takes_the_place_of_the_old_or_comes_first(lines: list[bytes], expected: bytes) -> None:
    read = block(*lines).with_host(b"b:1")
    assert (expected, 1) == (read.forwarded, read.hosts)
    assert read.framed(7).count(b"7") == 1
    assert b": b:1\r\n" in read.framed(7)


def test_a_header_that_a_reply_names_as_of_this_hop_is_dropped() -> None:
    read = reply(b"HTTP/1.1 200 OK\r\nConnection: X-Hop, close\r\nX-Hop: 1\r\nX-End: 2\r\nContent-Length: 0\r\n\r\n")
    assert read.block.forwarded == b"X-End: 2\r\nContent-Length: 0\r\n"


def test_the_length_of_a_reply_stays_whatever_its_connection_names() -> None:
    read = reply(b"HTTP/1.1 200 OK\r\nConnection: Content-Length\r\nContent-Length: 2\r\n\r\nok")
    assert (read.body, read.block.framed(2)) == (b"ok", b"Content-Length: 2\r\n")


# replies


def test_a_reply_is_read_with_all_its_parts() -> None:
    read = reply(b"HTTP/1.1 404 Nincs itt \xe1\r\nContent-Length: 2\r\n\r\nno")
    assert (read.status, read.status_line, read.minor, read.body) == (404, b"404 Nincs itt \xe1", 1, b"no")
    assert read.reusable


@pytest.mark.parametrize(
    ("line", "header", "reusable"),
    [
        (b"HTTP/1.1 200", b"X: y", True),
        (b"HTTP/1.1 200 ", b"Connection: close", False),
        (b"HTTP/1.0 200 OK", b"X: y", False),
        (b"HTTP/1.0 200 OK", b"Connection: keep-alive", True),
        (b"HTTP/1.0 200 OK", b"Connection: keep-alive, close", False),
    ],
)
def test_whether_the_connection_may_be_used_again_is_read_by_version(
    line: bytes, header: bytes, reusable: bool
) -> None:
    assert reusable == reply(line + b"\r\n" + header + b"\r\nContent-Length: 0\r\n\r\n").reusable


def test_bytes_behind_a_reply_make_its_connection_useless() -> None:
    reader = replying(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n")
    first = reader.take()
    assert first is not None
    assert not first.reusable


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize(
    ("header", "reusable"),
    [(b"Content-Length: 5", False), (CHUNKED[:-2], False), (b"Content-Length: 0", True), (b"X: y", True)],
)
def test_a_reply_that_has_no_body_by_its_status_is_not_trusted_where_it_announces_one(
    status: int, header: bytes, reusable: bool
) -> None:
    read = reply(b"HTTP/1.1 %d x\r\n%b\r\n\r\n" % (status, header))
    assert (b"", reusable) == (read.body, read.reusable)


def test_interim_replies_are_passed_over() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
    final = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    reader = replying(interim)
    assert reader.take() is None
    assert reader.buffered == 0
    reader.push(interim + final)
    read = reader.take()
    assert read is not None
    assert read.status == 200


def test_endless_interim_replies_are_refused_and_the_count_begins_anew_with_each_reply() -> None:
    interim, final = b"HTTP/1.1 102 x\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    reader = replying((interim * 8 + final) * 2)
    assert len(list(iter(reader.take, None))) == 2
    assert reply_refusal(interim * 9 + final) == "bad_status_line"


def test_nobody_asked_to_switch_protocols() -> None:
    assert reply_refusal(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n") == "bad_status_line"


def test_a_reply_without_a_length_lasts_until_the_connection_ends() -> None:
    reader = replying(b"HTTP/1.1 200 OK\r\n\r\nab")
    assert reader.take() is None
    reader.push(b"c")
    assert reader.take() is None
    assert reader.buffered == 0
    read = reader.end()
    assert read is not None
    assert (read.body, read.reusable) == (b"abc", False)
    assert reader.end() is None


def test_a_reply_without_a_length_is_capped_at_exactly_the_cap() -> None:
    reader = replying(b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * BODY_MOST)
    assert reader.take() is None
    reader.push(b"x")
    with pytest.raises(Http1Error, match="body_too_large"):
        reader.take()
    assert reply_refusal(b"HTTP/1.0 200 OK\r\n\r\n" + b"x" * (BODY_MOST + 1)) == "body_too_large"


@pytest.mark.parametrize(
    "data",
    [
        b"H",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\na",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nH",
    ],
)
def test_a_reply_cut_off_in_its_middle_is_incomplete(data: bytes) -> None:
    reader = replying(data)
    assert reader.take() is None
    with pytest.raises(Http1Error, match="incomplete"):
        reader.end()


def test_a_connection_that_ends_between_replies_just_ends() -> None:
    assert ReplyReader(HEAD_MOST, BODY_MOST).end() is None
    reader = replying(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert reader.take() is None
    assert reader.end() is None


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"HTTP/2 200 OK\r\n\r\n", "bad_status_line"),
        (b"HTTP/1.2 200 OK\r\n\r\n", "bad_status_line"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "bad_status_line"),
        (b"HTTP/1.1 099 OK\r\n\r\n", "bad_status_line"),
        (b"HTTP/1.1  200 OK\r\n\r\n", "bad_status_line"),
        (b"HTTP/1.1 200 O\x00K\r\n\r\n", "bad_status_line"),
        (b"\r\nHTTP/1.1 200 OK\r\n\r\n", "bad_status_line"),
        (b"\r\n", "bad_status_line"),
        (b"ICY 200 OK\r\n\r\n", "bad_status_line"),
        (b"HTTP/1.1 200 OK\nContent-Length: 0\n\n", "bare_newline"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\n\r\n\r\n", "bare_newline"),
        (b"HTTP/1.1 200 OK\r\nX : y\r\n\r\n", "bad_header"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", "bad_content_length"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "bad_transfer_encoding"),
        (b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "bad_transfer_encoding"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n", "length_and_chunked"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 65\r\n\r\n", "body_too_large"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 256 + b"\r\n\r\n", "head_too_large"),
    ],
)
def test_a_reply_that_is_none_is_refused_with_its_reason(data: bytes, reason: str) -> None:
    assert reason == reply_refusal(data)


@pytest.mark.parametrize(
    "header", [b"Content-Type: x\r\nContent-Type: y", b"Content_Length: 5", b"Host: ?", b"Expect: x"]
)
def test_what_only_a_receiver_of_requests_could_misread_is_let_pass_in_a_reply(header: bytes) -> None:
    assert reply(b"HTTP/1.1 200 OK\r\n%b\r\nContent-Length: 0\r\n\r\n" % header).status == 200
