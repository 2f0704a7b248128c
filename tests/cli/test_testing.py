"""`interceptor test` through its door: a process, its output and what it exits with."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

ROOT = Path(__file__).parents[2]
RULES = """\
rules:
  - name: the-crm-may-look
    on: ListExtensions
    when: {app: crm}
    allow:
"""
EMERGENCY = """\
rules:
  - {name: emergency, on: "*", when: {number: {class: emergency}}, allow: true}
"""
CASES = """\
cases:
  - name: the crm looks
    given: {command: ListExtensions, app: crm}
    expect: {verdict: allow, rules: the-crm-may-look}
"""
STRANGER = """\
  - name: nobody else does
    given: {command: ListExtensions, app: ""}
    expect: deny
"""
WRONG = CASES.replace("verdict: allow", "verdict: deny")


@pytest.fixture
def cases(place):
    """The site's cases: a file to write them in."""
    (place / "rules" / "10-look.yaml").write_text(RULES)
    file = place / "rules" / "10-look.test.yaml"
    file.write_text(CASES)
    return file


def test_what_passes_is_counted_with_its_coverage(command, place, cases):
    done = command("test", cwd=place)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "1 case: 1 passed",
        "coverage 66.7 %: 2 of 3 outcomes of rules and conditions",
        "  rules/10-look.yaml:2 the-crm-may-look: never failed: app crm",
    ]
    cases.write_text(CASES + STRANGER)
    done = command("test", "--fail-under", "100", cwd=place)
    assert (done.returncode, done.stderr) == (0, "")
    assert "coverage 100.0 %: 3 of 3 outcomes of rules and conditions" in done.stdout


def test_cases_are_about_enforced_rules_however_far_the_rules_go_today(command, place, cases):
    with (place / "config.yaml").open("a") as config:
        config.write("policy: {mode: shadow}\n")
    cases.write_text(CASES + STRANGER)
    assert command("test", cwd=place).returncode == 0


def test_a_failure_is_told_with_what_differs_and_the_trace(command, place, cases):
    cases.write_text(WRONG + STRANGER)
    done = command("test", "rules", cwd=place)
    assert done.returncode == 1
    assert revision(done.stdout).splitlines() == [
        "✗ the crm looks  rules/10-look.test.yaml:2",
        "    verdict: expected deny, is allow",
        "",
        "    ListExtensions (command) by crm, from 10.0.0.1, Wednesday 2026-01-14 12:00:00 Europe/Budapest",
        "",
        "    rules, in the order of reading (revision R):",
        "      ✓ the-crm-may-look  acted: allow  rules/10-look.yaml:2",
        "",
        "    allowed by the-crm-may-look",
        "      goes to   pbx",
        "2 cases: 1 passed, 1 failed",
        "coverage 100.0 %: 3 of 3 outcomes of rules and conditions",
    ]


def revision(text):
    return re.sub(r"revision [0-9a-f]{12}", "revision R", text)


def test_too_little_coverage_fails(command, place, cases):
    done = command("test", "--fail-under", "66.7", cwd=place)
    assert done.returncode == 1
    assert done.stderr == "the coverage is below 66.7 %\n"
    assert command("test", "--fail-under", "66", cwd=place).returncode == 0


def test_cases_are_chosen_by_their_file_or_name(command, place, cases):
    cases.write_text(WRONG + STRANGER)
    done = command("test", "--filter", "nobody", "-v", cwd=place)
    assert done.returncode == 0
    assert done.stdout.splitlines()[:2] == ["✓ nobody else does  rules/10-look.test.yaml:5", "1 case: 1 passed"]
    assert command("test", "-k", "10-look.test", cwd=place).returncode == 1


@pytest.mark.parametrize("path", ["rules", "rules/10-look.yaml", "rules/10-look.test.yaml", "config.yaml"])
def test_rules_a_folder_cases_and_a_configuration_can_be_named(command, place, cases, path):
    done = command("test", path, cwd=place)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("1 case: 1 passed\n")


