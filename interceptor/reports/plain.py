"""JSON for scripts: counts, files, and each problem with its parts apart."""

import json
from typing import Any

from interceptor.reports.report import Report, nearest_of, read_of
from interceptor.values import Severity


def write(report: Report) -> str:
    """One object; its keys stay what they are, new ones may come."""
    found: dict[str, Any] = {
        "ok": report.ok,
        "summary": report.summary,
        "counts": {severity.value: report.count(severity) for severity in Severity},
        **report.facts,
        "files": list(report.files),
        "problems": [
            {
                "file": problem.place.file,
                "line": problem.place.line,
                "column": problem.place.column,
                "severity": problem.severity.value,
                "code": problem.code,
                "message": problem.message,
                "read": read_of(problem),
                "nearest": nearest_of(problem),
            }
            for problem in report.problems
        ],
    }
    return json.dumps(found, indent=2, ensure_ascii=False) + "\n"
