"""``interceptor simulate load``: what Interceptor does with many calls at once, and what it costs.

Three ways to stand: an Interceptor of its own in a process beside (the usual one), a running one whose configuration
says where everybody is, or none at all for comparison.
"""

import asyncio
import gc
import os
import sys
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Self

import aiohttp
import msgspec
import typer
from msgspec import Struct
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from interceptor.cli.load_goals import Goal, judged
from interceptor.cli.proxy_process import ProxyProcess, Usage
from interceptor.cli.stage import LOOPBACK, Stage, StageError
from interceptor.loading import load_settings
from interceptor.metrics.families import CALLS_SAVED, DECISIONS, JOURNAL_WRITE, OWN, REFUSALS
from interceptor.settings import Address, Durability, Mode, Settings
from interceptor.simulator import RealClock, SimulatedApp, SimulatedPbx
from interceptor.simulator.load import Player, Results, Spread
from interceptor.simulator.scenario import Between
from interceptor.values import Kind, Verdict

TELL_SECONDS = 5.0
TENTHS = 10
_GC_THRESHOLD = 50_000
OWN_KINDS = tuple(f"Interceptor's own time, {kind.value}" for kind in (Kind.COMMAND, Kind.NOTIFICATION))
LIMITS = "40-limits.yaml"
"""The part of the shipped policy that is left out of a load: ten calls a second are enough for it."""


class Plan(Struct, frozen=True, kw_only=True):
    """What was asked for. ``compare`` is how long the same is played without Interceptor first, in seconds."""

    calls_per_second: float
    seconds: float
    compare: float = 0.0
    workers: int = 1
    seed: int = 1


class Report(Struct, frozen=True, kw_only=True):
    """A whole load. ``own`` is what took Interceptor its time, from its metrics; seconds, bytes.

    ``reasons`` are those of whatever did not go its way, as the metric names them. ``memory`` is what Interceptor used
    at the end of each tenth of the time. ``processor`` and ``simulator`` are what Interceptor and we used of one
    processor.
    """

    plan: Plan
    results: Results
    direct: Results | None
    own: dict[str, Spread]
    refused: dict[str, int]
    reasons: dict[str, int]
    fallbacks: int
    memory_before: int
    memory: list[int]
    memory_after: int
    processor: float
    simulator: float
    load_average: float

    @property
    def good(self) -> bool:
        """Whether nothing was lost, came twice or failed."""
        results = self.results
        wrong = results.lost or results.doubled or results.failures or results.still_open or results.not_begun
        return not (wrong or self.refused or self.fallbacks)

    @property
    def goals(self) -> list[Goal]:
        """What a load is to reach, and whether this one did."""
        results = self.results
        return judged(
            lost=results.lost + results.not_begun + results.still_open,
            added={kind: self.own[kind] for kind in OWN_KINDS if kind in self.own},
            memory=self.memory,
            seconds=results.seconds,
        )


class LoadStage(Stage):
    """A stage with Interceptor in a process beside it, callbacks captured, the journal strict."""

    def __init__(self, config: Path, rules: Path | None, *, workers: int, own: bool) -> None:
        super().__init__(config, rules, clock=RealClock(), capture=True, quick=True)
        self._workers = workers
        if not own:
            self._sources = tuple(each for each in self._sources if not each.file.endswith(LIMITS))
        self.proxy: ProxyProcess | None = None

    async def _serve(self) -> dict[str, Address]:
        settings = self.settings = replace(
            self.settings,
            workers=self._workers,
            journal=replace(self.settings.journal, durability=Durability.STRICT),
            policy=replace(self.settings.policy, watch=False),
        )
        self.proxy = ProxyProcess(settings, self._sources)
        addresses = await self.proxy.start()
        self._stack.push_async_callback(self.proxy.stop)
        return addresses


async def run(config: Path, rules: Path | None, plan: Plan, *, own: bool, running: bool) -> Report:
    """Play the load. Raises :class:`StageError`, ``OSError``; a cancellation leaves nothing behind."""
    async with AsyncExitStack() as stack:
        if running:
            place: Place = await stack.enter_async_context(RunningPlace(config))
        else:
            stage = await stack.enter_async_context(LoadStage(config, rules, workers=plan.workers, own=own))
            place = Place(stage.settings, stage.pbxs, stage.apps, stage.world.between, stage.addresses["admin"])
            place.proxy = stage.proxy
        with _rarely_collected():
            return await _measured(place, plan)


