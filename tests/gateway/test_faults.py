"""The failure table, cell by cell, injected for real: failing apps, faults of our own, a stuck journal, overload.

What happens to the PBX's side of the table is in ``test_clusters.py``, what is kept for later in ``test_kept.py``;
``docs/failures.md`` names the test of every cell.
"""

import logging
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from interceptor.audit.record import Recorder
from interceptor.exchanges import NO_OPINION
from interceptor.gateway.carrier import Carrier
from interceptor.gateway.clusters import ClusterRoute, Endpoint
from interceptor.gateway.delivery import Deliveries
from interceptor.gateway.upstream import Pool
from interceptor.identity import Identifier
from interceptor.metrics import Metrics
from interceptor.pipeline import Pipeline
from interceptor.policy import RuleSet
from interceptor.settings import App, Limits, Subscription
from interceptor.wire.numbers import NumberReader
from tests.gateway.harness import LOCAL, Answer, Backend, Proxy, Script, answering, free_port, hanging, settings_for
from tests.gateway.misbehaving import (
    FAILING,
    SMALL_REPLIES,
    ask_admin,
    await_until,
    counted,
    dripping,
    said,
    side_by_side,
)

Start = Callable[..., Proxy]
StartBackend = Callable[[Script], Backend]

ROUTING = "NotificationName=RoutingInterception&CallerID=2301&OriginalDialedNumber=2405"
INTERACTIVE = ("CallConnected", "IncomingCall", "DtmfEntered", "GoTo")
REPORTS = ("CallChanged", "RecordCompleted", "SMSDeliveryReport", "Error", "IncomingSMS", "NewerThanUs")
FALLBACK = b"<Speak>One moment please</Speak>"
REASONS = {
    "refused": ("upstream_unreachable",),
    # whether a connection that closes at once was there at all is a matter of microseconds
    "closes at once": ("upstream_unreachable", "upstream_broken"),
    "resets": ("upstream_broken",),
    "no byte": ("upstream_timeout",),
    "slow bytes": ("upstream_timeout",),
    "an HTML page": ("upstream_unreadable",),
    "a PHP error": ("upstream_unreadable",),
    "status 500": ("upstream_unreadable",),
    "not HTTP": ("upstream_unreadable",),
    "cut off in the body": ("upstream_broken",),
    "over the cap": ("upstream_unreadable",),
}
WITH_TIME_TO_SPARE = 1.5  # seconds; the deadlines of the tests are 0.5


def tell(proxy: Proxy, *names: str) -> list[Answer]:
    """Notifications sent side by side, and their answers."""
    return side_by_side([lambda name=name: proxy.notify(f"NotificationName={name}&CallId=7Kq2pX") for name in names])


def outcomes(proxy: Proxy) -> list[str]:
    return [record.outcome for record in proxy.settlements()]


def seconds_taken(proxy: Proxy) -> float:
    return max(record.total_microseconds for record in proxy.settlements()) / 1e6


@pytest.fixture
def failing_app(proxy: Start, backend: StartBackend) -> Callable[[str], Proxy]:
    """Interceptor in front of an app that fails in the way that ``FAILING`` names."""

    def start(how: str) -> Proxy:
        script = FAILING[how]
        port = free_port() if script is None else backend(script).port
        return proxy(9, port, limits=SMALL_REPLIES)

    return start


# the app fails


@pytest.mark.parametrize("how", FAILING)
def test_routing_has_the_dial_plan_before_its_deadline_when_the_app_fails(
    failing_app: Callable[[str], Proxy], how: str
) -> None:
    running = failing_app(how)
    answer = running.notify(ROUTING)
    assert (answer.status, answer.body) == (200, NO_OPINION)
    assert outcomes(running) == ["dial_plan"]
    assert seconds_taken(running) < WITH_TIME_TO_SPARE
    assert counted(running, "interceptor_notifications_total", outcome="dial_plan") == 1
    assert sum(counted(running, "interceptor_refusals_total", reason=reason) for reason in REASONS[how]) == 1


@pytest.mark.parametrize("how", FAILING)
def test_a_caller_hears_the_fallback_when_the_app_fails_and_the_call_counts_as_saved(
    failing_app: Callable[[str], Proxy], how: str
) -> None:
    running = failing_app(how)
    for answer in tell(running, *INTERACTIVE):
        assert answer.status == 200
        assert FALLBACK in answer.body
        assert b'<BlindTransfer Target="1099"' in answer.body
    assert outcomes(running) == ["fallback"] * 4
    assert seconds_taken(running) < WITH_TIME_TO_SPARE
    assert counted(running, "interceptor_calls_saved_total", app="crm") == 4
    assert counted(running, "interceptor_notifications_total", outcome="fallback") == 4


