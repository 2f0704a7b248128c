"""``interceptor simulate``: a PBX, a business application, single commands, and scenarios to play.

Passwords are never arguments, which every user of a machine can read: they come from environment variables.
"""

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interceptor.cli.ending import until_ended
from interceptor.cli.problems import told, write
from interceptor.cli.scenarios import read, read_scenarios
from interceptor.cli.shipped import shipped

if TYPE_CHECKING:
    from interceptor.simulator import Door, Phone, SimulatedApp, SimulatedPbx
    from interceptor.simulator.events import Event
    from interceptor.simulator.scenario import Scenario

app = typer.Typer(
    help="Run a simulated PBX or a simulated business application, or play scenarios.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)

AddressOption = Annotated[
    str, typer.Option("--address", "-a", help="Where to listen, HOST:PORT; port 0 takes a free one.")
]
SpeedOption = Annotated[float, typer.Option(min=0.01, max=10_000, help="How much faster than life calls go.")]
UserOption = Annotated[str, typer.Option(help="The user name that commands carry.")]
PasswordOption = Annotated[
    str, typer.Option("--password-env", help="The environment variable that holds that user's password.")
]


@app.command()
def pbx(
    address: AddressOption = "127.0.0.1:9780",
    generation: Annotated[str, typer.Option(help="`phone-system` or `ozeki-10`.")] = "phone-system",
    speed: SpeedOption = 1.0,
    user: UserOption = "",
    password_env: PasswordOption = "PBX_PASSWORD",  # noqa: S107 - the name of a variable
    api_extension: Annotated[
        list[str] | None, typer.Option(help="An API extension; may be given more than once.")
    ] = None,
    phone: Annotated[
        list[str] | None,
        typer.Option(help="NUMBER=BEHAVIOUR: `busy`, `never`, or the seconds until somebody answers."),
    ] = None,
    route: Annotated[str, typer.Option(help="Where RoutingInterception goes.")] = "",
    incoming: Annotated[str, typer.Option(help="Where IncomingCall goes.")] = "",
    events: Annotated[str, typer.Option(help="Where CallChanged goes.")] = "",
    sms: Annotated[str, typer.Option(help="Where IncomingSMS goes.")] = "",
    dial: Annotated[
        list[str] | None, typer.Option(help="CALLER:NUMBER, a call that begins at once; may be given more than once.")
    ] = None,
) -> None:
    """Run a PBX that answers every command, keeps calls, sends notifications and runs the OzML it gets.

    It prints what it sees and does, until Ctrl-C.
    """
    from interceptor.simulator import API, Extension, Generation, RealClock, SimulatedPbx
    from interceptor.simulator.pbx import EXAMPLE_EXTENSIONS

    host, port = _address(address)
    if generation not in {each.value for each in Generation}:
        raise typer.BadParameter("it is `phone-system` or `ozeki-10`", param_hint="--generation")
    extensions = [*EXAMPLE_EXTENSIONS, *(Extension(id=each, type=API) for each in api_extension or ())]
    pbx = SimulatedPbx(
        host=host,
        port=port,
        clock=RealClock(speed),
        generation=Generation(generation),
        extensions=extensions,
        phones=[_phone(each) for each in phone or ()],
        users={user: _password(password_env)} if user else None,
    )
    wanted = pbx.subscriptions
    wanted.route, wanted.incoming, wanted.events, wanted.sms = route, incoming, events, sms
    calls = [_pair(each, ":", "--dial", "CALLER:NUMBER") for each in dial or ()]

    def begin() -> None:
        typer.echo(f"the PBX listens on {pbx.url}")
        for caller, number in calls:
            pbx.dial(caller, number)

    _serve(pbx, begin)


@app.command("app")
def business_app(
    address: AddressOption = "127.0.0.1:8001",
    scenario: Annotated[
        Path | None, typer.Option(help="A scenario file; its app answers as it is written there.")
    ] = None,
    name: Annotated[str, typer.Option(help="Which app of that scenario.")] = "crm",
) -> None:
    """Run an app with a menu and a routing table: the built-in ones, or those of a scenario file.

    It prints what it is told and what it answers, until Ctrl-C.
    """
    from interceptor.simulator import SimulatedApp

    host, port = _address(address)
    app = SimulatedApp(name=name, host=host, port=port)
    with told():
        doors = None if scenario is None else _doors(scenario, name)

    def begin() -> None:
        _furnish(app, doors)
        typer.echo(f"the app {name} listens on {app.url}")

    _serve(app, begin)


@app.command()
def send(
    command: Annotated[str, typer.Argument(help="The command's name, such as `Call`.")],
    parameters: Annotated[
        list[str] | None, typer.Argument(help="NAME=VALUE, in the order in which they go out.")
    ] = None,
    to: Annotated[str, typer.Option(help="The PBX, or what stands before it.")] = "http://127.0.0.1:7780",
    post: Annotated[bool, typer.Option("--post", help="POST a form in place of a GET.")] = False,
    user: UserOption = "",
    password_env: PasswordOption = "PBX_PASSWORD",  # noqa: S107 - the name of a variable
) -> None:
    """Send one command as an app does, and print the answer. Exits with 0 for code 200, 1 for any other, 2 for none."""
    from interceptor.simulator import CommandAnswer, CommandClient, RealClock
    from interceptor.simulator.events import EventLog

    pairs = tuple(_pair(each, "=", "PARAMETERS", "NAME=VALUE") for each in parameters or ())

    async def ask() -> CommandAnswer:
        clock = RealClock()
        client = CommandClient(
            to, clock, EventLog(clock), username=user, password=_password(password_env) if user else ""
        )
        try:
            return await client.send(command, pairs, method="POST" if post else "GET")
        finally:
            await client.close()

    answer = asyncio.run(ask())
    if answer.status == 0:
        typer.echo(answer.message, err=True)
        raise typer.Exit(2)
    typer.echo(answer.body.decode("utf-8", "replace"))
    raise typer.Exit(0 if answer.code == 200 else 1)


@app.command()
def play(
    files: Annotated[list[Path], typer.Argument(help="Scenario files, or folders of them.")],
    through: Annotated[
        bool, typer.Option("--through-interceptor", help="Put Interceptor between PBX and apps, with --config.")
    ] = False,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Its configuration; without it, the example.")
    ] = None,
    rules: Annotated[Path | None, typer.Option(help="Rules in place of the configured.")] = None,
    capture: Annotated[
        bool, typer.Option("--capture", help="Have the callbacks of the apps come back through Interceptor.")
    ] = False,
    speed: Annotated[
        float, typer.Option(min=0.0, max=10_000, help="How much faster than life; 0 takes no time at all.")
    ] = 0.0,
) -> None:
    """Play scenarios and tell of every step how it went. Exits with 0 when all went well, 1 when not."""
    from interceptor.cli.stage import StageError

    with told():
        scenarios = read_scenarios(files)
        between = through or capture or config is not None or rules is not None
        where = config or shipped() / "config.example.yaml"
        try:
            if between:
                good = until_ended(_play_through(scenarios, where, rules, speed, capture=capture))
            else:
                good = until_ended(_play(scenarios, speed))
        except StageError as error:
            typer.echo(f"cannot start: {error}", err=True)
            raise typer.Exit(2) from None
    raise typer.Exit(0 if good else 1)


