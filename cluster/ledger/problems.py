"""What an error of SQLite means for whoever runs the ledger."""

import sqlite3
from pathlib import Path

from models.errors import FixFile, FixSetup, GreenFlowError, TryAgain

_LATER = "what counters hold is billed when it can be written again"
_BUSY = (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_SETUP = {
    sqlite3.SQLITE_FULL: f"the disk is full: free some space; {_LATER}",
    sqlite3.SQLITE_IOERR: f"the disk refuses to read or write: look at its space, quota and health; {_LATER}",
    sqlite3.SQLITE_READONLY: "may not be written by this user: change the rights of file and folder, or name another",
    sqlite3.SQLITE_PERM: "may not be opened by this user: change the rights of file and folder, or name another",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: the folder must exist and this user must be allowed to write there",
}


def explained(error: sqlite3.Error, file: Path | str) -> GreenFlowError | None:
    """The error as one of ours, named by what to do about it; None where it is a mistake in the program.

    TryAgain where somebody else holds the file, FixFile where its content is broken, FixSetup where the disk or its
    rights are in the way.
    """
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # the low byte; the others tell variants of it
    if code in _BUSY:
        return TryAgain(f"{file}: another process is writing to it ({error}); {_LATER}")
    if code in _BROKEN:
        remedy = "move it aside (sqlite3 OLD .recover may save it) and a new one is begun, or restore a copy"
        return FixFile(file, "", f"is damaged ({error}): {remedy}")
    if code in _SETUP:
        return FixSetup(f"{file}: {_SETUP[code]} ({error})")
    return None
