"""What audit records show of calls: records in, sightings out, and into the fold of ``calls/``.

The same records live and out of the journal, so a restart finds the calls as they were. Numbers stay as the record has
them: where numbers are masked, two that look alike are taken for equal, and a join by numbers is that much less sure.

What the PBX calls the caller, the callee and the state in its notifications is not established (reference, section
4.3). So parameters are found by any of the names that such things have elsewhere, with or without an ``X-``.
"""

import re
from collections.abc import Hashable, Mapping
from datetime import datetime
from typing import Any, Final

from msgspec import Struct

from interceptor.audit.masking import Masker
from interceptor.audit.record import DecisionRecord, Record, SettlementRecord
from interceptor.calls import Calls, Changed, Closing, Said, Sighting
from interceptor.calls.meaning import CALLING
from interceptor.settings import Masking
from interceptor.values import Kind
from interceptor.wire import knowledge
from interceptor.wire.knowledge import Role
from interceptor.wire.numbers import NumberReader

LONGEST_ID: Final = 64  # characters of a call's id; what is longer is none
_LONGEST_GIST: Final = 160
_LONGEST_VALUE: Final = 60
_SHAPES: Final = 2048
_ONES: Final = 4096
_CALLERS: Final = frozenset({"callerid", "source", "caller", "callernumber", "callerphonenumber", "from"})
_CALLEES: Final = frozenset({"dialed", "destination", "callee", "called", "calleenumber", "dialednumber", "to"})
_PARTIES: Final = _CALLERS | _CALLEES
_NUMBER: Final = re.compile(r"\+?[0-9][0-9 ()./-]{4,}")  # digits that may be somebody's number
_OTHER_CALL: Final = "targetcallid"
_OWN_CALL: Final = tuple(name for name in knowledge.CALL_IDS if name != _OTHER_CALL)
_UNTOLD: Final = frozenset(
    {
        "command",
        "notificationname",
        "username",
        "password",
        "apiextension",
        *knowledge.CALL_IDS,
        *knowledge.SECRET_NAMES,
    }
)
_ASKS_FOR_MANY: Final = frozenset({"GetCallHistory", "ListCallHistory"})  # their call id is a filter
_NONE: Final[Mapping[str, str]] = {}


class _Shape(Struct, frozen=True, gc=False):
    """Which parameters of messages with one set of names say what; ``""`` where none does."""

    call_id: str
    other_id: str
    state: str
    caller: str
    callee: str
    told: tuple[str, ...]


