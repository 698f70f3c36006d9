"""The table of all metrics, for people, from the code that defines them."""

from cluster.metrics import METRICS, Metric
from cluster.monitoring.promql import PREFIX

HEAD = """\
# Metrics

Made by `greenflow monitoring files`; `cluster/metrics.py` is where to change it. On the metrics port of every Ray node,
and from there in Prometheus. Ray adds labels such as `WorkerId`, `NodeAddress` and `SessionName` to each: sum counters
over them, take the `max` or `min` of gauges. Base units only.

| metric | type | labels | |
|---|---|---|---|
"""


def metrics_table() -> str:
    """Markdown."""
    return HEAD + "".join(_row(metric) for metric in METRICS.values())


def _row(metric: Metric) -> str:
    labels = ", ".join(f"`{label}`" for label in metric.labels)
    bounds = f". Buckets: {', '.join(f'{bound:g}' for bound in metric.bounds)}" if metric.bounds else ""
    return f"| `{PREFIX}{metric.name}` | {metric.kind} | {labels} | {metric.about}{bounds} |\n"
