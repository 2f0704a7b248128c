"""The OzML firewall: the verbs in an app's answer are messages too, judged one by one before the PBX runs them.

Every verb of a document goes to the rules with its own name, its attributes, its text and the numbers in them, at any
depth, and so does OzML inside a parameter. What a rule changes is changed in its place; what is refused is taken out,
or gives way to a rule's own verbs. Callbacks become addresses of ours (``callbacks/``). The rest of the document stays
byte for byte as it was.

A refused verb on which the caller's way depends (a transfer, the next menu) leaves silence behind. So where a caller is
on the line it gives way to the refusal, spoken, and a ``Hangup``. Any other just does not happen.

Some verbs reach beyond the call, to the files and databases of the PBX. No default lets them through: only a rule does.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct, field
from msgspec.structs import replace

from interceptor.audit.record import ChangedParameter, DecisionRecord, Recorder
from interceptor.callbacks import Capture, Captured, Origin
from interceptor.particulars import differences, names_of
from interceptor.policy import RuleSet
from interceptor.policy.meters import Meters
from interceptor.settings import Limits
from interceptor.values import (
    CallFacts,
    Decision,
    Facts,
    Kind,
    NumberClass,
    Refusal,
    RenameParameter,
    Reply,
    SetParameter,
    Verb,
    Verdict,
)
from interceptor.wire import knowledge
from interceptor.wire.codes import Code, sentence
from interceptor.wire.knowledge import MessageType, Role, lower, parameter_name
from interceptor.wire.markup import Element, Markup, is_attribute_name, read_markup
from interceptor.wire.numbers import NumberReader
from interceptor.wire.ozml import encode_fragment, values_of
from interceptor.wire.parameters import decode, encode
from interceptor.wire.xml import is_too_deep

_DANGEROUS: Final = frozenset({"deletefile", "movefile", "sql"})
_SQL: Final = re.compile(  # each alternative begins with another character
    r"(?:\s|\(|--[^\n]*\n|/\*(?:[^*]|\*(?!/))*\*/)*"
    r"(?:select|insert|update|delete|exec|execute|call|with|merge|drop|alter|create|truncate|replace|declare)"
    r"(?=[\s(*\"'`\[@+$]|/\*|--)",
    re.IGNORECASE,
)
# What else can be no address is taken for SQL, too: what has blanks or what no address holds as it stands, a variable,
# which may be anything. `update.php` and `call/me` are addresses.
_ADDRESS: Final = re.compile(
    r"\s*+(?:[a-z][a-z0-9+.\-]*://|(?!\$|/\*|--|#)[^\s;'\"`()\[\]{}<>\\]*\s*\Z)", re.IGNORECASE
)
_LEADS_ON: Final = frozenset({"blindtransfer", "goto", "userinput"})
_SENDS: Final = frozenset(
    {"sendsms", "sendemail", "sendmessage", "sendmsg", "sendalarmnotification", "call", "callsetup"}
)
_SPOKEN: Final = "This is not possible."
_INLINE_MOST: Final = 256 << 10  # bytes of OzML inside a parameter
_DECLARATION: Final = re.compile(r"^\s*<\?xml\s[^>]*\?>")
_SILENCE: Final = "<Response></Response>"
_INLINE_DEPTH: Final = 4  # of OzML inside a parameter inside OzML inside …
_LOOPS_MOST: Final = 3  # ForEach in ForEach
_ANSWERED_MOST: Final = 20  # names of verbs that are told of an answer
_CALL_MOST: Final = 40  # characters of a call's id in a token, which stands in an address: ours have six
_WAITING: Final = frozenset({"input", "received"})  # what stands in these runs when a key or an alarm comes
_MENUS_MOST: Final = 8
_NAME_MOST: Final = 40  # characters of such a name: a sender may write any


class Judged(Struct):
    """What the firewall did to one document.

    ``body`` is ``None`` where nothing changed. ``over`` names the cap that the document is over, if any: then nothing
    of it may pass. ``unjudged`` says why OzML in a parameter of a command may not pass, by the reason of a refusal.
    ``caps`` names each cap that was met. ``records`` are those of the verbs that dial, that were refused or that a rule
    touched; ``counts`` how many verbs had which verdict by which rule; ``answered`` names the first of the verbs that
    stand in no other, as they go to the PBX.
    """

    body: bytes | None = None
    over: str = ""
    unjudged: str = ""
    caps: list[str] = field(default_factory=list)
    verbs: int = 0
    refused: int = 0
    records: list[DecisionRecord] = field(default_factory=list)
    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    captured: Captured = field(default_factory=Captured)
    answered: list[str] = field(default_factory=list)


class Circumstances(Struct, frozen=True):
    """Whose verbs they are, in which exchange, when, whether a caller is on the line, and about which call.

    What cannot be read of a ``legacy`` app's verbs passes as it came.
    """

    exchange: str
    listener: str
    app: str
    at: float
    caller_waits: bool = False
    call: str = ""
    legacy: bool = False


Watch = Callable[[Facts, Decision, tuple[ChangedParameter, ...]], None]
Owned = Callable[[Facts, MessageType | None, Decision], Decision]
CallOf = Callable[[MessageType | None, Mapping[str, str], str, float, str], CallFacts | None]


class Firewall:
    """Judges documents of one worker by the rules that are handed in.

    ``watch`` is told of every verb; ``owned`` refuses one that acts on a call which is not the app's own; ``calls``
    tells how the call stands that a verb is about.
    """

    def __init__(
        self,
        recorder: Recorder,
        numbers: NumberReader,
        limits: Limits,
        capture: Capture | None,
        watch: Watch | None = None,
        owned: Owned | None = None,
        calls: CallOf | None = None,
    ) -> None:
        self._calls = calls
        self._watch = watch
        self._owned = owned
        self._recorder = recorder
        self._numbers = numbers
        self._limits = limits
        self._capture = capture

    def answer(self, body: bytes, here: Circumstances, rules: RuleSet, meters: Meters | None) -> Judged | None:
        """Judge an app's answer; ``None`` where it cannot be read."""
        if not body.strip():
            return Judged()
        markup = read_markup(body, max_depth=self._limits.xml_depth)
        if markup is None:
            deep = is_too_deep(body, max_depth=self._limits.xml_depth)
            return Judged(over="xml_depth", caps=["xml_depth"]) if deep else None
        return self._document(_Reading(here, rules, meters, Judged()), markup)

    def command(
        self,
        message: MessageType | None,
        values: Mapping[str, str],
        here: Circumstances,
        rules: RuleSet,
        meters: Meters | None,
        *,
        emergency: bool = False,
    ) -> tuple[tuple[SetParameter, ...], Judged]:
        """Judge the OzML inside a command's parameters and capture its callbacks; what to set, and what was done.

        A call for help is never refused for its callbacks: one that is not allowed leads nowhere instead.
        """
        reading = _Reading(here, rules, meters, Judged(), emergency=emergency)
        changes = self._inner_changes(reading, message, values, emergency=emergency)
        reading.judged.unjudged = reading.unjudged
        return changes, reading.judged

    def _document(self, reading: "_Reading", markup: Markup) -> Judged:
        judged = reading.judged
        judged.over = self._over(markup)
        if judged.over:
            judged.caps.append(judged.over)
            return judged
        self._elements(reading, markup)
        if markup.edited:
            judged.body = markup.written()
        return judged

    def _over(self, markup: Markup) -> str:
        """The cap that a document is over, by its name in ``limits``; empty where it is within all."""
        elements = list(markup.root.descendants())
        limits = self._limits
        if len(elements) > limits.verbs:
            return "verbs"
        if sum(lower(each.name) in _SENDS for each in elements) > limits.messages:
            return "messages"
        deepest = max((each.depth for each in elements), default=0)
        if deepest > limits.verb_depth or any(_loops_around(each) > _LOOPS_MOST for each in elements):
            return "verb_depth"
        return ""

    def _elements(self, reading: "_Reading", markup: Markup) -> None:
        waiting = list(reversed(markup.root.children))
        while waiting:
            element = waiting.pop()
            if lower(element.name) in knowledge.STRUCTURE or self._verb(reading, markup, element):
                waiting += reversed(element.children)

    def _verb(self, reading: "_Reading", markup: Markup, element: Element) -> bool:
        """Judge one verb; whether it stays, so that what stands in it is to be judged as well."""
        here, judged = reading.here, reading.judged
        message = knowledge.verb(element.name)
        values, ambiguous = values_of(element.verb)
        facts = self._facts(reading, message, message.name if message is not None else element.name, values)
        decision = self._decide(reading, facts, ambiguous)
        if self._owned is not None:
            decision = self._owned(facts, message, decision)
        after = dict(values)
        changes: tuple[ChangedParameter, ...] = ()
        if decision.verdict is Verdict.ALLOW:
            if decision.changes:
                after = _changed(values, decision)
                changes = differences(decision, values, after)
                odd = next((name for name in after if name not in values and not is_attribute_name(name)), None)
                if odd is not None and _is_for_help(facts):  # that call is made, whatever else was wanted with it
                    decision, after, changes = replace(decision, changes=()), dict(values), ()
                elif odd is not None:
                    decision = _refuse(reading.rules, "unwritable", f"`{odd}` is no name that a verb can have")
            before = judged.captured.refused
            for change in self._inner_changes(reading, message, after, emergency=_is_for_help(facts)):
                after[change.name] = change.value
            if judged.captured.refused and not before:
                decision = _refuse(reading.rules, "callback_forbidden", judged.captured.refused)
                judged.captured.refused = ""
            if reading.unjudged:
                decision = _refuse(reading.rules, reading.unjudged, "Verbs that cannot be judged")
                reading.unjudged = ""
        if self._watch is not None:
            self._watch(facts, decision, changes)
        judged.verbs += 1
        key = (decision.verdict.value, decision.rule)
        judged.counts[key] = judged.counts.get(key, 0) + 1
        if decision.verdict is not Verdict.ALLOW or decision.rules or decision.shadow or facts.number is not None:
            record = self._record(here, message, facts, decision, changes)
            record.menu = _menu(element)
            judged.records.append(record)
        if decision.verdict is Verdict.ALLOW:
            _write(markup, element, message, values, after, decision)
            _note(reading, element, (facts.name,))
            return True
        judged.refused += decision.verdict is Verdict.DENY
        instead = self._instead(here, element, decision)
        _note(reading, element, tuple(verb.name for verb in instead))
        if instead:
            markup.replace(element, encode_fragment(instead))
        else:
            markup.remove(element)
        return False

    def _decide(self, reading: "_Reading", facts: Facts, ambiguous: str | None) -> Decision:
        rules = reading.rules
        if ambiguous is not None:
            return _refuse(rules, "ambiguous", sentence(Code.INVALID_PARAMETER, ambiguous, facts.name))
        decision = self._by_rules(reading, facts)
        if decision.verdict is Verdict.ALLOW and (query := _hidden_sql(facts)):
            # Whoever allows menus has not allowed a database: the rules are asked for what it is as well.
            asked = self._facts(reading, knowledge.verb("SQL"), "SQL", {"query": query})
            by_query = self._by_rules(reading, asked)
            if by_query.verdict is not Verdict.ALLOW:
                return by_query
        return decision

    def _by_rules(self, reading: "_Reading", facts: Facts) -> Decision:
        decision = reading.rules.decide(facts, reading.meters)
        if reading.meters is not None:
            for slot in decision.slots:  # nobody tells us when the PBX has run a verb
                reading.meters.give_back(slot)
        if decision.verdict is Verdict.ALLOW and decision.reason == "default" and _is_dangerous(facts):
            return _refuse(reading.rules, "dangerous_verb", f"{facts.name} is not allowed without a rule")
        return decision

    def _inner_changes(
        self, reading: "_Reading", message: MessageType | None, values: Mapping[str, str], *, emergency: bool
    ) -> tuple[SetParameter, ...]:
        """What to set so that the callbacks in ``values`` are ours and the verbs in them judged."""
        here, judged = reading.here, reading.judged
        changes: list[SetParameter] = []
        for name, value in values.items():
            role = knowledge.role(message, name)
            instead: str | None = None
            if role is Role.CALLBACK and self._capture is not None:
                origin = Origin(here.app, here.exchange, here.call[:_CALL_MOST], reading.rules.revision, here.at)
                instead = self._capture.address(value, origin, judged.captured, anyway=emergency)
            elif role is Role.OZML and "<" in value:
                instead = self._inline(reading, value, emergency=emergency or reading.emergency)
            if instead is not None:
                changes.append(SetParameter(name, instead))
        return tuple(changes)

    def _inline(self, reading: "_Reading", value: str, *, emergency: bool) -> str | None:
        """The OzML in a parameter as it may pass, ``None`` where that is as it came.

        What nobody can judge may not pass: ``reading.unjudged`` says why. In a call for help it is left out instead:
        that call is made, whatever else was wanted with it.
        """
        # In a parameter it is text, of which a declaration says nothing any more.
        text = _DECLARATION.sub("", value, count=1)
        body = text.encode("utf-8", "surrogateescape")
        markup = read_markup(body, _INLINE_MOST, self._limits.xml_depth)
        cap = ""
        if reading.depth >= _INLINE_DEPTH:
            cap = "verb_depth"
        elif markup is not None:
            cap = self._over(markup)
        elif is_too_deep(body, _INLINE_MOST, self._limits.xml_depth):
            cap = "xml_depth"
        if cap:
            reading.judged.caps.append(cap)
        if cap or markup is None:
            unread = not cap and len(body) <= _INLINE_MOST
            if unread and reading.here.legacy:
                return None
            if emergency:
                return _SILENCE
            reading.unjudged = "unreadable_ozml" if unread else "verbs_over_cap"
            return None
        before, reading.emergency = reading.emergency, emergency
        reading.depth += 1
        self._elements(reading, markup)
        reading.depth -= 1
        reading.emergency = before
        return markup.written().decode("utf-8", "surrogateescape") if markup.edited else None

    def _facts(self, reading: "_Reading", message: MessageType | None, name: str, values: dict[str, str]) -> Facts:
        here, classify = reading.here, reading.rules.classify
        reads = message or knowledge.unknown(Kind.VERB)
        number = self._numbers.dialled(reads, values, classify)
        caller = self._numbers.calling(reads, values, classify)
        call = None
        if self._calls is not None and reading.rules.asks_for_calls:
            call = self._calls(message, values, here.app, here.at, here.call)
        facts = Facts(Kind.VERB, name, here.app, "", number, caller, values, {}, here.at, here.exchange, call)
        if len(reads.dialled) < 2:
            return facts
        return reading.rules.strictest(facts, self._numbers.others(reads, values, number, classify))

    def _record(
        self,
        here: Circumstances,
        message: MessageType | None,
        facts: Facts,
        decision: Decision,
        changes: tuple[ChangedParameter, ...],
    ) -> DecisionRecord:
        names = names_of(message)
        return self._recorder.decision(
            here.exchange,
            here.at,
            here.listener,
            facts,
            decision,
            secrets=names.secrets,
            dtmf=names.dtmf,
            numbers=names.numbers,
            changes=changes,
        )

    def _instead(self, here: Circumstances, element: Element, decision: Decision) -> tuple[Verb, ...]:
        if decision.verdict is Verdict.ANSWER:
            return (decision.reply or Reply()).verbs
        if here.caller_waits and lower(element.name) in _LEADS_ON:
            # What a rule says is for people; what we say of our own reasons is for the app and the record.
            refusal = decision.refusal if decision.rule else None
            spoken = refusal.message if refusal is not None else _SPOKEN
            return (Verb("Speak", (), spoken), Verb("Hangup"))
        return ()


