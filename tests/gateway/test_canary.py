"""A share of the calls under another revision of the policy, from the outside: two workers, real sockets."""

import json
import os
import re
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from typer.testing import CliRunner

from interceptor.canary import is_among
from interceptor.cli.main import app as command_line
from tests.gateway.harness import ALLOW_ALL, LOCAL, Backend, Client, Script, answering, eventually, free_port
from tests.gateway.process import Process
from tests.gateway.test_reload import BROKEN, metric, policy, post, ready, soon, write

pytestmark = pytest.mark.timeout(240)

StartProcess = Callable[..., Process]
StartBackend = Callable[[Script], Backend]

NEXT = "rules:\n  - {name: next, on: Hold, deny: {code: 306}}\n  - {name: rest, on: '*', allow: true}\n"
CALLS = [f"call-{number}" for number in range(60)]
FRESH = [f"fresh-{number}" for number in range(20)]
TAKEN = {percent: {call for call in CALLS if is_among(call, percent)} for percent in (20.0, 50.0)}


class Site:
    """A running server with a folder for a canary, a PBX and an app."""

    def __init__(
        self, process: StartProcess, backend: StartBackend, workers: int = 2, settings: str = "", more: str = ""
    ) -> None:
        self.process, self.workers, self.more = process, workers, more
        self.pbx, self.app = backend(answering()), backend(answering(b"<Response/>"))
        self.settings = settings or "watch: false, canary: rules-next"
        self.running = self.start()
        self.folder: Path = self.running.folder / "rules-next"
        self.folder.mkdir()
        (self.folder / "next.yaml").write_text(NEXT)

    def start(self, folder: Path | None = None, **changes: Any) -> Process:
        port = f"{LOCAL}:{free_port()}" if self.workers > 1 else f"{LOCAL}:0"
        return self.process(
            self.pbx.port,
            app=self.app.port,
            workers=self.workers,
            commands=port,
            policy=self.settings,
            folder=folder,
            more=self.more,
            **changes,
        )

    def told(self, call: str, more: str = "", path: str = "/") -> None:
        """A notification of a call comes."""
        body = f"NotificationName=CallChanged&CallId={call}{more}".encode()
        head = (
            f"POST {path}".encode()
            + b" HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n"
        )
        assert Client(self.running.address("notifications")).send(head % len(body) + body).read().status == 200

    def held(self, call: str, times: int = 6) -> set[int]:
        """The codes of several commands, each on a connection of its own, so that both workers have some."""
        request = f"GET /?command=Hold&CallId={call} HTTP/1.0\r\n\r\n".encode()
        codes = set()
        for _ in range(times):
            answer = Client(self.running.address("commands")).send(request).read()
            assert answer.code is not None, answer.raw
            codes.add(answer.code)
        return codes

    def decisions(self) -> list[dict[str, Any]]:
        """Those on record so far; the newest come a moment after their answers."""
        return [each for each in self.running.journal() if each.get("event") == "decision"]

    def tries(self, share: str) -> tuple[int, Any]:
        return post(self.running, f"/policy/canary?share={share.replace('%', '%25')}")

    def denied(self, calls: list[str] = CALLS) -> set[str]:
        """The calls that the canary decides; each of them is decided by one policy alone, in every worker."""
        codes = {call: self.held(call) for call in calls}
        assert all(len(each) == 1 for each in codes.values()), codes
        return {call for call, each in codes.items() if each == {306}}


