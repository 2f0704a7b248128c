"""How often an app is asked.

``Retry`` says what is asked again; what may have been carried out only if it says so. When an app is left alone stands
in ``breakers.py``.
"""

from typing import Final

from msgspec import Struct

from interceptor.exchanges import Fault
from interceptor.settings import Deadlines, Retry

_NEVER_ASKED: Final = frozenset((Fault.BREAKER_OPEN, Fault.OVERLOADED))


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
