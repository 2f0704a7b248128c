"""Calls of a whole site: a simulated PBX, two apps, Interceptor between them; restarts, kills, the PBX's own list."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from msgspec.structs import replace

from interceptor.audit.record import GapRecord
from interceptor.calls.ladder import Ladder
from interceptor.live_calls import CallsPage
from interceptor.rollout import By
from interceptor.simulator.calls import CallState, Party
from interceptor.simulator.pages import verb
from tests.calls.site import RULES, Site, answers, play


async def eventually[T](what: Callable[[], Awaitable[T | None]], seconds: float = 10.0) -> T:
    """What is there sooner or later."""
    async with asyncio.timeout(seconds):
        while (found := await what()) is None:  # noqa: ASYNC110 - there is no event for it
            await asyncio.sleep(0.01)
    return found


async def ladder(site: Site, name: str) -> Ladder:
    found = await site.proxy.call(name)
    assert found is not None, name
    return found


async def click_to_call(site: Site) -> Any:
    """An app has a customer called, who hears a menu and is transferred; the call at the PBX."""
    menu = verb("UserInput", "", verb("InitialCommands", "", verb("Speak", "Press")), ForwardToUrl=f"{site.crm.url}/d")
    site.crm.add(answers(verb("Speak", "Hello"), menu), name="CallConnected")
    premium, colleague = verb("BlindTransfer", Target="+3690123456"), verb("BlindTransfer", Target="2405")
    site.crm.add(answers(premium, colleague), name="DtmfEntered")
    asked = await site.crm.command(
        "Call", ApiExtension="1500", Dialed="+36201234567", CallerId="1500", Url=f"{site.crm.url}/connected?order=17"
    )
    assert asked.code == 200
    call = next(iter(site.pbx.core.calls.active.values()))
    await site.crm.wait_for_notification("CallConnected")
    site.pbx.press(call, "1", Party.CALLEE)
    return call


def test_a_call_is_told_from_its_command_to_its_end(tmp_path: Path) -> None:
    async def scene(site: Site) -> None:
        call = await click_to_call(site)
        await site.over(call)
        found = await ladder(site, call.id)
        told = found.call
        assert (told.id, told.state, told.cause) == (call.id, "ended", "completed")
        assert (told.caller, told.dialled, told.routed_to) == ("+3612222222", "+36201234567", "2405")
        assert set(told.apps) == {"crm", "switchboard"}
        assert told.revision == site.proxy.worker.policies.rules.revision
        assert site.proxy.worker.calls.revision_of(call.id) == told.revision
        assert told.inferred == 1  # RoutingInterception has no id
        asked = [rung.right.text for rung in found.rungs if rung.right is not None]
        for expected in (
            "Call: CallerId changed",
            "CallChanged Ringing",
            "Speak, UserInput",
            "DtmfEntered dtmfdigits=***",
        ):
            assert expected in asked
        notes = [note for rung in found.rungs for note in rung.notes]
        assert "CallerId: 1500 → +3612222222" in notes
        assert "by rules.yaml:2 the-crm-shows-the-main-line, rules.yaml:10 rest" in notes
        assert "BlindTransfer +3690123456 refused by rules.yaml:6 no-premium" in notes
        assert "BlindTransfer → 2405" in notes
        assert [(leg.side, leg.number) for leg in found.legs] == [
            ("caller", "+3612222222"),
            ("callee", "+36201234567"),
            ("target", "2405"),
        ]
        by_exchange = await ladder(site, found.rungs[0].exchange)
        assert by_exchange.call.id == call.id

    play(tmp_path, scene)


def test_a_routed_call_between_phones_is_inferred_and_says_so_also_with_masked_numbers(tmp_path: Path) -> None:
    async def scene(site: Site) -> None:
        site.switchboard.add(answers(verb("Route", Destination="2405")), name="RoutingInterception")
        call = site.pbx.dial("+36301112233", "2301")
        assert await site.over(call) is CallState.COMPLETED
        found = await ladder(site, call.id)
        assert found.call.inferred == 1
        assert (found.call.caller, found.call.routed_to) == ("*******2233", "2405")
        assert [rung.inferred for rung in found.rungs][:2] == [True, False]
        assert "+36301112233" not in json.dumps([rung.notes for rung in found.rungs], default=str) + str(found)

    play(tmp_path, scene, numbers=4)


def test_the_admin_pages_list_calls_and_tell_one(tmp_path: Path) -> None:
    async def scene(site: Site) -> None:
        call = site.pbx.dial("+36301112233", "2301")
        await site.pbx.wait_for_state(call, CallState.RINGING)
        base = f"http://{site.proxy.addresses['admin']}"
        async with aiohttp.ClientSession() as session:

            async def ringing() -> dict[str, Any] | None:
                async with session.get(f"{base}/calls?most=5") as answer:
                    page: dict[str, Any] = await answer.json()
                    return page if page["states"]["ringing"] else None

            page = await eventually(ringing)
            assert (page["open"], page["calls"][0]["id"]) == (1, call.id)
            async with session.get(f"{base}/calls/{call.id}") as answer:
                assert (await answer.json())["call"]["state"] == "ringing"
            async with session.get(f"{base}/calls/nobody") as answer:
                assert (answer.status, await answer.text()) == (404, "this call is not known\n")
            async with session.get(f"{base}/metrics") as answer:
                assert 'interceptor_calls_open{state="ringing"} 1.0' in await answer.text()

    play(tmp_path, scene)


def test_a_call_goes_on_across_a_restart(tmp_path: Path) -> None:
    async def scene(site: Site) -> None:
        call = site.pbx.dial("+36301112233", "2405")
        await site.knows(call, "ringing")
        before = site.proxy.worker.policies.rules.revision
        port = site.proxy.addresses["notifications"]
        await site.proxy.stop()
        await site.start()
        assert site.proxy.addresses["notifications"] == port
        worker = site.proxy.worker
        assert worker.calls.revision_of(call.id) == before
        found = worker.calls.calls.find(call.id)
        assert found is not None
        assert found.is_open
        counts = worker.calls.calls.counts
        assert (counts.began, counts.exact) == (0, 0)
        await site.over(call)
        told = await ladder(site, call.id)
        assert told.call.state == "ended"
        assert told.call.messages >= 4

    play(tmp_path, scene)


ASKING = """\
rules:
  - {name: not-ringing, on: [Hold], when: {call: {state: ringing}}, deny: {code: 601, message: "It still rings"}}
  - {name: rest, on: "*", allow: true}
