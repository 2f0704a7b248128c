"""Which files the rules are made of."""

import pytest

from interceptor.loading import rule_sources
from interceptor.values import ProblemsError


@pytest.fixture
def folder(tmp_path):
    def write(*names):
        for name in names:
            file = tmp_path / "rules" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(name)
        return tmp_path / "rules"

    return write


def test_rules_and_tables_below_the_folder_are_read_in_path_order(folder):
    rules = folder(
        "b.yaml", "a.yaml", "a.test.yaml", "tables/vip.txt", "tables/lcr.csv", "site/tables/own.txt", "site/c.yaml",
        "README.txt", "tables/README.md", ".hidden/tables/x.txt", "tables/.x.txt",
    )  # fmt: skip
    assert [source.file for source in rule_sources(rules)] == [
        "rules/a.yaml",
        "rules/b.yaml",
        "rules/site/c.yaml",
        "rules/site/tables/own.txt",
        "rules/tables/lcr.csv",
        "rules/tables/vip.txt",
    ]
    assert rule_sources(rules)[0].data == b"a.yaml"


def test_one_file_of_rules_has_the_tables_beside_it(folder):
    rules = folder("a.yaml", "b.yaml", "tables/vip.txt", "tables/.x.txt", "tables/notes.md")
    assert [source.file for source in rule_sources(rules / "a.yaml")] == ["a.yaml", "tables/vip.txt"]


def test_what_looks_like_rules_or_a_table_and_is_not_read_is_a_problem(folder):
    with pytest.raises(ProblemsError) as caught:
        rule_sources(folder("a.YML", "lcr.csv", "tables/b.CSV"))
    assert [str(problem) for problem in caught.value.problems] == [
        "rules/a.YML:1:1: only files named `*.yaml` are read, rename it",
        "rules/lcr.csv:1:1: only tables named `*.csv` in a folder `tables` are read, move it there",
        "rules/tables/b.CSV:1:1: only tables named `*.csv` in a folder `tables` are read, move it there",
    ]