@contextmanager
def _rarely_collected() -> Iterator[None]:
    """Let the collector come seldom, and pass over what is there already: while it looks, every caller waits."""
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_GC_THRESHOLD, 20, 100)
    try:
        yield
    finally:
        gc.unfreeze()
        gc.set_threshold(*thresholds)


class Place:
    """Who takes part in a load, wherever they came from."""

    def __init__(
        self,
        settings: Settings,
        pbxs: dict[str, SimulatedPbx],
        apps: dict[str, SimulatedApp],
        between: Between | None,
        admin: Address,
    ) -> None:
        self.settings, self.pbxs, self.apps = settings, pbxs, apps
        self.between, self.admin = between, admin
        self.proxy: ProxyProcess | None = None

    @property
    def caller(self) -> str:
        """The app that sends the commands: the first that takes notifications and can say who it is."""
        for name, app in self.settings.apps.items():
            if app.url is not None and (app.username or app.sources):
                return name
        raise StageError("the configuration has no app with a `url` that could send commands")

    @property
    def pbx(self) -> str:
        """The PBX whose phones are called."""
        return self.settings.apps[self.caller].cluster or self.settings.default_cluster

    def subscribe(self, *, direct: bool) -> None:
        """Let everybody talk through Interceptor, or to each other."""
        between = self.between
        assert between is not None
        app = self.apps[self.caller]
        known = self.settings.apps[self.caller]
        secret = known.password.secret if known.password is not None else None
        app.username, app.password = known.username or "", secret.reveal() if secret is not None else ""
        app.pbx_url = between.commands
        base = between.notifications
        if direct:
            base = app.url
            app.pbx_url = self.pbxs[self.pbx].url
            app.username, app.password = next(iter(self.pbxs[self.pbx].users.items()), ("", ""))
        for pbx in self.pbxs.values():
            wanted = pbx.subscriptions
            wanted.route, wanted.incoming = f"{base}/route", f"{base}/pbx"
            wanted.events, wanted.sms = f"{base}/events", f"{base}/sms"


class RunningPlace(Place):
    """PBXs and apps at the addresses that a configuration gives them, for an Interceptor that runs with it already."""

    def __init__(self, config: Path) -> None:
        settings = load_settings(config, os.environ)
        self._stack = AsyncExitStack()
        super().__init__(
            settings,
            {},
            {},
            Between(_listener(settings, Kind.COMMAND), _listener(settings, Kind.NOTIFICATION)),
            settings.admin,
        )

    async def __aenter__(self) -> Self:
        clock = RealClock()
        listening = next(each for each in self.settings.listeners if each.kind is Kind.COMMAND)
        _, writer = await asyncio.open_connection(_loopback(listening.address.host), listening.address.port)
        writer.close()  # somebody is there; if not, it has been raised
        try:
            for cluster in self.settings.clusters.values():
                users = {}
                if cluster.credentials is not None:
                    users = {cluster.credentials.username: cluster.credentials.password.reveal()}
                for number, endpoint in enumerate(cluster.endpoints):
                    name = cluster.name if number == 0 else f"{cluster.name}-{number + 1}"
                    pbx = SimulatedPbx(
                        name=name, host=_loopback(endpoint.host), port=endpoint.port, clock=clock, users=users,
                        seed=len(self.pbxs) + 1, quick=True,
                    )  # fmt: skip
                    self.pbxs[name] = await self._stack.enter_async_context(pbx)
            for app in self.settings.apps.values():
                if app.url is not None:
                    host = _loopback(app.url.host)
                    served = SimulatedApp(name=app.name, host=host, port=app.url.port, clock=clock, quick=True)
                    self.apps[app.name] = await self._stack.enter_async_context(served)
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()


async def _measured(place: Place, plan: Plan) -> Report:
    direct = None
    if plan.compare:
        typer.echo(f"without Interceptor, for {plan.compare:g} s", err=True)
        place.subscribe(direct=True)
        direct = await _played(place, plan, plan.compare)
    typer.echo(f"with Interceptor, for {plan.seconds:g} s", err=True)
    place.subscribe(direct=False)
    await _played(place, replace(plan, calls_per_second=min(plan.calls_per_second, 10.0)), 1.0)  # warm
    before, used_before = await _counted(place.admin), _usage(place)
    own_before = time.process_time()
    memory: list[int] = []
    results = await _played(place, plan, plan.seconds, memory)
    own = time.process_time() - own_before
    after, used_after = await _counted(place.admin), _usage(place)
    refused = {why: int(count - before.refused.get(why, 0.0)) for why, count in after.refused.items()}
    reasons = {why: int(count - before.reasons.get(why, 0.0)) for why, count in after.reasons.items()}
    return Report(
        plan=plan,
        results=results,
        direct=direct,
        own={kind: _spread(before.times.get(kind, {}), counts) for kind, counts in sorted(after.times.items())},
        refused={why: count for why, count in refused.items() if count},
        reasons={why: count for why, count in reasons.items() if count},
        fallbacks=int(after.fallbacks - before.fallbacks),
        memory_before=used_before.memory,
        memory=memory,
        memory_after=used_after.memory,
        processor=(used_after.processor - used_before.processor) / max(results.seconds, 0.001),
        simulator=own / max(results.seconds, 0.001),
        load_average=os.getloadavg()[0],
    )


