"""Carrying out: an exchange from its request to the released answer.

Everything is a callback of the event loop; an exchange has no task of its own. Who holds it: the journal until its
record is safe, then a pool until the reply is here, then the outbox where a notification is kept. Each of them calls
back once.
"""

import itertools
import logging
from collections.abc import Callable, Mapping
from time import perf_counter, time
from typing import Protocol

from interceptor.audit.record import Record, Recorder
from interceptor.exchanges import NO_OPINION, Answer, Arrival, Fault, Forward, Opened, Patience, Settlement
from interceptor.firewall import Judged
from interceptor.gateway.affinity import Family, Whereabouts
from interceptor.gateway.asking import Failure, covers, hurried
from interceptor.gateway.breakers import Breaker, Breakers
from interceptor.gateway.clusters import REFUSES_US, ClusterRoute, Endpoint, Place
from interceptor.gateway.connection import Asker, Door, Response
from interceptor.gateway.deciding import undecided
from interceptor.gateway.firsts import Found
from interceptor.gateway.gathering import HEALTH_REASONS, Gathered, Leg, page_of, pages_up_to
from interceptor.gateway.http1 import Reply, Request
from interceptor.gateway.mirroring import Mirrors
from interceptor.gateway.repeats import NOTHING_WAS_SENT, Repeats
from interceptor.gateway.upstream import Errand, Pool, Site
from interceptor.metrics import Metrics
from interceptor.outbox import Entry
from interceptor.pipeline import Pipeline
from interceptor.settings import Address, App, Deadlines, ForwardHeaders, Partial
from interceptor.values import Kind, ToApp, ToCluster, ToUrl, Verdict
from interceptor.wire.answers import encode_answer, read_answer
from interceptor.wire.codes import Code, sentence
from interceptor.wire.listings import COMMANDS, call_ids
from interceptor.wire.url import take_apart

log = logging.getLogger(__name__)

_XML = b"Content-Type: application/xml; charset=utf-8\r\nContent-Length: %d\r\n%b"
_ANSWERED_HERE = b"200 OK"
_FORBIDDEN = b"403 Forbidden"
_BODILESS = frozenset({204, 304})
_KEPT_LINES = 4096
_BY_POLICY = frozenset({"rule", "limit", "default"})
_VERDICTS = {verdict: verdict.value for verdict in Verdict}  # an Enum's own `value` is two calls in Python


class RecordKeeper(Protocol):
    """Where records go. ``then`` is told once whether the record is safe; at once where that is not waited for."""

    def append(self, record: Record, then: Callable[[bool], None] | None = None) -> None: ...


class Keeper(Protocol):
    """Where notifications wait that are to be delivered later."""

    def waiting(self, app: str) -> bool: ...

    def put(self, entry: Entry, then: Callable[[bool], None]) -> None: ...

    def wake(self, app: str) -> None: ...