@app.command()
def load(
    calls_per_second: Annotated[
        float, typer.Option("--calls-per-second", "-n", min=0.1, max=1000, help="How many calls begin in a second.")
    ] = 10.0,
    lasting: Annotated[str, typer.Option("--for", help="How long, such as `60s` or `5m`; an hour at most.")] = "60s",
    compare: Annotated[
        str, typer.Option(help="Play so long without Interceptor first, such as `20s`, to compare.")
    ] = "0s",
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="A configuration of yours in place of the example.")
    ] = None,
    rules: Annotated[Path | None, typer.Option(help="Rules in place of the configured.")] = None,
    running: Annotated[
        bool, typer.Option("--running", help="Load the Interceptor that runs with --config on this machine.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Its workers, where it is started here.")] = 1,
    seed: Annotated[int, typer.Option(help="Another number plays other calls.")] = 1,
    json: Annotated[Path | None, typer.Option(help="Write the figures to this file as well.")] = None,
) -> None:
    """Play many calls at once through Interceptor, and tell how long everybody waited and whether anything was lost.

    Calls to and from customers with menus, transfers, engaged and unanswered lines, text messages and reports. It stays
    on this machine and stops by itself. Exits with 0 when nothing was lost and nothing failed, 1 when something was.
    """
    from interceptor.cli import load as loading
    from interceptor.cli.stage import StageError
    from interceptor.worker import new_event_loop

    if running and config is None:
        raise typer.BadParameter("it needs --config, which says where everybody is", param_hint="--running")
    plan = loading.Plan(
        calls_per_second=calls_per_second,
        seconds=_seconds(lasting, "--for"),
        compare=_seconds(compare, "--compare"),
        workers=workers,
        seed=seed,
    )
    own = config is not None or rules is not None
    with told():
        try:
            where = config or shipped() / "config.example.yaml"
            report = until_ended(loading.run(where, rules, plan, own=own, running=running), new_event_loop)
        except (StageError, OSError) as error:
            if isinstance(error, OSError) and error.filename:
                raise  # a file that cannot be read is told as such
            typer.echo(f"cannot start: {error}", err=True)
            raise typer.Exit(2) from None
    loading.show(report)
    if json is not None:
        write(json, loading.as_json(report))
    raise typer.Exit(0 if report.good else 1)


