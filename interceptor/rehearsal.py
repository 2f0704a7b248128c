"""A message that somebody writes down goes the way of a live one: into bytes, and through the pipeline.

For ``interceptor explain`` and for test cases. Nothing here decides: a command and a notification become the request
that would have come and go through :meth:`Pipeline.begin`; a verb becomes an app's answer with nothing else in it and
goes through the firewall.

Where a message names its app, nobody is asked for a password: it is taken for that app's.
"""

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from interceptor.audit.record import ChangedParameter, DecisionRecord, Recorder
from interceptor.exchanges import Answer, Arrival, Opened
from interceptor.firewall import Circumstances, Firewall
from interceptor.identity import Identifier
from interceptor.known_calls import KnownCalls
from interceptor.ownership import Holdings
from interceptor.particulars import names_of
from interceptor.pipeline import Pipeline
from interceptor.policy import RuleSet
from interceptor.policy.actions.limit import Limit
from interceptor.policy.meters import Meters
from interceptor.rows import TABLE_BYTES, Rows
from interceptor.settings import App, Masking, Settings, Subscription
from interceptor.values import CallFacts, Decision, Facts, Kind, Verb, Verdict
from interceptor.wire import knowledge, ozml
from interceptor.wire.knowledge import MessageType, parameter_name
from interceptor.wire.numbers import NumberReader
from interceptor.wire.parameters import encode

LISTENER = "rehearsal"
LOOPBACK = "127.0.0.1"
_WHOLE = Masking(numbers=None, dtmf=False)
_KEY = b"rehearsal"  # keys the digests of passwords that are compared here and nowhere else
_CALL_BYTES = TABLE_BYTES // 64
FORM = {"content-type": "application/x-www-form-urlencoded"}


class Message(Struct, frozen=True, kw_only=True):
    """A message as a person writes it. ``at`` is Unix time in seconds.

    ``app`` of ``None`` is found out as for a live message; ``""`` is a sender that no app is. ``source`` of ``None`` is
    an address of the app, or of this machine. ``target`` is a request target that is sent as it stands. ``hold`` says
    that the exchange goes on for now and keeps its slots of limits. ``call`` is the call that it is about; ``None`` is
    one of which nothing is known but what messages before this one told.
    """

    kind: Kind
    name: str
    parameters: tuple[tuple[str, str], ...] = ()
    app: str | None = None
    source: str | None = None
    headers: Mapping[str, str] = {}
    method: str = "GET"
    path: str = "/"
    target: bytes | None = None
    body: bytes = b""
    at: float = 0.0
    exchange: str = ""
    hold: bool = False
    call: CallFacts | None = None


class Rehearsed(Struct, frozen=True):
    """What a message came to: the decision, what the rules changed, and what the sender hears from us, if it does.

    For a verb that is taken out, ``answer`` is the document with what stands in its place.
    """

    facts: Facts
    decision: Decision
    changes: tuple[ChangedParameter, ...]
    answer: bytes | None
    record: DecisionRecord

    def values(self) -> dict[str, str]:
        """The parameters as they leave, their names in lower case."""
        values = dict(self.facts.values)
        for change in self.changes:
            name = parameter_name(change.name)
            if change.after is None:
                values.pop(name, None)
            else:
                values[name] = change.after
        return values


