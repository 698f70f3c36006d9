"""The detail of one window: what it was, a row per device, and a row per part that joules are put down to."""

import math
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from allocator.emissions import Kind
from allocator.joules import WindowAccount
from cluster.ledger.names import Numbers

SHARE, IDLE, UNATTRIBUTED = "share", "idle", "unattributed"
NO_INTENSITY = "none"

_WINDOW = "INSERT INTO window VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_DEVICE = """INSERT INTO device_window VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (window, device, quality)
    DO UPDATE SET energy_j = energy_j + excluded.energy_j, window_s = window_s + excluded.window_s,
    counter_j = excluded.counter_j, fresh = max(fresh, excluded.fresh)"""
_PART = """INSERT INTO part_window VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (window, part, quality)
    DO UPDATE SET calls = calls + excluded.calls, items = items + excluded.items,
    energy_j = energy_j + excluded.energy_j"""


@dataclass(frozen=True, slots=True)
class DeviceEntry:
    """A device's joules in a window; `id` is that of the table `device`."""

    id: int
    quality: str
    energy_j: float
    window_s: float
    counter_j: float
    fresh: bool


@dataclass(frozen=True, slots=True)
class PartEntry:
    """Joules of a pool put down to a variant, or those idle or unattributed; `id` is that of the table `part`."""

    id: int
    quality: str
    calls: int
    items: int
    energy_j: float


@dataclass(frozen=True, slots=True)
class Entry:
    """A window as it is written; `footing` is the id of how its grams are known."""

    account: WindowAccount
    footing: int
    devices: tuple[DeviceEntry, ...]
    parts: tuple[PartEntry, ...]


def entry_of(db: sqlite3.Connection, numbers: Numbers, account: WindowAccount, intensity: Kind) -> Entry:
    """The window with its names as numbers. To be called in a transaction, for new names are written.

    intensity  what the account's is; where it has none the footing says so, whatever is given
    Raises ValueError where a figure is no number, or a device gave joules back: totals could never be mended.
    """
    check(account)
    kind = NO_INTENSITY if account.intensity_g_per_kwh is None else intensity.value
    footing = numbers.of(db, "footing", kind, account.intensity_quality.value, account.pue_quality.value)
    return Entry(account, footing, tuple(_devices(db, numbers, account)), tuple(_parts(db, numbers, account)))


def check(account: WindowAccount) -> None:
    """Raise ValueError for figures that may not be written."""
    figures = [account.end_s, account.window_s, account.pue, account.intensity_g_per_kwh or 0.0]
    figures += [share.energy_j for share in account.shares]
    figures += [figure for pool in account.pools for figure in (pool.idle_j, pool.unattributed_j)]
    if not all(map(math.isfinite, figures)):
        raise ValueError(f"window {account.number}: every figure must be finite, got {account}")
    for device in account.devices:
        if not (math.isfinite(device.energy_j) and device.energy_j >= 0):
            raise ValueError(f"window {account.number}: device {device.device} drew {device.energy_j} joules")


def add_detail(db: sqlite3.Connection, entry: Entry) -> None:
    """Insert the window's rows; its number must be new."""
    account = entry.account
    number, intensity = account.number, account.intensity_g_per_kwh
    window = (number, float(account.end_s), float(account.window_s), int(account.requests), int(account.items))
    db.execute(_WINDOW, (*window, int(account.policy_version), intensity, float(account.pue), entry.footing))
    devices = [(number, d.id, d.quality, d.energy_j, d.window_s, d.counter_j, int(d.fresh)) for d in entry.devices]
    db.executemany(_DEVICE, devices)
    db.executemany(_PART, [(number, p.id, p.quality, p.calls, p.items, p.energy_j) for p in entry.parts])


def _devices(db: sqlite3.Connection, numbers: Numbers, account: WindowAccount) -> Iterator[DeviceEntry]:
    for one in account.devices:
        number = numbers.of(db, "device", one.device, one.pool, one.node, one.host, one.kind, one.source, one.epoch)
        figures = (float(one.energy_j), float(one.window_s), float(one.counter_j))
        yield DeviceEntry(number, one.quality.value, *figures, one.fresh)


def _parts(db: sqlite3.Connection, numbers: Numbers, account: WindowAccount) -> Iterator[PartEntry]:
    """Shares first; what did nothing and drew nothing is left out."""
    for share in account.shares:
        if share.calls or share.items or share.energy_j:
            number = numbers.of(db, "part", share.pool, SHARE, share.stage, share.variant)
            calls, items = int(share.calls), int(share.items)  # of numpy's integers SQLite would make blobs
            yield PartEntry(number, share.quality.value, calls, items, float(share.energy_j))
    for pool in account.pools:
        for kind, energy_j in ((IDLE, pool.idle_j), (UNATTRIBUTED, pool.unattributed_j)):
            if energy_j:
                number = numbers.of(db, "part", pool.pool, kind, "", "")
                yield PartEntry(number, pool.quality.value, 0, 0, float(energy_j))
