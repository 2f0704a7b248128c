"""The failure table names tests that exist: a cell without a test is a promise that nobody keeps."""

import re
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def test_every_cell_of_the_failure_table_names_a_test_that_exists() -> None:
    told = (ROOT / "docs" / "failures.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", told))
    written = {
        name
        for file in (ROOT / "tests").rglob("test_*.py")
        for name in re.findall(r"^def (test_\w+)", file.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert len(named) >= 25
    assert named - written == set()
    rows = [line for line in told.splitlines() if line.startswith("| ") and "---" not in line][1:]
    assert [row for row in rows if "`test_" not in row and "what fails" not in row] == []
