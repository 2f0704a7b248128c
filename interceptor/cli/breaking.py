"""``interceptor simulate break``: scripted calls over and over, somebody failing in some way from each step on.

Everybody fails alone, then together with who might stand in for him: an app with a PBX, with all endpoints of a
cluster, and with its own second address. Each time it is looked at what became of the caller, of the reports and of
the apps' commands (``aftermath``), and then, with everybody well again, whether the script goes as it is written. Calls
pass in virtual time, so what it costs is the deadlines that failures wait for. Those are shorter here than anybody
would configure them: ``DEADLINES``.
"""

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from importlib.resources import files
from pathlib import Path

import aiohttp
import msgspec
import typer
from msgspec import Struct
from msgspec.structs import replace

from interceptor.audit.record import DecisionRecord, Record, SettlementRecord
from interceptor.cli.aftermath import Aftermath, Tape, look_at
from interceptor.cli.proxy_process import ProxyError, ProxyProcess
from interceptor.cli.stage import LOOPBACK, Stage, StageError, backup_of
from interceptor.gateway.master import ListenError
from interceptor.journal.following import Follower
from interceptor.settings import Address, App, Cluster, Deadlines, Timeouts, Url
from interceptor.simulator import SimulatedApp, SimulatedPbx, VirtualClock
from interceptor.simulator import faults as f
from interceptor.simulator.scenario import Scenario, World, play, read_scenario
from interceptor.simulator.scenario.following import follow
from interceptor.simulator.scenario.form import PbxForm, Saw
from interceptor.values import Kind

FOLDER = files("interceptor.simulator") / "scenarios" / "broken"
LIMITS = "40-limits.yaml"
"""The part of the shipped policy that is left out: it is about how often somebody calls."""

DEADLINES = Deadlines(0.8, 1.0)
RETRY_SECONDS = 0.1
RECOVERY_SECONDS = 20.0
HELD_UP_SECONDS = 0.2
"""When this process had to wait so long for the machine, a trial that went wrong meanwhile shows nothing: the deadlines
are short, and everybody in it was late."""
LANES = 8
FLUSH_SECONDS = 0.02
"""How soon workers write what they have recorded."""
RECORDS_SECONDS = 3.0
"""How long what they have decided may be without an end."""
_AGAIN = 3  # so often a trial is made again that was held up
_LOOK_SECONDS = 0.02
_QUIET_LOOKS = 3  # without a new record: one may be on its way to the disk
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
DEAD, WELL = "refuse", "well"
ALL_WAYS = (*WAYS, *(f"{way}+{WELL}" for way in WAYS), *(f"{DEAD}+{way}" for way in WAYS if way != DEAD))
"""Also those of an app whose second address is well, and of a dead one whose second address fails otherwise."""

Fails = tuple[tuple[str, str], ...]
"""Who fails, and each of them how."""


