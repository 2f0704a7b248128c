"""What somebody's failing in the middle of a call left behind, held against the failure table.

Everything that happened stands on one tape, in the order in which it happened; with the audit records of the same time
that is all that is looked at. What is wrong is told in words, each with the message it is about.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence

from msgspec import Struct, field

from interceptor.audit.record import DecisionRecord, Record, SettlementRecord
from interceptor.settings import Settings, Timeouts
from interceptor.simulator.calls import CallState
from interceptor.simulator.events import (
    CallChanged,
    CommandReceived,
    Event,
    Heard,
    NotificationAnswered,
    NotificationFailed,
    NotificationReceived,
    NotificationSent,
)
from interceptor.simulator.notifications import encode_form
from interceptor.simulator.scenario import form
from interceptor.values import Kind, Verb
from interceptor.wire import knowledge
from interceptor.wire.codes import Code
from interceptor.wire.knowledge import Group

SPARE_SECONDS = 2.0
"""A busy machine may be so much late with an answer before it counts as late."""

_OUTCOMES = {
    Group.ROUTING: frozenset({"dial_plan", "fallback"}),
    Group.INTERACTIVE: frozenset({"fallback"}),
    Group.REPORT: frozenset({"kept"}),
}
"""The failure table: how a message to an app that fails may end, beside being answered."""

_FAILED_CODES = frozenset({Code.PBX_UNREACHABLE, Code.NO_ANSWER_IN_TIME, Code.UNREADABLE_ANSWER})
_GOOD_CODES = frozenset({Code.OK, Code.CALL_NOT_FOUND})
_QUESTIONS = ("list", "get")


class Tape:
    """Events of everybody, in order. ``broke`` and ``recovered`` are the places where somebody did."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Event]] = []
        self.broke = self.recovered = 0

    def observer(self, who: str) -> Callable[[Event], None]:
        """What to call with the events of one of them."""

        def keep(event: Event) -> None:
            self.events.append((who, event))

        return keep

    def clear(self) -> None:
        """Begin anew."""
        self.events.clear()
        self.broke = self.recovered = 0


class Report(Struct):
    """A report-like notification: where on the tape it was sent and answered, and at which app it arrived where."""

    name: str
    sent: int
    answered: int = -1
    arrivals: list[tuple[int, str]] = field(default_factory=list)


class Aftermath(Struct, frozen=True, kw_only=True):
    """How the calls ended, what stood in for a failing app how often, what apps were told, and what is wrong."""

    ends: tuple[str, ...]
    outcomes: dict[str, int]
    codes: tuple[str, ...]
    wrong: tuple[str, ...]


def look_at(
    tape: Tape,
    records: Iterable[Record],
    *,
    who: Collection[str],
    pbx: bool,
    passes_on: bool,
    lasting: bool,
    settings: Settings,
    codes: Sequence[tuple[form.Send, int | None]],
    hung_up: Sequence[str],
) -> Aftermath:
    """Hold it against the table.

    ``who`` failed together, until they recovered if that was ``lasting``; a ``pbx`` is among them. ``passes_on``: it
    fails with answers that go back as they came. ``codes`` and ``hung_up`` are what came of following the script.
    """
    wrong = [f"call {call} did not end" for call in hung_up]
    until = tape.recovered
    happened = tape.events[:until]
    ends = tuple(
        event.state for _, event in happened if isinstance(event, CallChanged) and CallState(event.state).is_final
    )
    wrong += [f"a call ended with {state}" for state in ends if state == CallState.ERROR.value]
    wrong += [
        f"the PBX got no answer to {event.name or 'a notification'}: {event.reason}"
        for _, event in tape.events
        if isinstance(event, NotificationFailed)
    ]
    outcomes, problems = _outcomes(records, who, settings.timeouts)
    wrong += problems
    wrong += _unheard(outcomes, happened, settings)
    wrong += _wrong_codes(codes, happened, is_pbx=pbx, passes_on=passes_on)
    wrong += _wrong_reports(tape, who, lasting=lasting)
    counts: dict[str, int] = defaultdict(int)
    for (_, outcome), count in outcomes.items():
        counts[outcome] += count
    told = tuple(str(code) if code is not None else "none" for _, code in codes)
    return Aftermath(ends=ends, outcomes=dict(counts), codes=told, wrong=tuple(wrong))


