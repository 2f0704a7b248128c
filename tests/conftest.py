"""How hard the properties look: `quick`, or `deep` with HYPOTHESIS_PROFILE=deep. Their coverage is not taken."""

import os

import pytest
from hypothesis import HealthCheck, is_hypothesis_test, settings

# No deadline: the machine is shared, and a slow moment is no fault. The examples that failed are kept out of the tree.
settings.register_profile("quick", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "deep",
    deadline=None,
    max_examples=100_000,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are processors: somebody always waits for a deadline or for a process to start."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep properties and fuzzing out of the coverage: watched line by line, they take up to eight times as long.

    It also makes the coverage say more: a line counts only where an example has been that somebody chose, the same in
    each run. A long loop of another test is kept out by its own mark, `no_cover`.
    """
    for item in items:
        if isinstance(item, pytest.Function) and (is_hypothesis_test(item.obj) or item.get_closest_marker("fuzz")):
            item.add_marker("no_cover")
