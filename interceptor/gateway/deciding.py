"""Reports that were kept before a decision on them was finished, for a fault of ours: decided when their turn comes.

Laws of this module:

* Nothing leaves undecided. While the decision fails, the report waits, and what came after it waits behind it.
* It is decided as a message that comes now, by the rules in force now: their limits have no memory of earlier.
* The decision is on record under the exchange in which the report came, behind the one that tells of the fault.
"""

import logging
import time
from collections.abc import Callable

from msgspec.structs import replace

from interceptor.app_addresses import queue_of
from interceptor.audit.record import Record
from interceptor.exchanges import Answer, Arrival, Forward, Opened
from interceptor.outbox import Entry, Undecided
from interceptor.pipeline import Pipeline
from interceptor.values import Kind

log = logging.getLogger(__name__)

REFUSED = "refused"  # a rule refused it, or answered in the app's place
UNROUTABLE = "unroutable"  # there is nobody it could be delivered to


def undecided(opened: Opened) -> Undecided | None:
    """What is to be kept of a message so that it can be decided later; nothing where that is done."""
    if opened.rules is not None:
        return None
    arrival = opened.arrival
    return Undecided(arrival.listener, arrival.source, arrival.method, arrival.target, dict(arrival.headers))


class LateDecisions:
    """Decides what was kept undecided; ``keep`` is given each record."""

    def __init__(self, pipeline: Pipeline, *keep: Callable[[Record], None]) -> None:
        self._pipeline = pipeline
        self._keep = keep

    def decide(self, entry: Entry) -> Entry | str:
        """The report as it is to be delivered, or why it is not. Raises while it cannot be decided."""
        came = entry.undecided
        assert came is not None
        arrival = Arrival(
            entry.exchange,
            came.listener,
            Kind.NOTIFICATION,
            came.source,
            came.method,
            came.target,
            came.headers,
            entry.body,
            time.time(),
        )
        try:
            opened = self._pipeline.begin(arrival)
        except Exception:
            log.exception("the report of exchange %s cannot be decided, and waits", entry.exchange)
            self._pipeline.broken(arrival)  # what it took of its limits is free again
            raise
        self._pipeline.give_back(opened.decision.slots)
        for keep in self._keep:
            keep(opened.record)
        plan = opened.plan
        if isinstance(plan, Answer):
            return REFUSED
        return self._as_planned(entry, opened, plan)

    def _as_planned(self, entry: Entry, opened: Opened, plan: Forward) -> Entry | str:
        url = self._pipeline.addresses.kept(opened)
        if not url:
            return UNROUTABLE
        body = entry.body if plan.body is None else plan.body
        return replace(entry, app=queue_of(opened), url=url, body=body, guarded=plan.guarded, undecided=None)
