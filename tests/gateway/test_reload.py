"""A policy that changes while it is in force, from the outside: files, signals, requests; and broken ones."""

import http.client
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.harness import ALLOW_ALL, LOCAL, Backend, Client, Script, answering, eventually, free_port
from tests.gateway.process import Process

pytestmark = pytest.mark.timeout(240)  # several starts of a process in one test

StartProcess = Callable[..., Process]
StartBackend = Callable[[Script], Backend]

CALL = b"GET /?command=Call&Dialed=1001 HTTP/1.1\r\nHost: pbx.test\r\n\r\n"
DENY_ALL = "rules:\n  - name: nothing\n    on: command\n    deny: true\n"
BROKEN = "rules:\n  - name: typo\n    on: Call\n    denny: true\n"


def soon(holds: Callable[[], bool]) -> bool:
    """As eventually; a loaded machine starts a process to examine a policy in seconds."""
    return any(eventually(holds) for _ in range(4))


def post(running: Process, path: str, **headers: str) -> tuple[int, Any]:
    """What the admin listener answers to a POST."""
    admin = running.address("admin")
    connection = http.client.HTTPConnection(admin.host, admin.port, timeout=50.0)
    try:
        connection.request("POST", path, headers=headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        return answer.status, json.loads(text) if text.startswith("{") else text
    finally:
        connection.close()


def policy(running: Process) -> dict[str, Any]:
    found = json.loads(running.page("/policy")[1])
    assert isinstance(found, dict)
    return found


def ready(running: Process) -> dict[str, Any]:
    status, text = running.page("/readyz")
    return {"status": status} | json.loads(text)


def metric(running: Process, name: str) -> float:
    lines = running.page("/metrics")[1].splitlines()
    return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} ")), 0.0)


def write(running: Process, text: str) -> Path:
    """Put other rules in the place of the present ones, as editors do."""
    file = running.folder / "rules" / "allow.yaml"
    beside = running.folder / "rules" / ".allow.yaml.new"
    beside.write_text(text)
    beside.replace(file)
    return file


def code(running: Process) -> int | None:
    client = running.client()
    try:
        return client.send(CALL).read().code
    finally:
        client.close()


def test_changed_files_come_into_force_by_themselves_and_broken_ones_do_not(
    process: StartProcess, backend: StartBackend
) -> None:
    running = process(backend(answering()).port)
    client = running.client()
    first = policy(running)
    assert (first["loaded_by"], first["matches_files"], client.send(CALL).read().code) == ("start", True, 200)

    write(running, DENY_ALL)
    assert soon(lambda: policy(running)["revision"] != first["revision"])
    second = policy(running)
    assert (second["loaded_by"], second["matches_files"]) == ("file", True)
    assert second["last_attempt"]["outcome"] == "loaded"
    assert [file["file"] for file in second["files"]] == ["rules/allow.yaml"]
    assert client.send(CALL).read().code == 306  # the connection is the one from before

    write(running, BROKEN)
    assert soon(lambda: policy(running)["last_attempt"]["outcome"] == "refused"), "\n".join(running.lines)
    third = policy(running)
    assert (third["revision"], third["matches_files"]) == (second["revision"], False)
    assert [problem["place"] for problem in third["last_attempt"]["problems"]] == ["rules/allow.yaml:4:5"]
    assert client.send(CALL).read().code == 306
    told = ready(running)
    assert (told["status"], told["ready"]) == (200, True)
    assert "the last reload was refused" in told["warnings"][0]
    assert metric(running, "interceptor_policy_last_reload_successful") == 0
    assert metric(running, "interceptor_policy_matches_files") == 0
    assert running.wait_for(r"ERROR .*rules/allow\.yaml:4:5: unknown key `denny`")

    write(running, ALLOW_ALL)
    assert soon(lambda: policy(running)["matches_files"])
    assert policy(running)["revision"] == first["revision"]
    assert client.send(CALL).read().code == 200
    assert metric(running, "interceptor_policy_matches_files") == 1
    assert ready(running)["warnings"] == []

    def deciding() -> set[str]:
        return {record["revision"] for record in running.journal() if record.get("event") == "decision"}

    assert soon(lambda: deciding() == {first["revision"], second["revision"]})