class Carrier:
    """What all exchanges of one worker share."""

    def __init__(
        self,
        pipeline: Pipeline,
        recorder: Recorder,
        journal: RecordKeeper,
        metrics: Metrics,
        outbox: Keeper,
        *,
        worker: str,
        clusters: dict[str, ClusterRoute],
        pool_for: Callable[[Site], Pool],
        patiences: dict[Patience, Deadlines],
        headers: ForwardHeaders,
        most_connections: int,
        mirrors: Mirrors | None = None,
        whereabouts: Whereabouts | None = None,
        apps: Mapping[str, App],
        breakers: Breakers,
        repeats: Repeats,
        observe: Callable[[Record], None] | None = None,
        over: Callable[[Opened], None] | None = None,
    ) -> None:
        self.pipeline = pipeline
        self.recorder = recorder
        self.journal = journal
        self.metrics = metrics
        self.outbox = outbox
        self.clusters = clusters
        self.pool_for = pool_for
        self.patiences = patiences
        self.headers = headers
        self.observe = observe
        self.mirrors = mirrors
        self.whereabouts = whereabouts if whereabouts is not None and whereabouts.several else None
        self.apps = apps
        self.breakers = breakers
        self.repeats = repeats or None
        self.over = over  # told when the answer has left
        self.in_flight = 0
        self._connections = 0
        self._most_connections = most_connections
        self._ids = map(f"{worker}-{{:x}}".format, itertools.count(1))
        self._own_lines: dict[tuple[str, int], bytes] = {}

    def ask(self, asker: Asker, request: Request, source: str, door: Door) -> None:
        """Begin the exchange of a request; ``asker`` is given the response."""
        self.in_flight += 1
        listener = door.listener
        arrival = Arrival(
            next(self._ids),
            listener.name,
            listener.kind,
            source,
            request.method,
            request.target,
            request.block.values,
            request.body,
            time(),
        )
        exchange = Exchange(self, asker, request, arrival)
        try:
            exchange.start()
        except Exception:  # noqa: BLE001 - whatever it was, the asker has an answer and nothing leaves undecided
            exchange.give_up()

    def own_lines(self, source: str, minor: int) -> bytes:
        """The headers of our own that a forwarded request gets; where it carries the exchange's id, that follows."""
        lines = self._own_lines.get((source, minor))
        if lines is None:
            headers = self.headers
            lines = b"Via: 1.%d interceptor\r\n" % minor if headers.via else b""
            if headers.forwarded_for:
                lines += b"X-Forwarded-For: %b\r\n" % source.encode()
            if headers.exchange:
                lines += b"X-Interceptor-Exchange: "
            if len(self._own_lines) >= _KEPT_LINES:
                self._own_lines.clear()
            self._own_lines[source, minor] = lines
        return lines

    def opened(self, listener: str) -> bool:
        """A connection came; whether there is room for it."""
        self._connections += 1
        self.metrics.connection_opened(listener)
        if self._connections > self._most_connections:
            self.metrics.connection_refused(listener)
            return False
        return True

    def closed(self, listener: str) -> None:
        """A connection went."""
        self._connections -= 1
        self.metrics.connection_closed(listener)

    def refused(self, reason: str) -> None:
        """Something was refused before it was a message."""
        self.metrics.refused(reason)

    def count(self, opened: Opened, settlement: Settlement, upstream: float, own: float) -> None:
        """Put a settled exchange into the metrics."""
        metrics, decision = self.metrics, opened.decision
        by_policy = decision.reason in _BY_POLICY
        verdict = _VERDICTS[decision.verdict] if by_policy else ""
        if opened.patience is Patience.COMMAND:
            metrics.command_settled(opened.name, settlement.code, decision.rule, verdict, upstream, own)
        else:
            metrics.notification_settled(opened.name, settlement.outcome, decision.rule, verdict, upstream, own)
            if opened.patience is not Patience.REPORT:
                metrics.caller_waited(opened.patience.value, upstream, own)
            if settlement.saved:
                metrics.call_saved(opened.app, opened.name)
        if settlement.fault is not None:
            metrics.refused(settlement.fault.value)
        elif not by_policy:
            metrics.refused(decision.reason)
        if decision.limited:
            metrics.limited(decision.limited, decision.shadow)
            if decision.reason == "limit" and decision.verdict is Verdict.DENY:
                metrics.refused("limit")
        if opened.ambiguous:
            metrics.ambiguous_passed()
        if not settlement.well_formed:
            metrics.not_well_formed(opened.arrival.kind)
        if decision.rules or decision.shadow:
            metrics.rules_acted(decision.rules, decision.shadow, opened.arrival.at)


