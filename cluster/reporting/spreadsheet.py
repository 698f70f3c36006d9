"""A report's lines as CSV: figures in full, one column for each unit and kind of intensity."""

import csv
import io
from collections.abc import Iterator

from allocator.emissions import Kind
from cluster.reporting.model import EnergyReport, Row

NAMES = {
    "hour": ("start",),
    "day": ("start",),
    "stage": ("part", "stage"),
    "variant": ("part", "stage", "variant"),
    "node": ("host", "node"),
}
COUNTS = {
    "hour": ("covered_s", "requests", "items", "attributed_j", "idle_j", "unattributed_j"),
    "day": ("covered_s", "requests", "items", "attributed_j", "idle_j", "unattributed_j"),
    "stage": ("calls", "pairs"),
    "variant": ("calls", "pairs"),
    "node": (),
}
FIGURES = ("energy_j", "energy_kwh", "share")
QUALITIES = ("measured", "modelled", "assumed")


def csv_text(report: EnergyReport) -> str:
    """A header and a line for each row. What does not apply is empty. Lines end in a line feed alone."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    names = (*NAMES[report.by], *COUNTS[report.by], *FIGURES)
    carbon = [f"kg_co2e_{kind.value}" for kind in Kind]
    writer.writerow((*names, *(f"{quality}_share" for quality in QUALITIES), *carbon, "kwh_without_intensity"))
    for row in report.rows:
        writer.writerow((*(getattr(row, name) for name in names), *_known(row)))
    return sink.getvalue()


def _known(row: Row) -> Iterator[float | None]:
    yield from (getattr(row.known, quality) for quality in QUALITIES)
    emitted = {one.intensity: one.kg_co2e for one in row.emissions}
    yield from (emitted.get(kind) for kind in Kind)
    yield row.kwh_without_intensity
