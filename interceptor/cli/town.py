"""The demo's town: the PBXs and apps of the example configuration, simulated, and Interceptor between them.

Everything listens on loopback, on ports that the system chooses. What it writes goes to a folder that is gone
afterwards.
"""

import secrets
import tempfile
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from msgspec.structs import replace

from interceptor.app import Interceptor
from interceptor.audit.record import Record
from interceptor.loading import load_settings, rule_sources
from interceptor.settings import Address, App, Masking, Settings, Url
from interceptor.simulator import SimulatedApp, SimulatedPbx, VirtualClock
from interceptor.simulator.scenario import Between, World

Observe = Callable[[Record], None]

LOCAL = "127.0.0.1"
SHUTDOWN_SECONDS = 1.0
# The shipped example names these; the demo has no use for values that anybody could remember.
PASSWORDS = ("PBX_PASSWORD", "CRM_PASSWORD", "MARKETING_PASSWORD")


class Town:
    """``async with Town(...) as town`` starts it all; at the end nothing is left running or lying about."""

    def __init__(self, config: Path, rules: Path | None, environment: Mapping[str, str], observe: Observe) -> None:
        self._environment = {name: secrets.token_urlsafe(12) for name in PASSWORDS} | dict(environment)
        self._written = load_settings(config, self._environment)
        self._sources = rule_sources(rules or self._written.rules)
        self._observe = observe
        self._stack = AsyncExitStack()
        self.world = World()
        self.interceptor: Interceptor | None = None

    @property
    def addresses(self) -> dict[str, Address]:
        """Interceptor's addresses by listener, and ``admin``."""
        return self.interceptor.addresses if self.interceptor is not None else {}

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
        clock = VirtualClock()
        pbxs: dict[str, SimulatedPbx] = {}
        for name, cluster in self._written.clusters.items():
            known = cluster.credentials
            users = {known.username: known.password.reveal()} if known is not None else {}
            pbx = SimulatedPbx(name=name, clock=clock, users=users)
            pbxs[name] = await self._stack.enter_async_context(pbx)
        apps: dict[str, SimulatedApp] = {}
        for name, app in self._written.apps.items():
            check = app.password
            password = check.secret.reveal() if check is not None and check.secret is not None else ""
            simulated = SimulatedApp(name=name, clock=clock, username=app.username or "", password=password)
            apps[name] = await self._stack.enter_async_context(simulated)
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="interceptor-demo-")))
        settings = _settled(self._written, pbxs, apps, folder)
        self.interceptor = Interceptor(settings, self._sources, observe=self._observe)
        await self.interceptor.start()
        self._stack.push_async_callback(self.interceptor.stop)
        addresses = self.interceptor.addresses
        between = Between(f"http://{addresses['commands']}", f"http://{addresses['notifications']}")
        self.world = World(clock=clock, pbxs=pbxs, apps=apps, between=between)
        await self._stack.enter_async_context(self.world)


def _settled(
    settings: Settings, pbxs: dict[str, SimulatedPbx], apps: dict[str, SimulatedApp], folder: Path
) -> Settings:
    """The configuration with the addresses of this town."""
    return replace(
        settings,
        workers=1,
        listeners=tuple(replace(each, address=Address(LOCAL, 0)) for each in settings.listeners),
        admin=Address(LOCAL, 0),
        clusters={
            name: replace(cluster, endpoints=(Url(LOCAL, pbxs[name].port, "/"),))
            for name, cluster in settings.clusters.items()
        },
        apps={name: _moved(app, apps[name].port) for name, app in settings.apps.items()},
        state=folder,
        journal=replace(
            settings.journal, directory=folder / "journal", masking=Masking()
        ),  # made-up numbers, shown whole
        timeouts=replace(settings.timeouts, shutdown=SHUTDOWN_SECONDS),
    )


def _moved(app: App, port: int) -> App:
    urls = {name: Url(LOCAL, port, url.path) for name, url in app.urls.items()}
    return replace(app, url=Url(LOCAL, port, app.url.path) if app.url is not None else None, urls=urls)
