"""``interceptor simulate break``: scripted calls over and over, somebody failing in some way from each step on.

Each time it is looked at what became of the caller, of the reports and of the apps' commands (``aftermath``), and then,
with everybody well again, whether the script goes as it is written. Calls pass in virtual time, so what it costs is the
deadlines that failures wait for. Those are shorter here than anybody would configure them: ``DEADLINES``.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from importlib.resources import files
from pathlib import Path

import aiohttp
import msgspec
import typer
from msgspec import Struct
from msgspec.structs import replace

from interceptor.audit.record import Record
from interceptor.cli.aftermath import Aftermath, Tape, look_at
from interceptor.cli.stage import LOOPBACK, Stage, StageError
from interceptor.gateway.master import ListenError
from interceptor.settings import Address, Cluster, Deadlines, Timeouts, Url
from interceptor.simulator import SimulatedApp, SimulatedPbx, VirtualClock
from interceptor.simulator import faults as f
from interceptor.simulator.scenario import Scenario, World, play, read_scenario
from interceptor.simulator.scenario.following import follow
from interceptor.simulator.scenario.form import PbxForm, Saw

FOLDER = files("interceptor.simulator") / "scenarios" / "broken"
LIMITS = "40-limits.yaml"
"""The part of the shipped policy that is left out: it is about how often somebody calls."""

DEADLINES = Deadlines(0.8, 1.0)
RETRY_SECONDS = 0.1
RECOVERY_SECONDS = 20.0
HELD_UP_SECONDS = 0.2
"""When this process had to wait so long for the machine, a trial that went wrong meanwhile shows nothing: the deadlines
are short, and everybody in it was late."""
_AGAIN = 3  # so often a trial is made again that was held up
_LOOK_SECONDS = 0.02
_STARTS = 5
_SHORT = Timeouts(
    connect=0.5, command=DEADLINES, call=DEADLINES, routing=DEADLINES, interactive=DEADLINES, report=DEADLINES
)
WAYS: dict[str, f.Fault | None] = {
    "refuse": None,
    "hang": f.Hang(),
    "slow_bytes": f.SlowBytes(1, 0.1),
    "close_without_answer": f.CloseWithoutAnswer(),
    "close_mid_answer": f.CloseMidAnswer(),
    "rubbish": f.Rubbish(),
    "not_http": f.NotHttp(),
    "http_status": f.HttpStatus(500),
}
"""How somebody fails, in the words of scenarios: dead, hung, slow, and corrupt in several ways."""

_PASSED_ON = frozenset({"rubbish", "http_status"})  # what a PBX says goes back as it came


class Trial(Struct, frozen=True):
    """One time: who fails how, before which step; ``once``: with one message only."""

    scenario: Scenario
    who: str
    how: str
    at: int
    once: bool = False

    @property
    def told(self) -> str:
        """It in words."""
        step = self.scenario.steps[self.at]
        times = "once" if self.once else "from there on"
        return f"{self.who}: {self.how} {times}, before “{step.told}” ({step.place})"


class Result(Struct, frozen=True):
    """A trial and what came of it."""

    trial: Trial
    aftermath: Aftermath

    @property
    def good(self) -> bool:
        """Whether everything went as the failure table says."""
        return not self.aftermath.wrong


class BreakStage(Stage):
    """A stage with short deadlines. ``standby``: a cluster with one endpoint gets a second, which leads to the same."""

    def __init__(self, config: Path, rules: Path | None, *, own: bool, standby: bool) -> None:
        super().__init__(config, rules, clock=VirtualClock(), capture=True)
        if not own:
            self._sources = tuple(each for each in self._sources if not each.file.endswith(LIMITS))
        clusters = self._written.clusters.values()
        self._written = replace(
            self._written, clusters={each.name: _with_standby(each) if standby else each for each in clusters}
        )
        self.records: list[Record] = []
        self.observe = self.records.append

    async def _serve(self) -> dict[str, Address]:
        settings = self.settings
        self.settings = replace(
            settings,
            timeouts=replace(_SHORT, shutdown=settings.timeouts.shutdown),
            # All callers of a script have one number, and many calls a minute would be one that goes round in circles.
            limits=replace(settings.limits, hops=0),
            clusters={
                name: replace(each, retry_after=RETRY_SECONDS, check_every=None)
                for name, each in settings.clusters.items()
            },
            apps={name: replace(each, retry_after=RETRY_SECONDS, retry=None) for name, each in settings.apps.items()},
        )
        return await super()._serve()

    def furnished(self, scenario: Scenario) -> Scenario:
        """The scenario with every further endpoint of its PBXs' clusters furnished like the first."""
        more: list[PbxForm] = [
            replace(form, name=name)
            for form in scenario.pbxs
            for name in self.pbxs
            if name.startswith(f"{form.name}-") and name.removeprefix(f"{form.name}-").isdigit()
        ]
        return replace(scenario, pbxs=(*scenario.pbxs, *more))


