"""Commands that dial twice: where an app wants it, the same command again within its time gets the first answer.

What is sent a second time by an impatient script rings nobody twice, whichever worker it comes to: all look into one
table (``firsts.py``). One whose first is under way waits for that answer, for as long as it may wait for any. Where the
first is at another worker, the table is looked at now and then. A first whose worker died may have rung somebody: the
same command is told so until its time is over, and rings nobody.
"""

import asyncio
import math
import time
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Final

from interceptor.exchanges import Fault, Forward, Opened, Patience
from interceptor.gateway.firsts import KEY_BYTES, Firsts, Found, Stage
from interceptor.settings import App

NOTHING_WAS_SENT: Final = frozenset(
    (Fault.UNREACHABLE, Fault.DRAINING, Fault.OVERLOADED, Fault.UNRECORDED, Fault.UNROUTABLE)
)
LOOK_FIRST_SECONDS: Final = 0.005
LOOK_LAST_SECONDS: Final = 0.25

Told = Callable[[Found | None], None]


class Repeats:
    """The commands that may come again, as one worker sees them.

    ``longest`` is how long an exchange may take in seconds. The digests of commands are made with ``secret``.
    """

    def __init__(
        self,
        apps: Mapping[str, App],
        firsts: Firsts | None,
        loop: asyncio.AbstractEventLoop,
        *,
        longest: float,
        secret: bytes,
    ) -> None:
        self._windows = {name: app.repeats_within for name, app in apps.items() if app.repeats_within}
        self._firsts = firsts
        self._loop = loop
        self._longest = longest
        self._secret = secret
        self._waiting: dict[bytes, _Waiting] = {}

    def __bool__(self) -> bool:
        return self._firsts is not None and bool(self._windows)

    def key(self, opened: Opened, plan: Forward, body: bytes) -> bytes | None:
        """What the same commands have in common; ``None``: it is not one that dials, or its app does not want it."""
        number = opened.facts.number
        if (
            opened.patience is not Patience.COMMAND
            or opened.safe_to_repeat
            or number is None
            or opened.app not in self._windows
        ):
            return None
        parts = (
            opened.app.encode(),
            opened.name.encode(),
            number.canonical.encode(errors="surrogateescape"),
            plan.path,
            body,
        )
        return blake2b(b"\0".join(parts), digest_size=KEY_BYTES, key=self._secret).digest()

    def claim(self, key: bytes, app: str, exchange: str) -> Found | None:
        """Be a first; or the one before it, ``None`` where this is the first."""
        assert self._firsts is not None
        now = time.monotonic()
        return self._firsts.claim(key, exchange, now, until=now + self._windows[app], at_last=now + self._longest)

    def wait(self, key: bytes, found: Found, seconds: float, told: Told) -> None:
        """Tell of the first once it has its answer; at once where it has.

        ``None`` where nobody will know its answer, or none came in so many seconds.
        """
        if found.stage is not Stage.UNDER_WAY:
            told(_known(found))
            return
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = self._waiting[key] = _Waiting(self, key, self._loop)
        waiting.add(seconds, told)

    def ended(self, key: bytes, exchange: str, answer: bytes, *, keep: bool) -> None:
        """The first has its answer; without ``keep`` nothing was sent, and the next one is a first again."""
        assert self._firsts is not None
        self._firsts.answered(key, exchange, answer, again_at=None if keep else time.monotonic())
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.tell(Found(Stage.ANSWERED, exchange, answer))

    def look(self, key: bytes) -> Found | None:
        """How far the first has come, wherever it is."""
        assert self._firsts is not None
        return self._firsts.find(key)

    def forget(self, key: bytes) -> None:
        """Nobody waits any more."""
        self._waiting.pop(key, None)

    def close(self) -> None:
        """Whoever waits still is told that nobody knows; the table is not looked at after this."""
        for waiting in list(self._waiting.values()):
            waiting.tell(None)


class _Waiting:
    """The commands that wait for one first."""

    def __init__(self, repeats: Repeats, key: bytes, loop: asyncio.AbstractEventLoop) -> None:
        self._repeats = repeats
        self._key = key
        self._loop = loop
        self._since = loop.time()
        self._told: list[tuple[float, Told]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._look_at = math.inf

    def add(self, seconds: float, told: Told) -> None:
        until = self._loop.time() + seconds
        self._told.append((until, told))
        if until < self._look_at:  # else the next look is soon enough: who comes after others puts it off for nobody
            self._look_later(until)

    def tell(self, found: Found | None) -> None:
        """Tell everybody."""
        if self._timer is not None:
            self._timer.cancel()
        self._repeats.forget(self._key)
        told, self._told = self._told, []
        for _, each in told:
            each(found)

    def _look_later(self, first_to_go: float) -> None:
        """Look after an eighth of the time that was waited already, so that long waits cost no more than short ones."""
        if self._timer is not None:
            self._timer.cancel()
        now = self._loop.time()
        pause = min(max((now - self._since) / 8, LOOK_FIRST_SECONDS), LOOK_LAST_SECONDS)
        self._look_at = min(now + pause, first_to_go)
        self._timer = self._loop.call_at(self._look_at, self._look)

    def _look(self) -> None:
        found = self._repeats.look(self._key)
        if found is None or found.stage is not Stage.UNDER_WAY:
            self.tell(None if found is None else _known(found))
            return
        now = self._loop.time()
        late = [told for until, told in self._told if until <= now]
        self._told = [(until, told) for until, told in self._told if until > now]
        if self._told:
            self._look_later(min(until for until, _ in self._told))
        else:
            self._repeats.forget(self._key)
        for told in late:
            told(None)


def _known(found: Found) -> Found | None:
    return None if found.stage is Stage.LOST else found
