"""The supervisor's view: the newest snapshot of each worker, and what dead ones have counted."""

from interceptor.metrics.snapshot import Snapshot, counters_only, merge


class Gatherer:
    """Sums the workers' snapshots. A dead worker's counters stay in the sum, so that no counter ever falls."""

    def __init__(self) -> None:
        self._latest: dict[str, Snapshot] = {}
        self._retired: Snapshot | None = None

    def update(self, snapshot: Snapshot) -> None:
        """Take a worker's newest snapshot. One with another ``started`` is a new life: the old one is retired first."""
        before = self._latest.get(snapshot.worker)
        if before is not None and before.started != snapshot.started:
            self.retire(snapshot.worker)
        self._latest[snapshot.worker] = snapshot

    def retire(self, worker: str) -> None:
        """A worker has ended: its counters are kept, its gauges fall away."""
        last = self._latest.pop(worker, None)
        if last is not None:
            left = counters_only(last)
            self._retired = left if self._retired is None else merge((self._retired, left))

    def merged(self) -> Snapshot:
        """Everything that was ever counted, and the gauges of those alive."""
        retired = () if self._retired is None else (self._retired,)
        return merge((*retired, *self._latest.values()))