def _with_standby(cluster: Cluster) -> Cluster:
    first = cluster.endpoints[0]
    return cluster if len(cluster.endpoints) > 1 else replace(cluster, endpoints=(first, Url(LOOPBACK, 1, first.path)))


class _Machine:
    """Notes when the machine held this process up."""

    def __init__(self) -> None:
        self.held_up_at = 0.0  # by the loop's clock

    async def watch(self) -> None:
        clock = asyncio.get_running_loop().time
        while True:
            due = clock() + _LOOK_SECONDS
            await asyncio.sleep(_LOOK_SECONDS)
            if clock() - due > HELD_UP_SECONDS:
                self.held_up_at = clock()


class Lane:
    """One stage, on which one trial after the other is made."""

    def __init__(self, stage: BreakStage, session: aiohttp.ClientSession) -> None:
        self._stage, self._session = stage, session
        self._tape = Tape()
        for name, part in self._everybody.items():
            part.log.observe(self._tape.observer(name))

    @property
    def _everybody(self) -> dict[str, SimulatedPbx | SimulatedApp]:
        return {**self._stage.pbxs, **self._stage.apps}

    @property
    def _world(self) -> World:
        return self._stage.world

    async def make(self, trial: Trial) -> Result:
        """Break, look on, mend, and see whether all is well again."""
        self._tape.clear()
        self._stage.records.clear()

        async def happens() -> None:
            await self._break(trial)
            self._tape.broke = len(self._tape.events)

        scenario = self._stage.furnished(trial.scenario)
        followed = await follow(scenario, self._world, at=trial.at, happens=happens)
        records = tuple(self._stage.records)
        self._tape.recovered = len(self._tape.events)
        problem = await self._recover(scenario)
        found = look_at(
            self._tape,
            records,
            who=trial.who,
            passes_on=trial.who in self._stage.pbxs and trial.how in _PASSED_ON,
            lasting=not trial.once,
            settings=self._stage.settings,
            codes=followed.codes,
            hung_up=followed.hung_up,
        )
        return Result(trial, replace(found, wrong=(*found.wrong, *problem)))

    async def _break(self, trial: Trial) -> None:
        part = self._everybody[trial.who]
        fault = WAYS[trial.how]
        if fault is None:
            await part.refuse_connections()
        else:
            part.faults.inject(fault, times=1 if trial.once else None)

    async def _recover(self, scenario: Scenario) -> list[str]:
        """Have everybody well, the script go as it is written, and nothing wait any more; or say what does not."""
        for part in self._everybody.values():
            part.faults.clear()
            await part.accept_connections()
        await asyncio.sleep(RETRY_SECONDS * 1.5)  # until an app that is left alone may be asked again
        if not await self._until("clusters", lambda page: all(_up(each) for each in page)):
            return ["an endpoint did not come back"]
        played = await play(scenario, self._world)
        if not played.good:  # one notification tries an app that was left alone; others meanwhile find it so
            played = await play(scenario, self._world)
        wrong = [f"well again, yet “{each.step.told}”: {each.detail}" for each in played.outcomes if not each.good]
        if not await self._until("outbox", lambda page: not any(each["waiting"] for each in page)):
            wrong.append("kept reports still wait")
        return wrong

    async def _until(self, name: str, holds: Callable[[list[dict[str, object]]], bool]) -> bool:
        """Look at a page of the admin listener until it says so; false when it does not in time."""
        address = self._stage.addresses["admin"]
        try:
            async with asyncio.timeout(RECOVERY_SECONDS):
                while True:
                    async with self._session.get(f"http://{address}/{name}") as answer:
                        page = msgspec.json.decode(await answer.read())
                    if holds(page[name]):
                        return True
                    await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError:
            return False


def _up(cluster: dict[str, object]) -> bool:
    endpoints = cluster["endpoints"]
    assert isinstance(endpoints, list)
    return all(each["up"] for each in endpoints)


def scripts(paths: Sequence[Path]) -> list[Scenario]:
    """The scenarios of these files, or the shipped ones."""
    if paths:
        return [read_scenario(path.read_bytes(), str(path)) for path in paths]
    shipped = sorted((each for each in FOLDER.iterdir() if each.name.endswith(".yaml")), key=lambda each: each.name)
    return [read_scenario(each.read_bytes(), each.name) for each in shipped]