async def _played(place: Place, plan: Plan, seconds: float, memory: list[int] | None = None) -> Results:
    """Play; ``memory`` is filled with what Interceptor uses at the end of each tenth."""
    player = Player(place.pbxs, place.apps, caller=place.caller, pbx=place.pbx, seed=plan.seed)
    loop = asyncio.get_running_loop()
    beside = [loop.create_task(_tell(player))] if sys.stderr.isatty() else []
    if memory is not None and place.proxy is not None:
        beside.append(loop.create_task(_weigh(place, seconds / TENTHS, memory)))
    try:
        await player.play(calls_per_second=plan.calls_per_second, seconds=seconds)
        return player.results()
    finally:
        for task in beside:
            task.cancel()
        await player.stop()


async def _weigh(place: Place, every: float, memory: list[int]) -> None:
    for _ in range(TENTHS):
        await asyncio.sleep(every)
        memory.append(_usage(place).memory)


async def _tell(player: Player) -> None:
    began = time.monotonic()
    while True:
        await asyncio.sleep(TELL_SECONDS)
        passed = time.monotonic() - began
        typer.echo(
            f"  {passed:4.0f} s: {player.begun} begun, {player.open_calls} calls on, {player.failed} failed", err=True
        )


def _usage(place: Place) -> Usage:
    return place.proxy.usage() if place.proxy is not None else Usage(0, 0.0)


class Counted(Struct):
    """What Interceptor has counted: how often something took at most so long; refusals by rule and by reason."""

    times: dict[str, dict[float, float]] = {}
    refused: dict[str, float] = {}
    reasons: dict[str, float] = {}
    fallbacks: float = 0.0


async def _counted(admin: Address) -> Counted:
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session,
            session.get(f"http://{admin}/metrics") as answer,
        ):
            text = await answer.text()
    except (aiohttp.ClientError, OSError, TimeoutError):
        return Counted()
    counted = Counted()
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sample.labels
            if sample.name == f"{OWN.name}_bucket":
                what = f"Interceptor's own time, {labels['kind']}"  # as in OWN_KINDS
                counted.times.setdefault(what, {})[float(labels["le"])] = sample.value
            elif sample.name == f"{JOURNAL_WRITE.name}_bucket":
                counted.times.setdefault("One write to the journal", {})[float(labels["le"])] = sample.value
            elif sample.name == DECISIONS.shown and labels["verdict"] == Verdict.DENY.value:
                told = f"{labels['kind']} refused by {labels['rule']}"
                counted.refused[told] = counted.refused.get(told, 0.0) + sample.value
            elif sample.name == CALLS_SAVED.shown:
                counted.fallbacks += sample.value
            elif sample.name == REFUSALS.shown:
                counted.reasons[labels["reason"]] = counted.reasons.get(labels["reason"], 0.0) + sample.value
    return counted


def _spread(before: dict[float, float], after: dict[float, float]) -> Spread:
    """From cumulated counts; between two bounds it is taken to be even."""
    bounds = sorted(after)
    counts = [after[bound] - before.get(bound, 0.0) for bound in bounds]
    total = counts[-1] if counts else 0.0

    def share(of: float) -> float:
        below, start = 0.0, 0.0
        for bound, count in zip(bounds, counts, strict=True):
            if count >= of * total:
                if bound == float("inf") or count == below:
                    return start
                return start + (bound - start) * (of * total - below) / (count - below)
            below, start = count, bound
        return start

    if not total:
        return Spread()
    return Spread(int(total), share(0.5), share(0.95), share(0.99), share(1.0))


def _listener(settings: Settings, kind: Kind) -> str:
    for each in settings.listeners:
        if each.kind is kind and each.mode is Mode.GATEWAY:
            return f"http://{Address(_loopback(each.address.host), each.address.port)}"
    raise StageError(f"the configuration has no plain listener of kind `{kind.value}`")


