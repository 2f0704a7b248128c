"""What a step of a scenario waits for, and what is told of one that fails."""

import asyncio

import pytest

from interceptor.simulator import VirtualClock
from interceptor.simulator.scenario import World, play, read_scenario
from interceptor.values import ProblemsError

SCENARIO = """\
scenario: a caller hears something
patience: 200ms
pbx: {pbx: {extensions: {"1500": API}, notifications: {IncomingCall: crm/pbx}}}
apps: {crm: {pages: [%s]}}
steps:
  - dial: {from: "+36201234567", to: "1500"}
  - %s
"""
PAGE = '{verbs: [{Speak: Welcome.}, {Speak: Enter your PIN.}, {Delay: {Seconds: "600"}}]}'


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


SAID = "verbs: [Hangup]"


def problems(page: str = SAID, step: str = "wait: 1s") -> list[str]:
    """What is wrong with a scenario that has this page and this step."""
    try:
        read_scenario((SCENARIO % (f"{{{page}}}", step)).encode(), "x.yaml")
    except ProblemsError as fault:
        return [str(problem) for problem in fault.problems]
    return []


@pytest.mark.parametrize(
    ("page", "step", "place", "told"),
    [
        ("name: IncommingCall, verbs: []", "wait: 1s", "4:29", "unknown notification `IncommingCall`, did you mean"),
        ("verbs: [Hangupp]", "wait: 1s", "4:31", "unknown verb `Hangupp`, did you mean `Hangup`?"),
        ("verbs: [{Speek: Hello}]", "wait: 1s", "4:32", "unknown verb `Speek`, did you mean `Speak`?"),
        ("verbs: [{BlindTransfer: {Tarjet: x}}]", "wait: 1s", "4:48", "`Tarjet`, did you mean `Target`?"),
        (SAID, "send: {app: crm, command: Cal}", "7:31", "unknown command `Cal`, did you mean `Call`?"),
        (SAID, "send: {app: crm, command: Call, with: {Dialled: x, Recipent: y}}", "7:56", "did you mean `Recipient`?"),
        (SAID, "ran: SendDTFM", "7:10", "unknown verb `SendDTFM`, did you mean `SendDTMF`?"),
        (SAID, "never_saw: {who: pbx, message: Cal}", "7:36", "unknown message `Cal`, did you mean `Call`?"),
        (SAID, "saw: {who: crm, message: DtmfEntred}", "7:30", "did you mean `DtmfEntered`?"),
        (SAID, "never_saw: {who: crm, message: Call, with: {Dialedd: x}}", "7:49", "did you mean `Dialed`?"),
        (SAID, "break: {who: crm, how: hang, message: Hangupp}", "7:43", "did you mean `Hangup`?"),
    ],
)
def test_a_name_that_looks_like_a_slip_of_the_pen_is_a_problem_where_it_stands(
    page: str, step: str, place: str, told: str
) -> None:
    found = problems(page, step)
    assert [line.split(" ")[0] for line in found] == [f"x.yaml:{place}:"]
    assert all(told in line for line in found)


@pytest.mark.parametrize(
    ("page", "step"),
    [
        (SAID, "send: {app: crm, command: MakeCoffee}"),
        (SAID, "send: {app: crm, command: 'other:Cal', with: {'other:Tarjet': x}}"),
        (SAID, "never_saw: {who: pbx, message: 'other:Cal', with: {dialed: x}}"),
        (SAID, "saw: {who: crm, message: CALLCHANGED, with: {X-CallState: Ringing}}"),
        ("verbs: ['other:Hangupp', speak, {Sing: {Loudness: x}}]", "ran: hangup"),
        ("verbs: [{GoTo: '{crm}/a?table=1'}]", "saw: {who: crm, message: GoTo, with: {table: '1'}}"),
    ],
)
def test_names_of_ones_own_pass(page: str, step: str) -> None:
    assert problems(page, step) == []


def test_a_name_behind_other_is_played_without_it() -> None:
    told = detail("ran: 'other:Hangupp'", "{verbs: ['other:Hangupp']}")
    assert "failed: verb Hangupp (code 301" in told