def test_a_share_of_the_calls_is_decided_by_the_canary_in_both_workers_until_they_end(
    process: StartProcess, backend: StartBackend
) -> None:
    site = Site(process, backend)
    first = policy(site.running)
    assert first["canary"] is None
    site.told("before")

    status, attempt = site.tries("20%")
    assert (status, attempt["outcome"]) == (200, "loaded"), attempt
    shown = policy(site.running)
    canary = shown["canary"]["revision"]
    assert attempt["message"].endswith(f"; revision {canary} decides 20% of the calls")
    assert (shown["revision"], shown["matches_files"]) == (first["revision"], True)
    assert (shown["canary"]["share"], [file["file"] for file in shown["canary"]["files"]]) == (
        "20%",
        ["rules-next/next.yaml"],
    )
    assert shown["workers"] == first["workers"]
    assert metric(site.running, "interceptor_canary_share_ratio") == 0.2
    assert metric(site.running, f'interceptor_canary_info{{revision="{canary}"}}') == 1

    for call in CALLS:
        site.told(call)
    assert len(TAKEN[20.0]) == 15
    assert site.denied(["before", *CALLS]) == TAKEN[20.0]
    messages = policy(site.running)["canary"]["messages"]
    assert messages == {canary: {"allow": 15, "deny": 6 * 15}, first["revision"]: {"allow": 45 + 6 * 46}}

    assert site.tries("50%")[1]["outcome"] == "loaded"  # those that began stay where they are
    assert site.denied(["before", *CALLS]) == TAKEN[20.0]
    assert site.denied(FRESH) == {call for call in FRESH if is_among(call, 50)}

    status, attempt = site.tries("off")
    assert (status, attempt["outcome"]) == (200, "loaded")
    assert attempt["message"].endswith("; there is no canary any more")
    shown = policy(site.running)
    assert (shown["canary"], shown["older_policies"], shown["revision"]) == (None, 1, first["revision"])
    assert metric(site.running, "interceptor_canary_share_ratio") == 0
    assert site.denied(["before", *CALLS]) == TAKEN[20.0]  # they finish under it
    for call in TAKEN[20.0]:
        site.told(call, "&CallState=Completed")
    assert site.denied() == set()
    records = site.decisions()
    assert {each["revision"] for each in records if each["rule"] == "next"} == {canary}
    assert {each["revision"] for each in records} == {canary, first["revision"]}


def test_a_call_and_what_comes_to_its_callbacks_are_decided_by_one_revision_in_both_workers(
    process: StartProcess, backend: StartBackend
) -> None:
    site = Site(process, backend, more='callbacks: {public_url: "http://proxy.test:7781"}\n')
    site.tries("50%")
    canary = policy(site.running)["canary"]["revision"]
    codes = {}
    for number in range(30):  # their exchanges choose; all alike would be once in half a billion
        asks = f"GET /?command=Call&Dialed=1001&Url=http://{LOCAL}:{site.app.port}/menu HTTP/1.0\r\n\r\n"
        assert Client(site.running.address("commands")).send(asks.encode()).read().code == 200
        target = unquote(site.pbx.requests[-1].split(b" ")[1].decode())
        path = re.search(r"proxy\.test:7781(/cb/[^&]+)", target)
        assert path is not None, target
        site.told(f"made-{number}", path=path[1])
        site.told(f"made-{number}", "&CallState=Ringing")
        codes[f"made-{number}"] = site.held(f"made-{number}")
    assert eventually(lambda: sum("origin" in each for each in site.decisions()) == 30)
    records = site.decisions()
    began = {each["exchange"]: each["revision"] for each in records}
    of_calls = {_call(each): began[each["origin"]] for each in records if each.get("origin")}
    assert codes == {call: {306 if revision == canary else 200} for call, revision in of_calls.items()}
    assert len(of_calls) == 30
    assert set(of_calls.values()) == {canary, policy(site.running)["revision"]}


def _call(record: dict[str, Any]) -> str:
    return next(value for name, value in record["parameters"].items() if name.lower() == "callid")


