"""A call as a ladder: app, Interceptor and PBX side by side, and what passed between them, message by message.

Plain values, made to be encoded as JSON and to be drawn; ``cli/ladders.py`` draws them. Texts hold no control
characters, whatever a sender wrote.
"""

from typing import Final

from msgspec import Struct

from interceptor.calls.call import Call, How, Passage, Remark
from interceptor.calls.legs import legs_of
from interceptor.calls.meaning import CALLING
from interceptor.calls.sighting import Changed, Closing, Said, Sighting
from interceptor.values import Kind, Verdict

_OK: Final = 200


class Hop(Struct, frozen=True):
    """One arrow between two columns. ``mark`` is ``""``, ``changed``, ``refused`` or ``failed``."""

    text: str
    leftward: bool = False
    mark: str = ""


class Rung(Struct, frozen=True):
    """A message or an answer at one moment: between app and Interceptor, and between Interceptor and PBX."""

    at: float
    exchange: str
    app: str
    left: Hop | None = None
    right: Hop | None = None
    inferred: bool = False
    notes: tuple[str, ...] = ()


class LegLine(Struct, frozen=True):
    """One side of a call."""

    side: str
    number: str
    state: str
    since: float
    cause: str


class RemarkLine(Struct, frozen=True):
    """Something that is out of order, missing or not sure."""

    at: float
    text: str


class CallLine(Struct, frozen=True):
    """A call in one line."""

    id: str
    state: str
    cause: str
    why: str
    began: float
    ended: float | None
    last: float
    caller: str
    dialled: str
    routed_to: str
    apps: tuple[str, ...]
    endpoint: str
    revision: str
    messages: int
    inferred: int
    remarks: int


class Ladder(Struct, frozen=True):
    """Everything about one call."""

    call: CallLine
    ids: tuple[str, ...]
    parent: str
    children: tuple[str, ...]
    legs: tuple[LegLine, ...]
    remarks: tuple[RemarkLine, ...]
    rungs: tuple[Rung, ...]
    dropped: int = 0


def line_of(call: Call) -> CallLine:
    """A call in one line."""
    return CallLine(
        printable(call.id),
        call.state.value,
        call.cause.value if call.cause is not None else "",
        printable(call.why),
        call.began,
        call.ended,
        call.last,
        printable(call.caller),
        printable(call.dialled),
        printable(call.routed_to),
        call.apps,
        call.endpoint,
        call.revision,
        len(call.passages) + call.dropped,
        call.inferred,
        len(call.remarks),
    )


def ladder_of(call: Call) -> Ladder:
    """The ladder of a call."""
    rungs = [rung for passage in call.passages for rung in _rungs(passage)]
    rungs.sort(key=_moment)
    return Ladder(
        line_of(call),
        tuple(map(printable, call.ids)),
        printable(call.parent),
        tuple(map(printable, call.children)),
        tuple(LegLine(leg.side, printable(leg.number), leg.state.value, leg.since, leg.cause) for leg in legs_of(call)),
        tuple(RemarkLine(remark.at, printable(remark.text)) for remark in sorted(call.remarks, key=_moment)),
        tuple(rungs),
        call.dropped,
    )


def _moment(what: Rung | Remark) -> float:
    return what.at


def _rungs(passage: Passage) -> list[Rung]:
    sighting = passage.sighting
    first, second = _asked(sighting, inferred=passage.how is How.NUMBERS), _answered(sighting)
    return [first] if second is None else [first, second]


def _asked(sighting: Sighting, *, inferred: bool) -> Rung:
    """What was asked or told, and how it went on."""
    text = _describe(sighting)
    passes = sighting.verdict is Verdict.ALLOW
    command = sighting.kind is Kind.COMMAND
    notes = [_change(change) for change in sighting.changes]
    on: Hop | None = None
    if passes and (sighting.closing is None or sighting.closing.outcome != "kept"):
        changed = ", ".join(printable(change.name) for change in sighting.changes)
        on = Hop(f"{printable(sighting.name)}: {changed} changed" if changed else text, not command)
        if changed:
            on = Hop(on.text, on.leftward, "changed")
    if sighting.rules and (sighting.changes or not passes):
        notes.append(f"by {', '.join(map(printable, sighting.rules))}")
    if not passes:
        what = "answered here" if sighting.verdict is Verdict.ANSWER else "refused"
        by = sighting.rule or sighting.reason.replace("_", " ")
        notes.insert(0, f"{what}: {printable(by)}")
    if sighting.captured:
        notes.append(_count(sighting.captured, "callback became ours", "callbacks became ours"))
    if inferred:
        notes.append("joined by its numbers and its time: inferred, not certain")
    here = Hop(text, not command)
    left, right = (here, on) if command else (on, here)  # both ways start at the one who asks
    return Rung(sighting.at, sighting.exchange, sighting.app, left, right, inferred, tuple(notes))


