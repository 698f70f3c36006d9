"""What an error of SQLite means for whoever runs the ledger."""

import sqlite3
from pathlib import Path

from models.errors import FixFile, FixSetup, GreenFlowError, TryAgain

_LATER = "what counters hold is billed when it can be written again"
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_PASSING = (sqlite3.SQLITE_PROTOCOL, sqlite3.SQLITE_INTERRUPT, sqlite3.SQLITE_SCHEMA, sqlite3.SQLITE_ABORT)
_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_SETUP = {
    sqlite3.SQLITE_FULL: f"the disk is full: free some space; {_LATER}",
    sqlite3.SQLITE_IOERR: f"the disk refuses to read or write: look at its space, quota and health; {_LATER}",
    sqlite3.SQLITE_NOMEM: f"there is no memory left to use it: free some; {_LATER}",
    sqlite3.SQLITE_NOLFS: "is larger than the file system can hold: name another ledger file",
    sqlite3.SQLITE_READONLY: "may not be written by this user: change the rights of file and folder, or name another",
    sqlite3.SQLITE_PERM: "may not be opened by this user: change the rights of file and folder, or name another",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: the folder must exist and this user must be allowed to write there",
}
_MISUSED = (sqlite3.ProgrammingError, sqlite3.InterfaceError)
"""What has no code of SQLite's own: a connection that is closed, or beyond use. The next call opens another."""
_MISTAKES = (sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_MISUSE, sqlite3.SQLITE_RANGE)


def explained(error: sqlite3.Error, file: Path | str) -> GreenFlowError:
    """The error as one of ours, named by what to do about it.

    TryAgain where somebody else holds the file, or the connection is beyond use; FixSetup where the disk or its rights
    are in the way, or this version is at fault; FixFile where its content is broken, or not as this version has it:
    all else that SQLite can say.
    """
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte; the others tell variants of it
    if code in _BUSY:
        return TryAgain(f"{file}: another process is writing to it ({error}); {_LATER}")
    if code in _PASSING or (not code and isinstance(error, _MISUSED)):
        return TryAgain(f"{file}: could not be used this time ({error}); {_LATER}")
    if code in _SETUP:
        return FixSetup(f"{file}: {_SETUP[code]} ({error})")
    if code in _MISTAKES:
        return FixSetup(f"{file}: refuses what this version writes ({error}), which is a mistake in it: report it")
    remedy = "move it aside (sqlite3 OLD .recover may save it) and a new one is begun, or restore a copy"
    what = "is damaged" if code in _BROKEN else "does not hold what a ledger does"
    return FixFile(file, "", f"{what} ({error}): {remedy}")
