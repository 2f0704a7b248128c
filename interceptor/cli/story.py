"""What a spectator is shown of the traffic: each message, its verdict, the rule, before and after; and a sum.

It is told decision and settlement records, nothing else: what is shown is what the journal keeps.
"""

from collections.abc import Callable, Mapping

from msgspec import Struct, field

from interceptor.audit.record import ChangedParameter, DecisionRecord, Record, SettlementRecord
from interceptor.settings import Settings
from interceptor.values import Kind, Verdict

_MOST_OPEN = 10_000
_MOST_VERBS = 20
"""So many verbs of one answer are told; the others are counted."""
_FALLBACKS = frozenset({"fallback", "dial_plan", "kept"})
_MEANING = {
    "fallback": "the app failed: the caller hears its fallback",
    "dial_plan": "the app failed: the dial plan decides",
    "kept": "the app failed: kept, delivered later",
    "lost": "the app failed, and it has no fallback",
    "failed": "the PBX failed",
}


class Note(Struct, frozen=True):
    """What is told beside a message."""

    text: str
    colour: str


class Line(Struct, frozen=True):
    """One message, told in columns. ``verdict`` is what happened to it in one word, ``colour`` is for it."""

    way: str
    message: str
    number: str
    verdict: str
    colour: str
    because: str
    notes: tuple[Note, ...]


class _Open(Struct):
    """A message that was decided and is not settled, and what is to be told of the verbs in its answer."""

    decision: DecisionRecord
    verbs: list[Note] = []
    more: int = 0


class Sum(Struct):
    """What a story amounts to. Messages are commands and notifications; verbs in answers are counted by themselves."""

    commands: int = 0
    notifications: int = 0
    allowed: int = 0
    refused: int = 0
    rewritten: int = 0
    rerouted: int = 0
    answered_by_rule: int = 0
    fallbacks: int = 0
    failed: int = 0
    refused_because: dict[str, int] = field(default_factory=dict)
    verbs_refused: int = 0
    verbs_rewritten: int = 0
    verbs_refused_because: dict[str, int] = field(default_factory=dict)


