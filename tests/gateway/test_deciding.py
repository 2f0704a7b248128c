"""Reports that were kept because a fault of ours kept them from being decided: no one leaves before it is."""

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace

from interceptor.exchanges import NO_OPINION
from interceptor.pipeline import Pipeline
from interceptor.policy import RuleSet
from interceptor.settings import Subscription, Url
from interceptor.values import Verdict
from tests.gateway.harness import LOCAL, Backend, Proxy, Script, answering, free_port, settings_for
from tests.gateway.misbehaving import await_until, counted

Start = Callable[..., Proxy]
StartBackend = Callable[[Script], Backend]

OZML = answering(b"<Response/>")
REPORT = "NotificationName=CallChanged&CallId=1&CallState=Ringing"


def broken(monkeypatch: pytest.MonkeyPatch, owner: type = RuleSet, name: str = "decide") -> None:
    def boom(*args: object, **kwargs: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(owner, name, boom)


def kept_undecided(running: Proxy, monkeypatch: pytest.MonkeyPatch, path: str = "/", report: str = REPORT) -> None:
    """Tell a report while nothing can be decided; it can again afterwards."""
    before = len(running.settlements())
    with monkeypatch.context() as patched:
        broken(patched)
        answer = running.notify(report, path)
        assert (answer.status, answer.body) == (200, NO_OPINION)
        assert running.settlements()[before].outcome == "kept"


def emptied(running: Proxy) -> None:
    await_until(lambda: not any(running.running.worker.deliveries.depths().values()))


def test_what_a_rule_refuses_at_delivery_never_arrives(
    proxy: Start, backend: StartBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = backend(OZML)
    running = proxy(9, app.port, rules="rules: [{name: silent, on: CallChanged, deny: {}}]")
    kept_undecided(running, monkeypatch)
    emptied(running)
    assert app.requests == []
    assert counted(running, "interceptor_outbox_dropped_total", app="crm", reason="refused") == 1
    first, last = running.decisions()
    assert (first.exchange, first.verdict, first.reason) == (last.exchange, Verdict.DENY, "fault")
    assert (last.verdict, last.reason, last.rules) == (Verdict.DENY, "rule", ("test.yaml:1 silent",))
    assert [last.exchange] == [record.exchange for record in running.settlements()]


def test_it_is_decided_once_and_arrives_as_the_rules_want_it(
    proxy: Start, backend: StartBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = backend(OZML)
    app.stop()
    rules = "rules: [{name: seen, on: CallChanged, rewrite: {set: {CallState: Seen}}}]"
    running = proxy(9, app.port, rules=rules)
    kept_undecided(running, monkeypatch, "/in?tenant=7")
    await_until(lambda: counted(running, "interceptor_outbox_delivery_failures_total", app="crm") >= 2)
    app.start()
    request = app.wait_for(1)[0]
    emptied(running)
    assert request.startswith(b"POST /pbx?tenant=7 HTTP/1.1\r\n")
    assert request.endswith(b"\r\n\r\nNotificationName=CallChanged&CallId=1&CallState=Seen")
    assert b"X-Interceptor-Exchange: " + running.decisions()[0].exchange.encode() in request
    assert len(running.decisions()) == 2


def test_while_it_cannot_be_decided_nothing_leaves_and_what_came_later_waits_behind_it(
    proxy: Start, backend: StartBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = backend(OZML)
    running = proxy(9, app.port)
    with monkeypatch.context() as patched:
        broken(patched)
        running.notify(REPORT)
        await_until(lambda: counted(running, "interceptor_outbox_delivery_failures_total", app="crm") >= 2)
        running.notify(REPORT.replace("CallId=1", "CallId=2"))
        assert app.requests == []
    emptied(running)
    assert [b"CallId=1" in request for request in app.requests] == [True, False]


def test_it_is_decided_after_a_restart_by_the_rules_that_are_in_force_then(
    proxy: Start, backend: StartBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = backend(OZML)
    running = proxy(9, app.port)
    with monkeypatch.context() as patched:
        broken(patched)
        running.notify(REPORT)
        running.stop()
    running = proxy(9, app.port, rules="rules: [{name: seen, on: CallChanged, rewrite: {set: {CallState: Seen}}}]")
    assert app.wait_for(1)[0].endswith(b"&CallState=Seen")


@pytest.mark.parametrize("subscribed", [True, False])
def test_a_rule_sends_it_to_another_app_and_its_outbox(
    proxy: Start, backend: StartBackend, monkeypatch: pytest.MonkeyPatch, *, subscribed: bool
) -> None:
    crm, other = backend(OZML), backend(OZML)
    other.stop()
    apps = settings_for(Path("/nowhere"), [9], crm.port).apps
    apps = {**apps, "other": replace(apps["crm"], name="other", sources=(), url=Url(LOCAL, other.port, "/there"))}
    running = proxy(
        9,
        apps=apps,
        subscriptions=(Subscription("crm", path="/" if subscribed else "/elsewhere"),),
        rules="rules: [{name: away, on: CallChanged, reroute: {app: other}}]",
    )
    kept_undecided(running, monkeypatch)
    await_until(lambda: counted(running, "interceptor_outbox_entries", app="other") == 1)
    assert running.running.worker.deliveries.depths()["other"] == 1
    other.start()
    assert other.wait_for(1)[0].startswith(b"POST /there HTTP/1.1\r\n")
    emptied(running)
    assert crm.requests == []
    first = "crm" if subscribed else "_other"
    assert counted(running, "interceptor_outbox_dropped_total", app=first, reason="moved") == 1


def test_what_nobody_wants_is_dropped_when_that_is_decided(proxy: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    running = proxy(9, free_port(), subscriptions=())
    kept_undecided(running, monkeypatch)
    emptied(running)
    assert counted(running, "interceptor_outbox_dropped_total", app="_other", reason="unroutable") == 1


@pytest.mark.parametrize("action", ["deny: {}", "answer: [{Hangup: }]"])
def test_what_a_rule_has_answered_is_not_kept_because_of_a_fault_after_it(
    proxy: Start, backend: StartBackend, monkeypatch: pytest.MonkeyPatch, action: str
) -> None:
    app = backend(OZML)
    running = proxy(9, app.port, rules=f"rules: [{{name: silent, on: CallChanged, {action}}}]")
    broken(monkeypatch, Pipeline, "settle_answer")
    answer = running.notify(REPORT)
    assert (answer.status, b"<Response" in answer.body) == (200, True)
    assert [record.outcome for record in running.settlements()] == ["refused" if "deny" in action else "rule"]
    assert not any(running.running.worker.deliveries.depths().values())
    assert app.requests == []


def test_the_record_of_calls_learns_of_it_when_it_is_decided(
    proxy: Start, backend: StartBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = backend(OZML)
    running = proxy(9, app.port)
    kept_undecided(running, monkeypatch, report=REPORT.replace("CallId=1", "CallId=7Kq2pX"))
    app.wait_for(1)
    await_until(lambda: "7Kq2pX" in running.page("/calls"))
    assert running.page("/calls").count('"7Kq2pX"') == 1
