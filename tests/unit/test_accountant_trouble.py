"""Ledgers that fail, are removed or replaced under their writer: nothing is lost, and nothing is billed twice."""

import contextlib
import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from account_world import DIN, ERRORS, MLP, AccountWorld, Host, check, joules_in

from allocator.energy.windows import SERVING
from cluster.ledger.store import Ledger
from models.errors import GreenFlowError


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    ledger = Ledger.open(tmp_path / "ledger.db")
    yield ledger
    ledger.close()


@pytest.fixture
def world(ledger: Ledger) -> AccountWorld:
    return AccountWorld(ledger)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("how", ["down", "unwritten", "unheard"])
def test_windows_that_cannot_be_written_lose_nothing(world: AccountWorld, error: GreenFlowError, how: str) -> None:
    for _ in range(3):
        world.window()
    setattr(world.book, how, error)
    for _ in range(5):
        assert world.window().ledger_error == f"{type(error).__name__}: {error}"
    world.book.mend()
    assert world.window().ledger_error is None
    check(world)
    numbers = [account.number for account in world.book.accounts]
    assert numbers == list(range(1, len(numbers) + 1))


def test_the_window_after_an_outage_covers_it(world: AccountWorld) -> None:
    world.window()
    world.book.unwritten = ERRORS[0]
    for _ in range(4):
        world.window()
    world.book.mend()
    world.window()
    account = world.book.accounts[-1]
    assert account.window_s == pytest.approx(5.0)
    assert account.requests == 35
    assert [device.window_s for device in account.devices] == pytest.approx([5.0, 5.0])


def test_what_was_written_is_told_and_nothing_else(world: AccountWorld) -> None:
    told = [one for _ in range(2) for one in world.window().written]
    world.book.unwritten = ERRORS[0]
    assert [world.window().written for _ in range(3)] == [()] * 3
    world.book.mend()
    told += [one for _ in range(2) for one in world.window().written]
    assert told == world.book.accounts
    drawn = [device for account in told for device in account.devices if device.kind == "package"]
    assert sum(device.energy_j for device in drawn) == pytest.approx(joules_in(world.ledger)["web/package-0"])


def test_figures_of_windows_that_cannot_be_written_are_their_own(world: AccountWorld) -> None:
    world.window()
    world.book.down = ERRORS[1]
    world.window(watts=10.0)
    closed = world.window(watts=50.0)
    assert {device.device: device.energy_j for device in closed.devices} == pytest.approx(
        {"web/package-0": 50.0, "GPU-web": 100.0}
    )


def test_an_outage_of_hours_loses_nothing(world: AccountWorld) -> None:
    world.window()
    world.book.unwritten = ERRORS[1]
    for _ in range(5):
        world.window(seconds=1800.0)
    world.book.mend()
    world.window()
    assert joules_in(world.ledger)["web/package-0"] == pytest.approx(5 * 1800 * 30 + 30)
    check(world)


def test_windows_of_an_outage_are_put_down_to_the_hours_that_they_began_in(world: AccountWorld) -> None:
    fine, trouble = AccountWorld(Ledger(None)), world
    for here in (fine, trouble):
        here.window()
    trouble.book.unwritten = ERRORS[1]
    for here in (fine, trouble):
        for turn in range(40):
            here.window(seconds=300.0, watts=10.0 + turn, requests=turn)
    trouble.book.mend()
    for here in (fine, trouble):
        here.window()
    assert by_hour(trouble.ledger) == by_hour(fine.ledger)
    assert len(by_hour(fine.ledger)) > 3
    numbers = [account.number for account in trouble.book.accounts]
    assert numbers == list(range(1, len(numbers) + 1))
    check(trouble)


def by_hour(ledger: Ledger) -> list[tuple[float, ...]]:
    """When each hour began, its requests and its joules."""
    with ledger.use() as db:
        query = """SELECT w.start_s, w.requests, w.items, sum(d.energy_j) FROM window_total w JOIN device_total d
            ON d.span = w.span AND d.start_s = w.start_s WHERE w.span = 'hour' GROUP BY 1 ORDER BY 1"""
        return [(*row[:3], round(row[3], 6)) for row in db.execute(query)]


def test_an_outage_of_hours_that_began_before_the_first_window_loses_nothing(world: AccountWorld) -> None:
    world.window()
    world.window()
    world.begin()
    world.book.down = ERRORS[1]
    world.window()
    for _ in range(5):
        world.window(seconds=1800.0)
    world.book.mend()
    world.window()
    check(world)


def test_devices_that_join_meanwhile_are_billed_from_their_first_reading(world: AccountWorld) -> None:
    world.window()
    world.book.down = ERRORS[0]
    world.window()
    world.hosts.append(Host("gpu", "boot-2"))
    for _ in range(3):
        world.window()
    world.book.mend()
    world.window()
    assert joules_in(world.ledger)["gpu/package-0"] == pytest.approx(90.0)
    check(world)


def test_a_ledger_that_cannot_be_opened_at_first_has_all_since_the_first_reading(world: AccountWorld) -> None:
    world.book.down = ERRORS[1]
    for _ in range(4):
        closed = world.window()
        assert closed.ledger_error is not None
    assert closed.rates.joules.keys() == {DIN, MLP, SERVING}
    world.book.mend()
    world.window()
    assert joules_in(world.ledger)["web/package-0"] == pytest.approx(120.0)
    check(world)


def test_a_file_that_is_no_ledger_is_left_alone_and_a_ledger_is_begun_when_it_is_moved_away(tmp_path: Path) -> None:
    file = tmp_path / "ledger.db"
    world = AccountWorld(Ledger(None))
    world.book.ledger = world.ledger = Ledger(file)
    file.write_text("this is the diary of somebody else, and no ledger at all\n" * 20)
    for _ in range(3):
        assert str(world.window().ledger_error).startswith(f"FixFile: {file}: is damaged")
    file.unlink()
    assert world.window().ledger_error is None
    check(world)
    world.ledger.close()


def test_a_ledger_that_is_removed_under_its_writer_is_begun_anew_with_all_that_the_old_one_lacks(
    world: AccountWorld, tmp_path: Path
) -> None:
    for _ in range(3):
        world.window()
    before, from_j = joules_in(world.ledger), dict(world.billed_from)
    (tmp_path / "ledger.db").unlink()
    assert "was removed" in str(world.window().ledger_error)
    world.window()
    new = joules_in(world.ledger)
    assert {device: before[device] + new[device] for device in from_j} == pytest.approx(world.true_j())


def test_an_older_copy_of_the_ledger_is_billed_from_its_own_marks(world: AccountWorld, tmp_path: Path) -> None:
    for _ in range(3):
        world.window()
    with contextlib.closing(sqlite3.connect(tmp_path / "copy.db")) as copy, world.ledger.use() as db:
        db.backup(copy)
    for _ in range(3):
        world.window()
    (tmp_path / "copy.db").replace(tmp_path / "ledger.db")
    assert "was removed or replaced" in str(world.window().ledger_error)
    world.window()
    assert joules_in(world.ledger) == pytest.approx(world.true_j())


def test_the_error_is_said_once_and_its_end_once(world: AccountWorld, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    world.window()
    world.book.unwritten = ERRORS[0]
    world.window()
    world.book.down = ERRORS[1]
    for _ in range(4):
        world.window()
    world.book.mend()
    for _ in range(3):
        world.window()
    said = [(r.levelname, r.getMessage()) for r in caplog.records if r.name == "cluster.accountant"]
    assert [level for level, _ in said] == ["ERROR", "INFO"]
    assert "TryAgain: locked" in said[0][1]
    assert "written again" in said[1][1]
