"""One worker's numbers at one moment, and their sum over workers.

A snapshot is plain enough for ``msgspec.msgpack``: it travels from worker to supervisor.
"""

from collections.abc import Iterable

from msgspec import Struct

from interceptor.metrics.families import FAMILIES, Family, Gather, Type


class Series(Struct, array_like=True, gc=False):
    """One line of a metric: ``labels`` in the family's order; one number, or a histogram's buckets and then its sum."""

    labels: tuple[str, ...]
    values: list[float]


class Snapshot(Struct):
    """All series of a worker, by family. ``started`` tells two lives of one worker apart."""

    worker: str
    started: float
    series: dict[str, list[Series]]


_BY_NAME = {family.name: family for family in FAMILIES}


def merge(snapshots: Iterable[Snapshot], worker: str = "") -> Snapshot:
    """The sum: counters and histograms add up, gauges as their family says. The arguments stay as they are."""
    sums: dict[str, dict[tuple[str, ...], list[float]]] = {}
    started = 0.0
    for snapshot in snapshots:
        started = max(started, snapshot.started)
        for name, lines in snapshot.series.items():
            family = _BY_NAME.get(name)
            if family is None:  # a worker of another release: what we do not know, we do not show
                continue
            sum_of = sums.setdefault(name, {})
            for line in lines:
                have = sum_of.get(line.labels)
                sum_of[line.labels] = list(line.values) if have is None else _joined(family, have, line.values)
    return Snapshot(
        worker,
        started,
        {name: [Series(labels, values) for labels, values in lines.items()] for name, lines in sums.items()},
    )


def counters_only(snapshot: Snapshot) -> Snapshot:
    """What a worker leaves behind when it ends: its counters and histograms, not its gauges."""
    kept = {Type.COUNTER, Type.HISTOGRAM}
    series = {
        name: lines for name, lines in snapshot.series.items() if name in _BY_NAME and _BY_NAME[name].type in kept
    }
    return Snapshot(snapshot.worker, snapshot.started, series)


def _joined(family: Family, have: list[float], more: list[float]) -> list[float]:
    if family.type is Type.INFO:
        return [1.0]
    if family.gather is Gather.MIN:
        return [min(have[0], more[0])]
    if family.gather is Gather.MAX:
        return [max(have[0], more[0])]
    return [a + b for a, b in zip(have, more, strict=True)]
