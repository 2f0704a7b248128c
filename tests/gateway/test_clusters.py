"""PBX endpoints that fail: failover only where nothing can happen twice, honest codes, passive health, probes."""

import asyncio
import re
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from interceptor.settings import Cluster, Credentials, Limits, Secret, Url
from tests.gateway.harness import (
    LOCAL,
    OK_XML,
    Backend,
    Gate,
    Loop,
    Proxy,
    Script,
    answering,
    free_port,
    read_request,
    saying,
)
from tests.gateway.misbehaving import (
    AWAY,
    FAILING,
    HTML,
    SMALL_REPLIES,
    after,
    ask_admin,
    await_until,
    counted,
    dripping,
    kept_then_cut,
    said,
    side_by_side,
)

Start = Callable[..., Proxy]
StartBackend = Callable[[Script], Backend]

CALL = "/?command=Call&Dialed=2405&ApiExtension=9000"
LIST = "/?command=ListActiveCalls"
FORBIDDEN_306 = b"<Response><Code>306</Code><Message>Not in the ACL</Message></Response>"
ONCE = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(OK_XML), OK_XML)
REFUSED_305 = b"<Response><Code>305</Code><Message>Authentication failed</Message></Response>"

# What a failing endpoint leaves as the answer to a command that may have been read; an HTML page and HTTP 500 are
# answers, and go back as they came.
CODES = {
    "closes at once": (901, 904),  # whether it was there at all is a matter of microseconds
    "resets": (904,),
    "no byte": (904,),
    "slow bytes": (904,),
    "not HTTP": (906,),
    "cut off in the body": (904,),
    "over the cap": (906,),
}


def cluster(*ports: int, **changes: Any) -> dict[str, dict[str, Cluster]]:
    """The argument that gives the proxy a cluster of its own."""
    whole = Cluster("pbx", tuple(Url(LOCAL, port, "/") for port in ports), retry_after=0.2)
    return {"clusters": {"pbx": replace(whole, **changes)}}


def commands(backend: Backend) -> list[str]:
    """The names of the commands that a back end saw."""
    return [re.findall(r"(?i)command=(\w+)", request.decode("latin-1"))[0] for request in backend.requests]


def start_failing(backend: StartBackend, how: str) -> tuple[int, Backend | None]:
    script = FAILING[how]
    if script is None:
        return free_port(), None
    failing = backend(script)
    return failing.port, failing


# failover


@pytest.mark.parametrize("how", CODES)
def test_a_call_that_may_have_been_read_is_never_sent_again(proxy: Start, backend: StartBackend, how: str) -> None:
    port, first = start_failing(backend, how)
    second = backend(answering())
    running = proxy([port, second.port], limits=SMALL_REPLIES)
    answer = running.get(CALL)
    if how == "closes at once" and answer.code == 200:  # it was seen to be gone before anything was sent
        assert commands(second) == ["Call"]
        return
    assert answer.status == 200
    assert answer.code in CODES[how]
    assert second.requests == []
    assert first is not None
    assert commands(first) == ([] if how == "closes at once" else ["Call"])
    assert answer.headers["x-interceptor-exchange"] in answer.body.decode()
    assert running.settlements()[0].attempts == 1
    assert b"may have been carried out" in answer.body
    assert counted(running, "interceptor_commands_total", command="Call", code=str(answer.code)) == 1


@pytest.mark.parametrize("how", ["refused", *(how for how in CODES if how != "slow bytes")])
def test_a_question_is_asked_at_the_next_endpoint(proxy: Start, backend: StartBackend, how: str) -> None:
    port, first = start_failing(backend, how)
    second = backend(answering())
    running = proxy([port, second.port], limits=SMALL_REPLIES)
    assert said(running.get(LIST)) == (200, 200)
    assert commands(second) == ["ListActiveCalls"]
    assert first is None or len(first.requests) <= 1
    assert running.settlements()[0].attempts == 2
    assert counted(running, "interceptor_upstream_retries_total", reason="next_endpoint") == 1
    assert counted(running, "interceptor_endpoint_failures_total", endpoint=f"{LOCAL}:{port}") == 1


def test_a_call_goes_to_the_next_endpoint_when_nothing_was_sent(proxy: Start, backend: StartBackend) -> None:
    second = backend(answering())
    running = proxy([free_port(), second.port])
    assert said(running.get(CALL)) == (200, 200)
    assert commands(second) == ["Call"]
    assert running.settlements()[0].attempts == 2


