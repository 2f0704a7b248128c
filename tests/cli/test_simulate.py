"""``interceptor simulate`` as a person runs it: processes of their own, real sockets."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from click.testing import Result
from typer.testing import CliRunner

from interceptor.cli.simulate import app

WAIT = 50.0  # a load waits for its calls to end, some twenty seconds of it; on a busy machine longer
FOLDER = Path(__file__).parents[2] / "interceptor" / "simulator" / "scenarios"


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "interceptor", "simulate", *arguments]


def told(*arguments: str) -> Result:
    """What the command says and exits with, in this process."""
    return CliRunner().invoke(app, arguments)


def ran(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=WAIT, env=os.environ | environment, check=False
    )


@contextlib.contextmanager
def running(*arguments: str, **environment: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and the address that it says it listens on."""
    process = subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"} | environment
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http://\S+", process.stdout.readline())
        assert found
        yield process, found[0]
    finally:
        process.kill()
        process.communicate(timeout=WAIT)


def test_a_pbx_answers_commands_and_tells_what_it_sees() -> None:
    secrets = {"PBX_PASSWORD": "made-up-secret"}
    with running("pbx", "-a", "127.0.0.1:0", "--user", "crm", "--dial", "2301:2405", **secrets) as (process, url):
        answer = ran("send", "ListActiveCalls", "--to", url, "--user", "crm", **secrets)
        assert answer.returncode == 0
        assert "<Source>2301</Source>" in answer.stdout
        refused = ran("send", "Hangup", "CallId=x", "--post", "--to", url)
        assert (refused.returncode, "<Code>304</Code>" in refused.stdout) == (1, True)
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=WAIT)
    assert process.returncode == 0
    assert "CommandReceived" in told
    assert "made-up-secret" not in told


def test_an_app_answers_notifications_as_a_scenario_writes_them() -> None:
    scenario = str(FOLDER / "02-wrong-pin.yaml")
    with running("app", "-a", "127.0.0.1:0", "--scenario", scenario) as (process, url):
        answer = ran("send", "x", "NotificationName=IncomingCall", "--post", "--to", f"{url}/pbx")
        assert "Enter your PIN." in answer.stdout
        assert f'ForwardToUrl="{url}/pbx?tried=1"' in answer.stdout
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=WAIT)
    assert process.returncode == 0


def test_the_built_in_app_has_a_menu_and_a_routing_table() -> None:
    with running("app", "-a", "127.0.0.1:0") as (_, url):
        assert "Press 1 for sales" in ran("send", "x", "NotificationName=IncomingCall", "--to", f"{url}/pbx").stdout
        route = ("NotificationName=RoutingInterception", "OriginalDialedNumber=1400")
        assert 'Destination="1405"' in ran("send", "x", *route, "--to", f"{url}/route").stdout


def test_scenarios_are_played_directly_and_through_interceptor() -> None:
    direct = told("play", str(FOLDER / "01-menu.yaml"), str(FOLDER / "04-busy-line.yaml"))
    assert (direct.exit_code, "2 of 2 scenarios went as written" in direct.output) == (0, True)
    through = told("play", "--through-interceptor", str(FOLDER / "demo" / "02-refused.yaml"))
    assert (through.exit_code, "1 of 1 scenario went as written" in through.output) == (0, True)


def test_a_scenario_that_fails_and_one_that_cannot_be_read_are_told_by_exit_code(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("scenario: x\npatience: 100ms\npbx: {pbx: {}}\nsteps:\n  - dial: {from: a, to: b}\n  - hear: no\n")
    failed = told("play", str(bad))
    assert failed.exit_code == 1
    assert f"{bad}:6:" in failed.output
    bad.write_text("scenario: x\nsteps:\n  - dail: {from: a, to: b}\n")
    unread = told("play", str(bad))
    assert (unread.exit_code, f"{bad}:3:5: unknown key `dail`" in unread.output) == (1, True)
    assert told("play", str(tmp_path / "none.yaml")).exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("pbx", "--address", "nowhere"),
        ("pbx", "--generation", "12"),
        ("pbx", "--phone", "1=often"),
        ("pbx", "--dial", "1"),
        ("send", "x", "noequals"),
    ],
)
def test_what_is_written_wrongly_is_told_and_nothing_starts(arguments: tuple[str, ...]) -> None:
    assert told(*arguments).exit_code == 2


def test_nobody_there_is_exit_code_2() -> None:
    assert told("send", "ListExtensions", "--to", "http://127.0.0.1:1").exit_code == 2


