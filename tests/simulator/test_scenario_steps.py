"""What a step of a scenario waits for, and what is told of one that fails."""

import asyncio

import pytest

from interceptor.simulator import VirtualClock
from interceptor.simulator.scenario import World, play, read_scenario

SCENARIO = """\
scenario: a caller hears something
patience: 200ms
pbx: {pbx: {extensions: {"1500": API}, notifications: {IncomingCall: crm/pbx}}}
apps: {crm: {pages: [%s]}}
steps:
  - dial: {from: "+36201234567", to: "1500"}
  - %s
"""
PAGE = '{verbs: [{Speak: Welcome.}, {Speak: Enter your PIN.}, {Delay: {MilliSeconds: "600000"}}]}'


def detail(step: str, page: str = PAGE) -> str:
    """What is told of a step that comes after a call; nothing where it goes well."""

    async def whole() -> str:
        async with World(clock=VirtualClock()) as world:
            played = await play(read_scenario((SCENARIO % (page, step)).encode(), "scenario.yaml"), world)
        return played.outcomes[-1].detail

    return asyncio.run(whole())


def test_what_is_heard_is_found_in_capitals_or_not() -> None:
    assert detail("hear: enter YOUR pin") == ""


@pytest.mark.parametrize(
    ("step", "instead"),
    [
        ("hear: Good bye", "what was heard instead: “Welcome.”, “Enter your PIN.”"),
        ("ran: Hangup", "what ran instead: Speak, Speak, Delay"),
        ('rings: "1405"', "what rang instead: 1500"),
        ("call_is: Busy", "what calls became instead: Ringing, Answered, InCall"),
    ],
)
def test_a_step_that_fails_tells_what_there_was_instead(step: str, instead: str) -> None:
    assert instead in detail(step)


def test_a_step_that_fails_tells_what_failed_and_why() -> None:
    told = detail("hear: Welcome", "{ozml: rubbish}")
    assert "nothing was heard; failed: notification IncomingCall (" in told
    told = detail("rings: '1405'", '{verbs: [{BlindTransfer: {Target: ""}}]}')
    assert "failed: verb BlindTransfer (code " in told