@pytest.mark.parametrize("how", FAILING)
def test_a_report_is_taken_and_kept_when_the_app_fails(failing_app: Callable[[str], Proxy], how: str) -> None:
    running = failing_app(how)
    for answer in tell(running, *REPORTS):
        assert (answer.status, answer.body) == (200, NO_OPINION)
    assert outcomes(running) == ["kept"] * len(REPORTS)
    assert counted(running, "interceptor_outbox_kept_total", app="crm") == len(REPORTS)
    assert counted(running, "interceptor_notifications_total", outcome="kept") == len(REPORTS)


def test_without_a_fallback_a_caller_gets_an_answer_without_verbs_and_the_call_counts_as_lost(proxy: Start) -> None:
    running = proxy(9, free_port(), apps={"crm": App("crm", url=None)})
    answer = running.notify("NotificationName=IncomingCall")
    assert (answer.status, answer.body) == (200, NO_OPINION)
    assert outcomes(running) == ["lost"]
    assert counted(running, "interceptor_calls_saved_total") == 0


def test_a_notification_that_no_app_wants_is_answered_by_the_table_and_never_forwarded(
    proxy: Start, backend: StartBackend
) -> None:
    app = backend(answering(b"<Response/>"))
    running = proxy(9, app.port, subscriptions=(Subscription("crm", path="/elsewhere"),))
    answers = [running.notify(ROUTING), running.notify("NotificationName=IncomingCall"), *tell(running, "CallChanged")]
    assert [(answer.status, answer.body) for answer in answers] == [(200, NO_OPINION)] * 3
    assert outcomes(running) == ["dial_plan", "lost", "lost"]
    assert counted(running, "interceptor_refusals_total", reason="unroutable") == 3
    assert app.requests == []


def test_an_app_that_sends_ozml_with_a_slip_or_as_html_or_nothing_has_not_failed(
    proxy: Start, backend: StartBackend
) -> None:
    for body in (b"", b"\r\n<Response><Speak>Hi</Response>", b"<response><speak>Hi</speak></response>"):
        app = backend(answering(body, b"Content-Type: text/html\r\n"))
        crm = replace(settings_for(Path("/nowhere"), [9], app=app.port).apps["crm"], legacy=True)
        running = proxy(9, app.port, apps={"crm": crm})
        assert tell(running, "IncomingCall")[0].body == body
        assert outcomes(running) == ["answered"]
        running.stop()


# our own exceptions

BOOM = RuntimeError("made by the test")


