"""docs/failures.md is whole: every cell of the failure table, each with a test that exists, in the program's words."""

import re
from pathlib import Path

from interceptor.metrics.families import NOTIFICATION_OUTCOMES
from interceptor.wire.codes import Code

ROOT = Path(__file__).parent.parent.parent
MANUAL = (ROOT / "docs" / "failures.md").read_text(encoding="utf-8")
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in MANUAL.splitlines()
    if line.startswith("|") and not line.startswith("| ---")
]
CELLS = [row for row in ROWS if len(row) == 7 and row[0] != "what fails"]  # the table that has a row for each cell


def test_every_row_names_a_test_that_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", MANUAL))
    written = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert len(named) >= 25
    assert named - written == set()
    told = [row for row in ROWS if row[0] not in {"what", "what fails"}]
    assert [row for row in told if not re.fullmatch(r"`test_\w+`", row[-1])] == []


def test_no_cell_of_the_failure_table_is_missing() -> None:
    notifications = ("routing", "interactive", "report")
    expected = {("app", message) for message in notifications} | {("PBX endpoint", "command")}
    for fails in ("ourselves", "journal, `strict`", "overload"):
        expected |= {(fails, message) for message in ("command", *notifications)}
    assert {(row[0], row[1]) for row in CELLS} == expected


def test_outcomes_codes_and_metrics_of_the_table_are_the_programs() -> None:
    metrics = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    for row in CELLS:
        assert set(re.findall(r"`(\w+)`", row[3])) <= {*NOTIFICATION_OUTCOMES, "failed"}
        assert {int(code) for code in re.findall(r"\d+", row[4])} <= {int(code) for code in Code}
        assert [name for name in re.findall(r"interceptor_\w+", row[5]) if f"`{name}`" not in metrics] == []
