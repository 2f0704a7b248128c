"""Denied exchanges can be explained by the running server, whichever worker had them."""

import json
from collections.abc import Callable

import pytest

from tests.gateway.harness import LOCAL, Backend, Script, answering, free_port
from tests.gateway.process import Process

StartProcess = Callable[..., Process]
StartBackend = Callable[[Script], Backend]

RULES = """\
rules:
  - {name: nobody-hangs-up, on: command:Hangup, when: {CallId: {not: "7"}}, deny: true}
  - {name: all, on: "*", allow: true}
"""
HANGUP = b"GET /?command=Hangup&CallId=8&Password=hunter2 HTTP/1.1\r\nHost: pbx.test\r\n\r\n"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_denied_exchange_is_kept_with_its_trace(process: StartProcess, backend: StartBackend, workers: int) -> None:
    running = process(backend(answering()).port, workers=workers, commands=f"{LOCAL}:{free_port()}", rules=RULES)
    running.wait_for("admin listens on")
    exchanges = set()
    for _ in range(100):
        client = running.client()
        answer = client.send(HANGUP).read()
        client.close()
        assert answer.code == 306
        exchanges.add(answer.headers["x-interceptor-exchange"])
        if len({exchange.split("-")[1] for exchange in exchanges}) == workers:
            break
    kept = json.loads(running.page("/explain")[1])["kept"]
    assert {summary["exchange"] for summary in kept} == exchanges
    assert {summary["by"] for summary in kept} == {"nobody-hangs-up"}
    assert [summary["at"] for summary in kept] == sorted((summary["at"] for summary in kept), reverse=True)
    for exchange in exchanges:
        status, body = running.page(f"/explain/{exchange}")
        assert status == 200
        found = json.loads(body)
        assert found["record"]["exchange"] == exchange
        assert [step["standing"] for step in found["trace"]["steps"]] == ["acted", "not_reached"]
        assert "hunter2" not in body
    assert running.page("/explain/nothing") == (404, "this exchange was not kept\n")
