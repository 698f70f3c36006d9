"""Metrics through Ray: to the node's agent, and from there to Prometheus."""

from collections.abc import Mapping

import numpy as np
from ray.util.metrics import Counter, Gauge, Histogram

from allocator.choice import Floats, Ints
from cluster.metrics import checked, checked_counts

MOST_OBSERVED = 200
"""Observations of a histogram at a time, once a window. Ray takes them one by one, here (2.5 µs) and again in the
node's agent (13 µs): all of a thousand requests a second would take 1.5% of a core to tell little more than these."""


class RayMetrics:
    """As `cluster.metrics.Metrics`. To be made in a Ray worker; metrics that it never tells of are never made."""

    def __init__(self) -> None:
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        self._rests: dict[str, Floats] = {}

    def inc(self, name: str, by: float, labels: Mapping[str, str]) -> None:
        """As `Metrics.inc`."""
        metric = checked(name, "counter", labels)
        if name not in self._counters:
            self._counters[name] = Counter(name, metric.about, metric.labels)
        if by > 0:  # Ray refuses to add nothing
            self._counters[name].inc(by, dict(labels))

    def set(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        """As `Metrics.set`."""
        metric = checked(name, "gauge", labels)
        if name not in self._gauges:
            self._gauges[name] = Gauge(name, metric.about, metric.labels)
        self._gauges[name].set(value, dict(labels))

    def observe(self, name: str, counts: Ints, labels: Mapping[str, str]) -> None:
        """As `Metrics.observe`. Of more than MOST_OBSERVED an even share of every bucket is told."""
        metric = checked_counts(name, counts, labels)
        if name not in self._histograms:
            self._histograms[name] = Histogram(name, metric.about, list(metric.bounds), metric.labels)
        key = f"{name}{sorted(labels.items())}"
        told, self._rests[key] = thinned(counts, MOST_OBSERVED, self._rests.get(key, np.zeros(len(counts))))
        tags = dict(labels)
        for value, times in zip(inside(metric.bounds), told.tolist(), strict=True):
            for _ in range(times):
                self._histograms[name].observe(value, tags)


def thinned(counts: Ints, most: int, rest: Floats) -> tuple[Ints, Floats]:
    """The same share of each count, so that they come to about `most` where they are more; and what rounding left out,
    which counts the next time."""
    wanted = counts * min(1.0, most / max(1, int(counts.sum()))) + rest
    told = np.floor(wanted + 1e-9).astype(np.int64)
    return told, wanted - told


def inside(bounds: tuple[float, ...]) -> tuple[float, ...]:
    """A value in each bucket. Which one does not matter: Ray's agent is told of buckets only."""
    return (*bounds, 2 * bounds[-1])