class Exchange:
    """One request and its answer."""

    __slots__ = (
        "_arrival",
        "_asked",
        "_asked_at",
        "_asker",
        "_attempts",
        "_breaker",
        "_carrier",
        "_ended",
        "_endpoint",
        "_family",
        "_first",
        "_first_exchange",
        "_id",
        "_legs",
        "_missing",
        "_opened",
        "_patience",
        "_place",
        "_request",
        "_sent_at",
        "_started",
        "_taken",
        "_tried",
        "_upstream",
    )

    def __init__(self, carrier: Carrier, asker: Asker, request: Request, arrival: Arrival) -> None:
        self._started = perf_counter()
        self._carrier = carrier
        self._asker = asker
        self._request = request
        self._arrival = arrival
        self._id = arrival.exchange.encode() + b"\r\n" if carrier.headers.exchange else b""
        self._opened: Opened
        self._taken: tuple[int, ...] = ()
        self._patience: Deadlines
        self._ended = False
        self._attempts = 0
        self._asked: Forward | None = None  # the address of an app that is being asked
        self._asked_at = 0.0  # when it, or the address before it, was first asked
        self._breaker: Breaker | None = None  # that address's
        self._upstream = ""
        self._endpoint: Endpoint | None = None
        self._family: Family | None = None  # the PBXs that may have the call it names
        self._place: Place | None = None  # the one that has it
        self._legs: list[Leg] = []
        self._missing = ""  # who is missing in a list of several PBXs
        self._first: bytes | None = None  # what the same commands after this one have in common with it
        self._first_exchange = ""  # the one whose answer this one gets
        self._tried: tuple[Endpoint, ...] = ()
        self._sent_at = 0.0

    def start(self) -> None:
        """Decide, record, carry out."""
        carrier = self._carrier
        try:
            opened = carrier.pipeline.begin(self._arrival)
        except Exception:  # law 1: our own fault is a refusal by the failure table, never a way through
            log.exception("the decision of exchange %s failed", self._arrival.exchange)
            opened = carrier.pipeline.broken(self._arrival)
        self._opened = opened
        self._taken = opened.decision.slots
        self._patience = carrier.patiences[Patience.CALL if opened.answered_at_pickup else opened.patience]
        if carrier.observe is not None:
            carrier.observe(opened.record)
        if opened.judged is not None:
            self._account_verbs(opened.judged)
        if carrier.whereabouts is not None:
            self._look_up(carrier.whereabouts)
        if self._arrival.kind is Kind.COMMAND:
            carrier.journal.append(opened.record, self._recorded)
        else:  # a caller waits: the record is written with the next batch (failure table, "journal cannot write")
            carrier.journal.append(opened.record)
            self._carry_out()

    def _look_up(self, whereabouts: Whereabouts) -> None:
        """What is known about the calls of this message, before it is recorded."""
        opened, pipeline = self._opened, self._carrier.pipeline
        if self._arrival.kind is Kind.NOTIFICATION:
            calls = pipeline.calls_of(opened)
            whereabouts.notified(self._arrival.exchange, calls, self._arrival.source, opened.record.origin)
            return
        plan = opened.plan
        if not isinstance(plan, Forward) or not isinstance(plan.target, ToCluster) or opened.name in COMMANDS:
            return
        family = whereabouts.family(plan.target.cluster)
        if family is not None:
            places = (family.place_of(call) for call in pipeline.calls_of(opened))
            self._place = next((place for place in places if place is not None), None)
        if self._place is not None and self._place.route.name != plan.target.cluster:
            opened.record.target = self._place.route.name

    def _recorded(self, safe: bool) -> None:
        try:
            if safe:
                self._carry_out()
            else:
                self._settle(self._carrier.pipeline.fail(self._opened, Fault.UNRECORDED))
        except Exception:  # noqa: BLE001 - as in Carrier.ask
            self.give_up()

    def _carry_out(self) -> None:
        opened, carrier = self._opened, self._carrier
        plan = opened.plan
        if isinstance(plan, Answer):
            self._settle(self._carrier.pipeline.settle_answer(opened, plan))
        elif carrier.repeats is not None and self._repeats(carrier.repeats, plan):
            return
        elif opened.patience is Patience.REPORT and carrier.outbox.waiting(carrier.pipeline.kept_for(opened)):
            self._settle(
                Settlement("kept", None, None, _ACKNOWLEDGED, keep=True)
            )  # behind those that wait: order is kept
        elif carrier.whereabouts is not None and isinstance(plan.target, ToCluster):
            self._find_place(carrier.whereabouts.family(plan.target.cluster), plan)
        else:
            self._forward(plan)
        if opened.decision.mirrors:
            self._mirror()

    def _repeats(self, repeats: Repeats, plan: Forward) -> bool:
        """Whether this command is one that came before, and gets that one's answer."""
        opened, exchange = self._opened, self._arrival.exchange
        key = repeats.key(opened, plan, self._request.body if plan.body is None else plan.body)
        if key is None:
            return False
        first = repeats.claim(key, opened.app, exchange)
        if first is None:
            self._first = key
            return False
        self._first_exchange = first.exchange
        repeats.wait(key, first, self._patience.total - (perf_counter() - self._started), self._repeated)
        return True

    def _repeated(self, first: Found | None) -> None:
        if self._ended:
            return
        try:
            if first is None:  # it may have been carried out, so this one is not
                self._settle(self._carrier.pipeline.fail(self._opened, Fault.TIMEOUT))
                return
            self._first_exchange = first.exchange
            self._carrier.metrics.repeated(self._opened.app)
            code = read_answer(first.answer).code
            self._settle(Settlement("repeated", None, code, Answer(first.answer, code)))
        except Exception:  # noqa: BLE001 - as in Carrier.ask
            self.give_up()

    def _mirror(self) -> None:
        """Send the copies that rules want; whatever becomes of them, this exchange goes on."""
        carrier, arrival = self._carrier, self._arrival
        if carrier.mirrors is None:
            return
        try:
            carrier.mirrors.send(carrier.pipeline.copies(self._opened), arrival.exchange, arrival.headers)
        except Exception:
            log.exception("no copies were made of exchange %s", arrival.exchange)

    # several PBXs

    def _find_place(self, family: Family | None, plan: Forward) -> None:
        """Forward a command to the PBX that has the call which it names, a list command to all, others as planned."""
        opened, metrics = self._opened, self._carrier.metrics
        self._family = family
        if family is None or opened.parameters is None:
            self._forward(plan)
            return
        if opened.name in COMMANDS:
            self._ask_all(family)
            return
        if self._place is not None:
            metrics.call_looked_up("known")
            self._forward_to(self._place)
            return
        calls = self._carrier.pipeline.calls_of(opened)
        if calls and not family.is_absent(calls[0]):
            family.locate(calls[0], self._located)
        else:
            if calls:
                metrics.call_looked_up("unknown")
            self._forward(plan)

    def _located(self, place: Place | None) -> None:
        """All PBXs were asked for the call."""
        if self._ended:
            return
        try:
            self._carrier.metrics.call_looked_up("unknown" if place is None else "asked")
            if perf_counter() - self._started >= self._patience.total:
                self._settle(self._carrier.pipeline.fail(self._opened, Fault.UNREACHABLE))
            elif place is None:
                plan = self._opened.plan
                assert isinstance(plan, Forward)
                self._forward(plan)
            else:
                self._forward_to(place)
        except Exception:  # noqa: BLE001 - as in Carrier.ask
            self.give_up()

    def _forward_to(self, place: Place) -> None:
        """Forward to the PBX that has the call, which may be of another cluster than planned."""
        plan, cluster = self._opened.plan, place.route.name
        assert isinstance(plan, Forward)
        self._place = place
        if plan.target != ToCluster(cluster):
            plan = self._opened.plan = self._carrier.pipeline.plan_for(self._opened, cluster)
        self._forward(plan)

    def _ask_all(self, family: Family) -> None:
        """Ask all PBXs for their lists."""
        opened, pipeline = self._opened, self._carrier.pipeline
        assert opened.parameters is not None
        changes = pages_up_to(page_of(opened.parameters.values))
        clusters = {place.route.name for place in family.places}
        plans = {cluster: pipeline.plan_for(opened, cluster, changes) for cluster in clusters}
        left = len(family.places)

        def done(_leg: Leg) -> None:
            nonlocal left
            left -= 1
            if not left and not self._ended:
                try:
                    self._gathered()
                except Exception:  # noqa: BLE001 - as in Carrier.ask
                    self.give_up()

        self._legs = [Leg(place, plans[place.route.name], self._send_leg, done) for place in family.places]
        for leg in self._legs:
            leg.ask()

    def _send_leg(self, leg: Leg, endpoint: Endpoint, again: str) -> bool:
        if self._ended or (self._attempts and perf_counter() - self._started >= self._patience.total):
            return False
        if again:
            self._carrier.metrics.retried(again)
        self._send(endpoint.pool, leg.plan, endpoint.host, endpoint.path, keep_host=True, errand=leg)
        return True

    def _gathered(self) -> None:
        """All PBXs have answered, or will not."""
        carrier, opened, family = self._carrier, self._opened, self._family
        plan = opened.plan
        assert family is not None
        assert opened.parameters is not None
        assert isinstance(plan, Forward)
        assert isinstance(plan.target, ToCluster)
        legs, self._legs = self._legs, []
        self._upstream = ",".join(leg.place.name for leg in legs)
        for leg in legs:
            if leg.reply is not None and opened.name == "ListActiveCalls":
                for call in call_ids(leg.reply.body):
                    family.put(call, leg.place)
        gathered = Gathered(legs, page_of(opened.parameters.values))
        outcome = None
        if gathered.any and gathered.missing:
            self._missing = ",".join(gathered.missing)
            if carrier.clusters[plan.target.cluster].cluster.partial is Partial.CODE:
                outcome = (int(Code.NOT_ALL_ANSWERED), sentence(Code.NOT_ALL_ANSWERED, self._arrival.exchange))
        carrier.metrics.list_merged("whole" if gathered.whole else "partial" if gathered.any else "none")
        reply = gathered.reply(outcome)
        if reply is None:
            self._settle(carrier.pipeline.fail(opened, gathered.fault))
        else:
            self._settle(carrier.pipeline.finish(opened, reply.status, reply.body), reply)

    def _learn(self, code: int | None, body: bytes) -> None:
        """What the answer of a PBX tells about where calls are."""
        family, place = self._family, self._place
        if family is None or self._endpoint is None:
            return
        calls = self._carrier.pipeline.calls_of(self._opened)
        if place is not None and code == Code.CALL_NOT_FOUND:
            for call in calls:
                family.drop(call)
        elif code == Code.OK:
            plan = self._opened.plan
            assert isinstance(plan, Forward)
            assert isinstance(plan.target, ToCluster)
            place = place or self._carrier.clusters[plan.target.cluster].place_of(self._endpoint)
            for call in calls or call_ids(body):
                family.put(call, place)

    # forwarding

    def _forward(self, plan: Forward) -> None:
        target = plan.target
        if isinstance(target, ToCluster):
            route = self._carrier.clusters[target.cluster]
            where = self._place or route
            endpoint = where.choose(self._tried)
            if endpoint is None:
                self._settle(self._carrier.pipeline.fail(self._opened, where.why_none()))
                return
            self._endpoint = endpoint
            if self._opened.record.captured and self._family is not None and self._carrier.whereabouts is not None:
                self._carrier.whereabouts.sent(self._arrival.exchange, route.place_of(endpoint))
            self._send(endpoint.pool, plan, endpoint.host, endpoint.path, keep_host=True)
        elif isinstance(target, ToUrl):
            self._ask_app(plan, target)
        else:
            assert isinstance(target, ToApp)  # an app without an address
            self._settle(self._carrier.pipeline.fail(self._opened, Fault.UNROUTABLE))

    def _ask_app(self, plan: Forward, target: ToUrl) -> None:
        carrier, opened = self._carrier, self._opened
        place = take_apart(target.url)
        if place is None:
            self._settle(carrier.pipeline.fail(opened, Fault.UNROUTABLE))
            return
        app = carrier.apps.get(opened.app)
        retry = None if app is None else app.retry
        if opened.patience is not Patience.COMMAND:
            if self._asked is None:
                self._patience = hurried(self._patience, retry)
                self._asked_at = perf_counter()
            self._asked = plan
            breaker = self._breaker = carrier.breakers.of(opened.app, target.url, guarded=plan.guarded)
            if breaker is not None and not breaker.allows():
                failure = Failure(Fault.BREAKER_OPEN, sent=False)
                if not self._ask_again(failure):
                    self._settle(carrier.pipeline.fail(opened, failure.fault))
                return
        connect = 0.0 if retry is None else retry.ct or 0.0
        site = Site(Address(place.host, place.port), place.tls, opened.app if plan.guarded else "", connect)
        self._send(carrier.pool_for(site), plan, place.authority, b"", keep_host=False)

    def _ask_again(self, failure: Failure) -> bool:
        """Ask the app once more, or at its second address, where that is safe and in time; whether that is done."""
        carrier, opened, plan = self._carrier, self._opened, self._asked
        if self._breaker is not None and failure.told:
            self._breaker.failed()
        if plan is None or opened.patience not in _MAY_ASK_AGAIN:
            return False
        if perf_counter() - self._started >= self._patience.total:
            return False
        app = carrier.apps.get(opened.app)
        retry = None if app is None else app.retry
        first = plan is opened.plan
        again = covers(retry, failure)
        if first and retry is not None and again and failure.told and self._attempts <= retry.rc:
            carrier.metrics.retried("app_retry")
        elif first and (not failure.sent or again or opened.safe_to_repeat):
            backup = carrier.pipeline.backup_plan(opened)
            if backup is None:
                return False
            carrier.metrics.retried("app_backup")
            plan = backup
        else:
            return False
        assert isinstance(plan.target, ToUrl)
        self._ask_app(plan, plan.target)
        return True

    def _send(
        self, pool: Pool, plan: Forward, host: str, base: bytes, *, keep_host: bool, errand: Errand | None = None
    ) -> None:
        request, carrier = self._request, self._carrier
        block = request.block
        if not keep_host or not block.hosts:
            block = block.with_host(host.encode())
        body = plan.body
        if body is None:
            body = request.body
            lines = block.framed(len(body)) if block.chunked else block.forwarded
        else:
            lines = block.framed(len(body))
        path = plan.path
        if base:
            path = base + (path[1:] if path[:2] == b"/?" else path)
        own = carrier.own_lines(self._arrival.source, request.minor)
        method = b"GET " if request.method == "GET" else b"POST "
        patience = self._patience
        self._sent_at = perf_counter()
        if self._attempts:  # the deadlines are the asker's: another endpoint does not get them anew
            left = patience.total - (self._sent_at - self._started)
            patience = Deadlines(min(patience.first_byte, left), left)
        self._attempts += 1
        self._upstream = host
        pool.send(
            errand or self, b"".join((method, path, b" HTTP/1.1\r\n", lines, own, self._id, b"\r\n", body)), patience
        )

    # upstream.Errand

    def replied(self, reply: Reply) -> None:
        """The other side answered."""
        if self._ended:  # a fault of our own was quicker
            return
        try:
            self._answered(reply)
        except Exception:  # noqa: BLE001 - as in Carrier.ask
            self.give_up()

    def _answered(self, reply: Reply) -> None:
        carrier, opened, endpoint = self._carrier, self._opened, self._endpoint
        try:
            settlement = carrier.pipeline.finish(opened, reply.status, reply.body)
        except Exception:
            log.exception("the settlement of exchange %s failed", self._arrival.exchange)
            settlement = carrier.pipeline.fail(opened, Fault.ENGINE, sent=True)
        if endpoint is not None:
            plan = opened.plan
            assert isinstance(plan, Forward)
            assert isinstance(plan.target, ToCluster)
            if settlement.code in REFUSES_US and carrier.clusters[plan.target.cluster].credentials:
                if settlement.code != Code.FORBIDDEN_USER:  # this may be about the command, which apps choose
                    endpoint.failed("code", f"refuses us with code {settlement.code}")
                if self._try_next(endpoint, plan):
                    return
            elif reply.status >= 500:
                endpoint.failed("status", f"answers with HTTP status {reply.status}")
            else:
                endpoint.succeeded()
            self._learn(settlement.code, reply.body)
        elif settlement.outcome == "answered":
            if self._breaker is not None:
                self._breaker.succeeded()
            carrier.outbox.wake(carrier.pipeline.kept_for(opened))
        elif (
            settlement.fault is Fault.UNREADABLE
            and settlement.well_formed
            and settlement.judged is None
            and self._ask_again(Failure(Fault.UNREADABLE, sent=True, status=reply.status))
        ):
            return
        self._settle(settlement, reply)

    def failed(self, fault: Fault, *, sent: bool, stale: bool = False) -> None:
        """The other side did not answer."""
        if self._ended:
            return
        try:
            self._unanswered(fault, sent=sent, stale=stale)
        except Exception:  # noqa: BLE001 - as in Carrier.ask
            self.give_up()

    def _unanswered(self, fault: Fault, *, sent: bool, stale: bool) -> None:
        opened, endpoint = self._opened, self._endpoint
        plan = opened.plan
        assert isinstance(plan, Forward)
        if stale and opened.safe_to_repeat and self._attempts == 1:
            self._carrier.metrics.retried("stale_connection")
            self._forward(plan)
            return
        if endpoint is not None:
            if fault is not Fault.OVERLOADED:
                endpoint.failed(HEALTH_REASONS[fault], fault.value)
            if (not sent or opened.safe_to_repeat) and self._try_next(endpoint, plan):
                return
        elif self._ask_again(Failure(fault, sent=sent)):
            return
        self._settle(self._carrier.pipeline.fail(opened, fault))

    def _try_next(self, endpoint: Endpoint, plan: Forward) -> bool:
        self._tried = (*self._tried, endpoint)
        assert isinstance(plan.target, ToCluster)
        if (self._place or self._carrier.clusters[plan.target.cluster]).choose(self._tried) is None:
            return False
        if perf_counter() - self._started >= self._patience.total:
            return False
        self._carrier.metrics.retried("next_endpoint")
        self._forward(plan)
        return True

    # settling

    def _settle(self, settlement: Settlement, reply: Reply | None = None) -> None:
        if settlement.keep:
            self._keep(settlement)
            return
        self._finish(settlement, reply)

    def _keep(self, settlement: Settlement) -> None:
        carrier, opened, plan = self._carrier, self._opened, self._opened.plan
        body = plan.body if isinstance(plan, Forward) and plan.body is not None else self._request.body
        url = carrier.pipeline.kept_address(opened)
        entry = Entry(
            carrier.pipeline.kept_for(opened),
            url,
            body,
            at=self._arrival.at,
            exchange=self._arrival.exchange,
            guarded=isinstance(plan, Forward) and plan.guarded,
            undecided=undecided(opened),
        )
        carrier.outbox.put(entry, lambda kept: self._kept(settlement, kept=kept))

    def _kept(self, settlement: Settlement, *, kept: bool) -> None:
        outcome = "kept" if kept else "lost"
        self._finish(Settlement(outcome, settlement.fault, settlement.code, settlement.answer), None)

    def give_up(self) -> None:
        """An exception of our own where no answer was made yet: the failure table's answer, or at least one."""
        log.error("exchange %s could not be carried out", self._arrival.exchange, exc_info=True)  # noqa: LOG014 - its callers are in one
        if self._ended:
            return
        try:
            self._settle(self._carrier.pipeline.fail(self._opened, Fault.ENGINE, sent=self._attempts > 0))
        except Exception:
            log.exception("exchange %s is answered without its record", self._arrival.exchange)
            if not self._ended:
                self._end(_SPEECHLESS if self._arrival.kind is Kind.COMMAND else _NO_OPINION)

    def _finish(self, settlement: Settlement, reply: Reply | None) -> None:
        if self._ended:
            return
        try:
            self._account(settlement, reply)
        except Exception:
            log.exception("how exchange %s ended is neither recorded nor counted", self._arrival.exchange)
        response = self._response(settlement, reply)
        first, self._first = self._first, None
        self._end(response)
        if first is not None and self._carrier.repeats is not None:
            keep = settlement.fault not in NOTHING_WAS_SENT
            self._carrier.repeats.ended(first, self._arrival.exchange, response.body, keep=keep)
        if self._carrier.over is not None:
            self._carrier.over(self._opened)

    def _end(self, response: Response) -> None:
        """Let go of the exchange: the one way out of it."""
        self._ended = True
        self._carrier.in_flight -= 1
        self._asker.release(response)
        if self._first is not None and self._carrier.repeats is not None:  # it ended without a settlement
            self._carrier.repeats.ended(self._first, self._arrival.exchange, response.body, keep=True)
        if self._taken:
            self._carrier.pipeline.give_back(self._taken)

    def _account(self, settlement: Settlement, reply: Reply | None) -> None:
        """Record the settlement and count it."""
        carrier, opened, judged = self._carrier, self._opened, settlement.judged
        if judged is not None:
            self._account_verbs(judged)
        now = perf_counter()
        total = now - self._started
        upstream = now - (self._asked_at or self._sent_at) if self._attempts else 0.0
        record = carrier.recorder.settlement(
            self._arrival.exchange,
            self._arrival.at + total,
            outcome=settlement.outcome,
            endpoint=self._upstream,
            code=settlement.code,
            http_status=reply.status if reply is not None else 200,
            attempts=self._attempts,
            upstream_seconds=upstream,
            total_seconds=total,
            rule=opened.decision.rule,
            verbs=0 if judged is None else judged.verbs,
            verbs_refused=0 if judged is None else judged.refused,
            captured=0 if judged is None else judged.captured.count,
            answered=() if judged is None else tuple(judged.answered),
            repeats=self._first_exchange,
        )
        if carrier.observe is not None:
            carrier.observe(record)
        carrier.journal.append(record)
        carrier.count(opened, settlement, upstream, total - upstream)

    def _account_verbs(self, judged: Judged) -> None:
        """Record the verbs that were judged, and count them and the callbacks that became ours."""
        carrier = self._carrier
        for record in judged.records:
            carrier.journal.append(record)
            if carrier.observe is not None:
                carrier.observe(record)
        for (verdict, rule), count in judged.counts.items():
            carrier.metrics.verb_decided(verdict, rule, count)
        if judged.captured.count:
            carrier.metrics.callbacks_captured(judged.captured.count, judged.captured.longest)

    def _response(self, settlement: Settlement, reply: Reply | None) -> Response:
        own = b"X-Interceptor-Exchange: " + self._id if self._id else b""
        if self._missing:
            own += b"X-Interceptor-Partial: %b\r\n" % self._missing.encode("latin-1", "replace")
        answer = settlement.answer
        if answer is not None or reply is None:
            body = answer.body if answer is not None else b""
            line = _ANSWERED_HERE if answer is None or answer.status == 200 else _FORBIDDEN
            return Response(line, _XML % (len(body), own), body)
        body, block = reply.body, reply.block
        if settlement.body is not None:
            body = settlement.body
        if reply.status in _BODILESS:
            lines = block.before + block.after if reply.status == 204 else block.forwarded
        else:
            lines = block.forwarded if len(body) == block.length else block.framed(len(body))
        if self._carrier.headers.via:
            own = (b"Via: 1.1 interceptor\r\n" if reply.minor else b"Via: 1.0 interceptor\r\n") + own
        return Response(reply.status_line, lines + own, body)


def _plain_answer(body: bytes) -> Response:
    return Response(_ANSWERED_HERE, _XML % (len(body), b""), body)


_MAY_ASK_AGAIN = frozenset((Patience.ROUTING, Patience.INTERACTIVE))  # reports are kept: the outbox asks again
_ACKNOWLEDGED = Answer(NO_OPINION)
_NO_OPINION = _plain_answer(NO_OPINION)
# The last answer left to a command: whether it was sent is not known any more, so the sentence claims nothing.
_SPEECHLESS = _plain_answer(encode_answer(Code.INTERNAL_FAULT, "Internal fault"))
