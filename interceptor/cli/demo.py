"""``interceptor demo``: two PBXs, a few apps and Interceptor between them, playing scenarios in this terminal."""

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from interceptor.cli.ending import until_ended
from interceptor.cli.problems import told
from interceptor.cli.scenarios import read_scenarios
from interceptor.cli.shipped import shipped

if TYPE_CHECKING:
    from interceptor.cli.screen import Screen
    from interceptor.cli.stage import Stage
    from interceptor.simulator.scenario import Scenario

SPEED = 12.0
"""How much faster than life calls go on a terminal, where somebody reads along; elsewhere they take no time."""
BETWEEN_ROUNDS_SECONDS = 4.0


def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Play every scenario once and end, as it does without a terminal.")
    ] = False,
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="A configuration of yours in place of the example.")
    ] = None,
    rules: Annotated[Path | None, typer.Option("--rules", help="Rules of yours in place of the configured.")] = None,
    scenarios: Annotated[
        Path | None,
        typer.Option("--scenarios", help="Scenarios of yours, a file or a folder, in place of the shipped."),
    ] = None,
) -> None:
    """Play scenarios with two simulated PBXs, their apps and Interceptor between them, and show what passes.

    Addresses in the configuration are replaced by free ports of this machine, passwords are made up.
    Ctrl-C and SIGTERM end everything.
    """
    from interceptor.cli.stage import StageError
    from interceptor.worker import new_event_loop

    with told():
        played = read_scenarios([scenarios or _shipped_scenarios()])
        try:
            where = config or shipped() / "config.example.yaml"
            good = until_ended(_run(where, rules, played, once=once), new_event_loop)
        except StageError as error:
            typer.echo(f"the demo cannot start: {error}", err=True)
            raise typer.Exit(2) from None
    own = config is not None or rules is not None
    raise typer.Exit(0 if good or own else 1)


def _shipped_scenarios() -> Path:
    import interceptor.simulator

    return Path(interceptor.simulator.__file__).parent / "scenarios" / "demo"


async def _run(config: Path, rules: Path | None, scenarios: "list[Scenario]", *, once: bool) -> bool:
    """Play until it is over or somebody ends it; whatever happens, nothing is left running."""
    from interceptor.cli.screen import Screen
    from interceptor.cli.stage import Stage
    from interceptor.cli.story import Story
    from interceptor.simulator.clock import Clock, RealClock, VirtualClock

    screen = Screen(live=sys.stdout.isatty())
    clock: Clock = RealClock(SPEED) if screen.live else VirtualClock()
    async with Stage(config, rules, clock=clock) as stage:
        story = Story(stage.settings, screen.line)
        stage.observe = story.observe
        with screen:
            screen.addresses(stage)
            good = await _play_all(stage, scenarios, screen)
            screen.sum(story.sum, stage)
            while screen.live and not once:  # without a terminal there is nobody to end it
                await asyncio.sleep(BETWEEN_ROUNDS_SECONDS)
                good = await _play_all(stage, scenarios, screen) and good
                screen.sum(story.sum, stage)
    return good


async def _play_all(stage: "Stage", scenarios: "list[Scenario]", screen: "Screen") -> bool:
    from interceptor.cli.stage import settle
    from interceptor.simulator.scenario import play

    good = True
    for scenario in scenarios:
        if missing := stage.missing(scenario):
            screen.left_out(scenario, missing)
            continue
        screen.begin(scenario)
        played = await play(scenario, stage.world, watch=screen.outcome)
        await settle()
        good = good and played.good
    return good
