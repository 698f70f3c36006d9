"""What `GET /v1/energy` answers, from the ledger."""

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from allocator.emissions import Kind, grams_of
from allocator.joules import Quality, worst
from cluster.ledger.entries import IDLE, NO_INTENSITY, SHARE, UNATTRIBUTED
from cluster.ledger.read import Period, known_period
from cluster.reporting.gather import totals
from cluster.reporting.model import Total

K = TypeVar("K")


class EnergyWindow(BaseModel):
    """One window: what devices drew in it, and what that is put down to."""

    model_config = ConfigDict(frozen=True)

    number: int
    end_s: Annotated[float, Field(description="Unix time.")]
    window_s: float
    requests: int
    items: int
    policy_version: int
    energy_j: float
    attributed_j: float
    idle_j: float
    unattributed_j: float
    quality: Annotated[Quality, Field(description="The worst of its devices'.")]
    pue: float
    intensity: Kind | None
    intensity_g_per_kwh: float | None
    co2e_g: Annotated[float | None, Field(description="Null while nobody knows the intensity.")]


class EnergyResponse(BaseModel):
    """All that the ledger holds, and its newest windows, the last one first."""

    model_config = ConfigDict(frozen=True)

    since_s: Annotated[float | None, Field(description="Unix time of the day with which the ledger begins.")]
    total: Total
    windows: list[EnergyWindow]


def energy(db: sqlite3.Connection, newest: int = 60) -> EnergyResponse:
    """The answer, with so many windows at most."""
    period = known_period(db, "day")
    total = totals(db, period or Period("day", 0, 0))
    return EnergyResponse(
        since_s=None if period is None else float(period.since_s), total=total, windows=_windows(db, newest)
    )


def _windows(db: sqlite3.Connection, newest: int) -> list[EnergyWindow]:
    query = """SELECT number, end_s, window_s, requests, items, policy_version, pue, intensity_g_per_kwh,
        f.intensity_kind FROM window JOIN footing f ON f.id = footing ORDER BY number DESC LIMIT ?"""
    rows = db.execute(query, (newest,)).fetchall()
    oldest = rows[-1][0] if rows else 0
    drawn, parts = _drawn(db, oldest), _parts(db, oldest)
    return [_window(row, drawn.get(row[0], {}), parts.get(row[0], {})) for row in rows]


def _window(row: tuple[Any, ...], drawn: Mapping[Quality, float], parts: Mapping[str, float]) -> EnergyWindow:
    number, end_s, window_s, requests, items, policy_version, pue, intensity_g_per_kwh, kind = row
    energy_j = sum(drawn.values())
    return EnergyWindow(
        number=number,
        end_s=end_s,
        window_s=window_s,
        requests=requests,
        items=items,
        policy_version=policy_version,
        energy_j=energy_j,
        attributed_j=parts.get(SHARE, 0.0),
        idle_j=parts.get(IDLE, 0.0),
        unattributed_j=parts.get(UNATTRIBUTED, 0.0),
        quality=worst(drawn),
        pue=pue,
        intensity=None if kind == NO_INTENSITY else Kind(kind),
        intensity_g_per_kwh=intensity_g_per_kwh,
        co2e_g=None if intensity_g_per_kwh is None else grams_of(energy_j, pue, intensity_g_per_kwh),
    )


def _drawn(db: sqlite3.Connection, oldest: int) -> Mapping[int, Mapping[Quality, float]]:
    """Joules of devices by quality, of the windows from number `oldest` on."""
    rows = db.execute(
        "SELECT window, quality, sum(energy_j) FROM device_window WHERE window >= ? GROUP BY 1, 2", (oldest,)
    )
    return _nested((window, Quality(quality), energy_j) for window, quality, energy_j in rows)


def _parts(db: sqlite3.Connection, oldest: int) -> Mapping[int, Mapping[str, float]]:
    """Joules by what they are put down to, of the windows from number `oldest` on."""
    query = """SELECT t.window, n.kind, sum(t.energy_j) FROM part_window t JOIN part n ON n.id = t.part
        WHERE t.window >= ? GROUP BY 1, 2"""
    return _nested(db.execute(query, (oldest,)))


def _nested(rows: Iterable[tuple[int, K, float]]) -> Mapping[int, Mapping[K, float]]:
    found: dict[int, dict[K, float]] = {}
    for window, key, energy_j in rows:
        found.setdefault(window, {})[key] = energy_j
    return found
