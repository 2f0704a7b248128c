"""What a load measures: how waits spread, and whether what one side sent is what the other side saw. Both bounded."""

import math
from collections import Counter
from collections.abc import Hashable

from msgspec import Struct

_STEP = math.log(1.02)
_LEAST_SECONDS = 1e-6
MOST_KEYS = 200_000


class Spread(Struct, frozen=True):
    """How a number of waits spread, in seconds; shares are right to two per cent."""

    count: int = 0
    p50: float = 0.0
    p95: float = 0.0
    p99: float = 0.0
    most: float = 0.0


class Latencies:
    """Waits in seconds, kept as counts of steps of two per cent: the memory does not grow with their number."""

    def __init__(self) -> None:
        self._steps: Counter[int] = Counter()
        self._count = 0
        self._most = 0.0

    def add(self, seconds: float) -> None:
        """Take one wait in."""
        self._steps[math.ceil(math.log(max(seconds, _LEAST_SECONDS) / _LEAST_SECONDS) / _STEP)] += 1
        self._count += 1
        self._most = max(self._most, seconds)

    def share(self, share: float) -> float:
        """The wait that this share of all waits is not above; 0 where there are none."""
        wanted = share * self._count
        seen = 0
        for step in sorted(self._steps):
            seen += self._steps[step]
            if seen >= wanted:
                return min(_LEAST_SECONDS * math.exp(step * _STEP), self._most)
        return self._most

    def spread(self) -> Spread:
        """All of it in five numbers."""
        return Spread(self._count, self.share(0.5), self.share(0.95), self.share(0.99), self._most)


class Counts:
    """Messages that were sent and not seen yet, by what tells them apart; each must be seen exactly once.

    Messages that nothing tells apart count together, so that one of them lost is still one lost.
    """

    def __init__(self) -> None:
        self.sent = 0
        self.seen = 0
        self._open: Counter[Hashable] = Counter()

    def send(self, key: Hashable) -> None:
        """A message left."""
        self.sent += 1
        self._change(key, 1)

    def see(self, key: Hashable) -> None:
        """A message arrived."""
        self.seen += 1
        self._change(key, -1)

    def refuse(self, key: Hashable) -> None:
        """A message that left was refused on its way, and its sender was told so."""
        self.sent -= 1
        self._change(key, -1)

    def is_open(self, key: Hashable) -> bool:
        """Whether one that is told apart so was sent and not seen."""
        return self._open[key] > 0

    def _change(self, key: Hashable, by: int) -> None:
        left = self._open[key] + by
        if left and (key in self._open or len(self._open) < MOST_KEYS):
            self._open[key] = left
        else:
            self._open.pop(key, None)

    @property
    def lost(self) -> int:
        """How many were sent and not seen."""
        return sum(count for count in self._open.values() if count > 0)

    @property
    def doubled(self) -> int:
        """How many were seen and not sent, or seen twice."""
        return -sum(count for count in self._open.values() if count < 0)

    def examples(self, most: int = 5) -> list[str]:
        """Some of those that are open, in words."""
        return [f"{count:+d} {key}" for key, count in list(self._open.items())[:most]]
