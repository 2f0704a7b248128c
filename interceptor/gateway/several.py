"""One exchange where there are several PBXs: its command goes to the one that has the call which it names.

A list command goes to all of them, and their answers become one. What passes here also tells where calls are
(``affinity.py``).
"""

from typing import TYPE_CHECKING

from interceptor.exchanges import Fault, Forward
from interceptor.gateway.affinity import Family, Whereabouts
from interceptor.gateway.clusters import ClusterRoute, Endpoint, Place
from interceptor.gateway.gathering import Gathered, Leg, page_of, pages_up_to
from interceptor.settings import Partial
from interceptor.values import Kind, ToCluster
from interceptor.wire.codes import Code, sentence
from interceptor.wire.listings import COMMANDS, call_ids

if TYPE_CHECKING:
    from interceptor.gateway.exchange import Exchange


class Several:
    """Which of several PBXs one exchange is for, and what all of them answer. ``missing`` names who has not.

    It does not hold its exchange, which holds it.
    """

    __slots__ = ("_family", "_legs", "_place", "_whereabouts", "missing")

    def __init__(self, whereabouts: Whereabouts) -> None:
        self._whereabouts = whereabouts
        self._family: Family | None = None  # the PBXs that may have the call it names
        self._place: Place | None = None  # the one that has it
        self._legs: list[Leg] = []
        self.missing = ""

    def look_up(self, exchange: "Exchange") -> None:
        """What is known about the calls of this message, before it is recorded."""
        whereabouts = self._whereabouts
        opened, pipeline = exchange.opened, exchange.carrier.pipeline
        if opened.arrival.kind is Kind.NOTIFICATION:
            calls = pipeline.calls_of(opened)
            whereabouts.notified(opened.arrival.exchange, calls, opened.arrival.source, opened.record.origin)
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

    def forward(self, exchange: "Exchange", plan: Forward, cluster: str) -> None:
        """Forward a command to the PBX that has the call which it names, a list command to all, others as planned."""
        opened, metrics = exchange.opened, exchange.carrier.metrics
        family = self._family = self._whereabouts.family(cluster)
        if family is None or opened.parameters is None:
            exchange.forward(plan)
            return
        if opened.name in COMMANDS:
            self._ask_all(exchange, family)
            return
        if self._place is not None:
            metrics.call_looked_up("known")
            self._forward_to(exchange, self._place)
            return
        calls = exchange.carrier.pipeline.calls_of(opened)
        if calls and not family.is_absent(calls[0]):
            family.locate(calls[0], lambda place: self._located(exchange, place))
        else:
            if calls:
                metrics.call_looked_up("unknown")
            exchange.forward(plan)

    def where(self, route: ClusterRoute) -> Place | ClusterRoute:
        """Whose endpoints may be asked where the plan says this route."""
        return self._place or route

    def sent(self, exchange: "Exchange", cluster: str, endpoint: Endpoint) -> None:
        """It goes to this endpoint, and callbacks that were captured in it lead there."""
        if exchange.opened.record.captured and self._family is not None:
            place = exchange.carrier.clusters[cluster].place_of(endpoint)
            self._whereabouts.sent(exchange.opened.arrival.exchange, place)

    def learn(self, exchange: "Exchange", cluster: str, endpoint: Endpoint, code: int | None, body: bytes) -> None:
        """What the answer of a PBX tells about where calls are."""
        family, place, carrier = self._family, self._place, exchange.carrier
        if family is None:
            return
        calls = carrier.pipeline.calls_of(exchange.opened)
        if place is not None and code == Code.CALL_NOT_FOUND:
            for call in calls:
                family.drop(call)
        elif code == Code.OK:
            place = place or carrier.clusters[cluster].place_of(endpoint)
            for call in calls or call_ids(body):
                family.put(call, place)

    def _located(self, exchange: "Exchange", place: Place | None) -> None:
        """All PBXs were asked for the call."""
        if exchange.ended:
            return
        try:
            exchange.carrier.metrics.call_looked_up("unknown" if place is None else "asked")
            if exchange.is_late():
                exchange.settle(exchange.carrier.pipeline.fail(exchange.opened, Fault.UNREACHABLE))
            elif place is None:
                plan = exchange.opened.plan
                assert isinstance(plan, Forward)
                exchange.forward(plan)
            else:
                self._forward_to(exchange, place)
        except Exception:  # noqa: BLE001 - as in Carrier.ask
            exchange.give_up()

    def _forward_to(self, exchange: "Exchange", place: Place) -> None:
        """Forward to the PBX that has the call, which may be of another cluster than planned."""
        cluster = place.route.name
        plan = exchange.opened.plan
        assert isinstance(plan, Forward)
        self._place = place
        if plan.target != ToCluster(cluster):
            plan = exchange.opened.plan = exchange.carrier.pipeline.plan_for(exchange.opened, cluster)
        exchange.forward(plan)

    # lists

    def _ask_all(self, exchange: "Exchange", family: Family) -> None:
        """Ask all PBXs for their lists."""
        opened, pipeline = exchange.opened, exchange.carrier.pipeline
        assert opened.parameters is not None
        changes = pages_up_to(page_of(opened.parameters.values))
        clusters = {place.route.name for place in family.places}
        plans = {cluster: pipeline.plan_for(opened, cluster, changes) for cluster in clusters}
        left = len(family.places)

        def done(_leg: Leg) -> None:
            nonlocal left
            left -= 1
            if not left and not exchange.ended:
                try:
                    self._gathered(exchange, family)
                except Exception:  # noqa: BLE001 - as in Carrier.ask
                    exchange.give_up()

        def send(leg: Leg, endpoint: Endpoint, again: str) -> bool:
            if exchange.ended or (exchange.attempts and exchange.is_late()):
                return False
            if again:
                exchange.carrier.metrics.retried(again)
            fresh = again == "stale_connection"
            exchange.send(endpoint.pool, leg.plan, endpoint.host, endpoint.path, leg, fresh=fresh)
            return True

        self._legs = [Leg(place, plans[place.route.name], send, done) for place in family.places]
        for leg in self._legs:
            leg.ask()

    def _gathered(self, exchange: "Exchange", family: Family) -> None:
        """All PBXs have answered, or will not."""
        carrier, opened = exchange.carrier, exchange.opened
        plan = opened.plan
        assert opened.parameters is not None
        assert isinstance(plan, Forward)
        assert isinstance(plan.target, ToCluster)
        legs, self._legs = self._legs, []
        exchange.upstream = ",".join(leg.place.name for leg in legs)
        for leg in legs:
            if leg.reply is not None and opened.name == "ListActiveCalls":
                for call in call_ids(leg.reply.body):
                    family.put(call, leg.place)
        gathered = Gathered(legs, page_of(opened.parameters.values))
        outcome = None
        if gathered.any and gathered.missing:
            self.missing = ",".join(gathered.missing)
            if carrier.clusters[plan.target.cluster].cluster.partial is Partial.CODE:
                outcome = (int(Code.NOT_ALL_ANSWERED), sentence(Code.NOT_ALL_ANSWERED, opened.arrival.exchange))
        carrier.metrics.list_merged("whole" if gathered.whole else "partial" if gathered.any else "none")
        reply = gathered.reply(outcome)
        if reply is None:
            exchange.settle(carrier.pipeline.fail(opened, gathered.fault))
        else:
            exchange.settle(carrier.pipeline.finish(opened, reply.status, reply.body), reply)
