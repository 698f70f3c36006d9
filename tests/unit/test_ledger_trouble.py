"""What goes wrong with the ledger's file: each has its own error, nothing is lost by it, and writing goes on after."""

import json
import sqlite3
import subprocess
import sys
from pathlib import Path

import ledger_full
import pytest
from ledger_windows import BOOT, HOST, MIDNIGHT_S, window

from cluster.ledger.connect import for_reading
from cluster.ledger.marks import Mark
from cluster.ledger.problems import explained
from cluster.ledger.schema import APPLICATION_ID, STEPS, migrate
from cluster.ledger.store import Ledger
from cluster.reporting.basis import Asked
from cluster.reporting.gather import gather_from
from models.errors import FixFile, FixSetup, GreenFlowError, TryAgain

PROC = Path("/proc")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ledger.sqlite"


def mark(counter_j: float) -> Mark:
    return Mark("package-0", HOST, BOOT, counter_j, 1.0, 2.0)


def test_a_full_disk_moves_no_mark_and_writing_goes_on_when_there_is_space(file: Path) -> None:
    ledger = Ledger.open(file)
    written = 0
    with ledger.use() as db:
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count = {pages + 2}")
    with pytest.raises(FixSetup, match=r"disk is full.*free some space"):  # noqa: PT012
        for number in range(1, 10_000):
            ledger.write(window(number, MIDNIGHT_S + number), [mark(number)])
            written = number
    assert written, "some must fit"
    assert ledger.last().number == written
    assert ledger.marks() == (mark(written),)
    with ledger.use() as db:
        db.execute("PRAGMA max_page_count = 1000000")
    assert ledger.write(window(written + 1, MIDNIGHT_S + written + 1), [mark(written + 1)])
    with ledger.use() as db:
        sums = db.execute("SELECT (SELECT count(*) FROM window), sum(energy_j) FROM device_total WHERE span = 'day'")
        assert sums.fetchone() == (written + 1, 10.0 * (written + 1))
    ledger.close()


def test_a_limit_on_the_size_of_files_is_an_error_that_passes(tmp_path: Path) -> None:
    script = Path(ledger_full.__file__)
    root = script.parents[2]
    command = [sys.executable, str(script), str(tmp_path / "ledger.sqlite")]
    path = {"PYTHONPATH": str(root)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, cwd=root, env=path)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["error"] == "FixSetup"
    assert "ledger.sqlite: the disk" in result["said"]
    assert result["failed"] >= 3, "it fails as long as the limit stands"
    assert result["kept"] == result["written"]
    assert result["joules"] == 10.0 * result["written"]


def test_a_locked_file_is_worth_another_try(file: Path) -> None:
    ledger = Ledger.open(file, busy_s=0.05)
    ledger.write(window(1), [mark(1)])
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(TryAgain, match="another process is writing"):
        ledger.write(window(2, MIDNIGHT_S + 2), [mark(2)])
    assert ledger.marks() == (mark(1),)
    other.execute("COMMIT")
    other.close()
    assert ledger.write(window(2, MIDNIGHT_S + 2), [mark(2)])
    ledger.close()


def test_a_second_writer_is_refused_and_told_who_writes(file: Path) -> None:
    first = Ledger.open(file)
    with pytest.raises(FixSetup, match=r"is being written by process \d+ on .*one writer.*stop that one"):
        Ledger.open(file)
    first.write(window(1))
    first.close()
    second = Ledger.open(file)
    assert second.last().number == 1
    second.close()


def test_a_file_that_is_no_database_is_left_alone(file: Path) -> None:
    file.write_text("a letter to my aunt, " * 100)
    for opened in (Ledger.open, for_reading):
        with pytest.raises(FixFile, match=r"ledger\.sqlite: is damaged.*move it aside"):
            opened(file)
    assert file.read_text().startswith("a letter to my aunt")


def test_a_database_of_somebody_else_is_left_alone(file: Path) -> None:
    other = sqlite3.connect(file)
    other.execute("CREATE TABLE mine (x)")
    other.commit()
    other.close()
    for opened in (Ledger.open, for_reading):
        with pytest.raises(FixFile, match="no ledger of GreenFlow"):
            opened(file)


