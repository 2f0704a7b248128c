"""Commands that may come again, in memory that all workers share: who carries out the first, and what it was answered.

A table of a size that never changes. A command has its row from the moment at which it is a first; whoever looks for
the same one finds that it is under way, or its answer, or that its worker died with it.

Laws:

* Of the same commands at most one is a first at a time: looking and taking the row happen behind one ``guard``.
* A row says what it holds in its first byte, which is written last. A process that dies at any instant leaves a row
  as it was, or as it was to be; one that was about to be taken may be free.
* An exchange answers for its own row only. Where that has become another's, what it has to say goes nowhere.
* Keys are digests made with a secret that no file holds: a command has passwords in it, and the table is a file.
* Of an answer that does not fit, as much is kept as an app needs: its code.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from enum import IntEnum
from struct import Struct as Layout
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from interceptor.wire.answers import encode_answer, read_answer
from interceptor.wire.codes import Code

if TYPE_CHECKING:
    from mmap import mmap

ROWS: Final = 16_384
WAYS: Final = 16
"""How many rows a command may stand in."""
ROOM: Final = 1024
"""The longest answer that is kept, in bytes; those to commands that dial are a quarter of it."""
KEY_BYTES: Final = 16

_HEAD: Final = Layout("<BxHI16s40sdd")
_KEY: Final = 8  # where the key begins
_TOO_LONG: Final = "The same command was answered with this code before; that answer is too long to be kept"
TABLE_BYTES: Final = ROWS * (_HEAD.size + ROOM)


class Stage(IntEnum):
    """How far a first has come."""

    NONE = 0  # nobody's row
    UNDER_WAY = 1
    ANSWERED = 2
    LOST = 3  # its worker died: it may have been carried out, and nobody knows the answer


class Found(Struct, frozen=True):
    """A first: its exchange, how far it has come, and its answer if it has one."""

    stage: Stage
    exchange: str
    answer: bytes = b""


class Firsts:
    """The table as one process uses it, which is the ``worker`` with this number.

    ``forgot`` is told that the row of a command which could still come again was needed for another: the oldest of the
    few that may stand there.
    """

    def __init__(
        self,
        memory: "bytearray | mmap",
        guard: AbstractContextManager[None] | None = None,
        *,
        worker: int = 0,
        forgot: Callable[[], None] = lambda: None,
    ) -> None:
        self._memory = memory
        self._guard: AbstractContextManager[None] = nullcontext() if guard is None else guard
        self._worker = worker
        self._forgot = forgot
        self._sets = len(memory) // ((_HEAD.size + ROOM) * WAYS)
        self._answers = self._sets * WAYS * _HEAD.size  # where they begin

    def claim(self, key: bytes, exchange: str, now: float, *, until: float, at_last: float) -> Found | None:
        """Be the first command with this key; or the one that is, ``None`` where it is this one.

        The same ones are kept from being firsts ``until`` then. An answer that has not come ``at_last`` never will.
        """
        with self._guard:
            head, needed = self._find(key), False
            if head is None:
                head, needed = self._room(key, now)
            elif self._holds(head, now):
                return self._read(head)
            self._memory[head] = Stage.NONE
            _HEAD.pack_into(
                self._memory, head, Stage.NONE, self._worker, 0, key, _written(exchange), until, max(until, at_last)
            )
            self._memory[head] = Stage.UNDER_WAY
        if needed:
            self._forgot()
        return None

    def find(self, key: bytes) -> Found | None:
        """How far the command with this key has come that was found under way; ``None``: it was forgotten."""
        with self._guard:
            head = self._find(key)
            return None if head is None else self._read(head)

    def answered(self, key: bytes, exchange: str, answer: bytes, *, again_at: float | None = None) -> None:
        """The first has its answer. From ``again_at`` on, where given, the same command is a first again."""
        kept = answer if len(answer) <= ROOM else _code_of(answer)
        with self._guard:
            head = self._find(key)
            if head is None:
                return
            stage, worker, _, _, owner, until, at_last = _HEAD.unpack_from(self._memory, head)
            if stage != Stage.UNDER_WAY or owner != _written(exchange):
                return
            place = self._place(head)
            self._memory[place : place + len(kept)] = kept
            until = until if again_at is None else min(until, again_at)
            _HEAD.pack_into(self._memory, head, stage, worker, len(kept), key, owner, until, at_last)
            self._memory[head] = Stage.ANSWERED

    def lose(self, worker: int) -> None:
        """A worker is dead: what it had under way has no answer any more."""
        memory, size = self._memory, _HEAD.size
        with self._guard:
            for head in range(0, self._answers, size):
                if memory[head] == Stage.UNDER_WAY and _HEAD.unpack_from(memory, head)[1] == worker:
                    memory[head] = Stage.LOST

    def _holds(self, head: int, now: float) -> bool:
        """Whether what stands there still keeps the same commands from being firsts."""
        stage, _, _, _, _, until, at_last = _HEAD.unpack_from(self._memory, head)
        over: float = at_last if stage == Stage.UNDER_WAY else until
        return bool(stage) and now < over

    def _find(self, key: bytes) -> int | None:
        """The head of the row with this key."""
        heads = self._heads(key)
        at = heads.start - 1
        while (at := self._memory.find(key, at + 1, heads.stop)) >= 0:
            head = at - _KEY
            if head in heads and self._memory[head]:
                return head
        return None

    def _room(self, key: bytes, now: float) -> tuple[int, bool]:
        """A row for this key, and whether what stands in it is still needed: a free one, or what is over soonest."""
        best, least = -1, (True, 0.0)
        for head in self._heads(key):
            if not self._memory[head]:
                return head, False
            stage, _, _, _, _, until, at_last = _HEAD.unpack_from(self._memory, head)
            needed = now < (at_last if stage == Stage.UNDER_WAY else until)
            if best < 0 or (needed, until) < least:
                best, least = head, (needed, until)
        return best, least[0]

    def _read(self, head: int) -> Found:
        stage, _, length, _, exchange, *_ = _HEAD.unpack_from(self._memory, head)
        place = self._place(head)
        answer = bytes(self._memory[place : place + length]) if stage == Stage.ANSWERED else b""
        return Found(Stage(stage), exchange.rstrip(b"\0").decode("ascii", "replace"), answer)

    def _place(self, head: int) -> int:
        """Where the answer of a row stands."""
        return self._answers + head // _HEAD.size * ROOM

    def _heads(self, key: bytes) -> range:
        first = int.from_bytes(key[:4], "little") % self._sets * WAYS * _HEAD.size
        return range(first, first + WAYS * _HEAD.size, _HEAD.size)


def _written(exchange: str) -> bytes:
    """An exchange's id as a row has it."""
    return exchange.encode("ascii", "replace")[:40].ljust(40, b"\0")


def _code_of(answer: bytes) -> bytes:
    code = read_answer(answer).code
    return encode_answer(Code.UNREADABLE_ANSWER if code is None else code, _TOO_LONG)
