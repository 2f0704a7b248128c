"""How often an app is asked: second addresses, the words of `retry`, and apps that are left alone."""

import time
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from interceptor.settings import App, Retry, Url
from interceptor.values import Verb
from tests.gateway.harness import (
    LOCAL,
    Backend,
    Proxy,
    Script,
    answering,
    eventually,
    free_port,
    hanging,
    resetting,
    saying,
)
from tests.gateway.misbehaving import FAILING, SMALL_REPLIES, after, counted

Start = Callable[..., Proxy]
StartBackend = Callable[[Script], Backend]

ROUTING = "NotificationName=RoutingInterception&CallerID=2301&OriginalDialedNumber=2405"
CALL = "NotificationName=IncomingCall&Dialed=2405"
REPORT = "NotificationName=RecordCompleted&CallId=7Kq2pX"
HELLO = b"<Response><Speak>Hello</Speak></Response>"
SORRY = b"<Response><Speak>Sorry</Speak></Response>"
FAILED_BEFORE_IT_WAS_SENT = ("refused",)


def an_app(port: int, **changes: object) -> App:
    return replace(App("crm", url=Url(LOCAL, port, "/pbx"), fallback=(Verb("Speak", (), "Sorry"),)), **changes)


def start(proxy: Start, port: int, **changes: object) -> Proxy:
    return proxy(9, port, apps={"crm": an_app(port, **changes)}, limits=SMALL_REPLIES)


def port_of(how: str, backend: StartBackend) -> int:
    script = FAILING[how]
    return free_port() if script is None else backend(script).port


# the second address


@pytest.mark.parametrize("how", FAILING)
def test_routing_asks_the_second_address_when_the_first_fails(proxy: Start, backend: StartBackend, how: str) -> None:
    second = backend(answering(HELLO))
    running = start(proxy, port_of(how, backend), backup=Url(LOCAL, second.port, "/b?k=1"))
    answer = running.notify(ROUTING, "/route?tenant=7")
    if how == "slow bytes":  # the whole time is gone
        assert running.settled(1)[0].outcome == "dial_plan"
        return
    assert HELLO in answer.body
    assert second.wait_for(1)[0].startswith(b"POST /b?k=1&tenant=7 HTTP/1.1")
    settled = running.settled(1)[0]
    assert (settled.outcome, settled.attempts) == ("answered", 2)
    assert settled.endpoint == f"{LOCAL}:{second.port}"
    assert counted(running, "interceptor_upstream_retries_total", reason="app_backup") == 1


@pytest.mark.parametrize("how", FAILING)
def test_a_caller_is_told_to_a_second_address_only_while_the_first_has_read_nothing(
    proxy: Start, backend: StartBackend, how: str
) -> None:
    second = backend(answering(HELLO))
    running = start(proxy, port_of(how, backend), backup=Url(LOCAL, second.port, "/b"))
    answer = running.notify(CALL)
    if how == "closes at once":  # whether it was there at all is a matter of microseconds
        assert HELLO in answer.body or SORRY in answer.body
    elif how in FAILED_BEFORE_IT_WAS_SENT:
        assert HELLO in answer.body
        assert second.wait_for(1)[0].endswith(CALL.encode())
    else:
        assert SORRY in answer.body
        assert second.requests == []


def test_reports_wait_for_the_first_address(proxy: Start, backend: StartBackend) -> None:
    second = backend(answering(HELLO))
    running = start(proxy, free_port(), backup=Url(LOCAL, second.port, "/b"))
    running.notify(REPORT)
    assert running.settled(1)[0].outcome == "kept"
    assert second.requests == []


def test_when_both_addresses_fail_the_caller_hears_the_fallback(proxy: Start) -> None:
    running = start(proxy, free_port(), backup=Url(LOCAL, free_port(), "/b"))
    assert SORRY in running.notify(CALL).body
    assert (running.settled(1)[0].outcome, running.settled(1)[0].attempts) == ("fallback", 2)


# the words of retry


@pytest.mark.parametrize(
    ("script", "word"),
    [
        (hanging, "rt"),
        (resetting, "rt"),
        (saying(b"HTTP/1.1 503 x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"), "5xx"),
    ],
)
def test_what_may_have_been_read_is_asked_again_only_if_rp_says_so(
    proxy: Start, backend: StartBackend, script: Script, word: str
) -> None:
    app = backend(after(script, answering(HELLO)))
    running = start(proxy, app.port, retry=Retry(rt=0.15, rc=1))
    assert SORRY in running.notify(CALL).body
    running.stop()
    app = backend(after(script, answering(HELLO)))
    running = start(proxy, app.port, retry=Retry(rt=0.15, rc=1, rp=("ct", word)))
    assert HELLO in running.notify(CALL).body
    assert (len(app.requests), running.settled(1)[0].attempts) == (2, 2)
    assert counted(running, "interceptor_upstream_retries_total", reason="app_retry") == 1


