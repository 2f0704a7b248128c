"""Copies for other places: what is in them, and that nothing that becomes of them touches the message itself."""

import re
from collections.abc import Callable

import pytest

from interceptor.copies import Copies
from interceptor.gateway import mirroring
from interceptor.settings import Cluster, Credentials, Deadlines, Secret, Url
from tests.gateway.harness import (
    LOCAL,
    OK_XML,
    Backend,
    Gate,
    Loop,
    Proxy,
    Script,
    answering,
    eventually,
    free_port,
    gated,
    hanging,
    resetting,
    saying,
)

Start = Callable[..., Proxy]
StartBackend = Callable[[Script], Backend]

COMMAND = "/?command=ListActiveCalls"


def mirrored(place: str, on: str = "[command, notification]", more: str = "") -> str:
    return f"""rules:
  - {{name: shown, on: {on}, mirror: {place}{more}}}
  - {{name: rest, on: "*", allow: true}}
"""


def copies(running: Proxy, outcome: str) -> float:
    return running.counted(f'interceptor_mirror_copies_total{{outcome="{outcome}"}}')


def test_a_copy_goes_to_an_address_without_credentials_and_with_the_changes_of_rules(
    proxy: Start, backend: StartBackend
) -> None:
    pbx, other = backend(answering()), backend(answering(b"<html>whatever"))
    place = f"'http://{LOCAL}:{other.port}/copies?from=us'"
    running = proxy(pbx.port, rules=mirrored(place, more=", rewrite: {set: {X: '1'}}"))
    client = running.client().send(
        b"GET /?command=Call&Username=crm&Password=hunter2&Dialed=1002&apikey=geheim"
        b"&Url=http://crm/?token=geheim HTTP/1.1\r\n"
        b"Host: pbx.test\r\nAuthorization: Basic c2VjcmV0\r\nCookie: a=b\r\n\r\n"
    )
    answer = client.read()
    assert (answer.code, answer.body) == (200, OK_XML)
    (copy,) = other.wait_for(1)
    exchange = answer.headers["x-interceptor-exchange"]
    assert (
        copy
        == (
            f"GET /copies?from=us&command=Call&Dialed=1002&Url=http%3A%2F%2Fcrm%2F%3Ftoken%3D%2A%2A%2A&X=1 HTTP/1.1\r\n"
            f"Host: {LOCAL}:{other.port}\r\n"
            f"X-Interceptor-Mirror: {exchange}\r\n\r\n"
        ).encode()
    )
    assert b"Password=hunter2" in pbx.requests[0]
    assert eventually(lambda: copies(running, "answered") == 1)
    assert running.decisions()[0].mirrors == (f"http://{LOCAL}:{other.port}/copies",)


def test_a_posted_command_is_copied_to_a_cluster_with_its_own_credentials(proxy: Start, backend: StartBackend) -> None:
    pbx, other = backend(answering()), backend(answering())
    clusters = {
        "pbx": Cluster("pbx", (Url(LOCAL, pbx.port, "/"),)),
        "new": Cluster("new", (Url(LOCAL, other.port, "/api"),), Credentials("proxy", Secret("own"))),
    }
    running = proxy(pbx.port, rules=mirrored("new", "command"), clusters=clusters)
    body = b"command=Call&Username=crm&Password=hunter2&Dialed=1002"
    running.client().send(
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n%b"
        % (len(body), body)
    ).read()
    (copy,) = other.wait_for(1)
    assert copy.startswith(b"POST /api")
    assert copy.endswith(b"\r\n\r\ncommand=Call&Dialed=1002&Username=proxy&Password=own")
    assert re.search(rb"(?i)content-type: application/x-www-form-urlencoded\r\n", copy)


def test_a_notification_is_copied_without_the_query_of_its_callback(proxy: Start, backend: StartBackend) -> None:
    app, other = backend(answering(b"<Response/>")), backend(answering())
    running = proxy(9, app.port, rules=mirrored(f"'http://{LOCAL}:{other.port}'"))
    answer = running.notify("NotificationName=IncomingCall&CallerID=1001", "/pbx?token=geheim")
    assert answer.body == b"<Response/>"
    (copy,) = other.wait_for(1)
    assert copy.startswith(b"POST / HTTP/1.1\r\n")
    assert copy.endswith(b"\r\n\r\nNotificationName=IncomingCall&CallerID=1001")
    assert b"geheim" not in copy


