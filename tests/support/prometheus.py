"""Our metrics as Prometheus would read them from a Ray node."""

import re
from dataclasses import dataclass

import httpx
import ray
from prometheus_client.parser import text_string_to_metric_families

from cluster.metrics import Metric

RAYS_LABELS = {
    "Component",
    "NodeAddress",
    "SessionName",
    "Version",
    "WorkerId",
    "otel_scope_name",
    "otel_scope_schema_url",
    "otel_scope_version",
}
Sample = tuple[dict[str, str], float]


def address() -> str:
    """Where the only node there is tells its metrics."""
    (node,) = ray.nodes()
    return f"127.0.0.1:{node['MetricsExportPort']}"


def told() -> str:
    """All that it tells now."""
    return httpx.get(f"http://{address()}/metrics", timeout=10).text


def without_rays_labels(text: str) -> str:
    """Our metrics alone, with the labels that are ours: names of Ray's are not as Prometheus would have them."""
    rays = re.compile(rf'\b(?:{"|".join(RAYS_LABELS)})="[^"]*",?')
    ours = (line for line in text.splitlines() if "ray_greenflow_" in line)
    return "".join(rays.sub("", line).replace(",}", "}").replace("{}", "") + "\n" for line in ours)


def shown(name: str, kind: str) -> list[Sample]:
    """Labels and values of one of our metrics."""
    found = []
    for family in text_string_to_metric_families(told()):
        if family.name == f"ray_greenflow_{name}".removesuffix("_total"):
            assert family.type == kind
            found += [(sample.labels, sample.value) for sample in family.samples]
    return found


def counted(name: str, **labels: str) -> float:
    """What counters of that name with these labels come to, over all processes."""
    return sum(value for of, value in shown(name, "counter") if labels.items() <= of.items())


@dataclass(frozen=True)
class Scrape:
    """What was told of our metrics at one time: types by metric, and values by the name and labels of each series."""

    kinds: dict[str, str]
    values: dict[tuple[str, frozenset[tuple[str, str]]], float]

    def of(self, metric: Metric) -> list[dict[str, str]]:
        """The labels of its series; of a histogram, of its counts."""
        name = f"ray_{metric.name}" + ("_count" if metric.kind == "histogram" else "")
        return [dict(labels) for series, labels in self.values if series == name]


def scraped() -> Scrape:
    """Our metrics as they are told now."""
    kinds, values = dict[str, str](), dict[tuple[str, frozenset[tuple[str, str]]], float]()
    for family in text_string_to_metric_families(told()):
        if family.name.startswith("ray_greenflow"):
            kinds[family.name.removeprefix("ray_") + ("_total" if family.type == "counter" else "")] = family.type
            values |= {(one.name, frozenset(one.labels.items())): one.value for one in family.samples}
    return Scrape(kinds, values)