@pytest.mark.parametrize("workers", [1, 2])
def test_sighup_and_requests_load_the_files_in_all_workers(
    process: StartProcess, backend: StartBackend, workers: int
) -> None:
    running = process(
        backend(answering()).port, workers=workers, commands=f"{LOCAL}:{free_port()}", policy="watch: false"
    )
    running.wait_for("admin listens on")
    first = policy(running)
    write(running, DENY_ALL)
    running.signal(signal.SIGHUP)
    assert soon(lambda: policy(running)["revision"] != first["revision"])
    second = policy(running)
    assert second["loaded_by"] == "signal"
    assert second["workers"] == {f"w{number}": second["revision"] for number in range(workers)}
    assert code(running) == 306

    write(running, BROKEN)
    status, told = post(running, "/policy/reload")
    assert (status, told["outcome"], told["in_force"]) == (422, "refused", second["revision"])
    assert told["problems"][0]["place"] == "rules/allow.yaml:4:5"
    assert code(running) == 306

    write(running, ALLOW_ALL)
    status, told = post(running, "/policy/reload")
    assert (status, told["outcome"], told["in_force"]) == (200, "loaded", first["revision"]), "\n".join(running.lines)
    assert set(policy(running)["workers"].values()) == {first["revision"]}
    assert code(running) == 200
    status, told = post(running, "/policy/reload")
    assert (status, told["outcome"]) == (200, "unchanged")
    assert metric(running, 'interceptor_policy_reloads_total{by="request",outcome="unchanged"}') == 1


def test_a_browser_is_not_answered(process: StartProcess) -> None:
    running = process(9)
    assert post(running, "/policy/reload", Origin="http://evil.test")[0] == 403
    assert policy(running)["last_attempt"]["by"] == "start"


def test_a_rollback_holds_until_the_files_change_also_over_a_restart(
    process: StartProcess, backend: StartBackend
) -> None:
    running = process(backend(answering()).port)
    first = policy(running)["revision"]
    assert post(running, "/policy/rollback")[0] == 503
    write(running, DENY_ALL)
    assert soon(lambda: policy(running)["revision"] != first)
    status, told = post(running, "/policy/rollback")
    assert (status, told["outcome"], told["in_force"], code(running)) == (200, "loaded", first, 200)
    assert policy(running)["matches_files"] is False
    assert "rolled back" in ready(running)["warnings"][0]

    file = running.folder / "rules" / "allow.yaml"
    os.utime(file)  # touched, not changed
    write(running, DENY_ALL)
    running.signal(signal.SIGTERM)
    assert running.ended() == 0
    again = process(9, folder=running.folder, rules=DENY_ALL)
    assert (policy(again)["revision"], policy(again)["loaded_by"]) == (first, "rollback")
    assert again.wait_for("it holds")

    status, told = post(again, "/policy/reload")
    assert (status, told["outcome"], code(again)) == (200, "loaded", 306)
    assert (policy(again)["matches_files"], ready(again)["warnings"]) == (True, [])
    assert [kept["in_force"] for kept in policy(again)["history"]] == [True, False, False]


