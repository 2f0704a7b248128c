"""A decision with the reasons for it, as it may be shown: masked like the audit record that was made of it.

Laws of this module:

* What the record hides, no explanation shows, neither in what a condition saw nor in the answer that was given.
* What a record does not hold any more is never guessed: a rule whose condition asks for it *cannot be told*, unless the
  record says that it acted.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import NoReturn

from msgspec import Struct
from msgspec.structs import replace

from interceptor.audit.masking import HIDDEN, is_secret_name, mask_text
from interceptor.audit.record import DecisionRecord, readable
from interceptor.exchanges import Opened
from interceptor.policy import RuleSet
from interceptor.policy.tracing import BY_POLICY, HiddenError, Standing, Trace, TracedRule, Tracer, scrubbed
from interceptor.rehearsal import Rehearsed, of_opened
from interceptor.settings import ExplainSettings
from interceptor.values import Decision, Facts, Kind, Number, NumberClass, Verdict
from interceptor.wire.knowledge import CALL_IDS

KEPT_BYTES = 16 << 20  # of all kept messages of a worker together
_OVERHEAD_BYTES = 4096  # what one costs beside its own text
_REVISIONS = 2  # of which the rules are kept with the messages that they decided
_SECRET_HEADERS = frozenset(("authorization", "proxy-authorization", "cookie", "set-cookie"))


class Explanation(Struct, frozen=True, omit_defaults=True):
    """One message: the ``record`` of its decision, the ``trace`` that led to it, and the ``answer`` its sender got.

    ``answer`` is ``""`` where the other side answers. ``notes`` say, one sentence each, what this does not show.
    """

    record: DecisionRecord
    trace: Trace
    answer: str = ""
    notes: tuple[str, ...] = ()


def explain(rehearsed: Rehearsed, tracer: Tracer, notes: tuple[str, ...] = ()) -> Explanation:
    """The explanation of a message whose facts are known."""
    record = readable(replace(rehearsed.record))
    assert isinstance(record, DecisionRecord)
    facts = rehearsed.facts
    shown = shown_facts(facts, record)
    trace = tracer.trace(facts, rehearsed.decision, shown)
    answer = "" if rehearsed.answer is None else rehearsed.answer.decode("utf-8", "replace")
    return Explanation(record, trace, scrubbed(answer, facts, shown), notes)


def shown_facts(facts: Facts, record: DecisionRecord) -> Facts:
    """The facts as far as their record shows them."""
    values = record.parameters or {}
    return replace(
        facts,
        number=_shown_number(facts.number, record.number),
        caller=_shown_number(facts.caller, record.caller),
        values={name: values.get(name, HIDDEN) for name in facts.values},
        headers={name: _shown_header(name, value) for name, value in facts.headers.items()},
    )


def _shown_number(number: Number | None, shown: str) -> Number | None:
    return number if number is None or number.canonical == shown else replace(number, canonical=shown, written=shown)


def _shown_header(name: str, value: str) -> str:
    return HIDDEN if name in _SECRET_HEADERS or is_secret_name(name) else mask_text(value)


# --- from the journal ---------------------------------------------------------------------------------------------


class _HiddenNumber:
    """A number of which a record shows the end and perhaps the class."""

    __slots__ = ("_number_class",)

    def __init__(self, number_class: NumberClass | None) -> None:
        self._number_class = number_class

    @property
    def number_class(self) -> NumberClass:
        if self._number_class is None:
            raise HiddenError
        return self._number_class

    def __getattr__(self, name: str) -> NoReturn:
        raise HiddenError


class _HiddenCall:
    """A call of which a record tells nothing, and for a verb not even whether there was one."""

    __slots__ = ("_named",)

    def __init__(self, *, named: bool) -> None:
        self._named = named

    def __bool__(self) -> bool:
        if not self._named:
            raise HiddenError
        return True

    def __getattr__(self, name: str) -> NoReturn:
        raise HiddenError


class _PartlyHidden(dict[str, str]):
    """Texts of which the ``hidden`` may not be asked for; with ``None`` none, not even whether it is there."""

    def __init__(self, values: Mapping[str, str], hidden: frozenset[str] | None) -> None:
        super().__init__(values)
        self._hidden = hidden

    def _look(self, name: object) -> None:
        if self._hidden is None or name in self._hidden:
            raise HiddenError

    def get(self, name: str, default: str | None = None) -> str | None:  # type: ignore[override]
        self._look(name)
        return super().get(name, default)

    def __getitem__(self, name: str) -> str:
        self._look(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        if self._hidden is None:
            raise HiddenError
        return super().__contains__(name)


def explain_record(record: DecisionRecord, ruleset: RuleSet) -> Explanation:
    """The explanation of what the journal holds of a message, told with the rules that are in force now."""
    facts = _facts_of(record)
    same = record.revision == ruleset.revision
    notes = []
    if record.masked:
        notes.append(f"masked in the journal: {', '.join(record.masked)}")
    steps: tuple[TracedRule, ...] = ()
    if record.reason in BY_POLICY:
        decision = _decision_of(record) if same else None
        steps = tuple(Tracer(ruleset).steps(facts, decision))
        if not same:
            notes.append(f"decided by revision {record.revision}; the rules told here are those of {ruleset.revision}")
        if any(step.standing is Standing.UNKNOWN for step in steps):
            notes.append("some rules cannot be told, because they ask for what the journal does not hold")
    trace = Trace(
        record.verdict,
        record.reason,
        record.revision,
        record.rule,
        record.rules,
        record.shadow,
        record.tags,
        steps,
    )
    return Explanation(record, trace, notes=tuple(notes))


def _decision_of(record: DecisionRecord) -> Decision:
    return Decision(
        record.verdict,
        record.reason,
        record.revision,
        record.rule,
        record.rules,
        record.shadow,
        tags=record.tags,
        limited=record.limited,
    )


def _facts_of(record: DecisionRecord) -> Facts:
    parameters = record.parameters or {}
    masked = frozenset(record.masked)
    number: Number | _HiddenNumber | None = None
    caller: Number | _HiddenNumber | None = None
    # Of a number the record has no country, so as a whole it is hidden even where its digits are not.
    if record.number:
        number = _HiddenNumber(record.number_class)
    if record.caller:
        caller = _HiddenNumber(None)
    named = any(parameters.get(name) for name in CALL_IDS)
    call = _HiddenCall(named=named) if named or record.kind is Kind.VERB else None
    return Facts(
        record.kind,
        record.name,
        record.app,
        record.source,
        number,  # type: ignore[arg-type]
        caller,  # type: ignore[arg-type]
        _PartlyHidden(parameters, masked),
        _PartlyHidden({}, None if record.kind is not Kind.VERB else frozenset()),
        datetime.fromisoformat(record.at).timestamp(),
        record.exchange,
        call,  # type: ignore[arg-type]
    )


# --- of live traffic ------------------------------------------------------------------------------------------------


class Kept:
    """The last messages that were denied, and a sample of all, ready to be explained. For one worker.

    Nothing is traced before somebody asks. What is kept are the facts as they came, in memory and nowhere else, and the
    rules of the last two revisions.
    """

    def __init__(self, settings: ExplainSettings, dice: Callable[[], float]) -> None:
        self._denied = settings.denied and settings.keep > 0
        self._sample = settings.sample if settings.keep > 0 else 0.0
        self._keep = settings.keep
        self._dice = dice
        self._left = self._gap()
        self._messages: dict[str, tuple[Rehearsed, int]] = {}
        self._bytes = 0
        self._rules: dict[str, RuleSet] = {}

    def saw(self, opened: Opened, rules: RuleSet) -> None:
        """An exchange is over; its answer has left."""
        self._left -= 1
        if self._left > 0 and (opened.decision.verdict is not Verdict.DENY or not self._denied):
            return
        if self._left <= 0:
            self._left = self._gap()
        arrival = opened.arrival
        size = _OVERHEAD_BYTES + 3 * (len(arrival.target) + len(arrival.body))
        self._bytes += size
        self._messages[arrival.exchange] = (of_opened(opened), size)
        while len(self._messages) > self._keep or self._bytes > KEPT_BYTES:
            oldest = next(iter(self._messages))
            self._bytes -= self._messages.pop(oldest)[1]
        if rules.revision not in self._rules:
            self._rules[rules.revision] = rules
            while len(self._rules) > _REVISIONS:
                del self._rules[next(iter(self._rules))]

    def _gap(self) -> float:
        """How many exchanges until the next that is sampled: at random, so that no rhythm of the traffic hides one."""
        return 1 + self._dice() * 2 * (1 / self._sample - 1) if self._sample > 0 else float("inf")

    def find(self, exchange: str, rules: RuleSet) -> Callable[[], Explanation] | None:
        """What explains an exchange, if it was kept; it may be called in another thread, and takes its time."""
        found = self._messages.get(exchange)
        if found is None:
            return None
        rehearsed = found[0]
        then = self._rules.get(rehearsed.decision.revision)
        if then is not None or rehearsed.decision.revision == rules.revision:
            return lambda: explain(rehearsed, Tracer(then or rules))
        return lambda: explain_record(rehearsed.record, rules)

    def messages(self) -> tuple[Rehearsed, ...]:
        """What was kept, oldest first."""
        return tuple(rehearsed for rehearsed, _ in self._messages.values())

    def newest(self) -> Rehearsed | None:
        """The last one that was kept."""
        last = next(reversed(self._messages.values()), None)
        return None if last is None else last[0]

    def summaries(self) -> list[dict[str, str]]:
        """A few words of each that was kept, newest first."""
        records = [readable(rehearsed.record) for rehearsed, _ in reversed(self._messages.values())]
        return [
            {
                "exchange": record.exchange,
                "at": record.at,
                "message": f"{record.kind.value} {record.name}",
                "app": record.app,
                "verdict": record.verdict.value,
                "by": record.rule or record.reason,
            }
            for record in records
            if isinstance(record, DecisionRecord)
        ]
