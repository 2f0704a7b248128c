"""Carrying out: an exchange from its request to the released answer.

Everything is a callback of the event loop; an exchange has no task of its own. Who holds it: the journal until its
record is safe, then a pool until the reply is here, then the outbox where a notification is kept. Each of them calls
back once.

Which PBX of several it goes to stands in ``several.py``, how an app is asked in ``asking.py``.
"""

import logging
from time import perf_counter
from typing import TYPE_CHECKING

from interceptor.app_addresses import queue_of
from interceptor.exchanges import NO_OPINION, Answer, Arrival, Fault, Forward, Opened, Patience, Settlement
from interceptor.firewall import Judged
from interceptor.gateway.asking import AskedApp, Failure
from interceptor.gateway.clusters import REFUSES_US, Endpoint
from interceptor.gateway.connection import Asker, Response
from interceptor.gateway.deciding import undecided
from interceptor.gateway.firsts import Found
from interceptor.gateway.gathering import HEALTH_REASONS
from interceptor.gateway.http1 import Reply, Request
from interceptor.gateway.repeats import NOTHING_WAS_SENT, Repeats
from interceptor.gateway.several import Several
from interceptor.gateway.upstream import Errand, Pool
from interceptor.outbox import Entry
from interceptor.settings import Deadlines
from interceptor.values import Kind, ToApp, ToCluster, ToUrl
from interceptor.wire.answers import encode_answer, read_answer
from interceptor.wire.codes import Code

if TYPE_CHECKING:
    from interceptor.gateway.carrier import Carrier

log = logging.getLogger(__name__)

_XML = b"Content-Type: application/xml; charset=utf-8\r\nContent-Length: %d\r\n%b"
_ANSWERED_HERE = b"200 OK"
_FORBIDDEN = b"403 Forbidden"
_AT_ONCE_SECONDS = 0.02
_BODILESS = frozenset({204, 304})


