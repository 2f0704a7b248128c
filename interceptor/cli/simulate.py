"""``interceptor simulate``: a PBX, a business application, or scenarios, for trying things out by hand."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from interceptor.cli.problems import told
from interceptor.simulator import Menu, RealClock, RoutingTable, Row, SimulatedApp, SimulatedPbx, verb
from interceptor.simulator.events import Event
from interceptor.simulator.scenario import Between, Outcome, World, play, read_scenario

app = typer.Typer(help="A simulated PBX, a simulated business application, or scenarios.", no_args_is_help=True)

PortOption = Annotated[int, typer.Option("--port", min=0, max=65535, help="0: one that is free.")]
HostOption = Annotated[str, typer.Option("--host", help="Address to listen on.")]
SpeedOption = Annotated[float, typer.Option("--speed", min=0.01, max=1000.0, help="How much faster time passes.")]


@app.command("pbx")
def pbx(
    host: HostOption = "127.0.0.1",
    port: PortOption = 9780,
    speed: SpeedOption = 1.0,
    user: Annotated[str, typer.Option(help="USER:PASSWORD that commands need.", envvar="SIMULATED_PBX_USER")] = "",
    route: Annotated[str, typer.Option(help="Where RoutingInterception goes.")] = "",
    incoming: Annotated[str, typer.Option(help="Where IncomingCall goes.")] = "",
    events: Annotated[str, typer.Option(help="Where CallChanged goes.")] = "",
    sms: Annotated[str, typer.Option(help="Where IncomingSMS goes.")] = "",
    dial: Annotated[list[str] | None, typer.Option(help="FROM:TO, a call that comes in at the start.")] = None,
) -> None:
    """Answer commands as a PBX does, keep calls, send notifications and run the OzML that comes back."""
    name, _, password = user.partition(":")

    async def serve(console: Console) -> None:
        clock = RealClock(speed)
        simulated = SimulatedPbx(host=host, port=port, clock=clock, users={name: password} if name else None)
        async with simulated:
            simulated.subscriptions.route, simulated.subscriptions.incoming = route, incoming
            simulated.subscriptions.events, simulated.subscriptions.sms = events, sms
            simulated.log.observe(_shown(console))
            console.print(f"a simulated PBX answers at {simulated.url}; Ctrl-C ends it")
            for call in dial or ():
                caller, _, dialled = call.partition(":")
                simulated.dial(caller, dialled)
            await asyncio.Event().wait()

    _run(serve)


@app.command("app")
def business_app(
    host: HostOption = "127.0.0.1",
    port: PortOption = 8001,
    speed: SpeedOption = 1.0,
    pbx_url: Annotated[str, typer.Option("--pbx", help="Where it sends commands: a PBX, or Interceptor.")] = "",
    user: Annotated[str, typer.Option(help="USER:PASSWORD it sends with commands.", envvar="SIMULATED_APP_USER")] = "",
    call: Annotated[str, typer.Option(help="A number to call at the start (click to call).")] = "",
    extension: Annotated[str, typer.Option(help="The API extension that calls.")] = "1500",
    to: Annotated[str, typer.Option(help="Where the routing table sends every call; empty: no opinion.")] = "",
) -> None:
    """Be an application: a spoken menu for callers, a routing table, and click to call."""
    name, _, password = user.partition(":")
    support = (verb("Speak", "We connect you."), verb("BlindTransfer", "", Target="1405"))
    menu = Menu("Press 1 for the opening hours, 2 for support.", {"1": (verb("Speak", "Nine to five."),), "2": support})
    rows = (Row(destination=to),) if to else ()

    async def serve(console: Console) -> None:
        simulated = SimulatedApp(
            host=host, port=port, clock=RealClock(speed), pbx_url=pbx_url, username=name, password=password
        )
        simulated.add(RoutingTable(rows), name="RoutingInterception")
        simulated.add(menu, name="IncomingCall")
        simulated.add(menu, name="CallConnected")
        async with simulated:
            simulated.log.observe(_shown(console))
            console.print(f"a simulated application answers at {simulated.url}; Ctrl-C ends it")
            if call:
                url = f"{simulated.url}/connected"
                await simulated.command("Call", ApiExtension=extension, Dialed=call, Url=url)
            await asyncio.Event().wait()

    _run(serve)


@app.command("scenario")
def scenario(
    files: Annotated[list[Path], typer.Argument(help="Scenario files, played in this order.")],
    commands: Annotated[str, typer.Option(help="Where apps send commands in place of the PBX.")] = "",
    notifications: Annotated[str, typer.Option(help="Where the PBX sends notifications in place of apps.")] = "",
) -> None:
    """Play scenarios; 0 if every step went as written, 1 if not."""
    good = True
    between = Between(commands, notifications) if commands and notifications else None

    async def perform(console: Console) -> None:
        nonlocal good
        for file in files:
            with file.open("rb") as opened:
                wanted = read_scenario(opened.read(), str(file))
            console.print(Text(wanted.name, style="bold"))
            async with World(between=between) as world:
                played = await play(wanted, world, watch=lambda outcome: _tell(console, outcome))
            good &= played.good

    _run(perform)
    raise typer.Exit(0 if good else 1)


def _run(work: Callable[[Console], Awaitable[None]]) -> None:
    async def main() -> None:
        await work(Console(highlight=False))

    with told(), contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())


def _tell(console: Console, outcome: Outcome) -> None:
    mark = "  ✓ " if outcome.good else "  ✗ "
    place = outcome.step.place
    line = Text(mark + outcome.step.told, style="" if outcome.good else "red")
    if not outcome.good:
        line.append(f"\n      {place}: {outcome.detail}")
    console.print(line, soft_wrap=True)


def _shown(console: Console) -> Callable[[Event], None]:
    def show(event: Event) -> None:
        fields = {name: getattr(event, name) for name in event.__struct_fields__ if name != "at"}
        shown = " ".join(f"{name}={_short(value)}" for name, value in fields.items() if value not in {None, "", ()})
        console.print(Text(f"{type(event).__name__:<22} ", style="cyan") + Text(shown), soft_wrap=True)

    return show


def _short(value: object) -> str:
    text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
    text = " ".join(text.split())
    return text if len(text) <= 120 else text[:117] + "..."
