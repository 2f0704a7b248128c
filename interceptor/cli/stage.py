"""A whole installation on free ports of this machine: simulated PBXs and apps, and Interceptor between them.

It follows a configuration: one simulated PBX for each endpoint of each cluster, one simulated app for each app and one
for its second address, the passwords made up where the configuration takes them from the environment. Nothing of it
outlives the stage but what stands in the temporary folder, and that is removed.
"""

import asyncio
import logging
import socket
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from msgspec.structs import replace

from interceptor.app import Interceptor
from interceptor.audit.record import Record
from interceptor.loading import load_settings, rule_sources
from interceptor.rehearsal import Rehearsed
from interceptor.settings import Address, App, Cluster, ExplainSettings, Listener, Mode, Settings, Url
from interceptor.simulator import SimulatedApp, SimulatedPbx
from interceptor.simulator.clock import Clock
from interceptor.simulator.scenario import Between, Scenario, World
from interceptor.values import Kind

LOOPBACK = "127.0.0.1"
SHUTDOWN_SECONDS = 0.5


class MadeUp(Mapping[str, str]):
    """An environment in which every name has a value; the real one is not looked at."""

    def __getitem__(self, name: str) -> str:
        return f"made-up-{name.lower()}"

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def backup_of(app: str) -> str:
    """What the simulated app at the second address of an app is called."""
    return f"{app}-backup"


class StageError(Exception):
    """The configuration cannot be put on a stage; the text says why."""


def _look_away(record: Record) -> None:
    del record