def breaks(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
    def boom(*args: object, **kwargs: object) -> None:
        raise BOOM

    monkeypatch.setattr(owner, name, boom)


BEFORE_FORWARDING = {
    "identifying": (Identifier, "identify"),
    "reading numbers": (NumberReader, "dialled"),
    "deciding": (RuleSet, "decide"),
    "planning": (Pipeline, "_plan_command"),
    "making the record": (Recorder, "decision"),
    "choosing an endpoint": (ClusterRoute, "choose"),
    "writing our headers": (Carrier, "own_lines"),
}


@pytest.mark.parametrize("part", BEFORE_FORWARDING)
def test_a_fault_of_ours_before_forwarding_denies_the_command_with_905(
    proxy: Start, backend: StartBackend, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    pbx = backend(answering())
    running = proxy(pbx.port)
    with monkeypatch.context() as patched:
        breaks(patched, *BEFORE_FORWARDING[part])
        answer = running.get("/?command=Call&Dialed=2405")
        assert said(answer) == (200, 905)
    assert pbx.requests == []
    assert said(running.get("/?command=Call&Dialed=2405")) == (200, 200)
    assert running.running.worker._carrier.in_flight == 0


def test_a_fault_of_ours_names_the_exchange_in_message_header_and_record(
    proxy: Start, backend: StartBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = proxy(backend(answering()).port)
    breaks(monkeypatch, RuleSet, "decide")
    answer = running.get("/?command=Call&Dialed=2405")
    exchange = answer.headers["x-interceptor-exchange"]
    assert exchange in answer.body.decode()
    assert (running.decisions()[0].exchange, running.decisions()[0].reason) == (exchange, "fault")
    assert running.settlements()[0].outcome == "failed"
    assert counted(running, "interceptor_refusals_total", reason="fault") == 1
    assert counted(running, "interceptor_commands_total", code="905") == 1


def test_a_fault_of_ours_in_the_answer_never_says_that_the_command_was_not_sent(
    proxy: Start, backend: StartBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    pbx = backend(answering())
    running = proxy(pbx.port)
    breaks(monkeypatch, Pipeline, "finish")
    answer = running.get("/?command=Call&Dialed=2405")
    assert said(answer) == (200, 906)
    assert b"may have been carried out" in answer.body
    assert len(pbx.requests) == 1
    assert counted(running, "interceptor_refusals_total", reason="fault") == 1


@pytest.mark.parametrize(
    ("how", "name"), [("answers", "succeeded"), ("resets", "failed")], ids=["after an answer", "after a failure"]
)
def test_a_fault_of_ours_in_the_books_of_an_endpoint_still_ends_in_an_honest_answer(
    proxy: Start, backend: StartBackend, monkeypatch: pytest.MonkeyPatch, how: str, name: str
) -> None:
    running = proxy(backend(FAILING.get(how) or answering()).port)
    breaks(monkeypatch, Endpoint, name)
    answer = running.get("/?command=Call&Dialed=2405")
    assert said(answer) == (200, 906)
    assert b"may have been carried out" in answer.body
    assert running.running.worker._carrier.in_flight == 0


@pytest.mark.parametrize("how", ["answers", "resets"])
def test_what_comes_after_a_fault_of_ours_is_not_answered_a_second_time(
    proxy: Start, backend: StartBackend, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    pbx = backend(FAILING.get(how) or answering())
    running = proxy(pbx.port)
    send = Pool.send

    def send_and_fault(*args: object, **more: object) -> None:
        send(*args, **more)
        raise BOOM

    client = running.client()
    with monkeypatch.context() as patched:
        patched.setattr(Pool, "send", send_and_fault)
        client.send(b"GET /?command=Call&Dialed=1 HTTP/1.1\r\nHost: pbx\r\n\r\n")
        assert said(client.read()) == (200, 906)
        pbx.wait_for(1)
        await_until(lambda: not any(pool.connections - pool.idle for pool in running.running.worker._pools.values()))
    client.send(b"GET /?command=Hangup&CallId=1 HTTP/1.1\r\nHost: pbx\r\n\r\n")
    assert client.read().code == (200 if how == "answers" else 904)
    assert [record.outcome for record in running.settlements()] == [
        "failed",
        "answered" if how == "answers" else "failed",
    ]
    assert running.running.worker._carrier.in_flight == 0


FAULTS_OF_NOTIFICATIONS = {
    "before": (RuleSet, "decide"),
    "after": (Pipeline, "finish"),
    "in the pool": (Pool, "send"),
}


@pytest.mark.parametrize("when", FAULTS_OF_NOTIFICATIONS)
def test_a_fault_of_ours_leaves_routing_to_the_dial_plan(
    proxy: Start, backend: StartBackend, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    running = proxy(9, backend(answering(b"<Response><Route>1000</Route></Response>")).port)
    breaks(monkeypatch, *FAULTS_OF_NOTIFICATIONS[when])
    assert running.notify(ROUTING).body == NO_OPINION
    assert outcomes(running) == ["dial_plan"]
    assert counted(running, "interceptor_refusals_total", reason="fault") == 1


@pytest.mark.parametrize("when", FAULTS_OF_NOTIFICATIONS)
def test_a_fault_of_ours_lets_the_caller_hear_the_fallback(
    proxy: Start, backend: StartBackend, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    running = proxy(9, backend(answering(b"<Response><Speak>Hi</Speak></Response>")).port)
    breaks(monkeypatch, *FAULTS_OF_NOTIFICATIONS[when])
    assert all(FALLBACK in answer.body for answer in tell(running, *INTERACTIVE))
    assert outcomes(running) == ["fallback"] * 4
    assert counted(running, "interceptor_calls_saved_total", app="crm") == 4


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_fault_of_ours_keeps_a_report_and_delivers_it_when_the_fault_is_over(
    proxy: Start, backend: StartBackend, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    app = backend(answering(b"<Response/>"))
    running = proxy(9, app.port)
    with monkeypatch.context() as patched:
        breaks(patched, *FAULTS_OF_NOTIFICATIONS[when])
        answer = running.notify("NotificationName=CallChanged&CallId=1", "/in?tenant=7")
    assert (answer.status, answer.body) == (200, NO_OPINION)
    assert outcomes(running) == ["kept"]
    delivered = app.wait_for(1 if when == "before" else 2)[-1]
    assert delivered.startswith(b"POST /pbx?tenant=7 HTTP/1.1\r\n")
    assert delivered.endswith(b"\r\n\r\nNotificationName=CallChanged&CallId=1")


@pytest.mark.parametrize(
    ("owner", "name"),
    [(Recorder, "settlement"), (Metrics, "command_settled"), (Carrier, "count")],
    ids=["the record", "the metric", "the count"],
)
def test_an_answer_goes_out_although_its_settlement_cannot_be_recorded_or_counted(
    proxy: Start, backend: StartBackend, monkeypatch: pytest.MonkeyPatch, owner: type, name: str
) -> None:
    running = proxy(backend(answering()).port)
    breaks(monkeypatch, owner, name)
    client = running.client()
    for _ in range(2):
        client.send(b"GET /?command=ListActiveCalls HTTP/1.1\r\nHost: pbx.test\r\n\r\n")
        assert said(client.read()) == (200, 200)
    assert running.running.worker._carrier.in_flight == 0


def test_a_report_is_answered_although_the_outbox_faults(proxy: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    running = proxy(9, free_port())
    breaks(monkeypatch, Deliveries, "put")
    answer = running.notify("NotificationName=CallChanged")
    assert (answer.status, answer.body) == (200, NO_OPINION)
    assert running.running.worker._carrier.in_flight == 0


def test_whatever_fails_at_once_everybody_still_has_an_answer(
    proxy: Start, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    running = proxy(9, free_port())
    for owner, name in ((Pipeline, "begin"), (Pipeline, "broken"), (Pipeline, "fail"), (Recorder, "settlement")):
        breaks(monkeypatch, owner, name)
    assert said(running.get("/?command=Call&Dialed=1")) == (200, 905)
    assert running.notify(ROUTING).body == NO_OPINION
    assert running.running.worker._carrier.in_flight == 0
    assert any(record.levelno >= logging.ERROR for record in caplog.records)


@pytest.mark.parametrize("how", ["resets", "no byte", "slow bytes"])
def test_an_asker_that_has_gone_leaves_nothing_behind(proxy: Start, backend: StartBackend, how: str) -> None:
    script = FAILING[how]
    assert script is not None
    pbx = backend(script)
    running = proxy(pbx.port, limits=SMALL_REPLIES)
    client = running.client().send(b"GET /?command=Call&Dialed=1 HTTP/1.1\r\nHost: pbx\r\n\r\n")
    pbx.wait_for(1)
    client.close()
    await_until(running.settlements)
    assert running.settlements()[0].code == 904
    await_until(lambda: running.running.worker._carrier.in_flight == 0)
    assert counted(running, "interceptor_connections", listener="commands") == 0


# the journal cannot write


class Disk:
    """The journal's folder, taken away and given back."""

    def __init__(self, state: Path) -> None:
        self._folder = state / "journal"

    def take_away(self) -> None:
        """Delete the folder and put a file in its place, so that it cannot be made again."""
        shutil.rmtree(self._folder)
        self._folder.write_bytes(b"")

    def give_back(self) -> None:
        self._folder.unlink()

    def records(self) -> list[dict[str, object]]:
        """What stands in the journal's files, in order."""
        return [
            msgspec.json.decode(line)
            for path in sorted(self._folder.glob("*.jsonl"), key=lambda path: path.name.rpartition("-")[2])
            for line in path.read_bytes().splitlines()
        ]


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def test_a_command_that_cannot_be_recorded_is_refused_with_903_and_never_reaches_the_pbx(
    proxy: Start, backend: StartBackend, disk: Disk
) -> None:
    pbx = backend(answering())
    running = proxy(pbx.port)
    disk.take_away()
    for _ in range(3):
        answer = running.get("/?command=Call&Dialed=2405")
        assert said(answer) == (200, 903)
        assert answer.headers["x-interceptor-exchange"] in answer.body.decode()
    assert pbx.requests == []
    status, why = ask_admin(running, "/readyz")
    assert status == 503
    assert "journal cannot write" in why
    assert counted(running, "interceptor_refusals_total", reason="cannot_record") == 3
    assert counted(running, "interceptor_commands_total", code="903") == 3
    assert counted(running, "interceptor_journal_healthy") == 0


def test_notifications_are_never_blocked_by_a_journal_that_cannot_write(
    proxy: Start, backend: StartBackend, disk: Disk
) -> None:
    app = backend(answering(b"<Response><Speak>Hi</Speak></Response>"))
    running = proxy(9, app.port)
    disk.take_away()
    running.get("/?command=Call&Dialed=1")  # the journal knows from here on
    for name in ("RoutingInterception", "IncomingCall", "CallChanged"):
        assert b"<Speak>Hi</Speak>" in tell(running, name)[0].body
    assert len(app.requests) == 3


def test_when_the_journal_can_write_again_a_gap_record_says_so_and_commands_flow(
    proxy: Start, backend: StartBackend, disk: Disk
) -> None:
    pbx = backend(answering())
    running = proxy(pbx.port)
    assert running.get("/?command=ListActiveCalls").code == 200
    disk.take_away()
    assert running.get("/?command=ListActiveCalls").code == 903
    disk.give_back()
    await_until(lambda: ask_admin(running, "/readyz")[0] == 200)
    assert running.get("/?command=ListActiveCalls").code == 200
    assert len(pbx.requests) == 2
    running.stop()
    records = disk.records()
    gap = next(record for record in records if record["event"] == "audit.gap")
    assert gap["reason"] == "not_written"
    assert gap["since"]
    numbers = [record["sequence"] for record in records]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


# overload

ONE_AT_A_TIME = replace(Limits(), upstream_connections=1, queued=1)


def fill(running: Proxy, other: Backend, send: Callable[[], object]) -> None:
    """Let one message occupy the only connection and another the only place in the queue."""
    send()
    other.wait_for(1)
    send()
    await_until(lambda: any(pool.queued for pool in running.running.worker._pools.values()))


def ask_for(running: Proxy, listener: str, body: bytes) -> None:
    head = b"POST / HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n" % len(
        body
    )
    running.client(listener).send(head + body)


def test_a_command_beyond_the_queue_is_refused_with_902_at_once(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(hanging)
    running = proxy(pbx.port, limits=ONE_AT_A_TIME)
    fill(running, pbx, lambda: ask_for(running, "commands", b"command=Call&Dialed=2405"))
    answer = running.get("/?command=Call&Dialed=2406")
    assert said(answer) == (200, 902)
    assert answer.headers["x-interceptor-exchange"] in answer.body.decode()
    assert len(pbx.requests) == 1
    record = running.settlements()[0]
    assert (record.code, record.total_microseconds < 200_000) == (902, True)
    assert counted(running, "interceptor_refusals_total", reason="overload") == 1
    assert counted(running, "interceptor_limit_hits_total", limit="queued") == 1
    assert counted(running, "interceptor_limit_hits_total", limit="upstream_connections") >= 1
    assert ask_admin(running, "/readyz")[0] == 200  # an overload is no failure of the endpoint


def test_a_command_that_waits_too_long_in_the_queue_is_refused_and_was_never_sent(
    proxy: Start, backend: StartBackend
) -> None:
    pbx = backend(dripping)
    running = proxy(pbx.port, limits=ONE_AT_A_TIME)
    fill(running, pbx, lambda: ask_for(running, "commands", b"command=Call&Dialed=2405"))
    await_until(running.settlements)
    assert running.settlements()[0].code == 902
    assert len(pbx.requests) == 1


def overload_of_notifications(proxy: Start, backend: StartBackend) -> Proxy:
    app = backend(hanging)
    running = proxy(9, app.port, limits=ONE_AT_A_TIME)
    fill(running, app, lambda: ask_for(running, "notifications", b"NotificationName=IncomingCall"))
    return running


def test_routing_has_the_dial_plan_at_once_under_overload(proxy: Start, backend: StartBackend) -> None:
    running = overload_of_notifications(proxy, backend)
    assert running.notify(ROUTING).body == NO_OPINION
    assert outcomes(running)[0] == "dial_plan"
    assert running.settlements()[0].total_microseconds < 200_000


def test_a_caller_hears_the_fallback_at_once_under_overload(proxy: Start, backend: StartBackend) -> None:
    running = overload_of_notifications(proxy, backend)
    assert FALLBACK in tell(running, "CallConnected")[0].body
    assert outcomes(running)[0] == "fallback"
    assert running.settlements()[0].total_microseconds < 200_000


def test_a_report_is_kept_under_overload(proxy: Start, backend: StartBackend) -> None:
    running = overload_of_notifications(proxy, backend)
    answer = tell(running, "CallChanged")[0]
    assert (answer.status, answer.body) == (200, NO_OPINION)
    assert outcomes(running)[0] == "kept"
    assert counted(running, "interceptor_outbox_kept_total", app="crm") == 1


def test_a_message_that_waited_in_the_queue_keeps_its_total_deadline(proxy: Start, backend: StartBackend) -> None:
    app = backend(hanging)
    running = proxy(9, app.port, limits=replace(ONE_AT_A_TIME, queued=8))
    answers = tell(running, *["IncomingCall"] * 4)
    assert all(FALLBACK in answer.body for answer in answers)
    assert seconds_taken(running) < 0.5 + 0.4  # not first byte upon first byte
    assert LOCAL in {record.endpoint.partition(":")[0] for record in running.settlements()}
