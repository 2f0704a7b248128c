"""What was measured, as values that go to JSON and come back, and the arithmetic over them."""

from collections.abc import Callable, Iterable
from statistics import median
from typing import Any

from msgspec import Struct, field

from bench.load import Counted


class Sample(Struct, frozen=True):
    """One run of wrk against one contestant.

    ``cpu_seconds`` is what the proxy used meanwhile. ``passed`` is the share of requests that the back end saw.
    """

    case: str
    round: int
    contestant: str
    counted: Counted
    cpu_seconds: float
    passed: float

    @property
    def requests_per_second(self) -> float:
        return self.counted.requests_per_second

    @property
    def cpu_microseconds(self) -> float:
        """Processor time of the proxy for one exchange."""
        return self.cpu_seconds * 1e6 / max(1, self.counted.requests)

    @property
    def busy(self) -> float:
        """The share of one core that the proxy used."""
        return self.cpu_seconds / (self.counted.microseconds / 1e6)


class Spread(Struct, frozen=True):
    """The median of some figures, the least and the greatest."""

    median: float
    least: float
    greatest: float


class Reading(Struct, frozen=True):
    """The memory of a worker after so many exchanges."""

    exchanges: int
    resident: int


class Decided(Struct, frozen=True):
    """How one engine decided by one policy, in microseconds; what it took to load, in seconds and megabytes.

    ``load`` is by the clock on the wall, ``cpu`` by the processor: on a busy machine look at that.

    ``table`` names the table of a million entries that stands beside the rules, ``policy`` whose rules they are:
    ``grown`` like an operator's, or ``shared`` by all engines. ``unseen`` is the median for numbers that were never
    read before.
    """

    round: int
    engine: str
    policy: str
    rules: int
    table: str
    decisions: int
    p50: float
    p99: float
    load: float
    cpu: float
    memory: float
    peak: float = 0.0
    unseen: float = 0.0


class Case(Struct, frozen=True):
    """One table: the same load for some contestants, in turn, for some rounds."""

    key: str
    title: str


class Results(Struct):
    """One whole run."""

    at: str
    machine: dict[str, str]
    versions: dict[str, str]
    settings: dict[str, Any]
    titles: dict[str, str] = field(default_factory=dict)
    seconds_to_start: dict[str, float] = field(default_factory=dict)
    cases: list[Case] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    memory: dict[str, list[Reading]] = field(default_factory=dict)
    decisions: list[Decided] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def of(self, case: str, contestant: str) -> list[Sample]:
        """The samples of one contestant in one case, in the order of their rounds."""
        return [sample for sample in self.samples if (sample.case, sample.contestant) == (case, contestant)]

    def contestants(self, case: str) -> list[str]:
        """Who took part in a case, in order."""
        return list(dict.fromkeys(sample.contestant for sample in self.samples if sample.case == case))

    def spread(self, case: str, contestant: str, figure: Callable[[Sample], float]) -> Spread | None:
        """A figure of one contestant over the rounds."""
        return spread(figure(sample) for sample in self.of(case, contestant))

    def ratio(
        self,
        case: str,
        one: str,
        other: str,
        figure: Callable[[Sample], float] = lambda sample: sample.requests_per_second,
    ) -> Spread | None:
        """One contestant's figure divided by another's, round by round: what disturbs a round disturbs both."""
        return spread(
            figure(mine) / figure(theirs) for mine, theirs in self._rounds(case, one, other) if figure(theirs)
        )

    def difference(self, case: str, one: str, other: str, figure: Callable[[Sample], float]) -> Spread | None:
        """One contestant's figure less another's, round by round."""
        return spread(figure(mine) - figure(theirs) for mine, theirs in self._rounds(case, one, other))

    def _rounds(self, case: str, one: str, other: str) -> Iterable[tuple[Sample, Sample]]:
        theirs = {sample.round: sample for sample in self.of(case, other)}
        return ((mine, theirs[mine.round]) for mine in self.of(case, one) if mine.round in theirs)


def spread(figures: Iterable[float]) -> Spread | None:
    """Median, least and greatest; ``None`` where there is nothing."""
    found = list(figures)
    return Spread(median(found), min(found), max(found)) if found else None
