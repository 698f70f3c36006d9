"""A report as one self-contained HTML page: no script, nothing fetched, light and dark."""

from collections.abc import Iterator, Sequence
from html import escape

from allocator.joules import Quality
from cluster.reporting.chart import PARTS, chart
from cluster.reporting.columns import cells, is_aside
from cluster.reporting.model import EnergyReport, Total
from cluster.reporting.style import STYLE
from cluster.reporting.words import NONE, duration, facts, known, number, percent

BY = {
    "hour": "Hour by hour",
    "day": "Day by day",
    "stage": "By stage",
    "variant": "By variant",
    "node": "By node",
}
NOTES = (
    "Measured: a meter counted it. Modelled: worked out from something measured. Assumed: worked out from a figure "
    "that nobody measured here. A gram is as well known as the worst of joules, intensity and PUE.",
    "A request's joules are those of its own work. With its share of what machines draw idle and of what nobody can be "
    "put down to, they are the second figure.",
    "Grams = joules / 3.6e6 × PUE × intensity. Average intensity tells a footprint, marginal intensity what a saving "
    "is worth; the two are never added up. Grams are operational: making the machines is not in them.",
)


def page(report: EnergyReport) -> str:
    """The whole page, in ASCII, so that no terminal or file can spoil its letters."""
    parts = [_head(report), _tiles(report.total), _bars(report.total), *_over_time(report), _lines(report)]
    parts += [_facts(report), _notes()]
    text = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Energy {report.since[:10]} to {report.until[:10]}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )
    return text.encode("ascii", "xmlcharrefreplace").decode("ascii")


def _head(report: EnergyReport) -> str:
    period = f"{_spelled(report.since)} to {_spelled(report.until)} UTC"
    covered = f"{duration(report.total.covered_s)} billed, {report.total.requests:,} requests"
    return f'<h1>Energy and carbon</h1>\n<p class="soft">{escape(f"{period} · {covered}")}</p>'


def _spelled(moment: str) -> str:
    return moment.replace("T", " ").removesuffix("Z")


def _tiles(total: Total) -> str:
    tiles = [_tile(number(total.energy_kwh), "kWh", known(total.known)), *_carbon_tiles(total)]
    each = (
        ("J a request", total.joules_per_request, total.loaded_joules_per_request),
        ("J per 1,000 items", total.joules_per_1000_items, total.loaded_joules_per_1000_items),
    )
    tiles += [
        _tile(number(own), unit, f"{number(loaded)} J with idle and unattributed shared out")
        for unit, own, loaded in each
    ]
    return f'<div class="tiles">{"".join(tiles)}</div>'


def _carbon_tiles(total: Total) -> Iterator[str]:
    for one in total.emissions:
        grid = f"{one.intensity.value} intensity, {number(one.mean_g_per_kwh)} g/kWh; {known(one.known)}"
        yield _tile(number(one.kg_co2e), "kg CO2e", grid)
    if not total.emissions:
        yield _tile(NONE, "kg CO2e", "nobody knew the grid's intensity")


def _tile(figure: str, unit: str, says: str) -> str:
    return f'<div class="tile"><b>{escape(figure)} <small>{escape(unit)}</small></b><span>{escape(says)}</span></div>'


def _bars(total: Total) -> str:
    joules = (total.attributed_j, total.idle_j, total.unattributed_j)
    whole = total.energy_j or 1.0
    went = [(name, label, part / whole) for (name, label), part in zip(PARTS, joules, strict=True)]
    how = [(quality.value, quality.value, getattr(total.known, quality.value)) for quality in Quality]
    return f'<div class="pair">{_bar("What it went to", went)}{_bar("How it is known", how)}</div>'


def _bar(title: str, parts: Sequence[tuple[str, str, float]]) -> str:
    stretch = "".join(
        f'<i class="{name}" style="flex:{max(0.0, share):.5f}"></i>' for name, _, share in parts if share > 0
    )
    key = "".join(
        f'<li><i class="{name}"></i>{escape(label)} {escape(percent(share))}</li>' for name, label, share in parts
    )
    return f'<section class="card"><h2>{title}</h2><div class="bar">{stretch}</div><ul class="key">{key}</ul></section>'


def _over_time(report: EnergyReport) -> Iterator[str]:
    if report.by in ("hour", "day"):
        yield f'<h2>Over time</h2>\n<div class="card">{chart(report)}</div>'


def _lines(report: EnergyReport) -> str:
    chosen, rows = cells(report)
    names = ["" if column.figures else ' class="name"' for column in chosen]
    head = "".join(
        f'<th scope="col"{name}>{escape(column.header)}</th>' for name, column in zip(names, chosen, strict=True)
    )
    body = "".join(
        f"<tr{' class=aside' if is_aside(row) else ''}>"
        + "".join(f"<td{name}>{escape(text)}</td>" for name, text in zip(names, texts, strict=True))
        + "</tr>\n"
        for row, texts in zip(report.rows, rows, strict=True)
    )
    table = f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>"
    return f'<h2>{BY[report.by]}</h2>\n<div class="card wide">{table}</div>'


def _facts(report: EnergyReport) -> str:
    listed = [*facts(report), ("ledger", report.ledger)]
    told, before = [], ""
    for name, says in listed:
        told.append(f"<dt>{'' if name == before else escape(name)}</dt><dd>{escape(says)}</dd>")
        before = name
    return f'<h2>In words</h2>\n<div class="card"><dl>{"".join(told)}</dl></div>'


def _notes() -> str:
    return (
        '<h2>What the words mean</h2>\n<div class="notes">' + "".join(f"<p>{escape(n)}</p>" for n in NOTES) + "</div>"
    )
