"""One exchange without I/O: ``begin()`` makes a plan of what arrived, ``finish()`` and ``fail()`` settle how it ended.

The eight steps of an exchange, and where each is done:

1. accept        ``gateway/taking.py`` and ``gateway/connection.py`` (plain HTTP/1) or ``gateway/addon.py`` (mitmproxy's
                 layers) read one whole request.
2. decode        ``wire/parameters.py``, ``wire/knowledge.py``: a command or a notification; ``identity.py``: the app
                 that asks.
3. canonicalize  ``wire/numbers.py``: the numbers it carries.
4. decide        ``policy/ruleset.py``: verdict, reason, rules, revision.
5. plan          here: forward this there, or answer with that.
6. record        ``audit/record.py`` makes the record here; ``journal/`` keeps it before anything moves.
7. carry out     ``gateway/exchange.py`` forwards or answers.
8. settle        here: the reply is read, faults become the failure table's answers; then recorded, counted, released.

A refusal is a value: every way through this module ends in a plan or a settlement. A fault in here is an exception; the
gateway catches it and asks :meth:`Pipeline.broken` for the plan that the failure table names.
"""

from collections.abc import Mapping
from typing import NamedTuple

from msgspec.structs import replace

from interceptor.app_addresses import AppAddresses, path_with_query
from interceptor.audit.record import ChangedParameter, Recorder
from interceptor.callbacks import Capture, Keyring, Targets, Unusable
from interceptor.callbacks.capture import PATH as CALLBACK_PATH
from interceptor.calls import Closing
from interceptor.canary import CanaryRules
from interceptor.copies import Copies
from interceptor.exchanges import NO_OPINION, Answer, Arrival, Fault, Forward, Opened, Patience, Plan, Settlement
from interceptor.failure_table import FailureTable
from interceptor.firewall import Circumstances, Firewall, Judged
from interceptor.identity import Identifier
from interceptor.known_calls import KnownCalls
from interceptor.older_rules import OlderRules
from interceptor.ownership import Holdings, filtered, is_list, named_calls
from interceptor.particulars import differences, names_of
from interceptor.policy import Meters, RuleSet
from interceptor.settings import CallsRule, Cluster, Deadlines, Ownership, Settings
from interceptor.storms import Storms
from interceptor.values import (
    CallFacts,
    Decision,
    Facts,
    Kind,
    NumberClass,
    Refusal,
    Reply,
    SetParameter,
    ToApp,
    ToCluster,
    ToUrl,
    Verdict,
)
from interceptor.wire import answers, knowledge, ozml
from interceptor.wire.codes import Code, sentence
from interceptor.wire.knowledge import Group, MessageType, Role
from interceptor.wire.numbers import NumberReader, extension_plan
from interceptor.wire.parameters import Parameters, decode, join_target, split_target
from interceptor.wire.url import take_apart

_KEPT_REPLIES = 1024
_KEPT_FORMS = 256


_GROUPS = {
    Group.ROUTING: Patience.ROUTING,
    Group.INTERACTIVE: Patience.INTERACTIVE,
    Group.REPORT: Patience.REPORT,
    None: Patience.REPORT,
}
_IDENTITY_REASONS: dict[int, str] = {
    Code.AUTHENTICATION_REQUIRED: "authentication_required",
    Code.AUTHENTICATION_FAILED: "authentication_failed",
    Code.FORBIDDEN_ADDRESS: "address_forbidden",
}


class _Callback(NamedTuple):
    """Where a callback leads: its app and address, or why nowhere; the exchange, call and revision it is of."""

    app: str
    url: str
    refused: Decision | None
    origin: str
    hint: str
    revision: str


