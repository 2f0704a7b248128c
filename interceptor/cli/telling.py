"""An explanation as lines for a person: rule by rule in the order of reading, then what becomes of the message."""

from collections.abc import Iterator
from datetime import datetime
from zoneinfo import ZoneInfo

from rich.console import Console
from rich.text import Text

from interceptor.explanation import Explanation
from interceptor.policy.tracing import BY_POLICY, Standing, TracedRule
from interceptor.values import Kind, Verdict

_MARKS = {
    Standing.ACTED: ("✓", "bold green", "acted"),
    Standing.SHADOW: ("~", "yellow", "would have acted (shadow)"),
    Standing.FAILED: ("✗", "red", "did not match"),
    Standing.NOT_REACHED: ("·", "dim", "not reached"),
    Standing.OTHER_MESSAGE: ("·", "dim", "is for other messages"),
    Standing.OFF: ("·", "dim", "is off"),
    Standing.UNKNOWN: ("?", "magenta", "cannot be told"),
}
_COLOURS = {Verdict.ALLOW: "bold green", Verdict.DENY: "bold red", Verdict.ANSWER: "bold cyan"}
_NOTHING = ("<Response></Response>", "<Response/>")
_WORDS = {Verdict.ALLOW: "allowed", Verdict.DENY: "denied", Verdict.ANSWER: "answered"}


def console(*, error: bool = False) -> Console:
    """Where lines go: colours on a terminal, none elsewhere, and a line is never broken."""
    return Console(highlight=False, soft_wrap=True, stderr=error)


def told(explanation: Explanation, zone: str, *, every: bool = False) -> Iterator[Text]:
    """The lines. Rules for other messages and rules that are off are counted, unless ``every`` one is wanted."""
    yield from _message(explanation, zone)
    yield Text()
    yield from _rules(explanation, every=every)
    yield Text()
    yield from _outcome(explanation)
    for note in explanation.notes:
        yield Text(f"note: {note}", style="yellow")


def _message(explanation: Explanation, zone: str) -> Iterator[Text]:
    record = explanation.record
    at = datetime.fromisoformat(record.at).astimezone(ZoneInfo(zone))
    whose = "to" if record.kind is Kind.NOTIFICATION else "by"
    line = Text(record.name or f"a {record.kind.value} without a name", style="bold")
    line.append(f" ({record.kind.value}) {whose} {record.app or 'no app that we know'}", style="")
    origin = f", from {record.source}" if record.source else ""  # a verb comes from no address
    line.append(f"{origin}, {at:%A %Y-%m-%d %H:%M:%S} {zone}", style="dim")
    yield line
    if record.exchange:
        yield Text(f"  exchange  {record.exchange}", style="dim")
    if record.number:
        number_class = "" if record.number_class is None else f" ({record.number_class.value})"
        yield Text(f"  number    {record.number}{number_class}")
    if record.caller:
        yield Text(f"  caller    {record.caller}")
    for name, value in (record.parameters or {}).items():
        if name not in {"command", "notificationname"}:
            yield Text(f"  {name} = {value}", style="dim")


def _rules(explanation: Explanation, *, every: bool) -> Iterator[Text]:
    trace = explanation.trace
    yield Text(f"rules, in the order of reading (revision {trace.revision}):")
    if trace.reason not in BY_POLICY:
        yield Text(f"  none was asked: {trace.reason.replace('_', ' ')}", style="bold red")
        return
    left_out = {Standing.OTHER_MESSAGE: 0, Standing.OFF: 0}
    for step in trace.steps:
        if step.standing in left_out and not every:
            left_out[step.standing] += 1
        else:
            yield from _rule(step)
    for standing, count in left_out.items():
        if count:
            one = "1 rule is" if count == 1 else f"{count} rules are"
            yield Text(f"  · {one} {_MARKS[standing][2].removeprefix('is ')}", style="dim")
    if trace.reason == "default":
        yield Text(f"  no rule ended the reading: the default for a {explanation.record.kind.value} decides")


def _rule(step: TracedRule) -> Iterator[Text]:
    mark, style, words = _MARKS[step.standing]
    line = Text(f"  {mark} ", style=style)
    line.append(step.name, style="bold" if step.standing is Standing.ACTED else style)
    line.append(f"  {words}", style=style)
    if step.standing in {Standing.ACTED, Standing.SHADOW}:
        line.append(f": {', '.join(step.actions)}{' (over its limit)' if step.limited else ''}", style="")
    line.append(f"  {step.place}", style="dim")
    yield line
    if step.because is not None:
        yield Text(f"      expected {step.because.expected}")
        yield Text(f"      is       {step.because.actual}")


def _outcome(explanation: Explanation) -> Iterator[Text]:
    record, trace = explanation.record, explanation.trace
    line = Text(_WORDS[trace.verdict], style=_COLOURS[trace.verdict])
    by = trace.rule or ("the default" if trace.reason == "default" else trace.reason)
    line.append(f" by {by}", style="")
    if trace.verdict is Verdict.DENY and record.kind is Kind.VERB:
        line.append(", taken out of the answer", style="")
    if record.tags:
        line.append(f", tagged {', '.join(record.tags)}", style="")
    yield line
    if record.target:
        yield Text(f"  goes to   {record.target}")
    for mirror in record.mirrors:
        yield Text(f"  copy to   {mirror}")
    for change in record.changes:
        yield Text(f"  {change.name}: {_value(change.before)} → {_value(change.after)}", style="yellow")
    if record.refusal is not None and record.kind is Kind.COMMAND:
        yield Text(f"  is told   {record.refusal.code} {record.refusal.message}")
    elif explanation.answer and record.kind is not Kind.VERB:
        yield Text(f"  is told   {flat(explanation.answer)}")
    elif explanation.answer and flat(explanation.answer) not in _NOTHING:
        yield Text(f"  instead   {flat(explanation.answer)}")


def flat(answer: str) -> str:
    """An answer in XML on one line, without its declaration and blanks between elements."""
    text = answer.partition("?>")[2] if answer.startswith("<?xml") else answer
    return "".join(line.strip() for line in text.splitlines())


def _value(text: str | None) -> str:
    return "not there" if text is None else f"`{text}`"