def test_a_canary_that_cannot_be_used_changes_nothing(process: StartProcess, backend: StartBackend) -> None:
    site = Site(process, backend)
    site.tries("20%")
    before = policy(site.running)

    def stays(share: str) -> tuple[int, str, list[str]]:
        status, attempt = site.tries(share)
        now = policy(site.running)
        assert (now["revision"], now["canary"], now["matches_files"]) == (before["revision"], before["canary"], True)
        return status, attempt["message"], [problem["place"] for problem in attempt["problems"]]

    (site.folder / "next.yaml").write_text(BROKEN)
    assert stays("50%") == (422, "1 problem", ["rules-next/next.yaml:4:5"])
    assert "the last canary was refused" in ready(site.running)["warnings"][0]
    write(site.running, ALLOW_ALL + "# new\n")
    status, attempt = post(site.running, "/policy/reload")  # all or nothing: the policy's own files do not come alone
    assert (status, attempt["outcome"], policy(site.running)["revision"]) == (422, "refused", before["revision"])
    write(site.running, ALLOW_ALL)
    (site.folder / "next.yaml").write_text(NEXT)
    assert post(site.running, "/policy/reload")[1]["outcome"] == "unchanged"

    (site.folder / "next.test.yaml").write_text(
        "cases:\n  - {name: fails, given: {command: Hold, app: crm, with: {CallId: a}}, expect: {verdict: allow}}\n"
    )
    status, message, places = stays("50%")
    assert (status, [place.partition(":")[0] for place in places]) == (422, ["rules-next/next.test.yaml"]), message
    (site.folder / "next.test.yaml").unlink()
    (site.folder / "next.yaml").unlink()
    assert stays("50%") == (422, "1 problem", ["rules-next:1:1"])
    shutil.rmtree(site.folder)
    status, message, _ = stays("50%")
    assert (status, message.endswith("rules-next`: no such file or directory")) == (503, True)
    assert site.denied() == TAKEN[20.0]


def test_a_canary_needs_a_folder_in_the_configuration(process: StartProcess, backend: StartBackend) -> None:
    site = Site(process, backend, workers=1, settings="watch: false")
    status, attempt = site.tries("5%")
    assert (status, attempt["message"]) == (503, "the configuration names no folder for a canary: `policy.canary`")
    assert site.tries("off")[1]["outcome"] == "unchanged"


def test_the_canarys_files_are_watched_kept_over_a_restart_and_rolled_back(
    process: StartProcess, backend: StartBackend
) -> None:
    site = Site(process, backend, workers=1, settings="watch: true, canary: rules-next")
    first = policy(site.running)["revision"]
    assert site.tries("50%")[1]["outcome"] == "loaded"
    second = policy(site.running)["canary"]["revision"]
    (site.folder / "next.yaml").write_text(NEXT.replace("306", "305"))
    assert soon(lambda: policy(site.running)["canary"]["revision"] != second)
    third = policy(site.running)["canary"]["revision"]

    begun = min(TAKEN[50.0] - TAKEN[20.0])
    site.told(begun)
    assert site.tries("20%")[1]["outcome"] == "loaded"
    assert [site.held(begun), site.held("never-heard-of")] == [{305}, {200}]

    site.running.signal(signal.SIGTERM)
    assert site.running.ended() == 0
    site.running = site.start(site.running.folder)
    shown = policy(site.running)
    assert (shown["revision"], shown["canary"]["revision"], shown["canary"]["share"]) == (first, third, "20%")
    assert len(shown["history"]) == 4  # a restart is no new policy
    assert soon(lambda: site.held(begun, 1) == {305})  # by its record, though the share would not have it any more

    site.running.kill()
    (site.folder / "next.yaml").write_text(BROKEN)
    site.running = site.start(site.running.folder)
    shown = policy(site.running)
    assert (shown["loaded_by"], shown["canary"]["revision"]) == ("last_good", third)

    done = CliRunner().invoke(command_line, ["policy", "rollback", "--admin", str(site.running.address("admin"))])
    assert done.exit_code == 0, done.output
    assert (policy(site.running)["canary"]["revision"], policy(site.running)["canary"]["share"]) == (third, "50%")
    done = CliRunner().invoke(command_line, ["policy", "rollback", "--admin", str(site.running.address("admin"))])
    assert done.exit_code == 0, done.output
    assert policy(site.running)["canary"]["revision"] == second
    done = CliRunner().invoke(command_line, ["policy", "rollback", "--admin", str(site.running.address("admin"))])
    assert done.exit_code == 0, done.output
    assert (policy(site.running)["revision"], policy(site.running)["canary"]) == (first, None)


