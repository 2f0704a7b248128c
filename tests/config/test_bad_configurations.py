"""Golden cases: one defect a file, the problem that it gives on the first line; one at least for every code."""

from pathlib import Path

import pytest

from interceptor.config import read_settings
from interceptor.values import Severity
from tests.problem_codes import codes_in, without

FILES = sorted((Path(__file__).parent / "bad").glob("*.bad.yaml"))


def problems_in(path):
    return read_settings(path.read_bytes(), "", base=Path("/nowhere"), environment={"PW": "x"})


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.removesuffix(".bad.yaml"))
def test_a_defect_is_told_once_where_it_stands(path):
    expected = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
    settings, _, problems = problems_in(path)
    assert [str(problem).removeprefix(":") for problem in problems] == [expected]
    assert (settings is None) == (problems[0].severity is Severity.ERROR)


def test_every_kind_of_problem_has_a_case():
    told = {problem.code for path in FILES for problem in problems_in(path)[2]}
    assert without(codes_in("config"), told) == set()