def test_a_load_loses_nothing_and_says_how_long_everybody_waited(tmp_path: Path) -> None:
    file = tmp_path / "load.json"
    done = ran("load", "-n", "8", "--for", "2s", "--compare", "500ms", "--json", str(file))
    assert done.returncode == 0, done.stdout + done.stderr
    report = msgspec.json.decode(file.read_bytes())
    results = report["results"]
    assert (results["lost"], results["doubled"], results["failures"], report["refused"]) == (0, 0, {}, {})
    assert results["commands_sent"] == results["commands_seen"] > 0
    assert results["notifications_sent"] == results["notifications_seen"] > 0
    assert {"CallConnected", "DtmfEntered", "RoutingInterception"} <= results["silence"].keys()
    assert report["own"]["Interceptor's own time, command"]["count"] == results["commands_sent"]
    assert report["direct"]["notifications_seen"] > 0
    assert report["memory_after"] > 0
    assert len(report["memory"]) == 10
    assert min(report["memory"]) > report["memory_before"] / 2
    assert "0 lost, 0 doubled" in done.stdout
    assert [goal["verdict"] for goal in report["goals"]][::2] == ["reached", "cannot be told"]
    assert "goal: no message lost, no call left: 0: reached" in done.stdout
    assert "added, as those see it who wait" in done.stdout


def test_ctrl_c_ends_a_load_and_what_it_started() -> None:
    process = subprocess.Popen(
        command("load", "-n", "2", "--for", "10m"), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        assert process.stderr is not None
        assert "with Interceptor" in process.stderr.readline()
        os.killpg(process.pid, signal.SIGINT)
        process.communicate(timeout=WAIT)  # up to the end of the pipe, which everybody whom it started holds as well
    finally:
        process.kill()
    assert process.returncode == 130


@pytest.mark.parametrize("written", ["60", "soon", "2h", "-1s"])
def test_a_load_lasts_an_hour_at_most(written: str) -> None:
    assert told("load", f"--for={written}").exit_code == 2


def test_a_load_on_an_interceptor_that_runs_uses_the_addresses_of_its_configuration(tmp_path: Path) -> None:
    ports = _free_ports(5)
    config = tmp_path / "config.yaml"
    config.write_text(RUNNING.format(*ports))
    (tmp_path / "rules.yaml").write_text(
        "rules:\n  - {name: everything, on: [command, notification, verb], allow: true}\n"
    )
    secrets = {"PBX_PW": "a-made-up-secret", "CRM_PW": "another-secret"}
    load = ("load", "-n", "5", "--for", "1s", "--running", "-c", str(config))
    nobody = ran(*load, **secrets)
    assert (nobody.returncode, "cannot start" in nobody.stderr) == (2, True)
    proxy = subprocess.Popen(
        [sys.executable, "-m", "interceptor", "run", "-c", str(config)],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | secrets,
    )
    try:
        assert proxy.stderr is not None
        next(line for line in proxy.stderr if "notifications listens" in line)
        done = ran(*load, **secrets)
    finally:
        proxy.terminate()
        proxy.communicate(timeout=WAIT)
    assert (done.returncode, "0 lost, 0 doubled" in done.stdout) == (0, True), done.stdout + done.stderr


def test_a_load_stays_on_this_machine(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text(RUNNING.format(1, 2, 3, 4, 5).replace("127.0.0.1:1}", "192.0.2.1:1}"))
    (tmp_path / "rules.yaml").write_text("rules: []\n")
    done = ran("load", "--running", "-c", str(config), PBX_PW="a-made-up-secret", CRM_PW="another-secret")
    assert (done.returncode, "not this machine" in done.stderr) == (2, True)


RUNNING = """\
country: HU
extensions: ["1xxx", "2xxx"]
time_zone: Europe/Budapest
rules: rules.yaml
policy: {{emergency: unchecked}}
listeners:
  commands: {{kind: command, address: 127.0.0.1:{0}}}
  notifications: {{kind: notification, address: 127.0.0.1:{1}}}
admin: 127.0.0.1:{2}
clusters:
  pbx: {{endpoints: ["http://127.0.0.1:{3}"], credentials: {{username: u, password: {{env: PBX_PW}}}}}}
apps:
  crm:
    sources: ["127.0.0.0/8"]
    username: crm
    password: {{env: CRM_PW}}
    url: http://127.0.0.1:{4}/pbx
    callbacks: {{allow: ["127.0.0.0/8"]}}
notifications: [{{app: crm}}]
callbacks: {{public_url: "http://127.0.0.1:{1}"}}
"""


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in opened:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in opened]