class Pipeline:
    """What every exchange of one worker goes through. Holds no state of an exchange; ``rules`` is swapped whole."""

    def __init__(
        self,
        settings: Settings,
        rules: RuleSet,
        recorder: Recorder,
        identifier: Identifier,
        meters: Meters | None = None,
        keys: Keyring | None = None,
        holdings: Holdings | None = None,
        calls: KnownCalls | None = None,
    ) -> None:
        self.rules = rules
        self.older = OlderRules()
        self.canary: CanaryRules | None = None
        self._calls = calls
        self._meters = meters
        self._taken = 0  # the number of the last slot that was taken before the exchange that is being begun
        self._settings = settings
        self._recorder = recorder
        self._identifier = identifier
        self._numbers = NumberReader(settings.country, settings.extensions)
        self._pass_ambiguous = settings.pass_ambiguous
        self._keys = keys
        self._holdings = holdings
        self._storms = Storms(settings.limits.hops)
        self._owners_enforced = settings.ownership is Ownership.ENFORCE
        self._extensions = {
            name: extension_plan(app.extensions) for name, app in settings.apps.items() if app.extensions is not None
        }
        self._targets = Targets(settings.apps)
        self._capture: Capture | None = None
        public = settings.callbacks.public_url
        if keys is not None and public is not None:
            self._capture = Capture(str(public), keys, self._targets, settings.callbacks.lifetime)
        self._firewall = Firewall(
            recorder, self._numbers, settings.limits, self._capture, owned=self._owned, calls=self._call_of
        )
        self._replies: dict[Reply, bytes] = {}
        self._clusters = {name: _credential_changes(cluster) for name, cluster in settings.clusters.items()}
        self._home = ToCluster(settings.default_cluster)  # where commands go that no rule sends elsewhere
        self._homes = {name: ToCluster(app.cluster) for name, app in settings.apps.items() if app.cluster is not None}
        self._failures = FailureTable(settings.apps)
        self.addresses = AppAddresses(settings.apps)
        self.copies = Copies(self.addresses, self._clusters)

    def adopt(self, rules: RuleSet, at: float, canary: CanaryRules | None = None) -> None:
        """Decide by these rules from now on, and a share of the calls by the canary's, if there is one.

        Calls in progress are decided by those that they began with, where config says so.
        """
        if self._calls is not None and self._settings.policy.calls is CallsRule.KEEP:
            stay = {rules.revision} if canary is None else {rules.revision, canary.rules.revision}
            before = [self.rules] if self.canary is None else [self.canary.rules, self.rules]
            for each in before:
                if each.revision not in stay:
                    self.older.keep(each, rules, at)
            for revision in stay:
                self.older.drop(revision)
        self.rules, self.canary = rules, canary

    def let_go(self, at: float) -> None:
        """Forget older rules that no call in progress began with."""
        if self.older and self._calls is not None:
            calls, since = self._calls, at - self._settings.calls.idle
            self.older.let_go(at, lambda revision: calls.in_progress(revision, since))

    @property
    def numbers(self) -> NumberReader:
        """How numbers are read here; it remembers those it has read."""
        return self._numbers

    def begin(self, arrival: Arrival) -> Opened:
        """Decode, identify, canonicalize, decide, plan, and make the record."""
        if self._meters is not None:
            self._taken = self._meters.taken
        path, query, _ = split_target(arrival.target)
        body = arrival.body or None
        if arrival.kind is Kind.COMMAND:
            # Rules must see what the PBX may read: a body that we would not read as it does is no command.
            readable = body is None or _is_form(arrival.headers)
            parameters = decode(query, body if readable else None, path)
            return self._begin_command(arrival, path, parameters, readable)
        # The query of a notification is the app's own, from its callback address; what the PBX says is in the body.
        return self._begin_notification(arrival, path, query, decode(b"" if body else query, body))

    def finish(self, opened: Opened, status: int, body: bytes) -> Settlement:
        """Settle an exchange that the other side answered."""
        return self._ended(opened, self._finish(opened, status, body))

    def _finish(self, opened: Opened, status: int, body: bytes) -> Settlement:
        if opened.patience is Patience.COMMAND:
            facts = answers.read_answer(body)
            shown = self._shown(opened, body) if self._owners_enforced and is_list(opened.name) else None
            return Settlement("answered", None, facts.code, None, facts.well_formed, body=shown)
        if 200 <= status < 300 and answers.reads_like_ozml(body):
            return self._judge(opened, body)
        if 200 <= status < 300 and opened.patience is Patience.REPORT and not answers.reads_like_page(body):
            return Settlement("answered", None, None, Answer(NO_OPINION), well_formed=False)  # `OK` is a receipt
        return self._fail(opened, Fault.UNREADABLE)

    def _judge(self, opened: Opened, body: bytes) -> Settlement:
        """Settle an exchange with the verbs that the app answered, as far as they may pass."""
        here = Circumstances(
            opened.arrival.exchange,
            opened.arrival.listener,
            opened.app,
            opened.arrival.at,
            caller_waits=opened.patience is Patience.INTERACTIVE,
            call=next(iter(self.calls_of(opened)), opened.hint),
            legacy=self._is_legacy(opened.app),
        )
        judged = self._firewall.answer(body, here, opened.rules or self.rules, self._meters)
        if judged is None:
            if here.legacy:
                return Settlement("answered", None, None, None, well_formed=False)
            return self._not_as_it_came(opened, well_formed=False)
        if judged.over:
            return self._not_as_it_came(opened, judged=judged)
        return Settlement("answered", judged=judged, body=judged.body)

    def _not_as_it_came(self, opened: Opened, *, well_formed: bool = True, judged: Judged | None = None) -> Settlement:
        """The app has answered, but nothing that may pass: it is not asked again, and the caller hears something."""
        settlement = self._failures.settle(
            Fault.UNREADABLE, opened.patience, opened.facts_of_app, opened.arrival.exchange
        )
        outcome = "answered" if opened.patience is Patience.REPORT else settlement.outcome
        return replace(settlement, outcome=outcome, keep=False, well_formed=well_formed, judged=judged)

    def fail(self, opened: Opened, fault: Fault, *, sent: bool = False) -> Settlement:
        """Settle an exchange that failed, by the failure table.

        ``sent`` says that a fault of our own came after the message may have been read: nobody is told then that it was
        not sent.
        """
        return self._ended(opened, self._fail(opened, fault, sent=sent))

    def _fail(self, opened: Opened, fault: Fault, *, sent: bool = False) -> Settlement:
        plan = opened.plan
        if opened.patience is Patience.REPORT and opened.rules is not None and isinstance(plan, Answer):
            # A rule refused it, or answered: that holds although a fault came after it, and nothing is kept.
            return Settlement("refused" if opened.decision.verdict is Verdict.DENY else "rule", fault, None, plan)
        settlement = self._failures.settle(fault, opened.patience, opened.facts_of_app, opened.arrival.exchange)
        if sent and fault is Fault.ENGINE and opened.patience is Patience.COMMAND:
            code = Code.UNREADABLE_ANSWER
            answer = Answer(answers.encode_answer(code, sentence(code, opened.arrival.exchange)), code)
            return Settlement("failed", fault, code, answer)
        return settlement

    def settle_answer(self, opened: Opened, answer: Answer) -> Settlement:
        """Settle an exchange whose plan is an answer of our own."""
        reason = opened.decision.reason
        if reason in _OWN_FAULTS:
            return self.fail(opened, _OWN_FAULTS[reason])
        refused = opened.decision.verdict is Verdict.DENY
        return self._ended(opened, Settlement("refused" if refused else "rule", None, answer.code, answer))

    def broken(self, arrival: Arrival) -> Opened:
        """The plan for a message that we could not decide because of a fault of our own. Never raises.

        To be asked for before the next exchange begins: what this one took of its limits is free again.
        """
        if self._meters is not None:
            self._meters.give_back_after(self._taken)
        patience, name = _guess(arrival)
        app = "" if patience is Patience.COMMAND else self._subscribed(arrival.target.partition(b"?")[0], name)
        facts = Facts(arrival.kind, name, app, arrival.source, None, None, {}, {}, arrival.at)
        settlement = self._failures.settle(Fault.ENGINE, patience, facts, arrival.exchange)
        answer = settlement.answer
        assert answer is not None
        refusal = Refusal(Code.INTERNAL_FAULT, sentence(Code.INTERNAL_FAULT, arrival.exchange))
        decision = Decision(Verdict.DENY, Fault.ENGINE.value, self.rules.revision, refusal=refusal)
        record = self._recorder.decision(arrival.exchange, arrival.at, arrival.listener, facts, decision)
        return Opened(arrival, name, patience, False, app, decision, answer, record, False, facts)

    def calls_of(self, opened: Opened) -> tuple[str, ...]:
        """The calls that a message names, in its order."""
        find = knowledge.command if opened.arrival.kind is Kind.COMMAND else knowledge.notification
        values = opened.facts.values if opened.parameters is None else opened.parameters.values
        return named_calls(find(opened.name), values)

    def plan_for(self, opened: Opened, cluster: str, changes: tuple[SetParameter, ...] = ()) -> Forward:
        """The plan of a command as it is, or with these changes, for another cluster than the rules would have."""
        parameters = opened.parameters
        assert parameters is not None
        path, _, question_mark = split_target(opened.arrival.target)
        parameters = parameters.changed((*changes, *self._clusters[cluster]))
        target = join_target(path, parameters.query, question_mark)
        return Forward(ToCluster(cluster), target, parameters.body if opened.arrival.body else None)

    def give_back(self, slots: tuple[int, ...]) -> None:
        """An exchange has ended: the slots of limits that its decision took are free."""
        if self._meters is not None:
            for slot in slots:
                self._meters.give_back(slot)

    # which rules, where there are several sets

    def _rules_of(self, revision: str) -> RuleSet:
        """Those of this revision; those in force where they are gone."""
        canary = self.canary
        if canary is not None and canary.rules.revision == revision:
            return canary.rules
        return self.older.find(revision) or self.rules

    def _rules_at_first(self, kind_of: MessageType | None, values: Mapping[str, str], exchange: str) -> RuleSet:
        """Those of a call of which nothing is known yet, by its id; of what has none, by the exchange."""
        canary = self.canary
        if canary is None:
            return self.rules
        named = named_calls(kind_of, values)
        return canary.rules if canary.takes(named[0] if named else exchange) else self.rules

    def _rules_for_command(self, kind_of: MessageType | None, values: Mapping[str, str], arrival: Arrival) -> RuleSet:
        """Those that the call began with which a command names, else as for a call that begins."""
        if self._calls is not None and not _CALL_NAMES.isdisjoint(values):
            began = self._calls.revision(kind_of, values, arrival.at)
            if began:
                return self._rules_of(began)
        return self._rules_at_first(kind_of, values, arrival.exchange)

    # calls and their owners

    def _call_of(
        self, message: MessageType | None, values: Mapping[str, str], app: str, at: float, around: str = ""
    ) -> CallFacts | None:
        """The call that a message is about."""
        return None if self._calls is None else self._calls.find(message, values, app, at, around)

    def _ended(self, opened: Opened, settlement: Settlement) -> Settlement:
        """The settlement, after the calls that the message names have moved on."""
        if self._calls is not None and not _CALL_NAMES.isdisjoint(opened.facts.values):
            arrival, decision, judged = opened.arrival, opened.decision, settlement.judged
            answered = () if judged is None else tuple(judged.answered)
            closing = Closing(arrival.exchange, arrival.at, settlement.outcome, settlement.code, answered=answered)
            reply = () if decision.reply is None else tuple(verb.name for verb in decision.reply.verbs)
            named = self.calls_of(opened)
            self._calls.ended(arrival.kind, opened.name, named, closing, decision.verdict, decision.revision, reply)
        return settlement

    def _owned(self, facts: Facts, message: MessageType | None, decision: Decision) -> Decision:
        """The decision, or the refusal of a message that would act on a call which is not its app's own."""
        if self._holdings is None or decision.owns_any or decision.verdict is not Verdict.ALLOW or _is_for_help(facts):
            return decision
        for call in named_calls(message, facts.values):
            is_variable = call.startswith("$") and facts.kind is Kind.VERB  # commands have none
            if not is_variable and not self._holdings.holds(facts.app, call, facts.at):
                if not self._owners_enforced:
                    return replace(decision, tags=(*decision.tags, _NOT_OWNED))
                refusal = Refusal(Code.CALL_NOT_FOUND, sentence(Code.CALL_NOT_FOUND, call))
                return self._refuse_after(decision, _NOT_OWNED, refusal)
        return decision

    def _shown(self, opened: Opened, body: bytes) -> bytes | None:
        """The answer to a list command as its app may see it; ``None`` where that is all of it."""
        holdings, app, at = self._holdings, opened.app, opened.arrival.at
        if holdings is None or opened.decision.owns_any:
            return None
        sees = self._extensions.get(app)
        return filtered(
            opened.name,
            body,
            lambda call: holdings.holds(app, call, at),
            lambda extension: sees is None or sees(extension.partition("@")[0]) is not None,
        )

    # commands

    def _begin_command(self, arrival: Arrival, path: bytes, parameters: Parameters, readable: bool) -> Opened:
        values = parameters.values
        written = values.get("command", "")
        kind_of = knowledge.command(written)
        name = kind_of.name if kind_of is not None else written
        app, refused = self._who_asks(arrival, parameters, written, readable)
        rules = self.rules
        if self.canary is not None or self.older:
            rules = self._rules_for_command(kind_of, values, arrival)
        facts = self._facts(arrival, kind_of, name, app, values, rules)
        decision = refused or self._owned(facts, kind_of, rules.decide(facts, self._meters))
        rewritten = parameters
        changed: tuple[ChangedParameter, ...] = ()
        judged: Judged | None = None
        if decision.verdict is Verdict.ALLOW:
            if decision.changes:
                rewritten = parameters.changed(decision.changes)
                changed = differences(decision, values, rewritten.values)
            if self._capture is not None or not _OZML.isdisjoint(rewritten.values):
                decision, rewritten, judged = self._judged(arrival, kind_of, facts, decision, rewritten, rules)
        plan, target = self._plan_command(arrival, decision, app, parameters, rewritten)
        if decision.verdict is not Verdict.ALLOW:
            changed = ()
        if self.canary is not None:
            self.canary.saw(decision)
        names = names_of(kind_of)
        record = self._recorder.decision(
            arrival.exchange,
            arrival.at,
            arrival.listener,
            facts,
            decision,
            method=arrival.method,
            path="/" if path == b"/" else path.decode("latin-1"),
            secrets=names.secrets,
            dtmf=names.dtmf,
            numbers=names.numbers,
            target=target,
            changes=changed,
        )
        if judged is not None:
            record.captured = judged.captured.count
        safe = kind_of is not None and kind_of.safe_to_repeat
        passed = self._pass_ambiguous and parameters.ambiguous is not None
        slow = kind_of is not None and kind_of.answered_at_pickup
        return Opened(
            arrival,
            name,
            Patience.COMMAND,
            safe,
            app,
            decision,
            plan,
            record,
            passed,
            facts,
            changed,
            slow,
            judged,
            rewritten,
            rules,
        )

    def _who_asks(
        self, arrival: Arrival, parameters: Parameters, written: str, readable: bool
    ) -> tuple[str, Decision | None]:
        """The app that sent a command, ``""`` where nobody knows; and why it is refused before the rules are asked."""
        if parameters.ambiguous is not None and not self._pass_ambiguous:
            return "", self._refuse("ambiguous", _invalid(parameters.ambiguous, written))
        if not readable:
            return "", self._refuse("unreadable_body", _invalid("Content-Type", written))
        if not written:
            return "", self._refuse("no_command", _invalid("command", ""))
        values = parameters.values
        who = self._identifier.identify(arrival.source, values.get("username"), values.get("password"), arrival.at)
        if isinstance(who, str):
            return who, None
        return "", self._refuse(_IDENTITY_REASONS.get(who.code, "unknown_app"), who)

    def _judged(
        self,
        arrival: Arrival,
        kind_of: MessageType | None,
        facts: Facts,
        decision: Decision,
        parameters: Parameters,
        rules: RuleSet,
    ) -> tuple[Decision, Parameters, Judged]:
        """A command with callbacks of ours and verbs that may pass, or the refusal of one that may not leave so."""
        here = Circumstances(
            arrival.exchange, arrival.listener, facts.app, arrival.at, legacy=self._is_legacy(facts.app)
        )
        changes, judged = self._firewall.command(
            kind_of, parameters.values, here, rules, self._meters, emergency=_is_for_help(facts)
        )
        if judged.unjudged:
            refusal = _invalid(next(name for name in _OZML_NAMES if name in parameters.values), facts.name)
            decision = self._refuse_after(decision, judged.unjudged, refusal)
        elif judged.captured.refused:
            refusal = Refusal(Code.FORBIDDEN_USER, judged.captured.refused)
            decision = self._refuse_after(decision, "callback_forbidden", refusal)
        return decision, parameters.changed(changes) if changes else parameters, judged

    def _refuse_after(self, decision: Decision, reason: str, refusal: Refusal) -> Decision:
        """A refusal of what the rules let pass: what it took of its limits is free again, which rules acted stays."""
        self.give_back(decision.slots)
        refused = self._refuse(reason, refusal)
        return replace(refused, revision=decision.revision, rules=decision.rules, shadow=decision.shadow)

    def _is_legacy(self, app: str) -> bool:
        known = self._settings.apps.get(app)
        return known is not None and known.legacy

    def _refuse(self, reason: str, refusal: Refusal, rules: RuleSet | None = None) -> Decision:
        return Decision(Verdict.DENY, reason, (rules or self.rules).revision, refusal=refusal)

    def _plan_command(
        self,
        arrival: Arrival,
        decision: Decision,
        app: str,
        parameters: Parameters,
        rewritten: Parameters,
    ) -> tuple[Plan, str]:
        if decision.verdict is not Verdict.ALLOW:
            return self._answer_command(decision, arrival.exchange), ""
        target = decision.target or self._homes.get(app) or self._home
        name = ""
        if isinstance(target, ToCluster):
            name = target.cluster
            credentials = self._clusters[name]
            if credentials:
                rewritten = rewritten.changed(credentials)
        else:
            name = target.app if isinstance(target, ToApp) else target.url
        if rewritten is parameters:
            return Forward(target, arrival.target), name
        path, _, question_mark = split_target(arrival.target)
        new_target = join_target(path, rewritten.query, question_mark)
        return Forward(target, new_target, rewritten.body if arrival.body else None), name

    def _answer_command(self, decision: Decision, exchange: str) -> Answer:
        if decision.verdict is Verdict.ANSWER:
            reply = decision.reply or Reply()
            return Answer(self._encoded(reply, Kind.COMMAND), None if reply.verbs else reply.code)
        refusal = decision.refusal or _FORBIDDEN
        del exchange  # it stands in X-Interceptor-Exchange; the message keeps the PBX's own words
        return Answer(answers.encode_answer(refusal.code, refusal.message), refusal.code)

    # notifications

    def _begin_notification(self, arrival: Arrival, path: bytes, query: bytes, parameters: Parameters) -> Opened:
        values = parameters.values
        written = values.get("notificationname", "")
        kind_of = knowledge.notification(written)
        name = kind_of.name if kind_of is not None else written
        patience = Patience.REPORT if kind_of is None else _GROUPS[kind_of.notification_group]
        several = self.canary is not None or bool(self.older)
        callback, refused, origin, hint = "", None, "", ""
        rules = self._rules_at_first(kind_of, values, arrival.exchange) if several else self.rules
        if self._capture is not None and path.startswith(_CALLBACK_PATH):
            app, callback, refused, origin, hint, captured_by = self._open_callback(path, arrival.at)
            if several:
                rules = self._rules_of(captured_by) if captured_by else rules
            path = _CALLBACK_PATH  # a token is a key to the app: it is not written down
        else:
            app = self._subscribed(path, name)
        if refused is None and patience is not Patience.REPORT and self._storms.is_too_much(values, arrival.at, hint):
            refused = self._refuse(Fault.STORM.value, _TOO_MUCH)
        calls = None if _CALL_NAMES.isdisjoint(values) else self._calls
        if calls is not None and (refused is None or refused.refusal is _TOO_MUCH):
            began = calls.told(kind_of, values, arrival.at, rules.revision)
            if several:
                rules = self._rules_of(began or rules.revision)
        if refused is not None and refused.refusal is _TOO_MUCH:
            refused = replace(refused, revision=rules.revision)
        facts = self._facts(arrival, kind_of, name, app, values, rules)
        decision = refused or rules.decide(facts, self._meters)
        plan, target, changed, app = self._plan_notification(arrival, decision, app, callback, query, parameters, name)
        holdings = self._holdings if calls is None else calls.holdings
        if holdings is not None and app and decision.verdict is Verdict.ALLOW:
            for call in named_calls(kind_of, values):
                holdings.hold(app, call, arrival.at)
        if refused is not None and refused.refusal is not _TOO_MUCH:
            plan = Answer(NO_OPINION, status=403)
        if self.canary is not None:
            self.canary.saw(decision)
        names = names_of(kind_of)
        record = self._recorder.decision(
            arrival.exchange,
            arrival.at,
            arrival.listener,
            facts,
            decision,
            method=arrival.method,
            path=path.decode("latin-1"),
            secrets=names.secrets,
            dtmf=names.dtmf,
            numbers=names.numbers,
            target="callback" if callback and target == callback else target,
            changes=changed,
        )
        record.origin = origin
        safe = patience is Patience.ROUTING  # a question; to be asked twice changes nothing
        return Opened(
            arrival,
            name,
            patience,
            safe,
            app,
            decision,
            plan,
            record,
            False,
            facts,
            changed,
            rules=rules,
            hint=hint,
        )

    def _open_callback(self, path: bytes, at: float) -> "_Callback":
        """Whose callback a path is, and why it leads nowhere if so.

        Where nobody told the call's id, it goes by the exchange in which the first of its callbacks was captured.
        """
        assert self._keys is not None
        found = self._keys.open(path[len(_CALLBACK_PATH) :].decode("latin-1"), at)
        why = found.value if isinstance(found, Unusable) else ""
        app = url = origin = hint = revision = ""
        if not isinstance(found, Unusable):
            app, url, origin, revision = found.app, found.url.decode("latin-1"), found.exchange, found.revision
            hint = found.call or origin
            if app not in self._settings.apps:
                why = Unusable.FOREIGN.value
            elif self._targets.refuses(app, url) or take_apart(url) is None:
                why = Unusable.FORBIDDEN.value
        if not why:
            return _Callback(app, url, None, origin, hint, revision)
        refused = self._refuse(why, Refusal(Code.FORBIDDEN_ADDRESS, "This callback leads nowhere"))
        return _Callback(app, "", refused, origin, hint, "")

    def _subscribed(self, path: bytes, name: str) -> str:
        written = path.decode("latin-1")
        for entry in self._settings.subscriptions:
            if entry.path in {None, written} and (entry.name is None or entry.name.lower() == name.lower()):
                return entry.app
        return ""

    def _plan_notification(
        self,
        arrival: Arrival,
        decision: Decision,
        app: str,
        callback: str,
        query: bytes,
        parameters: Parameters,
        name: str,
    ) -> tuple[Plan, str, tuple[ChangedParameter, ...], str]:
        if decision.verdict is Verdict.ANSWER:
            return Answer(self._encoded(decision.reply or Reply(), Kind.NOTIFICATION)), "", (), app
        if decision.verdict is Verdict.DENY:
            return Answer(NO_OPINION), "", (), app
        body: bytes | None = None
        changed: tuple[ChangedParameter, ...] = ()
        if decision.changes:
            rewritten = parameters.changed(decision.changes)
            changed = differences(decision, parameters.values, rewritten.values)
            query, body = (query, rewritten.body) if arrival.body else (rewritten.query, None)
        target = decision.target or (ToUrl(callback) if callback else ToApp(app))
        if isinstance(target, ToApp):
            app = target.app
            url = self.addresses.find(app, name)
            if url is None:  # carried out by the failure table: a fallback, the dial plan, or the outbox
                return Forward(target, b""), app, changed, app
            target = ToUrl(url)
        if isinstance(target, ToUrl):
            name = target.url if target.url == callback else app
            guarded = target.url == callback
            return Forward(target, path_with_query(target.url, query), body, guarded), name, changed, app
        return Forward(target, arrival.target, body), app, changed, app

    # both

    def _facts(
        self,
        arrival: Arrival,
        kind_of: MessageType | None,
        name: str,
        app: str,
        values: dict[str, str],
        rules: RuleSet,
    ) -> Facts:
        reads = kind_of or knowledge.unknown(arrival.kind)
        number = self._numbers.dialled(reads, values, rules.classify)
        caller = self._numbers.calling(reads, values, rules.classify)
        facts = Facts(
            arrival.kind,
            name,
            app,
            arrival.source,
            number,
            caller,
            values,
            arrival.headers,
            arrival.at,
            arrival.exchange,
            self._call_of(kind_of, values, app, arrival.at) if rules.asks_for_calls else None,
        )
        if len(reads.dialled) < 2 or arrival.kind is not Kind.COMMAND:
            return facts
        return rules.strictest(facts, self._numbers.others(reads, values, number, rules.classify))

    def _encoded(self, reply: Reply, kind: Kind) -> bytes:
        known = self._replies.get(reply)
        if known is None:
            if kind is Kind.NOTIFICATION or reply.verbs:
                known = ozml.encode_verbs(reply.verbs)
            else:
                known = answers.encode_answer(reply.code, reply.message)
            if len(self._replies) >= _KEPT_REPLIES:
                self._replies.clear()
            self._replies[reply] = known
        return known


