"""How each PBX endpoint is: what one worker finds out, all of them know, in memory that they share.

Laws:

* Whoever chooses an endpoint, or has had its answer, reads one byte and takes no lock.
* Failures in a row count over all workers, and an answer that any of them gets begins anew.
* Questions of our own are asked in turns: of one that is out once in each pause, of one that is well once in each
  period, by the worker that comes first.
* A process that dies at any instant keeps nobody waiting: its turn is over when the next one is due. It spoils one row
  at most; then failures are counted wrongly until the next answer to a question, or one is asked once too often.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from struct import Struct as Layout
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from mmap import mmap

_SHOWN: Final = 120  # bytes of a reason
# Whether it is out, whether commands have failed in a row. These two are read without a lock, so they are written one
# by one: to pack a row begins with zeros.
_OUT: Final = 0
_FAILING: Final = 1
_REST: Final = 2
# Failures in a row of commands, and of checks; until when nobody asks one that is out, and one that is well; the length
# of the reason, and the reason.
_ROW: Final = Layout(f"<IIddH{_SHOWN}s")
_ROW_BYTES: Final = _REST + _ROW.size
_MOST: Final = 0xFFFF_FFFF
_EARLY: Final = 0.1  # of a period: so much sooner it may be over, for timers do not keep it to the millisecond


def health_bytes(endpoints: int) -> int:
    """The memory that so many endpoints need, in bytes."""
    return max(1, endpoints) * _ROW_BYTES  # memory of no size cannot be shared


class _State:
    """A row, read."""

    __slots__ = ("asked", "checked", "checks", "failures", "out", "why")

    def __init__(self, memory: "bytearray | mmap", row: int) -> None:
        failures, checks, asked, checked, length, why = _ROW.unpack_from(memory, row + _REST)
        self.out = memory[row + _OUT] != 0
        self.failures: int = failures
        self.checks: int = checks
        self.asked: float = asked
        self.checked: float = checked
        self.why: bytes = why[:length]

    def write(self, memory: "bytearray | mmap", row: int) -> None:
        fields = (self.failures, self.checks, self.asked, self.checked, len(self.why), self.why)
        _ROW.pack_into(memory, row + _REST, *fields)
        memory[row + _FAILING] = self.failures > 0
        memory[row + _OUT] = self.out


class Health:
    """That of one endpoint, the ``number``-th of all from 0 on; without ``memory``, for one worker.

    ``limit`` failures in a row take it out. ``clock`` gives seconds that mean the same in all workers.
    """

    __slots__ = ("_clock", "_guard", "_limit", "_memory", "_row")

    def __init__(
        self,
        limit: int,
        number: int = 0,
        memory: "bytearray | mmap | None" = None,
        guard: AbstractContextManager[None] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._limit = limit
        self._row = number * _ROW_BYTES
        self._memory = bytearray(_ROW_BYTES) if memory is None else memory
        self._guard = guard or nullcontext()
        self._clock = clock

    @property
    def out(self) -> bool:
        """Whether it gets no traffic."""
        return self._memory[self._row + _OUT] != 0

    @property
    def why(self) -> str:
        """Why it gets none; empty where it does."""
        if not self.out:
            return ""
        with self._guard:
            return _State(self._memory, self._row).why.decode("utf-8", "ignore")

    def succeeded(self) -> None:
        """It has answered a command as a PBX does. One that is out stays so until it is asked."""
        if self._memory[self._row + _FAILING]:
            with self._change() as state:
                state.failures = 0

    def failed(self, why: str, pause: float) -> bool:
        """It has not; whether that takes it out. It is first asked after a pause, in seconds."""
        with self._change() as state:
            state.failures = min(state.failures + 1, _MOST)
            return self._falls(state, state.failures, why, pause)

    def check_succeeded(self) -> None:
        """It has answered a check. That is no excuse for commands that fail: they count apart."""
        with self._change() as state:
            state.checks = 0

    def check_failed(self, why: str, pause: float) -> bool:
        """It has not; whether that takes it out. It is first asked after a pause, in seconds."""
        with self._change() as state:
            state.checks = min(state.checks + 1, _MOST)
            return self._falls(state, state.checks, why, pause)

    def comes_back(self) -> None:
        """It has answered when it was asked."""
        with self._change() as state:
            state.out, state.failures, state.checks, state.why = False, 0, 0, b""

    def stays_out(self, why: str) -> None:
        """It has not."""
        with self._change() as state:
            state.why = _shown(why)

    def wait_to_ask(self, pause: float) -> float:
        """How long nobody asks one that is out, in seconds; 0: ask now, and nobody else does for a pause."""
        with self._change() as state:
            now = self._clock()
            if now < state.asked <= now + pause:
                return state.asked - now
            state.asked = now + pause
            return 0.0

    def may_check(self, period: float) -> bool:
        """Whether to check one that is well now; then nobody else does for a period, in seconds."""
        with self._change() as state:
            now = self._clock()
            if now + period * _EARLY < state.checked <= now + period:
                return False
            state.checked = now + period
            return True

    def was_not_checked(self) -> None:
        """The turn was of no use: whoever comes next takes it."""
        with self._change() as state:
            state.checked = 0.0

    def _falls(self, state: _State, failures: int, why: str, pause: float) -> bool:
        if state.out or failures < self._limit:
            return False
        state.out, state.why, state.asked = True, _shown(why), self._clock() + pause
        return True

    @contextmanager
    def _change(self) -> Iterator[_State]:
        with self._guard:
            state = _State(self._memory, self._row)
            yield state
            state.write(self._memory, self._row)


def _shown(why: str) -> bytes:
    return why.encode("utf-8", "replace")[:_SHOWN]