class Trial(Struct, frozen=True):
    """One time: who fails how, before which step; ``once``: each with one message only."""

    scenario: Scenario
    fails: Fails
    at: int
    once: bool = False

    @property
    def who(self) -> str:
        """Who fails, joined with ``+``."""
        return "+".join(who for who, _ in self.fails)

    @property
    def how(self) -> str:
        """In which way; in which ways, joined with ``+``, where they differ."""
        return "+".join(dict.fromkeys(how for _, how in self.fails))

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
    """A stage with short deadlines, and so many ``workers``; several are processes of their own.

    ``standby``: a cluster with one endpoint gets a second, which leads to the same; ``backup``: an app without a second
    address gets one.
    """

    def __init__(
        self, config: Path, rules: Path | None, *, own: bool, standby: bool, backup: bool = False, workers: int = 1
    ) -> None:
        super().__init__(config, rules, clock=VirtualClock(), capture=True)
        if not own:
            self._sources = tuple(each for each in self._sources if not each.file.endswith(LIMITS))
        written = self._written
        self._written = replace(
            written,
            clusters={name: _with_standby(each) if standby else each for name, each in written.clusters.items()},
            apps={name: _with_backup(each) if backup else each for name, each in written.apps.items()},
        )
        self._workers = workers
        self._follower: Follower | None = None
        self._records: list[Record] = []
        self.observe = self._records.append

    async def _serve(self) -> dict[str, Address]:
        settings = self.settings
        self.settings = replace(
            settings,
            workers=self._workers,
            timeouts=replace(_SHORT, shutdown=settings.timeouts.shutdown),
            # All callers of a script have one number, and many calls a minute would be one that goes round in circles.
            limits=replace(settings.limits, hops=0),
            clusters={
                name: replace(each, retry_after=RETRY_SECONDS, check_every=None)
                for name, each in settings.clusters.items()
            },
            apps={name: replace(each, retry_after=RETRY_SECONDS, retry=None) for name, each in settings.apps.items()},
        )
        if self._workers == 1:
            return await super()._serve()
        self.settings = replace(
            self.settings,
            journal=replace(self.settings.journal, flush_seconds=FLUSH_SECONDS),
            policy=replace(self.settings.policy, watch=False),
        )
        self._follower = Follower(self.settings.journal.directory)
        proxy = ProxyProcess(self.settings, self._sources)
        addresses = await proxy.start()
        self._stack.push_async_callback(proxy.stop)
        return addresses

    async def records(self) -> tuple[Record, ...]:
        """Those since they were asked for last. Workers tell by their journals, so theirs are waited for."""
        if self._follower is not None:
            await self._read(self._follower)
        found = tuple(self._records)
        self._records.clear()
        return found

    async def _read(self, follower: Follower) -> None:
        """Read until whatever was decided has ended, and nothing more comes."""
        loop = asyncio.get_running_loop()
        over, quiet = loop.time() + RECORDS_SECONDS, 0
        going_on: set[str] = set()
        while loop.time() < over and (going_on or quiet < _QUIET_LOOKS):
            new = follower.new()
            self._records += new
            for record in new:
                if isinstance(record, DecisionRecord) and record.kind is not Kind.VERB:
                    going_on.add(record.exchange)
                elif isinstance(record, SettlementRecord):
                    going_on.discard(record.exchange)
            quiet = 0 if new else quiet + 1
            await asyncio.sleep(FLUSH_SECONDS)

    def furnished(self, scenario: Scenario) -> Scenario:
        """The scenario with every further endpoint of its PBXs' clusters furnished like the first."""
        more: list[PbxForm] = [
            replace(form, name=name) for form in scenario.pbxs for name in self.endpoints(form.name)[1:]
        ]
        return super().furnished(replace(scenario, pbxs=(*scenario.pbxs, *more)))

    def endpoints(self, cluster: str) -> list[str]:
        """The PBXs of a cluster."""
        known = self._written.clusters.get(cluster)
        count = 1 if known is None else len(known.endpoints)
        return [cluster, *(f"{cluster}-{number}" for number in range(2, count + 1))]

    def backup(self, app: str) -> str:
        """What is at the second address of an app; ``""`` where it has none."""
        known = self._written.apps.get(app)
        return backup_of(app) if known is not None and known.backup is not None else ""

    def everybody(self, scenario: Scenario) -> list[str]:
        """Who can fail."""
        pbxs = [name for form in scenario.pbxs for name in self.endpoints(form.name)]
        apps = [form.name for form in scenario.apps]
        return [*pbxs, *apps, *filter(None, map(self.backup, apps))]

    def together(self, scenario: Scenario) -> list[tuple[str, ...]]:
        """Who fails: each alone, then an app with one endpoint, with all of a cluster, with its second address.

        That one alone stands in for nobody: it is not asked.
        """
        clusters = [self.endpoints(form.name) for form in scenario.pbxs]
        apps = [form.name for form in scenario.apps]
        sides = dict.fromkeys(side for cluster in clusters for side in ((cluster[0],), tuple(cluster)))
        return [
            *((each,) for each in (*itertools.chain(*clusters), *apps)),
            *((app, *side) for app in apps for side in sides),
            *((app, self.backup(app)) for app in apps if self.backup(app)),
        ]


