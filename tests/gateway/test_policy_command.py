"""``interceptor policy`` asks a running server."""

import json
import os
import subprocess
import sys
from collections.abc import Callable

import pytest
from typer.testing import CliRunner

from interceptor.cli.main import app
from tests.gateway.harness import ALLOW_ALL
from tests.gateway.process import ROOT, Process
from tests.gateway.test_reload import BROKEN, DENY_ALL, policy, soon, write

pytestmark = pytest.mark.timeout(240)

StartProcess = Callable[..., Process]


def run(running: Process, *words: str) -> tuple[int, str]:
    """What the command exits with and says."""
    done = CliRunner().invoke(app, ["policy", *words, "--admin", str(running.address("admin"))])
    return done.exit_code, done.output


def test_the_policy_of_a_running_server_is_shown_compared_loaded_and_rolled_back(process: StartProcess) -> None:
    running = process(9, policy="watch: false")
    first = policy(running)["revision"]
    code, told = run(running, "status")
    assert (code, told.splitlines()[0].split()[:2]) == (0, ["revision", first])
    assert "everything  (rules/allow.yaml:2: allow)" in told

    write(running, DENY_ALL)
    code, told = run(running, "diff", "--live")
    assert code == 0
    assert told.startswith(f"in force {first}, in the files ")
    assert "added    nothing\nremoved  everything\n" in told
    assert "allow → deny" in told
    assert policy(running)["revision"] == first
    code, told = run(running, "diff", "--json")
    assert (code, json.loads(told)["outcome"]) == (0, "compared")

    code, told = run(running, "reload")
    second = policy(running)["revision"]
    assert (code, told.split(" (")[0]) == (0, f"loaded: revision {second} is in force, {first} was")
    assert run(running, "diff")[1].endswith("no difference\n")

    write(running, BROKEN)
    code, told = run(running, "diff")
    assert (code, told.splitlines()[-1]) == (1, f"a reload would be refused; revision {second} would stay")
    code, told = run(running, "reload")
    assert code == 1
    assert told.splitlines()[1:] == [
        "rules/allow.yaml:4:5: error: unknown key `denny` in a rule, did you mean `deny`?",
        f"revision {second} stays in force",
    ]
    assert run(running, "status")[0] == 1
    assert "NOT what is in force" in run(running, "status")[1]

    code, told = run(running, "rollback")
    assert (code, policy(running)["revision"]) == (0, first)
    code, told = run(running, "rollback", "--to", second)
    assert (code, policy(running)["revision"]) == (0, second)
    code, told = run(running, "rollback", "--to", "000000000000")
    assert (code, "revision `000000000000` is not kept" in told) == (2, True)
    (running.folder / "rules" / "allow.yaml").unlink()
    code, told = run(running, "reload")
    assert (code, "no rules file is left" in told) == (1, True)
    write(running, ALLOW_ALL)
    assert run(running, "reload", "--json")[0] == 0
    assert soon(lambda: policy(running)["matches_files"])


def test_who_is_not_there_or_speaks_otherwise_is_told(process: StartProcess) -> None:
    running = process(9)
    asked = [sys.executable, "-m", "interceptor", "policy", "status", "--admin"]
    for admin, said in (
        ("127.0.0.1:9", "no answer from 127.0.0.1:9"),
        ("nowhere", "an admin listener is written `HOST:PORT`"),
        (str(running.address("commands")), "answers something else"),
    ):
        done = subprocess.run(
            [*asked, admin],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert (done.returncode, said in done.stderr) == (2, True), (done.stderr, running.lines)


def test_the_configuration_says_where_to_ask(process: StartProcess) -> None:
    running = process(9)
    config = running.folder / "config.yaml"
    config.write_text(config.read_text().replace('admin: "127.0.0.1:0"', f'admin: "{running.address("admin")}"'))
    done = subprocess.run(
        [sys.executable, "-m", "interceptor", "policy", "status", "--json", "--config", str(config)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["loaded_by"] == "start"
