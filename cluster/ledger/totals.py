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
    account, began_s = entry.account, entry.account.end_s - entry.account.window_s
    done = (float(account.window_s), int(account.requests), int(account.items))
    devices = [(d.id, d.quality, entry.footing, *_joules(entry, d.energy_j)) for d in entry.devices]
    parts = [(p.id, p.quality, entry.footing, p.calls, p.items, *_joules(entry, p.energy_j)) for p in entry.parts]
    for span, length_s in SPANS.items():
        at = (span, math.floor(began_s / length_s) * length_s)
        db.execute(_WINDOW, (*at, *done))
        db.executemany(_DEVICE, [at + row for row in devices])
        db.executemany(_PART, [at + row for row in parts])


def _joules(entry: Entry, energy_j: float) -> tuple[float, float, float]:
    """Joules of the machines and of the building, and grams; no grams while nobody knows the intensity, as the footing
    then tells."""
    account = entry.account
    pue = float(account.pue)
    return energy_j, energy_j * pue, grams_of(energy_j, pue, float(account.intensity_g_per_kwh or 0.0))