class Rehearsal:
    """Puts messages through the pipeline of these settings and rules. Belongs to one thread."""

    def __init__(self, settings: Settings, rules: RuleSet, masking: Masking = _WHOLE) -> None:
        self._settings = settings
        self._rules = rules
        self._recorder = Recorder(LISTENER, masking)
        self._numbers = NumberReader(settings.country, settings.extensions)
        self._pipelines: dict[str | None, Pipeline] = {}
        self._limited = any(isinstance(action, Limit) for rule in rules.rules for action in rule.actions)
        self._meters: Meters | None = None
        self._calls = _Calls()
        self.begin_anew()

    def begin_anew(self) -> None:
        """Forget what was sent before: limits count from here, and no call is known."""
        if self._limited:  # else one set of pipelines will do for all
            self._pipelines.clear()
            self._meters = Meters()
        if self._rules.asks_for_calls:
            self._pipelines.clear()
            self._calls = _Calls()

    def send(self, message: Message) -> Rehearsed:
        """What becomes of one message. ``ValueError`` for a verb that OzML cannot hold."""
        self._calls.given = message.call
        if message.kind is Kind.VERB:
            rehearsed = self._judge(message)
        else:
            rehearsed = of_opened(self._pipeline(message.app).begin(self._arrival(message)))
        if self._meters is not None and not message.hold:
            for slot in rehearsed.decision.slots:
                self._meters.give_back(slot)
        return rehearsed

    def _judge(self, message: Message) -> Rehearsed:
        """A verb, as the firewall judges it in an answer of its app."""
        seen: list[tuple[Facts, Decision, tuple[ChangedParameter, ...]]] = []
        firewall = Firewall(
            self._recorder,
            self._numbers,
            self._settings.limits,
            None,
            lambda *verb: seen.append(verb),
            calls=self._calls.find,
        )
        app = self._settings.apps.get(message.app or "")
        legacy = app is not None and app.legacy
        here = Circumstances(message.exchange, LISTENER, message.app or "", message.at, legacy=legacy)
        document = ozml.encode_verbs((Verb(message.name, message.parameters),))
        judged = firewall.answer(document, here, self._rules, self._meters)
        if judged is None or not seen:
            raise ValueError(f"`{message.name}` is no verb that OzML can hold")
        facts, decision, changes = seen[0]
        names = names_of(knowledge.verb(message.name))
        record = self._recorder.decision(
            message.exchange,
            message.at,
            LISTENER,
            facts,
            decision,
            secrets=names.secrets,
            dtmf=names.dtmf,
            numbers=names.numbers,
            changes=changes,
        )
        instead = None if decision.verdict is Verdict.ALLOW else judged.body
        return Rehearsed(facts, decision, changes, instead, record)

    def _pipeline(self, app: str | None) -> Pipeline:
        pipeline = self._pipelines.get(app)
        if pipeline is None:
            settings = self._settings
            if app is None:
                identifier = Identifier(settings.apps.values(), _KEY)
            else:
                identifier = _Known(app)
                subscriptions = (Subscription(app),) if app else ()
                settings = replace(settings, subscriptions=subscriptions)
            pipeline = self._pipelines[app] = Pipeline(
                settings, self._rules, self._recorder, identifier, self._meters, calls=self._calls
            )
        return pipeline

    def _arrival(self, message: Message) -> Arrival:
        headers = {name.lower(): value for name, value in message.headers.items()}
        method, body, target = message.method, message.body, message.target
        if target is None:
            naming = "command" if message.kind is Kind.COMMAND else "NotificationName"
            form = _form(((naming, message.name), *message.parameters))
            path = message.path.encode("utf-8", "surrogateescape")
            if message.kind is Kind.COMMAND and method == "GET":
                target = path + b"?" + form
            else:
                method, target, body = "POST", path, form
                headers = FORM | headers
        source = message.source or self.source_of(message.app)
        return Arrival(message.exchange, LISTENER, message.kind, source, method, target, headers, body, message.at)

    def source_of(self, app: str | None) -> str:
        """An address that the app may come from."""
        known: App | None = self._settings.apps.get(app or "")
        if known is None or not known.sources:
            return LOOPBACK
        return str(next(iter(known.sources[0].hosts())))


class _Calls(KnownCalls):
    """Knows what the messages of one case have told, and what is ``given`` with a message before that."""

    def __init__(self) -> None:
        super().__init__(Holdings(bytearray(_CALL_BYTES)), Rows(bytearray(_CALL_BYTES)))
        self.given: CallFacts | None = None

    def find(
        self, message: MessageType | None, values: Mapping[str, str], app: str, at: float, around: str = ""
    ) -> CallFacts | None:
        return self.given or super().find(message, values, app, at, around)


class _Known(Identifier):
    """Knows the sender already."""

    def __init__(self, app: str) -> None:
        super().__init__((), _KEY)
        self._app = app

    def identify(self, source: str, username: str | None, password: str | None, now: float) -> str:
        del source, username, password, now
        return self._app


def of_opened(opened: Opened) -> Rehearsed:
    """What a message came to, of an exchange that the pipeline has opened."""
    answer = opened.plan.body if isinstance(opened.plan, Answer) else None
    return Rehearsed(opened.facts, opened.decision, opened.changes, answer, opened.record)


def _form(pairs: tuple[tuple[str, str], ...]) -> bytes:
    return b"&".join(encode(name) + b"=" + encode(value) for name, value in pairs)
