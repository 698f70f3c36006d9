"""The ledger's tables, and the steps that bring an older file up to them.

Detail is a row per window and device, and a row per window and part: what a variant is put down to, a pool's idle
joules, and those that nobody is put down to. Totals hold the same sums by hour and by day (UTC), written with every
window, so that detail can be let go of. What repeats in every row stands once, in `device`, `part` and `footing`.

footing     how grams are known: average or marginal intensity, never mixed ('none' while nobody knows it), with the
            qualities of intensity and PUE
energy_j    joules of the machines; `facility_j` is that times PUE, and `grams` that times intensity / 3.6e6
mark        the counter of each device up to which it is billed
state       what the controller goes on from, such as prices; `version` is that of the value's own format
limit_change  who set which limit when, from what to what (all NULL for no limit); rows are only ever added
"""

import sqlite3
from collections.abc import Sequence
from pathlib import Path

from models.errors import FixFile

APPLICATION_ID = 0x47464C47
"""Marks an SQLite file as a ledger of GreenFlow: "GFLG"."""

_FIRST = """
CREATE TABLE device (id INTEGER PRIMARY KEY, device TEXT NOT NULL, pool TEXT NOT NULL, node TEXT NOT NULL,
    host TEXT NOT NULL, kind TEXT NOT NULL, source TEXT NOT NULL, epoch TEXT NOT NULL,
    UNIQUE (device, pool, node, host, kind, source, epoch));
CREATE TABLE part (id INTEGER PRIMARY KEY, pool TEXT NOT NULL, kind TEXT NOT NULL, stage TEXT NOT NULL,
    variant TEXT NOT NULL, UNIQUE (pool, kind, stage, variant));
CREATE TABLE footing (id INTEGER PRIMARY KEY, intensity_kind TEXT NOT NULL, intensity_quality TEXT NOT NULL,
    pue_quality TEXT NOT NULL, UNIQUE (intensity_kind, intensity_quality, pue_quality));
CREATE TABLE window (number INTEGER PRIMARY KEY, end_s REAL NOT NULL, window_s REAL NOT NULL,
    requests INTEGER NOT NULL, items INTEGER NOT NULL, policy_version INTEGER NOT NULL, intensity_g_per_kwh REAL,
    pue REAL NOT NULL, footing INTEGER NOT NULL);
CREATE TABLE device_window (window INTEGER NOT NULL, device INTEGER NOT NULL, quality TEXT NOT NULL,
    energy_j REAL NOT NULL, window_s REAL NOT NULL, counter_j REAL NOT NULL, fresh INTEGER NOT NULL,
    PRIMARY KEY (window, device, quality)) WITHOUT ROWID;
CREATE TABLE part_window (window INTEGER NOT NULL, part INTEGER NOT NULL, quality TEXT NOT NULL,
    calls INTEGER NOT NULL, items INTEGER NOT NULL, energy_j REAL NOT NULL,
    PRIMARY KEY (window, part, quality)) WITHOUT ROWID;
CREATE TABLE window_total (span TEXT NOT NULL, start_s INTEGER NOT NULL, windows INTEGER NOT NULL,
    window_s REAL NOT NULL, requests INTEGER NOT NULL, items INTEGER NOT NULL,
    PRIMARY KEY (span, start_s)) WITHOUT ROWID;
CREATE TABLE device_total (span TEXT NOT NULL, start_s INTEGER NOT NULL, device INTEGER NOT NULL,
    quality TEXT NOT NULL, footing INTEGER NOT NULL, energy_j REAL NOT NULL, facility_j REAL NOT NULL,
    grams REAL NOT NULL, PRIMARY KEY (span, start_s, device, quality, footing)) WITHOUT ROWID;
CREATE TABLE part_total (span TEXT NOT NULL, start_s INTEGER NOT NULL, part INTEGER NOT NULL,
    quality TEXT NOT NULL, footing INTEGER NOT NULL, calls INTEGER NOT NULL, items INTEGER NOT NULL,
    energy_j REAL NOT NULL, facility_j REAL NOT NULL, grams REAL NOT NULL,
    PRIMARY KEY (span, start_s, part, quality, footing)) WITHOUT ROWID;
CREATE TABLE mark (device TEXT PRIMARY KEY, host TEXT NOT NULL, epoch TEXT NOT NULL, counter_j REAL NOT NULL,
    at_s REAL NOT NULL, unix_s REAL NOT NULL) WITHOUT ROWID;
CREATE TABLE state (key TEXT PRIMARY KEY, version INTEGER NOT NULL, value BLOB NOT NULL, at_s REAL NOT NULL,
    author TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE progress (one INTEGER PRIMARY KEY CHECK (one = 1), number INTEGER NOT NULL, end_s REAL NOT NULL);
INSERT INTO progress VALUES (1, 0, 0)
"""

_LIMITS = """
CREATE TABLE limit_change (id INTEGER PRIMARY KEY, at_s REAL NOT NULL, author TEXT NOT NULL, name TEXT NOT NULL,
    before_kind TEXT, before_limit REAL, before_unit TEXT, after_kind TEXT, after_limit REAL, after_unit TEXT)
"""

STEPS: tuple[str, ...] = (_FIRST, _LIMITS)
"""Step n brings a file of schema n to n + 1; semicolons part its statements. Never change one that was released."""


def migrate(db: sqlite3.Connection, file: Path | str, steps: Sequence[str] = STEPS) -> None:
    """Bring the file to the newest schema, each step in a transaction of its own.

    Raises FixFile for a database that is no ledger, and for one of a newer schema.
    """
    version = check_ours(db, file, len(steps))
    try:
        for number, step in enumerate(steps[version:], start=version + 1):
            db.execute("BEGIN IMMEDIATE")
            for statement in step.split(";"):
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
            db.execute(f"PRAGMA user_version = {number}")
            db.execute("COMMIT")
    finally:
        if db.in_transaction:
            db.execute("ROLLBACK")


def check_ours(db: sqlite3.Connection, file: Path | str, newest: int = len(STEPS)) -> int:
    """The file's schema, 0 for an empty file. Raises FixFile for one that is not ours or too new."""
    version, owner = _pragma(db, "user_version"), _pragma(db, "application_id")
    (tables,) = db.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if owner != APPLICATION_ID and (owner or version or tables):
        raise FixFile(file, "", "is an SQLite database, but no ledger of GreenFlow: name another file")
    if version > newest:
        problem = f"was written by a newer GreenFlow (schema {version}, this one knows {newest})"
        raise FixFile(file, "user_version", f"{problem}: run that version, or name another file")
    return version


def _pragma(db: sqlite3.Connection, name: str) -> int:
    value: int = db.execute(f"PRAGMA {name}").fetchone()[0]
    return value
