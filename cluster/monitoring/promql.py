"""Pieces of PromQL over our metrics. Ray gives each series the worker that told it, so every piece sums over workers.

Where a worker ended its counters stay in the node's agent, and add up with those of its successor; its gauges go.
"""

from cluster.metrics import METRICS

PREFIX, OURS = "ray_", "greenflow_"
SESSION = 'SessionName=~"$SessionName"'
"""Grafana's variable of the Ray session, as Ray's own dashboards have it."""


class Selecting:
    """Queries of metrics, without `greenflow_` in their names, of series that carry some labels.

    matchers  what narrows every selector, as PromQL; "" for nothing
    window    the range that rates are taken over
    """

    def __init__(self, matchers: str, window: str) -> None:
        self._matchers, self.window = matchers, window

    def of(self, name: str, kept: str = "", **labels: str) -> str:
        """The series themselves; `kept` is bucket, sum or count of a histogram. Raises KeyError for an unknown name."""
        metric = METRICS[OURS + name]
        stated = [self._matchers] if self._matchers else []
        stated += [f'{label}="{value}"' for label, value in labels.items()]
        chosen = f"{{{','.join(stated)}}}" if stated else ""
        return f"{PREFIX}{metric.name}{'_' + kept if kept else ''}{chosen}"

    def newest(self, name: str, by: str = "", how: str = "max", **labels: str) -> str:
        """A gauge; for a moment after a restart, the highest (or the lowest) of what two workers say."""
        return f"{how}{_by(by)}({self.of(name, **labels)})"

    def rate(self, name: str, by: str = "", kept: str = "", **labels: str) -> str:
        """What a counter, or what a histogram keeps, rises by in a second."""
        return f"sum{_by(by)}(rate({self.of(name, kept, **labels)}[{self.window}]))"

    def grown(self, name: str, by: str = "", over: str = "", **labels: str) -> str:
        """What a counter rose by. What it was when it appeared counts, which `increase` does not see."""
        series, over = self.of(name, **labels), over or self.window
        new = f"(sum{_by(by)}({series}) unless sum{_by(by)}({series} offset {over}))"
        return f"({new} or sum{_by(by)}(increase({series}[{over}])))"


def _by(labels: str) -> str:
    return f" by ({labels}) " if labels else ""


PLAIN = Selecting("", "5m")
"""For rules: every series."""
IN_GRAFANA = Selecting(SESSION, "$__rate_interval")
