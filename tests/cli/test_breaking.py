"""Each app and each PBX endpoint fails at every step of scripted calls; and what the look at them finds when wrong."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from interceptor.cli import breaking
from interceptor.cli.aftermath import Aftermath, Tape, look_at
from interceptor.cli.main import app as command_line
from interceptor.cli.shipped import shipped
from interceptor.cli.stage import MadeUp, StageError
from interceptor.loading import load_settings
from interceptor.simulator.events import (
    CallChanged,
    CommandReceived,
    Event,
    NotificationAnswered,
    NotificationFailed,
    NotificationReceived,
    NotificationSent,
)
from interceptor.simulator.notifications import encode_form
from interceptor.simulator.scenario import form
from interceptor.values import Place
from interceptor.worker import new_event_loop

pytestmark = pytest.mark.no_cover  # hundreds of calls are played; watched line by line they take twice as long

CONFIG = shipped() / "config.example.yaml"
EVERYBODY = ("pbx-main", "pbx-main-2", "switchboard", "crm")


def broken(
    *how: str, config: Path = CONFIG, scenarios: Sequence[form.Scenario] | None = None, **options: object
) -> list[breaking.Result]:
    scripts = breaking.scripts([]) if scenarios is None else scenarios
    playing = breaking.run(config, None, scripts, own=False, standby=True, how=how, **options)  # type: ignore[arg-type]
    with asyncio.Runner(loop_factory=new_event_loop) as runner:  # as the command does
        return runner.run(playing)


def wrong(results: list[breaking.Result]) -> list[str]:
    return [f"{each.trial.told}: {each.aftermath.wrong}" for each in results if not each.good]


# One test for each of them, so that they can be spread over processes.
@pytest.mark.timeout(400)  # a hundred calls each, many of which wait for deadlines
@pytest.mark.parametrize(
    ("who", "how"),
    [(EVERYBODY, ("refuse",)), *(((each,), ("hang", "slow_bytes", "rubbish")) for each in EVERYBODY)],
    ids=("everybody", *EVERYBODY),
)
def test_whoever_fails_from_whatever_step_on_every_call_ends_as_the_failure_table_says(
    who: tuple[str, ...], how: tuple[str, ...]
) -> None:
    results = broken(*how, who=who)
    assert wrong(results) == []
    steps = sum(not isinstance(step, form.Saw) for script in breaking.scripts([]) for step in script.steps)
    assert Counter((each.trial.who, each.trial.how) for each in results) == dict.fromkeys(
        itertools.product(who, how), steps
    )


@pytest.mark.timeout(120)
def test_a_single_message_that_goes_wrong_costs_no_call_and_no_report() -> None:
    results = broken("close_mid_answer", once=True, who=("crm", "pbx-main"), lanes=4)
    assert len(results) == 50
    assert wrong(results) == []


# A sample: `interceptor simulate break` makes all of them.
@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    ("who", "how", "script"),
    [
        ("crm+pbx-main+pbx-main-2", "refuse", 0),
        ("switchboard+pbx-main", "hang", 0),
        ("crm+crm-backup", "refuse+rubbish", 0),
    ],
)
def test_when_two_fail_together_every_call_ends_as_the_failure_table_says(who: str, how: str, script: int) -> None:
    scripts = breaking.scripts([])[script : script + 1]
    results = broken(how, who=(who,), scenarios=scripts)
    assert wrong(results) == []
    steps = sum(not isinstance(step, form.Saw) for step in scripts[0].steps)
    assert Counter((each.trial.who, each.trial.how) for each in results) == {(who, how): steps}


@pytest.mark.timeout(120)
def test_an_app_that_is_dead_has_its_second_address_answer() -> None:
    results = broken("refuse+well", who=("switchboard+switchboard-backup",), scenarios=breaking.scripts([])[:1])
    assert wrong(results) == []
    assert {*itertools.chain.from_iterable(each.aftermath.outcomes for each in results)} == {"answered"}


@pytest.mark.timeout(120)
def test_with_several_workers_it_is_the_same() -> None:
    results = broken("refuse", who=("crm",), scenarios=breaking.scripts([])[1:], lanes=1, workers=2)
    assert wrong(results) == []
    assert len(results) == 11
    assert Counter(outcome for each in results for outcome in each.aftermath.outcomes)["kept"]


def test_everybody_fails_alone_and_together_with_who_might_stand_in_for_him() -> None:
    stage = breaking.BreakStage(CONFIG, None, own=False, standby=True, backup=True)
    assert stage.together(breaking.scripts([])[0]) == [
        ("pbx-main",),
        ("pbx-main-2",),
        ("switchboard",),
        ("crm",),
        ("switchboard", "pbx-main"),
        ("switchboard", "pbx-main", "pbx-main-2"),
        ("crm", "pbx-main"),
        ("crm", "pbx-main", "pbx-main-2"),
        ("switchboard", "switchboard-backup"),
        ("crm", "crm-backup"),
    ]


@pytest.mark.timeout(120)
def test_without_a_fallback_the_caller_who_is_lost_is_told(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    text = CONFIG.read_text()
    config.write_text(text.replace("    fallback:", "    # fallback:").replace("      - {", "      # - {"))
    (tmp_path / "rules").symlink_to(shipped() / "rules")
    results = broken("refuse", config=config, who=("crm",), lanes=4)
    told = {problem for each in results for problem in each.aftermath.wrong}
    assert "IncomingCall to crm ended as lost" in told
    assert "CallConnected to crm ended as lost" in told


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            {"who": ("nobody",)},
            "nobody in the script is called nobody; there are pbx-main, pbx-main-2, switchboard, crm",
        ),
        ({"standby": False, "who": ("pbx-main-2",)}, "there are pbx-main, switchboard, crm"),
        ({"who": ("crm+nobody",)}, "nobody in the script is called nobody"),
        ({"how": ("refuse",), "once": True}, "nobody of these can fail in this way"),
        ({"how": ("refuse+hang",), "who": ("crm+pbx-main",)}, "nobody of these can fail in this way"),
    ],
)
def test_who_is_not_there_cannot_fail(options: dict[str, object], told: str) -> None:
    arguments = {"own": False, "standby": True} | options
    with pytest.raises(StageError, match=told):
        asyncio.run(breaking.run(CONFIG, None, breaking.scripts([]), **arguments))  # type: ignore[arg-type]


def test_the_command_says_what_became_of_the_calls() -> None:
    done = CliRunner().invoke(
        command_line, ["simulate", "break", "--who", "switchboard", "--how", "refuse", "--at-once", "4"]
    )
    assert done.exit_code == 0, done.output
    assert "25 of 25 times the call ended as the failure table says, nothing lost" in done.output
    assert "dial_plan" in done.output


def test_a_way_that_does_not_exist_and_a_script_that_does_not_go_by_itself_are_told(tmp_path: Path) -> None:
    done = CliRunner().invoke(command_line, ["simulate", "break", "--how", "explode"])
    assert done.exit_code == 2
    assert "`explode` is not one of refuse, hang" in done.output
    script = tmp_path / "never.yaml"
    script.write_text(
        "scenario: nobody is there\npatience: 200ms\npbx: {pbx-main: {}}\n"
        'steps: [{dial: {from: "+36201234567", to: "1405"}}, {hear: anything}]\n'
    )
    done = CliRunner().invoke(command_line, ["simulate", "break", str(script)])
    assert done.exit_code == 2
    assert "the script fails when all is well" in done.output


# what the look at it finds, on tapes made by hand


def sent(name: str, state: str = "") -> NotificationSent:
    pairs = (("NotificationName", name), ("CallId", "7Kq2pX"), ("X-CallState", state))
    return NotificationSent(at=0.0, name=name, parameters=pairs, url="http://x", call_id="7Kq2pX")


def answered(name: str) -> NotificationAnswered:
    return NotificationAnswered(at=0.0, name=name, url="http://x", status=200, body=b"", verbs=(), call_id="7Kq2pX")


def arrived(what: NotificationSent) -> NotificationReceived:
    return NotificationReceived(
        at=0.0, name=what.name, parameters=what.parameters, method="POST", target="/", headers=(), source="",
        body=encode_form(what.parameters), http_version="1.1",
    )  # fmt: skip


def command(name: str) -> CommandReceived:
    return CommandReceived(
        at=0.0, name=name, method="GET", target="/", body=b"", headers=(), source="", http_version=""
    )


def looked_at(
    events: list[tuple[str, Event]], *, broke: int = 0, recovered: int | None = None, **options: object
) -> Aftermath:
    tape = Tape()
    for who, event in events:
        tape.observer(who)(event)
    tape.broke, tape.recovered = broke, len(events) if recovered is None else recovered
    arguments = {
        "who": {"crm"},
        "pbx": False,
        "passes_on": False,
        "lasting": True,
        "codes": (),
        "hung_up": (),
    } | options
    return look_at(tape, (), settings=load_settings(CONFIG, MadeUp()), **arguments)  # type: ignore[arg-type]


RINGING, TALKING = sent("CallChanged", "Ringing"), sent("CallChanged", "InCall")
CALL = form.Send(place=Place("x", 1, 1), told="", app="crm", command="Call")


def test_reports_that_arrive_in_order_are_right() -> None:
    taken: list[tuple[str, Event]] = [("pbx-main", RINGING), ("pbx-main", answered("CallChanged"))]
    taken += [("pbx-main", TALKING), ("pbx-main", answered("CallChanged"))]
    found = looked_at([*taken, ("crm", arrived(RINGING)), ("crm", arrived(TALKING))], recovered=4)
    assert found.wrong == ()
    found = looked_at([*taken, ("crm", arrived(TALKING)), ("crm", arrived(RINGING))], recovered=4)
    assert found.wrong == ("CallChanged overtook CallChanged",)


def test_a_report_that_arrived_only_at_an_app_that_was_broken_is_not_delivered() -> None:
    events: list[tuple[str, Event]] = [("pbx-main", RINGING), ("crm", arrived(RINGING))]
    assert looked_at(events).wrong == ("CallChanged was not delivered again",)
    assert looked_at(events, lasting=False).wrong == ()
    assert looked_at(events, who={"pbx-main"}, pbx=True).wrong == ()
    assert looked_at(events[:1]).wrong == ("CallChanged was lost",)


def test_what_ends_otherwise_than_the_table_says_is_told() -> None:
    failed = NotificationFailed(at=0.0, name="IncomingCall", url="", reason="timeout", detail="", call_id="7Kq2pX")
    ended = CallChanged(at=0.0, call_id="7Kq2pX", state="Error", caller="1", callee="2")
    found = looked_at([("pbx-main", failed), ("pbx-main", ended)], hung_up=("i0VpEB",))
    assert found.ends == ("Error",)
    assert found.wrong == (
        "call i0VpEB did not end",
        "a call ended with Error",
        "the PBX got no answer to IncomingCall: timeout",
    )


@pytest.mark.parametrize(
    ("who", "code", "times", "wrong"),
    [
        ("pbx-main", 200, 1, ()),
        ("pbx-main", 904, 1, ()),
        ("pbx-main", 905, 1, ("Call was answered with 905",)),
        ("pbx-main", 904, 2, ("Call was sent 1 times and came to PBXs 2 times",)),
        ("crm", 904, 1, ("Call was answered with 904",)),
        ("pbx-main", None, 1, ("Call was answered with None",)),
    ],
)
def test_an_app_is_told_what_the_table_names_and_nothing_is_dialled_twice(
    who: str, code: int | None, times: int, wrong: tuple[str, ...]
) -> None:
    found = looked_at([("pbx-main", command("Call"))] * times, who={who}, pbx=who != "crm", codes=((CALL, code),))
    assert found.wrong == wrong
