"""Commands that dial twice: where an app wants it, the same command again within its time gets the first answer.

What is sent a second time by an impatient script rings nobody twice. Each worker remembers its own; at most so many,
the oldest are forgotten first.
"""

from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Final

from interceptor.exchanges import Fault, Forward, Opened
from interceptor.settings import App

_MOST: Final = 8192
NOTHING_WAS_SENT: Final = frozenset((Fault.UNREACHABLE, Fault.OVERLOADED, Fault.UNRECORDED, Fault.UNROUTABLE))

Told = Callable[[bytes], None]


class First:
    """A command that the same ones after it are compared with, and its answer once there is one."""

    __slots__ = ("answer", "exchange", "key", "until", "waiting")

    def __init__(self, key: bytes, exchange: str, until: float) -> None:
        self.key = key
        self.exchange = exchange
        self.until = until
        self.answer: bytes | None = None
        self.waiting: list[Told] = []

    def then(self, told: Told) -> None:
        """Tell the answer, now or when it is there."""
        if self.answer is None:
            self.waiting.append(told)
        else:
            told(self.answer)


class Repeats:
    """The commands of one worker that may come again."""

    def __init__(self, apps: Mapping[str, App], clock: Callable[[], float]) -> None:
        self._windows = {name: app.repeats_within for name, app in apps.items() if app.repeats_within}
        self._firsts: dict[bytes, First] = {}  # in the order of their coming
        self._clock = clock

    def __bool__(self) -> bool:
        return bool(self._windows)

    def look(self, opened: Opened, plan: Forward, body: bytes) -> tuple[First | None, bool]:
        """The first of the commands like this one, and whether it is an earlier one; ``None``: it is not looked at."""
        window = self._windows.get(opened.app)
        number = opened.facts.number
        if window is None or number is None or opened.safe_to_repeat:
            return None, False
        now = self._clock()
        parts = (
            opened.app.encode(),
            opened.name.encode(),
            number.canonical.encode(errors="surrogateescape"),
            plan.path,
        )
        key = blake2b(b"\0".join((*parts, body)), digest_size=16).digest()
        found = self._firsts.get(key)
        if found is not None and (found.answer is None or now < found.until):
            return found, True
        self._firsts.pop(key, None)
        self._make_room(now)
        first = self._firsts[key] = First(key, opened.arrival.exchange, now + window)
        return first, False

    def ended(self, first: First, answer: bytes, *, keep: bool) -> None:
        """The first has its answer; without ``keep`` nothing was sent, and the next one is a first again."""
        first.answer = answer
        if not keep and self._firsts.get(first.key) is first:
            del self._firsts[first.key]
        waiting, first.waiting = first.waiting, []
        for told in waiting:
            told(answer)

    def _make_room(self, now: float) -> None:
        for key, first in list(self._firsts.items())[:2]:  # two for each that comes: the old ones go soon enough
            if first.answer is not None and (now >= first.until or len(self._firsts) >= _MOST):
                del self._firsts[key]
        if len(self._firsts) >= _MOST:
            del self._firsts[next(iter(self._firsts))]
