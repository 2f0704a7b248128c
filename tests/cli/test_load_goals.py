"""What a load is to reach, judged on figures."""

import pytest

from interceptor.cli.load_goals import ADDED_SECONDS, LEAST_SECONDS, MISSED, OPEN, REACHED, judged
from interceptor.simulator.load import Spread

KIND = "Interceptor's own time, command"
MEMORY = [100, 110, 115, 118, 119, 120, 120, 121, 120, 121]


def verdicts(
    *, lost: int = 0, p99: float = 0.001, count: int = 9, memory: list[int] | None = None, seconds: float = 300.0
) -> list[str]:
    added = {KIND: Spread(count, 0.0005, 0.0008, p99, 1.0)}
    return [goal.verdict for goal in judged(lost=lost, added=added, memory=memory or MEMORY, seconds=seconds)]


def test_a_load_that_loses_nothing_adds_little_and_stays_reaches_its_goals() -> None:
    assert verdicts() == [REACHED, REACHED, REACHED]


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ({"lost": 1}, [MISSED, REACHED, REACHED]),
        ({"p99": ADDED_SECONDS}, [REACHED, MISSED, REACHED]),
        ({"p99": ADDED_SECONDS * 0.99}, [REACHED, REACHED, REACHED]),
        ({"memory": [*MEMORY[:8], 122, 123]}, [REACHED, REACHED, MISSED]),
        ({"memory": [*MEMORY[:8], 100, 90]}, [REACHED, REACHED, REACHED]),
    ],
    ids=["lost", "slow", "quick enough", "growing", "shrinking"],
)
def test_each_goal_is_missed_by_itself(measured: dict[str, float], expected: list[str]) -> None:
    assert verdicts(**measured) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ({"count": 0}, [REACHED, OPEN, REACHED]),
        ({"seconds": LEAST_SECONDS - 1}, [REACHED, REACHED, OPEN]),
        ({"memory": MEMORY[:9]}, [REACHED, REACHED, OPEN]),
        ({"memory": [0] * 10}, [REACHED, REACHED, OPEN]),
    ],
    ids=["nothing measured", "too short", "not looked at", "another's process"],
)
def test_what_cannot_be_told_is_neither_reached_nor_missed(measured: dict[str, float], expected: list[str]) -> None:
    assert verdicts(**measured) == expected  # type: ignore[arg-type]


def test_the_figures_stand_beside_the_verdicts() -> None:
    added = {KIND: Spread(9, 0.0, 0.0, 0.0214, 1.0), KIND.replace("command", "notification"): Spread(9, 0, 0, 0.0005)}
    mib = [each << 20 for each in MEMORY]
    assert [goal.figure for goal in judged(lost=3, added=added, memory=mib, seconds=300.0)] == [
        "3",
        "commands 21.40 ms, notifications 0.50 ms",
        "+0.8%, +1.0 MiB",
    ]
