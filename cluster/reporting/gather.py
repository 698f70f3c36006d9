"""Asks the ledger, and puts a report together."""

import sqlite3
from collections.abc import Mapping
from typing import Any

from cluster.ledger.amount import Amount
from cluster.ledger.entries import IDLE, SHARE, UNATTRIBUTED
from cluster.ledger.read import TIME, Done, Key, Period, Traffic, devices_by, parts_by, traffic_by
from cluster.reporting.model import By, EnergyReport, Row, Total
from cluster.reporting.periods import period_of
from cluster.reporting.since import iso
from cluster.reporting.sums import first_keys, joules_of, sum_of, total_of

NOTHING = Traffic(0, 0.0, 0, 0)


def gather(
    db: sqlite3.Connection, ledger: str, by: By, since_s: float | None = None, until_s: float | None = None
) -> EnergyReport:
    """The report of a ledger; `since_s` and `until_s` are Unix times, rounded outwards to hours (or days, see README).

    Raises FixFile where the ledger holds nothing, FixRequest where it holds nothing of that time.
    """
    db.execute("BEGIN")  # so that all questions are answered from one moment
    try:
        period = period_of(db, ledger, by, since_s, until_s)
        total = totals(db, period)
        rows = _rows(db, period, by, total.energy_j)
    finally:
        db.execute("ROLLBACK")
    return EnergyReport(
        ledger=ledger, since=iso(period.since_s), until=iso(period.until_s), by=by, total=total, rows=rows
    )


def totals(db: sqlite3.Connection, period: Period) -> Total:
    """Everything in the period."""
    drawn = devices_by(db, period).get((), Amount())
    parts = first_keys(parts_by(db, period, "n.kind").items())
    return total_of(drawn, parts, traffic_by(db, period).get(0, NOTHING))


def _rows(db: sqlite3.Connection, period: Period, by: By, whole_j: float) -> list[Row]:
    if by in TIME:
        return _by_time(db, period, TIME[by], whole_j)
    if by == "node":
        return [
            Row(**_figures(amount, whole_j), node=str(node))
            for (node,), amount in devices_by(db, period, "n.node").items()
        ]
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
    rows = []
    for key, done in sorted(parts.items(), key=lambda item: (order.index(str(item[0][0])), item[0])):
        part, stage, *variant = (str(name) for name in key)
        counts: dict[str, Any] = {"calls": done.calls, "pairs": done.items} if part == SHARE else {}
        names: dict[str, Any] = {
            "part": part,
            "stage": stage or None,
            "variant": variant[0] or None if variant else None,
        }
        rows.append(Row(**_figures(done.amount, whole_j), **names, **counts))
    return rows


def _figures(amount: Amount, whole_j: float) -> dict[str, Any]:
    share = amount.energy_j / whole_j if whole_j else 0.0
    return {**sum_of(amount).model_dump(), "share": share}