class Story:
    """Turns records into lines. ``tell`` is called with each line as soon as its message is settled."""

    def __init__(
        self, settings: Settings, tell: Callable[[Line], None], names: Mapping[str, str] | None = None
    ) -> None:
        self.sum = Sum()
        self._settings, self._tell = settings, tell
        self._names = dict(names or {})
        self._open: dict[str, _Open] = {}

    def observe(self, record: Record) -> None:
        """Take a record in."""
        match record:
            case DecisionRecord(kind=Kind.VERB):
                self._take_verb(record)
            case DecisionRecord():
                if len(self._open) >= _MOST_OPEN:
                    self._open.pop(next(iter(self._open)))
                self._open[record.exchange] = _Open(record)
            case SettlementRecord():
                asked = self._open.pop(record.exchange, None)
                if asked is not None:
                    rerouted = self._rerouted_to(asked.decision)
                    self._count(asked.decision, record, rerouted=bool(rerouted))
                    self._tell(self._line(asked, record, rerouted))
            case _:
                pass

    def _take_verb(self, verb: DecisionRecord) -> None:
        """A verb in an answer, which has the exchange of the message that was answered."""
        total = self.sum
        if verb.verdict is Verdict.DENY:
            total.verbs_refused += 1
            why = verb.rule or verb.reason
            total.verbs_refused_because[why] = total.verbs_refused_because.get(why, 0) + 1
        total.verbs_rewritten += bool(verb.changes)
        asked = self._open.get(verb.exchange)
        note = _verb_note(verb)
        if asked is None or note is None:
            return
        if len(asked.verbs) < _MOST_VERBS:
            asked.verbs.append(note)
        else:
            asked.more += 1

    def _count(self, decision: DecisionRecord, settlement: SettlementRecord, *, rerouted: bool) -> None:
        total = self.sum
        if decision.kind is Kind.COMMAND:
            total.commands += 1
        else:
            total.notifications += 1
        match decision.verdict:
            case Verdict.ALLOW:
                total.allowed += 1
            case Verdict.ANSWER:
                total.answered_by_rule += 1
            case Verdict.DENY:
                total.refused += 1
                why = decision.rule or decision.reason
                total.refused_because[why] = total.refused_because.get(why, 0) + 1
        total.rewritten += bool(decision.changes)
        total.rerouted += rerouted
        total.fallbacks += settlement.outcome in _FALLBACKS
        total.failed += settlement.outcome == "failed"

    def _rerouted_to(self, decision: DecisionRecord) -> str:
        """Where a rule sent the message in place of where it would have gone, or an empty text."""
        if not decision.target:
            return ""
        if decision.kind is Kind.COMMAND:
            app = self._settings.apps.get(decision.app)
            usual = (app.cluster if app is not None else None) or self._settings.default_cluster
        else:
            usual = next(
                (
                    each.app
                    for each in self._settings.subscriptions
                    if each.path in {None, decision.path} and each.name in {None, decision.name}
                ),
                "",
            )
        return "" if decision.target == usual else decision.target

    def _line(self, asked: _Open, settlement: SettlementRecord, rerouted: str) -> Line:
        decision = asked.decision
        verdict, colour = _verdict(decision, settlement, rerouted)
        notes = [_changed(change) for change in decision.changes]
        if rerouted:
            notes.append(f"goes to {rerouted}")
        if decision.reply_verbs:
            notes.append(f"answered with {', '.join(decision.reply_verbs)}")
        if decision.shadow:
            notes.append(f"on trial: {', '.join(decision.shadow)}")
        if settlement.outcome in _MEANING:
            notes.append(_MEANING[settlement.outcome])
        if settlement.code is not None:
            notes.append(f"code {settlement.code}" + (f" {decision.refusal.message}" if decision.refusal else ""))
        verbs = list(asked.verbs)
        if asked.more:
            verbs.append(Note(f"and {asked.more} more verbs that did not pass as they were", "yellow"))
        return Line(
            self._way(decision),
            decision.name or "?",
            decision.number or decision.caller,
            verdict,
            colour,
            ", ".join(decision.rules) or decision.reason,
            (*(Note(note, colour) for note in notes), *verbs),
        )

    def _way(self, decision: DecisionRecord) -> str:
        there = self._names.get(decision.target, decision.target)
        if decision.kind is Kind.COMMAND:
            return f"{decision.app or decision.source} → {there or 'nobody'}"
        return f"PBX → {there or 'nobody'}"


def _verdict(decision: DecisionRecord, settlement: SettlementRecord, rerouted: str) -> tuple[str, str]:
    if decision.verdict is Verdict.DENY:
        return "refused", "red"
    if settlement.outcome in _MEANING:
        return settlement.outcome.replace("_", " "), "magenta"
    if decision.verdict is Verdict.ANSWER:
        return "answered", "blue"
    if rerouted:
        return "rerouted", "cyan"
    return ("rewritten", "yellow") if decision.changes else ("allowed", "green")


def _verb_note(verb: DecisionRecord) -> Note | None:
    """What became of a verb, and why; of one that simply passes there is nothing to tell."""
    shown = f"verb {verb.name}" + (f" to {verb.number}" if verb.number else "")
    why = ", ".join(verb.rules) or verb.reason
    if verb.verdict is Verdict.DENY:
        return Note(f"{shown} refused: {why}", "red")
    if verb.verdict is Verdict.ANSWER:
        instead = ", ".join(verb.reply_verbs) or "nothing"
        return Note(f"{shown} became {instead}: {why}", "blue")
    if verb.changes:
        changes = ", ".join(map(_changed, verb.changes))
        return Note(f"{shown} rewritten ({changes}): {why}", "yellow")
    return Note(f"{shown} on trial: {', '.join(verb.shadow)}", "cyan") if verb.shadow else None


def _changed(change: ChangedParameter) -> str:
    match change.before, change.after:
        case None, after:
            return f"{change.name}: added {after}"
        case before, None:
            return f"{change.name}: {before} taken out"
        case before, after:
            return f"{change.name}: {before} → {after}"
