"""Golden cases: one defect a file, the problem that it gives on the first line."""

from pathlib import Path

import pytest

from interceptor.policy import Source, compile_policy
from interceptor.values import ProblemsError

FILES = sorted((Path(__file__).parent / "bad").glob("*.bad.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.removesuffix(".bad.yaml"))
def test_a_defect_is_told_once_where_it_stands(path, context, tables):
    data = path.read_bytes()
    expected = data.partition(b"\n")[0].decode("utf-8", "replace").removeprefix("# ")
    with pytest.raises(ProblemsError) as caught:
        compile_policy([Source("", data), *tables], context)
    assert [str(problem).removeprefix(":") for problem in caught.value.problems] == [expected]


def test_problems_of_all_files_are_told_at_once(context, tables):
    sources = [*tables, *(Source(path.name, path.read_bytes()) for path in FILES)]
    with pytest.raises(ProblemsError) as caught:
        compile_policy(sources, context)
    assert {path.name for path in FILES} <= {problem.place.file for problem in caught.value.problems}
