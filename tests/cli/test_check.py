"""`interceptor check` through its door: all problems at once, in every format, and what it exits with."""

import json
from xml.etree import ElementTree as ET

import pytest


@pytest.fixture
def bad(place):
    """A configuration with two faults, and two rules files with one each, one of them not read at all."""
    config, rules = place / "config.yaml", place / "rules" / "10-look.yaml"
    config.write_text(config.read_text().replace("HU", "HUN") + "workers: many\n")
    (place / "rules" / "20-late.yml").write_text(rules.read_text())
    rules.write_text(rules.read_text().replace("app: crm", "app: crmm"))
    (place / "rules" / "30-broken.yaml").write_text("rules: [\n")
    return place


def test_the_problems_of_all_files_are_told_at_once(command, bad):
    done = command("check", cwd=bad)
    assert done.returncode == 1
    assert [line.split(": ")[0] for line in done.stdout.splitlines()] == [
        "config.yaml:1:10",
        "config.yaml:9:10",
        "rules/20-late.yml:1:1",
        "rules/10-look.yaml:4:17",
        "rules/30-broken.yaml:2:1",
    ]
    assert done.stderr == "5 problems found\n"


@pytest.mark.parametrize("form", ["json", "sarif", "junit"])
def test_every_format_can_be_written_to_a_file(command, bad, form):
    done = command("check", "--format", form, "--output", "out", cwd=bad)
    assert (done.returncode, done.stdout) == (1, "")
    written = (bad / "out").read_text(encoding="utf-8")
    assert written == command("check", "--format", form, cwd=bad).stdout
    if form == "json":
        assert len(json.loads(written)["problems"]) == 5
    elif form == "sarif":
        assert len(json.loads(written)["runs"][0]["results"]) == 5
    else:
        assert ET.fromstring(written).get("failures") == "5"


def test_a_good_site_is_ok_in_every_format(command, place):
    found = json.loads(command("check", "-f", "json", cwd=place).stdout)
    assert (found["ok"], found["problems"], found["rules"]) == (True, [], 2)
    assert found["files"] == ["config.yaml", "rules/10-look.yaml"]
    assert json.loads(command("check", "-f", "sarif", cwd=place).stdout)["runs"][0]["results"] == []
    assert ET.fromstring(command("check", "-f", "junit", cwd=place).stdout).get("tests") == "2"


def test_a_warning_fails_only_when_asked_to(command, place):
    (place / "rules" / "20-main.yaml").write_text(
        "rules:\n  - name: it\n    on: Call\n    when: {number: +3612222222}\n    allow: true\n"
    )
    done = command("check", cwd=place)
    assert (done.returncode, done.stderr) == (0, "1 warning found\n")
    first, last = done.stdout.splitlines()
    assert first.startswith("rules/20-main.yaml:4:20: warning: `+3612222222` ")
    assert last.startswith("ok: 3 rules in 2 files")
    assert command("check", "--strict", cwd=place).returncode == 1


def test_what_cannot_be_written_exits_with_2(command, place):
    assert command("check", "-o", "nowhere/out", cwd=place).returncode == 2


@pytest.fixture
def several(place):
    """Rules that hang together: holidays and a table in files of their own, and cases."""
    (place / "rules" / "tables").mkdir()
    (place / "rules" / "tables" / "vip.txt").write_text("+36201234567\n")
    (place / "rules" / "00-days.yaml").write_text("holidays: {home: [05-01]}\n")
    (place / "rules" / "20-vip.yaml").write_text(
        "rules:\n  - name: it\n    on: Call\n    when: {number: {table: vip}, time: {holidays: home}}\n    tag: vip\n"
    )
    (place / "rules" / "20-vip.test.yaml").write_text(
        'cases:\n  - {name: a, given: {command: Call, app: crm, with: {Dialed: "1"}}, expect: deny}\n'
    )
    return place


@pytest.mark.parametrize("file", ["20-vip.yaml", "tables/vip.txt", "20-vip.test.yaml"])
def test_one_file_is_read_with_all_the_others_and_told_alone(command, several, file):
    done = command("check", f"rules/{file}", cwd=several)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert done.stdout.startswith("ok: 3 rules, revision ")
    with (several / "rules" / "10-look.yaml").open("a") as rules:
        rules.write("rulez: []\n")
    done = command("check", f"rules/{file}", cwd=several)
    assert (done.returncode, done.stdout) == (0, "ok as far as can be told: 1 problem in other files\n")


@pytest.mark.parametrize(
    ("file", "found"),
    [
        ("20-vip.yaml", "4:28: unknown table `vips`, did you mean `vip`?"),
        ("tables/vip.txt", "1:1: this should be a number, here is `+x`"),
        ("20-vip.test.yaml", "2:32: unknown command `Cal`, did you mean `Call`?"),
    ],
)
def test_what_is_wrong_with_one_file_is_told(command, several, file, found):
    written = several / "rules" / file
    change = {"20-vip.yaml": ("vip}", "vips}"), "tables/vip.txt": ("+36201234567", "+x")}.get(file, ("Call", "Cal"))
    written.write_text(written.read_text().replace(*change))
    done = command("check", f"rules/{file}", cwd=several)
    assert done.returncode == 1
    assert done.stdout.splitlines()[0].startswith(f"rules/{file}:")
    assert found in done.stdout


def test_what_rules_do_is_told_beside_a_broken_invariant(command, place):
    (place / "rules" / "20-more.yaml").write_text(
        "rules:\n"
        "  - {name: above, on: Call, when: {app: crm, number: {country: DE}}, allow: true}\n"
        "  - {name: below, on: Call, when: {app: crm, number: {prefix: '+4930'}}, deny: true}\n"
        "invariants:\n"
        "  - {name: not-berlin, for: {on: Call, app: crm, number: {prefix: '+4930'}}, always: deny}\n"
    )
    done = command("check", "--format", "json", cwd=place)
    codes = {problem["code"] for problem in json.loads(done.stdout)["problems"]}
    assert done.returncode == 1
    assert {"invariant_violated", "redundant_rule"} <= codes


def test_cases_are_checked_with_the_rules_and_one_slip_is_one_problem(command, place):
    cases = "cases:\n  - {name: one, given: {command: Call, app: crm}, expct: allow}\n"
    (place / "rules" / "10-look.test.yaml").write_text(cases)
    done = command("check", cwd=place)
    assert (done.returncode, done.stderr) == (1, "1 problem found\n")
    assert done.stdout == "rules/10-look.test.yaml:2:51: unknown key `expct` in a case, did you mean `expect`?\n"
    done = command("check", "rules/10-look.test.yaml", cwd=place)
    assert done.returncode == 1
    (place / "rules" / "10-look.test.yaml").write_text(cases.replace("expct", "expect"))
    done = command("check", cwd=place)
    assert (done.returncode, done.stdout.partition(",")[0]) == (0, "ok: 2 rules in 1 file")


def test_a_folder_without_rules_is_worth_a_warning(command, place):
    (place / "rules" / "10-look.yaml").unlink()
    found = json.loads(command("check", "-f", "json", cwd=place).stdout)
    assert ("no_rules", "warning") in {(each["code"], each["severity"]) for each in found["problems"]}
