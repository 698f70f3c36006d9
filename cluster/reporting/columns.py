"""A report's lines as columns of text, the same in the terminal and on the page."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from allocator.emissions import Kind
from cluster.ledger.entries import IDLE, SHARE, UNATTRIBUTED
from cluster.reporting.model import EnergyReport, Row
from cluster.reporting.words import NONE, Scale, carbon_scale, count, energy_scale, number, percent, short_id

ASIDE = {IDLE: "idle", UNATTRIBUTED: "unattributed"}
"""What a line is called that is no variant's."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its header, and what a row says in it. `figures` stand to the right."""

    header: str
    text: Callable[[Row], str]
    figures: bool = True


def columns(report: EnergyReport) -> tuple[Column, ...]:
    """Those of the report's kind of lines."""
    energy = energy_scale(report)
    drawn = Column(energy.unit, lambda row: energy.text(row.energy_j))
    share = Column("share", lambda row: percent(row.share))
    measured = Column("measured", lambda row: percent(row.known.measured))
    grams = _carbon(report)
    if report.by in ("hour", "day"):
        watts = Column("mean W", lambda row: number(_over(row.energy_j, row.covered_s)))
        return (*_time(report), watts, drawn, *_parts(energy), *grams, measured)
    if report.by == "node":
        return (*_node(), drawn, share, *grams, measured)
    return (*_part(report), drawn, share, *grams, measured)


def _time(report: EnergyReport) -> tuple[Column, ...]:
    shown = 10 if report.by == "day" else 17  # an hour is told with its day
    return (
        Column(
            f"{report.by} (UTC)", lambda row: (row.start or "")[:shown].replace("T", " ").rstrip("Z"), figures=False
        ),
        Column("requests", lambda row: count(row.requests)),
        Column("J a request", lambda row: number(_over(row.attributed_j, row.requests))),
    )


def _parts(energy: Scale) -> tuple[Column, ...]:
    def of(figure: float | None) -> str:
        return NONE if figure is None else energy.text(figure)

    return (
        Column("work", lambda row: of(row.attributed_j)),
        Column("idle", lambda row: of(row.idle_j)),
        Column("unattributed", lambda row: of(row.unattributed_j)),
    )


def _node() -> tuple[Column, ...]:
    host = Column("host", lambda row: short_id(row.host or ""), figures=False)
    return host, Column("node", lambda row: short_id(row.node or ""), figures=False)


def _part(report: EnergyReport) -> tuple[Column, ...]:
    named = [Column("stage", lambda row: ASIDE.get(row.part or "", row.stage or ""), figures=False)]
    if report.by == "variant":
        named.append(Column("variant", lambda row: row.variant or "", figures=False))
    counted = [
        Column("calls", lambda row: count(row.calls)),
        Column("items", lambda row: count(row.pairs)),
        Column("mJ an item", lambda row: number(_over(1e3 * row.energy_j, row.pairs))),
    ]
    return (*named, *counted)


def _carbon(report: EnergyReport) -> tuple[Column, ...]:
    """One for each kind of intensity that there is in the whole report."""
    kinds, scale = [one.intensity for one in report.total.emissions], carbon_scale(report)
    several = len(kinds) > 1
    return tuple(
        Column(f"{scale.unit} CO2e" + (f" ({kind.value})" if several else ""), _emitted(kind, scale)) for kind in kinds
    )


def _emitted(kind: Kind, scale: Scale) -> Callable[[Row], str]:
    def text(row: Row) -> str:
        kg = next((one.kg_co2e for one in row.emissions if one.intensity is kind), None)
        return NONE if kg is None else scale.text(kg)

    return text


def is_aside(row: Row) -> bool:
    """Whether the line is no variant's: what is idle or unattributed."""
    return row.part not in (None, SHARE)


def cells(report: EnergyReport) -> tuple[Sequence[Column], list[list[str]]]:
    """The columns, and a list of texts for each row."""
    chosen = columns(report)
    return chosen, [[column.text(row) for column in chosen] for row in report.rows]


def _over(over: float | None, under: float | None) -> float | None:
    return over / under if over is not None and under else None