_CALLBACK_PATH = CALLBACK_PATH.encode()
_CALL_NAMES = frozenset(knowledge.CALL_IDS)
_OZML_NAMES = tuple(
    name for name in dict.fromkeys(knowledge.PARAMETER_NAMES.values()) if knowledge.role(None, name) is Role.OZML
)
_OZML = frozenset(_OZML_NAMES)
_NOT_OWNED = "not_owned"
_TOO_MUCH = Refusal(Code.OVERLOADED, "This call asks again and again")
_OWN_FAULTS = {fault.value: fault for fault in (Fault.ENGINE, Fault.STORM)}
_FORBIDDEN = Refusal(Code.FORBIDDEN_USER, sentence(Code.FORBIDDEN_USER))


def patience_of(settings: Settings) -> dict[Patience, Deadlines]:
    """The deadlines of each row."""
    timeouts = settings.timeouts
    return {
        Patience.COMMAND: timeouts.command,
        Patience.CALL: timeouts.call,
        Patience.ROUTING: timeouts.routing,
        Patience.INTERACTIVE: timeouts.interactive,
        Patience.REPORT: timeouts.report,
    }


def _credential_changes(cluster: Cluster) -> tuple[SetParameter, ...]:
    credentials = cluster.credentials
    if credentials is None:
        return ()
    return (
        SetParameter("Username", credentials.username),
        SetParameter("Password", credentials.password.reveal()),
    )


