"""How often an app is asked, and when it is left alone.

A breaker for each address of an app: after so many failures in a row nobody waits for it, until one real notification
is let through and answered. ``Retry`` says what is asked again; what may have been carried out only if it says so.
"""

from collections.abc import Callable, Mapping
from typing import Final

from msgspec import Struct

from interceptor.exchanges import Fault
from interceptor.settings import App, Deadlines, Retry
from interceptor.wire.url import take_apart

_MOST = 4096
_NEVER_ASKED: Final = frozenset((Fault.BREAKER_OPEN, Fault.OVERLOADED))


class Breaker:
    """Whether one address of an app is asked. Times are the loop's, in seconds."""

    __slots__ = ("_failures", "_limit", "_pause", "until")

    def __init__(self, limit: int, pause: float) -> None:
        self._limit = limit
        self._pause = pause
        self._failures = 0
        self.until = 0.0  # while it is open: when the next notification goes through

    @property
    def open(self) -> bool:
        """Whether the address is left alone."""
        return 0 < self._limit <= self._failures

    def allows(self, now: float) -> bool:
        """Whether it may be asked now; while it is open, the one that may is the trial, and the next pause begins."""
        if self._failures < self._limit or not self._limit:
            return True
        if now < self.until:
            return False
        self.until = now + self._pause
        return True

    def succeeded(self) -> None:
        """It has answered."""
        self._failures = 0

    def failed(self, now: float) -> None:
        """It has not."""
        self._failures += 1
        if self.open:
            self.until = now + self._pause


class Breakers:
    """The breakers of one worker, by app and address. What apps choose themselves counts by its host."""

    def __init__(self, apps: Mapping[str, App], clock: Callable[[], float]) -> None:
        self._apps = apps
        self._found: dict[tuple[str, str], Breaker] = {}
        self.clock = clock

    def of(self, app: str, url: str, *, guarded: bool) -> Breaker | None:
        """The breaker of this address; ``None`` for one that no app of ours has."""
        if guarded:
            place = take_apart(url)
            url = "" if place is None else place.authority
        found = self._found.get((app, url))
        if found is None:
            known = self._apps.get(app)
            if known is None:
                return None
            if len(self._found) >= _MOST:  # those that answer are as good as new
                self._found = {key: each for key, each in self._found.items() if each.open}
                if len(self._found) >= _MOST:
                    return None
            found = self._found[app, url] = Breaker(known.failures_to_open, known.retry_after)
        return found

    def left_alone(self) -> dict[str, list[str]]:
        """The addresses that are left alone now, by app; of each app that was ever asked. Without their queries."""
        told: dict[str, list[str]] = {app: [] for app, _ in self._found}
        for (app, url), breaker in self._found.items():
            if breaker.open:
                told[app].append(url.partition("?")[0])
        return told


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
