"""When an address of an app is left alone: after so many failures in a row, until one real notification is answered.

All workers count together, in memory that they share, and one of them lets the one trial through that follows a pause.

Laws:

* Whoever asks an address at which nothing fails reads one byte and takes no lock. It is the mark of the few rows in
  which that address may stand, and is set while any of these is in use.
* An address has a row from its first failure to its next answer: what answers is as good as new.
* Where there is no room for one more address, those that are left alone stay so, and it is asked like any other.
* A process that dies at any instant spoils one row at most. A mark that is not set then costs the failures before the
  next one; one that is set for nothing costs a look; a pause that nobody could have made is over.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from hashlib import blake2b
from struct import Struct as Layout
from typing import TYPE_CHECKING, Final

from interceptor.settings import App
from interceptor.wire.url import take_apart

if TYPE_CHECKING:
    from mmap import mmap

WAYS: Final = 16
"""How many rows an address may stand in."""
_SETS: Final = 256
_SHOWN: Final = 200  # bytes of an address that are kept for people
_AT_HAND: Final = 4096  # breakers that a worker need not make anew
# Failures in a row, the app's number, the length of the text, until when it is left alone (0: it is not), when it
# failed last; the digest, the text.
_ROW: Final = Layout(f"<IHHdd16s{_SHOWN}s")
_FAILURES: Final = Layout("<I")
TABLE_BYTES: Final = _SETS + _SETS * WAYS * _ROW.size


class Breaker:
    """Whether one address of an app is asked."""

    __slots__ = ("_limit", "_mark", "_memory", "_pause", "_table", "_what")

    def __init__(self, table: "_Table", what: "_Address", limit: int, pause: float) -> None:
        self._table = table
        self._what = what
        self._limit = limit
        self._pause = pause
        self._memory = table.memory
        self._mark = table.mark_of(what)

    def allows(self) -> bool:
        """Whether it may be asked now; while it is left alone, the one that may is the trial, and a pause begins."""
        return not self._memory[self._mark] or self._table.lets_through(self._what, self._pause)

    def succeeded(self) -> None:
        """It has answered."""
        if self._memory[self._mark]:
            self._table.answered(self._what)

    def failed(self) -> None:
        """It has not."""
        if self._limit:
            self._table.failed(self._what, self._limit, self._pause)


class Breakers:
    """The breakers of all workers, by app and address, as one worker has them. What apps choose counts by its host.

    Without ``memory`` they are this worker's own. Digests of addresses are made with ``secret``; ``clock`` gives
    seconds that mean the same in all workers.
    """

    def __init__(
        self,
        apps: Mapping[str, App],
        memory: "bytearray | mmap | None" = None,
        guard: AbstractContextManager[None] | None = None,
        *,
        secret: bytes = b"",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._apps = {name: (number, app) for number, (name, app) in enumerate(apps.items())}
        self._names = tuple(apps)
        self._secret = secret
        self._asked: dict[str, None] = {}  # apps
        self._at_hand: dict[tuple[str, str], Breaker] = {}
        self._table = _Table(bytearray(TABLE_BYTES) if memory is None else memory, guard or nullcontext(), clock)

    def of(self, app: str, url: str, *, guarded: bool) -> Breaker | None:
        """The breaker of this address; ``None`` for one that no app of ours has."""
        if guarded:
            place = take_apart(url)
            url = "" if place is None else place.authority
        return self._at_hand.get((app, url)) or self._made(app, url)

    def _made(self, app: str, url: str) -> Breaker | None:
        known = self._apps.get(app)
        if known is None:
            return None
        number, settings = known
        digest = blake2b(f"{app}\0{url}".encode("utf-8", "surrogatepass"), digest_size=16, key=self._secret).digest()
        shown = url.partition("?")[0].encode("utf-8", "replace")[:_SHOWN]
        if len(self._at_hand) >= _AT_HAND:  # senders may name new ones for ever, and what counts stands in the table
            self._at_hand.clear()
        self._asked[app] = None
        made = Breaker(self._table, _Address(digest, number, shown), settings.failures_to_open, settings.retry_after)
        self._at_hand[app, url] = made
        return made

    def left_alone(self) -> dict[str, list[str]]:
        """The addresses that are left alone now, by app; of each app that was ever asked. Without their queries."""
        told: dict[str, list[str]] = {app: [] for app in self._asked}
        for number, address in sorted(self._table.left_alone()):
            if number < len(self._names):
                told.setdefault(self._names[number], []).append(address)
        return told


class _Address:
    """An address as the table knows it."""

    __slots__ = ("app", "digest", "shown")

    def __init__(self, digest: bytes, app: int, shown: bytes) -> None:
        self.digest = digest
        self.app = app
        self.shown = shown


class _Table:
    """The addresses that fail. First a mark for each few rows, then the rows."""

    def __init__(
        self, memory: "bytearray | mmap", guard: AbstractContextManager[None], clock: Callable[[], float]
    ) -> None:
        self.memory = memory
        self._guard = guard
        self._clock = clock

    @staticmethod
    def mark_of(what: _Address) -> int:
        """Where the mark of its rows is."""
        return what.digest[0] % _SETS

    def lets_through(self, what: _Address, pause: float) -> bool:
        with self._guard:
            row = self._find(what)
            if row is None:
                return True
            failures, app, length, until, failed_at, digest, shown = _ROW.unpack_from(self.memory, row)
            now = self._clock()
            if not until:
                return True
            if now < until <= now + pause:
                return False
            _ROW.pack_into(self.memory, row, failures, app, length, now + pause, failed_at, digest, shown)
            return True

    def answered(self, what: _Address) -> None:
        with self._guard:
            row, mark = self._find(what), self.mark_of(what)
            if row is not None:
                _FAILURES.pack_into(self.memory, row, 0)
            self.memory[mark] = any(self._failures(row) for row in self._rows(mark))

    def failed(self, what: _Address, limit: int, pause: float) -> None:
        with self._guard:
            row, mark, now = self._find(what), self.mark_of(what), self._clock()
            failures = 0
            if row is not None:
                failures = self._failures(row)
            else:
                row = self._room(mark, now)
                if row is None:
                    return
                _FAILURES.pack_into(self.memory, row, 0)
            failures = min(failures + 1, 0xFFFF_FFFF)
            until = now + pause if failures >= limit else 0.0
            fields = (what.app, len(what.shown), until, now, what.digest, what.shown)
            _ROW.pack_into(self.memory, row, self._failures(row), *fields)
            _FAILURES.pack_into(self.memory, row, failures)  # last: before this a new row is none
            self.memory[mark] = 1

    def left_alone(self) -> list[tuple[int, str]]:
        """The number of the app and the address, of those that are."""
        found = []
        with self._guard:
            for mark in range(_SETS):
                for row in self._rows(mark) if self.memory[mark] else ():
                    failures, app, length, until, _, _, shown = _ROW.unpack_from(self.memory, row)
                    if failures and until:
                        found.append((app, shown[:length].decode("utf-8", "ignore")))
        return found

    def _failures(self, row: int) -> int:
        failures: int = _FAILURES.unpack_from(self.memory, row)[0]
        return failures

    def _find(self, what: _Address) -> int | None:
        for row in self._rows(self.mark_of(what)):
            failures, _, _, _, _, digest, _ = _ROW.unpack_from(self.memory, row)
            if failures and digest == what.digest:
                return row
        return None

    def _room(self, mark: int, now: float) -> int | None:
        """A row for one more: a free one, else of those whose address may be asked what failed longest ago."""
        best, least = None, (True, now)
        for row in self._rows(mark):
            failures, _, _, until, failed_at, _, _ = _ROW.unpack_from(self.memory, row)
            if not failures:
                return row
            if until <= now and (best is None or (until > 0, failed_at) < least):
                best, least = row, (until > 0, failed_at)
        return best

    @staticmethod
    def _rows(mark: int) -> range:
        first = _SETS + mark * WAYS * _ROW.size
        return range(first, first + WAYS * _ROW.size, _ROW.size)