CALENDAR = "holidays:\n  ours: [2026-12-24]\n"
NIGHT = """\
rules:
  - {name: closed-on-holidays, on: ListExtensions, when: {time: {holidays: ours}}, deny: true}
"""
OF_NIGHT = """\
cases:
  - name: on other days another file decides
    given: {command: ListExtensions, app: crm}
    expect: {verdict: allow, rules: the-crm-may-look}
"""


@pytest.fixture
def night(place, cases):
    """A rules file that needs others, and cases beside it."""
    (place / "rules" / "00-calendar.yaml").write_text(CALENDAR)
    (place / "rules" / "05-night.yaml").write_text(NIGHT)
    file = place / "rules" / "05-night.test.yaml"
    file.write_text(OF_NIGHT)
    return file


def test_the_cases_of_one_file_are_run_with_the_rules_of_all(command, place, night):
    done = command("test", "rules/05-night.yaml", "-v", cwd=place)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.splitlines() == [
        "✓ on other days another file decides  rules/05-night.test.yaml:2",
        "1 case: 1 passed",
        "coverage 33.3 %: 1 of 3 outcomes of rules and conditions",
        "  rules/05-night.yaml:2 closed-on-holidays: never acted",
        "  rules/05-night.yaml:2 closed-on-holidays: never held: time on holidays ours Europe/Budapest",
    ]


@pytest.mark.parametrize("path", ["rules/05-night.yaml", "rules/05-night.test.yaml"])
def test_places_in_the_cases_of_one_file_are_told_as_they_can_be_opened(command, place, night, path):
    night.write_text(OF_NIGHT.replace("the-crm-may-look", "nobody-may-look"))
    done = command("test", path, cwd=place)
    assert done.returncode == 1
    assert done.stdout.startswith("rules/05-night.test.yaml:4:37: there is no rule `nobody-may-look`")
    below = command("test", Path(path).name, "--config", "../config.yaml", cwd=place / "rules")
    assert below.stdout.startswith("05-night.test.yaml:4:37: there is no rule")


def test_cases_may_stand_elsewhere_than_their_rules(command, place, tmp_path):
    file = tmp_path / "mine.test.yaml"
    file.write_text(CASES)
    done = command("test", file, "--rules", place / "rules", "--config", place / "config.yaml", cwd="/")
    assert (done.returncode, done.stderr) == (0, "")


def test_problems_of_cases_and_of_rules_are_told_with_their_places(command, place, cases):
    cases.write_text(CASES.replace("app: crm", "app: crn"))
    done = command("test", cwd=place)
    assert done.returncode == 1
    assert done.stdout == (
        "rules/10-look.test.yaml:3:43: unknown app `crn`, did you mean `crm`?\n1 problem found, no case was run\n"
    )
    (place / "rules" / "20-bad.yaml").write_text("rules: [{name: x, on: Cal, allow: true}]")
    done = command("test", "rules", cwd=place)
    assert done.returncode == 1
    assert done.stdout.startswith("rules/20-bad.yaml:1:23: unknown name `Cal` in `on`, did you mean `Call`?")


def test_what_is_not_there_exits_with_2(command, place):
    done = command("test", "nothing", cwd=place)
    assert (done.returncode, done.stderr) == (2, "cannot read `nothing`: no such file or directory\n")


def test_without_cases_there_is_nothing_to_fail_but_the_coverage(command, place):
    done = command("test", cwd=place)
    assert done.returncode == 0
    assert done.stdout.startswith("0 cases: 0 passed\ncoverage 0.0 %")