def test_a_call_goes_to_the_next_endpoint_when_the_first_ones_queue_is_full(
    proxy: Start, backend: StartBackend
) -> None:
    first, second = backend(dripping), backend(answering())
    running = proxy([first.port, second.port], limits=replace(Limits(), upstream_connections=1, queued=1))
    for queued in (0, 1):
        running.client().send(b"GET %b HTTP/1.1\r\nHost: pbx\r\n\r\n" % LIST.encode())
        first.wait_for(1)
        await_until(lambda: sum(pool.queued for pool in running.running.worker._pools.values()) == queued)  # noqa: B023
    assert said(running.get(CALL)) == (200, 200)
    assert (commands(first), commands(second)) == (["ListActiveCalls"], ["Call"])
    assert counted(running, "interceptor_endpoint_failures_total") == 0


def test_when_the_last_endpoint_fails_too_the_asker_is_told_and_nothing_goes_round(
    proxy: Start, backend: StartBackend
) -> None:
    first, second = backend(FAILING["resets"]), backend(FAILING["resets"])
    running = proxy([first.port, second.port])
    assert said(running.get(LIST)) == (200, 904)
    assert (len(first.requests), len(second.requests)) == (1, 1)


def test_a_question_whose_time_one_endpoint_has_used_up_is_not_asked_again(proxy: Start, backend: StartBackend) -> None:
    first, second = backend(dripping), backend(answering())
    running = proxy([first.port, second.port])
    assert said(running.get(LIST)) == (200, 904)
    assert second.requests == []


def test_all_endpoints_share_the_total_deadline_of_the_command(proxy: Start, backend: StartBackend) -> None:
    hanging = [backend(FAILING["no byte"]) for _ in range(4)]
    running = proxy([each.port for each in hanging])
    assert running.get(LIST).code == 904
    assert running.settlements()[0].total_microseconds < 1_200_000  # 0.8 and what a busy machine adds
    assert len(hanging[0].requests) == 1


@pytest.mark.parametrize("how", ["an HTML page", "status 500"])
def test_what_an_endpoint_answers_goes_back_as_it_came(proxy: Start, backend: StartBackend, how: str) -> None:
    port, first = start_failing(backend, how)
    second = backend(answering())
    running = proxy([port, second.port])
    answer = running.get(CALL)
    assert answer.status == (500 if how == "status 500" else 200)
    assert answer.body == (b"<Response/>" if how == "status 500" else HTML)
    assert first is not None
    assert (len(first.requests), second.requests) == (1, [])
    assert counted(running, "interceptor_commands_total", code="none") == 1
    assert counted(running, "interceptor_endpoint_failures_total", reason="status") == (how == "status 500")


def test_with_every_endpoint_away_the_answer_is_901_at_once_and_unready_says_why(
    proxy: Start, backend: StartBackend
) -> None:
    running = proxy([free_port(), free_port()])
    for _ in range(3):
        answer = running.get(CALL)
        assert said(answer) == (200, 901)
        assert answer.headers["x-interceptor-exchange"] in answer.body.decode()
    status, why = ask_admin(running, "/readyz")
    assert status == 503
    assert "no endpoint of cluster pbx is up" in why
    assert "upstream_unreachable" in why
    assert said(running.get(CALL)) == (200, 901)
    assert running.settlements()[-1].attempts == 0  # nobody is asked in vain
    assert running.settlements()[-1].total_microseconds < 200_000
    assert counted(running, "interceptor_endpoint_up", cluster="pbx") == 0
    assert counted(running, "interceptor_refusals_total", reason="upstream_unreachable") == 4


# a connection that was kept too long


def test_a_question_on_a_stale_connection_is_asked_once_more_on_a_fresh_one(
    proxy: Start, backend: StartBackend
) -> None:
    pbx = backend(after(kept_then_cut(1, OK_XML), answering()))
    running = proxy(pbx.port)
    assert said(running.get(LIST)) == (200, 200)
    assert said(running.get(LIST)) == (200, 200)
    assert (pbx.connections, len(pbx.requests)) == (2, 3)
    assert running.settlements()[1].attempts == 2
    assert counted(running, "interceptor_upstream_retries_total", reason="stale_connection") == 1
    assert counted(running, "interceptor_endpoint_failures_total") == 0


def test_where_all_kept_connections_are_stale_a_question_has_a_new_one(
    proxy: Start, backend: StartBackend, loop: Loop
) -> None:
    gate = Gate(loop)

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, here: Backend) -> None:
        here.seen(await read_request(reader))
        await gate.passed()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(OK_XML), OK_XML))
        await writer.drain()
        here.seen(await read_request(reader))
        writer.transport.abort()

    pbx = backend(script)
    running = proxy(pbx.port)
    clients = [running.client().send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % LIST.encode()) for _ in range(4)]
    pbx.wait_for(4)
    gate.open()
    assert [client.read().code for client in clients] == [200] * 4
    assert said(running.get(LIST)) == (200, 200)
    assert (pbx.connections, len(pbx.requests)) == (5, 6)
    assert counted(running, "interceptor_endpoint_failures_total") == 0


