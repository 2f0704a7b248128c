"""A whole site in memory and on sockets: a simulated PBX, two apps, and Interceptor between them."""

import asyncio
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from msgspec.structs import replace

from interceptor.app import Interceptor
from interceptor.config import read_config
from interceptor.policy import Source
from interceptor.settings import CallSettings, Settings
from interceptor.simulator import SimulatedApp, SimulatedPbx
from interceptor.simulator.calls import Call, CallState
from interceptor.simulator.clock import VirtualClock
from interceptor.simulator.directory import API, Extension, Phone
from interceptor.simulator.pages import Fixed, document
from interceptor.values import Verb
from tests.gateway.harness import free_port

RULES = """\
rules:
  - name: the-crm-shows-the-main-line
    on: Call
    when: {app: crm}
    rewrite: {set: {CallerId: "+3612222222"}}
  - name: no-premium
    on: [Call, BlindTransfer]
    when: {number: {class: premium}}
    deny: {code: 306, message: "Premium numbers are not dialled"}
  - {name: rest, on: "*", allow: true}
"""
CONFIG = """\
country: HU
extensions: ["1xxx", "2xxx"]
time_zone: Europe/Budapest
policy: {{emergency: unchecked, watch: false}}
listeners:
  commands: {{kind: command, address: "127.0.0.1:0"}}
  notifications: {{kind: notification, address: "127.0.0.1:{notifications}"}}
admin: "127.0.0.1:0"
clusters: {{pbx: {{endpoints: ["http://127.0.0.1:{pbx}"]}}}}
apps:
  crm: {{sources: ["127.0.0.1"], url: "http://127.0.0.1:{crm}/pbx", callbacks: {{allow: ["127.0.0.0/8"]}}}}
  switchboard: {{username: switchboard, password: {{env: P}}, url: "http://127.0.0.1:{switchboard}/route"}}
notifications: [{{path: /route, app: switchboard}}, {{app: crm}}]
callbacks: {{public_url: "http://127.0.0.1:{notifications}"}}
journal: {{durability: strict, flush: 10ms{masking}}}
"""


def answers(*verbs: Verb) -> Fixed:
    """A page that always answers so."""
    return Fixed(document(*verbs))


class Site:
    """``async with Site(folder) as site``; ``site.proxy`` is Interceptor. The clock of PBX and apps takes no time."""

    def __init__(self, folder: Path, *, numbers: int | None = None, **calls: Any) -> None:
        self._folder = folder
        self._numbers = numbers
        self._calls = CallSettings(**calls)
        self._stack = AsyncExitStack()
        clock = VirtualClock()
        self.pbx = SimulatedPbx(
            clock=clock,
            extensions=[Extension(id="1500", type=API), Extension(id="2301"), Extension(id="2405")],
            phones=[
                Phone(number="+36201234567", answers_after_seconds=3.0),
                Phone(number="2301", answers_after_seconds=None),
                Phone(number="2405", answers_after_seconds=2.0, talks_seconds=60.0),
            ],
        )
        self.crm, self.switchboard = (
            SimulatedApp(name="crm", clock=clock),
            SimulatedApp(name="switchboard", clock=clock),
        )
        self.proxy: Interceptor
        self.settings: Settings

    async def __aenter__(self) -> Self:
        for part in (self.pbx, self.crm, self.switchboard):
            await self._stack.enter_async_context(part)
        port = free_port()
        config = CONFIG.format(
            notifications=port,
            pbx=self.pbx.port,
            crm=self.crm.port,
            switchboard=self.switchboard.port,
            masking="" if self._numbers is None else f", masking: {{numbers: {self._numbers}}}",
        )
        (self._folder / "config.yaml").write_text(config)  # for the command line
        settings = read_config(config.encode(), "config.yaml", base=self._folder, environment={"P": "p"})
        self.settings = replace(settings, calls=self._calls)
        await self.start()
        between = f"http://127.0.0.1:{port}"
        self.pbx.subscriptions.route = f"{between}/route"
        self.pbx.subscriptions.events = self.pbx.subscriptions.incoming = f"{between}/pbx"
        return self

    async def start(self, rules: str = RULES) -> None:
        """Start Interceptor, in the folder that it may have run in before."""
        self.proxy = Interceptor(self.settings, [Source("rules.yaml", rules.encode())])
        await self.proxy.start()
        self.crm.pbx_url = f"http://{self.proxy.addresses['commands']}"

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.proxy.stop()
        await self._stack.aclose()

    async def over(self, call: Call) -> CallState:
        """Wait for the end of a call, and until Interceptor knows of it."""
        state = await self.pbx.wait_for_end(call)
        await self.knows(call, "ended")
        return state

    async def knows(self, call: Call, state: str) -> None:
        """Wait until Interceptor knows of a call's state, and has answered what it was told."""
        async with asyncio.timeout(10):
            while (found := await self.proxy.call(call.id)) is None or found.call.state != state:  # noqa: ASYNC110
                await asyncio.sleep(0.01)  # nobody tells when a record was read into calls
            while self.proxy.worker._carrier.in_flight:  # noqa: ASYNC110
                await asyncio.sleep(0.01)


def play(folder: Path, scene: Callable[[Site], Any], **settings: Any) -> Any:
    """Play a scene on a site of its own."""

    async def played() -> Any:
        async with Site(folder, **settings) as site:
            return await scene(site)

    return asyncio.run(played())
