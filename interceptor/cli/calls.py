"""``interceptor calls``: the calls that go on and those that were; ``interceptor calls show`` draws one as a ladder."""

import os
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from interceptor.cli.check import config_beside
from interceptor.cli.problems import told

if TYPE_CHECKING:
    from rich.text import Text

    from interceptor.calls import Call, Calls
    from interceptor.calls.comparison import Comparison
    from interceptor.calls.ladder import Ladder
    from interceptor.live_calls import CallsPage
    from interceptor.settings import Settings

_ADMIN_SECONDS = 10.0
_MOST_BYTES = 64 << 20
_OFFLINE_OPEN = 100_000

app = typer.Typer(
    help="The calls that go on and those that were; `interceptor calls show ID` draws one as a ladder.",
    add_completion=False,
    pretty_exceptions_show_locals=False,
)


class Format(StrEnum):
    """How it is told."""

    TEXT = "text"
    JSON = "json"


_Config = Annotated[Path | None, typer.Option("--config", "-c", help="The configuration; else one that stands here.")]
_Journal = Annotated[
    Path | None, typer.Option("--journal", "-j", help="Read this folder of journal files and ask no running server.")
]
_Form = Annotated[Format, typer.Option("--format", "-f", help="How to tell it.")]


@app.callback(invoke_without_command=True)
def calls(
    context: typer.Context,
    config: _Config = None,
    journal: _Journal = None,
    most: Annotated[
        int, typer.Option("--most", "-n", min=1, max=500, help="So many open calls, and as many ended.")
    ] = 20,
    form: _Form = Format.TEXT,
) -> None:
    """List the calls that go on and those that ended last.

    Exits with 0 when they can be told, 1 when the configuration has problems, 2 when the journal cannot be read.
    """
    if context.invoked_subcommand is not None:
        return
    settings = _settings(config)
    page = None if journal is not None else _live_page(settings, most)
    if page is None:
        page = _stored_page(settings, journal or settings.journal.directory, most, asked=journal is not None)
    if form is Format.JSON:
        _print_json(page)
        return
    from interceptor.cli.telling import console

    out = console()
    for line in _list(page, settings.time_zone):
        out.print(line)


@app.command("show")
def show(
    name: Annotated[
        str, typer.Argument(help="The call's id at the PBX, or the id of one of its exchanges.", metavar="ID")
    ],
    config: _Config = None,
    journal: _Journal = None,
    page: Annotated[Path | None, typer.Option("--html", help="Write a page of HTML to this file.")] = None,
    form: _Form = Format.TEXT,
) -> None:
    """Draw all that passed in one call: app, Interceptor and PBX side by side.

    Exits with 0 when the call is known, 1 when the configuration has problems, 2 when the call is not found.
    """
    settings = _settings(config)
    ladder = None if journal is not None else _live_ladder(settings, name)
    if ladder is None:
        ladder = _stored_ladder(settings, journal or settings.journal.directory, name)
    if ladder is None:
        where = journal or settings.journal.directory
        _give_up(f"no call `{name}`: the running server does not know it, and it is not in `{where}`")
    from interceptor.cli import ladders

    if page is not None:
        try:
            page.write_text(ladders.page(ladder, settings.time_zone), encoding="utf-8")
        except OSError as fault:
            _give_up(f"cannot write `{page}`: {(fault.strerror or str(fault)).lower()}")
        typer.echo(f"{page}: {len(ladder.rungs)} lines of call {ladder.call.id}")
        return
    if form is Format.JSON:
        _print_json(ladder)
        return
    from interceptor.cli.telling import console

    out = console()
    for line in ladders.lines(ladder, settings.time_zone, out.width if out.is_terminal else 120):
        out.print(line)


def _settings(config: Path | None) -> "Settings":
    from interceptor.loading import load_settings

    with told():
        return load_settings(config or config_beside(Path("rules")), os.environ, secrets=False)


def _print_json(value: object) -> None:
    import msgspec

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def _give_up(why: str) -> NoReturn:
    typer.echo(why, err=True)
    raise typer.Exit(2)


# --- the running server ---------------------------------------------------------------------------------------------


def _live_page(settings: "Settings", most: int) -> "CallsPage | None":
    from interceptor.live_calls import CallsPage

    found: CallsPage | None = _asked(settings, f"/calls?most={most}", CallsPage)
    return found


def _live_ladder(settings: "Settings", name: str) -> "Ladder | None":
    from urllib.parse import quote

    from interceptor.calls.ladder import Ladder

    found: Ladder | None = _asked(settings, f"/calls/{quote(name, safe='')}", Ladder)
    return found