def test_a_call_on_a_stale_connection_is_not_sent_again(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(after(kept_then_cut(1, OK_XML), answering()))
    running = proxy(pbx.port)
    assert said(running.get(LIST)) == (200, 200)
    answer = running.get(CALL)
    assert said(answer) == (200, 904)
    assert commands(pbx) == ["ListActiveCalls", "Call"]


def test_a_question_that_is_cut_off_again_and_again_is_not_asked_for_ever(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(kept_then_cut(1, OK_XML))
    running = proxy(pbx.port)
    running.get(LIST)
    for _ in range(3):
        running.get(LIST)
    assert len(pbx.requests) <= 8
    assert all(record.attempts <= 2 for record in running.settlements())


def test_a_connection_that_the_pbx_closes_while_it_rests_costs_nothing(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(answering())
    running = proxy(pbx.port)
    assert said(running.get(CALL)) == (200, 200)
    pools = running.running.worker._pools
    assert sum(pool.idle for pool in pools.values()) == 1
    pbx.stop()
    await_until(lambda: sum(pool.idle for pool in pools.values()) == 0)
    pbx.start()
    assert said(running.get(CALL)) == (200, 200)
    assert running.settlements()[1].attempts == 1


def test_with_one_connection_that_is_closed_after_every_answer_all_that_wait_are_served(
    proxy: Start, backend: StartBackend
) -> None:
    pbx = backend(saying(ONCE))
    running = proxy(pbx.port, limits=replace(Limits(), upstream_connections=1))
    answers = side_by_side([lambda: running.get(CALL)] * 12)
    assert [said(answer) for answer in answers] == [(200, 200)] * 12
    assert (len(pbx.requests), pbx.connections) == (12, 12)


# health


@pytest.mark.parametrize("how", ["refused", "resets", "no byte", "not HTTP", "status 500"])
def test_after_so_many_failures_in_a_row_an_endpoint_is_taken_out(
    proxy: Start, backend: StartBackend, how: str
) -> None:
    port, first = start_failing(backend, how)
    second = backend(answering())
    running = proxy(9, **cluster(port, second.port, failures_to_open=2, retry_after=60.0))
    up = {"cluster": "pbx", "endpoint": f"{LOCAL}:{port}"}
    running.get(LIST)
    assert counted(running, "interceptor_endpoint_up", **up) == 1
    running.get(LIST)
    assert counted(running, "interceptor_endpoint_up", **up) == 0
    seen = len(first.requests) if first else 0
    for _ in range(3):
        assert said(running.get(CALL)) == (200, 200)
    assert (len(first.requests) if first else 0) == seen
    assert ask_admin(running, "/readyz")[0] == 200  # the other one is enough


def test_failures_that_are_not_in_a_row_do_not_take_an_endpoint_out(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(after(FAILING["resets"], saying(ONCE), FAILING["resets"], answering()))
    running = proxy(9, **cluster(pbx.port, failures_to_open=2, retry_after=60.0))
    assert [running.get(CALL).code for _ in range(4)] == [904, 200, 904, 200]
    assert counted(running, "interceptor_endpoint_up", cluster="pbx") == 1


def test_an_endpoint_comes_back_after_it_answers_a_harmless_command_with_our_credentials(
    proxy: Start, backend: StartBackend, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    pbx = backend(answering())
    credentials = Credentials("gate keeper", Secret("p&ss wörd"))
    running = proxy(9, **cluster(pbx.port, failures_to_open=1, credentials=credentials))
    pbx.stop()
    assert said(running.get(CALL)) == (200, 901)
    assert ask_admin(running, "/readyz")[0] == 503
    pbx.start()
    await_until(lambda: ask_admin(running, "/readyz")[0] == 200)
    probe = pbx.requests[0]
    line = b"GET /?command=ListExtensions&Username=gate%20keeper&Password=p%26ss%20w%C3%B6rd HTTP/1.1"
    assert probe.split(b"\r\n")[0] == line
    assert commands(pbx) == ["ListExtensions"]
    assert said(running.get(CALL)) == (200, 200)
    host = f"{LOCAL}:{pbx.port}"
    assert f"cluster pbx: {host} gets no traffic: upstream_unreachable" in caplog.text
    assert f"cluster pbx: {host} answers again" in caplog.text


@pytest.mark.parametrize("answer", [REFUSED_305, b"", HTML], ids=["refuses us", "empty", "a page"])
def test_an_endpoint_that_answers_the_probe_wrongly_stays_out(
    proxy: Start, backend: StartBackend, answer: bytes
) -> None:
    pbx = backend(answering(answer))
    running = proxy(9, **cluster(pbx.port, failures_to_open=1, retry_after=0.05))
    port = pbx.port
    pbx.stop()
    assert running.get(CALL).code == 901
    pbx.start()
    assert pbx.port == port
    pbx.wait_for(3)  # it is asked again and again
    status, why = ask_admin(running, "/readyz")
    assert status == 503
    assert ("refuses us with code 305" if answer is REFUSED_305 else "does not answer as a PBX") in why
    assert said(running.get(CALL)) == (200, 901)
    assert set(commands(pbx)) == {"ListExtensions"}


@pytest.mark.parametrize("how", [how for how in AWAY if how != "refused"] + ["no byte"])
def test_an_endpoint_that_fails_its_probe_is_asked_again_and_sees_no_traffic(
    proxy: Start, backend: StartBackend, how: str
) -> None:
    pbx = backend(FAILING[how])
    running = proxy(9, **cluster(pbx.port, failures_to_open=1, retry_after=0.05))
    assert running.get(CALL).code in {901, 904}
    before = pbx.connections
    await_until(lambda: pbx.connections >= before + 2)
    assert running.get(CALL).code == 901
    assert commands(pbx).count("Call") <= 1


def test_nothing_is_probed_after_the_end(proxy: Start, backend: StartBackend) -> None:
    pbx = backend(FAILING["no byte"])
    running = proxy(9, **cluster(pbx.port, failures_to_open=1, retry_after=0.05))
    running.get(CALL)
    pbx.wait_for(2)  # the probe is on its way
    route = running.running.worker.clusters["pbx"]
    running.stop()
    timer = route.endpoints[0]._timer
    assert timer is None or timer.cancelled() or timer.when() < running.loop.loop.time()


# refused with our own credentials


@pytest.mark.parametrize("code", [304, 305, 307])
def test_an_endpoint_that_refuses_our_own_credentials_is_passed_over(
    proxy: Start, backend: StartBackend, code: int
) -> None:
    refusal = b"<Response><Code>%d</Code><Message>no</Message></Response>" % code
    first, second = backend(answering(refusal)), backend(answering())
    credentials = Credentials("gate", Secret("s3cret-of-the-pbx"))
    running = proxy(9, **cluster(first.port, second.port, credentials=credentials))
    assert said(running.get(CALL)) == (200, 200)  # a refused command was not carried out
    assert (commands(first), commands(second)) == (["Call"], ["Call"])
    assert counted(running, "interceptor_endpoint_failures_total", reason="code") == 1


def test_a_command_that_the_pbx_forbids_our_user_does_not_cost_the_endpoint_its_health(
    proxy: Start, backend: StartBackend
) -> None:
    pbx, other = backend(answering(FORBIDDEN_306)), backend(answering(FORBIDDEN_306))
    credentials = Credentials("gate", Secret("s3cret-of-the-pbx"))
    running = proxy(9, **cluster(pbx.port, other.port, credentials=credentials, failures_to_open=1))
    for _ in range(3):
        assert said(running.get(CALL)) == (200, 306)
    assert (len(pbx.requests), len(other.requests)) == (3, 3)  # the other one may have another list of rights
    assert counted(running, "interceptor_endpoint_failures_total") == 0
    assert ask_admin(running, "/readyz")[0] == 200


def test_where_every_endpoint_refuses_our_credentials_the_last_refusal_goes_back(
    proxy: Start, backend: StartBackend
) -> None:
    first, second = backend(answering(REFUSED_305)), backend(answering(REFUSED_305))
    credentials = Credentials("gate", Secret("s3cret-of-the-pbx"))
    running = proxy(9, **cluster(first.port, second.port, credentials=credentials))
    assert said(running.get(CALL)) == (200, 305)
    assert (len(first.requests), len(second.requests)) == (1, 1)


def test_a_refusal_of_the_apps_own_credentials_is_the_apps_matter(proxy: Start, backend: StartBackend) -> None:
    first, second = backend(answering(REFUSED_305)), backend(answering())
    running = proxy([first.port, second.port])
    assert said(running.get(CALL)) == (200, 305)
    assert second.requests == []
    assert counted(running, "interceptor_endpoint_failures_total") == 0
