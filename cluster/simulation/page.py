"""Simulated days as one self-contained HTML page: no script, nothing fetched, light and dark."""

from collections.abc import Iterator, Sequence
from html import escape

from allocator.emissions import JOULES_PER_KWH
from cluster.reporting.style import STYLE
from cluster.reporting.words import number
from cluster.simulation import figures
from cluster.simulation.outcome import Outcome
from cluster.simulation.words import (
    COMPARED,
    COMPARED_NOTE,
    LIMIT_HEADERS,
    compared_rows,
    facts,
    limit_cells,
    played,
    share,
)

NOTES = (
    "Nothing of this happened: requests, machines and grid are made up. What prices them is the code that serves: "
    "energy model, accounts, ledger, pacing and prices, told no more than meters and replicas would tell.",
    "The hindsight optimum is what one could have earned within the same limits who knew the whole day beforehand.",
)


def page(outcomes: Sequence[tuple[str, Outcome]]) -> str:
    """The whole page, in ASCII; with several runs a comparison comes first."""
    first = outcomes[0][1]
    parts = [f'<h1>Simulated: {escape(first.name)}</h1>\n<p class="soft">{escape(first.shows)}</p>']
    if len(outcomes) > 1:
        parts.append(
            f'<h2>Side by side</h2>{_table(COMPARED, compared_rows(outcomes))}<p class="soft">{COMPARED_NOTE}</p>'
        )
    for label, one in outcomes:
        parts += _run(label if len(outcomes) > 1 else "", one)
    parts.append("<h2>What this is</h2>" + "".join(f'<p class="soft">{escape(note)}</p>' for note in NOTES))
    text = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Simulated: {escape(first.name)}</title>\n<style>{STYLE}{figures.STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )
    return text.encode("ascii", "xmlcharrefreplace").decode("ascii")


def _run(label: str, one: Outcome) -> Iterator[str]:
    if label:
        yield f"<h2>{escape(label)}</h2>"
    yield f'<p class="soft">{escape(played(one))}</p>'
    yield _tiles(one)
    listed = "".join(f"<dt>{escape(name)}</dt><dd>{escape(says)}</dd>" for name, says in facts(one))
    yield f'<h2>In words</h2>\n<div class="card"><dl>{listed}</dl></div>'
    if one.limits:
        yield "<h2>Limits</h2>" + _table(LIMIT_HEADERS, [limit_cells(limit) for limit in one.limits])
    yield "<h2>Through the day</h2>"
    yield from _figures(one)


def _tiles(one: Outcome) -> str:
    tiles = (
        (number(one.kwh, 4), "kWh", f"{share(one.joules, one.free.joules)} of no limit"),
        (number(one.grams / 1000, 4), "kg CO2e", f"{share(one.grams, one.free.grams)} of no limit"),
        (share(one.reward, one.free.reward), "reward of no limit", f"{share(one.of_optimum)} of the hindsight optimum"),
        (
            number((one.static.joules - one.joules) / JOULES_PER_KWH, 4),
            "kWh less than the static chain",
            f"at {share(one.reward, one.static.reward)} of its reward",
        ),
    )
    drawn = "".join(
        f'<div class="tile"><b>{escape(figure)} <small>{escape(unit)}</small></b><span>{escape(says)}</span></div>'
        for figure, unit, says in tiles
    )
    return f'<div class="tiles">{drawn}</div>'


def _figures(one: Outcome) -> Iterator[str]:
    day, hours = one.series, one.series.hours
    if not hours:
        return
    power = {"all machines": _thousandth(day.power_w)}
    limits = {f"allowed by {name}": _thousandth(values) for name, values in day.limit_w.items()}
    yield _figure("Power", figures.lines(hours, {**power, **limits}, "kW", tuple(limits)))
    for name, prices in day.prices.items():
        yield _figure(f"Price of {name}", figures.lines(hours, {name: prices}, ""))
    yield _figure("Requests", figures.lines(hours, {"thousand requests a second": _thousandth(day.rps)}, "k/s"))
    yield _figure("Grid", figures.lines(hours, {"intensity": day.g_per_kwh}, "g/kWh"))
    yield _figure("What the last stage did", figures.stacked(hours, day.mix))
    yield _figure("Reward of a request", figures.lines(hours, {"reward": day.reward}, "", near=True))


def _thousandth(values: Sequence[float]) -> list[float]:
    return [value / 1000 for value in values]


def _figure(title: str, svg: str) -> str:
    return f'<figure class="card"><figcaption>{escape(title)}</figcaption>{svg}</figure>'


def _table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    names = [' class="name"', *[""] * (len(headers) - 1)]
    head = "".join(f'<th scope="col"{n}>{escape(text)}</th>' for n, text in zip(names, headers, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td{n}>{escape(text)}</td>" for n, text in zip(names, row, strict=True)) + "</tr>\n"
        for row in rows
    )
    table = f"<table><thead><tr>{head}</tr></thead>\n<tbody>{body}</tbody></table>"
    return f'<div class="card wide">{table}</div>'
