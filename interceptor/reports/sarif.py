"""SARIF 2.1.0, which code hosting services and editors show beside the lines."""

import json
from typing import Any, Final
from urllib.parse import quote

from interceptor import __version__
from interceptor.reports.report import Report
from interceptor.values import Problem

SCHEMA: Final = "https://json.schemastore.org/sarif-2.1.0.json"


def write(report: Report) -> str:
    """One run with one result for each problem; a code is a rule of the tool."""
    codes = sorted({problem.code for problem in report.problems})
    driver = {
        "name": "interceptor",
        "version": __version__,
        "rules": [{"id": code, "shortDescription": {"text": code.replace("_", " ")}} for code in codes],
    }
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "invocations": [{"executionSuccessful": True, "exitCode": 0 if report.ok else 1}],
        "artifacts": [{"location": {"uri": _uri(file)}} for file in report.files],
        "results": [_result(problem, codes) for problem in report.problems],
    }
    return json.dumps({"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False) + "\n"


def _result(problem: Problem, codes: list[str]) -> dict[str, Any]:
    region = {"startLine": problem.place.line, "startColumn": problem.place.column}
    return {
        "ruleId": problem.code,
        "ruleIndex": codes.index(problem.code),
        "level": problem.severity.value,  # SARIF's words are ours
        "message": {"text": problem.message},
        "locations": [
            {"physicalLocation": {"artifactLocation": {"uri": _uri(problem.place.file)}, "region": region}},
        ],
    }


def _uri(file: str) -> str:
    """A file as SARIF names it: relative ones below the folder where the command ran, absolute ones as ``file:``."""
    path = quote(file.replace("\\", "/"), safe="/~")
    return f"file://{path}" if path.startswith("/") else path