def _with_standby(cluster: Cluster) -> Cluster:
    first = cluster.endpoints[0]
    return cluster if len(cluster.endpoints) > 1 else replace(cluster, endpoints=(first, Url(LOOPBACK, 1, first.path)))


def _with_backup(app: App) -> App:
    return app if app.backup is not None or app.url is None else replace(app, backup=Url(LOOPBACK, 1, app.url.path))


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
        await self._stage.records()
        self._tape.clear()

        async def happens() -> None:
            await self._break(trial)
            self._tape.broke = len(self._tape.events)

        scenario = self._stage.furnished(trial.scenario)
        followed = await follow(scenario, self._world, at=trial.at, happens=happens)
        records = await self._stage.records()
        self._tape.recovered = len(self._tape.events)
        problem = await self._recover(scenario)
        found = look_at(
            self._tape,
            records,
            who={who for who, how in trial.fails if how != WELL},
            pbx=any(who in self._stage.pbxs for who, _ in trial.fails),
            passes_on=any(who in self._stage.pbxs and how in _PASSED_ON for who, how in trial.fails),
            lasting=not trial.once,
            settings=self._stage.settings,
            codes=followed.codes,
            hung_up=followed.hung_up,
        )
        return Result(trial, replace(found, wrong=(*found.wrong, *problem)))

    async def _break(self, trial: Trial) -> None:
        for who, how in trial.fails:
            part, fault = self._everybody[who], WAYS.get(how)
            if fault is not None:
                part.faults.inject(fault, times=1 if trial.once else None)
            elif how == DEAD:
                await part.refuse_connections()

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
    lanes: int = LANES,
    workers: int = 1,
    watch: Callable[[Result], None] = lambda _: None,
) -> list[Result]:
    """Make every trial there is; ``who`` and ``how`` choose among them. ``watch`` is told each result as it comes.

    With ``standby``, an app fails on a stage without its second address, and together with it on another: who has one
    is stood in for. Raises :class:`StageError` where the stage lacks somebody, where a script does not go as written to
    begin with, and where there is no such trial.
    """
    stages = [
        partial(BreakStage, config, rules, own=own, standby=standby, backup=backup, workers=workers)
        for backup in ((False, True) if standby else (False,))
    ]
    plans = _planned([stage() for stage in stages], scenarios, who, how, once=once)
    if not any(plans):
        raise StageError("there is nothing to try: nobody of these can fail in this way")
    results: list[Result] = []
    for stage, trials in zip(stages, plans, strict=True):
        if trials:
            results += await _made(stage, scenarios, trials, lanes, watch)
    return results


def _planned(
    stages: Sequence[BreakStage], scenarios: Sequence[Scenario], who: Sequence[str], how: Sequence[str], *, once: bool
) -> list[list[Trial]]:
    """The trials for each stage: each is made on the first stage that has everybody."""
    chosen = [tuple(dict.fromkeys(each.split("+"))) for each in who]
    everybody = [[stage.everybody(scenario) for scenario in scenarios] for stage in stages]
    known = dict.fromkeys(itertools.chain.from_iterable(itertools.chain.from_iterable(everybody)))
    if unknown := [each for each in itertools.chain(*chosen) if each not in known]:
        raise StageError(f"nobody in the script is called {', '.join(unknown)}; there are {', '.join(known)}")
    plans: list[list[Trial]] = [[] for _ in stages]
    for number, scenario in enumerate(scenarios):
        planned: set[tuple[str, ...]] = set()
        for stage, there, trials in zip(stages, everybody, plans, strict=True):
            together = chosen or stage.together(scenario)
            fresh = [each for each in together if {*each} <= {*there[number]} and each not in planned]
            planned |= {*fresh}
            trials.extend(_trials(scenario, fresh, how, once=once))
    return plans