class Stage:
    """``async with Stage(config, rules, clock=…) as stage``: everything runs, on free ports.

    With ``capture`` the callbacks of the apps come back through Interceptor, whatever the configuration says of them.
    ``quick`` PBXs and apps are for a load.
    ``observe`` is called with every record that Interceptor makes; it may be set at any time.
    """

    def __init__(
        self,
        config: Path,
        rules: Path | None,
        *,
        clock: Clock,
        explain: ExplainSettings | None = None,
        capture: bool = False,
        quick: bool = False,
    ) -> None:
        self._written = load_settings(config, MadeUp())
        self._sources = rule_sources(rules or self._written.rules)
        self._clock = clock
        self._capture, self._quick = capture, quick
        self._explain = explain or self._written.explain
        self.observe: Callable[[Record], None] = _look_away
        self._stack = AsyncExitStack()
        self.pbxs: dict[str, SimulatedPbx] = {}
        self.apps: dict[str, SimulatedApp] = {}
        self.addresses: dict[str, Address] = {}
        self.settings = self._written
        self.world = World(clock=clock)

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def _start(self) -> None:
        logging.getLogger("mitmproxy").setLevel(logging.ERROR)
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="interceptor-")))
        clusters = {name: await self._start_cluster(cluster) for name, cluster in self._written.clusters.items()}
        apps = {name: await self._start_app(app) for name, app in self._written.apps.items()}
        self.settings = replace(
            self._written,
            workers=1,
            listeners=self._listeners(),
            admin=Address(LOOPBACK, 0),
            clusters=clusters,
            apps=apps,
            state=folder,
            journal=replace(self._written.journal, directory=folder / "journal"),
            timeouts=replace(self._written.timeouts, shutdown=SHUTDOWN_SECONDS),
            explain=self._explain,
        )
        if self._capture:
            self.settings = _capturing(self.settings)
        self.addresses = await self._serve()
        between = Between(self._url_of(Kind.COMMAND), self._url_of(Kind.NOTIFICATION))
        for app in self.apps.values():
            app.pbx_url = between.commands
        self.world = World(clock=self._clock, pbxs=self.pbxs, apps=self.apps, between=between)

    async def _serve(self) -> dict[str, Address]:
        """Start Interceptor with ``settings``; give its listeners' addresses by name."""
        proxy = Interceptor(self.settings, self._sources, observe=self._observed)
        self._kept = proxy.worker.kept
        starting = asyncio.ensure_future(proxy.start())
        try:
            await asyncio.shield(starting)
        except asyncio.CancelledError:
            # What it does in threads would go on and make the folder anew that is removed here.
            await asyncio.wait((starting,))
            if not starting.cancelled() and starting.exception() is None:
                await proxy.stop()
            raise
        self._stack.push_async_callback(proxy.stop)
        return dict(proxy.addresses)

    def _observed(self, record: Record) -> None:
        self.observe(record)

    def _listeners(self) -> tuple[Listener, ...]:
        """The plain ones of the configuration, on free ports; there must be one of each kind."""
        plain = [each for each in self._written.listeners if each.mode is Mode.GATEWAY]
        for kind in (Kind.COMMAND, Kind.NOTIFICATION):
            if not any(each.kind is kind for each in plain):
                raise StageError(f"the configuration has no plain listener of kind `{kind.value}`")
        return tuple(replace(each, address=Address(LOOPBACK, 0)) for each in plain)

    def _url_of(self, kind: Kind) -> str:
        name = next(each.name for each in self.settings.listeners if each.kind is kind)
        return f"http://{self.addresses[name]}"

    async def _start_cluster(self, cluster: Cluster) -> Cluster:
        users = {}
        if cluster.credentials is not None:
            users = {cluster.credentials.username: cluster.credentials.password.reveal()}
        endpoints = []
        for number, endpoint in enumerate(cluster.endpoints):
            name = cluster.name if number == 0 else f"{cluster.name}-{number + 1}"
            pbx = SimulatedPbx(name=name, clock=self._clock, users=users, seed=len(self.pbxs) + 1, quick=self._quick)
            self.pbxs[name] = await self._stack.enter_async_context(pbx)
            endpoints.append(Url(LOOPBACK, pbx.port, endpoint.path))
        return replace(cluster, endpoints=tuple(endpoints))

    async def _start_app(self, written: App) -> App:
        secret = written.password.secret if written.password is not None else None
        app = SimulatedApp(
            name=written.name,
            clock=self._clock,
            username=written.username or "",
            password=secret.reveal() if secret is not None else "",
            quick=self._quick,
        )
        self.apps[written.name] = await self._stack.enter_async_context(app)
        urls = {name: Url(LOOPBACK, app.port, url.path) for name, url in written.urls.items()}
        url, backup = written.url and Url(LOOPBACK, app.port, written.url.path), None
        if written.backup is not None:
            second = SimulatedApp(name=backup_of(written.name), clock=self._clock, quick=self._quick)
            self.apps[second.name] = await self._stack.enter_async_context(second)
            backup = Url(LOOPBACK, second.port, written.backup.path)
        return replace(written, url=url, urls=urls, backup=backup)

    def kept(self) -> tuple[Rehearsed, ...]:
        """The messages that Interceptor has kept to explain them, oldest first."""
        return self._kept.messages()

    def furnished(self, scenario: Scenario) -> Scenario:
        """The scenario with the second address of an app furnished like the first; its own addresses lead to itself."""
        more = []
        for form in scenario.apps:
            second = self.apps.get(backup_of(form.name))
            if second is not None:
                there = World(clock=self._clock, apps={form.name: second}, between=self.world.between)
                more.append(replace(form, name=second.name, doors=tuple(map(there.placed, form.doors))))
        return replace(scenario, apps=(*scenario.apps, *more))

    def missing(self, scenario: Scenario) -> list[str]:
        """Who plays in the scenario and is not in the configuration."""
        wanted = [pbx.name for pbx in scenario.pbxs if pbx.name not in self.pbxs]
        return wanted + [app.name for app in scenario.apps if app.name not in self.apps]

    def default_cluster(self, app: str) -> str:
        """Where an app's commands go when no rule says otherwise."""
        known = self.settings.apps.get(app)
        return (known.cluster if known is not None else None) or self.settings.default_cluster


def _capturing(settings: Settings) -> Settings:
    """With callbacks captured: that needs a port which is known before anybody listens on it."""
    with socket.socket() as opened:
        opened.bind((LOOPBACK, 0))
        address = Address(LOOPBACK, opened.getsockname()[1])
    first = next(each.name for each in settings.listeners if each.kind is Kind.NOTIFICATION)
    return replace(
        settings,
        listeners=tuple(replace(each, address=address) if each.name == first else each for each in settings.listeners),
        callbacks=replace(settings.callbacks, public_url=Url(address.host, address.port, "/")),
        apps={name: replace(app, callbacks=("127.0.0.0/8",)) for name, app in settings.apps.items()},
    )


async def settle(turns: int = 50) -> None:
    """Let what is ready to run in this loop run, before something is looked at."""
    for _ in range(turns):
        await asyncio.sleep(0)