def test_the_command_gives_a_share_and_shows_it(process: StartProcess, backend: StartBackend) -> None:
    site = Site(process, backend, workers=1)
    runner, admin = CliRunner(), str(site.running.address("admin"))
    done = runner.invoke(command_line, ["policy", "canary", "2.5%", "--admin", admin])
    canary = policy(site.running)["canary"]["revision"]
    assert (done.exit_code, f"revision {canary} decides 2.5% of the calls" in done.output) == (0, True), done.output
    told = runner.invoke(command_line, ["policy", "status", "--admin", admin]).output
    assert f"canary    revision {canary} decides 2.5% of the calls\n" in told
    assert "  with " + canary + " for 2.5%   in force" in told
    done = runner.invoke(command_line, ["policy", "canary", "half", "--admin", admin])
    assert (done.exit_code, "here is `half`" in done.output) == (2, True)
    done = runner.invoke(command_line, ["policy", "canary", "off", "--admin", admin, "--json"])
    assert (done.exit_code, json.loads(done.output)["outcome"]) == (0, "loaded")


def test_a_rollback_takes_a_canary_away_and_holds_against_nothing(process: StartProcess, backend: StartBackend) -> None:
    site = Site(process, backend, workers=1)
    site.tries("100%")
    assert site.held("abc") == {306}
    assert post(site.running, "/policy/rollback")[1]["outcome"] == "loaded"
    assert site.held("abc") == {200}
    shown = policy(site.running)
    assert (shown["canary"], shown["matches_files"], ready(site.running)["warnings"]) == (None, True, [])


def test_what_an_exchange_was_decided_by_is_explained_with_the_canarys_rules(
    process: StartProcess, backend: StartBackend
) -> None:
    site = Site(process, backend, workers=1)
    site.tries("100%")
    assert site.held("abc") == {306}
    kept = json.loads(site.running.page("/explain")[1])["kept"][0]["exchange"]
    told = site.running.page(f"/explain/{kept}")[1]
    assert ("rules-next/next.yaml:2" in told, policy(site.running)["canary"]["revision"] in told) == (True, True)


def test_a_worker_that_starts_again_has_the_canary(process: StartProcess, backend: StartBackend) -> None:
    site = Site(process, backend)
    site.tries("50%")
    for call in CALLS[:20]:
        site.told(call)
    assert soon(lambda: len(site.running.workers()) == 2)  # the rules' order has been examined
    old = site.running.workers()
    for worker in old:
        os.kill(worker, signal.SIGKILL)
    assert soon(lambda: len(site.running.workers()) == 2 and not set(old) & set(site.running.workers()))
    assert soon(lambda: ready(site.running)["status"] == 200)
    assert site.denied(CALLS[:20]) == TAKEN[50.0] & set(CALLS[:20])


def test_a_configuration_that_no_longer_names_the_folder_has_no_canary_at_the_next_start(
    process: StartProcess, backend: StartBackend
) -> None:
    site = Site(process, backend, workers=1)
    site.tries("100%")
    assert site.held("abc") == {306}
    site.running.signal(signal.SIGTERM)
    assert site.running.ended() == 0
    site.settings = "watch: false"
    site.running = site.start(site.running.folder)
    shown = policy(site.running)
    assert (shown["canary"], shown["loaded_by"], site.held("abc")) == (None, "start", {200})
    status, attempt = post(site.running, "/policy/rollback")  # to the set that had one: it is the policy alone now
    assert (status, attempt["outcome"], policy(site.running)["canary"]) == (200, "loaded", None)
