"""docs/journal.md follows the records."""

import re
from pathlib import Path

import pytest

from interceptor.audit.record import DecisionRecord, GapRecord, SettlementRecord

MANUAL = (Path(__file__).parents[2] / "docs" / "journal.md").read_text()
COMMON = {"sequence", "at", "worker"}


@pytest.mark.parametrize("record", [DecisionRecord, SettlementRecord, GapRecord])
def test_the_manual_lists_every_field_of_a_record_and_no_other(record):
    _, _, section = MANUAL.partition(f"### `{record.__struct_config__.tag}`\n")
    section = re.split(r"^##", section, maxsplit=1, flags=re.MULTILINE)[0]
    listed = {
        name for row in re.findall(r"^\| (`[^|]*) \|", section, re.MULTILINE) for name in re.findall(r"`(\w+)`", row)
    }
    assert set(record.__struct_fields__) - COMMON == listed


def test_the_manual_names_every_reason_of_a_gap():
    sources = (Path(__file__).parents[2] / "interceptor" / "journal").glob("*.py")
    reasons = {reason for source in sources for reason in re.findall(r'(?:Repair|_gap)\("(\w+)"', source.read_text())}
    assert reasons == {"not_written", "torn_line", "records_missing", "not_encodable"}
    for reason in reasons:
        assert f"`{reason}`" in MANUAL
