"""Metrics through Ray: to the node's agent, and from there to Prometheus."""

from collections.abc import Mapping

from ray.util.metrics import Counter, Gauge

from cluster.metrics import METRICS, checked


class RayMetrics:
    """As `cluster.metrics.Metrics`. To be made in a Ray worker."""

    def __init__(self) -> None:
        self._counters = {m.name: Counter(m.name, m.about, m.labels) for m in METRICS.values() if m.kind == "counter"}
        self._gauges = {m.name: Gauge(m.name, m.about, m.labels) for m in METRICS.values() if m.kind == "gauge"}

    def inc(self, name: str, by: float, labels: Mapping[str, str]) -> None:
        """As `Metrics.inc`."""
        checked(name, "counter", labels)
        if by > 0:  # Ray refuses to add nothing
            self._counters[name].inc(by, dict(labels))

    def set(self, name: str, value: float, labels: Mapping[str, str]) -> None:
        """As `Metrics.set`."""
        checked(name, "gauge", labels)
        self._gauges[name].set(value, dict(labels))
