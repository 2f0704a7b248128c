"""Golden cases: one defect a file, the problem that it gives on the first line; one at least for every code.

What takes more than one file is a folder ``NAME.bad`` with the problem in ``expected``, and is read as a folder of
rules.
"""

import os
from pathlib import Path

import pytest

from interceptor import loading
from interceptor.policy import Source, compile_policy
from interceptor.values import ProblemsError
from tests.problem_codes import codes_in, without

BAD = Path(__file__).parent / "bad"
FILES = sorted(BAD.glob("*.bad.yaml"))
FOLDERS = sorted(BAD.glob("*.bad"))
OF_CONFIG = {"not_a_duration", "not_a_size", "too_small"}  # readers that rules may not use; tests/config has the cases
UNREACHABLE = {"unusable_condition", "file_too_large", "not_a_file"}  # a guard; no files to keep, see below


def problems_in(path, context, tables=()):
    """All problems of a file or folder, warnings that come alone as well."""
    sources, problems = loading.find_sources(path) if path.is_dir() else ([Source("", path.read_bytes())], ())
    try:
        compiled = compile_policy([*sources, *tables], context)
    except ProblemsError as fault:
        return *problems, *fault.problems
    return *problems, *compiled.warnings


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name.removesuffix(".bad.yaml"))
def test_a_defect_is_told_once_where_it_stands(path, context, tables):
    expected = path.read_bytes().partition(b"\n")[0].decode("utf-8", "replace").removeprefix("# ")
    assert [str(problem).removeprefix(":") for problem in problems_in(path, context, tables)] == [expected]


@pytest.mark.parametrize("path", FOLDERS, ids=lambda path: path.name.removesuffix(".bad"))
def test_a_defect_of_several_files_is_told_once_where_it_stands(path, context):
    expected = (path / "expected").read_text(encoding="utf-8").splitlines()
    told = [str(problem).removeprefix(f"{path.name}/") for problem in problems_in(path, context)]
    assert told == expected


def test_problems_of_all_files_are_told_at_once(context, tables):
    sources = [*tables, *(Source(path.name, path.read_bytes()) for path in FILES)]
    with pytest.raises(ProblemsError) as caught:
        compile_policy(sources, context)
    assert {path.name for path in FILES} <= {problem.place.file for problem in caught.value.problems}


def test_every_kind_of_problem_has_a_case(context, tables):
    told = {problem.code for path in (*FILES, *FOLDERS) for problem in problems_in(path, context, tables)}
    codes = codes_in("policy", "document.py", "loading.py") - UNREACHABLE - OF_CONFIG
    assert without(codes, told) == set()


def test_a_file_that_is_too_large_is_a_problem(tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "_LARGEST_FILE", 8)
    (tmp_path / "10.yaml").write_bytes(b"rules: [")
    (tmp_path / "20.yaml").write_bytes(b"rules: []")
    sources, problems = loading.find_sources(tmp_path)
    assert [source.file.rpartition("/")[2] for source in sources] == ["10.yaml"]
    assert [problem.code for problem in problems] == ["file_too_large"]


def test_a_pipe_is_a_problem_and_nobody_waits_for_it(tmp_path):
    for name in ("10.yaml", "10.test.yaml"):
        os.mkfifo(tmp_path / name)
    sources, problems = loading.find_sources(tmp_path)
    assert (sources, [str(each).rpartition("/")[2] for each in problems]) == (
        (),
        ["10.yaml:1:1: this is a pipe and not a file"],
    )
    with pytest.raises(ProblemsError, match=r"10\.test\.yaml:1:1: this is a pipe and not a file"):
        loading.case_sources(tmp_path)
