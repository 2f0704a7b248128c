"""Who is there while a scenario is played: PBXs and apps on ports of their own, and what may stand between them.

Without anything between, apps ask the PBX and the PBX tells the apps directly. With a proxy between, both know only the
proxy's addresses; the scenario file is the same.
"""

from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from msgspec import Struct

from interceptor.simulator.business_app import SimulatedApp
from interceptor.simulator.clock import Clock, VirtualClock
from interceptor.simulator.core import Subscriptions
from interceptor.simulator.pages import Door, Fixed, Menu, Page, PinCheck
from interceptor.simulator.pbx import SimulatedPbx
from interceptor.simulator.scenario.form import AppForm, PbxForm, Scenario
from interceptor.values import Verb

FIELD_OF = {"RoutingInterception": "route", "IncomingCall": "incoming", "CallChanged": "events", "IncomingSMS": "sms"}


class Between(Struct, frozen=True):
    """The proxy that everybody talks to in place of each other: where it takes commands, and where notifications."""

    commands: str
    notifications: str


class World:
    """The PBXs and apps of one scenario, or of several played one after the other.

    Those given at the start are used for the names they have, and are the giver's to start and stop; all others are
    started when a scenario names them.
    """

    def __init__(
        self,
        *,
        clock: Clock | None = None,
        pbxs: dict[str, SimulatedPbx] | None = None,
        apps: dict[str, SimulatedApp] | None = None,
        between: Between | None = None,
    ) -> None:
        self.clock: Clock = clock or VirtualClock()
        self.pbxs = dict(pbxs or {})
        self.apps = dict(apps or {})
        self.between = between
        self._given = frozenset(self.apps) | frozenset(self.pbxs)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def set_up(self, scenario: Scenario) -> None:
        """Have everybody there whom the scenario needs, as it says; what an earlier one broke is well again."""
        for pbx_form in scenario.pbxs:
            await self._set_up_pbx(pbx_form)
        for app_form in scenario.apps:
            await self._set_up_app(app_form)
        for pbx_form in scenario.pbxs:
            subscriptions = Subscriptions()
            for name, (listener, path) in pbx_form.notifications.items():
                setattr(subscriptions, FIELD_OF[name], self.callback_base(listener) + (path or "/"))
            self.pbxs[pbx_form.name].core.subscriptions = subscriptions
        for app_form in scenario.apps:
            app = self.apps[app_form.name]
            app.doors = [self.placed(door) for door in app_form.doors]
            if self.between is not None:
                app.pbx_url = self.between.commands
            elif app_form.commands:
                app.pbx_url = self.pbxs[app_form.commands].url

    async def _set_up_pbx(self, wanted: PbxForm) -> None:
        if wanted.name not in self.pbxs:
            pbx = SimulatedPbx(
                name=wanted.name,
                clock=self.clock,
                generation=wanted.generation,
                users=wanted.users,
                extensions=wanted.extensions,
            )
            self.pbxs[wanted.name] = await self._stack.enter_async_context(pbx)
        pbx = self.pbxs[wanted.name]
        pbx.faults.clear()
        await pbx.accept_connections()
        pbx.core.voicemails = wanted.voicemails
        for extension in wanted.extensions:
            pbx.directory.keep(extension)
        for phone in wanted.phones:
            pbx.directory.set_phone(phone)

    async def _set_up_app(self, wanted: AppForm) -> None:
        if wanted.name not in self.apps:
            app = SimulatedApp(name=wanted.name, clock=self.clock)
            self.apps[wanted.name] = await self._stack.enter_async_context(app)
        app = self.apps[wanted.name]
        app.faults.clear()
        await app.accept_connections()
        if wanted.name not in self._given:
            app.username, app.password = wanted.username, wanted.password

    def callback_base(self, app: str) -> str:
        """What an app writes before the paths of its callbacks, and the PBX before those of its notifications."""
        return self.between.notifications if self.between is not None else self.apps[app].url

    def filled(self, text: str) -> str:
        """The text with ``{name}`` of an app replaced by where its callbacks go, ``{name.own}`` by its own address."""
        for name in self.apps:
            text = text.replace("{" + name + ".own}", self.apps[name].url)
            if "{" + name + "}" in text:
                text = text.replace("{" + name + "}", self.callback_base(name))
        return text

    def placed(self, door: Door) -> Door:
        """The page with the places of callbacks filled in."""
        return Door(self._page(door.page), door.name, door.path)

    def _page(self, page: Page) -> Page:
        match page:
            case Fixed(body=body):
                return Fixed(self.filled(body.decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape"))
            case Menu():
                return self._menu(page)
            case PinCheck():
                right = {pin: self._verbs(verbs) for pin, verbs in page.right.items()}
                address = self.filled(page.address)
                return PinCheck(address, right, page.asks, page.wrong, page.tries, page.timeout_seconds)
            case _:
                return page

    def _menu(self, menu: Menu) -> Menu:
        keys = {
            key: self._menu(below) if isinstance(below, Menu) else self._verbs(below)
            for key, below in menu.keys.items()
        }
        forward_to = self.filled(menu.forward_to)
        return Menu(menu.says, keys, menu.digits, menu.timeout_seconds, menu.repeat, menu.back_key, forward_to)

    def _verbs(self, verbs: tuple[Verb, ...]) -> tuple[Verb, ...]:
        return tuple(
            Verb(
                each.name,
                tuple((name, self.filled(value)) for name, value in each.attributes),
                self.filled(each.text),
                self._verbs(each.children),
            )
            for each in verbs
        )
