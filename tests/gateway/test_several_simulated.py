"""Two PBXs of the simulator and an app, with real calls: each call is answered for by the PBX that has it."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from msgspec.structs import replace

from interceptor.app import Interceptor
from interceptor.loading import rule_sources
from interceptor.settings import App, CallbackSettings, Cluster, Each, Secret, Settings, Url
from interceptor.simulator import Phone, RealClock, SimulatedApp, SimulatedPbx, document, verb
from interceptor.simulator.calls import CallState
from interceptor.simulator.events import NotificationReceived
from tests.gateway.harness import ALLOW_ALL, free_port, settings_for

KEYS = (Secret("a key of at least sixteen characters"),)
PHONE = "+36201234567"
ALL_TO_THE_NEW = """
rules:
  - name: every-call-begins-at-the-new-pbx
    on: Call
    when: {sample: 100%}
    reroute: two
"""


class Site:
    """All that runs."""

    def __init__(self, one: SimulatedPbx, two: SimulatedPbx, app: SimulatedApp, proxy: Interceptor) -> None:
        self.pbxs = (one, two)
        self.app = app
        self.proxy = proxy

    async def call(self) -> str:
        """The app asks for a call, which is answered; its id."""
        before = {*self.ids(0), *self.ids(1)}
        asked = await self.app.command("Call", Dialed=PHONE, ApiExtension="5000", Url=f"{self.app.url}/connected")
        assert asked.code == 200
        seen = len(self.app.notifications_seen("CallConnected"))
        if not seen or {*self.ids(0), *self.ids(1)} == before:
            await self.app.wait_for_notification("CallConnected")
        (new,) = {*self.ids(0), *self.ids(1)} - before
        return new

    def ids(self, number: int) -> list[str]:
        """The calls that a PBX has."""
        return list(self.pbxs[number].core.calls.active)

    def seen(self, number: int, command: str) -> int:
        """How many commands of that name a PBX has seen."""
        return len(self.pbxs[number].commands_seen(command))


class Music:
    """What a caller hears while the test goes on."""

    def answer(self, _notification: NotificationReceived) -> bytes:
        return document(verb("Delay", "600"))


@asynccontextmanager
async def site(folder: Path, clusters: object = None, rules: str = "") -> AsyncIterator[Site]:
    (folder / "rules").mkdir()
    (folder / "rules" / "10.yaml").write_text(rules + ALLOW_ALL.removeprefix("rules:\n") if rules else ALLOW_ALL)
    clock = RealClock()  # a virtual one would be over with every call at once
    phones = [Phone(number=PHONE, answers_after_seconds=0.05)]
    async with (
        SimulatedPbx(clock=clock, phones=phones, name="one", seed=1) as one,
        SimulatedPbx(clock=clock, phones=phones, name="two", seed=2) as two,
        SimulatedApp(clock=clock) as app,
    ):
        public = free_port()
        base: Settings = settings_for(folder, [one.port, two.port], app=app.port)
        listeners = tuple(
            replace(each, address=replace(each.address, port=public)) if each.name == "notifications" else each
            for each in base.listeners
        )
        made = {"pbx": replace(base.clusters["pbx"], each=Each.PBX)}
        if clusters == "canary":
            urls = [Url("127.0.0.1", pbx.port, "/") for pbx in (one, two)]
            made = {"pbx": Cluster("pbx", (urls[0],)), "two": Cluster("two", (urls[1],), beside="pbx")}
        apps = {"crm": App("crm", base.apps["crm"].sources, url=base.apps["crm"].url, callbacks=("127.0.0.1",))}
        settings = replace(
            base,
            callbacks=CallbackSettings(Url("127.0.0.1", public, "/"), KEYS),
            apps=apps,
            listeners=listeners,
            clusters=made,
        )
        proxy = Interceptor(settings, rule_sources(folder / "rules"))
        await proxy.start()
        try:
            app.pbx_url = f"http://127.0.0.1:{proxy.addresses['commands'].port}"
            app.add(Music(), path="/connected")
            yield Site(one, two, app, proxy)
        finally:
            await proxy.stop()


def test_calls_live_on_their_pbx_while_one_is_drained_and_come_to_their_end(tmp_path: Path) -> None:
    async def whole() -> None:
        async with asyncio.timeout(30), site(tmp_path) as here:
            old = await here.call()
            assert await here.proxy.drain("pbx", "1", on=True)
            new = await here.call()
            assert (here.ids(0), here.ids(1)) == ([old], [new])
            listed = await here.app.command("ListActiveCalls")
            assert (listed.code, sorted(listed.texts("CallId"))) == (200, sorted([old, new]))
            asked = here.seen(0, "ListActiveCalls")
            for call in (old, new):
                assert (await here.app.command("Hangup", CallId=call)).code == 200
            assert here.seen(0, "ListActiveCalls") == asked  # the callbacks had told
            assert [here.seen(number, "Hangup") for number in (0, 1)] == [1, 1]
            assert (here.ids(0), here.ids(1)) == ([], [])
            pages = [await here.app.command("GetCallHistory", PageNumber=page, RowsPerPage="1") for page in "01"]
            assert [page.texts("NumberOfCalls") for page in pages] == [["2"], ["2"]]
            assert sorted(call for page in pages for call in page.texts("CallId")) == sorted([old, new])
            assert (await here.app.command("Hangup", CallId=old)).code == 601

    asyncio.run(whole())


def test_calls_that_nobody_told_of_are_found_and_a_pbx_that_is_down_is_told(tmp_path: Path) -> None:
    async def whole() -> None:
        async with asyncio.timeout(30), site(tmp_path) as here:
            calls = [pbx.dial("2301", PHONE) for pbx in here.pbxs]
            for pbx, call in zip(here.pbxs, calls, strict=True):
                await pbx.wait_for_state(call, CallState.IN_CALL)
            assert (await here.app.command("Hangup", CallId=calls[1].id)).code == 200
            assert (here.seen(0, "Hangup"), here.seen(1, "Hangup")) == (0, 1)
            await here.pbxs[1].refuse_connections()
            listed = await here.app.command("ListActiveCalls")
            assert (listed.code, listed.texts("CallId")) == (907, [calls[0].id])
            assert listed.header("X-Interceptor-Partial") == f"127.0.0.1:{here.pbxs[1].port}"
            extensions = await here.app.command("ListExtensions")
            assert len(extensions.texts("Id")) == len(set(extensions.texts("Id"))) > 0
            await here.pbxs[1].accept_connections()
            again = await here.app.command("ListExtensions")
            assert (again.code, again.texts("Id")) == (200, extensions.texts("Id"))  # both have the same
            assert (await here.app.command("Hangup", CallId=calls[0].id)).code == 200

    asyncio.run(whole())


def test_a_call_at_the_new_pbx_is_followed_by_commands_that_rules_would_send_to_the_old_one(tmp_path: Path) -> None:
    async def whole() -> None:
        async with asyncio.timeout(30), site(tmp_path, "canary", ALL_TO_THE_NEW) as here:
            new = await here.call()
            assert here.ids(1) == [new]
            elsewhere = here.pbxs[0].dial("2301", PHONE)
            await here.pbxs[0].wait_for_state(elsewhere, CallState.IN_CALL)
            listed = await here.app.command("ListActiveCalls")
            assert sorted(listed.texts("CallId")) == sorted([new, elsewhere.id])
            assert (await here.app.command("Hangup", CallId=new)).code == 200
            assert (await here.app.command("Hangup", CallId=elsewhere.id)).code == 200
            assert [here.seen(number, "Hangup") for number in (0, 1)] == [1, 1]
            assert re.fullmatch(r"\w+", new)

    asyncio.run(whole())
