"""Drawings of a simulated day as SVG elements: lines over hours, and shares stacked to one."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from math import isfinite

from cluster.reporting.chart import BOTTOM, HEIGHT, LEFT, TOP, WIDTH, round_up

COLOURS = 6
STYLE = """
.s0 { --c: var(--work); } .s1 { --c: var(--left); } .s2 { --c: var(--measured); } .s3 { --c: var(--idle); }
.s4 { --c: var(--modelled); } .s5 { --c: var(--assumed); }
svg path.line { fill: none; stroke: var(--c); stroke-width: 1.6; } svg path.dashed { stroke-dasharray: 5 4; }
svg path.area { fill: var(--c); } .key i.swatch { background: var(--c); }
figure { margin: 0 0 .75rem; } figcaption { font-weight: 600; margin-bottom: .4rem; }
"""
Points = Mapping[str, Sequence[float]]


def lines(hours: Sequence[float], named: Points, unit: str, dashed: Sequence[str] = (), near: bool = False) -> str:
    """A line for each name; where a figure is NaN the line is broken. near: the axis need not begin at zero."""
    known = [value for values in named.values() for value in values if isfinite(value)] or [0.0]
    low = min(known) - (max(known) - min(known)) / 4 if near else 0.0
    top = max(known) + (max(known) - min(known)) / 4 + 1e-12 if near else round_up(max(known))
    parts = [*_grid(top, unit, low), *_hours(hours)]
    for n, (name, values) in enumerate(named.items()):
        kind = "line dashed" if name in dashed else "line"
        parts.append(f'<path class="{kind} s{n % COLOURS}" d="{_path(hours, values, top, low)}"/>')
    return _drawing(parts, f"{', '.join(named)} by hour, {unit}") + _key(named)


def stacked(hours: Sequence[float], shares: Points) -> str:
    """Shares of one, one on another."""
    parts, below = [], [0.0] * len(hours)
    for n, values in enumerate(shares.values()):
        above = [low + (value if isfinite(value) else 0.0) for low, value in zip(below, values, strict=True)]
        edge = [*_points(hours, above, 1.0), *reversed(_points(hours, below, 1.0))]
        parts.append(f'<path class="area s{n % COLOURS}" d="M{"L".join(edge)}Z"/>' if edge else "")
        below = above
    return _drawing([*parts, *_grid(1.0, ""), *_hours(hours)], "share of requests by hour") + _key(shares)


def _drawing(parts: Sequence[str], label: str) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(label)}">{"".join(parts)}</svg>'


def _key(named: Points) -> str:
    items = "".join(f'<li><i class="swatch s{n % COLOURS}"></i>{escape(name)}</li>' for n, name in enumerate(named))
    return f'<ul class="key">{items}</ul>'


def _path(hours: Sequence[float], values: Sequence[float], top: float, low: float) -> str:
    """Stretches of figures, each begun anew."""
    drawn, pen = [], "M"
    for at, value in zip(hours, values, strict=True):
        if not isfinite(value):
            pen = "M"
            continue
        drawn.append(f"{pen}{_x(at, hours):.1f} {_y(value - low, top - low):.1f}")
        pen = "L"
    return "".join(drawn)


def _points(hours: Sequence[float], values: Sequence[float], top: float) -> list[str]:
    return [f"{_x(at, hours):.1f} {_y(value, top):.1f}" for at, value in zip(hours, values, strict=True)]


def _x(hour: float, hours: Sequence[float]) -> float:
    first, last = hours[0], max(hours[-1], hours[0] + 1e-9)
    return LEFT + (WIDTH - LEFT - 2) * (hour - first) / (last - first)


def _y(value: float, top: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * min(value / top, 1.0)


def _grid(top: float, unit: str, low: float = 0.0) -> Iterator[str]:
    for part in (0, 0.25, 0.5, 0.75, 1):
        y, figure = _y(part, 1.0), low + (top - low) * part
        text = f"{figure:,.5g}" if low else f"{figure:,.12g}" + (f" {unit}" if part == 1 and unit else "")
        yield f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(text)}</text>'


def _hours(hours: Sequence[float]) -> Iterator[str]:
    if not hours:
        return
    every = max(1, round((hours[-1] - hours[0]) / 8))
    for hour in range(int(hours[0]), int(hours[-1]) + 1):
        if hour % every == 0 and hour >= hours[0] - 0.5:
            x = _x(max(float(hour), hours[0]), hours)
            yield f'<text x="{x:.1f}" y="{HEIGHT - 6}">{hour % 24:02}:00</text>'
