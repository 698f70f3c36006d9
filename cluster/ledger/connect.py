"""Opens SQLite files as the ledger needs them."""

import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from cluster.ledger.problems import explained
from cluster.ledger.schema import STEPS, check_ours, migrate
from models.errors import FixFile, FixSetup

WAL_BYTES = 16 << 20
T = TypeVar("T")


def for_writing(file: Path | None, busy_s: float) -> sqlite3.Connection:
    """A connection for the one writer, with the newest schema; None for a ledger in memory.

    Every commit is synced to the disk (synchronous=FULL): one sync a window is cheap, and a bill that was written
    survives a power cut too. Transactions are begun and ended by hand. Errors as `explained` says.
    """
    db = _connect(":memory:" if file is None else str(file), busy_s)
    name = "the ledger in memory" if file is None else file
    try:
        (mode,) = db.execute("PRAGMA journal_mode = WAL").fetchone()
        if file is not None and mode != "wal":
            raise FixSetup(f"{file}: the file system there cannot share memory (a network one?): name a local disk")
        db.execute("PRAGMA synchronous = FULL")
        db.execute(f"PRAGMA journal_size_limit = {WAL_BYTES}")
        migrate(db, name)
    except BaseException as error:
        db.close()
        if isinstance(error, sqlite3.Error):
            raise explained(error, name) from error
        raise
    return db


def for_reading(file: Path, busy_s: float = 2.0) -> sqlite3.Connection:
    """A connection that changes nothing; a writer may be at work meanwhile.

    Raises FixFile where there is no ledger of this schema, else as `explained` says.
    """
    if not file.is_file():
        raise FixFile(file, "", "is not there: a ledger is begun with the first window that is billed")
    uri = f"{file.absolute().as_uri()}?mode=ro"
    if not file.with_name(file.name + "-wal").exists() and not _writable(file.parent):
        uri += "&immutable=1"  # all of it is in the file, and a file for shared memory could not be made
    db = _connect(uri, busy_s, uri=True)
    try:
        version = check_ours(db, file)
        if version == 0:
            raise FixFile(file, "", "is empty: nothing has been billed yet")
        if version < len(STEPS):
            remedy = "start greenflow up with it once, which brings it up to date"
            raise FixFile(file, "user_version", f"is of schema {version}, this version reads {len(STEPS)}: {remedy}")
    except BaseException as error:
        db.close()
        if isinstance(error, sqlite3.Error):
            raise explained(error, file) from error
        raise
    return db


def read_from(file: Path, read: Callable[[sqlite3.Connection], T]) -> T:
    """What `read` finds in a ledger, on a connection of its own, so that no writer is held up. Raises as
    `for_reading`."""
    db = for_reading(file)
    try:
        return read(db)
    except sqlite3.Error as error:
        raise explained(error, file) from error
    finally:
        db.close()


def _connect(name: str, busy_s: float, uri: bool = False) -> sqlite3.Connection:
    try:
        return sqlite3.connect(name, timeout=busy_s, isolation_level=None, check_same_thread=False, uri=uri)
    except sqlite3.Error as error:
        raise explained(error, name) from error


def _writable(folder: Path) -> bool:
    return os.access(folder, os.W_OK)
