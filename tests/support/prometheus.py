"""Our metrics as Prometheus would read them from a Ray node."""

import httpx
import ray
from prometheus_client.parser import text_string_to_metric_families

Sample = tuple[dict[str, str], float]


def shown(name: str, kind: str) -> list[Sample]:
    """Labels and values of one of our metrics, on the only node there is."""
    (node,) = ray.nodes()
    told = httpx.get(f"http://127.0.0.1:{node['MetricsExportPort']}/metrics", timeout=10).text
    found = []
    for family in text_string_to_metric_families(told):
        if family.name == f"ray_greenflow_{name}".removesuffix("_total"):
            assert family.type == kind
            found += [(sample.labels, sample.value) for sample in family.samples]
    return found


def counted(name: str, **labels: str) -> float:
    """What counters of that name with these labels come to, over all processes."""
    return sum(value for of, value in shown(name, "counter") if labels.items() <= of.items())
