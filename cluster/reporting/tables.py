"""A report's tables as HTML."""

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from allocator.emissions import JOULES_PER_KWH
from cluster.reporting.columns import cells, is_aside
from cluster.reporting.model import EnergyReport, LimitChanged, Sensor
from cluster.reporting.reconcile import Check
from cluster.reporting.saved import Bounded, SavedOf, SavingsReport
from cluster.reporting.sums import sum_of_rows
from cluster.reporting.words import NONE, energy_scale, number, percent, scaled

SENSORS = {
    "rapl": "RAPL, the processor's own counters",
    "nvml": "NVML, the GPU's own counters",
    "estimate": "estimate from processor time",
    "replay": "a recording, played back",
    "simulation": "a simulated meter",
}
MOST_NODES = 40
Cells = Sequence[str]


def table(headers: Cells, rows: Iterable[Cells], names: int = 1, foot: Cells = (), asides: Sequence[int] = ()) -> str:
    """A table on a card.

    names   so many columns, from the left, are words, the others figures
    foot    a row of sums
    asides  numbers of the rows that are less to the point
    """
    body = "".join(_row("td", row, names, " class=aside" if at in asides else "") for at, row in enumerate(rows))
    sums = f"<tfoot>{_row('td', foot, names)}</tfoot>" if foot else ""
    head = _row("th", headers, names)
    return f'<div class="card wide"><table><thead>{head}</thead>\n<tbody>{body}</tbody>{sums}</table></div>'


def lines(report: EnergyReport) -> str:
    """The report's lines, and their sum. Of many nodes those that drew the most, and all others as one."""
    summed = sum_of_rows(report.rows)
    shown, others = report.rows, report.rows[MOST_NODES:]
    if report.by == "node" and len(others) > 1:
        rest = sum_of_rows(others).model_copy(update={"host": f"{len(others):,} others"})
        shown = [*report.rows[:MOST_NODES], rest]
    chosen, rows = cells(report.model_copy(update={"rows": shown}))
    names = sum(not column.figures for column in chosen)
    foot = ["sum", *[""] * (names - 1), *(column.text(summed) for column in chosen[names:])]
    asides = [at for at, row in enumerate(report.rows) if is_aside(row)]
    return table([column.header for column in chosen], rows, names, foot, asides)


def sensors(report: EnergyReport) -> str:
    """What told the joules, and how well they are known by it."""
    scale, found = energy_scale(report), report.basis.sensors
    rows = [(*_sensor(one), scale.text(one.energy_j), percent(one.share)) for one in found]
    foot = (
        "sum",
        "",
        "",
        "",
        "",
        scale.text(sum(one.energy_j for one in found)),
        percent(sum_of_rows(report.rows).share),
    )
    return table(("sensor", "reads", "known as", "devices", "hosts", scale.unit, "share"), rows, 3, foot)


def _sensor(one: Sensor) -> Cells:
    return SENSORS.get(one.source, one.source), one.kind, one.quality.value, f"{one.devices:,}", f"{one.hosts:,}"


def savings(told: SavingsReport) -> str:
    """Of each quantity what is saved, with bounds; of reward what is earned more."""
    rows = [
        _saved("energy", told.energy_j, "J", JOULES_PER_KWH / 1e3, "Wh"),
        _saved("emissions", told.co2e_g, "g CO2e", 1.0, "g CO2e"),
        _saved("computation", told.flops, "FLOP", 1.0, "FLOP"),
        ("reward (earned more)", _more(told.reward), NONE, NONE),
    ]
    return table(("saved", "of the static chain's", "a request", "in all"), rows)


def _saved(name: str, saved: SavedOf, each: str, divisor: float, unit: str) -> Cells:
    """each: unit of a request's; the total's is that over `divisor`, in `unit`."""
    if saved.total is None or saved.per_request is None:
        return name, saved.reason, NONE, NONE
    share = NONE if saved.relative is None else _bounded(saved.relative)
    return name, share, _with_unit(saved.per_request, 1.0, each), _with_unit(saved.total, divisor, unit)


def _more(saved: SavedOf) -> str:
    if saved.relative is None:
        return saved.reason
    return _bounded(Bounded(value=-saved.relative.value, low=-saved.relative.high, high=-saved.relative.low))


def _bounded(share: Bounded) -> str:
    return f"{percent(share.value)}\n{percent(share.low)} to {percent(share.high)}"


def _with_unit(figure: Bounded, divisor: float, unit: str) -> str:
    (value, low, high), unit = scaled([one / divisor for one in (figure.value, figure.low, figure.high)], unit)
    return f"{value} {unit}\n{low} to {high}"


def changes(made: Sequence[LimitChanged]) -> str:
    """Who set which limit when."""
    rows = [(one.at, one.name, one.before or "no limit", one.after or "no limit", one.author) for one in made]
    return table(("when (UTC)", "limit", "from", "to", "by"), rows, 5)


def reconciled(found: Sequence[Check]) -> str:
    """Two ways to each figure, side by side and in full."""
    rows = [
        (check.what, *_exact(check), "agrees" if check.agrees else f"{number(check.difference)} {check.unit} apart")
        for check in found
    ]
    return table(("what is added up: what it is to be", "sum", "told", ""), rows)


def _exact(check: Check) -> Iterator[str]:
    for figure in (check.summed, check.total):
        yield f"{figure:,.0f}" if check.unit == "requests" else f"{number(figure, 9)} {check.unit}"


def _row(tag: str, texts: Cells, names: int, extra: str = "") -> str:
    scope = ' scope="col"' if tag == "th" else ""
    told = (f"<{tag}{scope}{_class(at < names)}>{_lined(text)}</{tag}>" for at, text in enumerate(texts))
    return f"<tr{extra}>{''.join(told)}</tr>\n"


def _class(is_name: bool) -> str:
    return " class=name" if is_name else ""


def _lined(text: str) -> str:
    """What stands on a line of its own is less to the point."""
    first, _, second = text.partition("\n")
    return escape(first) + (f"<small>{escape(second)}</small>" if second else "")