class _Reading(Struct):
    """One document on its way through the firewall; ``emergency``: it came with a call for help."""

    here: Circumstances
    rules: RuleSet
    meters: Meters | None
    judged: Judged
    depth: int = 0
    emergency: bool = False
    unjudged: str = ""


def _refuse(rules: RuleSet, reason: str, message: str) -> Decision:
    return Decision(Verdict.DENY, reason, rules.revision, refusal=Refusal(Code.FORBIDDEN_USER, message))


def _is_for_help(facts: Facts) -> bool:
    return facts.number is not None and facts.number.number_class is NumberClass.EMERGENCY


def _is_dangerous(facts: Facts) -> bool:
    return lower(facts.name) in _DANGEROUS or bool(_hidden_sql(facts))


def _hidden_sql(facts: Facts) -> str:
    """The SQL in a verb that is called otherwise; empty where there is none."""
    query = facts.values.get("executesql", "")
    if query:
        return query
    if lower(facts.name) != "goto":
        return ""
    url = facts.values.get("url", "")
    return url if _SQL.match(url) is not None or _ADDRESS.match(url) is None else ""


def _loops_around(element: Element) -> int:
    """How many loops run it, its own with them; the root is none."""
    return sum(lower(each.name) == "foreach" for each in (*element.around, element.verb)[1:])