def _outcomes(
    records: Iterable[Record], who: Collection[str], timeouts: Timeouts
) -> tuple[dict[tuple[str, str], int], list[str]]:
    """How often what became of the notifications of each app; and what the table does not name."""
    decisions: dict[str, DecisionRecord] = {}
    counts: dict[tuple[str, str], int] = defaultdict(int)
    wrong = []
    for record in records:
        if isinstance(record, DecisionRecord) and record.kind is not Kind.VERB:
            decisions[record.exchange] = record
        if not isinstance(record, SettlementRecord) or record.exchange not in decisions:
            continue
        asked = decisions[record.exchange]
        group = _group(asked.name)
        if asked.kind is Kind.NOTIFICATION:
            counts[asked.app, record.outcome] += 1
            named = _OUTCOMES[group] if asked.app in who else frozenset()
            if record.outcome != "answered" and record.outcome not in named:
                wrong.append(f"{asked.name} to {asked.app} ended as {record.outcome}")
            longest = _deadline(group, timeouts)
        else:
            longest = timeouts.command.total
        seconds = record.total_microseconds / 1e6
        if seconds > longest + SPARE_SECONDS:
            wrong.append(f"{asked.name} took {seconds:.1f} s")
    return dict(counts), wrong


def _group(name: str) -> Group:
    known = knowledge.notification(name)
    return (known.notification_group if known is not None else None) or Group.REPORT


def _deadline(group: Group, timeouts: Timeouts) -> float:
    match group:
        case Group.ROUTING:
            return timeouts.routing.total
        case Group.INTERACTIVE:
            return timeouts.interactive.total
        case Group.REPORT:
            return timeouts.report.total


def _unheard(
    outcomes: dict[tuple[str, str], int], happened: Iterable[tuple[str, Event]], settings: Settings
) -> list[str]:
    """Whether whoever got a fallback has heard it."""
    heard = [event.what for _, event in happened if isinstance(event, Heard)]
    wrong = []
    for (name, outcome), count in outcomes.items():
        app = settings.apps.get(name)
        said = _first_words(app.fallback) if app is not None else ""
        times = sum(said in what for what in heard) if said else count
        if outcome == "fallback" and times < count:
            wrong.append(f"{count} fallbacks of {name}, heard {times} times")
    return wrong


def _first_words(verbs: Sequence[Verb]) -> str:
    """The text of the first ``Speak``, where it holds nothing that is filled in."""
    for verb in verbs:
        if verb.name.lower() == "speak":
            text = verb.text or next((value for name, value in verb.attributes if name.lower() == "text"), "")
            return "" if "{{" in text else text
    return ""


def _wrong_codes(
    codes: Sequence[tuple[form.Send, int | None]],
    happened: Iterable[tuple[str, Event]],
    *,
    is_pbx: bool,
    passes_on: bool,
) -> list[str]:
    """Whether apps were told what the table names, and no PBX was asked twice for what acts."""
    wrong = []
    for step, code in codes:
        named = code in _GOOD_CODES or (is_pbx and code in _FAILED_CODES) or (passes_on and code is None)
        if not named:
            wrong.append(f"{step.command} was answered with {code}")
    seen: dict[str, int] = defaultdict(int)
    sent: dict[str, int] = defaultdict(int)
    for _, event in happened:
        if isinstance(event, CommandReceived):
            seen[event.name] += 1
    for step, _ in codes:
        sent[step.command] += 1
    for name, count in seen.items():
        if not name.lower().startswith(_QUESTIONS) and count > sent[name]:
            wrong.append(f"{name} was sent {sent[name]} times and came to PBXs {count} times")
    return wrong


def _wrong_reports(tape: Tape, who: Collection[str], *, lasting: bool) -> list[str]:
    """Whether every report arrived at an app that was well, and after those that were taken before it was sent."""
    wrong = []
    found = [each for each in reports(tape) if each.sent < tape.recovered]
    for report in found:
        if not report.arrivals:
            wrong.append(f"{report.name} was lost")
        elif lasting and report.arrivals[-1][1] in who and tape.broke <= report.arrivals[-1][0] < tape.recovered:
            wrong.append(f"{report.name} was not delivered again")
    for at, one in enumerate(found):
        for other in found[at + 1 :]:
            comparable = one.arrivals and other.arrivals and one.arrivals[-1][1] == other.arrivals[-1][1]
            if comparable and 0 <= one.answered < other.sent and one.arrivals[-1][0] > other.arrivals[-1][0]:
                wrong.append(f"{other.name} overtook {one.name}")
    return wrong


def reports(tape: Tape) -> list[Report]:
    """The reports on a tape, those apart that nothing tells apart."""
    by_body: dict[bytes, list[Report]] = defaultdict(list)
    unanswered: dict[tuple[str, str, str], list[Report]] = defaultdict(list)
    for at, (who, event) in enumerate(tape.events):
        match event:
            case NotificationSent(name=name, parameters=pairs, url=url, call_id=call) if _group(name) is Group.REPORT:
                report = Report(name or "a report", at)
                by_body[encode_form(pairs)].append(report)
                unanswered[name, url, call].append(report)
            case NotificationAnswered(name=name, url=url, call_id=call) if waiting := unanswered[name, url, call]:
                waiting.pop(0).answered = at
            case NotificationReceived(body=body):
                for report in by_body.get(body, ()):
                    report.arrivals.append((at, who))
            case _:
                pass
    return [alike[0] for alike in by_body.values() if len(alike) == 1]
