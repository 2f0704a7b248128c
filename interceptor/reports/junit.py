"""JUnit's XML, which CI servers count and draw.

There is no standard, only what Ant wrote and the servers read: ``testsuites`` of ``testsuite`` of ``testcase``, and a
``failure`` inside those that failed. A file is a suite; each problem is a case of it, and a good file is one case.
"""

import re
from typing import Final
from xml.sax.saxutils import escape, quoteattr

from msgspec import Struct

from interceptor.reports.report import Report
from interceptor.values import Place, Problem

_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class Case(Struct, frozen=True):
    """One case. ``failure`` is a line and ``detail`` what stands below it; ``""`` means that it is well."""

    name: str
    place: Place | None = None
    failure: str = ""
    kind: str = ""
    detail: str = ""
    seconds: float = 0.0


class Suite(Struct, frozen=True):
    """Cases under one name; ``file`` is where they stand."""

    name: str
    cases: tuple[Case, ...]


def write(report: Report) -> str:
    """The report as suites, one for each file."""
    suites = [
        Suite(file, tuple(_case(report, problem) for problem in problems) or (Case("no problems", Place(file, 1, 1)),))
        for file, problems in report.by_file().items()
    ]
    return write_suites("interceptor check", suites)


def write_suites(name: str, suites: list[Suite]) -> str:
    """Any suites as one document."""
    cases = [case for suite in suites for case in suite.cases]
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', _open("testsuites", name, cases)]
    for suite in suites:
        lines.append(f"  {_open('testsuite', suite.name, suite.cases)}")
        lines += [_testcase(suite.name, case) for case in suite.cases]
        lines.append("  </testsuite>")
    return "\n".join((*lines, "</testsuites>")) + "\n"


def _case(report: Report, problem: Problem) -> Case:
    place = problem.place
    name = f"{problem.code} at {place.line}:{place.column}"
    if report.fails(problem):
        return Case(name, place, problem.message, problem.code, str(problem))
    return Case(name, place, detail=str(problem))


def _open(tag: str, name: str, cases: "tuple[Case, ...] | list[Case]") -> str:
    failures = sum(bool(case.failure) for case in cases)
    seconds = sum(case.seconds for case in cases)
    counts = f'tests="{len(cases)}" failures="{failures}" errors="0" skipped="0" time="{seconds:.3f}"'
    return f"<{tag} name={_attribute(name)} {counts}>"


def _testcase(suite: str, case: Case) -> str:
    where = f' file={_attribute(case.place.file)} line="{case.place.line}"' if case.place else ""
    begin = f'    <testcase classname={_attribute(suite)} name={_attribute(case.name)}{where} time="{case.seconds:.3f}"'
    if case.failure:
        failure = f"<failure message={_attribute(case.failure)} type={_attribute(case.kind or 'failure')}>"
        return f"{begin}>{failure}{_content(case.detail)}</failure></testcase>"
    if case.detail:
        return f"{begin}><system-out>{_content(case.detail)}</system-out></testcase>"
    return f"{begin}/>"


def _attribute(text: str) -> str:
    return quoteattr(_NOT_XML.sub("\ufffd", text).replace("\n", " "))


def _content(text: str) -> str:
    return escape(_NOT_XML.sub("\ufffd", text))
