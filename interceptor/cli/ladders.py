"""Draws the ladder of a call: as lines for a terminal, and as one page of HTML that needs nothing else."""

import html
from collections.abc import Iterator
from datetime import datetime
from typing import Final
from zoneinfo import ZoneInfo

from rich.text import Text

from interceptor.calls.ladder import CallLine, Hop, Ladder, Rung, printable

TIME: Final = 14  # columns
NARROWEST, WIDEST = 24, 46  # of one hop
STATES: Final = {
    "requested": "cyan",
    "routed": "cyan",
    "ringing": "yellow",
    "connected": "bold green",
    "held": "yellow",
    "transferring": "magenta",
    "ended": "dim",
}
_MARKS: Final = {"": "", "changed": "yellow", "refused": "bold red", "failed": "red"}
_BAD_ENDS: Final = frozenset({"refused", "failed", "error", "gone", "no end seen", "crowded out"})


def clock(at: float, zone: str) -> str:
    """The time of a day to the millisecond."""
    return datetime.fromtimestamp(at, ZoneInfo(zone)).strftime("%H:%M:%S.%f")[:-3]


def day(at: float, zone: str) -> str:
    """The date and time to the second."""
    return datetime.fromtimestamp(at, ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M:%S")


def lasted(call: CallLine) -> str:
    """How long a call lasted, or has lasted up to its latest message."""
    seconds = (call.last if call.ended is None else call.ended) - call.began
    minutes, rest = divmod(max(seconds, 0.0), 60)
    return f"{int(minutes)}:{rest:04.1f}" if minutes else f"{rest:.1f} s"


def ended_how(call: CallLine) -> str:
    """The state, and why it ended."""
    if not call.cause:
        return call.state
    return f"{call.state}: {call.cause}{f' ({call.why})' if call.why else ''}"


def who_with_whom(call: CallLine) -> str:
    """The numbers."""
    to = f"{call.dialled or '?'}{f' (to {call.routed_to})' if call.routed_to else ''}"
    return f"{call.caller or '?'} → {to}"


def style_of(call: CallLine) -> str:
    """The colour of its state."""
    return "red" if call.cause in _BAD_ENDS else STATES.get(call.state, "")


# --- lines for a terminal -------------------------------------------------------------------------------------------


def lines(ladder: Ladder, zone: str, width: int) -> Iterator[Text]:
    """The ladder as lines; ``width`` is that of the terminal."""
    call = ladder.call
    yield from _head(ladder, zone)
    yield Text()
    hop = max(NARROWEST, min(WIDEST, (width - TIME - 3) // 2))
    apps = call.apps[0] if len(call.apps) == 1 else "apps"
    names = Text(" " * TIME + apps.ljust(hop + 1)[: hop + 1], style="bold")
    yield names.append("Interceptor".ljust(hop + 1), style="bold").append("PBX", style="bold")
    yield _rails(hop)
    for number, rung in enumerate(ladder.rungs):
        if ladder.dropped and number and rung.at - ladder.rungs[number - 1].at > 0 and number == _gap(ladder):
            yield _rails(hop, f"… {ladder.dropped} messages were not kept …")
        yield _rung(rung, zone, hop, several=len(call.apps) > 1)
        for note in rung.notes:
            yield _rails(hop, f"  {note}", "dim" if not rung.inferred else "yellow")
    yield _rails(hop)
    if ladder.remarks:
        yield Text()
        yield Text("remarks", style="bold")
        for remark in ladder.remarks:
            yield Text(f"  {clock(remark.at, zone)}  {remark.text}", style="yellow")


def _head(ladder: Ladder, zone: str) -> Iterator[Text]:
    call = ladder.call
    line = Text(f"call {call.id}", style="bold")
    line.append(f"   {who_with_whom(call)}   ", style="")
    yield line.append(ended_how(call), style=style_of(call))
    yield Text(f"  began     {day(call.began, zone)} {zone}, {lasted(call)}", style="dim")
    if call.apps:
        yield Text(f"  apps      {', '.join(call.apps)}", style="dim")
    for name, value in (
        ("PBX", call.endpoint),
        ("policy", f"revision {call.revision}, when it began" if call.revision else ""),
        ("ids", ", ".join(ladder.ids[1:])),
        ("out of", ladder.parent),
        ("led to", ", ".join(ladder.children)),
    ):
        if value:
            yield Text(f"  {name:9} {value}", style="dim")
    if call.inferred:
        yield Text(f"  joins     {call.inferred} of {call.messages} messages inferred, not certain", style="yellow")
    for leg in ladder.legs:
        state = f"{leg.state}{f' ({leg.cause})' if leg.cause else ''}"
        yield Text(f"  {leg.side:9} {leg.number}  {state} since {clock(leg.since, zone)}", style="dim")


def _gap(ladder: Ladder) -> int:
    """The rung before which messages are missing: behind the widest pause."""
    pauses = [(ladder.rungs[n].at - ladder.rungs[n - 1].at, n) for n in range(1, len(ladder.rungs))]
    return max(pauses)[1] if pauses else 0


def _rails(hop: int, note: str = "", style: str = "") -> Text:
    line = Text(" " * TIME).append("│", style="dim").append(" " * hop).append("│", style="dim")
    line.append(" " * hop).append("│", style="dim")
    return line.append(note, style=style) if note else line


def _rung(rung: Rung, zone: str, hop: int, *, several: bool) -> Text:
    line = Text(clock(rung.at, zone).ljust(TIME), style="dim" if rung.inferred else "")
    line.append("│", style="dim")
    left = rung.left
    if left is not None and several and rung.app:
        left = Hop(f"{rung.app}: {left.text}", left.leftward, left.mark)
    line.append(*_arrow(left, hop)).append("│", style="dim")
    return line.append(*_arrow(rung.right, hop)).append("│", style="dim")


def _arrow(hop: Hop | None, width: int) -> tuple[str, str]:
    if hop is None:
        return " " * width, ""
    text = hop.text if len(hop.text) <= width - 5 else hop.text[: width - 6] + "…"
    shaft = "─" * (width - len(text) - 4)
    head = "✗" if hop.mark in {"refused", "failed"} else ("◀" if hop.leftward else "▶")
    if hop.leftward:
        return f"{head}{shaft}─ {text} ", _MARKS[hop.mark]
    return f" {text} ─{shaft}{head}", _MARKS[hop.mark]


# --- a page of HTML -------------------------------------------------------------------------------------------------

_PAGE: Final = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light; --line: #c9d1d9; --ink: #1f2328; --dim: #656d76; --arrow: #4b5a6b }}
body {{ margin: 2rem auto; max-width: 76rem; padding: 0 1rem; background: #fff; color: var(--ink);
  font: 15px/1.45 system-ui, sans-serif }}
h1 {{ font-size: 1.35rem; margin: 0 0 .2rem }}
h2 {{ font-size: 1.05rem; margin: 2rem 0 .5rem }}
.state {{ display: inline-block; border-radius: 1rem; padding: .05rem .7rem; background: #eef1f4; font-size: .95rem }}
.good {{ background: #dafbe1 }} .wait {{ background: #fff8c5 }} .bad {{ background: #ffebe9 }}
dl {{ display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .8rem 0; color: var(--dim) }}
dt {{ font-weight: 600 }} dd {{ margin: 0; color: var(--ink) }}
.ladder {{ display: grid; grid-template-columns: 7.2rem 1fr 1fr; margin-top: 1.2rem; font-size: .92rem }}
.who {{ grid-column: 2 / 4; display: flex; justify-content: space-between; position: sticky; top: 0; background: #fff;
  padding: .3rem 0; z-index: 2 }}
.who b {{ width: 8rem; text-align: center; margin: 0 -4rem; background: #f6f8fa; border: 1px solid var(--line);
  border-radius: .4rem; padding: .15rem 0 }}
.who b:first-child {{ margin-left: 0; text-align: center }} .who b:last-child {{ margin-right: 0 }}
.t {{ color: var(--dim); font-variant-numeric: tabular-nums; padding: .45rem .6rem .1rem 0; text-align: right }}
.hop {{ position: relative; border-left: 2px solid var(--line); padding: .35rem 1rem .55rem; display: flex;
  flex-direction: column; justify-content: flex-end }}
.hop.last {{ border-right: 2px solid var(--line) }}
.hop span {{ display: block; overflow-wrap: anywhere; border-bottom: 2px solid var(--arrow); padding-bottom: .1rem }}
.hop .left {{ text-align: right }}
.hop span::after {{ content: ""; position: absolute; bottom: .3rem; border: .32rem solid transparent }}
.hop .right::after {{ right: .55rem; border-left-color: var(--arrow) }}
.hop .left::after {{ left: .55rem; border-right-color: var(--arrow) }}
.changed {{ --arrow: #bf8700; color: #7d4e00 }}
.refused, .failed {{ --arrow: #cf222e; color: #a40e26 }}
.dashed span {{ border-bottom-style: dashed }}
.note {{ grid-column: 2 / 4; border: solid var(--line); border-width: 0 2px; padding: 0 1rem .35rem; color: var(--dim);
  font-size: .86rem; background: linear-gradient(var(--line), var(--line)) calc(50% + 1px) 0 / 2px 100% no-repeat }}
.note i {{ font-style: normal; background: #fff; padding-right: .4rem; position: relative }}
.new {{ border-top: 1px dotted var(--line) }}
table {{ border-collapse: collapse }} td, th {{ text-align: left; padding: .15rem 1.2rem .15rem 0 }}
@media print {{ .who {{ position: static }} }}
</style>
<h1>Call {id} <span class="state {tone}">{state}</span></h1>
<div>{numbers}</div>
<dl>
{facts}</dl>
{legs}<div class="ladder">
<div></div><div class="who"><b>{apps}</b><b>Interceptor</b><b>PBX</b></div>
{rungs}</div>
{remarks}</html>
"""


def page(ladder: Ladder, zone: str) -> str:
    """The ladder as a page: one file, no scripts, nothing to load."""
    call = ladder.call
    facts = (
        ("began", f"{day(call.began, zone)} {zone}"),
        ("lasted", lasted(call)),
        ("apps", ", ".join(call.apps)),
        ("PBX", call.endpoint),
        ("policy", f"revision {call.revision} when it began" if call.revision else ""),
        ("further ids", ", ".join(ladder.ids[1:])),
        ("came out of", ladder.parent),
        ("led to", ", ".join(ladder.children)),
        ("joins", f"{call.inferred} of {call.messages} messages inferred, not certain" if call.inferred else "exact"),
    )
    several = len(call.apps) > 1
    return _PAGE.format(
        title=html.escape(f"Call {call.id}"),
        id=html.escape(call.id),
        tone="bad" if call.cause in _BAD_ENDS else {"connected": "good", "ended": ""}.get(call.state, "wait"),
        state=html.escape(ended_how(call)),
        numbers=html.escape(who_with_whom(call)),
        facts="".join(f"<dt>{name}</dt><dd>{html.escape(value)}</dd>\n" for name, value in facts if value),
        legs=_legs(ladder, zone),
        apps=html.escape(call.apps[0] if len(call.apps) == 1 else "apps"),
        rungs="".join(_row(rung, zone, several=several) for rung in ladder.rungs),
        remarks=_remarks(ladder, zone),
    )


def _legs(ladder: Ladder, zone: str) -> str:
    if not ladder.legs:
        return ""
    rows = "".join(
        f"<tr><th>{leg.side}</th><td>{html.escape(leg.number)}</td>"
        f"<td>{leg.state}{f' ({html.escape(leg.cause)})' if leg.cause else ''}</td>"
        f"<td>since {clock(leg.since, zone)}</td></tr>\n"
        for leg in ladder.legs
    )
    return f"<h2>Legs</h2>\n<table>\n{rows}</table>\n"


def _row(rung: Rung, zone: str, *, several: bool) -> str:
    left = rung.left
    if left is not None and several and rung.app:
        left = Hop(f"{rung.app}: {left.text}", left.leftward, left.mark)
    dashed = " dashed" if rung.inferred else ""
    row = f'<div class="t">{clock(rung.at, zone)}</div>'
    row += _cell(left, f"hop{dashed}") + _cell(rung.right, f"hop last{dashed}") + "\n"
    for note in rung.notes:
        row += f'<div></div><div class="note"><i>{html.escape(note)}</i></div>\n'
    return row


def _cell(hop: Hop | None, classes: str) -> str:
    if hop is None:
        return f'<div class="{classes}"></div>'
    way = "left" if hop.leftward else "right"
    text = f"✗ {hop.text}" if hop.mark in {"refused", "failed"} else hop.text
    return f'<div class="{classes} {hop.mark}"><span class="{way}">{html.escape(text)}</span></div>'


def _remarks(ladder: Ladder, zone: str) -> str:
    told = [(clock(remark.at, zone), remark.text) for remark in ladder.remarks]
    if ladder.dropped:
        told.append(("", f"{ladder.dropped} messages in the middle of the call were not kept"))
    if not told:
        return ""
    items = "".join(f"<tr><td>{at}</td><td>{html.escape(printable(text))}</td></tr>\n" for at, text in told)
    return f"<h2>Remarks</h2>\n<table>\n{items}</table>\n"
