"""Asks the ledger, and puts a report together."""

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from cluster.ledger.amount import Amount
from cluster.ledger.connect import read_from
from cluster.ledger.entries import IDLE, SHARE, UNATTRIBUTED
from cluster.ledger.read import TIME, Done, Key, Period, Traffic, devices_by, parts_by, traffic_by
from cluster.reporting.basis import Asked, basis_of
from cluster.reporting.model import By, EnergyReport, Row, Total
from cluster.reporting.periods import period_of
from cluster.reporting.saved import savings_of
from cluster.reporting.since import iso
from cluster.reporting.sums import first_keys, joules_of, sum_of, total_of

NOTHING = Traffic(0, 0.0, 0, 0)
Others = Callable[[Period], Sequence[By]]
"""By what else to tell of a period."""


def gather(
    db: sqlite3.Connection,
    ledger: str,
    by: By,
    since_s: float | None = None,
    until_s: float | None = None,
    now_s: float | None = None,
) -> EnergyReport:
    """The report of a ledger. `since_s` and `until_s` are Unix times, rounded outwards to hours; where hours are let go
    of, to days.

    now_s  of the asking; by the clock where nobody says
    Raises FixFile where the ledger holds nothing, FixRequest where it holds nothing of that time.
    """
    return gather_all(db, ledger, by, Asked(since_s, until_s, time.time() if now_s is None else now_s))[0]


def gather_all(
    db: sqlite3.Connection, ledger: str, by: By, asked: Asked, others: Others = lambda _: ()
) -> tuple[EnergyReport, ...]:
    """The report by `by`, and by `others` of its period, all from one moment. Raises as `gather`."""
    db.execute("BEGIN")  # so that all questions are answered from one moment
    try:
        period = period_of(db, ledger, by, asked.since_s, asked.until_s)
        total = totals(db, period)
        first = EnergyReport(
            ledger=ledger,
            since=iso(period.since_s),
            until=iso(period.until_s),
            by=by,
            total=total,
            rows=_rows(db, period, by, total.energy_j),
            basis=basis_of(db, period, asked),
            savings=savings_of(db),
        )
        rest = [(other, _rows(db, period, other, total.energy_j)) for other in others(period)]
    finally:
        db.execute("ROLLBACK")
    return (first, *(first.model_copy(update={"by": other, "rows": rows}) for other, rows in rest))


def gather_from(file: Path, by: By, asked: Asked, others: Others = lambda _: ()) -> tuple[EnergyReport, ...]:
    """The reports of a ledger's file, as `gather_all`. Raises besides what `connect.read_from` raises."""
    return read_from(file, lambda db: gather_all(db, str(file), by, asked, others))


def totals(db: sqlite3.Connection, period: Period) -> Total:
    """Everything in the period."""
    drawn = devices_by(db, period).get((), Amount())
    parts = first_keys(parts_by(db, period, "n.kind").items())
    return total_of(drawn, parts, traffic_by(db, period).get(0, NOTHING))


def _rows(db: sqlite3.Connection, period: Period, by: By, whole_j: float) -> list[Row]:
    if by in TIME:
        return _by_time(db, period, TIME[by], whole_j)
    if by == "node":
        drawn = devices_by(db, period, "n.host", "n.node")
        return [Row(**_figures(drawn[key], whole_j), host=str(key[0]), node=str(key[1])) for key in _most_first(drawn)]
    keys = ("n.kind", "n.stage") if by == "stage" else ("n.kind", "n.stage", "n.variant")
    return _by_part(parts_by(db, period, *keys), whole_j)


def _by_time(db: sqlite3.Connection, period: Period, key: str, whole_j: float) -> list[Row]:
    drawn, parts = devices_by(db, period, key), parts_by(db, period, key, "n.kind")
    rows = []
    for start_s, traffic in traffic_by(db, period, key).items():
        of_kind = {kind: parts[start_s, kind] for kind in (SHARE, IDLE, UNATTRIBUTED) if (start_s, kind) in parts}
        rows.append(
            Row(
                **_figures(drawn.get((start_s,), Amount()), whole_j),
                start=iso(float(start_s)),
                covered_s=traffic.covered_s,
                requests=traffic.requests,
                items=traffic.items,
                attributed_j=joules_of(of_kind, SHARE),
                idle_j=joules_of(of_kind, IDLE),
                unattributed_j=joules_of(of_kind, UNATTRIBUTED),
            )
        )
    return rows


def _by_part(parts: Mapping[Key, Done], whole_j: float) -> list[Row]:
    """Shares first, then what is idle and what is unattributed."""
    order = (SHARE, IDLE, UNATTRIBUTED)
    most_first = _most_first({key: done.amount for key, done in parts.items()})
    rows = []
    for key in sorted(most_first, key=lambda key: order.index(str(key[0]))):
        done, (part, stage, *variant) = parts[key], (str(name) for name in key)
        counts: dict[str, Any] = {"calls": done.calls, "pairs": done.items} if part == SHARE else {}
        names: dict[str, Any] = {
            "part": part,
            "stage": stage or None,
            "variant": variant[0] or None if variant else None,
        }
        rows.append(Row(**_figures(done.amount, whole_j), **names, **counts))
    return rows


def _most_first(drawn: Mapping[Key, Amount]) -> list[Key]:
    return sorted(drawn, key=lambda key: (-drawn[key].energy_j, key))


def _figures(amount: Amount, whole_j: float) -> dict[str, Any]:
    share = amount.energy_j / whole_j if whole_j else 0.0
    return {**sum_of(amount).model_dump(), "share": share}