def _invalid(parameter: str, command: str) -> Refusal:
    return Refusal(Code.INVALID_PARAMETER, sentence(Code.INVALID_PARAMETER, parameter, command))


def _is_form(headers: Mapping[str, str]) -> bool:
    """Whether a body is the form that everybody reads alike: declared so or not at all, not compressed, in UTF-8.

    One without a declaration is judged as the form that the PBX may read in it; where it does not, it misses some.
    """
    written = headers.get("content-type", "application/x-www-form-urlencoded")
    known = _FORMS.get(written)
    if known is None:
        media_type, *options = (part.strip() for part in written.lower().split(";"))
        charsets = [option.partition("=")[2].strip('" ') for option in options if option.startswith("charset")]
        known = media_type == "application/x-www-form-urlencoded" and all(each == "utf-8" for each in charsets)
        if len(_FORMS) < _KEPT_FORMS:
            _FORMS[written] = known
    return known and headers.get("content-encoding", "identity").strip().lower() == "identity"


_FORMS: dict[str, bool] = {}


def _is_for_help(facts: Facts) -> bool:
    return facts.number is not None and facts.number.number_class is NumberClass.EMERGENCY


def _guess(arrival: Arrival) -> tuple[Patience, str]:
    """What kind of message this is, found without the parts that may have failed."""
    if arrival.kind is Kind.COMMAND:
        return Patience.COMMAND, ""
    text = arrival.body.decode("latin-1") + "&" + arrival.target.partition(b"?")[2].decode("latin-1")
    for pair in text.split("&"):
        name, _, value = pair.partition("=")
        if name.lower() == "notificationname":
            kind_of = knowledge.notification(value)
            if kind_of is not None:
                return _GROUPS[kind_of.notification_group], kind_of.name
    return Patience.REPORT, ""