def _menu(element: Element) -> str:
    """What has to be pressed, or received, before a verb runs that stands in a menu; empty where it runs at once."""
    waits: list[str] = []
    for around in reversed(element.around):
        if len(waits) == _MENUS_MOST:
            break
        name = lower(around.name)
        if name in _WAITING:
            key = next((value for each, value in around.attributes if lower(each) == "key"), None)
            waits.append(name if key is None else key[:_NAME_MOST])
    return " ".join(reversed(waits))


def _note(reading: "_Reading", element: Element, names: tuple[str, ...]) -> None:
    answered = reading.judged.answered
    if reading.depth == 0 and element.depth == 1 and len(answered) < _ANSWERED_MOST:
        answered.extend(name[:_NAME_MOST] for name in names)


def _changed(values: Mapping[str, str], decision: Decision) -> dict[str, str]:
    """The values after the changes of the rules, which mean the same in a verb as in a query."""
    query = b"&".join(encode(name) + b"=" + encode(value) for name, value in values.items())
    return decode(query).changed(decision.changes).values


def _write(
    markup: Markup,
    element: Element,
    message: MessageType | None,
    before: Mapping[str, str],
    after: Mapping[str, str],
    decision: Decision,
) -> None:
    """Write what differs, names as the rules spell them."""
    spellings = {parameter_name(change.name): change.name for change in decision.changes}
    for change in decision.changes:
        if isinstance(change, RenameParameter):
            old, new = parameter_name(change.name), parameter_name(change.to)
            spellings[new] = change.to
            if (
                (old == new or new not in before)
                and before.get(old, "") == after.get(new)
                and element.attribute(old) is not None
            ):
                markup.rename_attribute(element, old, change.to)
                before = {new if name == old else name: value for name, value in before.items()}
    text = message.text if message is not None else ""
    in_text = bool(text) and element.attribute(text) is None
    for name in before:
        if name not in after:
            if name == text and in_text:
                markup.set_text(element, "")
            else:
                markup.remove_attribute(element, name)
    for name, value in after.items():
        if before.get(name) == value:
            continue
        if name == text and in_text:
            markup.set_text(element, value.strip())
        else:
            markup.set_attribute(element, spellings.get(name, name), value)
