"""`interceptor calls` through its door: lists and ladders of a running server and of a journal."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner, Result

from interceptor.calls import Counts
from interceptor.calls.comparison import Comparison, Listed
from interceptor.calls.ladder import Ladder, line_of
from interceptor.cli import calls
from interceptor.cli.main import app
from interceptor.live_calls import CallsPage
from tests.calls.conftest import Line
from tests.calls.site import Site, play
from tests.calls.test_live import click_to_call

Ask = Callable[..., Result]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration and the journal of one call."""
    folder = tmp_path_factory.mktemp("site")

    async def scene(site: Site) -> None:
        await site.over(await click_to_call(site))

    play(folder, scene)
    return folder


@pytest.fixture
def ask(folder: Path) -> Ask:
    """Run `interceptor calls` with the configuration of the folder."""

    def run(*arguments: str) -> Result:
        return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["calls", *arguments, "-c", str(folder / "config.yaml")])

    return run


def call_id(ask: Ask, folder: Path) -> str:
    listed = json.loads(ask("--journal", str(folder / "state" / "journal"), "--format", "json").stdout)
    assert listed["open"] == 0
    found: str = listed["calls"][0]["id"]
    return found


def test_without_a_server_the_journal_is_read_and_that_is_said(ask: Ask, folder: Path) -> None:
    done = ask()
    assert done.exit_code == 0
    assert "this is what the journal says" in done.stderr
    head, columns, line = done.stdout.splitlines()
    assert head == "0 open"
    assert columns.split() == ["began", "id", "lasts", "from", "→", "to", "state", "apps"]
    assert re.search(r"\+3612222222 → \+36201234567 \(to 2405\) +ended: completed +crm, switchboard", line)
    assert line.endswith("partly inferred")
    del folder


def test_a_call_is_drawn_with_the_rules_that_changed_it(ask: Ask, folder: Path) -> None:
    done = ask("show", call_id(ask, folder))
    assert done.exit_code == 0
    assert "│ Call: CallerId changed ─" in done.stdout
    assert "by rules.yaml:2 the-crm-shows-the-main-line" in done.stdout
    assert "BlindTransfer +3690123456 refused by rules.yaml:6 no-premium" in done.stdout


def test_a_page_of_html_is_written_whole_or_not_at_all(ask: Ask, folder: Path, tmp_path: Path) -> None:
    name = call_id(ask, folder)
    done = ask("show", name, "--html", str(tmp_path / "call.html"))
    assert (done.exit_code, done.stdout.startswith(str(tmp_path / "call.html"))) == (0, True)
    page = (tmp_path / "call.html").read_text()
    assert page.startswith("<!doctype html>")
    assert page.count('class="hop') >= 30
    done = ask("show", name, "--html", str(tmp_path / "none" / "call.html"))
    assert (done.exit_code, "cannot write" in done.stderr) == (2, True)


def test_json_is_what_the_server_tells(ask: Ask, folder: Path) -> None:
    import msgspec

    name = call_id(ask, folder)
    ladder = msgspec.json.decode(ask("show", name, "-f", "json").stdout, type=Ladder)
    assert (ladder.call.id, ladder.call.state) == (name, "ended")
    by_exchange = msgspec.json.decode(ask("show", ladder.rungs[-1].exchange, "-f", "json").stdout, type=Ladder)
    assert by_exchange == ladder


def test_a_call_that_nobody_knows_and_a_journal_that_is_not_there_are_told(ask: Ask, tmp_path: Path) -> None:
    done = ask("show", "nobody")
    assert (done.exit_code, "no call `nobody`" in done.stderr) == (2, True)
    done = ask("--journal", str(tmp_path / "none"))
    assert (done.exit_code, "no such file or directory" in done.stderr) == (2, True)


def test_a_call_of_long_ago_is_found_in_a_long_journal(ask: Ask, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = call_id(ask, folder)
    real = calls._stored

    def short(settings: object, directory: Path, recent: int, name: str = "") -> object:
        del recent
        return real(settings, directory, 0, name)  # type: ignore[arg-type]

    monkeypatch.setattr(calls, "_stored", short)
    assert f"call {name}" in ask("show", name).stdout


def test_the_pbxs_list_is_told_beside_ours(line: Line) -> None:
    line.state("X", "InCall")
    line.state("X", "Ringing")
    comparisons = [
        Comparison(0.0, "pbx:80", 2, 1, 1, (Listed("\x1b[2J", "InCall", "1", "2", "now"),), ("gone",)),
        Comparison(0.0, "pbx:81", 0, failed="upstream_timeout"),
    ]
    page = CallsPage(1, {"connected": 1}, Counts(), 7, 3, [line_of(line.find("X"))], comparisons)
    console = Console(width=250, highlight=False)
    with console.capture() as capture:
        for text in calls._list(page, "UTC"):
            console.print(text, soft_wrap=True)
    told = capture.get().splitlines()
    assert told[0] == "1 open: 1 connected"
    assert told[2].endswith("2 remarks")
    assert told[3:] == [
        "pbx:80 listed 2 calls at 00:00:00.000: 1 unknown to us, 1 of ours not among them",
        "  unknown  \\x1b[2J  1 → 2  InCall  since now",
        "  lost     gone",
        "pbx:81 did not list its calls at 00:00:00.000: upstream_timeout",
        "3 records are still to be read into calls",
        "7 records were not read into calls: too much at once",
    ]
