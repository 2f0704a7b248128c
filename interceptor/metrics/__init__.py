"""Every metric Interceptor exposes: counted in plain dictionaries, summed over workers, shown by prometheus_client."""

from interceptor.metrics.exposition import exposition
from interceptor.metrics.families import FAMILIES, Family, Gather, Type
from interceptor.metrics.gatherer import Gatherer
from interceptor.metrics.metrics import Metrics
from interceptor.metrics.policy import policy_snapshot
from interceptor.metrics.snapshot import Series, Snapshot, merge

__all__ = [
    "FAMILIES",
    "Family",
    "Gather",
    "Gatherer",
    "Metrics",
    "Series",
    "Snapshot",
    "Type",
    "exposition",
    "merge",
    "policy_snapshot",
]
