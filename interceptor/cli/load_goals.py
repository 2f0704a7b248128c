"""What a load is to reach, and whether it did: nothing lost, little added to any message, memory that stays."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from interceptor.simulator.load import Spread

ADDED_SECONDS = 0.010
"""What Interceptor may add to a message, 99 times of 100."""

GROWTH = 0.02
"""How much more memory the last fifth of a load may need than the fifth in its middle."""

LEAST_SECONDS = 120.0
"""Until then tables fill up to their bounds: whether memory is flat cannot be told from less."""

REACHED, MISSED, OPEN = "reached", "missed", "cannot be told"


class Goal(Struct, frozen=True):
    """One of them: ``what`` is to hold, the ``figure`` measured, and the ``verdict``."""

    what: str
    figure: str
    verdict: str


def judged(*, lost: int, added: Mapping[str, Spread], memory: Sequence[int], seconds: float) -> list[Goal]:
    """All goals. ``added`` is what messages of each kind waited for Interceptor; ``memory`` that of each tenth."""
    return [
        Goal("no message lost, no call left", f"{lost}", _verdict(lost == 0)),
        _little_added(added),
        _flat(memory, seconds),
    ]


def _little_added(added: Mapping[str, Spread]) -> Goal:
    what = f"p99 of Interceptor's own time below {1000 * ADDED_SECONDS:g} ms"
    told = {kind.rpartition(" ")[2]: spread.p99 for kind, spread in added.items() if spread.count}
    if not told:
        return Goal(what, "not measured", OPEN)
    figure = ", ".join(f"{kind}s {1000 * p99:.2f} ms" for kind, p99 in told.items())
    return Goal(what, figure, _verdict(all(p99 < ADDED_SECONDS for p99 in told.values())))


def _flat(memory: Sequence[int], seconds: float) -> Goal:
    what = f"memory grows by less than {GROWTH:.0%} from the middle to the end"
    if len(memory) < 10 or not all(memory):
        return Goal(what, "not measured", OPEN)
    middle, end = max(memory[4:6]), max(memory[8:10])
    figure = f"{(end - middle) / middle:+.1%}, {(end - middle) / (1 << 20):+.1f} MiB"
    if seconds < LEAST_SECONDS:
        return Goal(what, f"{figure} in a load below {LEAST_SECONDS:g} s", OPEN)
    return Goal(what, figure, _verdict(end < middle * (1 + GROWTH)))


def _verdict(reached: bool) -> str:
    return REACHED if reached else MISSED
