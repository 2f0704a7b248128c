"""The shipped policy: it loads without a warning, its cases show every rule and condition, and it stays readable."""

from pathlib import Path

import pytest

from interceptor import cases
from interceptor.loading import analyse_policy, case_sources, load_policy, load_settings, rule_sources
from interceptor.policy import Mode
from interceptor.values import Severity

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "rules"


@pytest.fixture(scope="module")
def settings():
    return load_settings(ROOT / "config.example.yaml", {}, secrets=False)


@pytest.fixture(scope="module")
def shipped(settings):
    return load_policy(settings, rule_sources(FOLDER))


def test_it_loads_without_a_warning(settings, shipped):
    found = (*shipped.warnings, *analyse_policy(settings, shipped))
    assert [str(problem) for problem in found if problem.severity is not Severity.NOTE] == []


def test_its_cases_pass_and_show_every_rule_and_condition(settings, shipped):
    report = cases.run(case_sources(FOLDER), shipped, settings, coverage=True)
    assert (report.problems, report.failed) == ((), ())
    assert [(rule.name, rule.missing) for rule in report.coverage.rules if rule.missing] == []


def test_it_is_about_a_dozen_rules_in_several_files_with_tables_a_trial_and_invariants(shipped):
    files = {rule.place.file for rule in shipped.rules}
    assert 10 <= len(shipped.rules) <= 20
    assert len(files) >= 5
    assert set(shipped.tables) == {"blocked", "vip"}
    assert [rule.name for rule in shipped.rules if rule.mode is Mode.SHADOW] == ["trial-no-calls-abroad"]
    assert len(shipped.invariants) >= 3


def test_every_file_says_what_it_is_about():
    for path in FOLDER.glob("*.yaml"):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if "yaml-language-server" not in line]
        assert path.name.endswith(".test.yaml") or next(line for line in lines if line.strip("# ")).startswith("# "), (
            path
        )
