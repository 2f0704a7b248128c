"""What the admin listener tells about a proxy that works."""

import json
import socket
from collections.abc import Callable
from ipaddress import ip_network
from pathlib import Path

import pytest

from interceptor.settings import Address, App, Cluster, Credentials, Listener, Mode, PasswordCheck, Secret, Url
from interceptor.values import Kind
from tests.gateway.harness import LOCAL, Backend, Proxy, Script, answering, eventually, page
from tests.gateway.test_tls import ask, dial, make_certificate, trusting

Start = Callable[..., Proxy]
StartBackend = Callable[[Script], Backend]

RULES = """
rules:
  - name: no-premium
    on: Call
    when: {number: {class: premium}}
    deny: {code: 306, message: "Premium numbers are not dialled"}
  - name: watched
    on: Call
    mode: shadow
    deny: {code: 306}
  - name: rest
    on: [command, notification]
    allow: true
"""


def test_the_metrics_count_what_happened(proxy: Start, backend: StartBackend) -> None:
    pbx, app = backend(answering()), backend(answering(b"<Response/>"))
    running = proxy(pbx.port, app.port, rules=RULES)
    client = running.client()
    for target in ("Call&Dialed=1001", "Call&Dialed=%2B3690123456", "callx", "ListActiveCalls&x=1&x=2"):
        client.send(f"GET /?command={target} HTTP/1.1\r\nHost: a\r\n\r\n".encode()).read()
    client.send(b"GET / HTTP/1.1\r\n\r\n").read()
    running.notify("NotificationName=IncomingCall&CallId=1")
    for metric, value in {
        'interceptor_commands_total{code="200",command="Call"}': 1,
        'interceptor_commands_total{code="306",command="Call"}': 1,
        'interceptor_commands_total{code="200",command="_other"}': 1,
        'interceptor_commands_total{code="302",command="ListActiveCalls"}': 1,
        'interceptor_notifications_total{notification="IncomingCall",outcome="answered"}': 1,
        'interceptor_decisions_total{kind="command",rule="no-premium",verdict="deny"}': 1,
        'interceptor_decisions_total{kind="command",rule="rest",verdict="allow"}': 2,
        'interceptor_shadow_matches_total{rule="watched"}': 1,
        'interceptor_refusals_total{reason="ambiguous"}': 1,
        'interceptor_refusals_total{reason="bad_host"}': 1,
        'interceptor_connections_accepted_total{listener="commands"}': 1,
        'interceptor_upstream_duration_seconds_count{kind="command"}': 2,
        'interceptor_own_duration_seconds_count{kind="command"}': 4,
        f'interceptor_upstream_connections{{state="idle",upstream="{LOCAL}:{pbx.port}"}}': 1,
        f'interceptor_endpoint_up{{cluster="pbx",endpoint="{LOCAL}:{pbx.port}"}}': 1,
        "interceptor_policy_rules": 3,
        "interceptor_journal_healthy": 1,
    }.items():
        assert (metric, running.counted(metric)) == (metric, value)
    assert eventually(lambda: running.counted("interceptor_journal_records_total") == 10)


def test_what_is_in_force_is_shown_without_a_secret(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(answering())
    cluster = Cluster("pbx", (Url(LOCAL, pbx.port, "/"),), Credentials("us", Secret("sesame-1")))
    crm = App("crm", (ip_network("127.0.0.0/8"),), "crm", PasswordCheck(Secret("sesame-2")))
    running = proxy(pbx.port, rules=RULES, clusters={"pbx": cluster}, apps={"crm": crm})
    assert running.get("/?command=ListActiveCalls&Username=crm&Password=sesame-2").code == 200
    policy = json.loads(running.page("/policy"))
    assert [(rule["name"], rule["mode"]) for rule in policy["rules"]] == [
        ("no-premium", "enforce"),
        ("watched", "shadow"),
        ("rest", "enforce"),
    ]
    assert policy["revision"] == running.decisions()[0].revision
    shown = "".join(running.page(path) for path in ("/config", "/policy", "/metrics", "/readyz"))
    assert str(pbx.port) in shown
    assert "sesame" not in shown


def test_it_is_ready_while_a_pbx_is_there_and_says_which_cluster_is_not(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(answering())
    cluster = Cluster("pbx", (Url(LOCAL, pbx.port, "/"),), failures_to_open=1, retry_after=0.1)
    running = proxy(pbx.port, clusters={"pbx": cluster})
    admin = running.running.addresses["admin"]
    assert page(admin, "/readyz")[0] == 200
    pbx.stop()
    assert running.get("/?command=ListActiveCalls").code == 901
    status, told = page(admin, "/readyz")
    assert (status, "no endpoint of cluster pbx is up" in told) == (503, True)
    pbx.start()
    assert eventually(lambda: page(admin, "/readyz")[0] == 200)
    assert running.get("/?command=ListActiveCalls").code == 200


@pytest.fixture
def six() -> str:
    """The loopback address of IPv6, where the machine has one."""
    try:
        with socket.socket(socket.AF_INET6) as tried:
            tried.bind(("::1", 0))
    except OSError as error:
        pytest.skip(f"no IPv6: {error}")
    return "::1"


def test_listeners_and_the_pbx_may_be_on_ipv6(proxy: Start, loop: object, tmp_path: Path, six: str) -> None:
    listening = socket.create_server((six, 0), family=socket.AF_INET6)
    pbx = Backend(loop, answering(), listening=listening).start()
    certificate = make_certificate(tmp_path)
    listeners = (
        Listener("commands", Kind.COMMAND, Address(six, 0)),
        Listener("tls", Kind.COMMAND, Address(six, 0), Mode.TLS, certificate),
    )
    running = proxy(
        9,
        listeners=listeners,
        clusters={"pbx": Cluster("pbx", (Url(six, pbx.port, "/"),))},
        apps={"crm": App("crm", (ip_network("::1/128"),))},
    )
    assert running.get("/?command=ListActiveCalls").code == 200
    assert b"\r\nX-Forwarded-For: ::1\r\n" in pbx.requests[0]
    with dial(running, trusting(certificate)) as over:
        assert ask(over, "GET", "/?command=ListActiveCalls").code == 200
    pbx.stop()
