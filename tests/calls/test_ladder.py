"""Ladders: what stands on which side, and that no sender moves a cursor or writes HTML."""

import html.parser

import msgspec
import pytest
from rich.console import Console

from interceptor.calls import Calls, Changed, Said
from interceptor.calls.ladder import Ladder, ladder_of, line_of, printable
from interceptor.cli import ladders
from interceptor.values import Verdict
from tests.calls.conftest import Line

ZONE = "Europe/Budapest"
NASTY = "\x1b[2J<script>alert(1)</script>\u202e\r\n'\"&"


def drawn(ladder: Ladder, width: int = 120) -> list[str]:
    console = Console(width=300, force_terminal=False, highlight=False)
    with console.capture() as capture:
        for line in ladders.lines(ladder, ZONE, width):
            console.print(line, soft_wrap=True)
    return capture.get().splitlines()


def told(line: Line, name: str) -> Ladder:
    ladder = ladder_of(line.find(name))
    assert msgspec.json.decode(msgspec.json.encode(ladder), type=Ladder) == ladder
    return ladder


def test_a_command_goes_from_app_to_pbx_and_its_code_back(line: Line) -> None:
    line.command("Hold", call_id="X", changes=(Changed("CallId", "y", "X"),), rules=("a.yaml:1 hold",))
    rungs = told(line, "X").rungs
    assert [(rung.left and rung.left.text, rung.right and rung.right.text) for rung in rungs] == [
        ("Hold", "Hold: CallId changed"),
        ("200", "200"),
    ]
    assert rungs[0].notes == ("CallId: y → X", "by a.yaml:1 hold")
    assert rungs[0].right is not None
    assert rungs[0].right.mark == "changed"


def test_a_refused_command_does_not_reach_the_pbx(line: Line) -> None:
    exchange = line.command("Call", verdict=Verdict.DENY, rule="no", code=None, dialled="+3690")
    line.close(exchange, outcome="refused", code=306)
    ask, answer = told(line, exchange).rungs
    assert (ask.right, answer.right) == (None, None)
    assert ask.notes == ("refused: no",)
    assert answer.left is not None
    assert (answer.left.text, answer.left.mark) == ("306", "refused")


@pytest.mark.parametrize(
    ("outcome", "left", "right"),
    [
        ("answered", "answer", "Speak"),
        ("dial_plan", "no usable answer", "no opinion: the dial plan decides"),
        ("fallback", "no usable answer", "fallback Speak"),
        ("kept", None, "acknowledged, kept for later"),
        ("lost", "no usable answer", "nothing (lost)"),
        ("refused", None, "nothing (refused)"),
        ("rule", None, "Speak"),
        ("something new", None, "something new"),
    ],
)
def test_answers_to_notifications_say_what_became_of_them(line: Line, outcome: str, left: str, right: str) -> None:
    line.told("IncomingCall", call_id="X", outcome=outcome, answered=("Speak",))
    answer = told(line, "X").rungs[1]
    assert (answer.left and answer.left.text, answer.right and answer.right.text) == (left, right)


def test_verbs_that_dial_are_refused_or_changed_are_noted(line: Line) -> None:
    said = (
        Said("BlindTransfer", Verdict.ALLOW, "1099"),
        Said("SQL", Verdict.DENY),
        Said("BlindTransfer", Verdict.ALLOW, "1098", menu="1 9"),
        Said("Call", Verdict.ALLOW, "2", changes=(Changed("CallerId", None, "1"),), rules=("a.yaml:1 r",)),
        Said("GoTo", Verdict.ANSWER, rules=("a.yaml:2 s",)),
        Said("Speak", Verdict.ALLOW),
    )
    line.told("IncomingCall", call_id="X", said=said, outcome="")
    line.close("e1", refused=3, captured=1)
    assert told(line, "X").rungs[1].notes == (
        "BlindTransfer → 1099",
        "SQL refused",
        "on 1 9: BlindTransfer → 1098",
        "Call changed: CallerId: not there → 1 by a.yaml:1 r",
        "GoTo replaced by a.yaml:2 s",
        "2 verbs were refused",
        "1 callback became ours",
    )


def test_the_drawing_has_three_columns_whatever_the_width(line: Line) -> None:
    line.command("Call", dialled="+36201234567" * 5, app="crm")
    line.routed("1", "2", app="switchboard")
    for width in (40, 80, 120, 400):
        lines = drawn(told(line, "e1"), width)
        rails = [text for text in lines if text.count("│") >= 3]
        assert len(rails) >= 4
        places = {tuple(at for at, each in enumerate(text) if each == "│")[:3] for text in rails}
        assert len(places) == 1


def test_an_open_call_with_gaps_remarks_and_relatives_is_drawn_whole(line_with: object) -> None:
    line = Line()
    line.calls = Calls(msgspec.structs.replace(line.calls.bounds, passages=30))
    menu = line.told("IncomingCall", call_id="X", app="crm")
    line.told("CallConnected", call_id="Y", origin=menu, app="ivr")
    for number in range(40):
        line.told("DtmfEntered", call_id="X", exchange=f"d{number}")
    line.state("X", "Ringing")
    text = "\n".join(drawn(told(line, "X")))
    assert "led to    Y" in text
    assert "… 12 messages were not kept …" in text
    assert "CallChanged Ringing came when the call was already connected" in text
    child = "\n".join(drawn(told(line, "Y")))
    assert "out of    X" in child
    page = ladders.page(told(line, "X"), ZONE)
    assert "12 messages in the middle of the call were not kept" in page


def test_no_sender_moves_a_cursor_or_writes_html(line: Line) -> None:
    line.command("Call", dialled=NASTY, caller=NASTY, app="crm", exchange="e1", gist=NASTY)
    line.told(NASTY, call_id=NASTY, origin="e1", state=NASTY, outcome=NASTY, answered=(NASTY,))
    line.find("e1").remark(1.0, NASTY)
    ladder = told(line, "e1")
    text = "".join(drawn(ladder))
    assert text.isprintable()

    seen: list[str] = []

    class Reader(html.parser.HTMLParser):
        def handle_starttag(self, tag: str, attrs: object) -> None:
            seen.append(tag)

    page = ladders.page(ladder, ZONE)
    Reader().feed(page)
    assert "script" not in seen
    assert "src=" not in page
    assert "http" not in page.replace("http-equiv", "")
    assert line_of(line.find("e1")).id == printable(NASTY)


def test_printable_leaves_ordinary_text_alone() -> None:
    assert printable("Szabó Ödön → +3612") == "Szabó Ödön → +3612"
    assert printable("a\x00b\ud800") == "a\\x00b\\xd800"