def test_junit_has_a_case_for_each_case(command, place, cases):
    cases.write_text(WRONG + STRANGER)
    done = command("test", "--junit", "out.xml", cwd=place)
    assert done.returncode == 1
    suite = ET.parse(place / "out.xml").getroot().find("testsuite")
    assert (suite.get("name"), suite.get("tests"), suite.get("failures")) == ("rules/10-look.test.yaml", "2", "1")
    first, second = suite.findall("testcase")
    assert (first.get("name"), first.get("line"), second.get("name")) == ("the crm looks", "2", "nobody else does")
    assert first.find("failure").get("message") == "verdict: expected deny, is allow"
    assert "✓ the-crm-may-look  acted: allow" in first.find("failure").text
    assert second.find("failure") is None
    cases.write_text("cases: 7")
    command("test", "--junit", "out.xml", cwd=place)
    (case,) = ET.parse(place / "out.xml").getroot().iter("testcase")
    assert case.find("failure").get("type") == "not_a_mapping"


def test_json_has_everything(command, place, cases):
    cases.write_text(WRONG)
    done = command("test", "--format", "json", cwd=place)
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert (found["ok"], found["problems"]) == (False, [])
    (case,) = found["cases"]
    assert case["differences"] == [{"what": "verdict", "expected": "deny", "actual": "allow"}]
    assert case["explanation"]["trace"]["steps"][0]["standing"] == "acted"
    assert found["coverage"]["percent"] == 66.67


SCENARIO = """\
scenario: the crm looks
pbx: {pbx: {extensions: {"1001": SIP}}}
apps: {crm: {commands: pbx}}
steps:
  - send: {app: crm, command: ListExtensions, code: 200}
"""


def test_a_scenario_is_a_case(command, place, cases):
    config = (place / "config.yaml").read_text()
    (place / "config.yaml").write_text(
        config.replace("10.0.0.0/8", "127.0.0.0/8").replace(
            "clusters:", '  notifications: {kind: notification, address: "127.0.0.1:0"}\nclusters:'
        )
    )
    (place / "rules" / "00-emergency.yaml").write_text(EMERGENCY)
    (place / "rules" / "look.scenario.yaml").write_text(SCENARIO)
    cases.write_text("cases:\n  - {name: a look, scenario: look.scenario.yaml, expect: {rules: the-crm-may-look}}\n")
    done = command("test", cwd=place)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert "the-crm-may-look: never acted" not in done.stdout
    (place / "rules" / "look.scenario.yaml").write_text(SCENARIO.replace("code: 200", "code: 306"))
    done = command("test", cwd=place)
    assert done.returncode == 1
    assert "scenario: expected to be played to its end, is crm sends ListExtensions and is told 306" in done.stdout
    (place / "rules" / "look.scenario.yaml").write_text(SCENARIO.replace("crm", "crn"))
    assert "the configuration has no crn" in command("test", cwd=place).stdout
    (place / "rules" / "look.scenario.yaml").write_text("scenario: 1")
    done = command("test", cwd=place)
    assert (done.returncode, done.stdout) == (1, "rules/look.scenario.yaml:1:1: a scenario needs `steps`\n")


def test_watching_runs_again_after_a_change_until_somebody_ends_it(place, cases):
    process = subprocess.Popen(
        [sys.executable, "-m", "interceptor", "test", "--watch"],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    stop = threading.Timer(50, process.kill)
    stop.start()
    try:
        assert process.stdout.readline() == "1 case: 1 passed\n"
        until(process, "waiting for a change")
        cases.write_text(CASES.replace("app: crm", "app: crn"))
        assert "unknown app `crn`" in process.stdout.readline()
        until(process, "waiting for a change")
        cases.write_text(CASES + STRANGER)
        assert process.stdout.readline() == "2 cases: 2 passed\n"
        until(process, "waiting for a change")
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
    finally:
        stop.cancel()
        process.kill()
        process.wait()
        process.stdout.close()


def until(process, begin):
    while not (line := process.stdout.readline()).startswith(begin):
        assert line, "it ended"


def test_the_shipped_rules_are_shown_whole_by_their_cases(command, place):
    done = command("test", ROOT / "rules", "--config", ROOT / "config.example.yaml", "--fail-under", "100", cwd=place)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
