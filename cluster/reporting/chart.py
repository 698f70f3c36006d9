"""Joules and grams over time as drawings: a column for each hour or day."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape

from allocator.emissions import Kind
from cluster.ledger.totals import SPANS
from cluster.reporting.model import Emissions, EnergyReport, Row
from cluster.reporting.since import seconds
from cluster.reporting.words import Scale, carbon_scale, energy_scale, number

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 960, 240, 64, 24, 10
MOST_LABELS, MOST_WIDE = 8, 56
PARTS = (("work", "requests' work"), ("idle", "idle"), ("left", "unattributed"))


@dataclass(frozen=True, slots=True)
class Drawn:
    """What columns show: parts of a row in the base unit, bottom first, and what is said of the row."""

    scale: Scale
    names: tuple[str, ...]
    parts: Callable[[Row], Sequence[float]]
    said: Callable[[Row], str]
    label: str


def energy_chart(report: EnergyReport) -> str:
    """An SVG element for a report by hour or day: joules, by what they went to. Hours in which nothing ran are gaps."""
    scale = energy_scale(report)

    def said(row: Row) -> str:
        return f"{row.start}: {scale.text(row.energy_j)} {scale.unit}, {row.requests or 0:,} requests"

    return _chart(report, Drawn(scale, tuple(name for name, _ in PARTS), _parts, said, f"{scale.unit} by {report.by}"))


def emissions_chart(report: EnergyReport, kind: Kind) -> str:
    """Likewise of CO2e by one kind of intensity."""
    scale = carbon_scale(report)

    def of(row: Row) -> Emissions | None:
        return next((one for one in row.emissions if one.intensity is kind), None)

    def said(row: Row) -> str:
        one = of(row)
        if one is None:
            return f"{row.start}: nobody knew the intensity"
        return f"{row.start}: {scale.text(one.kg_co2e)} {scale.unit} CO2e, {number(one.mean_g_per_kwh)} g/kWh"

    def parts(row: Row) -> Sequence[float]:
        one = of(row)
        return (0.0 if one is None else one.kg_co2e,)

    return _chart(report, Drawn(scale, ("carbon",), parts, said, f"{scale.unit} CO2e by {report.by}"))


def _chart(report: EnergyReport, drawn: Drawn) -> str:
    length_s = SPANS[report.by]
    first_s, last_s = _bounds(report, length_s)
    highest = max((sum(_upwards(drawn.parts(row))) for row in report.rows), default=0.0)
    top = round_up(highest / drawn.scale.divisor)
    slot = (WIDTH - LEFT - 1) / max(1, round((last_s - first_s) / length_s))
    parts = [*_grid(top, drawn.scale), *_dates(first_s, last_s, length_s, slot)]
    for row in report.rows:
        at = LEFT + slot * (seconds(row.start or "") - first_s) / length_s
        parts.append(_column(row, at, slot, top, drawn))
    label = escape(drawn.label)
    return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _bounds(report: EnergyReport, length_s: int) -> tuple[float, float]:
    """Whole hours or days."""
    first_s, last_s = seconds(report.since), seconds(report.until)
    return math.floor(first_s / length_s) * length_s, math.ceil(last_s / length_s) * length_s


def _parts(row: Row) -> Sequence[float]:
    return row.attributed_j or 0.0, row.idle_j or 0.0, row.unattributed_j or 0.0


def _upwards(parts: Sequence[float]) -> Sequence[float]:
    """What is below nothing, as a correction can be, is not drawn."""
    return [max(0.0, part) for part in parts]


def _column(row: Row, at: float, slot: float, top: float, drawn: Drawn) -> str:
    wide = min(MOST_WIDE, slot - 2) if slot > 6 else slot + 0.2  # of many columns gaps would only make a pattern
    below, rects = 0.0, []
    for name, part in zip(drawn.names, _upwards(drawn.parts(row)), strict=True):
        low, high = _y(below, top, drawn.scale), _y(below + part, top, drawn.scale)
        if low - high > 0.01:
            rects.append(
                f'<rect class="{name}" x="{at:.2f}" y="{high:.2f}" width="{wide:.2f}" height="{low - high:.2f}"/>'
            )
        below += part
    return f"<g><title>{escape(drawn.said(row))}</title>{''.join(rects)}</g>"


def _y(joules: float, top: float, scale: Scale) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (joules / scale.divisor / top)


def _grid(top: float, scale: Scale) -> Iterator[str]:
    for share in (0, 0.25, 0.5, 0.75, 1):
        y = _y(top * share * scale.divisor, top, scale)
        text = f"{top * share:,.12g}" + (f" {scale.unit}" if share == 1 else "")
        yield f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(text)}</text>'


def _dates(first_s: float, last_s: float, length_s: int, slot: float) -> Iterator[str]:
    """A few days, or hours where there are less than three days."""
    by_hour = last_s - first_s < 3 * SPANS["day"]
    unit_s = SPANS["hour"] if by_hour else SPANS["day"]
    step_s = unit_s * max(1, math.ceil((last_s - first_s) / unit_s / MOST_LABELS))
    at_s = math.ceil(first_s / unit_s) * unit_s
    while at_s < last_s:
        text = datetime.fromtimestamp(at_s, UTC).strftime("%d %b %H:%M" if by_hour else "%d %b")
        x = LEFT + slot * (at_s - first_s) / length_s
        yield f'<text x="{x:.1f}" y="{HEIGHT - 6}">{text}</text>'
        at_s += step_s


def round_up(figure: float) -> float:
    """The next 1, 2, 4, 5 or 8 times a power of ten, so that quarters of it read well."""
    if figure <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(figure))
    return next(power * step for step in (1, 2, 4, 5, 8, 10) if figure <= power * step * (1 + 1e-9))
