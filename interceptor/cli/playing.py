"""A scenario as a case: played through Interceptor on free ports, and every message that was decided is kept."""

from pathlib import Path
from typing import TYPE_CHECKING

from interceptor.cases import Case, Played
from interceptor.cli.ending import until_ended

if TYPE_CHECKING:
    from interceptor.rehearsal import Rehearsed

_MOST_MESSAGES = 100_000


def play_scenario(case: Case, config: Path, rules: Path, path: Path) -> Played:
    """Play the scenario at ``path``. Raises :class:`ProblemsError` where it cannot be used, ``OSError``."""
    from interceptor.simulator.scenario import read_scenario
    from interceptor.worker import new_event_loop

    scenario = read_scenario(path.read_bytes(), str(path))
    del case

    async def play_it() -> Played:
        from interceptor.cli.stage import Stage, StageError, settle
        from interceptor.settings import ExplainSettings
        from interceptor.simulator.clock import VirtualClock
        from interceptor.simulator.scenario import play

        explain = ExplainSettings(denied=True, sample=1.0, keep=_MOST_MESSAGES)
        try:
            async with Stage(config, rules, clock=VirtualClock(), explain=explain) as stage:
                if missing := stage.missing(scenario):
                    return Played(f"the configuration has no {', '.join(missing)}", ())
                played = await play(scenario, stage.world)
                await settle()
                messages: tuple[Rehearsed, ...] = stage.kept()
        except StageError as error:
            return Played(str(error), ())
        failed = next((outcome for outcome in played.outcomes if not outcome.good), None)
        failure = "" if failed is None else f"{failed.step.told} — {failed.detail} ({failed.step.place})"
        return Played(failure, messages)

    return until_ended(play_it(), new_event_loop)
