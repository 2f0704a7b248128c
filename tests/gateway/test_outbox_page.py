"""What waits for apps, as the admin listener and the command line show it."""

import json
import time
from collections.abc import Callable
from pathlib import Path

from typer.testing import CliRunner

from interceptor.cli.main import app as command_line
from tests.gateway.harness import Backend, Proxy, Script, answering, eventually, free_port

Start = Callable[..., Proxy]
StartBackend = Callable[[Script], Backend]

CONFIG = """\
country: HU
time_zone: Europe/Budapest
admin: "ADMIN"
listeners: {commands: {kind: command, address: "127.0.0.1:0"}}
clusters: {pbx: {endpoints: ["http://127.0.0.1:9780"]}}
apps: {crm: {sources: ["127.0.0.1"]}}
"""


def queue(running: Proxy) -> dict[str, object]:
    found: list[dict[str, object]] = json.loads(running.page("/outbox"))["outbox"]
    assert len(found) == 1
    return found[0]


def shown(running: Proxy, folder: Path) -> str:
    file = folder / "config.yaml"
    file.write_text(CONFIG.replace("ADMIN", str(running.running.addresses["admin"])))
    return CliRunner().invoke(command_line, ["outbox", "--config", str(file)]).output


def test_what_waits_for_an_app_is_shown_as_a_queue(proxy: Start, tmp_path: Path) -> None:
    running = proxy(9, free_port())
    assert queue(running)["waiting"] == 0
    assert shown(running, tmp_path) == "nothing waits\n"
    for name in ("RecordCompleted", "CallChanged"):
        running.notify(f"NotificationName={name}")
    first = running.settled(2)[0]
    assert eventually(lambda: bool(queue(running)["attempts"]) and bool(queue(running)["next_at"]))
    told = queue(running)
    assert (told["app"], told["worker"], told["waiting"]) == ("crm", "w0", 2)
    assert told["oldest_exchange"] == first.exchange
    assert abs(float(str(told["oldest_at"])) - time.time()) < 60
    text = shown(running, tmp_path)
    assert "crm (w0): 2 wait, the oldest for" in text
    assert "failed attempts" in text


def test_a_queue_is_empty_again_when_the_app_has_taken_all(proxy: Start, backend: StartBackend) -> None:
    app = backend(answering(b"<Response/>"))
    app.stop()
    running = proxy(9, app.port)
    running.notify("NotificationName=RecordCompleted")
    assert eventually(lambda: queue(running)["waiting"] == 1)
    app.start()
    assert eventually(lambda: queue(running)["waiting"] == 0)
    assert queue(running)["attempts"] == 0


def test_what_waits_for_an_address_that_a_rule_names_is_shown_beside_the_apps(proxy: Start, tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{free_port()}/sink"
    running = proxy(
        9, free_port(), rules=f'rules: [{{name: away, on: CallChanged, reroute: {{url: "{address}?a=1"}}}}]'
    )
    running.notify("NotificationName=CallChanged")
    apps, addresses = json.loads(running.page("/outbox"))["outbox"]
    assert (apps["app"], apps["waiting"]) == ("crm", 0)
    assert (addresses["app"], addresses["waiting"]) == (address, 1)
    assert shown(running, tmp_path).startswith(f"{address} (w0): 1 wait, the oldest for")


def test_without_a_server_the_command_says_so(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    file.write_text(CONFIG.replace("ADMIN", f"127.0.0.1:{free_port()}"))
    result = CliRunner().invoke(command_line, ["outbox", "--config", str(file)])
    assert result.exit_code == 1
    assert result.output.startswith("no answer from 127.0.0.1:")