def _answered(sighting: Sighting) -> Rung | None:
    """What came back, as far as that is known."""
    closing = sighting.closing
    if closing is None:
        return None
    command = sighting.kind is Kind.COMMAND
    left, right = (_command_answer if command else _verbs_answer)(sighting, closing)
    notes = [note for said in sighting.said if (note := _said(said))]
    untold = closing.refused - sum(said.verdict is Verdict.DENY for said in sighting.said)
    if untold > 0:
        notes.append(_count(untold, "verb was refused", "verbs were refused"))
    if closing.captured:
        notes.append(_count(closing.captured, "callback became ours", "callbacks became ours"))
    return Rung(closing.at, sighting.exchange, sighting.app, left, right, False, tuple(notes))


def _command_answer(sighting: Sighting, closing: Closing) -> tuple[Hop | None, Hop | None]:
    text = "no code" if closing.code is None else str(closing.code)
    if closing.outcome == "answered":
        mark = "" if closing.code == _OK else "failed"
        return Hop(text, leftward=True, mark=mark), Hop(f"{text} {_took(closing)}".rstrip(), leftward=True, mark=mark)
    if closing.outcome == "failed":
        return Hop(text, leftward=True, mark="failed"), Hop("no usable answer", leftward=True, mark="failed")
    refused = sighting.verdict is Verdict.DENY
    return Hop(text, leftward=True, mark="refused" if refused else "changed"), None


def _verbs_answer(sighting: Sighting, closing: Closing) -> tuple[Hop | None, Hop | None]:
    verbs = ", ".join(map(printable, sighting.reply or closing.answered))
    if closing.outcome == "answered":
        changed = bool(closing.refused) or any(
            said.changes or said.verdict is not Verdict.ALLOW for said in sighting.said
        )
        text = verbs or "nothing to do"
        took = _took(closing)
        return Hop(f"answer {took}".rstrip(), mark=""), Hop(text, mark="changed" if changed else "")
    told = {
        "rule": verbs or "nothing to do",
        "refused": "nothing (refused)",
        "dial_plan": "no opinion: the dial plan decides",
        "fallback": f"fallback {verbs}".rstrip(),
        "kept": "acknowledged, kept for later",
        "lost": "nothing (lost)",
    }.get(closing.outcome, printable(closing.outcome))
    failed = closing.outcome in {"dial_plan", "fallback", "lost", "failed"}
    left = Hop("no usable answer", mark="failed") if failed else None
    mark = {"rule": "changed", "kept": "changed", "refused": "refused"}.get(closing.outcome, "failed" if failed else "")
    return left, Hop(told, mark=mark)


def _describe(sighting: Sighting) -> str:
    name = sighting.name or "(no name)"
    words = [name]
    if sighting.name == "RoutingInterception":
        words.append(f"{sighting.caller or '?'} → {sighting.dialled or '?'}")
        if sighting.state and sighting.state.lower() != "calling":
            words.append(f"({sighting.state}{f' {sighting.last}' if sighting.last else ''})")
    elif sighting.name in CALLING:
        words.append(sighting.dialled)
    else:
        if sighting.state:
            words.append(sighting.state)
        if sighting.target:
            words.append(f"→ {sighting.target}")
        if sighting.other_id:
            words.append(f"with {sighting.other_id}")
    words.append(sighting.gist)
    return printable(" ".join(word for word in words if word))


def _said(said: Said) -> str:
    changes = "; ".join(_change(change) for change in said.changes)
    by = f" by {', '.join(map(printable, said.rules))}" if said.rules else ""
    name = f"{f'on {printable(said.menu)}: ' if said.menu else ''}{printable(said.name)}"
    if said.verdict is Verdict.DENY:
        return f"{name}{f' {printable(said.number)}' if said.number else ''} refused{by}"
    if said.verdict is Verdict.ANSWER:
        return f"{name} replaced{by}"
    if changes:
        return f"{name} changed: {changes}{by}"
    return f"{name} → {printable(said.number)}" if said.number else ""


def _change(change: Changed) -> str:
    before = "not there" if change.before is None else printable(change.before)
    after = "taken out" if change.after is None else printable(change.after)
    return f"{printable(change.name)}: {before} → {after}"


def _took(closing: Closing) -> str:
    microseconds = closing.upstream_microseconds
    return f"({microseconds / 1000:.1f} ms)" if microseconds else ""


def _count(number: int, one: str, many: str) -> str:
    return f"1 {one}" if number == 1 else f"{number} {many}"


def printable(text: str) -> str:
    """A text that moves no cursor and hides nothing: what is not printable is shown as its number."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in text)
