"""What a spectator is shown of each message: as `simulate play` writes it for a configuration of one's own."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from interceptor.cli.main import app as interceptor
from interceptor.cli.simulate import app

CONFIG = """\
country: HU
extensions: ["1xxx"]
time_zone: Europe/Budapest
rules: rules.yaml
policy: {emergency: unchecked}
listeners:
  commands: {kind: command, address: "127.0.0.1:0"}
  notifications: {kind: notification, address: "127.0.0.1:0"}
clusters: {pbx: {endpoints: ["http://127.0.0.1:1"]}}
apps: {crm: {sources: ["127.0.0.0/8"], url: "http://127.0.0.1:2/pbx"}}
notifications: [{app: crm}]
"""
RULES = """\
rules:
  - name: no-premium-numbers
    on: "verb:BlindTransfer"
    when: {number: {class: premium}}
    deny: {code: 306, message: "not these"}
  - {name: slower, on: "verb:Speak", when: {parameters: {Speed: "5"}}, rewrite: {set: {Speed: "2"}}}
  - {name: any-verb, on: verb, allow: true}
"""
SCENARIO = """\
scenario: an answer with verbs
pbx: {pbx: {extensions: {"1500": API}, notifications: {IncomingCall: crm/pbx}}}
apps: {crm: {pages: [{name: IncomingCall, verbs: [%s]}]}}
steps:
  - dial: {from: "+36201234567", to: "1500"}
  - call_is: Completed
"""
GOOD_BYE = '{Speak: Good bye}, {Delay: {Seconds: "1"}}, Hangup'


@pytest.fixture
def played(tmp_path: Path) -> Callable[..., list[str]]:
    """Play a scenario in which the app answers with these verbs, and before them the good bye; what is told."""
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "rules.yaml").write_text(RULES)

    def play(*verbs: str) -> list[str]:
        (tmp_path / "scenario.yaml").write_text(SCENARIO % ", ".join((*verbs, GOOD_BYE)))
        done = CliRunner().invoke(
            app, ["play", "--config", str(tmp_path / "config.yaml"), str(tmp_path / "scenario.yaml")]
        )
        assert done.exit_code == 0, done.output
        return [" ".join(line.split()) for line in done.output.splitlines()]

    return play


def test_a_notification_is_told_with_its_own_verdict_and_not_with_that_of_a_verb_in_its_answer(
    played: Callable[..., list[str]],
) -> None:
    told = played()
    assert "PBX → crm IncomingCall allowed default" in told
    assert not [line for line in told if "Hangup" in line]


def test_verbs_that_do_not_pass_as_they_were_are_told_beside_their_notification(
    played: Callable[..., list[str]],
) -> None:
    told = played('{Speak: {Text: Hello, Speed: "5"}}', '{BlindTransfer: {Target: "+3690123456"}}')
    at = told.index("PBX → crm IncomingCall allowed default")
    assert told[at + 1 : at + 3] == [
        "verb Speak rewritten (Speed: 5 → 2): rules.yaml:6 slower, rules.yaml:7 any-verb",
        "verb BlindTransfer to +3690123456 refused: rules.yaml:2 no-premium-numbers",
    ]


def test_of_very_many_verbs_the_first_are_told_and_the_others_counted(played: Callable[..., list[str]]) -> None:
    told = played(*['{BlindTransfer: {Target: "+3690123456"}}'] * 50)
    assert sum("verb BlindTransfer" in line for line in told) == 20
    assert "and 30 more verbs that did not pass as they were" in told


def test_the_sum_counts_refused_verbs_by_themselves(tmp_path: Path, played: Callable[..., list[str]]) -> None:
    played('{BlindTransfer: {Target: "+3690123456"}}', '{BlindTransfer: {Target: "1405"}}')
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "scenario.yaml").rename(tmp_path / "scenarios" / "one.yaml")
    places = ("--config", str(tmp_path / "config.yaml"), "--scenarios", str(tmp_path / "scenarios"))
    done = CliRunner().invoke(interceptor, ["demo", "--once", *places])
    sums = done.output.partition("\nsummary\n")[2].splitlines()
    told = dict(line.strip().rsplit(maxsplit=1) for line in sums if not line.startswith("look"))
    assert told["allowed"] == told["notifications"]
    assert (told["commands"], told["refused"], told["verbs refused"]) == ("0", "0", "1")
    assert told["verbs refused by no-premium-numbers:"] == "1"
