"""The shipped scenarios play as they are written, and a scenario that does not says where and what was found."""

import asyncio
from importlib.resources import files

import pytest

from interceptor.simulator.scenario import Played, World, play, read_scenario
from interceptor.values import ProblemsError

FOLDER = files("interceptor.simulator") / "scenarios"
NAMES = sorted(each.name for each in FOLDER.iterdir() if each.name.endswith(".yaml"))

SMALL = """
scenario: small
pbx:
  pbx:
    extensions: {"1500": API, "1405": SIP}
    phones: {"1405": {answers: 1s, talks: 2s}}
steps:
  - dial: {from: "+36201234567", to: "1405"}
"""


def played(text: bytes, name: str) -> Played:
    async def perform() -> Played:
        async with World() as world:
            return await play(read_scenario(text, name), world)

    return asyncio.run(perform())


@pytest.mark.parametrize("name", NAMES)
def test_a_shipped_scenario_goes_as_it_is_written(name: str) -> None:
    result = played((FOLDER / name).read_bytes(), name)
    assert [f"{each.step.place}: {each.detail}" for each in result.outcomes if not each.good] == []


def test_the_step_that_fails_is_told_with_its_place_and_ends_the_scenario() -> None:
    steps = "  - call_is: Busy\n  - call_is: Completed\n"
    result = played(("patience: 300ms" + SMALL + steps).encode(), "small.yaml")
    assert not result.good
    assert [each.good for each in result.outcomes] == [True, False]
    assert "small.yaml:9" in str(result.outcomes[-1].step.place)


VOICEMAILS = """\
scenario: voicemails are read out
pbx:
  pbx:
    extensions: {"1500": API}
    phones: {}
    notifications: {IncomingCall: crm/pbx}
    voicemails:
      - {from: Anna, message: Call me}
      - {from: Bob, message: Never mind}
apps:
  crm:
    pages:
      - verbs: [{ForEach: {Source: voicemails, verbs: [{Speak: "$item.from says $item.message"}]}}]
steps:
  - dial: {from: "+36201234567", to: "1500"}
  - hear: Anna says Call me
  - hear: Bob says Never mind
"""


def test_a_scenario_may_have_voicemails() -> None:
    result = played(VOICEMAILS.encode(), "voicemails.yaml")
    assert [f"{each.step.place}: {each.detail}" for each in result.outcomes if not each.good] == []


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("scenario: x\npbx:\n  a:\n    voicemails: [{form: Anna}]\nsteps: []\n", "did you mean `from`"),
        ("steps:\n  - dail: {from: a, to: b}\n", "did you mean `dial`"),
        ("scenario: x\nsteps:\n  - hear: a\n    press: b\n", "one thing"),
        ("scenario: x\nsteps:\n  - break: {who: crm, how: refuse}\n", "crm"),
        ("", "empty"),
    ],
)
def test_a_scenario_with_a_problem_says_where_it_is(text: str, problem: str) -> None:
    with pytest.raises(ProblemsError) as error:
        read_scenario(text.encode(), "bad.yaml")
    told = str(error.value)
    assert problem in told
    assert "bad.yaml:" in told