def _asked(settings: "Settings", path: str, kind: type[Any]) -> Any:
    """What the running server says, ``None`` where there is none or it has nothing to say."""
    import http.client

    import msgspec

    admin = settings.admin
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(admin.host, admin.host)  # noqa: S104 - asked, not listened on
    connection = http.client.HTTPConnection(host, admin.port, timeout=_ADMIN_SECONDS)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        body = answer.read(_MOST_BYTES)
        return msgspec.json.decode(body, type=kind) if answer.status == 200 else None
    except (OSError, http.client.HTTPException, msgspec.MsgspecError):
        return None
    finally:
        connection.close()


# --- the journal ----------------------------------------------------------------------------------------------------


def _stored(settings: "Settings", directory: Path, recent: int, name: str = "") -> "tuple[Calls, Call | None]":
    """The calls of a journal, and of them the one with a name however long ago it was."""
    from msgspec.structs import replace

    from interceptor.calls import Calls
    from interceptor.journal.replaying import replay, workers_of
    from interceptor.live_calls import bounds_of
    from interceptor.sightings import Follower
    from interceptor.wire.numbers import NumberReader

    bounds = replace(bounds_of(settings.calls), open=_OFFLINE_OPEN, recent=recent)
    fold = Calls(bounds)
    kept: list[Call] = []
    if name:
        fold.forgets = lambda call: kept.append(call) if call.is_called(name) else None
    follower = Follower(fold, NumberReader(settings.country, settings.extensions), settings.journal.masking)
    try:
        workers = workers_of(directory)
        for number, record in enumerate(replay(directory, workers)):
            follower.follow(record)
            if number % 10_000 == 0:
                fold.tick(fold.now)
    except OSError as fault:
        _give_up(f"the journal in `{directory}` cannot be read: {(fault.strerror or str(fault)).lower()}")
    found = fold.find(name) if name else None
    return fold, found or (kept[-1] if kept else None)


def _stored_page(settings: "Settings", directory: Path, most: int, *, asked: bool) -> "CallsPage":
    from interceptor.calls.ladder import line_of
    from interceptor.live_calls import CallsPage, states_of

    if not asked:
        typer.echo(f"no server answers at {settings.admin}: this is what the journal says", err=True)
    fold, _ = _stored(settings, directory, most)
    fold.tick(fold.now if asked else max(fold.now, time.time()))
    lines = [line_of(call) for call in fold.newest(most)]
    return CallsPage(fold.open_count, states_of(fold), fold.counts, 0, 0, lines, [])


def _stored_ladder(settings: "Settings", directory: Path, name: str) -> "Ladder | None":
    from interceptor.calls.ladder import ladder_of

    _, call = _stored(settings, directory, 10_000, name)
    return None if call is None else ladder_of(call)


# --- lines for people -----------------------------------------------------------------------------------------------


def _list(page: "CallsPage", zone: str) -> "list[Text]":
    from rich.text import Text

    from interceptor.cli import ladders

    states = ", ".join(f"{number} {state}" for state, number in page.states.items() if number)
    lines = [Text(f"{page.open} open{f': {states}' if states else ''}", style="bold")]
    lines.append(Text(f"{'began':19}  {'id':14} {'lasts':>8}  {'from → to':36} {'state':40} apps", style="dim"))
    for call in page.calls:
        line = Text(f"{ladders.day(call.began, zone)}  {call.id[:14]:14} {ladders.lasted(call):>8}  ")
        line.append(f"{ladders.who_with_whom(call):36.36} ")
        line.append(f"{ladders.ended_how(call):40.40}", style=ladders.style_of(call))
        line.append(f" {', '.join(call.apps)}")
        if call.inferred:
            line.append("  partly inferred", style="yellow")
        if call.remarks:
            line.append(f"  {call.remarks} remark{'s' * (call.remarks > 1)}", style="yellow")
        lines.append(line)
    for comparison in page.comparisons:
        lines += _compared(comparison, zone)
    if page.behind:
        lines.append(Text(f"{page.behind} records are still to be read into calls", style="yellow"))
    if page.missed:
        lines.append(Text(f"{page.missed} records were not read into calls: too much at once", style="red"))
    return lines


def _compared(comparison: "Comparison", zone: str) -> "list[Text]":
    from rich.text import Text

    from interceptor.calls.ladder import printable
    from interceptor.cli import ladders

    when = ladders.clock(comparison.at, zone)
    if comparison.failed:
        return [Text(f"{comparison.endpoint} did not list its calls at {when}: {comparison.failed}", style="red")]
    text = f"{comparison.endpoint} listed {comparison.listed} calls at {when}"
    style = "yellow" if comparison.unknown or comparison.lost else "dim"
    found = [Text(f"{text}: {comparison.unknown} unknown to us, {comparison.lost} of ours not among them", style=style)]
    for each in comparison.unknown_calls:
        told_of = f"{each.call_id}  {each.source} → {each.destination}  {each.state}  since {each.started}"
        found.append(Text(f"  unknown  {printable(told_of)}", style="yellow"))
    found += [Text(f"  lost     {printable(call)}", style="yellow") for call in comparison.lost_calls]
    return found
