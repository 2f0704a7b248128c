"""What is asked and what is answered: methods, framing of both sides, the forms a command may take."""

import asyncio
from collections.abc import Callable

import pytest

from tests.gateway.harness import OK_XML, Backend, Client, Proxy, Script, answering, read_request, saying

Start = Callable[..., Proxy]
StartBackend = Callable[[Script], Backend]

FORM = b"Content-Type: application/x-www-form-urlencoded\r\n"
COMMAND = b"GET /?command=ListActiveCalls HTTP/1.1\r\nHost: pbx.test\r\n\r\n"
REWRITING = """
rules:
  - name: no-premium
    on: Call
    when: {number: {class: premium}}
    deny: {code: 306, message: "Premium numbers are not dialled"}
  - name: main-line
    on: Call
    rewrite: {set: {CallerId: "+3612222222"}}
  - name: rest
    on: command
    allow: true
"""


def head_of(request: bytes) -> list[bytes]:
    return request.partition(b"\r\n\r\n")[0].split(b"\r\n")


def header(request: bytes, name: bytes) -> list[bytes]:
    """The values of a header, in order."""
    lines = (line.partition(b":") for line in head_of(request)[1:])
    return [value.strip() for written, _, value in lines if written.lower() == name]


# methods


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n", 204),
        (b"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 204),
        (b"OPTIONS /?command=Call&Dialed=1001 HTTP/1.1\r\nHost: a\r\n\r\n", 204),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        (b"HEAD /?command=Call&Dialed=1001 HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\nContent-Length: 12\r\n\r\ncommand=Call", 405),
        (b"PUT /?command=Call HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab", 405),
        (b"PATCH /?command=Call HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", 405),
        (b"DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"DELETE /?command=Call HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"TRACE /?command=Call HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"get /?command=Call HTTP/1.1\r\nHost: a\r\n\r\n", 405),
        (b"PROPFIND /?command=Call HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    ],
)
def test_other_methods_are_answered_here_and_the_connection_goes_on(
    proxy: Start, backend: StartBackend, raw: bytes, status: int
) -> None:
    pbx = backend(answering())
    running = proxy(pbx.port)
    client = running.client().send(raw)
    answer = client.read(bodiless=raw.startswith(b"HEAD") or status == 204)
    assert (answer.status, answer.body) == (status, b"")
    if status != 200:
        carries_a_command = b"?command" in raw or b"\r\n\r\ncommand" in raw
        allowed = {"GET", "POST", "OPTIONS"} if carries_a_command else {"GET", "HEAD", "POST", "OPTIONS"}
        assert set(answer.headers["allow"].split(", ")) == allowed
    assert client.send(COMMAND).read().code == 200
    assert len(pbx.requests) == 1
    assert len(running.decisions()) == 1
    assert running.counted('interceptor_refusals_total{reason="method"}') == (status == 405)


@pytest.mark.parametrize("target", [b"pbx.test:9780", b"/", b"http://pbx.test:9780/"])
def test_a_tunnel_is_never_opened(proxy: Start, backend: StartBackend, target: bytes) -> None:
    pbx = backend(answering())
    client = proxy(pbx.port).client().send(b"CONNECT %b HTTP/1.1\r\nHost: pbx.test:9780\r\n\r\n" % target)
    assert client.read().status in {400, 405}
    assert (pbx.requests, pbx.connections) == ([], 0)


# Expect


def expecting(body: bytes, expectation: bytes = b"100-continue", version: bytes = b"1.1") -> bytes:
    return b"POST / HTTP/%b\r\nHost: a\r\n%bExpect: %b\r\nContent-Length: %d\r\n\r\n" % (
        version,
        FORM,
        expectation,
        len(body),
    )


def test_who_waits_for_100_continue_gets_it_and_it_goes_no_further(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(answering())
    client = proxy(pbx.port).client()
    body = b"command=ListExtensions"
    for expectation in (b"100-continue", b"100-Continue"):
        client.send(expecting(body, expectation))
        interim = client.read()
        assert interim.raw == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert client.send(body).read().code == 200
    assert [header(request, b"expect") for request in pbx.requests] == [[], []]
    assert pbx.requests[0].endswith(b"\r\n\r\n" + body)


def test_100_continue_is_not_said_where_the_body_is_there_or_the_peer_is_of_http_1_0(
    proxy: Start, backend: StartBackend
) -> None:
    running = proxy(backend(answering()).port)
    body = b"command=ListExtensions"
    assert running.client().send(expecting(body) + body).read().status == 200
    old = running.client().send(expecting(body, version=b"1.0")[:-1])
    assert old.send(b"\n").send(body).read().status == 200


def test_an_unknown_expectation_is_refused(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(answering())
    client = proxy(pbx.port).client().send(expecting(b"x", b"a-miracle"))
    assert (client.read().status, client.ended(), pbx.requests) == (417, True, [])


# framing of requests


def test_a_chunked_request_goes_on_with_a_length_and_without_trailers(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(answering())
    client = proxy(pbx.port).client()
    client.send(
        b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\nX-Before: 1\r\nTrailer: X-Late\r\n"
        + FORM
        + b"\r\n"
        b"8\r\ncommand=\r\nE\r\nListExtensions\r\n0\r\nX-Late: 1\r\n\r\n"
    )
    assert client.read().code == 200
    (request,) = pbx.requests
    assert request.endswith(b"\r\n\r\ncommand=ListExtensions")
    assert header(request, b"content-length") == [b"22"]
    assert header(request, b"transfer-encoding") + header(request, b"trailer") + header(request, b"x-late") == []
    assert header(request, b"x-before") == [b"1"]


def test_a_chunked_request_is_judged_and_rewritten_like_any_other(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(answering())
    client = proxy(pbx.port, rules=REWRITING).client()

    def chunked(body: bytes) -> bytes:
        lines = b"POST / HTTP/1.1\r\nHost: a\r\n%bTransfer-Encoding: chunked\r\n\r\n" % FORM
        return lines + b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"

    assert client.send(chunked(b"command=Call&Dialed=%2B3690123456")).read().code == 306
    assert client.send(chunked(b"command=Call&Dialed=1001")).read().code == 200
    expected = b"command=Call&CallerId=%2B3612222222&Dialed=1001"
    body = pbx.requests[0].partition(b"\r\n\r\n")[2]
    assert sorted(body.split(b"&")) == sorted(expected.split(b"&"))
    assert len(pbx.requests) == 1


def test_a_post_without_a_body_goes_on_with_a_length_of_zero(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(answering())
    client = proxy(pbx.port).client()
    assert (
        client.send(b"POST /?command=ListExtensions HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").read().code
        == 200
    )
    assert client.send(b"POST /?command=ListExtensions HTTP/1.1\r\nHost: a\r\n\r\n").read().code == 200
    assert header(pbx.requests[0], b"content-length") == [b"0"]
    assert header(pbx.requests[1], b"content-length") in ([], [b"0"])


# framing of replies


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize(
    "raw",
    [
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n"
            b"5\r\nhello\r\n6\r\n world\r\n0\r\nX-T: 1\r\n\r\n"
        ),
        b"HTTP/1.1 200 OK\r\nX-A: 1\r\n\r\nhello world",
        b"HTTP/1.0 200 OK\r\nX-A: 1\r\n\r\nhello world",
        b"HTTP/1.0 200 OK\r\nX-A: 1\r\nContent-Length: 11\r\n\r\nhello world",
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
            b"HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 11\r\n\r\nhello world"
        ),
    ],
    ids=["chunked", "until-close", "1.0-until-close", "1.0", "after-interim"],
)
def test_every_reply_goes_back_with_a_length_and_never_chunked(
    proxy: Start, backend: StartBackend, raw: bytes, version: bytes
) -> None:
    client = proxy(backend(saying(raw)).port).client()
    answer = client.send(COMMAND.replace(b"1.1", version)).read()
    assert answer.raw.startswith(b"HTTP/%b 200 OK\r\n" % version)
    assert (answer.body, answer.headers["content-length"], answer.headers["x-a"]) == (b"hello world", "11", "1")
    assert not {"transfer-encoding", "trailer", "x-t", "link"} & set(answer.headers)
    if version == b"1.0":
        assert client.ended()
    else:
        assert client.send(COMMAND).read().body == b"hello world"


@pytest.mark.parametrize(
    "head",
    [
        b"204 No Content\r\n",
        b"204 No Content\r\nContent-Length: 0\r\n",
        b"304 Not Modified\r\nETag: x\r\n",
        b"304 Not Modified\r\nContent-Length: 42\r\n",
    ],
)
def test_replies_without_a_body_have_none(proxy: Start, backend: StartBackend, head: bytes) -> None:
    client = proxy(backend(saying(b"HTTP/1.1 " + head + b"\r\n", close=False)).port).client()
    for _ in range(2):
        answer = client.send(COMMAND).read(bodiless=True)
        assert answer.raw.startswith(b"HTTP/1.1 " + head.partition(b"\r\n")[0])
    assert client.send(b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").read(bodiless=True).status == 204
    assert client.ended()


def test_status_line_and_body_of_a_reply_pass_as_they_came(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(answering(b"\x00\xff<not xml", status=b"404 Nichts d\xe4"))
    answer = proxy(pbx.port).get("/?command=ListActiveCalls")
    assert answer.raw.startswith(b"HTTP/1.1 404 Nichts d\xe4\r\n")
    assert answer.body == b"\x00\xff<not xml"


def test_a_reply_in_single_bytes_arrives_whole(proxy: Start, backend: StartBackend) -> None:
    async def dripping(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, backend: Backend) -> None:
        while True:
            backend.seen(await read_request(reader))
            for byte in b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n":
                writer.write(bytes([byte]))
                await asyncio.sleep(0)

    pbx = backend(dripping)
    client = proxy(pbx.port).client()
    assert [client.send(COMMAND).read().body for _ in range(2)] == [b"abc", b"abc"]
    assert pbx.connections == 1


# the forms of a command


def posting(client: Client, body: bytes, lines: bytes = FORM, target: bytes = b"/") -> Client:
    return client.send(
        b"POST %b HTTP/1.1\r\nHost: a\r\n%bContent-Length: %d\r\n\r\n%b" % (target, lines, len(body), body)
    )


def test_a_form_is_judged_by_its_body_and_rewritten_in_its_body(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(answering())
    client = proxy(pbx.port, rules=REWRITING).client()
    assert posting(client, b"command=Call&Dialed=%2B3690123456").read().code == 306
    body = b"a=1&command=Call&CallerId=1000&Dialed=%2b36201234567&z=%zz"
    assert posting(client, body, target=b"/x?y=2").read().code == 200
    (request,) = pbx.requests
    assert head_of(request)[0] == b"POST /x?y=2 HTTP/1.1"
    expected = body.replace(b"CallerId=1000", b"CallerId=%2B3612222222")
    assert request.partition(b"\r\n\r\n")[2] == expected
    assert header(request, b"content-length") == [b"%d" % len(expected)]


@pytest.mark.parametrize(
    ("target", "body", "named"),
    [
        (b"/?command=ListExtensions", b"command=Call", b"command"),
        (b"/?command=Call&Dialed=1001", b"DIALED=%2B3690123456", b"D"),
        (b"/", b"command=Call&Dialed=1001&dialed=1002", b"D"),
        (b"/?command=Call&command=Call", b"", b"command"),
    ],
)
def test_what_is_said_twice_is_refused_by_name_and_never_sent(
    proxy: Start, backend: StartBackend, target: bytes, body: bytes, named: bytes
) -> None:
    pbx = backend(answering())
    answer = posting(proxy(pbx.port).client(), body, target=target).read()
    assert (answer.status, answer.code, pbx.requests) == (200, 302, [])
    assert named.lower() in answer.body.lower()


def test_what_is_said_twice_passes_where_config_says_so(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(answering())
    assert proxy(pbx.port, pass_ambiguous=True).get("/?command=ListExtensions&x=1&X=2").code == 200
    assert head_of(pbx.requests[0])[0] == b"GET /?command=ListExtensions&x=1&X=2 HTTP/1.1"


def test_a_body_without_a_content_type_is_judged_as_the_form_that_the_pbx_may_read_in_it(
    proxy: Start, backend: StartBackend
) -> None:
    pbx = backend(answering())
    client = proxy(pbx.port, rules=REWRITING).client()
    assert posting(client, b"command=Call&Dialed=%2B3690123456", b"").read().code == 306
    assert posting(client, b"Dialed=%2B3690123456", b"", b"/?command=Call").read().code == 306
    assert posting(client, b"command=Call&Dialed=1001", b"", b"/?command=ListExtensions").read().code == 302
    assert pbx.requests == []
    assert posting(client, b"command=ListExtensions", b"").read().code == 200
    assert pbx.requests[0].endswith(b"\r\n\r\ncommand=ListExtensions")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (
            b"multipart/form-data; boundary=b",
            b'--b\r\nContent-Disposition: form-data; name="Dialed"\r\n\r\n+3690123456\r\n--b--\r\n',
        ),
        (b"application/json", b'{"Dialed": "+3690123456"}'),
        (b"text/plain", b"Dialed=%2B3690123456"),
        (b"application/x-www-form-urlencoded-not", b"Dialed=%2B3690123456"),
    ],
)
def test_a_body_that_no_rule_can_see_is_never_sent(
    proxy: Start, backend: StartBackend, kind: bytes, body: bytes
) -> None:
    pbx = backend(answering())
    running = proxy(pbx.port, rules=REWRITING)
    answer = posting(running.client(), body, b"Content-Type: %b\r\n" % kind, b"/?command=Call").read()
    assert (answer.code, pbx.requests) == (302, [])
    assert b"Content-Type" in answer.body


@pytest.mark.parametrize(
    ("sent", "arrives"),
    [
        (b"/command=ListActiveCalls", b"/command=ListActiveCalls"),
        (b"http://pbx.test/?command=ListActiveCalls", b"/?command=ListActiveCalls"),
        (b"HTTP://PBX.test:80/?command=ListActiveCalls", b"/?command=ListActiveCalls"),
        (b"http://pbx.test?command=ListActiveCalls", b"/?command=ListActiveCalls"),
        (b"/a/b?command=ListActiveCalls", b"/a/b?command=ListActiveCalls"),
        (b"//x/?command=ListActiveCalls", b"//x/?command=ListActiveCalls"),
    ],
)
def test_a_command_may_be_asked_in_these_forms(
    proxy: Start, backend: StartBackend, sent: bytes, arrives: bytes
) -> None:
    pbx = backend(answering())
    running = proxy(pbx.port)
    answer = running.client().send(b"GET %b HTTP/1.1\r\nHost: pbx.test\r\n\r\n" % sent).read()
    assert answer.body == OK_XML
    assert head_of(pbx.requests[0])[0] == b"GET %b HTTP/1.1" % arrives
    assert running.decisions()[0].name == "ListActiveCalls"


def test_a_request_without_a_command_is_answered_by_name_of_what_is_missing(
    proxy: Start, backend: StartBackend
) -> None:
    pbx = backend(answering())
    answer = proxy(pbx.port).get("/favicon.ico")
    assert (answer.status, answer.code, pbx.requests) == (200, 302, [])
    assert b"command" in answer.body