@app.command("break")
def break_(
    files: Annotated[
        list[Path] | None, typer.Argument(help="Scenario files; without one, two shipped ones for the example.")
    ] = None,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Your configuration in place of the example.")
    ] = None,
    rules: Annotated[Path | None, typer.Option(help="Rules in place of the configured.")] = None,
    who: Annotated[
        list[str] | None, typer.Option(help="Only this PBX endpoint or app fails; `crm+pbx-main`: these together.")
    ] = None,
    how: Annotated[list[str] | None, typer.Option(help="Only in this way, in the words of scenarios.")] = None,
    once: Annotated[
        bool, typer.Option("--once", help="Whoever fails does so with one message, not from there on.")
    ] = False,
    at_once: Annotated[
        int, typer.Option(min=0, max=32, help="So many are made at the same time; 0: 8, of several workers fewer.")
    ] = 0,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Of each Interceptor that it starts.")] = 1,
) -> None:
    """Let each app and each PBX endpoint fail in each way from each step of a call on, and look what becomes of it.

    Then two together: an app and a PBX, an app and its second address. Exits with 0 when every call ended as the
    failure table says and no report was lost or out of order, 1 when not.
    """
    from interceptor.cli import breaking
    from interceptor.cli.stage import StageError
    from interceptor.worker import new_event_loop

    if unknown := [each for each in how or () if each not in breaking.ALL_WAYS]:
        raise typer.BadParameter(f"`{unknown[0]}` is not one of {', '.join(breaking.ALL_WAYS)}", param_hint="--how")
    with told():
        try:
            results = until_ended(
                breaking.run(
                    config or shipped() / "config.example.yaml",
                    rules,
                    breaking.scripts(files or ()),
                    own=config is not None or rules is not None,
                    standby=config is None,
                    who=who or (),
                    how=how or (),
                    once=once,
                    lanes=at_once or max(1, breaking.LANES // workers),
                    workers=workers,
                    watch=breaking.tell if sys.stderr.isatty() else lambda _: None,
                ),
                new_event_loop,
            )
        except (StageError, OSError) as error:
            if isinstance(error, OSError) and error.filename:
                raise  # a file that cannot be read is told as such
            typer.echo(f"cannot start: {error}", err=True)
            raise typer.Exit(2) from None
    breaking.show(results)
    raise typer.Exit(0 if all(each.good for each in results) else 1)


async def _play(scenarios: "list[Scenario]", speed: float) -> bool:
    from interceptor.cli.screen import Screen
    from interceptor.simulator.clock import RealClock, VirtualClock
    from interceptor.simulator.scenario import World
    from interceptor.simulator.scenario import play as play_scenario

    screen = Screen(live=False)
    good = 0
    for scenario in scenarios:
        screen.begin(scenario)
        async with World(clock=RealClock(speed) if speed else VirtualClock()) as world:
            good += (await play_scenario(scenario, world, watch=screen.outcome)).good
    return _count(good, len(scenarios))


async def _play_through(
    scenarios: "list[Scenario]", config: Path, rules: Path | None, speed: float, *, capture: bool
) -> bool:
    from interceptor.cli.screen import Screen
    from interceptor.cli.stage import Stage, settle
    from interceptor.cli.story import Story
    from interceptor.simulator.clock import RealClock, VirtualClock
    from interceptor.simulator.scenario import play as play_scenario

    screen = Screen(live=False)
    clock = RealClock(speed) if speed else VirtualClock()
    good = 0
    async with Stage(config, rules, clock=clock, capture=capture) as stage:
        stage.observe = Story(stage.settings, screen.line).observe
        for scenario in scenarios:
            if missing := stage.missing(scenario):
                screen.left_out(scenario, missing)
                continue
            screen.begin(scenario)
            good += (await play_scenario(stage.furnished(scenario), stage.world, watch=screen.outcome)).good
            await settle()
    return _count(good, len(scenarios))


def _count(good: int, of: int) -> bool:
    typer.echo(f"\n{good} of {of} scenario{'' if of == 1 else 's'} went as written")
    return good == of


def _doors(scenario: Path, name: str) -> "Sequence[Door]":
    """The pages of that app in a scenario."""
    for form in read(scenario).apps:
        if form.name == name:
            return form.doors
    raise typer.BadParameter(f"`{scenario}` has no app `{name}`", param_hint="--name")


def _furnish(app: "SimulatedApp", doors: "Sequence[Door] | None") -> None:
    """Give an app its pages, or the built-in ones; callbacks lead to the app itself."""
    from interceptor.simulator import Menu, RoutingTable, Row, verb
    from interceptor.simulator.scenario import World

    if doors is not None:
        world = World(apps={app.name: app})
        app.doors = [world.placed(door) for door in doors]
        return
    app.add(RoutingTable((Row("1405", dialled="1400"), Row("1406", dialled="1400", state="Busy"))), path="/route")
    sales = Menu("Press 1 for orders, star to go back.", {"1": (verb("Speak", "Orders are closed."),)}, back_key="*")
    transfer = (verb("Speak", "We connect you."), verb("BlindTransfer", "1099"))
    app.add(Menu("Press 1 for sales, 2 for a colleague.", {"1": sales, "2": transfer}), name="IncomingCall")
    app.add(Menu("Press 2 for a colleague.", {"2": transfer}), name="CallConnected")


def _serve(part: "SimulatedPbx | SimulatedApp", begin: Callable[[], None]) -> None:
    """Run a part until Ctrl-C or SIGTERM, printing what happens to it."""

    async def run() -> None:
        loop = asyncio.get_running_loop()
        ended = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, ended.set)
        part.log.observe(_print_event)
        running: AbstractAsyncContextManager[object] = part
        async with running:
            begin()
            sys.stdout.flush()
            await ended.wait()

    try:
        asyncio.run(run())
    except OSError as error:
        typer.echo(f"cannot listen: {error}", err=True)
        raise typer.Exit(2) from None