def test_a_copy_is_copied_no_further(proxy: Start, backend: StartBackend) -> None:
    pbx, other = backend(answering()), backend(answering())
    running = proxy(pbx.port, rules=mirrored(f"'http://{LOCAL}:{other.port}/'"))
    client = running.client().send(f"GET {COMMAND} HTTP/1.1\r\nHost: a\r\nX-Interceptor-Mirror: e-1\r\n\r\n".encode())
    assert client.read().code == 200
    assert copies(running, "loop") == 1
    assert running.get(COMMAND).code == 200
    assert len(other.wait_for(1)) == 1


@pytest.mark.parametrize(
    ("script", "outcome"),
    [(resetting, "broken"), (saying(b"rubbish\r\n\r\n"), "unreadable"), (hanging, "timeout")],
)
def test_a_mirror_that_fails_is_counted_and_nobody_else_notices(
    proxy: Start, backend: StartBackend, monkeypatch: pytest.MonkeyPatch, script: Script, outcome: str
) -> None:
    monkeypatch.setattr(mirroring, "DEADLINES", Deadlines(0.2, 0.2))
    pbx, other = backend(answering()), backend(script)
    running = proxy(pbx.port, rules=mirrored(f"'http://{LOCAL}:{other.port}/'"))
    assert running.get(COMMAND).code == 200
    assert eventually(lambda: copies(running, outcome) == 1)
    assert (running.settled(1)[0].outcome, running.settled(1)[0].attempts) == ("answered", 1)


def test_a_mirror_that_is_not_there_is_counted(proxy: Start, backend: StartBackend) -> None:
    running = proxy(backend(answering()).port, rules=mirrored(f"'http://{LOCAL}:{free_port()}/'"))
    assert [running.get(COMMAND).code for _ in range(3)] == [200] * 3
    assert eventually(lambda: copies(running, "unreachable") == 3)


def test_copies_beyond_the_queue_are_dropped_and_the_messages_are_not(
    proxy: Start, backend: StartBackend, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirroring, "QUEUED", 5)
    gate = Gate(loop)
    pbx, other = backend(answering()), backend(gated(gate))
    running = proxy(pbx.port, rules=mirrored(f"'http://{LOCAL}:{other.port}/'"))
    client = running.client()
    request = f"GET {COMMAND} HTTP/1.1\r\nHost: a\r\n\r\n".encode()
    assert [client.send(request).read().code for _ in range(12)] == [200] * 12
    assert copies(running, "full") == 7
    gate.open()
    assert eventually(lambda: copies(running, "answered") == 5)
    assert running.get(COMMAND).code == 200
    assert eventually(lambda: copies(running, "answered") == 6)


def test_large_copies_are_bounded_by_their_bytes(
    proxy: Start, backend: StartBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirroring, "QUEUED_BYTES", 1000)
    pbx, other = backend(answering()), backend(answering())
    running = proxy(pbx.port, rules=mirrored(f"'http://{LOCAL}:{other.port}/'"))
    assert running.get(f"{COMMAND}&x={'y' * 1000}").code == 200
    assert copies(running, "full") == 1


def test_what_is_denied_is_not_copied(proxy: Start, backend: StartBackend) -> None:
    other = backend(answering())
    emergency = '{name: emergency, on: "*", when: {number: {class: emergency}}, allow: true}'
    rules = f"rules:\n  - {emergency}\n  - {{name: shown, on: command, mirror: 'http://{LOCAL}:{other.port}/'}}\n"
    running = proxy(9, rules=rules)
    assert running.get(COMMAND).code == 306
    assert other.requests == []


def test_a_fault_of_ours_in_a_copy_stays_there(
    proxy: Start, backend: StartBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    pbx, other = backend(answering()), backend(answering())
    running = proxy(pbx.port, rules=mirrored(f"'http://{LOCAL}:{other.port}/'"))
    with monkeypatch.context() as patch:
        patch.setattr(mirroring.Mirrors, "_begin", None)
        assert running.get(COMMAND).code == 200
        assert eventually(lambda: copies(running, "broken") == 1)
    with monkeypatch.context() as patch:
        patch.setattr(Copies, "of", None)
        assert running.get(COMMAND).code == 200
    assert running.get(COMMAND).code == 200
    assert len(other.wait_for(1)) == 1
