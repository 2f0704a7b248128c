"""What is counted about the policy's way into force: by whoever brings it there, once for all workers."""

from collections.abc import Mapping

from interceptor.metrics import families as f
from interceptor.metrics.snapshot import Series, Snapshot


def policy_snapshot(
    started: float,
    attempts: Mapping[tuple[str, str], int],
    *,
    last_at: float,
    last_seconds: float,
    last_good: bool,
    matches_files: bool,
    kept: bool,
) -> Snapshot:
    """The numbers at this moment; ``attempts`` counts by what asked and by outcome."""
    gauges = (
        (f.POLICY_RELOAD_SUCCESSFUL, last_good),
        (f.POLICY_LAST_RELOAD, last_at),
        (f.POLICY_RELOAD_SECONDS, last_seconds),
        (f.POLICY_MATCHES_FILES, matches_files),
        (f.POLICY_KEPT, kept),
    )
    series = {family.name: [Series((), [float(value)])] for family, value in gauges}
    series[f.POLICY_RELOADS.name] = [Series(labels, [float(count)]) for labels, count in attempts.items()]
    return Snapshot("policy", started, series)
