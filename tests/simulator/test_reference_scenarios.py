"""What the shipped scenarios show of the reference: every verb and every notification, also through Interceptor."""

import asyncio
from importlib.resources import files
from pathlib import Path

import pytest

from interceptor.cli.shipped import shipped
from interceptor.cli.stage import Stage
from interceptor.simulator import VirtualClock
from interceptor.simulator.events import NotificationReceived, NotificationSent, VerbRan
from interceptor.simulator.scenario import Played, World, play, read_scenario
from interceptor.wire.knowledge import NOTIFICATIONS, VERBS

FOLDER = files("interceptor.simulator") / "scenarios"
REFERENCE = FOLDER / "reference"
NAMES = sorted(each.name for each in REFERENCE.iterdir() if each.name.endswith(".yaml"))
ALLOW_ALL = "rules:\n  - name: everything\n    on: [command, notification, verb]\n    allow: true\n"


def wrong(played: Played) -> list[str]:
    return [f"{each.step.place}: {each.step.told}: {each.detail}" for each in played.outcomes if not each.good]


def test_every_verb_and_every_notification_of_the_reference_stands_in_a_shipped_scenario() -> None:
    verbs: set[str] = set()
    notifications: set[str] = set()

    async def perform(name: str, text: bytes) -> None:
        async with World() as world:
            played = await play(read_scenario(text, name), world)
            assert wrong(played) == []
            for pbx in world.pbxs.values():
                verbs.update(event.name for event in pbx.log.of(VerbRan))
                notifications.update(event.name for event in pbx.log.of(NotificationSent))

    for folder in (FOLDER, REFERENCE):
        for file in sorted(folder.iterdir(), key=lambda each: each.name):
            if file.name.endswith(".yaml"):
                asyncio.run(perform(file.name, file.read_bytes()))
    assert sorted(set(VERBS) - verbs) == []
    assert sorted(set(NOTIFICATIONS) - notifications) == []


@pytest.mark.parametrize("capture", [False, True], ids=["as-they-are", "captured"])
def test_they_go_through_interceptor_as_they_go_without(tmp_path: Path, capture: bool) -> None:
    rules = tmp_path / "all.yaml"
    rules.write_text(ALLOW_ALL)

    async def perform() -> dict[str, list[str]]:
        config = shipped() / "config.example.yaml"
        found: dict[str, list[str]] = {}
        async with Stage(config, rules, clock=VirtualClock(), capture=capture) as stage:
            for name in NAMES:
                scenario = read_scenario((REFERENCE / name).read_bytes(), name)
                assert stage.missing(scenario) == []
                found[name] = wrong(await play(scenario, stage.world))
        return found

    assert asyncio.run(perform()) == {name: [] for name in NAMES}


def test_a_menu_of_six_levels_never_leaves_interceptor(tmp_path: Path) -> None:
    rules = tmp_path / "all.yaml"
    rules.write_text(ALLOW_ALL)

    async def perform() -> tuple[list[str], list[str], int]:
        async with Stage(shipped() / "config.example.yaml", rules, clock=VirtualClock(), capture=True) as stage:
            played = await play(read_scenario((REFERENCE / NAMES[0]).read_bytes(), NAMES[0]), stage.world)
            assert wrong(played) == []
            sent = stage.pbxs["pbx-main"].log.of(NotificationSent)
            received = stage.apps["crm"].log.of(NotificationReceived)
            return [each.url for each in sent], [each.target for each in received], stage.apps["crm"].port

    asked, targets, port = asyncio.run(perform())
    callbacks = [url for url in asked if not url.endswith(("/route", "/pbx", "/events"))]
    assert len(callbacks) == len(targets) == 5
    assert [url for url in callbacks if "/cb/" not in url or f":{port}/" in url] == []
    assert targets == [
        "/start.php?id=1&x=%2525",
        "/menu.php?level=2&name=Kov%C3%A1cs+%26+son",
        "/level3?x=%2525",
        "/level4?back=http%3A%2F%2F127.0.0.1%2F",
        "/level6",
    ]