class Exchange:
    """One request and its answer."""

    __slots__ = (
        "_app",
        "_asker",
        "_endpoint",
        "_first",
        "_first_exchange",
        "_id",
        "_request",
        "_sent_at",
        "_several",
        "_started",
        "_taken",
        "_tried",
        "arrival",
        "attempts",
        "carrier",
        "ended",
        "opened",
        "patience",
        "upstream",
    )

    def __init__(self, carrier: "Carrier", asker: Asker, request: Request, arrival: Arrival) -> None:
        self._started = perf_counter()
        self.carrier = carrier
        self.arrival = arrival
        self._asker = asker
        self._request = request
        self._id = arrival.exchange.encode() + b"\r\n" if carrier.headers.exchange else b""
        self.opened: Opened
        self.patience: Deadlines
        self._taken: tuple[int, ...] = ()
        self.ended = False
        self.attempts = 0
        self.upstream = ""  # who was asked last
        self._app: AskedApp | None = None
        self._several: Several | None = None
        self._endpoint: Endpoint | None = None
        self._tried: tuple[Endpoint, ...] = ()
        self._first: bytes | None = None  # what the same commands after this one have in common with it
        self._first_exchange = ""  # the one whose answer this one gets
        self._sent_at = 0.0

    def start(self) -> None:
        """Decide, record, carry out."""
        carrier = self.carrier
        try:
            opened = carrier.pipeline.begin(self.arrival)
        except Exception:  # law 1: our own fault is a refusal by the failure table, never a way through
            log.exception("the decision of exchange %s failed", self.arrival.exchange)
            opened = carrier.pipeline.broken(self.arrival)
        self.opened = opened
        self._taken = opened.decision.slots
        self.patience = carrier.patiences[Patience.CALL if opened.answered_at_pickup else opened.patience]
        if carrier.observe is not None:
            carrier.observe(opened.record)
        if opened.judged is not None:
            self._account_verbs(opened.judged)
        if carrier.whereabouts is not None:
            several = self._several = Several(carrier.whereabouts)
            several.look_up(self)
        if self.arrival.kind is Kind.COMMAND:
            carrier.journal.append(opened.record, self._recorded)
        else:  # a caller waits: the record is written with the next batch (failure table, "journal cannot write")
            carrier.journal.append(opened.record)
            self._carry_out()

    def _recorded(self, safe: bool) -> None:
        try:
            if safe:
                self._carry_out()
            else:
                self.settle(self.carrier.pipeline.fail(self.opened, Fault.UNRECORDED))
        except Exception:  # noqa: BLE001 - as in Carrier.ask
            self.give_up()

    def _carry_out(self) -> None:
        opened, carrier = self.opened, self.carrier
        plan = opened.plan
        if isinstance(plan, Answer):
            self.settle(self.carrier.pipeline.settle_answer(opened, plan))
        elif carrier.repeats is not None and self._repeats(carrier.repeats, plan):
            return
        elif opened.patience is Patience.REPORT and carrier.outbox.waiting(queue_of(opened)):
            self.settle(
                Settlement("kept", None, None, _ACKNOWLEDGED, keep=True)
            )  # behind those that wait: order is kept
        elif self._several is not None and isinstance(plan.target, ToCluster):
            self._several.forward(self, plan, plan.target.cluster)
        else:
            self.forward(plan)
        if opened.decision.mirrors:
            self._mirror()

    def _repeats(self, repeats: Repeats, plan: Forward) -> bool:
        """Whether this command is one that came before, and gets that one's answer."""
        opened, exchange = self.opened, self.arrival.exchange
        key = repeats.key(opened, plan, self._request.body if plan.body is None else plan.body)
        if key is None:
            return False
        first = repeats.claim(key, opened.app, exchange)
        if first is None:
            self._first = key
            return False
        self._first_exchange = first.exchange
        repeats.wait(key, first, self.patience.total - (perf_counter() - self._started), self._repeated)
        return True

    def _repeated(self, first: Found | None) -> None:
        if self.ended:
            return
        try:
            if first is None:  # it may have been carried out, so this one is not
                self.settle(self.carrier.pipeline.fail(self.opened, Fault.TIMEOUT))
                return
            self._first_exchange = first.exchange
            self.carrier.metrics.repeated(self.opened.app)
            code = read_answer(first.answer).code
            self.settle(Settlement("repeated", None, code, Answer(first.answer, code)))
        except Exception:  # noqa: BLE001 - as in Carrier.ask
            self.give_up()

    def _mirror(self) -> None:
        """Send the copies that rules want; whatever becomes of them, this exchange goes on."""
        carrier, arrival = self.carrier, self.arrival
        if carrier.mirrors is None:
            return
        try:
            carrier.mirrors.send(carrier.pipeline.copies.of(self.opened), arrival.exchange, arrival.headers)
        except Exception:
            log.exception("no copies were made of exchange %s", arrival.exchange)

    # forwarding

    def forward(self, plan: Forward, *, fresh: bool = False) -> None:
        """Ask the endpoint that is next, or the app; an endpoint on a ``fresh`` connection if need be."""
        target = plan.target
        if isinstance(target, ToCluster):
            several = self._several
            route = self.carrier.clusters[target.cluster]
            where = route if several is None else several.where(route)
            endpoint = where.choose(self._tried)
            if endpoint is None:
                self.settle(self.carrier.pipeline.fail(self.opened, where.why_none()))
                return
            self._endpoint = endpoint
            if several is not None:
                several.sent(self, target.cluster, endpoint)
            self.send(endpoint.pool, plan, endpoint.host, endpoint.path, self, fresh=fresh)
        elif isinstance(target, ToUrl):
            app = self._app = self._app or AskedApp()
            app.ask(self, plan, target)
        else:
            assert isinstance(target, ToApp)  # an app without an address
            self.settle(self.carrier.pipeline.fail(self.opened, Fault.UNROUTABLE))

    def send(
        self,
        pool: Pool,
        plan: Forward,
        host: str,
        base: bytes,
        errand: Errand,
        *,
        keeps_host: bool = True,
        fresh: bool = False,
    ) -> None:
        """Send the message as planned; ``errand`` is told how that ends. ``base`` stands before the path."""
        request = self._request
        block = request.block
        if not keeps_host or not block.hosts:
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
        own = self.carrier.own_lines(self.arrival.source, request.minor)
        method = b"GET " if request.method == "GET" else b"POST "
        patience = self.patience
        self._sent_at = perf_counter()
        spent = self._sent_at - self._started
        if (
            self.attempts or spent > _AT_ONCE_SECONDS
        ):  # the deadlines are the asker's, who has waited for so long already
            left = patience.total - spent
            if left <= 0:  # what nobody waits for any more is not carried out
                errand.failed(Fault.OVERLOADED, sent=False)
                return
            patience = Deadlines(min(patience.first_byte, left), left)
        self.attempts += 1
        self.upstream = host
        data = b"".join((method, path, b" HTTP/1.1\r\n", lines, own, self._id, b"\r\n", body))
        pool.send(errand, data, patience, fresh=fresh)

    def is_late(self) -> bool:
        """Whether its asker has waited for as long as it may."""
        return perf_counter() - self._started >= self.patience.total

    # upstream.Errand

    def replied(self, reply: Reply) -> None:
        """The other side answered."""
        if self.ended:  # a fault of our own was quicker
            return
        try:
            carrier, opened, endpoint = self.carrier, self.opened, self._endpoint
            try:
                settlement = carrier.pipeline.finish(opened, reply.status, reply.body)
            except Exception:
                log.exception("the settlement of exchange %s failed", self.arrival.exchange)
                settlement = carrier.pipeline.fail(opened, Fault.ENGINE, sent=True)
            if endpoint is not None:
                if self._judge(endpoint, settlement.code, reply):
                    return
            elif self._app is not None and self._told_by_app(self._app, settlement, reply.status):
                return
            self.settle(settlement, reply)
        except Exception:  # noqa: BLE001 - as in Carrier.ask
            self.give_up()

    def _judge(self, endpoint: Endpoint, code: int | None, reply: Reply) -> bool:
        """What its answer says of an endpoint; whether it answers nobody but us, and another is asked."""
        plan = self.opened.plan
        assert isinstance(plan, Forward)
        assert isinstance(plan.target, ToCluster)
        if code in REFUSES_US and self.carrier.clusters[plan.target.cluster].credentials:
            if code != Code.FORBIDDEN_USER:  # this may be about the command, which apps choose
                endpoint.failed("code", f"refuses us with code {code}")
            if self._try_next(endpoint, plan):
                return True
        elif reply.status >= 500:
            endpoint.failed("status", f"answers with HTTP status {reply.status}")
        else:
            endpoint.succeeded()
        if self._several is not None:
            self._several.learn(self, plan.target.cluster, endpoint, code, reply.body)
        return False

    def _told_by_app(self, app: AskedApp, settlement: Settlement, status: int) -> bool:
        """What its answer says of an app; whether it is none, and it is asked again."""
        if settlement.outcome == "answered":
            app.answered()
            self.carrier.outbox.wake(queue_of(self.opened))
            return False
        unreadable = settlement.fault is Fault.UNREADABLE and settlement.well_formed and settlement.judged is None
        return unreadable and app.ask_again(self, Failure(Fault.UNREADABLE, sent=True, status=status))

    def failed(self, fault: Fault, *, sent: bool, stale: bool = False) -> None:
        """The other side did not answer."""
        if self.ended:
            return
        try:
            self._unanswered(fault, sent=sent, stale=stale)
        except Exception:  # noqa: BLE001 - as in Carrier.ask
            self.give_up()

    def _unanswered(self, fault: Fault, *, sent: bool, stale: bool) -> None:
        opened, endpoint = self.opened, self._endpoint
        plan = opened.plan
        assert isinstance(plan, Forward)
        if stale and opened.safe_to_repeat and self.attempts == 1:
            self.carrier.metrics.retried("stale_connection")
            self.forward(plan, fresh=True)
            return
        if endpoint is not None:
            if fault is not Fault.OVERLOADED:
                endpoint.failed(HEALTH_REASONS[fault], fault.value)
            if (not sent or opened.safe_to_repeat) and self._try_next(endpoint, plan):
                return
        elif self._app is not None and self._app.ask_again(self, Failure(fault, sent=sent)):
            return
        self.settle(self.carrier.pipeline.fail(opened, fault))

    def _try_next(self, endpoint: Endpoint, plan: Forward) -> bool:
        self._tried = (*self._tried, endpoint)
        assert isinstance(plan.target, ToCluster)
        route = self.carrier.clusters[plan.target.cluster]
        where = route if self._several is None else self._several.where(route)
        if where.choose(self._tried) is None or self.is_late():
            return False
        self.carrier.metrics.retried("next_endpoint")
        self.forward(plan)
        return True

    # settling

    def settle(self, settlement: Settlement, reply: Reply | None = None) -> None:
        """Keep it for later, or record how it ended, answer, and let go of it."""
        if settlement.keep:
            self._keep(settlement)
            return
        if self.ended:
            return
        try:
            self._account(settlement, reply)
        except Exception:
            log.exception("how exchange %s ended is neither recorded nor counted", self.arrival.exchange)
        response = self._response(settlement, reply)
        first, self._first = self._first, None
        self._end(response)
        if first is not None and self.carrier.repeats is not None:
            keep = settlement.fault not in NOTHING_WAS_SENT
            self.carrier.repeats.ended(first, self.arrival.exchange, response.body, keep=keep)
        if self.carrier.over is not None:
            self.carrier.over(self.opened)

    def _keep(self, settlement: Settlement) -> None:
        carrier, opened, plan = self.carrier, self.opened, self.opened.plan
        body = plan.body if isinstance(plan, Forward) and plan.body is not None else self._request.body
        url = carrier.pipeline.addresses.kept(opened)
        entry = Entry(
            queue_of(opened),
            url,
            body,
            at=self.arrival.at,
            exchange=self.arrival.exchange,
            guarded=isinstance(plan, Forward) and plan.guarded,
            undecided=undecided(opened),
        )
        carrier.outbox.put(entry, lambda kept: self._kept(settlement, kept=kept))

    def _kept(self, settlement: Settlement, *, kept: bool) -> None:
        outcome = "kept" if kept else "lost"
        self.settle(Settlement(outcome, settlement.fault, settlement.code, settlement.answer))

    def give_up(self) -> None:
        """An exception of our own where no answer was made yet: the failure table's answer, or at least one."""
        log.error("exchange %s could not be carried out", self.arrival.exchange, exc_info=True)  # noqa: LOG014 - its callers are in one
        if self.ended:
            return
        try:
            self.settle(self.carrier.pipeline.fail(self.opened, Fault.ENGINE, sent=self.attempts > 0))
        except Exception:
            log.exception("exchange %s is answered without its record", self.arrival.exchange)
            if not self.ended:
                self._end(_SPEECHLESS if self.arrival.kind is Kind.COMMAND else _NO_OPINION)

    def _end(self, response: Response) -> None:
        """Let go of the exchange: the one way out of it."""
        self.ended = True
        self.carrier.in_flight -= 1
        self._asker.release(response)
        if self._first is not None and self.carrier.repeats is not None:  # it ended without a settlement
            self.carrier.repeats.ended(self._first, self.arrival.exchange, response.body, keep=True)
        if self._taken:
            self.carrier.pipeline.give_back(self._taken)

    def _account(self, settlement: Settlement, reply: Reply | None) -> None:
        """Record the settlement and count it."""
        carrier, opened, judged = self.carrier, self.opened, settlement.judged
        if judged is not None:
            self._account_verbs(judged)
        now = perf_counter()
        total = now - self._started
        since = self._sent_at if self._app is None else self._app.since or self._sent_at
        upstream = now - since if self.attempts else 0.0
        record = carrier.recorder.settlement(
            self.arrival.exchange,
            self.arrival.at + total,
            outcome=settlement.outcome,
            endpoint=self.upstream,
            code=settlement.code,
            http_status=reply.status if reply is not None else 200,
            attempts=self.attempts,
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
        carrier = self.carrier
        for cap in judged.caps:
            carrier.metrics.limit_hit(cap)
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
        if self._several is not None and self._several.missing:
            own += b"X-Interceptor-Partial: %b\r\n" % self._several.missing.encode("latin-1", "replace")
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
        if self.carrier.headers.via:
            own = (b"Via: 1.1 interceptor\r\n" if reply.minor else b"Via: 1.0 interceptor\r\n") + own
        return Response(reply.status_line, lines + own, body)


class TurnedAway(Exchange):
    """One for which there is no room: it is decided and recorded, and goes nowhere."""

    __slots__ = ()

    def _carry_out(self) -> None:
        if isinstance(self.opened.plan, Answer):
            super()._carry_out()
        else:
            self.settle(self.carrier.pipeline.fail(self.opened, Fault.OVERLOADED))


def _plain_answer(body: bytes) -> Response:
    return Response(_ANSWERED_HERE, _XML % (len(body), b""), body)


_ACKNOWLEDGED = Answer(NO_OPINION)
_NO_OPINION = _plain_answer(NO_OPINION)
# The last answer left to a command: whether it was sent is not known any more, so the sentence claims nothing.
_SPEECHLESS = _plain_answer(encode_answer(Code.INTERNAL_FAULT, "Internal fault"))