"""


def test_a_call_in_progress_keeps_its_rules_over_a_reload_and_rules_know_it_after_a_restart(tmp_path: Path) -> None:
    async def scene(site: Site) -> None:
        async def hold(call: str) -> int:
            site.crm.pbx_url = f"http://{site.proxy.addresses['commands']}"
            return (await site.crm.command("Hold", CallId=call)).code

        async def hits() -> int:
            return next(rule["hits"] for rule in (await site.proxy.policy())["rules"] if rule["name"] == "not-ringing")

        rules = site.settings.rules
        rules.mkdir()
        (rules / "10.yaml").write_text(RULES)
        call = site.pbx.dial("+36301112233", "2301")
        await site.knows(call, "ringing")
        (rules / "10.yaml").write_text(ASKING)
        attempt = await site.proxy.reload(By.REQUEST)
        assert attempt.good, attempt.message
        assert await hold(call.id) == 303  # the PBX says so: it began with rules that do not ask
        later = site.pbx.dial("+36301112234", "2301")
        await site.knows(later, "ringing")
        assert [await hold(later.id), await hits()] == [601, 1]
        await site.proxy.stop()
        await site.start(ASKING)
        assert [await hold(call.id), await hold(later.id), await hits()] == [601, 601, 2]

    play(tmp_path, scene)


def test_calls_that_the_pbx_lists_and_those_that_it_lost_are_told(tmp_path: Path) -> None:
    async def scene(site: Site) -> None:
        lost = site.pbx.dial("+36301112233", "2301")
        await site.knows(lost, "ringing")
        for subscription in ("events", "route", "incoming"):
            setattr(site.pbx.subscriptions, subscription, "")
        site.pbx.hang_up(lost)
        strange = site.pbx.dial("+36309998877", "2301")
        await site.pbx.wait_for_state(strange, CallState.RINGING)
        live = site.proxy.worker.calls
        known = live.calls.find(lost.id)
        assert known is not None
        known.last -= 60  # as if nothing had been heard of it for a minute

        async def compared() -> CallsPage | None:
            page = await site.proxy.calls(10)
            return page if page.comparisons and page.comparisons[0].unknown else None

        page = await eventually(compared)
        comparison = page.comparisons[0]
        assert [each.call_id for each in comparison.unknown_calls] == [strange.id]
        told = await ladder(site, lost.id)
        assert (told.call.state, told.call.cause) == ("ended", "gone")
        numbers = await site.proxy.metrics()
        assert numbers.series["interceptor_calls_unknown"][0].values == [1.0]
        assert numbers.series["interceptor_calls_lost"][0].values == [1.0]
        await site.pbx.refuse_connections()

        async def failed() -> CallsPage | None:
            page = await site.proxy.calls(10)
            return page if page.comparisons[0].failed else None

        assert (await eventually(failed)).comparisons[0].failed == "upstream_unreachable"

    play(tmp_path, scene, poll=0.05)


def test_with_no_open_calls_allowed_none_is_followed(tmp_path: Path) -> None:
    async def scene(site: Site) -> None:
        call = site.pbx.dial("+36301112233", "2405")
        await site.pbx.wait_for_end(call)
        assert (await site.proxy.calls(10)).calls == []
        assert await site.proxy.call(call.id) is None

    play(tmp_path, scene, open=0)


def test_a_flood_of_records_is_read_in_part_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("interceptor.live_calls.QUEUED", 30)
    monkeypatch.setattr("interceptor.live_calls.CATCH_UP", 10)

    async def scene(site: Site) -> None:
        live = site.proxy.worker.calls
        call = site.pbx.dial("+36301112233", "2301")
        await site.knows(call, "ringing")
        before = await site.proxy.calls(1)
        assert (before.missed, before.behind) == (0, 0)
        for _ in range(40):
            live.observe(GapRecord(0, "2026-11-23T09:12:51.250000Z", "w0", "torn_line"))
        page = await site.proxy.calls(1)
        assert (page.missed, page.behind) == (10, 20)

        async def read() -> bool | None:
            return True if not (await site.proxy.calls(1)).behind else None

        assert await eventually(read)

    play(tmp_path, scene)


def test_without_a_journal_to_read_it_begins_without_calls(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(site: Site) -> None:
        live = site.proxy.worker.calls
        live._journal = replace(live._journal, directory=tmp_path / "none")
        assert await live.restore() == 0

    play(tmp_path, scene)
    assert "calls before this start are unknown" in caplog.text


def test_a_record_that_cannot_be_understood_ends_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async def scene(site: Site) -> None:
        live = site.proxy.worker.calls
        with contextlib.suppress(AttributeError):
            live._follower.follow = lambda record: 1 / 0  # type: ignore[method-assign,assignment]
        call = site.pbx.dial("+36301112233", "2405")
        await site.pbx.wait_for_end(call)
        page = await site.proxy.calls(10)
        assert (page.missed > 0, page.calls) == (True, [])

    play(tmp_path, scene)
    assert [record.message for record in caplog.records if "read into calls" in record.message] == [
        "a record could not be read into calls"
    ]
