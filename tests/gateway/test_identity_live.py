"""Who asks, over sockets: the PBX's credentials in place of the app's, refusals in its dialect, no secret anywhere."""

import logging
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from interceptor.identity import hash_password
from interceptor.policy import RuleSet
from interceptor.settings import App, Cluster, Credentials, PasswordCheck, Secret, Url
from tests.gateway.harness import LOCAL, Backend, Proxy, Script, answering, free_port
from tests.gateway.misbehaving import ask_admin, said

Start = Callable[..., Proxy]
StartBackend = Callable[[Script], Backend]

OURS = "pbx-own-S3CRET"  # what the PBX wants of us
THEIRS = "crm-S3CRET pass"  # what the app sends
OTHER = "wrong-S3CRET"
NOWHERE = (ip_network("192.0.2.0/24"),)


def setting(pbx: int, **app: Any) -> dict[str, Any]:
    """One app known by user name and password, and a PBX that wants credentials of its own."""
    crm = App("crm", username="crm", password=PasswordCheck(secret=Secret(THEIRS)))
    pbx_credentials = Credentials("interceptor", Secret(OURS))
    return {
        "apps": {"crm": replace(crm, **app)},
        "clusters": {"pbx": Cluster("pbx", (Url(LOCAL, pbx, "/"),), pbx_credentials, retry_after=0.2)},
    }


@pytest.fixture
def pbx(backend: StartBackend) -> Backend:
    return backend(answering())


def post(running: Proxy, body: bytes) -> None:
    client = running.client()
    client.send(
        b"POST / HTTP/1.1\r\nHost: pbx.test\r\nContent-Type: application/x-www-form-urlencoded\r\n"
        b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    )
    assert said(client.read()) == (200, 200)


# the PBX's credentials in place of the app's


def test_in_a_query_user_name_and_password_are_the_pbxs_own_and_all_else_is_untouched(
    proxy: Start, pbx: Backend
) -> None:
    running = proxy(9, **setting(pbx.port))
    theirs = "UserName=crm&pAssword=crm-S3CRET%20pass"
    target = f"/?dialed=%2b3612&X=a%zz+b&{theirs}&command=Call&Url=http%3a%2f%2fa%3fb%3d%2526&&"
    assert said(running.get(target)) == (200, 200)
    assert pbx.requests[0].split(b"\r\n")[0] == (
        b"GET /?dialed=%2b3612&X=a%zz+b&UserName=interceptor&pAssword=pbx-own-S3CRET&command=Call"
        b"&Url=http%3a%2f%2fa%3fb%3d%2526&& HTTP/1.1"
    )


def test_in_a_form_user_name_and_password_are_the_pbxs_own_and_all_else_is_untouched(
    proxy: Start, pbx: Backend
) -> None:
    running = proxy(9, **setting(pbx.port))
    post(running, b"Command=Call&Username=crm&Password=crm-S3CRET+pass&Dialed=%2b3612&ConfigXML=%26lt%3ba%26gt%3b")
    head, _, body = pbx.requests[0].partition(b"\r\n\r\n")
    expected = b"Command=Call&Username=interceptor&Password=pbx-own-S3CRET&Dialed=%2b3612&ConfigXML=%26lt%3ba%26gt%3b"
    assert body == expected
    assert b"Content-Length: %d" % len(expected) in head.split(b"\r\n")


def test_an_app_known_by_its_address_gets_the_pbxs_credentials_added(proxy: Start, pbx: Backend) -> None:
    by_address = {"username": None, "password": None, "sources": (ip_network("127.0.0.0/8"),)}
    running = proxy(9, **setting(pbx.port, **by_address))
    assert said(running.get("/?command=ListActiveCalls")) == (200, 200)
    assert pbx.requests[0].split(b"\r\n")[0] == (
        b"GET /?command=ListActiveCalls&Username=interceptor&Password=pbx-own-S3CRET HTTP/1.1"
    )


def test_without_credentials_of_the_cluster_the_apps_own_pass(proxy: Start, pbx: Backend) -> None:
    running = proxy(pbx.port, apps=setting(9)["apps"])
    target = "/?command=ListActiveCalls&Username=crm&Password=crm-S3CRET+pass"
    assert said(running.get(target)) == (200, 200)
    assert pbx.requests[0].split(b"\r\n")[0] == b"GET %b HTTP/1.1" % target.encode()


# refusals


