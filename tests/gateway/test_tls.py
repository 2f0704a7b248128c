"""TLS: a listener of its own, a hello on a plain listener, HTTP/2; all through the same pipeline."""

import asyncio
import gc
import http.client
import socket
import ssl
import struct
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from mitmproxy.connection import Client, Server
from mitmproxy.http import HTTPFlow, Request
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.proxy.server_hooks import ServerConnectionHookData
from OpenSSL import SSL

from interceptor.gateway.addon import PipelineAddon, _request_of
from interceptor.gateway.http1 import RequestReader
from interceptor.gateway.http1_error import Http1Error
from interceptor.gateway.master import ListenError
from interceptor.settings import Address, Deadlines, Limits, Listener, Mode, Timeouts
from interceptor.values import Kind
from tests.gateway.harness import (
    LOCAL,
    OK_XML,
    WAIT,
    Answer,
    Backend,
    Gate,
    Loop,
    Proxy,
    Script,
    answering,
    eventually,
    free_port,
    gated,
    held,
)
from tests.gateway.process import Process

Start = Callable[..., Proxy]
StartBackend = Callable[[Script], Backend]

NAME = "interceptor.test"
FORM = "application/x-www-form-urlencoded"
LIST = b"GET /?command=ListActiveCalls HTTP/1.1\r\nHost: a\r\n\r\n"
RULES = """
rules:
  - name: no-premium
    on: Call
    when: {number: {class: premium}}
    deny: {code: 306, message: "Premium numbers are not dialled"}
  - name: main-line
    on: Call
    rewrite: {set: {CallerId: "1000"}}
  - name: rest
    on: [command, notification]
    allow: true
"""


