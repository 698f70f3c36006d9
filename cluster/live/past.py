"""Points of before the controller began, from the ledger's windows: watts, requests, joules and intensity."""

import sqlite3
from pathlib import Path
from typing import Any

from cluster.ledger.connect import read_from
from cluster.ledger.entries import SHARE
from cluster.live.moment import MOST_DEVICES, OTHERS

_WINDOWS = """SELECT CAST(end_s / :step_s AS INTEGER) AS step, max(end_s), sum(window_s),
    sum(requests), sum(intensity_g_per_kwh * window_s)
        / sum(CASE WHEN intensity_g_per_kwh IS NULL THEN NULL ELSE window_s END)
    FROM window WHERE end_s > :since_s GROUP BY step ORDER BY step"""
_DEVICES = """SELECT CAST(w.end_s / :step_s AS INTEGER), n.host, n.device, sum(d.energy_j), sum(d.window_s)
    FROM window w JOIN device_window d ON d.window = w.number JOIN device n ON n.id = d.device
    WHERE w.end_s > :since_s GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"""
_SHARES = f"""SELECT CAST(w.end_s / :step_s AS INTEGER), sum(p.energy_j)
    FROM window w JOIN part_window p ON p.window = w.number JOIN part n ON n.id = p.part
    WHERE w.end_s > :since_s AND n.kind = '{SHARE}' GROUP BY 1"""


def points_from(file: Path, since_s: float, step_s: float) -> list[dict[str, Any]]:
    """The points since a Unix time, in order. What the ledger does not know is null or empty in them.

    Raises as `cluster.ledger.connect.read_from`.
    """
    return read_from(file, lambda db: points(db, since_s, step_s))


def points(db: sqlite3.Connection, since_s: float, step_s: float) -> list[dict[str, Any]]:
    """As `points_from`, on a connection to the ledger."""
    about = {"since_s": since_s, "step_s": step_s}
    devices = _watts(db, about)
    shares = dict(db.execute(_SHARES, about).fetchall())
    found = []
    for step, end_s, window_s, requests, g_per_kwh in db.execute(_WINDOWS, about):
        watts = devices.get(step, {})
        found.append(_point(end_s, window_s, requests, g_per_kwh, watts, shares.get(step)))
    return found


def _watts(db: sqlite3.Connection, about: dict[str, float]) -> dict[int, dict[str, float]]:
    """By step and device; where there are too many devices, by host."""
    rows = [row for row in db.execute(_DEVICES, about) if row[4] > 0]
    by_host = len({(host, device) for _, host, device, _, _ in rows}) > MOST_DEVICES
    hosts = sorted({row[1] for row in rows})
    kept = set(hosts if len(hosts) <= MOST_DEVICES else hosts[: MOST_DEVICES - 1])
    found: dict[int, dict[str, float]] = {}
    for step, host, device, energy_j, window_s in rows:
        key = device if device.startswith(f"{host}/") else f"{host}/{device}"
        key = (host if host in kept else OTHERS) if by_host else key
        of_step = found.setdefault(step, {})
        of_step[key] = of_step.get(key, 0.0) + energy_j / window_s
    return found


def _point(
    end_s: float,
    window_s: float,
    requests: int,
    g_per_kwh: float | None,
    watts: dict[str, float],
    own_j: float | None,
) -> dict[str, Any]:
    return {
        "time_s": end_s,
        "power_w": sum(watts.values()) if watts else None,
        "devices": watts,
        "requests_per_s": requests / window_s if window_s > 0 else None,
        "degraded_per_s": None,
        "latency_p50_ms": None,
        "latency_p99_ms": None,
        "reward_per_s": None,
        "energy_j_per_request": (own_j or 0.0) / requests if requests else None,
        "g_per_kwh": g_per_kwh,
        "constraints": {},
        "mix": {},
    }
