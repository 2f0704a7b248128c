"""Headers: what belongs to one hop stays on it, ours are added, all else passes as it was written."""

import re
from collections.abc import Callable, Iterator

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from interceptor.settings import Cluster, Credentials, ForwardHeaders, Secret, Url
from tests.gateway.harness import ALLOW_ALL, LOCAL, Backend, Loop, Proxy, Script, answering, saying, settings_for

Start = Callable[..., Proxy]
StartBackend = Callable[[Script], Backend]

NONE = ForwardHeaders(via=False, forwarded_for=False, exchange=False)
OURS = [b"Via", b"X-Forwarded-For", b"X-Interceptor-Exchange"]


def lines_of(message: bytes) -> list[bytes]:
    return message.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:]


def ask(running: Proxy, *lines: bytes) -> bytes:
    """The answer to a command with these header lines, as it came."""
    head = b"".join(line + b"\r\n" for line in lines)
    client = running.client().send(b"GET /?command=ListActiveCalls HTTP/1.1\r\nHost: pbx.test\r\n" + head + b"\r\n")
    return client.read().raw


# hop by hop


def test_what_belongs_to_the_askers_connection_stays_on_it(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(answering())
    ask(
        proxy(pbx.port, headers=NONE),
        b"X-First: 1",
        b"Connection: keep-alive, TE, upgrade, x-not-here",
        b"Keep-Alive: timeout=5",
        b"TE: trailers",
        b"Upgrade: websocket",
        b"Proxy-Connection: keep-alive",
        b"Proxy-Authorization: Basic eDp5",
        b"HTTP2-Settings: AAMAAABkAAQAAP__",
        b"Authorization: Basic eDp5",
        b"X-Last: 2",
    )
    assert lines_of(pbx.requests[0]) == [
        b"Host: pbx.test",
        b"X-First: 1",
        b"Authorization: Basic eDp5",
        b"X-Last: 2",
    ]


def test_a_connection_header_that_would_take_a_header_of_the_message_away_is_refused(
    proxy: Start, backend: StartBackend
) -> None:
    pbx = backend(answering())
    running = proxy(pbx.port)
    for named in (b"X-Secret", b"Content-Type", b"x-secret, close"):
        assert ask(running, b"X-Secret: 1", b"Content-Type: a/b", b"Connection: " + named).startswith(b"HTTP/1.1 400 ")
    assert pbx.requests == []


def test_what_belongs_to_the_pbxs_connection_stays_on_it(proxy: Start, backend: StartBackend) -> None:
    raw = (
        b"HTTP/1.1 200 OK\r\nServer: Microsoft-HTTPAPI/2.0\r\nConnection: close, X-Hop\r\n"
        b"X-Hop: 1\r\nKeep-Alive: timeout=5\r\n"
        b"Upgrade: h2c\r\nProxy-Authenticate: Basic\r\ncontent-LENGTH: 2\r\nDate: today\r\n\r\nok"
    )
    answer = ask(proxy(backend(saying(raw)).port, headers=NONE))
    assert answer == b"HTTP/1.1 200 OK\r\nServer: Microsoft-HTTPAPI/2.0\r\ncontent-LENGTH: 2\r\nDate: today\r\n\r\nok"


# ours


def test_our_headers_tell_the_way_and_the_exchange(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(answering())
    running = proxy(pbx.port)
    answer = ask(running, b"X-Forwarded-For: 10.1.1.1", b"Via: 1.1 other")
    exchange = running.decisions()[0].exchange.encode()
    assert lines_of(pbx.requests[0]) == [
        b"Host: pbx.test",
        b"X-Forwarded-For: 10.1.1.1",
        b"Via: 1.1 other",
        b"Via: 1.1 interceptor",
        b"X-Forwarded-For: 127.0.0.1",
        b"X-Interceptor-Exchange: " + exchange,
    ]
    assert lines_of(answer)[-2:] == [b"Via: 1.1 interceptor", b"X-Interceptor-Exchange: " + exchange]


def test_the_exchange_that_another_proxy_gave_does_not_stand_beside_ours(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(saying(b"HTTP/1.1 200 OK\r\nX-Interceptor-Exchange: theirs\r\nContent-Length: 2\r\n\r\nok"))
    running = proxy(pbx.port)
    answer = ask(running, b"x-interceptor-exchange: theirs")
    ours = b"X-Interceptor-Exchange: " + running.decisions()[0].exchange.encode()
    for lines in (lines_of(pbx.requests[0]), lines_of(answer)):
        assert [line for line in lines if line.lower().startswith(b"x-interceptor-exchange")] == [ours]


def test_an_answer_that_has_no_body_has_no_length(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(saying(b"HTTP/1.1 204 No Content\r\nServer: x\r\nContent-Length: 0\r\n\r\n"))
    answer = ask(proxy(pbx.port, headers=NONE))
    assert answer == b"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n"


def test_via_names_the_version_that_was_received(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(saying(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"))
    answer = proxy(pbx.port).client().send(b"GET /?command=ListActiveCalls HTTP/1.0\r\n\r\n").read()
    assert b"Via: 1.0 interceptor" in lines_of(pbx.requests[0])
    assert answer.headers["via"] == "1.0 interceptor"


@pytest.mark.parametrize("off", [0, 1, 2])
def test_each_of_our_headers_can_be_left_out(proxy: Start, backend: StartBackend, off: int) -> None:
    pbx = backend(answering())
    shown = [index != off for index in range(3)]
    answer = ask(proxy(pbx.port, headers=ForwardHeaders(*shown)))
    names = [line.partition(b":")[0] for line in lines_of(pbx.requests[0])]
    assert [name in names for name in OURS] == shown
    names = [line.partition(b":")[0] for line in lines_of(answer)]
    assert [name in names for name in OURS] == [shown[0], False, shown[2]]


@pytest.mark.parametrize("headers", [ForwardHeaders(), NONE])
def test_an_answer_of_our_own_names_the_exchange_unless_told_not_to(proxy: Start, headers: ForwardHeaders) -> None:
    running = proxy(9, rules="rules:\n  - {name: no, on: command, deny: {code: 306}}\n", headers=headers)
    answer = running.get("/?command=ListActiveCalls")
    expected = running.decisions()[0].exchange if headers.exchange else None
    assert (answer.code, answer.headers.get("x-interceptor-exchange")) == (306, expected)


# Host


def test_the_pbx_is_asked_by_the_host_that_the_asker_named(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(answering())
    running = proxy(pbx.port, headers=NONE)
    running.client().send(
        b"GET /?command=ListActiveCalls HTTP/1.1\r\nA: 1\r\nhOST: Some.Host:81\r\nB: 2\r\n\r\n"
    ).read()
    assert lines_of(pbx.requests[0]) == [b"A: 1", b"hOST: Some.Host:81", b"B: 2"]
    running.client().send(b"GET /?command=ListActiveCalls HTTP/1.0\r\nA: 1\r\n\r\n").read()
    assert lines_of(pbx.requests[1]) == [b"Host: %b:%d" % (LOCAL.encode(), pbx.port), b"A: 1"]


def test_an_app_is_asked_by_its_own_host(proxy: Start, backend: StartBackend) -> None:
    app = backend(answering(b"<Response/>"))
    running = proxy(9, app.port, headers=NONE)
    running.notify("NotificationName=IncomingCall&CallId=1")
    assert [line for line in lines_of(app.requests[0]) if line.lower().startswith(b"host")] == [
        b"Host: %b:%d" % (LOCAL.encode(), app.port)
    ]
    assert lines_of(app.requests[0])[0] == b"Content-Type: application/x-www-form-urlencoded"  # it keeps its place


def test_our_credentials_take_the_place_of_the_apps(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(answering())
    cluster = Cluster("pbx", (Url(LOCAL, pbx.port, "/"),), Credentials("us", Secret("p&w")))
    proxy(pbx.port, clusters={"pbx": cluster}).get("/?Username=crm&command=ListActiveCalls&Password=old")
    assert pbx.requests[0].startswith(b"GET /?Username=us&command=ListActiveCalls&Password=p%26w HTTP/1.1\r\n")


# everything else: a property, with one proxy for all examples


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, Backend]]:
    """A proxy that adds nothing, and the PBX behind it."""
    loop = Loop()
    pbx = Backend(loop, answering()).start()
    running = Proxy(loop, settings_for(tmp_path_factory.mktemp("alone"), [pbx.port], headers=NONE), ALLOW_ALL).start()
    yield running, pbx
    running.stop()
    pbx.stop()
    loop.close()


TOKEN = "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
OF_THE_HOP = re.compile(
    r"(?i)connection|http2-settings|keep-alive|proxy-.*|te|trailer|transfer-encoding|upgrade|expect|host|content[-_].*"
    r"|transfer_encoding"
)
NAMES = st.text(TOKEN, min_size=1, max_size=20).filter(lambda name: not OF_THE_HOP.fullmatch(name))
VALUES = st.text([chr(code) for code in (9, *range(32, 127), *range(128, 256))], max_size=40)
HEADERS = st.lists(st.tuples(NAMES, VALUES), max_size=12)
QUERIES = st.binary(max_size=60).map(lambda raw: re.sub(rb"[\x00-\x20\x7f#]", b"+", raw))


@settings(max_examples=50)
@given(HEADERS, QUERIES, HEADERS, st.binary(max_size=200), st.data())
def test_what_no_rule_touches_passes_byte_for_byte_both_ways(
    alone: tuple[Proxy, Backend],
    asked: list[tuple[str, str]],
    query: bytes,
    answered: list[tuple[str, str]],
    body: bytes,
    data: st.DataObject,
) -> None:
    running, pbx = alone
    lines = [f"{name}:{value}".encode("latin-1") for name, value in asked]
    lines.insert(data.draw(st.integers(0, len(lines))), b"Host: pbx.test")
    back = [f"{name}:{value}".encode("latin-1") for name, value in answered]
    back.insert(data.draw(st.integers(0, len(back))), b"Content-Length: %d" % len(body))
    pbx.requests.clear()
    pbx.script = saying(b"\r\n".join([b"HTTP/1.1 200 OK", *back, b"", body]))
    target = b"/?" + query + b"&command=ListExtensions"
    client = running.client().send(
        b"\r\n".join([b"GET " + target + b" HTTP/1.1", *lines, b"Connection: close", b"", b""])
    )
    raw = client.read_to_end()
    client.close()
    assume(pbx.requests or b"<Code>302</Code>" not in raw)  # the query happened to say something twice
    assert pbx.requests == [b"\r\n".join([b"GET " + target + b" HTTP/1.1", *lines, b"", b""])]
    assert raw == b"\r\n".join([b"HTTP/1.1 200 OK", *back, b"Connection: close", b"", body])
