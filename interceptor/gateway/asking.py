"""Asking an app for one exchange: how often, and where.

``Retry`` says what is asked again; what may have been carried out only if it says so. When an app is left alone stands
in ``breakers.py``.
"""

from time import perf_counter
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from interceptor.exchanges import Fault, Forward, Patience
from interceptor.gateway.breakers import Breaker
from interceptor.gateway.upstream import Site
from interceptor.settings import Address, Deadlines, Retry
from interceptor.values import ToUrl
from interceptor.wire.url import take_apart

if TYPE_CHECKING:
    from interceptor.gateway.exchange import Exchange

_NEVER_ASKED: Final = frozenset((Fault.BREAKER_OPEN, Fault.OVERLOADED))
_MAY_ASK_AGAIN: Final = frozenset((Patience.ROUTING, Patience.INTERACTIVE))  # reports are kept: the outbox asks again


class Failure(Struct, frozen=True):
    """How an app failed: ``sent`` says that it may have read the message, ``status`` is that of its answer, if any."""

    fault: Fault
    sent: bool
    status: int = 0

    @property
    def word(self) -> str:
        """The word of ``Retry.rp`` that covers it; ``""``: only ``all`` does."""
        if self.status:
            return f"{self.status // 100}xx" if self.status >= 400 else ""
        return "rt" if self.sent else "ct"

    @property
    def told(self) -> bool:
        """Whether it is a failure of the app, and not that nobody asked it."""
        return self.fault not in _NEVER_ASKED


def covers(retry: Retry | None, failure: Failure) -> bool:
    """Whether this failure may be followed by another attempt, whatever it has done."""
    return retry is not None and ("all" in retry.rp or failure.word in retry.rp)


def hurried(patience: Deadlines, retry: Retry | None) -> Deadlines:
    """The deadlines of a notification, cut down by the app's own."""
    if retry is None:
        return patience
    total = min(patience.total, retry.tt or patience.total)
    return Deadlines(min(patience.first_byte, retry.rt or patience.first_byte, total), total)


class AskedApp:
    """An app that is asked for one exchange, at its address and perhaps at its second one.

    ``since`` is when it was first asked, 0 for a command, which has no second one. It does not hold its exchange, which
    holds it.
    """

    __slots__ = ("_breaker", "_plan", "since")

    def __init__(self) -> None:
        self._plan: Forward | None = None  # the address that is being asked
        self._breaker: Breaker | None = None  # that address's
        self.since = 0.0

    def ask(self, exchange: "Exchange", plan: Forward, target: ToUrl) -> None:
        """Ask at this address, unless it is left alone."""
        carrier, opened = exchange.carrier, exchange.opened
        place = take_apart(target.url)
        if place is None:
            exchange.settle(carrier.pipeline.fail(opened, Fault.UNROUTABLE))
            return
        retry = _retry_of(exchange)
        if opened.patience is not Patience.COMMAND:
            if self._plan is None:
                exchange.patience = hurried(exchange.patience, retry)
                self.since = perf_counter()
            self._plan = plan
            breaker = self._breaker = carrier.breakers.of(opened.app, target.url, guarded=plan.guarded)
            if breaker is not None and not breaker.allows():
                failure = Failure(Fault.BREAKER_OPEN, sent=False)
                if not self.ask_again(exchange, failure):
                    exchange.settle(carrier.pipeline.fail(opened, failure.fault))
                return
        connect = 0.0 if retry is None else retry.ct or 0.0
        site = Site(Address(place.host, place.port), place.tls, opened.app if plan.guarded else "", connect)
        exchange.send(carrier.pool_for(site), plan, place.authority, b"", exchange, keeps_host=False)

    def ask_again(self, exchange: "Exchange", failure: Failure) -> bool:
        """Ask once more, or at the second address, where that is safe and in time; whether that is done."""
        plan = self._plan
        carrier, opened = exchange.carrier, exchange.opened
        if self._breaker is not None and failure.told:
            self._breaker.failed()
        if plan is None or opened.patience not in _MAY_ASK_AGAIN or exchange.is_late():
            return False
        retry = _retry_of(exchange)
        first = plan is opened.plan
        again = covers(retry, failure)
        if first and retry is not None and again and failure.told and exchange.attempts <= retry.rc:
            carrier.metrics.retried("app_retry")
        elif first and (not failure.sent or again or opened.safe_to_repeat):
            backup = carrier.pipeline.addresses.backup_plan(opened)
            if backup is None:
                return False
            carrier.metrics.retried("app_backup")
            plan = backup
        else:
            return False
        assert isinstance(plan.target, ToUrl)
        self.ask(exchange, plan, plan.target)
        return True

    def answered(self) -> None:
        """It has answered with what may pass."""
        if self._breaker is not None:
            self._breaker.succeeded()


def _retry_of(exchange: "Exchange") -> Retry | None:
    app = exchange.carrier.apps.get(exchange.opened.app)
    return None if app is None else app.retry
