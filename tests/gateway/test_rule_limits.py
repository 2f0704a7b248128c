"""Limits that rules set, in a running proxy: slots are free when exchanges end, and workers count together."""

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from tests.gateway.harness import (
    LOCAL,
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
)
from tests.gateway.process import Process

Start = Callable[..., Proxy]
StartBackend = Callable[[Script], Backend]
StartProcess = Callable[..., Process]

CALL = "/?command=Call&Dialed=1002"
REQUEST = f"GET {CALL} HTTP/1.1\r\nHost: pbx.test\r\n\r\n".encode()
ONE_CALL = """rules:
  - {name: emergency, on: "*", when: {number: {class: emergency}}, allow: true}
  - {name: one-call, on: Call, limit: {key: app, concurrency: 1}}
  - {name: trial, on: Call, mode: shadow, limit: {rate: 1/d}}
  - {name: rest, on: [command, notification], allow: true}
"""


def test_a_slot_is_taken_while_an_exchange_is_under_way_and_free_when_it_has_ended(
    proxy: Start, backend: StartBackend, loop: Loop
) -> None:
    gate = Gate(loop)
    pbx = backend(gated(gate))
    running = proxy(pbx.port, rules=ONE_CALL)
    first = running.client().send(REQUEST)
    pbx.wait_for(1)
    assert running.get(CALL).code == 306
    gate.open()
    assert first.read().code == 200
    assert running.get(CALL).code == 200
    assert len(pbx.requests) == 2
    assert running.counted('interceptor_limited_messages_total{mode="enforce",rule="one-call"}') == 1
    assert running.counted('interceptor_limited_messages_total{mode="shadow",rule="trial"}') == 1
    assert running.counted('interceptor_refusals_total{reason="limit"}') == 1
    denied = 'interceptor_decisions_total{kind="command",rule="one-call",verdict="deny"}'
    assert running.counted(denied) == 1


@pytest.mark.parametrize("script", [resetting, hanging])
def test_a_slot_is_free_when_the_pbx_has_failed(proxy: Start, backend: StartBackend, script: Script) -> None:
    running = proxy(backend(script).port, rules=ONE_CALL)
    assert [running.get(CALL).code for _ in range(3)] == [904, 904, 904]


def test_a_slot_is_free_when_its_asker_has_gone(proxy: Start, backend: StartBackend, loop: Loop) -> None:
    gate = Gate(loop)
    pbx = backend(gated(gate))
    running = proxy(pbx.port, rules=ONE_CALL)
    client = running.client().send(REQUEST)
    pbx.wait_for(1)
    client.close()
    gate.open()
    running.settled(1)
    assert running.get(CALL).code == 200


def test_a_slot_is_free_when_the_command_could_not_be_recorded(
    proxy: Start, backend: StartBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = proxy(backend(answering()).port, rules=ONE_CALL)

    def lost(_record: Any, then: Callable[[bool], None] | None = None) -> None:
        if then is not None:
            then(False)

    with monkeypatch.context() as patch:
        patch.setattr(running.running.worker._carrier.journal, "append", lost)
        assert [running.get(CALL).code for _ in range(2)] == [903, 903]
    assert running.get(CALL).code == 200


def test_workers_count_together_and_one_that_is_killed_takes_no_slot_with_it(
    process: StartProcess, backend: StartBackend, loop: Loop
) -> None:
    gate = Gate(loop)
    gate.open()
    pbx = backend(gated(gate))
    rules = """rules:
  - {name: emergency, on: "*", when: {number: {class: emergency}}, allow: true}
  - {name: few, on: ListExtensions, limit: {rate: 10/d}}
  - {name: two-calls, on: Call, limit: {concurrency: 2}}
  - {name: rest, on: command, allow: true}
"""
    running = process(pbx.port, workers=2, commands=f"{LOCAL}:{free_port()}", rules=rules)
    running.wait_for("admin listens on")
    served: dict[str, int] = {}
    codes = []
    for _ in range(60):
        client = running.client()
        answer = client.send(b"GET /?command=ListExtensions HTTP/1.1\r\nHost: pbx.test\r\n\r\n").read()
        client.close()
        codes.append(answer.code)
        worker = answer.headers["x-interceptor-exchange"].split("-")[1]
        served[worker] = served.get(worker, 0) + 1
    assert set(served) == {"w0", "w1"}
    assert codes.count(200) == 10

    gate.close()
    count = len(pbx.requests)
    held = [running.client().send(REQUEST) for _ in range(2)]
    pbx.wait_for(count + 2)
    assert running.client().send(REQUEST).read().code == 306
    for pid in running.workers():
        os.kill(pid, signal.SIGKILL)
    gate.open()
    for client in held:
        client.close()
    assert eventually(lambda: running.page("/readyz")[0] == 200)
    assert running.client().send(REQUEST).read().code == 200
