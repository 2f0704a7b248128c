"""What the demo writes on terminals of several widths."""

import io

import pytest
from rich.console import Console

from interceptor.cli.screen import Screen
from interceptor.cli.story import Line, Note

BECAUSE = (
    "rules/20-caller-id.yaml:7 the-crm-shows-the-main-line, rules/40-limits.yaml:7 ten-calls-a-second-for-each-app, "
    "rules/50-authorize.yaml:45 applications-may-dial-ordinary-numbers"
)
LONG = "verb Route to ******3456 refused: rules/50-authorize.yaml:7 premium-and-satellite-numbers-are-never-dialled"
NOTES = ("CallerId: 1500 → ******2222", LONG)


def told(width, *, live=True):
    """The lines of one message."""
    out = io.StringIO()
    screen = Screen(live=live, console=Console(file=out, width=width, highlight=False))
    notes = tuple(Note(note, "yellow") for note in NOTES)
    screen.line(Line("crm → pbx-main", "Call", "*******4567", "rewritten", "yellow", BECAUSE, notes))
    return out.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 99, 100, 120, 200, 400])
def test_no_line_is_wider_than_the_terminal_and_no_word_is_broken(width):
    lines = told(width)
    assert max(map(len, lines)) <= width
    words = " ".join(lines).split()
    assert words == [
        "crm",
        "→",
        "pbx-main",
        "Call",
        "*******4567",
        "rewritten",
        *f"{BECAUSE} {' '.join(NOTES)}".split(),
    ]


def test_on_a_narrow_terminal_what_is_beside_a_message_stands_below_it_a_little_indented():
    lines = told(80)
    assert lines[0] == "    crm → pbx-main  Call  *******4567  rewritten"
    assert "        CallerId: 1500 → ******2222" in lines
    assert all(line.startswith(" " * 8) and line[8] != " " for line in lines[1:])


def test_where_there_is_room_before_and_after_stand_in_their_column():
    assert " " * 67 + "CallerId: 1500 → ******2222" in told(120)


def test_without_a_terminal_a_line_stays_a_line():
    assert len(told(10_000, live=False)) == 3
