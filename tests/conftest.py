"""How hard the properties look: `quick` by default, `deep` with HYPOTHESIS_PROFILE=deep."""

import os

from hypothesis import HealthCheck, settings

# No deadline: the machine is shared, and a slow moment is no fault. The examples that failed are kept out of the tree.
settings.register_profile("quick", deadline=None, max_examples=100, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile(
    "deep",
    deadline=None,
    max_examples=100_000,
    suppress_health_check=list(HealthCheck),
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))
