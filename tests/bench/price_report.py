"""Means over seeds with their intervals, as tables and as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from price_traces import Outcome
from rich.table import Table
from scipy.stats import t as student

MISSING = "-"


@dataclass(frozen=True)
class Interval:
    """Mean over seeds, and half the width of its 95% interval (Student's t); NaN for a single seed."""

    mean: float
    half: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Interval":
        """The interval of at least one value."""
        mean, count = float(np.mean(values)), len(values)
        if count < 2:
            return cls(mean, float("nan"))
        return cls(mean, float(student.ppf(0.975, count - 1) * np.std(values, ddof=1) / count**0.5))

    def text(self, digits: int = 2, scale: float = 100.0) -> str:
        """`mean ±half`, scaled: percent by default."""
        half = "" if np.isnan(self.half) else f" ±{self.half * scale:.{digits}f}"
        return f"{self.mean * scale:.{digits}f}{half}"

    def plain(self) -> dict[str, float | None]:
        """For JSON, which knows no NaN."""
        return {"mean": self.mean, "half95": None if np.isnan(self.half) else self.half}


Summary = dict[str, Interval]
Results = dict[str, dict[str, Summary]]


def summarise(outcomes: Sequence[Outcome]) -> Summary:
    """Every figure of an outcome over its seeds."""
    return {f.name: Interval.of([getattr(o, f.name) for o in outcomes]) for f in fields(Outcome)}


def traces_table(title: str, results: Results) -> Table:
    """A row per trace and strategy."""
    table = Table(title=title, title_justify="left")
    columns = ("utilisation %", "over-use %", "reward/bound %", "uncharged %", "late >5%", "worst late %", "step ms")
    for name in ("trace", "strategy", *columns):
        table.add_column(name, justify="left" if name in ("trace", "strategy") else "right")
    for trace, by_strategy in results.items():
        for at, (strategy, summary) in enumerate(by_strategy.items()):
            table.add_row(
                trace if at == 0 else "",
                strategy,
                *(summary[key].text(2) for key in ("utilisation", "overuse", "reward", "raw_reward")),
                summary["late_over"].text(1, scale=1.0),
                summary["worst_late"].text(1),
                summary["step_ms"].text(2, scale=1.0) if summary["step_ms"].mean else MISSING,
            )
        table.add_section()
    return table


def losses_table(results: Results, floors: tuple[str, ...]) -> Table:
    """Which strategy is best: unused plus overspent share of the limit, and what of it is beyond the causal floor."""
    table = Table(title="Unused + overspent, % of the limit: the default is the least", title_justify="left")
    strategies = list(next(iter(results.values())))
    for name in ("trace", *strategies):
        table.add_column(name, justify="left" if name == "trace" else "right")
    for trace, by_strategy in results.items():
        table.add_row(trace, *(f"{100 * loss(by_strategy[s]):.2f}" for s in strategies))
    table.add_section()
    table.add_row("mean", *(f"{100 * mean_loss(results, s):.2f}" for s in strategies))
    causal = mean_loss(results, floors[-1])
    beyond = [f"{100 * (mean_loss(results, s) - causal):.2f}" if s not in floors else MISSING for s in strategies]
    table.add_row(f"mean beyond {floors[-1]}", *beyond)
    return table


def loss(summary: Summary) -> float:
    """Unused plus overspent share of the limit."""
    return 1 - summary["utilisation"].mean + summary["overuse"].mean


def mean_loss(results: Results, strategy: str) -> float:
    """The mean over traces."""
    return float(np.mean([loss(by_strategy[strategy]) for by_strategy in results.values()]))


def as_json(results: Results) -> dict[str, Any]:
    """The same for a machine."""
    return {
        trace: {s: {key: interval.plain() for key, interval in summary.items()} for s, summary in by_strategy.items()}
        for trace, by_strategy in results.items()
    }