def test_rc_is_the_number_of_further_attempts_and_the_second_address_comes_after_them(
    proxy: Start, backend: StartBackend
) -> None:
    first = backend(saying(b"HTTP/1.1 404 x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"))
    second = backend(answering(HELLO))
    running = start(
        proxy, first.port, retry=Retry(rc=3, rp=("4xx",)), backup=Url(LOCAL, second.port, "/b"), failures_to_open=9
    )
    assert HELLO in running.notify(CALL).body
    assert (len(first.requests), len(second.requests)) == (4, 1)


def test_rt_and_tt_end_the_silence_before_the_deadlines_of_the_kind(proxy: Start, backend: StartBackend) -> None:
    running = start(proxy, backend(hanging).port, retry=Retry(rt=0.1, tt=0.15, rc=5, rp=("all",)))
    assert SORRY in running.notify(CALL).body
    assert running.settled(1)[0].attempts == 2
    assert running.settled(1)[0].total_microseconds < 300_000


# the silence


def test_a_callers_silence_is_the_apps_with_all_its_attempts_and_ours(proxy: Start, backend: StartBackend) -> None:
    first, second = backend(hanging), backend(answering(HELLO))
    running = start(proxy, first.port, backup=Url(LOCAL, second.port, "/b"), retry=Retry(rt=0.1, rc=0))
    running.notify(ROUTING)
    running.notify(CALL)
    running.notify(REPORT)
    silence = "interceptor_caller_silence_seconds_sum"
    for group in ("routing", "interactive"):
        whole, app, us = (counted(running, silence, group=group, part=part) for part in ("all", "app", "us"))
        assert 0.1 <= app <= whole
        assert 0 < us < 0.1
        assert whole == pytest.approx(app + us)
        assert counted(running, "interceptor_caller_silence_seconds_count", group=group, part="all") == 1
    assert counted(running, "interceptor_calls_saved_total", app="crm", notification="IncomingCall") == 1


# left alone


def test_an_app_that_fails_too_often_is_left_alone_and_callers_hear_the_fallback_at_once(
    proxy: Start, backend: StartBackend
) -> None:
    app = backend(hanging)
    running = start(proxy, app.port, failures_to_open=2, retry_after=60.0)
    for _ in range(2):
        running.notify(CALL)
    began = time.monotonic()
    assert SORRY in running.notify(CALL).body
    assert time.monotonic() - began < 0.25
    assert "<Response/>" in running.notify(ROUTING).body.decode()
    running.notify(REPORT)
    assert [each.outcome for each in running.settled(5)] == ["fallback"] * 3 + ["dial_plan", "kept"]
    assert counted(running, "interceptor_refusals_total", reason="breaker_open") == 3
    assert counted(running, "interceptor_app_asked", app="crm") == 0
    assert f"app crm is not asked at http://{LOCAL}:{app.port}/pbx: it failed too often" in running.page("/readyz")


def test_one_real_notification_tries_an_app_that_was_left_alone(proxy: Start, backend: StartBackend) -> None:
    app = backend(after(resetting, resetting, answering(HELLO)))
    running = start(proxy, app.port, failures_to_open=2, retry_after=0.2)
    for _ in range(3):
        assert SORRY in running.notify(CALL).body
    assert len(app.requests) == 2
    assert eventually(lambda: HELLO in running.notify(CALL).body)
    assert HELLO in running.notify(CALL).body
    assert counted(running, "interceptor_app_asked", app="crm") == 1


def test_while_the_first_address_is_left_alone_the_second_is_asked_at_once(proxy: Start, backend: StartBackend) -> None:
    first, second = backend(resetting), backend(answering(HELLO))
    running = start(proxy, first.port, backup=Url(LOCAL, second.port, "/b"), failures_to_open=1, retry_after=60.0)
    assert SORRY in running.notify(CALL).body
    assert HELLO in running.notify(CALL).body
    assert len(first.requests) == 1


def test_with_0_an_app_is_never_left_alone(proxy: Start, backend: StartBackend) -> None:
    app = backend(resetting)
    running = start(proxy, app.port, failures_to_open=0)
    for _ in range(8):
        assert SORRY in running.notify(CALL).body
    assert len(app.requests) == 8
