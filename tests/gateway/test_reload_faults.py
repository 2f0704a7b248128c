"""What can go wrong while a policy comes into force, and what holds then."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from interceptor.rollout import By, Outcome, RolloutError
from interceptor.rollout import rollout as module
from interceptor.rollout.examining import ExaminationError, Examiner
from interceptor.settings import CasesRule, Deadlines, EmergencyRule, PolicySettings, Timeouts
from tests.gateway.harness import ALLOW_ALL, LOCAL, Backend, Gate, Loop, Proxy, Script, answering, free_port, gated
from tests.gateway.process import Process
from tests.gateway.test_reload import DENY_ALL, code, policy, post, soon, write

pytestmark = pytest.mark.timeout(240)

Start = Callable[..., Proxy]
StartBackend = Callable[[Script], Backend]
StartProcess = Callable[..., Process]

CALL = "/?command=Call&Dialed=1001"
FAILING_CASE = "cases:\n  - name: calls pass\n    given: {command: Call, app: crm}\n    expect: {verdict: allow}\n"


class Site:
    """A proxy in this process whose rules stand in files."""

    def __init__(self, proxy: Start, tmp_path: Path, pbx: int, **changes: Any) -> None:
        self.rules = tmp_path / "rules"
        self.rules.mkdir(exist_ok=True)
        self.write(ALLOW_ALL)
        self.proxy = proxy(pbx, rules=ALLOW_ALL, **changes)

    def write(self, text: str, name: str = "test.yaml") -> None:
        (self.rules / name).write_text(text)

    @property
    def revision(self) -> str:
        return self.proxy.running.worker.policies.rules.revision

    def reload(self, by: By = By.REQUEST) -> Any:
        return self.proxy.loop.run(self.proxy.running.rollout.reload(by), 60)

    def rollback(self, revision: str = "") -> Any:
        return self.proxy.loop.run(self.proxy.running.rollout.rollback(revision), 60)

    def page(self) -> dict[str, Any]:
        found = json.loads(self.proxy.page("/policy"))
        assert isinstance(found, dict)
        return found

    def code(self) -> int | None:
        return self.proxy.get(CALL).code


@pytest.fixture
def site(proxy: Start, backend: StartBackend, tmp_path: Path) -> Site:
    return Site(proxy, tmp_path, backend(answering()).port)


def test_an_exchange_in_progress_keeps_the_revision_that_it_began_with(
    proxy: Start, backend: StartBackend, tmp_path: Path, loop: Loop
) -> None:
    gate = Gate(loop)
    pbx = backend(gated(gate))
    patient = Deadlines(100.0, 100.0)
    site = Site(proxy, tmp_path, pbx.port, timeouts=Timeouts(command=patient, call=patient, shutdown=0.5))
    before = site.revision
    client = site.proxy.client().send(f"GET {CALL} HTTP/1.1\r\nHost: pbx.test\r\n\r\n".encode())
    pbx.wait_for(1)
    site.write(DENY_ALL)
    assert site.reload().outcome is Outcome.LOADED
    assert site.code() == 306
    gate.open()
    assert client.read().code == 200
    assert [record.revision for record in site.proxy.decisions()] == [before, site.revision]
    (settled,) = [record for record in site.proxy.settlements() if record.outcome == "answered"]
    assert settled.rule == "everything"
    assert [rule["hits"] for rule in site.page()["rules"]] == [1]


@pytest.mark.parametrize(("cases", "outcome"), [("require", "refused"), ("warn", "loaded"), ("off", "loaded")])
def test_cases_that_fail_keep_a_policy_out_or_are_told_or_are_not_run(
    proxy: Start, backend: StartBackend, tmp_path: Path, cases: str, outcome: str
) -> None:
    settings = PolicySettings(cases=CasesRule(cases), emergency=EmergencyRule.UNCHECKED)
    site = Site(proxy, tmp_path, backend(answering()).port, policy=settings)
    site.write(DENY_ALL)
    site.write(FAILING_CASE, "test.test.yaml")
    attempt = site.reload()
    assert attempt.outcome.value == outcome
    told = [(str(problem.place), problem.severity.value) for problem in attempt.problems if problem.code == "case"]
    severity = {"require": "error", "warn": "warning"}.get(cases)
    assert told == ([("rules/test.test.yaml:2:5", severity)] if severity else [])
    assert site.code() == (200 if outcome == "refused" else 306)


def test_an_empty_folder_does_not_take_the_place_of_a_policy(site: Site) -> None:
    (site.rules / "test.yaml").unlink()
    attempt = site.reload()
    assert (attempt.outcome, attempt.problems[0].code) == (Outcome.REFUSED, "no_files")
    site.rules.rmdir()
    assert site.reload().outcome is Outcome.FAILED
    assert site.code() == 200


def test_a_disk_that_cannot_keep_the_policy_does_not_hold_it_back_and_is_told(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = site.proxy.settings.state / "policy"

    def full(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "LOOK_SECONDS", 0.05)
    with monkeypatch.context() as patch:
        patch.setattr(module.KeptPolicies, "keep", full)
        site.write(DENY_ALL)
        assert site.reload().outcome is Outcome.LOADED
        assert site.code() == 306
        ready = json.loads(site.proxy.page("/readyz"))
        assert ready["ready"] is True
        assert ready["warnings"] == ["policy: the set in force is not kept on disk: no space left on device"]
        assert site.proxy.counted("interceptor_policy_kept") == 0
        assert len(list((kept / "sets").iterdir())) == 1
    assert soon(lambda: len(list((kept / "sets").iterdir())) == 2)  # as soon as there is room
    assert soon(lambda: site.proxy.counted("interceptor_policy_kept") == 1)
    assert site.rollback().outcome is Outcome.LOADED
    assert site.code() == 200


def test_a_worker_that_cannot_compile_the_policy_leaves_the_old_one_in_force_and_it_is_tried_again(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = site.revision
    monkeypatch.setattr(module, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(module, "_AGAIN_FIRST_SECONDS", 0.1)
    with monkeypatch.context() as patch:
        patch.setattr("interceptor.policies.compile_policy", None)
        site.write(DENY_ALL)
        attempt = site.reload()
        assert (attempt.outcome, "TypeError" in attempt.message) == (Outcome.FAILED, True)
        assert (site.revision, site.code()) == (before, 200)
    assert soon(lambda: site.revision != before)
    assert site.code() == 306
    assert soon(lambda: site.page()["last_attempt"]["by"] == "file")


def test_an_examination_that_fails_leaves_the_old_policy_in_force(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    before = site.revision

    def killed(*_: Any) -> Any:
        raise ExaminationError("its process ended with -9")

    monkeypatch.setattr(Examiner, "examine", killed)
    site.write(DENY_ALL)
    attempt = site.reload()
    assert (attempt.outcome, attempt.message) == (Outcome.FAILED, "its process ended with -9")
    assert (site.revision, site.code()) == (before, 200)


def test_a_worker_that_is_not_ready_at_the_end_changes_nobody(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    before = site.revision

    async def late(*_: Any) -> None:
        raise RolloutError("the worker was not ready")

    monkeypatch.setattr(site.proxy.running, "activate", late)
    site.write(DENY_ALL)
    assert site.reload().outcome is Outcome.FAILED
    assert (site.revision, site.code(), site.page()["revision"]) == (before, 200, before)


def test_those_who_ask_while_one_is_at_it_share_the_next_attempt(site: Site) -> None:
    async def many() -> list[Any]:
        rollout = site.proxy.running.rollout
        first = module.asyncio.ensure_future(rollout.reload(By.REQUEST))
        await module.asyncio.sleep(0.05)
        return list(await module.asyncio.gather(first, *(rollout.reload(By.REQUEST) for _ in range(20))))

    site.write(DENY_ALL)
    attempts = site.proxy.loop.run(many(), 100)
    assert [attempt.outcome for attempt in attempts] == [Outcome.LOADED] + [Outcome.UNCHANGED] * 20
    assert len({id(attempt) for attempt in attempts}) == 2


def test_what_is_counted_of_a_rule_begins_anew_with_its_text_and_only_then(site: Site) -> None:
    rules = "rules:\n  - {name: odd, on: Call, mode: shadow, deny: true}\n  - {name: pass, on: command, allow: true}\n"
    site.write(rules)
    site.reload()
    for _ in range(3):
        site.code()
    assert [(rule["name"], rule["hits"], rule.get("would_have")) for rule in site.page()["rules"]] == [
        ("odd", 0, 3),
        ("pass", 3, None),
    ]
    site.write(
        "# a comment moves the lines, the rules are the same\n" + rules.replace("odd, on: Call", "odd, on: Dtmf")
    )
    assert site.reload().outcome is Outcome.REFUSED
    site.write("# a comment moves the lines\n" + rules.replace("odd, on: Call", "odd, on: [Call, SendSms]"))
    assert site.reload().outcome is Outcome.LOADED
    site.code()
    page = site.page()
    assert [(rule["name"], rule["hits"], rule.get("would_have")) for rule in page["rules"]] == [
        ("odd", 0, 1),
        ("pass", 4, None),
    ]
    assert page["rules"][0]["since"] >= page["rules"][1]["since"]
    assert page["rules"][1]["place"] == "rules/test.yaml:4"
    assert page["rules"][1]["last_hit"]


def test_a_large_table_that_did_not_change_is_taken_over_and_one_that_did_counts_at_once(site: Site) -> None:
    (site.rules / "tables").mkdir()
    numbers = "".join(f"+3620{row:07d}\n" for row in range(8000))
    site.write(numbers, "tables/blocked.txt")
    rules = "rules:\n  - {name: blocked, on: Call, when: {number: {table: blocked}}, deny: true}\n" + ALLOW_ALL[7:]
    site.write(rules)
    assert site.reload().outcome is Outcome.LOADED
    table = site.proxy.running.worker.policies.rules.tables["blocked"]
    assert site.code() == 200
    site.write("# another revision\n" + rules)
    assert site.reload().outcome is Outcome.LOADED
    assert site.proxy.running.worker.policies.rules.tables["blocked"] is table
    site.write(numbers + "1001\n", "tables/blocked.txt")
    assert site.reload().outcome is Outcome.LOADED
    assert site.code() == 306


def test_near_misses_of_what_was_denied_are_counted(
    proxy: Start, backend: StartBackend, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("interceptor.worker._LOOK_SECONDS", 0.05)
    site = Site(proxy, tmp_path, backend(answering()).port)
    near = "rules:\n  - {name: near, on: Call, when: {number: {prefix: '+3620'}, app: crm}, allow: true}\n"
    site.write(near)
    site.reload()
    assert site.code() == 306
    assert soon(lambda: [rule["near_misses"] for rule in site.page()["rules"]] == [1])
    assert site.page()["near_miss_samples"] == 1
    assert site.code() == 306
    assert soon(lambda: site.page()["near_miss_samples"] == 2)
    site.write(near.replace("3620", "3630"))
    site.reload()
    assert [rule["near_misses"] for rule in site.page()["rules"]] == [0]


def test_what_the_order_of_rules_means_is_told_after_they_are_in_force(site: Site) -> None:
    site.write("rules:\n  - {name: all, on: Call, deny: true}\n  - {name: hidden, on: Call, allow: true}\n")
    assert site.reload().outcome is Outcome.LOADED

    def codes() -> list[str]:
        return [problem["code"] for problem in site.page()["last_attempt"]["problems"]]

    assert soon(lambda: "hidden_rule" in codes())
    assert site.page()["last_attempt"]["outcome"] == "loaded"


def test_a_policy_on_disk_that_was_damaged_is_told_at_a_rollback(site: Site) -> None:
    before = site.revision
    site.write(DENY_ALL)
    site.reload()
    for file in (site.proxy.settings.state / "policy" / "files").iterdir():
        file.write_bytes(b"rubbish")
    attempt = site.rollback()
    assert (attempt.outcome, "was changed" in attempt.message) == (Outcome.FAILED, True)
    assert site.rollback(before).outcome is Outcome.FAILED
    assert site.code() == 306


def test_a_worker_that_dies_during_a_reload_leaves_no_two_policies_in_force(
    process: StartProcess, backend: StartBackend
) -> None:
    running = process(backend(answering()).port, workers=2, commands=f"{LOCAL}:{free_port()}")
    running.wait_for("admin listens on")
    first = policy(running)["revision"]
    write(running, DENY_ALL)
    os.kill(running.workers()[0], signal.SIGKILL)
    status, told = post(running, "/policy/reload")
    assert status in {200, 503}
    if status == 503:
        assert "worker" in told["message"]
        assert set(policy(running)["workers"].values()) <= {first}
    assert soon(lambda: len(set(policy(running)["workers"].values()) - {first}) == 1)  # it is tried again by itself
    assert soon(lambda: len(policy(running)["workers"]) == 2)
    second = policy(running)["revision"]
    assert set(policy(running)["workers"].values()) == {second} != {first}
    os.kill(running.workers()[0], signal.SIGKILL)
    assert soon(lambda: policy(running)["workers"] == {"w0": second, "w1": second})  # it begins with what is in force
    assert {code(running) for _ in range(20)} == {306}
