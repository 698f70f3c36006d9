"""The ledger's history of limits, and ledgers that were begun before there was one."""

import sqlite3
from pathlib import Path

import pytest
from ledger_windows import window

from allocator.limits import Kind, Limit
from cluster.ledger.changes import LimitChange
from cluster.ledger.connect import for_reading
from cluster.ledger.marks import State
from cluster.ledger.schema import STEPS, migrate
from cluster.ledger.store import Ledger
from models.errors import FixFile, FixSetup

POWER, CARBON = Limit("cap", Kind.POWER, 150.0, "W"), Limit("cap", Kind.CARBON, 40, "g/h")


def test_changes_come_back_newest_first_after_a_restart(tmp_path: Path) -> None:
    changes = [
        LimitChange(1.5, "anna", "cap", None, POWER),
        LimitChange(1.5, "bo", "cap", POWER, CARBON),
        LimitChange(0.5, "settings", "cap", CARBON, None),
    ]
    ledger = Ledger.open(tmp_path / "ledger.sqlite")
    ledger.remember([], changes[:2])
    ledger.remember([State("limits", b"x", 1, 2.0)], changes[2:])
    ledger.close()
    again = Ledger.open(tmp_path / "ledger.sqlite")
    assert again.changes(10) == tuple(reversed(changes)), "in the order of writing, whatever the clock says"
    assert again.changes(1) == (changes[2],)
    assert again.changes(0) == ()
    again.close()


def test_a_change_is_written_with_what_is_remembered_or_not_at_all() -> None:
    ledger = Ledger.open(None)
    bad = LimitChange(1.0, "anna", "cap", None, POWER)
    object.__setattr__(bad, "name", None)
    with pytest.raises(FixSetup, match="report it"):
        ledger.remember([State("limits", b"new", 1, 1.0)], [bad])
    assert (ledger.state("limits"), ledger.changes(9)) == (None, ())


def test_a_ledger_of_the_first_schema_is_brought_up_to_date_with_all_that_is_in_it(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite"
    old = sqlite3.connect(file, isolation_level=None)
    migrate(old, file, STEPS[:1])
    old.execute("INSERT INTO state VALUES ('prices', 3, x'0001', 50.0, 'somebody')")
    old.close()
    with pytest.raises(FixFile, match=r"of schema 1.*start greenflow up with it once"):
        for_reading(file)
    ledger = Ledger.open(file)
    assert ledger.state("prices") == State("prices", b"\x00\x01", 3, 50.0, "somebody")
    assert ledger.changes(9) == ()
    ledger.remember([], [LimitChange(1.0, "anna", "cap", None, POWER)])
    ledger.write(window(1))
    ledger.close()
    db = for_reading(file)
    assert db.execute("PRAGMA user_version").fetchone() == (len(STEPS),)
    db.close()
