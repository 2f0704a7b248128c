"""For a person: one line for each problem, ``file:line:column: message``, as compilers write them."""

from interceptor.reports.report import Report


def write(report: Report) -> str:
    """Every problem, and the summary where there is no error."""
    lines = [str(problem) for problem in report.problems]
    if report.ok and report.summary:
        lines.append(report.summary)
    return "".join(f"{line}\n" for line in lines)
