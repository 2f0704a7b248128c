"""Our readers beside h11 and httptools, over messages that are nearly right, cut at every place.

What is granted where we differ stands at the head of ``fuzz/oracle.py``.
"""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz import oracle, seeds

MANY = settings(
    max_examples=min(8_000, settings().max_examples * 7), deadline=None, suppress_health_check=list(HealthCheck)
)
END = b"\r\n"
NOISE = (
    *(
        b"\r",
        b"\n",
        b"\r\n",
        b"\0",
        b" ",
        b"\t",
        b"\x0b",
        b"\x0c",
        b"\x7f",
        b"\xa0",
        b":",
        b",",
        b";",
        b"#",
        b"_",
        b"0",
        b"\r\n ",
    ),
    *(
        b"\r\n\t",
        b"\r\n\r\n",
        b"\n\n",
        b"\n\r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Host: b\r\n",
    ),
)


def near[T](good: Sequence[T], odd: Sequence[T]) -> st.SearchStrategy[T]:
    """One of the good ones, fifteen times of sixteen."""
    return st.sampled_from((*tuple(good) * (15 * len(odd) // len(good) + 1), *odd))


METHODS = near((b"GET", b"POST", b"OPTIONS"), (b"get", b"", b"P(ST", b"G" * 33, b"PRI", b"CONNECT"))
BLANKS = near((b" ",), (b"  ", b"\t", b"", b"\x0b"))
PATHS = near(
    (b"/", b"/?command=Call&Dialed=%2B36", b"/\xc3\xa1", b"http://a/x", b"*"),
    (b"", b"x", b"http://b/", b"http:///", b"https://a/", b"http://a?x", b"/#x", b"/\x7f", b"a:80", b"//b/"),
)
VERSIONS = near(
    (b"HTTP/1.1", b"HTTP/1.0"), (b"HTTP/1.2", b"HTTP/2.0", b"http/1.1", b"HTTP/1.10", b"HTTP/11", b"", b"HTTP/0.9")
)
LENGTHS = near(
    (b"Content-Length: %d",),
    (
        b"Content-Length: +%d",
        b"Content-Length: 0%d",
        b"Content-Length: %d, %d",
        b"Content-Length: %x",
        b"Content-Length: -%d",
        b"Content-Length : %d",
        b"Content-Length: %d ",
    ),
)
CODINGS = near(
    (b"Transfer-Encoding: chunked",),
    (
        *(
            b"Transfer-Encoding: Chunked",
            b"Transfer-Encoding: identity",
            b"Transfer-Encoding:chunked ",
            b"Transfer-Encoding:",
        ),
        *(b"Transfer-Encoding : chunked", b"transfer_encoding: chunked", b"Transfer-Encoding: gzip, chunked"),
    ),
)
OTHERS = near(
    (b"Accept: */*", b"X-A:1", b"X-A: \t2 ", b"Cookie: \xe1\xff", b"Connection: keep-alive", b"Connection: close"),
    (
        *(b"X: a\nb", b"X: a\rb", b"X : y", b": y", b"X", b"X\t: y", b" X: y", b"X: \x00", b"X: \x01", b"\xe1: y", b""),
        *(b"Connection: Host", b"Connection: Content-Length", b"Expect: 100-continue", b"Expect: x", b"Upgrade: h2c"),
    ),
)
HOSTS = near((b"Host: a", b"host:a"), (b"", b"Host: a\r\nHost: a", b"Host: a/b", b"Host: \xe1", b"Host:"))
BODIES = st.binary(max_size=8)


@st.composite
def chunks(draw: st.DrawFn) -> bytes:
    """A chunked body, now and then with an oddity in one of its lines."""
    body = b""
    for data in draw(st.lists(st.binary(min_size=1, max_size=20), max_size=3)):
        size = draw(
            near(
                (b"%x" % len(data), b"%X" % len(data), b"0%x" % len(data)),
                (
                    b"0x%x" % len(data),
                    b"%x;e=f" % len(data),
                    b"%x " % len(data),
                    b" %x" % len(data),
                    b"+%x" % len(data),
                    b"%x" % (len(data) + 1),
                    b"000000000%x" % len(data),
                ),
            )
        )
        body += size + draw(near((END,), (b"\n", b"\r", b" \r\n"))) + data + draw(near((END,), (b"\n", b"", b"xx")))
    last = draw(near((b"0\r\n", b"00\r\n"), (b"0\n", b"0;x\r\n", b"", b"-0\r\n")))
    return (
        body
        + last
        + draw(
            near(
                (END, b"X: y\r\n\r\n"), (b"", b"X : y\r\n\r\n", b"X: y\n\r\n", b"\n", b"Host: a\r\n\r\n", b" \r\n\r\n")
            )
        )
    )


@st.composite
def framed(draw: st.DrawFn, lines: list[bytes]) -> bytes:
    """Header lines and the body that they announce, more or less."""
    match draw(near(("none", "length", "length", "chunked", "chunked"), ("both",))):
        case "none":
            body = b""
        case "length":
            body = draw(BODIES)
            written = draw(LENGTHS)
            lines.append(written.replace(b"%d", b"%d" % len(body)).replace(b"%x", b"%#x" % len(body)))
        case "chunked":
            lines.append(draw(CODINGS))
            body = draw(chunks())
        case _:
            body = draw(chunks())
            lines += [draw(CODINGS), b"Content-Length: %d" % len(body)]
    lines = draw(st.permutations(lines))
    return b"".join(line + END for line in lines if line) + END + body


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A request or two, nearly right."""
    stream = b""
    for _ in range(draw(st.sampled_from((1, 1, 2)))):
        stream += draw(near((b"", b"", END), (b"\n", b"\r\n\r\n", b" ")))
        stream += draw(METHODS) + draw(BLANKS) + draw(PATHS) + draw(BLANKS) + draw(VERSIONS) + END
        stream += draw(framed([draw(HOSTS), *draw(st.lists(OTHERS, max_size=3))]))
    return draw(spoilt(stream))


@st.composite
def replies(draw: st.DrawFn) -> bytes:
    """A reply or two, nearly right, now and then after an interim one."""
    stream = b""
    for _ in range(draw(st.sampled_from((1, 1, 2)))):
        stream += draw(
            near(
                (b"", b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
                (b"HTTP/1.1 101 x\r\n\r\n", END, b" ", b"HTTP/1.1 103\r\nX\r\n\r\n"),
            )
        )
        status = draw(
            near(
                (b" 200 OK", b" 204 No", b" 304", b" 500 \xe1 "),
                (b" 20 OK", b"  200 OK", b" 099 x", b" 200\tOK", b" 1000 x", b" 600 x"),
            )
        )
        stream += draw(VERSIONS) + status + END + draw(framed(draw(st.lists(OTHERS, max_size=3))))
    return draw(spoilt(stream))


@st.composite
def spoilt(draw: st.DrawFn, stream: bytes) -> bytes:
    """The stream as it is, or cut short, or with something put in or taken out."""
    for _ in range(draw(st.sampled_from((0, 0, 0, 0, 1)))):
        at = draw(st.integers(0, len(stream)))
        match draw(st.sampled_from(("put", "put", "put", "take", "end"))):
            case "put":
                stream = stream[:at] + draw(st.sampled_from(NOISE)) + stream[at:]
            case "take":
                stream = stream[:at] + stream[at + 1 :]
            case _:
                stream = stream[:at]
    return stream


def assert_requests_do_not_depend_on_cuts(data: bytes, places: Sequence[int] = ()) -> None:
    whole = oracle.requests([data])
    for place in range(1, len(data)):
        assert whole == oracle.requests([data[:place], data[place:]]), place
    assert whole == oracle.requests(oracle.cuts(data, range(1, len(data))))
    assert whole == oracle.requests(oracle.cuts(data, sorted(min(place, len(data)) for place in places)))


def assert_replies_do_not_depend_on_cuts(data: bytes, *, ended: bool, places: Sequence[int] = ()) -> None:
    whole = oracle.replies([data], ended=ended)
    for place in range(1, len(data)):
        assert whole == oracle.replies([data[:place], data[place:]], ended=ended), place
    assert whole == oracle.replies(oracle.cuts(data, range(1, len(data))), ended=ended)
    pieces = oracle.cuts(data, sorted(min(place, len(data)) for place in places))
    assert whole == oracle.replies(pieces, ended=ended)


PLACES = st.lists(st.integers(0, 400), max_size=8)


@pytest.mark.fuzz
@MANY
@given(requests(), PLACES)
def test_requests_are_read_as_h11_reads_them_wherever_they_are_cut(data: bytes, places: list[int]) -> None:
    assert oracle.disagreement(data) == ""
    assert oracle.disagreement_with_llhttp(data) == ""
    assert_requests_do_not_depend_on_cuts(data, places)


@pytest.mark.fuzz
@MANY
@given(replies(), st.booleans(), PLACES)
def test_replies_are_read_as_h11_reads_them_wherever_they_are_cut(data: bytes, ended: bool, places: list[int]) -> None:
    assert oracle.disagreement_on_replies(data, ended=ended) == ""
    assert_replies_do_not_depend_on_cuts(data, ended=ended, places=places)


@pytest.mark.parametrize("data", seeds.REQUESTS)
def test_a_real_request_is_read_alike_with_any_oddity_at_any_place(data: bytes) -> None:
    assert oracle.requests([data]).refused == ""
    for oddity, place in itertools.product((b"\n", b"\r", b"\0", b" ", b"\t"), range(len(data) + 1)):
        spoilt_data = data[:place] + oddity + data[place:]
        assert oracle.disagreement(spoilt_data) == "", spoilt_data


@pytest.mark.parametrize("data", seeds.REPLIES)
def test_a_real_reply_is_read_alike_with_any_oddity_at_any_place(data: bytes) -> None:
    assert oracle.replies([data], ended=True).refused == ""
    for oddity, place in itertools.product((b"\n", b"\r", b"\0", b" ", b"\t"), range(len(data) + 1)):
        spoilt_data = data[:place] + oddity + data[place:]
        assert oracle.disagreement_on_replies(spoilt_data, ended=True) == "", spoilt_data


@pytest.mark.parametrize("data", seeds.REQUESTS)
def test_a_real_request_does_not_depend_on_cuts_whole_or_broken_off(data: bytes) -> None:
    for end in range(0, len(data) + 1, 5):
        assert_requests_do_not_depend_on_cuts(data[:end])


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\nHost: a\r\nX: " + b"y" * 5000,  # a bare LF before the cap
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * 5000 + b"\n",  # and behind it
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * (4096 - 28) + b"\r\r\n\r\n",  # and on it
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * (4096 - 27) + b"\r\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"y" * (4096 - 26) + b"\r\r\n\r\n",
        b"GET / HTTP/2.0\r\nX: y\nZ: w\r\n\r\n",  # two faults: the first in the order of the bytes is told
        b"GET /\r\nX : y\r\n\n\r\n\r\n",
        b"\r\n\r\n\n",
        b"\r\n\n\r\n\r\n",
    ],
    ids=range(9),
)
def test_the_reason_of_a_refusal_is_the_same_at_the_borders(data: bytes) -> None:
    whole = oracle.requests([data])
    assert whole.refused
    assert whole == oracle.requests(oracle.cuts(data, range(1, len(data))))
    for place in (*range(1, min(len(data), 40)), *range(4080, min(len(data), 4110))):
        assert whole == oracle.requests([data[:place], data[place:]]), place


def test_h11_is_really_asked() -> None:
    """The oracle itself: it sees a difference where there is one."""
    good = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    assert len(oracle.h11_requests(good * 3).messages) == 3
    assert oracle.h11_requests(b"GET / HTTP/1.1\r\n\r\n").refused
    ours = oracle.requests([good])
    assert oracle._difference(ours, oracle.h11_requests(good.replace(b"/ ", b"/x ")))
    assert oracle._difference(ours, oracle.Reading((), "refused", waits=False))
    assert oracle._difference(ours, oracle.Reading((), "", waits=True))
    assert oracle._difference(oracle.Reading((), "", waits=True), ours)
    assert oracle._difference(oracle.Reading((), "", waits=True), oracle.Reading((), "refused", waits=False))