_LONGEST_LOAD_SECONDS = 3600.0
_HIDDEN = frozenset({"password", "configxml"})


def _print_event(event: "Event") -> None:
    """One line for an event, without passwords and without what only a test looks at."""
    shown = []
    for field in event.__struct_fields__:
        value = getattr(event, field)
        match field:
            case "at" | "headers" | "http_version" | "target" | "source" | "method" | "body" | "verbs":
                continue
            case "parameters":
                value = " ".join(f"{key}={'***' if key.lower() in _HIDDEN else text}" for key, text in value)
            case _:
                pass
        if value not in ("", None, ()):
            shown.append(f"{field}: {value}")
    typer.echo(f"{type(event).__name__:<22} {', '.join(shown)}")


def _seconds(written: str, option: str) -> float:
    """A duration as configurations write it, an hour at most."""
    number = written.rstrip("hms")
    unit = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}.get(written.removeprefix(number))
    if unit is None or not number.replace(".", "", 1).isdigit() or float(number) * unit > _LONGEST_LOAD_SECONDS:
        raise typer.BadParameter("write a duration such as 60s, an hour at most", param_hint=option)
    return float(number) * unit


def _address(written: str) -> tuple[str, int]:
    host, colon, port = written.rpartition(":")
    if not colon or not port.isdigit() or int(port) > 65535:
        raise typer.BadParameter("write HOST:PORT", param_hint="--address")
    return host.strip("[]") or "0.0.0.0", int(port)  # noqa: S104 - `:9780` means every address, as elsewhere


def _pair(written: str, mark: str, option: str, form: str) -> tuple[str, str]:
    name, found, value = written.partition(mark)
    if not found or not name:
        raise typer.BadParameter(f"`{written}` is not {form}", param_hint=option)
    return name, value


def _phone(written: str) -> "Phone":
    from interceptor.simulator import Phone

    number, behaviour = _pair(written, "=", "--phone", "NUMBER=BEHAVIOUR")
    match behaviour:
        case "busy":
            return Phone(number=number, busy=True)
        case "never":
            return Phone(number=number, answers_after_seconds=None)
        case seconds if seconds.isascii() and seconds.isdigit():
            return Phone(number=number, answers_after_seconds=float(seconds))
        case _:
            raise typer.BadParameter(f"`{behaviour}` is no behaviour of a phone", param_hint="--phone")


def _password(variable: str) -> str:
    value = os.environ.get(variable, "")
    if not value:
        raise typer.BadParameter(f"the environment variable `{variable}` is not set", param_hint="--password-env")
    return value
