"""The report's figures, drawn with matplotlib (extra `report`): as PNG, and as SVG that follows a page's colours."""

import importlib.util
import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from allocator.pfec.methods import EQUAL, GREENFLOW, ORACLE, STATIC
from allocator.pfec.report import MethodReport, Report
from models.errors import NeedsExtra

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#123456"
"""Stands for the colour of text and axes in an SVG, until the page's own takes its place."""
MEGA = 1e6
COLOURS = {
    GREENFLOW: "#2a9d55",
    EQUAL: "#3b82c4",
    ORACLE: "#9b6dd6",
    STATIC: "#d1495b",
    "random": "#8a8a8a",
    "equal-chain": "#3b82c4",
    "dcaf": "#d98324",
    "cras": "#b08900",
    "not-personal": "#3b82c4",
    "only-items": "#d98324",
    "only-variants": "#9b6dd6",
    "one-shot": "#d1495b",
    "one-shot-mean": "#d1495b",
    "one-shot-peak": "#d98324",
    "online-predictive": "#2a9d55",
    "online-dual": "#3b82c4",
}
BANDS = (EQUAL, GREENFLOW, ORACLE)
INKED = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color")
STYLE = {
    "font.family": "sans-serif",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.15,
    "legend.frameon": False,
    "lines.linewidth": 1.8,
    "svg.fonttype": "none",
}


def need_matplotlib() -> None:
    """Raises NeedsExtra when matplotlib is not there."""
    if importlib.util.find_spec("matplotlib") is None:
        raise NeedsExtra("figures need matplotlib", "report")


def figures(report: Report) -> "dict[str, tuple[bytes, str]]":
    """By name: the figure as PNG, and as an SVG element for a page. Raises FixSetup without matplotlib."""
    need_matplotlib()
    from matplotlib import rc_context

    found = {}
    for name, draw in (("reward", _reward), ("gain", _gain), ("ablations", _ablations), ("day", _day)):
        with rc_context(_style("black", name)):
            png = _png(draw(report))
        with rc_context(_style(INK, name)):
            found[name] = (png, _svg(draw(report), name))
    return found


def _style(ink: str, salt: str) -> Any:
    return {**STYLE, **dict.fromkeys(INKED, ink), "svg.hashsalt": salt}


def _png(figure: "Figure") -> bytes:
    sink = io.BytesIO()
    figure.savefig(sink, format="png", dpi=150, facecolor="white", metadata={"Software": None})
    return sink.getvalue()


def _svg(figure: "Figure", name: str) -> str:
    """An element with ids of its own, so that several can stand in one page; INK becomes the page's text colour."""
    sink = io.StringIO()
    figure.savefig(sink, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = sink.getvalue()[sink.getvalue().index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' (width|height)="[\d.]+pt"', "", text, count=2)
    text = re.sub(r'(\bid=")', rf"\1{name}-", text)
    text = re.sub(r"(url\(#|href=\"#)", rf"\1{name}-", text)
    return text.replace(INK, "currentColor")


def _ink() -> str:
    from matplotlib import rcParams

    return str(rcParams["text.color"])


def _axes(width: float = 8.0, height: float = 4.4, rows: int = 1) -> "tuple[Figure, list[Axes]]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    grid: Any = figure.subplots(rows, 1, sharex=True, squeeze=False)
    return figure, [row[0] for row in grid]


def _reward(report: Report) -> "Figure":
    figure, (axes,) = _axes()
    for method in report.methods:
        _draw_curve(axes, method)
    axes.set_xscale("log")
    _in_mega(axes, report)
    axes.set_ylabel("reward of a request")
    figure.legend(loc="outside lower center", ncols=4)
    return figure


def _draw_curve(axes: "Axes", method: MethodReport) -> None:
    curve, colour = method.curve, COLOURS[method.name]
    spend = [flops / MEGA for flops in curve.spend_flops]
    if method.name == STATIC:
        axes.plot(spend, curve.reward, "D", color=colour, label=method.label)
        return
    main = method.name in BANDS
    axes.plot(spend, curve.reward, color=colour, label=method.label, ls="-" if main else "--", lw=2.2 if main else 1.2)
    if main:
        axes.fill_between(spend, curve.low, curve.high, color=colour, alpha=0.15, lw=0)


def _gain(report: Report) -> "Figure":
    return _gains(report, [m for m in report.methods if m.name in (GREENFLOW, "dcaf", "cras")])


def _ablations(report: Report) -> "Figure":
    return _gains(report, [report.method(GREENFLOW), *report.ablations])


def _gains(report: Report, chosen: list[MethodReport]) -> "Figure":
    """Reward above EQUAL at the same spend, with intervals; methods a little apart, so that all can be seen."""
    figure, (axes,) = _axes(height=3.8)
    axes.axhline(0, color=_ink(), lw=1)
    for place, method in enumerate(chosen):
        apart = 1.018 ** (place - (len(chosen) - 1) / 2)
        bars = list(_bars(method))
        if not bars:
            continue
        budgets, values, below, above = zip(*bars, strict=True)
        axes.errorbar(
            [budget / MEGA * apart for budget in budgets],
            values,
            yerr=(below, above),
            fmt="o",
            ms=4,
            capsize=2,
            lw=1.4,
            color=COLOURS[method.name],
            label=method.label,
        )
    axes.set_xscale("log")
    _in_mega(axes, report)
    axes.set_ylabel("reward above EQUAL's")
    axes.legend(loc="best")
    return figure


def _bars(method: MethodReport) -> Iterator[tuple[float, float, float, float]]:
    for point in method.points:
        gain = point.over_equal
        if gain.value is not None and gain.low is not None and gain.high is not None:
            yield point.budget_flops, gain.value, max(gain.value - gain.low, 0.0), max(gain.high - gain.value, 0.0)


def _in_mega(axes: "Axes", report: Report) -> None:
    from matplotlib.ticker import NullLocator

    budgets = [flops / MEGA for flops in report.budgets_flops]
    axes.set_xticks(budgets, [f"{budget:.2g}" for budget in budgets])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("mean MFLOPs of a request")


def _day(report: Report) -> "Figure":
    figure, (load, price, spend) = _axes(height=6.6, rows=3)
    online = [run for run in report.day if run.name in COLOURS and run.name != STATIC]
    if online:
        hours = [span.hour for span in online[0].spans]
        load.plot(hours, [span.requests_per_s for span in online[0].spans], color=_ink())
    for run in online:
        hours, colour = [span.hour for span in run.spans], COLOURS[run.name]
        price.plot(hours, [span.price * MEGA for span in run.spans], color=colour, label=run.label, lw=1.4)
        spend.plot(hours, [span.spend_of_limit for span in run.spans], color=colour, lw=1.4)
    spend.axhline(1, color=_ink(), lw=1)
    load.set_ylabel("requests per second")
    load.set_ylim(bottom=0)
    price.set_ylabel("price, reward\nper MFLOP")
    spend.set_ylabel("spend / limit")
    spend.set_ylim(bottom=0)
    spend.set_xlabel("hour of the day")
    spend.set_xticks(range(0, 25, 3))
    price.legend(loc="upper left", fontsize=8)
    return figure