def test_a_start_with_broken_rules_takes_the_last_good_policy_and_says_so_everywhere(
    process: StartProcess, backend: StartBackend
) -> None:
    pbx = backend(answering())
    running = process(pbx.port)
    good = policy(running)["revision"]
    running.signal(signal.SIGTERM)
    assert running.ended() == 0

    again = process(pbx.port, folder=running.folder, rules=BROKEN)
    told = policy(again)
    assert (told["revision"], told["loaded_by"], told["matches_files"]) == (good, "last_good", False)
    assert told["last_attempt"]["problems"][0]["place"] == "rules/allow.yaml:4:5"
    assert again.wait_for(r"ERROR .*THE RULES CANNOT BE USED")
    assert again.wait_for(r"ERROR .*rules/allow\.yaml:4:5")
    assert "the rules cannot be used" in ready(again)["warnings"][0]
    assert ready(again)["ready"] is True
    assert metric(again, "interceptor_policy_last_reload_successful") == 0
    assert code(again) == 200
    write(again, ALLOW_ALL)
    assert soon(lambda: policy(again)["matches_files"])
    assert (policy(again)["loaded_by"], ready(again)["warnings"]) == ("file", [])  # though it is the same policy
    assert metric(again, "interceptor_policy_last_reload_successful") == 1
    again.signal(signal.SIGTERM)
    assert again.ended() == 0

    refusing = process(pbx.port, folder=running.folder, rules=BROKEN, policy="cold_start: refuse")
    assert refusing.ended() == 1


def test_without_a_good_policy_on_disk_a_start_with_broken_rules_fails(process: StartProcess) -> None:
    assert process(9, rules=BROKEN).ended() == 1


@pytest.mark.parametrize(("policy", "code"), [("watch: false", 200), ("watch: false, calls: change", 306)])
def test_a_call_in_progress_keeps_the_rules_it_began_with_in_every_worker(
    process: StartProcess, backend: StartBackend, policy: str, code: int
) -> None:
    pbx, app = backend(answering()), backend(answering(b"<Response/>"))
    running = process(pbx.port, app=app.port, workers=2, commands=f"{LOCAL}:{free_port()}", policy=policy)
    before, after = os.urandom(4).hex(), os.urandom(4).hex()

    def told(call: str, more: str = "") -> None:
        body = f"NotificationName=CallChanged&CallId={call}{more}".encode()
        head = (
            f"POST / HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        assert Client(running.address("notifications")).send(head.encode() + body).read().status == 200

    def held(call: str) -> set[int | None]:
        """The codes of several commands, each on a connection of its own, so that both workers have some."""
        request = f"GET /?command=Hold&CallId={call} HTTP/1.0\r\n\r\n".encode()
        return {Client(running.address("commands")).send(request).read().code for _ in range(12)}

    told(before)
    frozen = "rules:\n  - {name: frozen, on: Hold, deny: {code: 306}}\n  - {name: rest, on: '*', allow: true}\n"
    (running.folder / "rules" / "allow.yaml").write_text(frozen)
    status, attempt = post(running, "/policy/reload")
    assert (status, attempt["outcome"]) == (200, "loaded")
    told(after)
    assert [held(before), held(after)] == [{code}, {306}]
    in_force = json.loads(running.page("/policy")[1])
    older = metric(running, "interceptor_policies_older")
    assert older == in_force["older_policies"] == (code == 200)
    told(before, "&CallState=Completed")
    assert held(before) == {306}


def test_a_reload_at_once_is_one_for_calls_in_progress_too(process: StartProcess, backend: StartBackend) -> None:
    pbx, app = backend(answering()), backend(answering(b"<Response/>"))
    running = process(pbx.port, app=app.port, workers=2, commands=f"{LOCAL}:{free_port()}", policy="watch: false")
    body = b"NotificationName=CallConnected&CallId=abc"
    head = b"POST / HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n"
    assert Client(running.address("notifications")).send(head % len(body) + body).read().status == 200
    write(running, DENY_ALL)

    def codes() -> set[int | None]:
        request = b"GET /?command=Hold&CallId=abc HTTP/1.0\r\n\r\n"
        return {Client(running.address("commands")).send(request).read().code for _ in range(12)}

    assert post(running, "/policy/reload")[0] == 200
    assert codes() == {200}
    assert post(running, "/policy/reload?at_once=perhaps") == (400, "at_once should be true or false\n")
    status, told = post(running, "/policy/reload?at_once=true")
    assert (status, told["outcome"]) == (200, "unchanged")
    assert codes() == {306}
