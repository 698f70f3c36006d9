"""Lets go of detail that is older than it need be, and of hours; days are kept for ever."""

import sqlite3
from dataclasses import dataclass

from cluster.ledger.totals import DAY_S

MOST_WINDOWS = 4
"""In one go, so that a window is always written in time. One is added at a time, so a backlog shrinks by three."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How long windows are kept one by one, and totals by hour. Totals by day are never let go of."""

    detail_s: float = DAY_S
    hours_s: float = 400 * DAY_S


def prune(db: sqlite3.Connection, now_s: float, retention: Retention) -> None:
    """Remove what is older than the retention at `now_s` (Unix time), and windows that lie so far ahead, from when the
    clock was wrong. To be called in a transaction."""
    oldest = "SELECT number, end_s FROM window ORDER BY number LIMIT ?"
    cut = f"SELECT max(number) FROM ({oldest}) WHERE end_s < ? OR end_s > ?"
    span = now_s - retention.detail_s, now_s + retention.detail_s
    (last,) = db.execute(cut, (MOST_WINDOWS, *span)).fetchone()
    if last is not None:
        db.execute("DELETE FROM device_window WHERE window <= ?", (last,))
        db.execute("DELETE FROM part_window WHERE window <= ?", (last,))
        db.execute("DELETE FROM window WHERE number <= ?", (last,))
    for table in ("window_total", "device_total", "part_total"):
        db.execute(f"DELETE FROM {table} WHERE span = 'hour' AND start_s < ?", (now_s - retention.hours_s,))
