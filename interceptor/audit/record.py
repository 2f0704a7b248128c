"""The audit records: what is kept of each exchange, masked before it exists.

Laws of this module:

* A record never holds a secret, not even for a moment: masking comes before the record, not before the disk.
* Records are plain values. ``sequence`` is 0 until the journal gives the record its place.
* A decision is recorded before anything is carried out, a settlement after; ``exchange`` ties them together.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import Enum

from msgspec import Struct

from interceptor.audit.masking import HIDDEN, Mask, Masker, Way, mask_text, may_tell, path_alone
from interceptor.settings import Masking
from interceptor.values import Decision, Facts, Kind, Number, NumberClass, Target, ToApp, ToCluster, ToUrl, Verdict

SHORTEST_SCRUBBED = 6  # a hidden text shorter than this is not looked for inside others: "1" is everywhere


class ChangedParameter(Struct, frozen=True, gc=False):
    """One parameter as it came and as it left; ``None`` means it was not there."""

    name: str
    before: str | None
    after: str | None


class RefusalRecord(Struct, frozen=True, gc=False):
    """What the asker was told."""

    code: int
    message: str


class DecisionRecord(Struct, omit_defaults=True, gc=False, tag_field="event", tag="decision"):
    """What was asked, by whom, and what was decided; kept before it is carried out.

    ``masked`` names the parameters whose values are hidden, so that a reader knows something was there. ``origin`` is
    the exchange in which the callback was captured that this notification came to; ``captured`` how many callbacks of
    this message were. The verbs in an answer have records of their own, with the exchange of the answer; ``menu`` names
    what must come first for one that may never run, such as ``1 9`` for the keys of a menu and of one inside it.
    """

    sequence: int
    at: str
    exchange: str
    worker: str
    listener: str
    kind: Kind
    name: str
    app: str
    source: str
    method: str
    path: str
    verdict: Verdict
    reason: str
    revision: str
    rule: str = ""
    rules: tuple[str, ...] = ()
    shadow: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    number: str = ""
    number_class: NumberClass | None = None
    caller: str = ""
    target: str = ""
    parameters: Mapping[str, str] | None = None
    changes: tuple[ChangedParameter, ...] = ()
    refusal: RefusalRecord | None = None
    reply_verbs: tuple[str, ...] = ()
    masked: tuple[str, ...] = ()
    origin: str = ""
    captured: int = 0
    limited: tuple[str, ...] = ()
    mirrors: tuple[str, ...] = ()
    menu: str = ""


class SettlementRecord(Struct, omit_defaults=True, gc=False, tag_field="event", tag="settlement"):
    """How an exchange ended. ``code`` is the PBX's (or our) code, ``None`` where the answer had none.

    ``verbs`` were judged in an app's answer, ``verbs_refused`` of them refused, ``captured`` callbacks became ours.
    ``answered`` names the first of the verbs that went to the PBX, those that stand in no other. ``repeats`` is the
    exchange that this one repeats; with the outcome ``repeated`` it got that one's answer.
    """

    sequence: int
    at: str
    exchange: str
    worker: str
    outcome: str
    endpoint: str = ""
    code: int | None = None
    http_status: int = 0
    attempts: int = 0
    upstream_microseconds: int = 0
    total_microseconds: int = 0
    rule: str = ""
    verbs: int = 0
    verbs_refused: int = 0
    captured: int = 0
    answered: tuple[str, ...] = ()
    repeats: str = ""


class GapRecord(Struct, omit_defaults=True, gc=False, tag_field="event", tag="audit.gap"):
    """Records that should stand here and do not: how many, since when, and why.

    ``lost`` is 0 where it cannot be known (a torn line holds at most one record that nobody was told is safe).
    """

    sequence: int
    at: str
    worker: str
    reason: str
    lost: int = 0
    since: str = ""
    detail: str = ""


Record = DecisionRecord | SettlementRecord | GapRecord


class Instants:
    """Writes Unix times since 1970 as RFC 3339 in UTC with microseconds; most of it is made once a second."""

    __slots__ = ("_prefix", "_second")

    def __init__(self) -> None:
        self._second = -1
        self._prefix = ""

    def text(self, at: float) -> str:
        """``at`` as ``2026-11-23T09:12:51.000250Z``."""
        second = int(at)
        if second != self._second:
            self._second = second
            self._prefix = datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%S.")
        return self._prefix + "%06dZ" % ((at - second) * 1_000_000)  # noqa: UP031 - a third faster than an f-string


class Recorder:
    """Makes the records of one worker."""

    def __init__(self, worker: str, masking: Masking) -> None:
        self._worker = worker
        self._masker = Masker(masking)
        self._instants = Instants()

    def decision(
        self,
        exchange: str,
        at: float,
        listener: str,
        facts: Facts,
        decision: Decision,
        *,
        method: str = "",
        path: str = "",
        secrets: frozenset[str] = frozenset(),
        dtmf: frozenset[str] = frozenset(),
        numbers: frozenset[str] = frozenset(),
        target: str = "",
        changes: tuple[ChangedParameter, ...] = (),
    ) -> DecisionRecord:
        """The record of a decision.

        ``secrets``, ``dtmf`` and ``numbers`` are the parameter names, in lower case, that hold such values in this kind
        of message. ``path`` may still have its query, which is never kept.
        """
        values = facts.values
        masker = self._masker
        mask = masker.mask(values, secrets, dtmf, numbers)
        parameters, masked = values, mask.masked
        hidden: tuple[tuple[str, str], ...] = ()
        if mask.ways:
            parameters, hidden = self._hide(values, mask)
        shown = "\n".join(parameters.values())
        if may_tell(shown):
            parameters, masked = _mask_texts(parameters, masked)
        name, number, caller = facts.name, facts.number, facts.caller
        refusal, reply = decision.refusal, decision.reply
        record = DecisionRecord(
            0,
            self._instants.text(at),
            exchange,
            self._worker,
            listener,
            facts.kind,
            mask_text(name) if may_tell(name) else name,
            facts.app,
            facts.source,
            method,
            path if path == "/" else path_alone(path),
            decision.verdict,
            decision.reason,
            decision.revision,
            decision.rule,
            decision.rules,
            decision.shadow,
            decision.tags,
            "" if number is None else masker.number(number.canonical),
            None if number is None else number.number_class,
            "" if caller is None else masker.number(caller.canonical),
            mask_text(target) if target else "",
            parameters,
            (),
            None if refusal is None else RefusalRecord(refusal.code, refusal.message),
            () if reply is None else tuple(verb.name for verb in reply.verbs),
            masked,
        )
        if decision.limited:
            record.limited = decision.limited
        if decision.mirrors:
            record.mirrors = tuple(_place(mirror) for mirror in decision.mirrors)
        if changes:
            record.changes = tuple(self._hide_change(change, secrets, dtmf, numbers) for change in changes)
        if masker.hides_numbers and (changes or refusal is not None or "?" in target):
            hidden += self._canonical_forms(number, caller)  # a rule can have put them there
        for needle, _ in hidden:
            elsewhere = needle in shown or needle in record.path or needle in record.target
            if elsewhere or changes or refusal is not None:
                _scrub(record, hidden)
                break
        return record

    def settlement(
        self,
        exchange: str,
        at: float,
        *,
        outcome: str,
        endpoint: str = "",
        code: int | None = None,
        http_status: int = 0,
        attempts: int = 0,
        upstream_seconds: float = 0.0,
        total_seconds: float = 0.0,
        rule: str = "",
        verbs: int = 0,
        verbs_refused: int = 0,
        captured: int = 0,
        answered: tuple[str, ...] = (),
        repeats: str = "",
    ) -> SettlementRecord:
        """The record of how an exchange ended."""
        return SettlementRecord(
            0,
            self._instants.text(at),
            exchange,
            self._worker,
            outcome,
            mask_text(endpoint) if "@" in endpoint else endpoint,
            code,
            http_status,
            attempts,
            int(upstream_seconds * 1_000_000),
            int(total_seconds * 1_000_000),
            rule,
            verbs,
            verbs_refused,
            captured,
            answered,
            repeats,
        )

    def gap(self, at: float, *, reason: str, lost: int = 0, since: float | None = None, detail: str = "") -> GapRecord:
        """The record that stands where others are missing."""
        began = "" if since is None else self._instants.text(since)
        return GapRecord(0, self._instants.text(at), self._worker, reason, lost, began, detail)

    def _hide(self, values: Mapping[str, str], mask: Mask) -> tuple[Mapping[str, str], tuple[tuple[str, str], ...]]:
        """``values`` with what the mask names hidden, and each hidden text with what stands for it."""
        shown = dict(values)
        hidden: list[tuple[str, str]] = []
        for name, way in mask.ways:
            value = shown[name]
            instead = shown[name] = HIDDEN if way is Way.WHOLE else self._masker.number(value)
            needle = value if way is Way.WHOLE else value.lstrip("+")
            if len(needle) >= SHORTEST_SCRUBBED and needle not in instead:
                hidden.append((needle, instead))
        for name in mask.bodies:
            shown[HIDDEN] = shown.pop(name)
        return shown, tuple(hidden)

    def _canonical_forms(self, *numbers: Number | None) -> tuple[tuple[str, str], ...]:
        """Each number in canonical form that is to be hidden, and what stands for it."""
        forms = [(each.canonical.lstrip("+"), self._masker.number(each.canonical)) for each in numbers if each]
        return tuple(form for form in forms if len(form[0]) >= SHORTEST_SCRUBBED and form[0] not in form[1])

    def _hide_change(
        self,
        change: ChangedParameter,
        secrets: frozenset[str],
        dtmf: frozenset[str],
        numbers: frozenset[str],
    ) -> ChangedParameter:
        way = self._masker.way(change.name, secrets, dtmf, numbers)
        before, after = change.before, change.after
        if way is None:
            before = None if before is None else mask_text(before)
            after = None if after is None else mask_text(after)
        else:
            before = None if before is None else self._masker.hide(before, way)
            after = None if after is None else self._masker.hide(after, way)
        return ChangedParameter(change.name, before, after)


def _place(target: Target) -> str:
    """Where a copy goes, without the query, which may hold values of the message."""
    match target:
        case ToCluster(cluster=name) | ToApp(app=name):
            return name
        case ToUrl(url=url):
            return mask_text(url.partition("?")[0])


def _mask_texts(parameters: Mapping[str, str], masked: tuple[str, ...]) -> tuple[Mapping[str, str], tuple[str, ...]]:
    """``parameters`` without the secrets that stand inside their values: in addresses, in what was not taken apart."""
    for name, value in parameters.items():
        if may_tell(value):
            shown = mask_text(value)
            if shown != value:
                parameters = {**parameters, name: shown}
                masked = masked if name in masked else (*masked, name)
    return parameters, masked


def _scrub(record: DecisionRecord, hidden: tuple[tuple[str, str], ...]) -> None:
    """Take the hidden texts out of every other place that a sender or a rule can have copied them to."""
    parameters = record.parameters or {}
    everything = "\n".join(
        (
            record.path,
            record.target,
            record.name,
            record.number,
            record.caller,
            record.refusal.message if record.refusal else "",
            *parameters.values(),
            *(text for change in record.changes for text in (change.before, change.after) if text),
        )
    )
    for needle, instead in hidden:
        if needle not in everything:
            continue
        record.path = record.path.replace(needle, instead)
        record.target = record.target.replace(needle, instead)
        record.name = record.name.replace(needle, instead)
        record.number = record.number.replace(needle, instead)
        record.caller = record.caller.replace(needle, instead)
        if record.refusal is not None:
            record.refusal = RefusalRecord(record.refusal.code, record.refusal.message.replace(needle, instead))
        copied = tuple(name for name, text in parameters.items() if needle in text and name not in record.masked)
        parameters = {name: text.replace(needle, instead) for name, text in parameters.items()}
        record.parameters = parameters
        record.masked = (*record.masked, *copied)
        record.changes = tuple(
            ChangedParameter(
                change.name, _without(change.before, needle, instead), _without(change.after, needle, instead)
            )
            for change in record.changes
        )


def _without(text: str | None, needle: str, instead: str) -> str | None:
    return None if text is None else text.replace(needle, instead)


def readable(record: Record) -> Record:
    """``record`` with every text made fit for UTF-8: a byte that was none shows as its surrogate, written as an escape.

    Parameters are decoded so that they encode to the same bytes again; so a sender's stray byte is a lone surrogate,
    and JSON cannot hold those. It is rare, hence apart from the making.
    """
    for name in record.__struct_fields__:
        setattr(record, name, _readable_value(getattr(record, name)))
    return record


def _readable_value(value: object) -> object:
    if isinstance(value, str) and not isinstance(value, Enum):
        return value.encode("utf-8", "backslashreplace").decode("utf-8")
    if isinstance(value, Mapping):
        return {_readable_value(name): _readable_value(text) for name, text in value.items()}
    if isinstance(value, tuple):
        return tuple(_readable_value(item) for item in value)
    if isinstance(value, ChangedParameter):
        return ChangedParameter(*(_readable_value(getattr(value, name)) for name in value.__struct_fields__))  # type: ignore[arg-type]
    if isinstance(value, RefusalRecord):
        return RefusalRecord(value.code, str(_readable_value(value.message)))
    return value
