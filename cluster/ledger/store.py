"""The ledger's one writer."""

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from allocator.emissions import Kind
from allocator.joules import WindowAccount
from cluster.ledger.changes import LimitChange, add_changes, newest_changes
from cluster.ledger.connect import for_writing
from cluster.ledger.entries import add_detail, entry_of
from cluster.ledger.lease import Lease
from cluster.ledger.marks import Mark, State, all_marks, put_marks, put_states, state_of
from cluster.ledger.names import Numbers
from cluster.ledger.problems import explained
from cluster.ledger.prune import Retention, prune
from cluster.ledger.totals import add_totals
from models.errors import FixFile, FixSetup

BUSY_S = 0.5
KEPT = Retention()


@dataclass(frozen=True, slots=True)
class Last:
    """The newest window that is written: its number, 0 before the first, and its end in Unix time."""

    number: int
    end_s: float


class Ledger:
    """Keeps windows in a file. A window, how far its devices are then billed, and what the controller wants to
    remember are one transaction: all of it is on the disk when `write` returns, or nothing ever was written.

    May be used from several threads. An error leaves it usable: the next call opens the file anew if need be. Errors
    are FixSetup (disk full, rights, a second writer), FixFile (damaged, no ledger, too new) and TryAgain (locked); no
    error of SQLite comes through as it is.

    file  where; None for a ledger in memory, of which nothing survives
    """

    def __init__(self, file: Path | None, retention: Retention = KEPT, busy_s: float = BUSY_S) -> None:
        self._file, self._retention, self._busy_s = file, retention, busy_s
        self._lease = None if file is None else Lease(file)
        self._numbers = Numbers()
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._inode = 0

    @classmethod
    def open(cls, file: Path | None, retention: Retention = KEPT, busy_s: float = BUSY_S) -> "Ledger":
        """A ledger whose file is open: begun if it was not there, brought up to date if it is of an older version."""
        ledger = cls(file, retention, busy_s)
        try:
            with ledger.use():
                return ledger
        except BaseException:
            ledger.close()
            raise

    def write(
        self,
        account: WindowAccount,
        marks: Sequence[Mark] | None = None,
        states: Sequence[State] = (),
        intensity: Kind = Kind.AVERAGE,
        before: Sequence[WindowAccount] = (),
    ) -> bool:
        """Write a window down, with what is to be remembered at its end. False when it is written already.

        marks      how far all devices are billed then, instead of those of before; None to leave these as they are
        states     each instead of what stood under its key; others stay
        intensity  what the accounts' intensity is
        before     windows before it that are not written, in order: all of them are, or none is
        Raises ValueError for a number that another window has taken, and for figures that are none.
        """
        with self._transaction() as db:
            if _is_written(db, account):
                return False
            _check_order(db, (*before, account))
            for one in (*before, account):
                entry = entry_of(db, self._numbers, one, intensity)
                add_detail(db, entry)
                add_totals(db, entry)
            if marks is not None:
                put_marks(db, marks)
            put_states(db, states)
            db.execute("UPDATE progress SET number = ?, end_s = ?", (account.number, account.end_s))
            prune(db, account.end_s, self._retention)
        return True

    def remember(self, states: Sequence[State], changes: Sequence[LimitChange] = ()) -> None:
        """Remember something without a window, and in the same transaction which limits changed by it."""
        with self._transaction() as db:
            put_states(db, states)
            add_changes(db, changes)

    def last(self) -> Last:
        """The newest window; the next one's number is higher."""
        with self.use() as db:
            return Last(*db.execute("SELECT number, end_s FROM progress").fetchone())

    def marks(self) -> tuple[Mark, ...]:
        """How far each device is billed."""
        with self.use() as db:
            return all_marks(db)

    def state(self, key: str) -> State | None:
        """What was remembered under `key`, None for nothing."""
        with self.use() as db:
            return state_of(db, key)

    def changes(self, most: int) -> tuple[LimitChange, ...]:
        """Changes of limits, the newest first."""
        with self.use() as db:
            return newest_changes(db, most)

    def close(self) -> None:
        """Close the file, and let another writer have it. A later call opens it again."""
        with self._lock:
            self._drop()
            if self._lease is not None:
                self._lease.release()

    @contextlib.contextmanager
    def use(self) -> Iterator[sqlite3.Connection]:
        """The connection, for one thread at a time; to read. Its errors become ours."""
        with self._lock:
            try:
                yield self._connected()
            except sqlite3.Error as error:
                self._recover()
                raise explained(error, self._file or "the ledger in memory") from error
            except BaseException:
                self._recover()
                raise

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self.use() as db:
            db.execute("BEGIN IMMEDIATE")
            yield db
            db.execute("COMMIT")

    def _connected(self) -> sqlite3.Connection:
        if self._db is not None and self._file is not None and _inode(self._file) != self._inode:
            self._drop()
            raise FixFile(self._file, "", "was removed or replaced under its writer: what is there now is used instead")
        if self._db is None:
            if self._file is not None and self._lease is not None:
                _make_folder(self._file)
                self._lease.take()
            self._db = for_writing(self._file, self._busy_s)
            self._inode = 0 if self._file is None else _inode(self._file)
        return self._db

    def _recover(self) -> None:
        """Roll back what was begun. Where even that fails the file is opened anew next time; nothing in it changes."""
        self._numbers.forget()
        if self._db is None:
            return
        try:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            self._db.execute("SELECT 1")
        except sqlite3.Error:
            self._drop()

    def _drop(self) -> None:
        self._numbers.forget()
        if self._db is not None:
            self._db.close()
            self._db = None


def _is_written(db: sqlite3.Connection, account: WindowAccount) -> bool:
    """Whether the account is in already. Raises ValueError where its number means another window."""
    last = Last(*db.execute("SELECT number, end_s FROM progress").fetchone())
    if account.number > last.number:
        return False
    row = db.execute("SELECT end_s FROM window WHERE number = ?", (account.number,)).fetchone()
    if row is None or row[0] != account.end_s:
        raise ValueError(f"window {account.number} is another one in this ledger, whose newest is {last.number}")
    return True


def _check_order(db: sqlite3.Connection, accounts: Sequence[WindowAccount]) -> None:
    """Raises ValueError unless their numbers ascend from beyond the newest window's."""
    (number,) = db.execute("SELECT number FROM progress").fetchone()
    for one in accounts:
        if one.number <= number:
            raise ValueError(f"window {one.number} cannot follow window {number}")
        number = one.number


def _make_folder(file: Path) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FixSetup(f"{file.parent}: cannot be made ({error.strerror}); name another ledger file") from None


def _inode(file: Path) -> int:
    try:
        return file.stat().st_ino
    except OSError:
        return 0