async def run(
    config: Path,
    rules: Path | None,
    scenarios: Sequence[Scenario],
    *,
    own: bool,
    standby: bool,
    who: Sequence[str] = (),
    how: Sequence[str] = (),
    once: bool = False,
    lanes: int = 4,
    watch: Callable[[Result], None] = lambda _: None,
) -> list[Result]:
    """Make every trial there is; ``who`` and ``how`` choose among them. ``watch`` is told each result as it comes.

    Raises :class:`StageError` where the stage lacks somebody, or where a script does not go as written to begin with.
    """
    results: list[Result] = []
    async with AsyncExitStack() as stack:
        first, lane = await _lane(stack, config, rules, own=own, standby=standby)
        waiting = iter(trials := _trials(first, scenarios, who, how, once=once))
        for scenario in scenarios:
            played = await play(first.furnished(scenario), first.world)
            if not played.good:
                last = played.outcomes[-1]
                raise StageError(f"the script fails when all is well: {last.step.place}: {last.detail}")
        more = range(min(lanes, len(trials)) - 1)
        several = [lane, *[(await _lane(stack, config, rules, own=own, standby=standby))[1] for _ in more]]

        machine, clock = _Machine(), asyncio.get_running_loop().time

        async def work(lane: Lane) -> None:
            for trial in waiting:
                for _ in range(_AGAIN + 1):
                    began = clock()
                    result = await lane.make(trial)
                    if result.good or machine.held_up_at < began:
                        break
                results.append(result)
                watch(result)

        watching = asyncio.create_task(machine.watch())
        try:
            async with asyncio.TaskGroup() as group:
                for lane in several:
                    group.create_task(work(lane))
        finally:
            watching.cancel()
    return results


async def _lane(
    stack: AsyncExitStack, config: Path, rules: Path | None, *, own: bool, standby: bool
) -> tuple[BreakStage, Lane]:
    """One more, which ends with the stack."""
    for attempt in range(_STARTS):
        try:
            stage = await stack.enter_async_context(BreakStage(config, rules, own=own, standby=standby))
            break
        except ListenError:  # somebody took the port between our choosing and listening
            if attempt == _STARTS - 1:
                raise
    session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=RECOVERY_SECONDS))
    return stage, Lane(stage, await stack.enter_async_context(session))


def _trials(
    stage: BreakStage, scenarios: Iterable[Scenario], who: Sequence[str], how: Sequence[str], *, once: bool
) -> list[Trial]:
    trials = []
    for scenario in scenarios:
        if missing := stage.missing(scenario):
            raise StageError(f"the configuration has no {', '.join(missing)}")
        furnished = stage.furnished(scenario)
        everybody = [pbx.name for pbx in furnished.pbxs] + [app.name for app in scenario.apps]
        if unknown := [each for each in who if each not in everybody]:
            raise StageError(f"nobody in the script is called {', '.join(unknown)}; there are {', '.join(everybody)}")
        trials += [
            Trial(scenario, name, way, at, once)
            for name in (who or everybody)
            for way in (how or WAYS)
            if not (once and WAYS[way] is None)
            for at, step in enumerate(scenario.steps)
            if not isinstance(step, Saw)
        ]
    return trials


# what is printed


def tell(result: Result) -> None:
    """Tell whoever waits at a terminal that one more is made."""
    typer.echo("." if result.good else "✗", err=True, nl=False)


def show(results: Sequence[Result]) -> None:
    """Tell people what came of it: a line for each who and how, then whatever is wrong."""
    echo = typer.echo
    rows: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        rows.setdefault((result.trial.who, result.trial.how), []).append(result)
    echo(f"\n{'who':<14}{'how':<22}{'trials':>7}{'wrong':>7}  what became of the calls and the messages")
    for (who, how), found in rows.items():
        ends = Counter(end for each in found for end in each.aftermath.ends)
        outcomes: Counter[str] = Counter()
        for each in found:
            outcomes.update({name: n for name, n in each.aftermath.outcomes.items() if name != "answered"})
        codes = Counter(f"code {code}" for each in found for code in each.aftermath.codes if code != "200")
        told = ", ".join(f"{count} {name}" for name, count in (*ends.items(), *outcomes.items(), *codes.items()))
        echo(f"{who:<14}{how:<22}{len(found):>7}{sum(not each.good for each in found):>7}  {told}")
    for result in results:
        for problem in result.aftermath.wrong:
            echo(f"✗ {result.trial.told}: {problem}")
    bad = sum(not each.good for each in results)
    echo(f"\n{len(results) - bad} of {len(results)} times the call ended as the failure table says, nothing lost")
