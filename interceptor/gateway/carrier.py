"""What the exchanges of one worker share: the way to decide, to record, to count, and whom there is to ask."""

import itertools
from collections.abc import Callable, Mapping
from time import time
from typing import Final, Protocol

from interceptor.audit.record import Record, Recorder
from interceptor.exchanges import Arrival, Opened, Patience, Settlement
from interceptor.gateway.affinity import Whereabouts
from interceptor.gateway.breakers import Breakers
from interceptor.gateway.clusters import ClusterRoute
from interceptor.gateway.connection import Asker, Door, Room
from interceptor.gateway.exchange import Exchange, TurnedAway
from interceptor.gateway.http1 import Request
from interceptor.gateway.mirroring import Mirrors
from interceptor.gateway.repeats import Repeats
from interceptor.gateway.upstream import Pool, Site
from interceptor.metrics import Metrics
from interceptor.outbox import Entry
from interceptor.pipeline import Pipeline
from interceptor.settings import App, Deadlines, ForwardHeaders
from interceptor.values import Verdict

_KEPT_LINES: Final = 4096
_LAST_HEARD: Final = 64  # connections beyond their cap: more at a time are only told that they are too many
_BY_POLICY: Final = frozenset({"rule", "limit", "default"})
_VERDICTS: Final = {verdict: verdict.value for verdict in Verdict}  # an Enum's own `value` is two calls in Python


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
        self._beyond = 0  # those that found no room
        self._most_connections = most_connections
        self._ids = map(f"{worker}-{{:x}}".format, itertools.count(1))
        self._own_lines: dict[tuple[str, int], bytes] = {}

    def ask(self, asker: Asker, request: Request, source: str, door: Door, sort: type[Exchange] = Exchange) -> None:
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
        exchange = sort(self, asker, request, arrival)
        try:
            exchange.start()
        except Exception:  # noqa: BLE001 - whatever it was, the asker has an answer and nothing leaves undecided
            exchange.give_up()

    def turn_away(self, asker: Asker, request: Request, source: str, door: Door) -> None:
        """The same, for one request more than there is room for: what the rules let pass has an overload's answer."""
        self.ask(asker, request, source, door, TurnedAway)

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

    def opened(self, listener: str) -> Room:
        """A connection came; whether there is room for it."""
        self.metrics.connection_opened(listener)
        if self._connections < self._most_connections:
            self._connections += 1
            return Room.FREE
        self._beyond += 1
        self.metrics.connection_refused(listener)
        self.metrics.limit_hit("connections")
        return Room.LAST if self._beyond <= _LAST_HEARD else Room.NONE

    def closed(self, listener: str, room: Room = Room.FREE) -> None:
        """A connection went that had found this room."""
        if room is Room.FREE:
            self._connections -= 1
        else:
            self._beyond -= 1
        self.metrics.connection_closed(listener)

    def handed_over(self, listener: str) -> None:
        """A connection that was said to be closed goes on in mitmproxy's layers; nobody took its place meanwhile."""
        self._connections += 1
        self.metrics.connection_goes_on(listener)

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
