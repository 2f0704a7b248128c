"""A snapshot as the text that Prometheus reads, through prometheus_client's own collector and encoders."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from interceptor.metrics.families import FAMILIES, Family, Type
from interceptor.metrics.snapshot import Series, Snapshot


class SnapshotCollector(Collector):
    """Shows a snapshot to a registry."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance: the registry need not look for clashes with itself."""
        return ()

    def collect(self) -> Iterable[Metric]:
        """Every family, also those without a series yet: their help is there from the start."""
        for family in FAMILIES:
            yield _metric(family, self._snapshot.series.get(family.name, ()))


def exposition(snapshot: Snapshot, accept: str = "") -> tuple[bytes, str]:
    """The text, and its content type: OpenMetrics where ``accept`` asks for it, else Prometheus' own."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(SnapshotCollector(snapshot))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def _metric(family: Family, lines: Iterable[Series]) -> Metric:
    match family.type:
        case Type.COUNTER:
            counter = CounterMetricFamily(family.name, family.help, labels=family.labels)
            for line in lines:
                counter.add_metric(line.labels, line.values[0])
            return counter
        case Type.GAUGE:
            gauge = GaugeMetricFamily(family.name, family.help, labels=family.labels)
            for line in lines:
                gauge.add_metric(line.labels, line.values[0])
            return gauge
        case Type.INFO:
            info = InfoMetricFamily(family.name, family.help)
            for line in lines:
                info.add_metric((), dict(zip(family.labels, line.labels, strict=True)))
            return info
        case Type.HISTOGRAM:
            histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
            for line in lines:
                *counts, total = line.values
                histogram.add_metric(line.labels, _buckets(family, counts), total)
            return histogram


def _buckets(family: Family, counts: list[float]) -> list[tuple[str, float]]:
    """Our counts stand each for one bucket; Prometheus wants each to hold the ones below it."""
    so_far = 0.0
    buckets = []
    for bound, count in zip((*family.buckets, float("inf")), counts, strict=True):
        so_far += count
        buckets.append(("+Inf" if bound == float("inf") else repr(bound), so_far))
    return buckets
