"""What a controller goes on from: how far each device is billed, and what it wants to remember."""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mark:
    """Up to which counter a device is billed.

    device     unique in the whole cluster
    host       the machine whose counter it is
    epoch      counters of two epochs cannot be subtracted
    counter_j  the device's own counter, modulo its range
    at_s       CLOCK_BOOTTIME of the host when it was read, and `unix_s` the Unix time then
    """

    device: str
    host: str
    epoch: str
    counter_j: float
    at_s: float
    unix_s: float


@dataclass(frozen=True, slots=True)
class State:
    """A value to remember under a key. `version` is that of its format, `author` who set it ("" for the controller)."""

    key: str
    value: bytes
    version: int
    at_s: float
    author: str = ""


def put_marks(db: sqlite3.Connection, marks: Iterable[Mark]) -> None:
    """Remember these and no others: a device that is no longer among them has left."""
    rows = [(m.device, m.host, m.epoch, float(m.counter_j), float(m.at_s), float(m.unix_s)) for m in marks]
    db.execute("DELETE FROM mark")
    db.executemany("INSERT INTO mark VALUES (?, ?, ?, ?, ?, ?)", rows)


def all_marks(db: sqlite3.Connection) -> tuple[Mark, ...]:
    """Those of all devices, by name."""
    rows = db.execute("SELECT device, host, epoch, counter_j, at_s, unix_s FROM mark ORDER BY device")
    return tuple(Mark(*row) for row in rows)


def put_states(db: sqlite3.Connection, states: Iterable[State]) -> None:
    """Remember these instead of what stood under their keys."""
    rows = [(s.key, s.version, s.value, s.at_s, s.author) for s in states]
    db.executemany("INSERT OR REPLACE INTO state VALUES (?, ?, ?, ?, ?)", rows)


def state_of(db: sqlite3.Connection, key: str) -> State | None:
    """What stands under the key, None for nothing."""
    row = db.execute("SELECT key, value, version, at_s, author FROM state WHERE key = ?", (key,)).fetchone()
    return None if row is None else State(*row)