def test_a_damaged_page_is_refused_with_a_remedy(file: Path) -> None:
    ledger = Ledger.open(file)
    for number in range(1, 200):
        ledger.write(window(number, MIDNIGHT_S + number))
    ledger.close()
    content = bytearray(file.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    file.write_bytes(content)
    with pytest.raises(FixFile, match=r"is damaged.*move it aside.*restore a copy"):  # noqa: PT012
        damaged = Ledger(file)
        damaged.write(window(200, MIDNIGHT_S + 200))
    damaged.close()
    assert file.stat().st_size >= len(content), "nothing is thrown away"


def test_after_a_damaged_file_is_moved_aside_the_same_writer_begins_a_new_one(file: Path) -> None:
    ledger = Ledger.open(file)
    ledger.write(window(1), [mark(1)])
    file.rename(file.with_name("old"))
    with pytest.raises(FixFile, match="removed or replaced"):
        ledger.write(window(2, MIDNIGHT_S + 2), [mark(2)])
    assert ledger.write(window(2, MIDNIGHT_S + 2), [mark(2)])
    assert ledger.marks() == (mark(2),)
    ledger.close()


def test_a_file_of_a_newer_version_is_refused(file: Path) -> None:
    Ledger.open(file).close()
    raised = sqlite3.connect(file)
    raised.execute(f"PRAGMA user_version = {len(STEPS) + 1}")
    raised.close()
    for opened in (Ledger.open, for_reading):
        with pytest.raises(FixFile, match="newer GreenFlow"):
            opened(file)


def test_a_file_of_an_older_version_is_brought_up_to_date_step_by_step() -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    migrate(db, "f", ["CREATE TABLE a (x); INSERT INTO a VALUES (1)"])
    migrate(db, "f", ["never run again", "ALTER TABLE a ADD COLUMN y DEFAULT 2", "UPDATE a SET x = 3"])
    assert db.execute("SELECT x, y FROM a").fetchall() == [(3, 2)]
    assert db.execute("PRAGMA user_version").fetchone() == (3,)
    assert db.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    db.close()


def test_a_step_that_fails_leaves_the_file_as_it_was() -> None:
    db = sqlite3.connect(":memory:", isolation_level=None)
    migrate(db, "f", ["CREATE TABLE a (x)"])
    with pytest.raises(sqlite3.OperationalError):
        migrate(db, "f", ["", "CREATE TABLE b (x); CREATE TABLE a (x)"])
    assert db.execute("PRAGMA user_version").fetchone() == (1,)
    assert db.execute("SELECT name FROM sqlite_master").fetchall() == [("a",)]
    db.close()


def test_a_reader_of_what_is_not_there_or_empty_is_told_so(file: Path) -> None:
    with pytest.raises(FixFile, match="is not there"):
        for_reading(file)
    file.touch()
    with pytest.raises(FixFile, match="nothing has been billed"):
        for_reading(file)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(FixSetup, match=r"taken.*name another ledger file"):
        Ledger.open(tmp_path / "taken" / "ledger.sqlite")


@pytest.mark.skipif(not PROC.is_dir(), reason="needs a folder in which nobody may make files")
def test_a_folder_that_may_not_be_written_is_named() -> None:
    with pytest.raises(FixSetup, match=r"/proc/ledger\.sqlite.*cannot be written"):
        Ledger.open(PROC / "ledger.sqlite")


def test_a_reader_needs_no_right_to_write(file: Path) -> None:
    ledger = Ledger.open(file)
    ledger.write(window(1))
    ledger.close()
    db = for_reading(file)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        db.execute("DELETE FROM window")
    db.close()


CODES = sorted({code for name, code in vars(sqlite3).items() if name.startswith("SQLITE_") and isinstance(code, int)})


@pytest.mark.parametrize("kind", [sqlite3.Error, sqlite3.OperationalError, sqlite3.IntegrityError, sqlite3.DataError])
def test_whatever_sqlite_says_is_one_of_ours_and_names_the_file(kind: type[sqlite3.Error]) -> None:
    for code in CODES:
        error = kind("what it says")
        error.sqlite_errorcode = code
        said = explained(error, "ledger.sqlite")
        assert isinstance(said, FixFile | FixSetup | TryAgain)
        assert "ledger.sqlite" in str(said)
        assert "what it says" in str(said)


def test_a_table_that_somebody_dropped_is_told_with_a_remedy_and_the_writer_stays_usable(file: Path) -> None:
    ledger = Ledger.open(file)
    ledger.write(window(1), [mark(1)])
    other = sqlite3.connect(file)
    other.execute("ALTER TABLE state RENAME TO hidden")
    other.commit()
    with pytest.raises(
        FixFile, match=r"ledger\.sqlite: does not hold what a ledger does.*no such table.*move it aside"
    ):
        ledger.state("prices")
    other.execute("ALTER TABLE hidden RENAME TO state")
    other.commit()
    other.close()
    assert ledger.state("prices") is None
    assert ledger.last().number == 1
    ledger.close()


def test_a_connection_beyond_use_is_worth_another_try(file: Path) -> None:
    ledger = Ledger.open(file)
    ledger.write(window(1), [mark(1)])
    with ledger.use() as db:
        db.close()
    with pytest.raises(TryAgain, match="could not be used this time"):
        ledger.last()
    assert ledger.last().number == 1
    ledger.close()


def test_a_reader_of_a_ledger_without_its_tables_is_told_too(file: Path) -> None:
    ledger = Ledger.open(file)
    ledger.write(window(1))
    ledger.close()
    with sqlite3.connect(file) as other:
        other.execute("DROP TABLE window_total")
    other.close()
    with pytest.raises(GreenFlowError, match="no such table"):
        gather_from(file, "hour", Asked(None, None, MIDNIGHT_S))