def _loopback(host: str) -> str:
    """The host, when it is this machine; nothing else is ever loaded."""
    if host in {"0.0.0.0", "localhost"}:  # noqa: S104 - what a listener says, and where it can be reached from here
        return LOOPBACK
    try:
        if ip_address(host).is_loopback:
            return host
    except ValueError:
        pass
    raise StageError(f"`{host}` is not this machine, and a load is played on this machine only")


# what is printed


def show(report: Report) -> None:
    """Tell a report to people."""
    results, echo = report.results, typer.echo
    echo(
        f"\n{results.calls} calls in {results.seconds:.1f} s,"
        f" {results.calls / max(results.seconds, 0.001):.1f} a second"
        f" ({', '.join(f'{count} {kind}' for kind, count in results.begun.items())})"
    )
    echo(f"ended       {', '.join(f'{count} {state}' for state, count in results.ended.items()) or 'none'}")
    echo(
        f"messages    {results.commands_sent} commands sent, {results.commands_seen} seen by the PBX;"
        f" {results.notifications_sent} notifications sent, {results.notifications_seen} seen by the apps;"
        f" {results.lost} lost, {results.doubled} doubled"
    )
    for example in results.examples:
        echo(f"            {example}")
    failures = ", ".join(f"{count} × {kind}" for kind, count in results.failures.items())
    echo(f"failures    {failures or 'none'}")
    if report.refused or report.fallbacks:
        refused = ", ".join(f"{count} × {why}" for why, count in report.refused.items())
        reasons = ", ".join(f"{count} × {why}" for why, count in report.reasons.items())
        echo(f"refused     {refused or 'none'}; {report.fallbacks} fallbacks{f' ({reasons})' if reasons else ''}")
    if results.not_begun or results.still_open:
        echo(
            f"            {results.not_begun} not begun because too many went on,"
            f" {results.still_open} still on at the end"
        )
    echo(f"\n{'milliseconds':<34}{'count':>8}{'p50':>9}{'p95':>9}{'p99':>9}{'most':>9}")
    _rows(results, report.direct)
    for what, spread in report.own.items():
        _row(what, spread)
    _row("the simulator's own lateness", results.behind)
    if report.direct is not None:
        echo("\nadded, as those see it who wait (with Interceptor less without it)")
        _difference("   commands", results.command_latency, report.direct.command_latency)
        _difference("   notifications", results.notification_latency, report.direct.notification_latency)
    echo(
        f"\nInterceptor: memory {_mib(report.memory_before)} before,"
        f" {', '.join(f'{each / (1 << 20):.0f}' for each in report.memory)} at each tenth of the time,"
        f" {_mib(report.memory_after)} after;"
        f" {report.processor:.0%} of a processor"
        if report.memory_after
        else "\nInterceptor: another process; its memory is not known here"
    )
    echo(f"the simulator: {report.simulator:.0%} of a processor")
    echo(f"machine: {os.cpu_count()} processors, load average {report.load_average:.1f}")
    for goal in report.goals:
        echo(f"goal: {goal.what}: {goal.figure}: {goal.verdict}")


def _rows(results: Results, direct: Results | None) -> None:
    _pair("a command until its answer", results.command_latency, direct.command_latency if direct else None)
    _pair("set-up: until it rings or is taken", results.set_up, direct.set_up if direct else None)
    for name, spread in results.silence.items():
        _pair(
            f"silence: {name}" if name != "reports" else "reports", spread, direct.silence.get(name) if direct else None
        )
    _pair("on the way from PBX to app", results.on_the_way, direct.on_the_way if direct else None)


def _pair(name: str, spread: Spread, direct: Spread | None) -> None:
    _row(name, spread)
    if direct is not None:
        _row("   without Interceptor", direct)


def _row(name: str, spread: Spread) -> None:
    times = "".join(f"{1000 * each:>9.2f}" for each in (spread.p50, spread.p95, spread.p99, spread.most))
    typer.echo(f"{name:<34}{spread.count:>8}{times}")


def _difference(name: str, between: Spread, direct: Spread) -> None:
    pairs = ((between.p50, direct.p50), (between.p95, direct.p95), (between.p99, direct.p99))
    times = "".join(f"{1000 * (through - without):>+9.2f}" for through, without in pairs)
    typer.echo(f"{name:<34}{between.count:>8}{times}")


def _mib(count: int) -> str:
    return f"{count / (1 << 20):.1f} MiB"


def as_json(report: Report) -> str:
    """A report for a script."""
    shown: dict[str, Any] = msgspec.to_builtins(report)
    shown["goals"] = msgspec.to_builtins(report.goals)
    return msgspec.json.format(msgspec.json.encode(shown), indent=2).decode() + "\n"
