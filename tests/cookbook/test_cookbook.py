"""Every recipe of docs/cookbook.md, run from the page: its files beside the shipped policy, and its cases."""

import re
import shutil
from pathlib import Path

import pytest

from interceptor import cases
from interceptor.loading import analyse_policy, case_sources, load_policy, load_settings, rule_sources
from interceptor.values import Severity

pytestmark = pytest.mark.no_cover  # a whole policy each time; what the policy does is watched where it is tested

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "cookbook.md").read_text(encoding="utf-8")
_RECIPE = re.compile(r"^## (?P<title>.+)\n(?P<text>(?:(?!## ).*\n)*)", re.MULTILINE)
_FILE = re.compile(r'^```(?:yaml|csv|text) title="(?P<name>[^"]+)"\n(?P<content>(?:(?!```).*\n)*)```$', re.MULTILINE)
RECIPES = {found["title"]: found["text"] for found in _RECIPE.finditer(PAGE)}


@pytest.fixture(scope="module")
def settings():
    return load_settings(ROOT / "config.example.yaml", {}, secrets=False)


@pytest.fixture
def kitchen(tmp_path):
    """A copy of the shipped rules without their cases, with the files of a recipe put beside them."""

    def cook(text):
        shutil.copytree(ROOT / "rules", tmp_path / "rules", ignore=shutil.ignore_patterns("*.test.yaml"))
        for found in _FILE.finditer(text):
            file = tmp_path / found["name"]
            assert not file.exists(), file
            file.parent.mkdir(exist_ok=True)
            file.write_text(found["content"], encoding="utf-8")
        return tmp_path / "rules"

    return cook


@pytest.mark.parametrize("title", RECIPES)
def test_a_recipe_does_what_its_cases_say(title, kitchen, settings):
    rules = kitchen(RECIPES[title])
    compiled = load_policy(settings, rule_sources(rules))
    report = cases.run(case_sources(rules), compiled, settings, coverage=True)
    assert [str(problem) for problem in report.problems] == []
    assert [(result.label, [str(each) for each in result.differences]) for result in report.failed] == []
    assert report.results
    assert all(result.passed for result in report.results)
    own = {found["name"] for found in _FILE.finditer(RECIPES[title])}
    covered = [each for each in report.coverage.rules if each.place.partition(":")[0] in own]
    assert covered
    assert [(each.name, each.missing) for each in covered if each.missing] == []
    found = (*compiled.warnings, *analyse_policy(settings, compiled))  # what it hides elsewhere is meant
    told = [str(each) for each in found if each.severity is not Severity.NOTE and each.place.file in own]
    assert told == []


def test_there_are_fifteen_recipes_at_least_and_the_page_begins_with_all_of_them():
    assert len(RECIPES) >= 15
    contents = PAGE.partition("\n## ")[0]
    anchors = set(re.findall(r"\]\(#([^)]+)\)", contents))
    assert anchors == {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in RECIPES}


def test_every_block_of_the_page_is_a_file_that_is_run():
    assert PAGE.count("\n```") == 2 * sum(len(_FILE.findall(text)) for text in RECIPES.values())