async def _made(
    stage: Callable[[], BreakStage],
    scenarios: Sequence[Scenario],
    trials: Sequence[Trial],
    lanes: int,
    watch: Callable[[Result], None],
) -> list[Result]:
    """Make these trials, on as many stages as there are lanes."""
    results: list[Result] = []
    async with AsyncExitStack() as stack:
        first, lane = await _lane(stack, stage)
        for scenario in scenarios:
            if missing := first.missing(scenario):
                raise StageError(f"the configuration has no {', '.join(missing)}")
            played = await play(first.furnished(scenario), first.world)
            if not played.good:
                last = played.outcomes[-1]
                raise StageError(f"the script fails when all is well: {last.step.place}: {last.detail}")
        several = [lane, *[(await _lane(stack, stage))[1] for _ in range(min(lanes, len(trials)) - 1)]]
        waiting = iter(trials)
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
                for each in several:
                    group.create_task(work(each))
        finally:
            watching.cancel()
    return results


async def _lane(stack: AsyncExitStack, make: Callable[[], BreakStage]) -> tuple[BreakStage, Lane]:
    """One more, which ends with the stack."""
    for attempt in range(_STARTS):
        try:
            stage = await stack.enter_async_context(make())
            break
        except (ListenError, ProxyError):  # somebody took the port between our choosing and listening
            if attempt == _STARTS - 1:
                raise
    session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=RECOVERY_SECONDS))
    return stage, Lane(stage, await stack.enter_async_context(session))


def _trials(scenario: Scenario, together: Iterable[tuple[str, ...]], how: Sequence[str], *, once: bool) -> list[Trial]:
    made = [
        Trial(scenario, fails, at, once)
        for who in together
        for fails in _fails(who)
        if not (once and any(way == DEAD for _, way in fails))
        for at, step in enumerate(scenario.steps)
        if not isinstance(step, Saw)
    ]
    return [trial for trial in made if not how or trial.how in how]


def _fails(who: tuple[str, ...]) -> list[Fails]:
    """All in one way. Of an app with a second address also that app alone; and it dead, when that is surely asked."""
    fails: list[Fails] = [tuple((each, way) for each in who) for way in WAYS]
    if len(who) > 1 and who[1] == backup_of(who[0]):
        fails += [((who[0], way), (who[1], WELL)) for way in WAYS]
        fails += [((who[0], DEAD), (who[1], way)) for way in WAYS if way != DEAD]
    return fails


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
    wide, deep = (max(least, *(len(row[at]) + 2 for row in rows)) for at, least in enumerate((14, 22)))
    echo(f"\n{'who':<{wide}}{'how':<{deep}}{'trials':>7}{'wrong':>7}  what became of the calls and the messages")
    for (who, how), found in rows.items():
        ends = Counter(end for each in found for end in each.aftermath.ends)
        outcomes: Counter[str] = Counter()
        for each in found:
            outcomes.update({name: n for name, n in each.aftermath.outcomes.items() if name != "answered"})
        codes = Counter(f"code {code}" for each in found for code in each.aftermath.codes if code != "200")
        told = ", ".join(f"{count} {name}" for name, count in (*ends.items(), *outcomes.items(), *codes.items()))
        echo(f"{who:<{wide}}{how:<{deep}}{len(found):>7}{sum(not each.good for each in found):>7}  {told}")
    for result in results:
        for problem in result.aftermath.wrong:
            echo(f"✗ {result.trial.told}: {problem}")
    bad = sum(not each.good for each in results)
    echo(f"\n{len(results) - bad} of {len(results)} times the call ended as the failure table says, nothing lost")
