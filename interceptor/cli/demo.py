"""``interceptor demo``: the example configuration and the example rules at work, with nothing but this program."""

import asyncio
import contextlib
import os
from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from interceptor.cli.problems import told
from interceptor.cli.shipped import shipped
from interceptor.cli.telling import Teller
from interceptor.cli.town import Town
from interceptor.simulator.scenario import Outcome, Scenario, play, read_scenario
from interceptor.worker import new_event_loop

PAUSE_SECONDS = 0.25  # between steps, so that a person can follow
ROUND_SECONDS = 5.0  # between two rounds
DELIVERY_SECONDS = 10.0  # for what was kept to be delivered

ConfigOption = Annotated[Path | None, typer.Option("--config", "-c", help="Another configuration than the example.")]
RulesOption = Annotated[Path | None, typer.Option("--rules", help="Another rules folder than the example's.")]
OnceOption = Annotated[bool, typer.Option("--once", help="Play once, and end with 0 if all went as written.")]


def demo(once: OnceOption = False, config: ConfigOption = None, rules: RulesOption = None) -> None:
    """Start a PBX, applications and Interceptor between them, and play scenarios.

    Every message is shown as it passes: its verdict, the rule that acted, what was changed. Ctrl-C ends it all.
    """
    console = Console(highlight=False)
    with told(), contextlib.suppress(KeyboardInterrupt), asyncio.Runner(loop_factory=new_event_loop) as runner:
        good = runner.run(_show(console, config or shipped() / "config.example.yaml", rules, once=once))
        raise typer.Exit(0 if good else 1)


def scenes() -> list[Scenario]:
    """The demo's scenarios, in the order in which they are played."""
    folder = files("interceptor.cli") / "scenes"
    found = sorted((each for each in folder.iterdir() if each.name.endswith(".yaml")), key=lambda each: each.name)
    return [read_scenario(each.read_bytes(), each.name) for each in found]


async def _show(console: Console, config: Path, rules: Path | None, *, once: bool) -> bool:
    teller = Teller(console)
    scenarios = scenes()
    pause = PAUSE_SECONDS if console.is_terminal and not once else 0.0
    good = True
    async with Town(config, rules, os.environ, teller.observe) as town:
        while True:
            for scenario in scenarios:
                good &= await _play(scenario, town, teller, pause)
            await _delivered(town)
            calls = sum(len(pbx.core.calls.history) for pbx in town.world.pbxs.values())
            teller.summary(calls, town.addresses)
            if once:
                return good
            console.print("\n  Ctrl-C ends the demo; the scenarios begin again in a moment.", style="dim")
            await asyncio.sleep(ROUND_SECONDS)


async def _play(scenario: Scenario, town: Town, teller: Teller, pause: float) -> bool:
    teller.scene(scenario.name, scenario.note)
    outcomes: asyncio.Queue[Outcome] = asyncio.Queue()

    def watch(outcome: Outcome) -> None:
        teller.step(outcome.step.told, good=outcome.good, detail=outcome.detail)
        outcomes.put_nowait(outcome)

    played = await play(scenario, town.world, watch=watch)
    await asyncio.sleep(pause * outcomes.qsize())
    return played.good


async def _delivered(town: Town) -> None:
    """Let what was kept for an app that is back arrive before the summary is made."""
    interceptor = town.interceptor
    assert interceptor is not None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DELIVERY_SECONDS):
            while any(interceptor.worker.deliveries.depths().values()):  # noqa: ASYNC110 - the outbox tells nobody
                await asyncio.sleep(0.05)