def make_certificate(folder: Path) -> Path:
    """A PEM file with a key and its certificate, which signs itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, NAME)])
    now = datetime.now(UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(NAME)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = folder / "interceptor.pem"
    file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + signed.public_bytes(serialization.Encoding.PEM)
    )
    return file


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def over_tls(proxy: Start, certificate: Path) -> Callable[..., Proxy]:
    """Starts Interceptor with listeners for TLS."""

    def start(pbx: int, app: int = 9, **changes: Any) -> Proxy:
        listeners = (
            Listener("commands", Kind.COMMAND, Address(LOCAL, 0)),
            Listener("tls", Kind.COMMAND, Address(LOCAL, 0), Mode.TLS, certificate),
        )
        return proxy(pbx, app, **({"rules": RULES, "listeners": listeners} | changes))

    return start


def trusting(file: Path, *protocols: str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(file))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


def trusting_anybody() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def authority(running: Proxy, listener: str, state: Path) -> Path:
    """The certificate of what signs for a listener without one; it is made for the first who wants TLS."""
    assert not (state / "mitmproxy").exists()
    dial(running, trusting_anybody(), listener).close()
    return state / "mitmproxy" / "mitmproxy-ca-cert.pem"


def dial(running: Proxy, context: ssl.SSLContext, listener: str = "tls", name: str = NAME) -> ssl.SSLSocket:
    address = running.running.addresses[listener]
    plain = socket.create_connection((address.host, address.port), WAIT)
    return context.wrap_socket(plain, server_hostname=name)


def ask(over: socket.socket, method: str, target: str, body: bytes | None = None, **headers: str) -> Answer:
    """One request and its answer over an open connection, which may go on."""
    connection = http.client.HTTPConnection(NAME)
    connection.sock = over
    connection.request(method, target, body, headers)
    response = connection.getresponse()
    found = Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read(), b"")
    connection.sock = None
    return found


def exchange(over: socket.socket, raw: bytes) -> bytes:
    """What comes back for these bytes until the other side closes or has answered."""
    over.sendall(raw)
    over.settimeout(WAIT)
    came = b""
    while b"\r\n\r\n" not in came:
        more = over.recv(65536)
        if not more:
            break
        came += more
    return came


def answers(over: socket.socket) -> bytes:
    """All that comes back until the other side closes; nothing where it never does."""
    over.settimeout(WAIT)
    came = b""
    try:
        while more := over.recv(65536):
            came += more
    except TimeoutError:
        return b"not closed"
    except OSError:
        pass
    return came


def closed(over: ssl.SSLSocket) -> bool:
    """Whether the other side closes, politely or not."""
    try:
        while over.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


# HTTP/1


def test_commands_over_tls_are_judged_rewritten_and_recorded_like_any_other(
    over_tls: Callable[..., Proxy], backend: StartBackend, certificate: Path
) -> None:
    pbx = backend(answering())
    running = over_tls(pbx.port)
    with dial(running, trusting(certificate)) as over:
        allowed = ask(over, "GET", "/?command=ListActiveCalls&X=%2b+a%zz")
        refused = ask(over, "GET", "/?command=Call&Dialed=%2B3690123456")
        rewritten = ask(over, "POST", "/", b"command=Call&Dialed=1001&CallerId=7", **{"Content-Type": FORM})
    assert (allowed.status, allowed.body, allowed.code) == (200, OK_XML, 200)
    assert (refused.status, refused.code) == (200, 306)
    assert rewritten.code == 200
    first, second = pbx.requests
    assert first.startswith(b"GET /?command=ListActiveCalls&X=%2b+a%zz HTTP/1.1\r\nHost: interceptor.test\r\n")
    assert second.endswith(b"\r\n\r\ncommand=Call&Dialed=1001&CallerId=1000")
    decisions = running.decisions()
    assert [(each.listener, each.rule) for each in decisions] == [
        ("tls", "rest"),
        ("tls", "no-premium"),
        ("tls", "rest"),
    ]
    assert allowed.headers["x-interceptor-exchange"] == decisions[0].exchange
    assert len(running.settled(3)) == 3


@pytest.mark.parametrize("target", ["/", "/?command=Call", "*"])
@pytest.mark.parametrize("method", ["HEAD", "OPTIONS", "PUT"])
def test_who_asks_about_the_place_hears_over_tls_what_a_plain_listener_says(
    over_tls: Callable[..., Proxy], backend: StartBackend, certificate: Path, method: str, target: str
) -> None:
    pbx = backend(answering())
    running = over_tls(pbx.port)
    raw = f"{method} {target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    plain = running.client().send(raw).read(bodiless=True)
    with dial(running, trusting(certificate)) as over:
        lines = exchange(over, raw).decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    assert (int(lines[0].split(" ")[1]), headers.get("allow")) == (plain.status, plain.headers.get("allow"))
    assert pbx.requests == []


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"OPTIONS / HTTP/1.1\r\nHost: a\r\n\r\n", {405, 204}),
        (b"HEAD /?command=Call HTTP/1.1\r\nHost: a\r\n\r\n", {405}),
        (b"PUT /?command=Call HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\na", {405}),
        (b"TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", {405}),
        (b"CONNECT pbx.test:80 HTTP/1.1\r\nHost: pbx.test:80\r\n\r\n", {400, 405, 502}),
        (b"GET /?command=ListActiveCalls#x HTTP/1.1\r\nHost: a\r\n\r\n", {400}),
        (b"GET /?command=ListActiveCalls HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", {400}),
        (b"GET /?command=ListActiveCalls HTTP/1.1\r\nHost: a\r\nX: 1\r\nConnection: X\r\n\r\n", {400}),
        (b"GET http://b/?command=ListActiveCalls HTTP/1.1\r\nHost: a\r\n\r\n", {400}),
        (
            (
                b"POST /?command=Call HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nContent-Type: a/b\r\n"
                b"Content-Length: 1\r\n\r\na"
            ),
            {400},
        ),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", {400}),
        (b"GET / HTTP/1.1\r\nHost: a\r\nExpect: a-miracle\r\n\r\n", {417}),
    ],
)
def test_what_is_refused_on_a_plain_listener_is_refused_over_tls(
    over_tls: Callable[..., Proxy], backend: StartBackend, certificate: Path, raw: bytes, status: set[int]
) -> None:
    pbx = backend(answering())
    running = over_tls(pbx.port)
    with dial(running, trusting(certificate)) as over:
        came = exchange(over, raw)
    assert int(came.split(b" ")[1]) in status
    assert (pbx.requests, pbx.connections, running.records) == ([], 0, [])


def test_caps_hold_over_tls(over_tls: Callable[..., Proxy], backend: StartBackend, certificate: Path) -> None:
    pbx = backend(answering())
    running = over_tls(pbx.port, limits=Limits(body=1000, head=2000))
    body = b"command=ListExtensions&x=".ljust(1000, b"y")
    with dial(running, trusting(certificate)) as over:
        assert ask(over, "POST", "/", body, **{"Content-Type": FORM}).code == 200
        assert ask(over, "GET", "/?command=ListExtensions", None, X="y" * 2000).status == 431
    with dial(running, trusting(certificate)) as over:
        head = f"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: {FORM}\r\nContent-Length: 1001\r\n\r\n"
        assert exchange(over, head.encode() + body + b"y").startswith(b"HTTP/1.1 413 ")
    assert len(pbx.requests) == 1


@pytest.mark.parametrize("line", [b"X: %b\r\n" % (b"y" * 1000), b"X: y\r\n" * 100])
def test_a_head_without_an_end_is_cut_off_while_it_comes(
    over_tls: Callable[..., Proxy], backend: StartBackend, certificate: Path, line: bytes
) -> None:
    pbx = backend(answering())
    running = over_tls(pbx.port, limits=Limits(head=4000))
    with dial(running, trusting(certificate)) as over:
        over.settimeout(WAIT)
        over.sendall(b"GET /?command=ListActiveCalls HTTP/1.1\r\nHost: a\r\n")
        with pytest.raises(OSError, match=r"."):  # noqa: PT012 - one of them finds nobody there
            until = time.monotonic() + WAIT
            while time.monotonic() < until:
                over.sendall(line)
        assert answers(over)[:13] in {b"HTTP/1.1 431 ", b""}  # a reset may overtake it
    with dial(running, trusting(certificate)) as over:
        over.sendall(LIST[:-2] + line * 8 + b"\r\n" + LIST)
        came = answers(over)
    assert came.startswith(b"HTTP/1.1 431 ")
    assert came.endswith(b"\r\n\r\nhead_too_large\n")
    assert running.counted('interceptor_refusals_total{reason="head_too_large"}') == 2
    assert (pbx.requests, running.records) == ([], [])


FORM_HEAD = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\n"
IN_CHUNKS = FORM_HEAD + b"Transfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (LIST.replace(b"\r\n", b"\n"), "bare_newline"),
        (LIST[:-2] + b"X-A: 1\nX-B: 2\r\n\r\n", "bare_newline"),
        (LIST[:-2] + b"X-A: 1\rX-B: 2\r\n\r\n", "bare_newline"),
        (LIST[:-2] + b"X-A: 1\r\n folded\r\n\r\n", "bad_header"),
        (LIST[:-2] + b"X-A : 1\r\n\r\n", "bad_header"),
        (LIST[:-2] + b"Host: b\r\n\r\n", "bad_host"),
        (FORM_HEAD + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde", "bad_content_length"),
        (FORM_HEAD + b"Content-Length: +5\r\n\r\nabcde", "bad_content_length"),
        (FORM_HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", "bad_transfer_encoding"),
        (IN_CHUNKS.replace(b"1.1", b"1.0") + b"0\r\n\r\n", "bad_transfer_encoding"),
        (IN_CHUNKS + b"1;a=b\r\na\r\n0\r\n\r\n", "bad_chunk"),
        (IN_CHUNKS + b"1 \r\na\r\n0\r\n\r\n", "bad_chunk"),
        (IN_CHUNKS + b"1\na\n0\n\n", "bad_chunk"),
    ],
)
def test_what_two_readers_could_read_differently_ends_the_connection_over_tls_as_elsewhere(
    over_tls: Callable[..., Proxy], backend: StartBackend, certificate: Path, raw: bytes, reason: str
) -> None:
    pbx = backend(answering())
    running = over_tls(pbx.port)
    plain = running.client().send(raw + LIST).read_to_end()
    with dial(running, trusting(certificate)) as over:
        over.sendall(raw + LIST)
        came = answers(over)
    assert came == plain
    assert came.startswith(b"HTTP/1.1 400 ")
    assert came.endswith(b"\r\n\r\n%b\n" % reason.encode())
    assert running.counted('interceptor_refusals_total{reason="%s"}' % reason) == 2  # noqa: UP031 - braces
    assert (pbx.requests, running.records) == ([], [])


def test_a_client_can_tell_the_end_of_tls_from_a_cut(
    over_tls: Callable[..., Proxy], backend: StartBackend, certificate: Path
) -> None:
    running = over_tls(backend(answering()).port)
    address = running.running.addresses["tls"]
    for raw in (LIST.replace(b"Host: a", b"Host: a\r\nConnection: close"), LIST.replace(b"\r\n", b"\n")):
        plain = socket.create_connection((address.host, address.port), WAIT)
        with trusting(certificate).wrap_socket(plain, server_hostname=NAME, suppress_ragged_eofs=False) as over:
            over.sendall(raw)
            while over.recv(65536):  # a cut would raise here
                pass


@pytest.mark.parametrize("option", [b"", b"Connection: keep-alive\r\n"])
def test_an_asker_of_http_1_0_is_answered_in_its_own_version_over_tls(
    over_tls: Callable[..., Proxy], backend: StartBackend, certificate: Path, option: bytes
) -> None:
    running = over_tls(backend(answering()).port)
    raw = b"GET /?command=ListActiveCalls HTTP/1.0\r\n" + option
    with dial(running, trusting(certificate)) as over:
        if option:
            assert exchange(over, raw + b"\r\n").startswith(b"HTTP/1.0 200 ")
        over.sendall(raw.replace(b"keep-alive", b"close") + b"\r\n")
        came = answers(over)
    assert came.startswith(b"HTTP/1.0 200 OK\r\n")
    assert b"\r\nConnection: close\r\n\r\n" in came
    assert came.endswith(OK_XML)


def test_requests_that_come_together_over_tls_are_answered_in_their_order(
    over_tls: Callable[..., Proxy], backend: StartBackend, certificate: Path
) -> None:
    pbx = backend(answering())
    running = over_tls(pbx.port)
    with dial(running, trusting(certificate)) as over:
        over.sendall(LIST * 2000 + b"GET /?command=Call&Dialed=%2B3690123456 HTTP/1.1\r\nHost: a\r\n\r\n")
        over.sendall(LIST.replace(b"Host: a", b"Host: a\r\nConnection: close"))
        came = answers(over)
    assert came.count(b"HTTP/1.1 200 OK\r\n") == 2002
    assert came.count(OK_XML) == 2001
    assert came.index(b"<Code>306</Code>") > came.rindex(OK_XML, 0, -len(OK_XML))
    assert len(pbx.requests) == 2001


@pytest.mark.parametrize("option", [b"", b"Connection: close\r\n"])
def test_who_speaks_plainly_to_a_listener_for_tls_is_told_so_and_nothing_is_decided(
    over_tls: Callable[..., Proxy], backend: StartBackend, loop: Loop, option: bytes
) -> None:
    pbx = backend(answering())
    running = over_tls(pbx.port)
    with held(loop):
        client = running.client("tls")
        client.send(b"GET /?command=ListActiveCalls HTTP/1.1\r\nHost: a\r\n%b\r\n" % option)
    came = client.read_to_end()
    assert came.startswith(b"HTTP/1.1 400 Bad Request\r\n")
    assert came.endswith(b"\r\n\r\nnot_tls\n")
    assert (pbx.requests, pbx.connections, running.records) == ([], 0, [])
    assert running.counted('interceptor_refusals_total{reason="not_tls"}') == 1


def test_every_worker_serves_every_listener(
    process: Callable[..., Process], backend: StartBackend, certificate: Path
) -> None:
    secured = f"tls, certificate: {certificate}"
    running = process(backend(answering()).port, workers=2, commands=f"{LOCAL}:{free_port()}", mode=secured)
    running.wait_for("admin listens on")
    served: set[str] = set()
    for _ in range(200):
        with trusting(certificate).wrap_socket(running.client().socket, server_hostname=NAME) as over:
            answer = ask(over, "GET", "/?command=ListActiveCalls")
        served.add(answer.headers["x-interceptor-exchange"].split("-")[1])
        if len(served) == 2:
            break
    assert served == {"w0", "w1"}


def test_each_listener_shows_the_certificate_that_config_gives_it(
    over_tls: Callable[..., Proxy], backend: StartBackend, certificate: Path, tmp_path: Path
) -> None:
    (tmp_path / "other").mkdir()
    other = make_certificate(tmp_path / "other")
    listeners = (
        Listener("first", Kind.COMMAND, Address(LOCAL, 0), Mode.TLS, certificate),
        Listener("second", Kind.COMMAND, Address("127.0.0.2", 0), Mode.TLS, other),
    )
    running = over_tls(backend(answering()).port, listeners=listeners)
    for listener, shown, not_shown in (("first", certificate, other), ("second", other, certificate)):
        with dial(running, trusting(shown), listener) as over:
            assert ask(over, "GET", "/?command=ListActiveCalls").code == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            dial(running, trusting(not_shown), listener)


# HTTP/2


def ask_h2(over: ssl.SSLSocket, *headers: tuple[str, str], body: bytes = b"") -> tuple[dict[str, str], bytes]:
    """One request over a new HTTP/2 connection; a reset stream gives no headers."""
    wild = h2.config.H2Configuration(
        validate_outbound_headers=False, normalize_outbound_headers=False, header_encoding="latin-1"
    )
    connection = h2.connection.H2Connection(wild)
    connection.initiate_connection()
    connection.send_headers(1, list(headers), end_stream=not body)
    if body:
        connection.send_data(1, body, end_stream=True)
    over.sendall(connection.data_to_send())
    over.settimeout(WAIT)
    found: dict[str, str] = {}
    content = b""
    while data := over.recv(65536):
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                found = dict(event.headers)
            elif isinstance(event, h2.events.DataReceived):
                content += event.data
            elif isinstance(event, h2.events.StreamEnded | h2.events.StreamReset | h2.events.ConnectionTerminated):
                return found, content
        over.sendall(connection.data_to_send())
    return found, content


def pseudo(path: str, method: str = "GET") -> tuple[tuple[str, str], ...]:
    return ((":method", method), (":scheme", "https"), (":authority", "pbx.test"), (":path", path))


def test_commands_over_http_2_are_judged_and_sent_on_as_http_1(
    over_tls: Callable[..., Proxy], backend: StartBackend, certificate: Path
) -> None:
    pbx = backend(answering())
    running = over_tls(pbx.port)
    context = trusting(certificate, "h2")
    with dial(running, context) as over:
        assert over.selected_alpn_protocol() == "h2"
        headers, body = ask_h2(over, *pseudo("/?command=ListActiveCalls&x=%2b"), ("x-a", "1"))
    assert (headers[":status"], body) == ("200", OK_XML)
    assert pbx.requests[0].startswith(b"GET /?command=ListActiveCalls&x=%2b HTTP/1.1\r\nHost: pbx.test\r\nx-a: 1\r\n")
    with dial(running, context) as over:
        headers, body = ask_h2(
            over, *pseudo("/", "POST"), ("content-type", FORM), body=b"command=Call&Dialed=%2B3690123456"
        )
    assert (headers[":status"], b"<Code>306</Code>" in body) == ("200", True)
    assert len(pbx.requests) == 1


def test_a_connection_that_wants_http_3_over_tcp_is_closed_and_costs_nobody_else_anything(
    over_tls: Callable[..., Proxy], backend: StartBackend, certificate: Path
) -> None:
    pbx = backend(answering())
    running = over_tls(pbx.port)
    for listener in ("tls", "commands"):
        context = trusting(certificate, "h3")
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # a plain listener shows mitmproxy's own
        with dial(running, context, listener) as over:
            assert over.selected_alpn_protocol() == "h3"
            over.sendall(b"GET /?command=ListActiveCalls HTTP/1.1\r\nHost: pbx.test\r\n\r\n")
            assert closed(over)
    assert pbx.requests == []
    with dial(running, trusting(certificate)) as over:
        assert ask(over, "GET", "/?command=ListActiveCalls").body == OK_XML


@pytest.mark.parametrize(
    "headers",
    [
        pseudo("/?command=ListActiveCalls HTTP/1.1\r\nX: y"),
        pseudo("/?command=ListActiveCalls HTTP/1.1"),
        pseudo("/?command=ListActiveCalls\x00"),
        pseudo("/?command=ListActiveCalls#x"),
        (*pseudo("/?command=ListActiveCalls"), ("x", "y\r\nContent-Length: 5")),
        (*pseudo("/?command=ListActiveCalls"), ("x y", "z")),
        (*pseudo("/?command=ListActiveCalls"), ("content_type", FORM)),
        (*pseudo("/?command=ListActiveCalls"), ("content-type", FORM), ("content-type", "a/b")),
        (*pseudo("/?command=ListActiveCalls"), ("host", "other.test")),
        (*pseudo("/?command=ListActiveCalls"), ("transfer-encoding", "chunked")),
        (*pseudo("/?command=ListActiveCalls"), ("x:y", "z")),
        (
            (":method", "GET /?command=Call&Dialed=1 HTTP/1.1\r\nA: b\r\n\r\nGET"),
            *pseudo("/?command=ListActiveCalls")[1:],
        ),
        (
            *pseudo("/?command=ListActiveCalls")[:2],
            (":authority", "a\r\nB: c"),
            (":path", "/?command=ListActiveCalls"),
        ),
    ],
)
def test_nothing_in_http_2_becomes_another_message_in_http_1(
    over_tls: Callable[..., Proxy], backend: StartBackend, certificate: Path, headers: tuple[tuple[str, str], ...]
) -> None:
    pbx = backend(answering())
    running = over_tls(pbx.port)
    with dial(running, trusting(certificate, "h2")) as over:
        answered, _ = ask_h2(over, *headers)
    assert answered.get(":status", "reset") in {"reset", "400", "405"}
    assert (pbx.requests, running.records) == ([], [])


# on a plain listener


def test_a_tls_hello_on_a_plain_listener_is_answered_through_the_same_pipeline(
    over_tls: Callable[..., Proxy], backend: StartBackend, tmp_path: Path
) -> None:
    pbx = backend(answering())
    running = over_tls(pbx.port, listeners=(Listener("commands", Kind.COMMAND, Address(LOCAL, 0)),))
    signer = authority(running, "commands", tmp_path)
    context = trusting(signer, "h2", "http/1.1")
    with dial(running, context, "commands", "some.name.test") as over:
        assert ask_h2(over, *pseudo("/?command=ListActiveCalls"))[1] == OK_XML
    context = trusting(signer)
    with dial(running, context, "commands", "some.name.test") as over:
        assert ask(over, "GET", "/?command=ListExtensions").body == OK_XML
        assert ask(over, "GET", "/?command=Call&Dialed=%2B3690123456").code == 306
    assert running.client().send(b"GET /?command=ListExtensions HTTP/1.1\r\nHost: a\r\n\r\n").read().code == 200
    assert [each.listener for each in running.decisions()] == ["commands"] * 4
    assert len(pbx.requests) == 3


def test_an_authority_that_cannot_be_made_costs_only_those_who_want_tls_and_is_tried_again(
    over_tls: Callable[..., Proxy], backend: StartBackend, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    running = over_tls(backend(answering()).port, listeners=(Listener("commands", Kind.COMMAND, Address(LOCAL, 0)),))
    in_the_way = tmp_path / "mitmproxy"
    in_the_way.write_bytes(b"a file where the folder should be")
    for _ in range(2):
        with pytest.raises(OSError, match=r"EOF|reset|closed|peer"):
            dial(running, trusting_anybody(), "commands")
    assert running.client().send(b"GET /?command=ListExtensions HTTP/1.1\r\nHost: a\r\n\r\n").read().code == 200
    assert "mitmproxy" in caplog.text
    in_the_way.unlink()
    with dial(running, trusting(authority(running, "commands", tmp_path)), "commands") as over:
        assert ask(over, "GET", "/?command=ListExtensions").body == OK_XML


def test_a_notification_over_tls_gets_its_answer(
    over_tls: Callable[..., Proxy], backend: StartBackend, tmp_path: Path
) -> None:
    app = backend(answering(b"<Response><Speak>Hi</Speak></Response>"))
    running = over_tls(9, app.port, listeners=(Listener("notifications", Kind.NOTIFICATION, Address(LOCAL, 0)),))
    context = trusting(authority(running, "notifications", tmp_path))
    with dial(running, context, "notifications", "a.test") as over:
        answer = ask(over, "POST", "/in", b"NotificationName=IncomingCall&CallId=1", **{"Content-Type": FORM})
    assert answer.body == b"<Response><Speak>Hi</Speak></Response>"
    assert app.requests[0].startswith(b"POST /pbx HTTP/1.1\r\n")


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x00\x01\x02\x03 and so on\r\n\r\n",
        b"\x16\x03\x01\x00\x05hello and more that is no hello at all",
        b"\x16\x03\x01\xff\xff" + b"\x00" * 600,
        b"\x80\x2e\x01\x00\x02",
        b"\xff\xfb\x18GET /?command=Call HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\xff GET /?command=Call HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x05\x01\x00",
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    ],
)
@pytest.mark.parametrize("listener", ["commands", "tls"])
def test_what_is_neither_http_nor_tls_ends_in_a_close_and_goes_nowhere(
    over_tls: Callable[..., Proxy], backend: StartBackend, garbage: bytes, listener: str
) -> None:
    pbx = backend(answering())
    running = over_tls(pbx.port, timeouts=Timeouts(request=0.3, idle=0.3, shutdown=0.1))
    client = running.client(listener).send(garbage).half_close()
    try:
        came = client.read_to_end()
    except ConnectionResetError:
        came = b""
    assert came[:9] in {b"", b"HTTP/1.1 "} or came[:1] == b"\x15"  # nothing, a refusal, a TLS alert
    assert b" 200 " not in came[:15]
    assert (pbx.requests, pbx.connections, running.records) == ([], 0, [])
    open_now = f'interceptor_connections{{listener="{listener}"}}'
    assert eventually(lambda: running.counted(open_now) == 0)


# our own faults


def test_a_fault_in_the_decision_is_a_refusal_on_every_path(
    over_tls: Callable[..., Proxy], backend: StartBackend, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pbx = backend(answering())
    running = over_tls(pbx.port)

    def broken(arrival: object) -> None:
        raise RuntimeError(arrival)

    monkeypatch.setattr(running.running.worker._pipeline, "begin", broken)
    assert running.get("/?command=ListActiveCalls").code == 905
    with dial(running, trusting(certificate)) as over:
        assert ask(over, "GET", "/?command=ListActiveCalls").code == 905
    assert (pbx.requests, pbx.connections) == ([], 0)
    assert [each.reason for each in running.decisions()] == ["fault", "fault"]


def test_a_fault_around_the_decision_leaves_the_refusal_that_stood_before_it(
    over_tls: Callable[..., Proxy], backend: StartBackend, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pbx = backend(answering())
    running = over_tls(pbx.port)

    def broken(*_: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(running.running.worker._carrier, "ask", broken)
    with dial(running, trusting(certificate, "h2")) as over:
        headers, _ = ask_h2(over, *pseudo("/?command=ListActiveCalls"))
    assert headers[":status"] == "503"
    with dial(running, trusting(certificate)) as over:
        over.sendall(LIST)
        assert answers(over) == b""  # as on a plain listener
    assert (pbx.requests, pbx.connections) == ([], 0)


# connections


def test_connections_over_tls_are_counted_and_capped(
    over_tls: Callable[..., Proxy], backend: StartBackend, certificate: Path
) -> None:
    running = over_tls(backend(answering()).port, limits=Limits(connections=1))
    open_now = 'interceptor_connections{listener="tls"}'
    with dial(running, trusting(certificate)) as over:
        assert ask(over, "GET", "/?command=ListActiveCalls").code == 200
        assert running.counted(open_now) == 1
        assert running.get("/?command=ListActiveCalls").code == 902
        with pytest.raises(OSError, match=r"."):
            dial(running, trusting(certificate))
        assert running.counted('interceptor_connections_refused_total{listener="tls"}') == 1
    assert running.counted('interceptor_connections_accepted_total{listener="tls"}') == 2  # one found no place
    assert eventually(lambda: running.counted(open_now) == 0)
    assert eventually(lambda: running.get("/?command=ListActiveCalls").code == 200)


@pytest.mark.parametrize("listener", ["tls", "commands"])
def test_who_begins_tls_and_says_no_more_is_cut(
    over_tls: Callable[..., Proxy], backend: StartBackend, listener: str
) -> None:
    running = over_tls(backend(answering()).port, timeouts=Timeouts(request=0.4, idle=60.0, shutdown=0.1))
    client = running.client(listener).send(b"\x16\x03\x01\x02\x00\x01")
    assert client.ended()
    assert running.counted('interceptor_refusals_total{reason="slow_sender"}') == 1
    assert eventually(lambda: running.counted(f'interceptor_connections{{listener="{listener}"}}') == 0)


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
def test_who_has_agreed_on_tls_may_be_idle(
    over_tls: Callable[..., Proxy], backend: StartBackend, certificate: Path, protocol: str
) -> None:
    pbx = backend(answering())
    running = over_tls(pbx.port, timeouts=Timeouts(request=0.3, idle=60.0, shutdown=0.1))
    with dial(running, trusting(certificate, protocol)) as over:
        time.sleep(1.0)
        if protocol == "h2":
            assert ask_h2(over, *pseudo("/?command=ListActiveCalls"))[1] == OK_XML
        else:
            assert ask(over, "GET", "/?command=ListActiveCalls").body == OK_XML
            time.sleep(1.0)
            assert ask(over, "GET", "/?command=ListActiveCalls").body == OK_XML


@pytest.mark.parametrize("sent", [LIST[:20], FORM_HEAD + b"Content-Length: 5\r\n\r\nab", LIST + LIST[:-1]])
def test_a_request_that_does_not_come_whole_in_time_over_tls_is_told_so(
    over_tls: Callable[..., Proxy], backend: StartBackend, certificate: Path, sent: bytes
) -> None:
    running = over_tls(backend(answering()).port, timeouts=Timeouts(request=0.4, idle=60.0, shutdown=0.1))
    with dial(running, trusting(certificate)) as over:
        over.sendall(sent)
        came = answers(over)
    assert b"HTTP/1.1 408 Request Timeout\r\n" in came
    assert came.endswith(b"\r\n\r\nslow_sender\n")
    assert running.counted('interceptor_refusals_total{reason="slow_sender"}') == 1


def test_what_begins_neither_as_http_nor_as_tls_has_the_time_of_one_request(
    over_tls: Callable[..., Proxy], backend: StartBackend
) -> None:
    running = over_tls(backend(answering()).port, timeouts=Timeouts(request=0.4, idle=60.0, shutdown=0.1))
    came = running.client().send(b"\x80\x01").read_to_end()
    assert came.startswith(b"HTTP/1.1 408 ")
    assert running.counted('interceptor_refusals_total{reason="slow_sender"}') == 1


def test_a_hello_without_an_end_is_cut_off_while_it_comes(
    over_tls: Callable[..., Proxy], backend: StartBackend, caplog: pytest.LogCaptureFixture
) -> None:
    running = over_tls(backend(answering()).port)
    client = running.client("tls")
    client.socket.settimeout(WAIT)
    client.send(b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + b"\x00" * 0x3FFC)
    assert client.ended()
    assert max(len(record.getMessage()) for record in caplog.records) < 1000


@pytest.mark.parametrize("option", [b"", b"Connection: close\r\n"])
def test_who_does_not_read_its_answers_over_tls_is_cut(
    over_tls: Callable[..., Proxy], backend: StartBackend, certificate: Path, option: bytes
) -> None:
    pbx = backend(answering(b"<Response>" + b" " * 3_900_000 + b"</Response>"))
    running = over_tls(pbx.port, timeouts=Timeouts(request=0.3, idle=0.3, shutdown=0.1))
    with dial(running, trusting(certificate)) as over:
        over.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        over.sendall(b"GET /?command=ListActiveCalls HTTP/1.1\r\nHost: a\r\n" + option + b"\r\n")
        assert len(running.settled(1)) == 1
        door = running.running.worker._doors["tls"]
        assert eventually(lambda: not door.connections)
        assert eventually(lambda: running.counted('interceptor_connections{listener="tls"}') == 0)


def test_several_requests_of_one_http_2_connection_are_in_flight_at_once(
    over_tls: Callable[..., Proxy], backend: StartBackend, certificate: Path, loop: Loop
) -> None:
    gate = Gate(loop)
    pbx = backend(gated(gate))
    running = over_tls(
        pbx.port,
        timeouts=Timeouts(command=Deadlines(9.0, 9.0), call=Deadlines(9.0, 9.0), request=0.2, idle=0.2, shutdown=0.1),
    )
    with dial(running, trusting(certificate, "h2")) as over:
        connection = h2.connection.H2Connection(h2.config.H2Configuration())
        connection.initiate_connection()
        for stream in (1, 3, 5):
            connection.send_headers(stream, list(pseudo(f"/?command=ListActiveCalls&n={stream}")), end_stream=True)
        over.sendall(connection.data_to_send())
        pbx.wait_for(3)
        assert running.client().ended()  # what is idle is closed meanwhile
        gate.open()
        over.settimeout(WAIT)
        ended: set[int] = set()
        while len(ended) < 3:
            for event in connection.receive_data(over.recv(65536)):
                if isinstance(event, h2.events.StreamEnded):
                    ended.add(event.stream_id)
    assert ended == {1, 3, 5}


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
@pytest.mark.parametrize("ends_first", [False, True])
def test_who_goes_away_before_its_answer_leaves_no_connection_behind(
    over_tls: Callable[..., Proxy],
    backend: StartBackend,
    certificate: Path,
    loop: Loop,
    protocol: str,
    ends_first: bool,
) -> None:
    gate = Gate(loop)
    pbx = backend(gated(gate))
    running = over_tls(pbx.port)
    over = dial(running, trusting(certificate, protocol))
    if protocol == "h2":
        connection = h2.connection.H2Connection(h2.config.H2Configuration())
        connection.initiate_connection()
        connection.send_headers(1, list(pseudo("/?command=ListActiveCalls")), end_stream=True)
        over.sendall(connection.data_to_send())
    else:
        over.sendall(LIST)
    pbx.wait_for(1)
    if ends_first:
        over.shutdown(socket.SHUT_WR)
        time.sleep(0.1)
    over.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    over.close()  # with a reset
    gate.open()
    assert len(running.settled(1)) == 1
    assert eventually(lambda: running.counted('interceptor_connections{listener="tls"}') == 0)
    assert not running.running.worker._doors["tls"].connections


def test_nothing_of_a_connection_over_tls_waits_for_the_collector(
    over_tls: Callable[..., Proxy], backend: StartBackend, certificate: Path
) -> None:
    running = over_tls(backend(answering()).port)

    def kept() -> int:
        found = [each for each in gc.get_objects() if isinstance(each, SSL.Connection | RequestReader)]
        return len(found)

    body = b"command=ListActiveCalls&x=".ljust(10_000, b"y")
    gc.collect()
    before = kept()
    gc.disable()
    try:
        for _ in range(5):
            with dial(running, trusting(certificate)) as over:
                ask(over, "POST", "/", body, **{"Content-Type": FORM})
        assert eventually(lambda: running.counted('interceptor_connections{listener="tls"}') == 0)
        assert len(running.settled(5)) == 5
        assert eventually(lambda: kept() == before)
    finally:
        gc.enable()


def test_the_collector_comes_for_what_many_messages_of_http_2_left(
    over_tls: Callable[..., Proxy], backend: StartBackend, certificate: Path
) -> None:
    running = over_tls(backend(answering()).port)
    context = trusting(certificate, "h2")
    gc.collect()
    gc.disable()
    try:
        with dial(running, context) as over:
            connection = h2.connection.H2Connection(h2.config.H2Configuration())
            connection.initiate_connection()
            left: list[int] = []
            for stream in range(1, 401, 2):
                connection.send_headers(stream, list(pseudo("/?command=ListActiveCalls")), end_stream=True)
                over.sendall(connection.data_to_send())
                while not any(
                    isinstance(event, h2.events.StreamEnded) for event in connection.receive_data(over.recv(65536))
                ):
                    pass
                over.sendall(connection.data_to_send())
                left.append(sum(isinstance(each, TypeError | HTTPFlow) for each in gc.get_objects()))
    finally:
        gc.enable()
    assert max(left[100:]) <= max(left[:100]) < 1000


@pytest.mark.parametrize("protocol", ["http/1.1", "h2"])
def test_what_is_in_flight_over_tls_is_finished_when_we_are_told_to_end(
    over_tls: Callable[..., Proxy], backend: StartBackend, certificate: Path, loop: Loop, protocol: str
) -> None:
    gate = Gate(loop)
    pbx = backend(gated(gate))
    running = over_tls(pbx.port, timeouts=Timeouts(command=Deadlines(9.0, 9.0), call=Deadlines(9.0, 9.0), shutdown=5.0))
    context = trusting(certificate, protocol)
    idle = dial(running, context)
    with dial(running, context) as over, ThreadPoolExecutor(1) as elsewhere:

        def asked() -> tuple[bytes, str | None]:
            if protocol == "h2":
                return ask_h2(over, *pseudo("/?command=ListActiveCalls"))[1], "close"
            answer = ask(over, "GET", "/?command=ListActiveCalls")
            return answer.body, answer.headers.get("connection")

        answer = elsewhere.submit(asked)
        pbx.wait_for(1)
        stopping = asyncio.run_coroutine_threadsafe(running.running.stop(), loop.loop)
        idle.settimeout(WAIT)
        assert closed(idle)
        address = running.running.addresses["tls"]
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection((address.host, address.port), WAIT)
        gate.open()
        assert answer.result(WAIT) == (OK_XML, "close")
        stopping.result(WAIT)
    idle.close()


def test_a_decision_that_never_comes_leaves_the_refusal_that_stood_before_it(
    over_tls: Callable[..., Proxy], backend: StartBackend, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pbx = backend(answering())
    at_once = Deadlines(0.05, 0.05)
    quick = Timeouts(0.05, at_once, at_once, at_once, at_once, at_once, shutdown=0.1)
    running = over_tls(pbx.port, timeouts=quick)
    monkeypatch.setattr(running.running.worker._carrier, "ask", lambda *_: None)
    with dial(running, trusting(certificate, "h2")) as over:
        headers, _ = ask_h2(over, *pseudo("/?command=ListActiveCalls"))
    assert headers[":status"] == "503"
    assert (pbx.requests, pbx.connections) == ([], 0)


def test_a_transparent_listener_sends_nothing_where_the_client_wanted(proxy: Start, backend: StartBackend) -> None:
    """What it believed to dial is not asked; with a redirect rule see test_transparent."""
    pbx = backend(answering())
    caught = Listener("caught", Kind.COMMAND, Address(LOCAL, 0), Mode.TRANSPARENT)
    running = proxy(pbx.port, rules="rules: [{name: no, on: command, deny: {code: 306}}]", listeners=(caught,))
    client = running.client("caught").send(b"GET /?command=ListActiveCalls HTTP/1.0\r\nHost: a\r\n\r\n")
    assert b"<Code>306</Code>" in client.read_to_end()
    assert pbx.connections == 0


# what keeps a listener from opening


@pytest.mark.parametrize("mode", list(Mode))
def test_a_listener_that_cannot_open_is_named(proxy: Start, certificate: Path, mode: Mode) -> None:
    with socket.create_server((LOCAL, 0)) as taken:
        address = Address(LOCAL, taken.getsockname()[1])
        listener = Listener("busy", Kind.COMMAND, address, mode, certificate if mode is Mode.TLS else None)
        with pytest.raises(ListenError, match=f"listener `busy` cannot listen on {address}: address already in use"):
            proxy(9, listeners=(listener,))


def test_a_listener_on_a_name_that_is_none_is_named(proxy: Start) -> None:
    listener = Listener("nowhere", Kind.COMMAND, Address("no-such-host.invalid", 0))
    with pytest.raises(ListenError, match=r"listener `nowhere` cannot listen on no-such-host\.invalid:0: "):
        proxy(9, listeners=(listener,))


# laws of the addon that mitmproxy's own checks keep from being tried from outside


@pytest.mark.parametrize(
    ("name", "value"), [(b"x", b"y\r\nz: 1"), (b"x", b"y\nz: 1"), (b"x\r\ny", b"z"), (b"x", b"y\r")]
)
def test_a_line_break_in_a_header_never_becomes_a_line(name: bytes, value: bytes) -> None:
    request = Request.make("GET", "http://a/?command=ListActiveCalls")
    request.headers.fields += ((name, value),)
    with pytest.raises(Http1Error, match="bare_newline"):
        _request_of(request, Limits())


def test_mitmproxy_is_never_let_to_connect() -> None:
    client = Client(peername=(LOCAL, 1), sockname=(LOCAL, 2), timestamp_start=0.0)
    data = ServerConnectionHookData(Server(address=(LOCAL, 3)), client)
    PipelineAddon({}, None, 1.0, {}).server_connect(data)
    assert data.server.error


def test_a_gateway_mode_names_its_listener() -> None:
    assert ProxyMode.parse("gateway:commands").data == "commands"
    with pytest.raises(ValueError, match="names its listener"):
        ProxyMode.parse("gateway")
