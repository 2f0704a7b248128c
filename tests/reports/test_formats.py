"""The formats of a report, read back by readers of their own."""

import json
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interceptor.document import Problems
from interceptor.reports import FORMATS, Report
from interceptor.values import Place, Problem, Severity

PROBLEMS = (
    Problem(Place("rules/10 a.yaml", 4, 16), "unknown app `crn`, did you mean `crm`?", "unknown_app"),
    Problem(Place("rules/10 a.yaml", 9, 3), '`x` <is> "odd" & so on', "odd", Severity.WARNING),
    Problem(Place("/etc/i/config.yaml", 1, 10), "`code` should be a whole number, here is nothing", "not_a_number"),
)
REPORT = Report(PROBLEMS, ("/etc/i/config.yaml", "rules/10 a.yaml", "rules/20.yaml"), "", {"rules": 3})


def test_text_has_a_line_for_each():
    assert FORMATS["text"](REPORT).splitlines() == [
        "rules/10 a.yaml:4:16: unknown app `crn`, did you mean `crm`?",
        'rules/10 a.yaml:9:3: warning: `x` <is> "odd" & so on',
        "/etc/i/config.yaml:1:10: `code` should be a whole number, here is nothing",
    ]
    assert FORMATS["text"](Report((), ("a",), "ok: all")) == "ok: all\n"


def test_json_has_the_parts_apart():
    found = json.loads(FORMATS["json"](REPORT))
    assert (found["ok"], found["counts"]) == (False, {"error": 2, "warning": 1, "note": 0})
    assert (found["rules"], found["files"]) == (3, list(REPORT.files))
    assert found["problems"][0] == {
        "file": "rules/10 a.yaml",
        "line": 4,
        "column": 16,
        "severity": "error",
        "code": "unknown_app",
        "message": "unknown app `crn`, did you mean `crm`?",
        "read": "crn",
        "nearest": "crm",
    }
    assert [problem["read"] for problem in found["problems"]] == ["crn", "x", "nothing"]


def test_sarif_has_what_its_schema_requires():
    log = json.loads(FORMATS["sarif"](REPORT))
    assert log["version"] == "2.1.0"
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"] == "interceptor"
    identifiers = [rule["id"] for rule in driver["rules"]]
    assert identifiers == sorted(set(identifiers))
    assert all(rule["shortDescription"]["text"] for rule in driver["rules"])
    assert all(isinstance(each["executionSuccessful"], bool) for each in run["invocations"])
    for result, problem in zip(run["results"], PROBLEMS, strict=True):
        assert identifiers[result["ruleIndex"]] == result["ruleId"] == problem.code
        assert result["level"] in ("none", "note", "warning", "error")
        assert result["message"]["text"] == problem.message
        (location,) = result["locations"]
        physical = location["physicalLocation"]
        assert physical["region"] == {"startLine": problem.place.line, "startColumn": problem.place.column}
    uris = [each["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for each in run["results"]]
    assert uris == ["rules/10%20a.yaml", "rules/10%20a.yaml", "file:///etc/i/config.yaml"]
    assert [each["location"]["uri"] for each in run["artifacts"]][2] == "rules/20.yaml"


def test_junit_has_a_suite_for_each_file_and_a_case_for_each_problem():
    root = ET.fromstring(FORMATS["junit"](REPORT))
    assert (root.tag, root.get("tests"), root.get("failures"), root.get("errors")) == ("testsuites", "4", "2", "0")
    suites = {suite.get("name"): suite for suite in root}
    assert list(suites) == list(REPORT.files)
    first, second = suites["rules/10 a.yaml"]
    assert (first.get("name"), first.get("line")) == ("unknown_app at 4:16", "4")
    assert first.find("failure").get("message") == PROBLEMS[0].message
    assert second.find("failure") is None
    assert second.find("system-out").text == str(PROBLEMS[1])
    (good,) = suites["rules/20.yaml"]
    assert (good.get("name"), list(good)) == ("no problems", [])


def test_a_strict_report_fails_for_a_warning():
    report = Report(PROBLEMS[1:2], ("rules/10 a.yaml",))
    assert report.ok
    strict = Report(PROBLEMS[1:2], ("rules/10 a.yaml",), strict=True)
    assert not strict.ok
    assert ET.fromstring(FORMATS["junit"](strict)).get("failures") == "1"


def test_what_a_terminal_would_obey_is_written_out():
    problems = Problems()
    problems.add(Place("a", 1, 1), "unknown app `\x1b[31m\n`", "unknown_app")
    assert [problem.message for problem in problems.found] == [r"unknown app `\x1b[31m\n`"]


@pytest.mark.parametrize("form", FORMATS)
@given(data=st.data())
def test_any_problem_can_be_told(form, data):
    text = st.text(max_size=30)
    place = st.builds(Place, text, st.integers(1, 10**6), st.integers(1, 10**6))
    problem = st.builds(Problem, place, text, text, st.sampled_from(Severity))
    report = Report(tuple(data.draw(st.lists(problem, max_size=3))), (), data.draw(text))
    written = FORMATS[form](report)
    if form == "junit":
        ET.fromstring(written)
    elif form != "text":
        assert json.loads(written)