class Follower:
    """Reads the records of one journal, or of several in the order of their times, into calls."""

    def __init__(self, calls: Calls, numbers: NumberReader, masking: Masking) -> None:
        self.calls = calls
        self._numbers = numbers
        self._masker = Masker(masking)
        self._canonical: dict[str, str] = {}
        self._ones: dict[Hashable, Any] = {}
        self._shapes: dict[tuple[object, ...], _Shape] = {}
        self._second = ""
        self._seconds = 0.0

    def follow(self, record: Record) -> None:
        """One more record."""
        if type(record) is DecisionRecord:
            if record.kind is Kind.VERB:
                self.calls.say(record.exchange, self._said(record))
                return
            sighting = self._sighting(record)
            if sighting is not None:
                self.calls.see(sighting)
        elif type(record) is SettlementRecord and self.calls.awaits(record.exchange):
            self.calls.close(self._closing(record))

    def _sighting(self, record: DecisionRecord) -> Sighting | None:
        name, parameters = record.name, record.parameters or _NONE
        command = record.kind is Kind.COMMAND
        shape = self._shape(record, parameters)
        call_id = parameters[shape.call_id] if shape.call_id else ""
        if len(call_id) > LONGEST_ID:
            call_id = ""
        elif not call_id.isascii():
            call_id = _readable(call_id)
        if command:
            if name in CALLING:
                call_id = ""  # it has none yet, whatever is written there
            elif not call_id or name in _ASKS_FOR_MANY:
                return None
        elif record.reason.startswith("callback_"):  # whoever sent it has no callback of ours: it says nothing
            return None
        caller, dialled = record.caller, record.number
        target = ""
        if command and name not in CALLING:
            target, dialled = dialled, ""
        elif name != "RoutingInterception":
            if not caller and shape.caller:
                caller = self._read(parameters[shape.caller])
            if not dialled and shape.callee:
                dialled = self._read(parameters[shape.callee])
        refusal = record.refusal
        sighting = Sighting(
            record.exchange,
            self._time(record.at),
            record.kind,
            self._one(name if name.isascii() else _readable(name)),
            record.app,
            call_id,
            _readable(parameters[shape.other_id][:LONGEST_ID]) if shape.other_id else "",
            record.origin,
            self._one(caller if caller.isascii() else _readable(caller)),
            self._one(dialled if dialled.isascii() else _readable(dialled)),
            self._one(target if target.isascii() else _readable(target)),
            self._read(parameters.get("lastdialednumber", "")) if name == "RoutingInterception" else "",
            self._one(_readable(parameters[shape.state][:_LONGEST_VALUE])) if shape.state else "",
            record.verdict,
            record.reason,
            record.rule,
            self._one(record.rules),
            (),
            None if refusal is None else refusal.code,
            self._one(record.reply_verbs),
            self._one(record.target),
            self._one(record.source),
            record.revision,
            record.worker,
            self._gist(parameters, shape.told) if shape.told else "",
            record.captured,
        )
        if record.changes:
            sighting.changes = _changes(record)
            if command and name in CALLING:
                self._as_it_left(sighting)
        return sighting

    def _as_it_left(self, sighting: Sighting) -> None:
        """The numbers that the PBX was given, not those that the app wrote: these are what it tells of later."""
        for change in sighting.changes:
            role = knowledge.role(knowledge.command(sighting.name), knowledge.parameter_name(change.name))
            if change.after and role is Role.NUMBER_CALLER:
                sighting.caller = self._read(change.after)
            elif change.after and role is Role.NUMBER_DIALLED:
                sighting.dialled = self._read(change.after)

    def _gist(self, parameters: Mapping[str, str], told: tuple[str, ...]) -> str:
        """What else a message says, for people, in few words; what looks like a number is masked like one."""
        words = []
        for name in told:
            value = parameters[name][:_LONGEST_VALUE]
            if value:
                is_number = value[-1].isdigit() and _NUMBER.fullmatch(value) is not None
                words.append(f"{name}={self._masker.number(value) if is_number else value}")
        return _readable(" ".join(words)[:_LONGEST_GIST])

    def _said(self, record: DecisionRecord) -> Said:
        parameters = record.parameters or _NONE
        return Said(
            self._one(_readable(record.name)),
            record.verdict,
            self._one(_readable(record.number)),
            _readable(parameters.get("callid", "")[:LONGEST_ID]),
            self._one(record.rules),
            _changes(record),
            None if record.refusal is None else record.refusal.code,
            self._one(_readable(record.menu)),
        )

    def _closing(self, record: SettlementRecord) -> Closing:
        return Closing(
            record.exchange,
            self._time(record.at),
            record.outcome,
            record.code,
            record.endpoint,
            self._one(record.answered),
            record.verbs,
            record.verbs_refused,
            record.captured,
            record.upstream_microseconds,
            record.total_microseconds,
        )

    def _shape(self, record: DecisionRecord, parameters: Mapping[str, str]) -> _Shape:
        key = (record.kind, record.name, *parameters)
        found = self._shapes.get(key)
        if found is None:
            found = _read_shape(record, parameters)
            if len(self._shapes) >= _SHAPES:
                self._shapes.clear()
            self._shapes[key] = found
        return found

    def _read(self, written: str) -> str:
        """A number as records show it."""
        if not written or "*" in written:
            return written
        found = self._canonical.get(written)
        if found is None:
            if len(self._canonical) >= _SHAPES:
                self._canonical.clear()
            found = self._canonical[written] = self._masker.number(self._numbers.read(written).canonical)
        return found

    def _one[T: (str, tuple[str, ...])](self, value: T) -> T:
        """The one object for all values that are equal: thousands of messages are kept, and they say few things."""
        if len(value) > _LONGEST_VALUE:
            return value
        found: T | None = self._ones.get(value)
        if found is None:
            if len(self._ones) >= _ONES:
                self._ones.clear()
            found = self._ones[value] = value
        return found

    def _time(self, written: str) -> float:
        """Unix time of ``2026-11-23T09:12:51.000250Z``; most of it is read once a second."""
        second = written[:20]
        if second != self._second:
            self._seconds = datetime.fromisoformat(second[:19] + "+00:00").timestamp()
            self._second = second
        return self._seconds + int(written[20:26]) / 1_000_000


def _read_shape(record: DecisionRecord, parameters: Mapping[str, str]) -> _Shape:
    kind_of = (knowledge.command if record.kind is Kind.COMMAND else knowledge.notification)(record.name)
    call_id = next((name for name in _OWN_CALL if name in parameters), "")
    other_id = _OTHER_CALL if _OTHER_CALL in parameters and record.name == "AttendedTransfer" else ""
    plain = {name.removeprefix("x-"): name for name in reversed(list(parameters))}
    state = caller = callee = ""
    if record.name == "RoutingInterception":
        state = "lastcallstate" if "lastcallstate" in parameters else ""
    elif record.kind is Kind.NOTIFICATION:
        state = next((name for name in parameters if name.endswith("state")), "")
    if record.kind is Kind.NOTIFICATION:
        caller = next((name for short, name in plain.items() if short in _CALLERS), "")
        callee = next((name for short, name in plain.items() if short in _CALLEES), "")
    shown = {"callerid", "dialed", "target", "destination", "originaldialednumber", state, caller, callee}
    routing = record.name == "RoutingInterception"  # what it says stands in the sighting
    told = (
        ()
        if routing
        else tuple(
            name
            for name in parameters
            if name not in _UNTOLD
            and name.removeprefix("x-") not in _PARTIES
            and name not in shown
            and knowledge.role(kind_of, name) not in {Role.CALLBACK, Role.OZML, Role.SECRET}
        )
    )
    return _Shape(call_id, other_id, state, caller, callee, told[:4])


def _changes(record: DecisionRecord) -> tuple[Changed, ...]:
    return tuple(Changed(_readable(each.name), _short(each.before), _short(each.after)) for each in record.changes)


def _short(text: str | None) -> str | None:
    return None if text is None else _readable(text[:_LONGEST_GIST])


def _readable(text: str) -> str:
    """A text as the journal writes it: what was no UTF-8 is told byte by byte."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")
