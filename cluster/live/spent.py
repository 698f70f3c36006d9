"""Joules and grams of the day so far, and since the ledger begins, as people are told of them."""

import math
import sqlite3
from pathlib import Path
from typing import Any

from allocator.emissions import Kind
from cluster.ledger.amount import Amount
from cluster.ledger.connect import read_from
from cluster.ledger.read import Period, devices_by, known_period, traffic_by
from cluster.ledger.totals import DAY_S
from cluster.reporting.gather import NOTHING


def spent_from(file: Path, now_s: float, kind: Kind | None) -> dict[str, Any] | None:
    """As `cluster.live.schemas.EnergyOut`, from a ledger's file; None while it holds no window.

    Raises as `cluster.ledger.connect.read_from`.

    now_s  Unix time
    kind   of the intensity that grams are told by: those of another kind are never added to them
    """
    return read_from(file, lambda db: spent(db, now_s, kind))


def spent(db: sqlite3.Connection, now_s: float, kind: Kind | None) -> dict[str, Any] | None:
    """As `spent_from`, on a connection to the ledger."""
    db.execute("BEGIN")  # so that both are of one moment
    try:
        period = known_period(db, "day")
        if period is None:
            return None
        start_s = math.floor(now_s / DAY_S) * DAY_S
        return {
            "since_s": float(period.since_s),
            "today": {"start_s": float(start_s), **_of(db, Period("day", start_s, start_s + DAY_S), kind)},
            "total": {"start_s": float(period.since_s), **_of(db, period, kind)},
        }
    finally:
        db.execute("ROLLBACK")


def _of(db: sqlite3.Connection, period: Period, kind: Kind | None) -> dict[str, Any]:
    drawn = devices_by(db, period).get((), Amount())
    traffic = traffic_by(db, period).get(0, NOTHING)
    energy_j = drawn.energy_j
    counted = [cell.grams for cell in drawn.cells if kind is not None and cell.intensity_kind == kind.value]
    return {
        "energy_j": energy_j,
        "facility_j": sum(cell.facility_j for cell in drawn.cells),
        "grams": sum(counted) if counted else None,
        "requests": traffic.requests,
        "items": traffic.items,
        "shares": {
            quality.value: joules / energy_j if energy_j else 0.0 for quality, joules in drawn.by_quality().items()
        },
    }
