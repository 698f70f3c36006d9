"""What a window adds to the hour and the day in which it began (UTC). Totals outlive the detail."""

import math
import sqlite3

from allocator.emissions import grams_of
from cluster.ledger.entries import Entry

HOUR_S, DAY_S = 3600, 86400
SPANS = {"hour": HOUR_S, "day": DAY_S}

_WINDOW = """INSERT INTO window_total VALUES (?, ?, 1, ?, ?, ?) ON CONFLICT (span, start_s)
    DO UPDATE SET windows = windows + 1, window_s = window_s + excluded.window_s,
    requests = requests + excluded.requests, items = items + excluded.items"""
_SUM = """energy_j = energy_j + excluded.energy_j, facility_j = facility_j + excluded.facility_j,
    grams = grams + excluded.grams"""
_DEVICE = f"""INSERT INTO device_total VALUES (?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (span, start_s, device, quality, footing) DO UPDATE SET {_SUM}"""
_PART = f"""INSERT INTO part_total VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
    ON CONFLICT (span, start_s, part, quality, footing)
    DO UPDATE SET calls = calls + excluded.calls, items = items + excluded.items, {_SUM}"""


def add_totals(db: sqlite3.Connection, entry: Entry) -> None:
    """Add the window to its hour and its day."""
    began_s = entry.account.end_s - entry.account.window_s
    for span, length_s in SPANS.items():
        _add(db, entry, span, math.floor(began_s / length_s) * length_s)


def _add(db: sqlite3.Connection, entry: Entry, span: str, start_s: int) -> None:
    account, at = entry.account, (span, start_s)
    db.execute(_WINDOW, (*at, float(account.window_s), int(account.requests), int(account.items)))
    devices = [(*at, d.id, d.quality, entry.footing, d.energy_j, *_footprint(entry, d.energy_j)) for d in entry.devices]
    db.executemany(_DEVICE, devices)
    parts = [
        (*at, p.id, p.quality, entry.footing, p.calls, p.items, p.energy_j, *_footprint(entry, p.energy_j))
        for p in entry.parts
    ]
    db.executemany(_PART, parts)


def _footprint(entry: Entry, energy_j: float) -> tuple[float, float]:
    """Joules of the building, and grams; no grams while nobody knows the intensity, as the footing then tells."""
    account = entry.account
    pue = float(account.pue)
    return energy_j * pue, grams_of(energy_j, pue, float(account.intensity_g_per_kwh or 0.0))