@pytest.mark.parametrize(
    ("query", "code", "reason"),
    [
        ("", 304, "authentication_required"),
        ("&Username=crm", 304, "authentication_required"),
        (f"&Username=crm&Password={OTHER}", 305, "authentication_failed"),
        (f"&Username=nobody&Password={OTHER}", 305, "authentication_failed"),
        ("&Username=crm&Password=", 305, "authentication_failed"),
    ],
)
def test_an_asker_without_the_right_password_is_refused_in_the_pbxs_words(
    proxy: Start, pbx: Backend, query: str, code: int, reason: str
) -> None:
    running = proxy(9, **setting(pbx.port))
    assert said(running.get("/?command=ListActiveCalls" + query)) == (200, code)
    assert pbx.requests == []
    assert running.decisions()[0].reason == reason
    assert running.settlements()[0].outcome == "refused"


def test_an_asker_from_elsewhere_is_refused_although_its_password_is_right(proxy: Start, pbx: Backend) -> None:
    running = proxy(9, **setting(pbx.port, sources=NOWHERE))
    answer = running.get("/?command=ListActiveCalls&Username=crm&Password=crm-S3CRET+pass")
    assert said(answer) == (200, 307)
    assert pbx.requests == []


def test_a_password_that_is_kept_as_a_hash_is_checked_over_the_wire(proxy: Start, pbx: Backend) -> None:
    stored = str(hash_password(THEIRS, b"0123456789abcdef", log2_n=10))
    running = proxy(9, **setting(pbx.port, password=PasswordCheck(scrypt=stored)))
    asked = "/?command=ListActiveCalls&Username=crm&Password="
    codes = [running.get(asked + password).code for password in ("crm-S3CRET+pass", OTHER, "crm-S3CRET%20pass")]
    assert codes == [200, 305, 200]


def test_a_header_cannot_make_an_asker_come_from_elsewhere(proxy: Start, pbx: Backend) -> None:
    running = proxy(9, **setting(pbx.port, username=None, password=None, sources=NOWHERE))
    client = running.client()
    pretence = b"X-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\n"
    client.send(b"GET /?command=ListActiveCalls HTTP/1.1\r\nHost: pbx\r\n%b\r\n" % pretence)
    assert said(client.read()) == (200, 307)
    assert pbx.requests == []


# no secret anywhere


def written_below(folder: Path) -> bytes:
    return b"\n".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_no_secret_is_in_files_logs_metrics_configuration_or_errors(
    proxy: Start,
    backend: StartBackend,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    pbx = backend(answering())
    running = proxy(9, free_port(), **setting(pbx.port))
    right = "Username=crm&Password=crm-S3CRET+pass"
    shown: list[bytes] = []

    def ask(query: str) -> None:
        shown.append(running.get("/?" + query).raw)

    ask(f"command=ListActiveCalls&{right}")
    ask(f"command=Call&Dialed=1&Url=http%3a%2f%2fapp%2f%3ftoken%3d{OTHER}&{right}")  # a secret in a callback
    ask(f"command=Call&Dialed={OTHER}&Username=crm&Password={OTHER}")  # the same text in a place that is shown
    ask(f"command=Call&Username=crm&Username=x&Password={OTHER}")  # ambiguous
    ask(f"command=Call&Username=crm&Password={OTHER}&pASSWORD={OTHER}2")
    ask(f"command=AddConfig&ExtensionType=SIP&ConfigXML=%26lt%3bPassword%26gt%3b{OTHER}&{right}")
    ask(f"Username=crm&Password={OTHER}")  # no command
    post(running, b"command=Hangup&CallId=1&" + right.encode())
    with monkeypatch.context() as patched:  # an exception of ours with everything at hand

        def boom(*args: object) -> None:
            raise RuntimeError("made by the test")

        patched.setattr(RuleSet, "decide", boom)
        ask(f"command=Call&Dialed=1&{right}")
    running.notify(f"NotificationName=CallChanged&Password={OTHER}")
    pbx.stop()
    ask(f"command=Call&Dialed=1&{right}")
    pages = ("/metrics", "/config", "/policy", "/readyz", "/livez")
    shown += [ask_admin(running, page)[1].encode() for page in pages]
    everything = [repr(running.settings), repr(running.records), caplog.text]
    everything += [repr(record.args) for record in caplog.records]
    everything += [repr(running.running.worker.clusters), repr(running.running.worker._pipeline)]
    running.stop()
    kept = written_below(tmp_path / "journal") + b"".join(shown) + "\n".join(everything).encode()
    assert b"ListActiveCalls" in kept
    assert b"S3CRET" not in kept


def test_a_kept_report_is_whole_on_disk_and_readable_for_us_alone(proxy: Start, tmp_path: Path) -> None:
    running = proxy(9, free_port())
    running.notify("NotificationName=CallChanged&CallId=1")
    for path in (tmp_path / "outbox").rglob("*.outbox"):
        assert path.stat().st_mode & 0o077 == 0
