"""What the ledger keeps, sums up, lets go of, and remembers."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_windows import BOOT, HOST, MIDNIGHT_S, device, share, window

from allocator.emissions import Kind
from allocator.joules import PoolAccount, Quality, WindowAccount
from cluster.ledger.connect import for_reading
from cluster.ledger.marks import Mark, State
from cluster.ledger.prune import MOST_WINDOWS, Retention
from cluster.ledger.read import Period, devices_by, known_period, parts_by, traffic_by
from cluster.ledger.store import Last, Ledger
from cluster.ledger.totals import DAY_S, HOUR_S

DAY = Period("day", MIDNIGHT_S, MIDNIGHT_S + DAY_S)


def mark(counter_j: float, name: str = "package-0") -> Mark:
    return Mark(name, HOST, BOOT, counter_j, 100.0, MIDNIGHT_S)


def kept(ledger: Ledger, query: str) -> list[tuple[object, ...]]:
    with ledger.use() as db:
        return db.execute(query).fetchall()


@pytest.fixture
def ledger() -> Ledger:
    """In memory: what is written and read is the same, and nothing need be synced."""
    return Ledger.open(None)


def test_a_window_is_kept_by_device_and_by_part(ledger: Ledger) -> None:
    assert ledger.write(window(1))
    assert kept(ledger, "SELECT n.device, t.energy_j FROM device_window t JOIN device n ON n.id = t.device") == [
        ("package-0", 10.0)
    ]
    parts = "SELECT n.kind, n.stage, n.variant, t.energy_j FROM part_window t JOIN part n ON n.id = t.part ORDER BY 4"
    assert kept(ledger, parts) == [
        ("unattributed", "", "", 1.0),
        ("idle", "", "", 4.0),
        ("share", "rank", "din", 5.0),
    ]
    assert kept(ledger, "SELECT number, requests, items, policy_version, pue FROM window") == [(1, 10, 100, 7, 1.5)]


def test_what_is_written_is_there_when_the_file_is_opened_again(tmp_path: Path) -> None:
    file = tmp_path / "new" / "folder" / "ledger.sqlite"
    prices = State("prices", b"\x00\x01", 3, 50.0, "somebody")
    first = Ledger.open(file)
    first.write(window(1), [mark(1010.0), mark(7.0, "gpu")], [prices])
    first.write(window(2, MIDNIGHT_S + 2), [mark(1020.0)])
    first.write(window(3, MIDNIGHT_S + 3))
    first.close()
    again = Ledger.open(file)
    assert again.last() == Last(3, MIDNIGHT_S + 3)
    assert again.marks() == (mark(1020.0),), "of the gpu, which had left, nothing is remembered"
    assert again.state("prices") == prices
    assert again.state("limits") is None
    assert len(kept(again, "SELECT 1 FROM window")) == 3
    again.close()


def test_something_can_be_remembered_without_a_window(ledger: Ledger) -> None:
    ledger.remember([State("limits", b"old", 1, 1.0)])
    ledger.remember([State("limits", b"new", 1, 2.0, "operator")])
    assert ledger.state("limits") == State("limits", b"new", 1, 2.0, "operator")
    assert ledger.last().number == 0


def test_a_window_that_is_written_twice_counts_once(ledger: Ledger) -> None:
    assert ledger.write(window(1), [mark(10.0)])
    assert not ledger.write(window(1), [mark(20.0)])
    assert ledger.marks() == (mark(10.0),), "nothing of the second time is kept"
    with ledger.use() as db:
        assert devices_by(db, DAY)[()].energy_j == 10.0


def test_a_number_that_another_window_has_is_refused(ledger: Ledger) -> None:
    ledger.write(window(5))
    for taken in (window(5, MIDNIGHT_S + 9), window(4)):
        with pytest.raises(ValueError, match="is another one"):
            ledger.write(taken)
    assert ledger.write(window(9, MIDNIGHT_S + 2)), "numbers may be left out"


def test_windows_that_waited_are_written_with_the_next_one_or_none_is(ledger: Ledger) -> None:
    ledger.write(window(1))
    waited = [window(2, MIDNIGHT_S + 2), window(3, MIDNIGHT_S + HOUR_S + 1)]
    torn = window(4, devices=(device(float("nan")),), shares=(), pools=())
    with pytest.raises(ValueError, match="window 4"):
        ledger.write(torn, before=waited)
    assert ledger.last().number == 1
    with pytest.raises(ValueError, match="window 3 cannot follow window 3"):
        ledger.write(window(3, MIDNIGHT_S + HOUR_S + 1), before=waited)
    assert ledger.write(window(4, MIDNIGHT_S + HOUR_S + 2), [mark(40.0)], before=waited)
    assert ledger.last().number == 4
    with ledger.use() as db:
        hours = db.execute("SELECT windows FROM window_total WHERE span = 'hour' ORDER BY start_s").fetchall()
        assert hours == [(2,), (2,)]


@pytest.mark.parametrize("energy_j", [float("nan"), float("inf"), -1.0])
def test_a_device_cannot_draw_what_is_no_energy(ledger: Ledger, energy_j: float) -> None:
    with pytest.raises(ValueError, match="window 1"):
        ledger.write(window(1, devices=(device(energy_j),), shares=(), pools=()))
    assert ledger.last().number == 0
    assert ledger.write(window(1)), "the ledger goes on"


def test_figures_of_numpy_are_kept_as_numbers(ledger: Ledger) -> None:
    figures = {"energy_j": np.float32(10.0), "idle_j": np.float64(5.0)}
    pool = PoolAccount("host-a/cpu", 10.0, figures["idle_j"], np.float64(0.0), Quality.MEASURED)
    ledger.write(window(1, devices=(device(figures["energy_j"]),), pools=(pool,), requests=np.int64(3)))
    assert kept(ledger, "SELECT typeof(requests) FROM window") == [("integer",)]
    assert set(kept(ledger, "SELECT typeof(energy_j), typeof(calls) FROM part_window")) == {("real", "integer")}
    assert kept(ledger, "SELECT typeof(energy_j) FROM device_window") == [("real",)]


def test_a_window_counts_in_the_hour_in_which_it_began(ledger: Ledger) -> None:
    ledger.write(window(1, MIDNIGHT_S + HOUR_S))
    ledger.write(window(2, MIDNIGHT_S + HOUR_S + 1))
    with ledger.use() as db:
        hours = devices_by(db, Period("hour", MIDNIGHT_S, MIDNIGHT_S + DAY_S), "t.start_s")
        assert [key for (key,) in hours] == [MIDNIGHT_S, MIDNIGHT_S + HOUR_S]
        assert known_period(db, "hour") == Period("hour", MIDNIGHT_S, MIDNIGHT_S + 2 * HOUR_S)
        assert traffic_by(db, DAY)[0].requests == 20


def test_grams_are_joules_times_pue_times_intensity(ledger: Ledger) -> None:
    ledger.write(window(1, intensity=300.0, pue=1.5))
    ledger.write(window(2, MIDNIGHT_S + 2, intensity=100.0, pue=1.2))
    with ledger.use() as db:
        drawn = devices_by(db, DAY)[()]
    assert drawn.grams("average") == pytest.approx(10 / 3.6e6 * (1.5 * 300 + 1.2 * 100))
    assert drawn.pue == pytest.approx((1.5 + 1.2) / 2)
    assert drawn.pue_quality is Quality.ASSUMED


def test_average_and_marginal_grams_and_those_unknown_stay_apart(ledger: Ledger) -> None:
    ledger.write(window(1))
    ledger.write(window(2, MIDNIGHT_S + 2), intensity=Kind.MARGINAL)
    ledger.write(window(3, MIDNIGHT_S + 3, intensity=None), intensity=Kind.MARGINAL)
    with ledger.use() as db:
        drawn = devices_by(db, DAY)[()]
    assert drawn.intensity_kinds() == ("average", "marginal")
    assert drawn.grams("average") == drawn.grams("marginal") == pytest.approx(10 / 3.6e6 * 1.5 * 300)
    assert drawn.of_kind("none").energy_j == 10.0
    assert drawn.energy_j == 30.0


def test_joules_are_summed_by_how_they_are_known(ledger: Ledger) -> None:
    ledger.write(window(1))
    guessed = device(3.0, "gpu-0", pool="gpu-0", quality=Quality.ASSUMED)
    ledger.write(window(2, MIDNIGHT_S + 2, devices=(device(7.0), guessed), pools=()))
    with ledger.use() as db:
        drawn = devices_by(db, DAY)[()]
    assert drawn.by_quality() == {Quality.MEASURED: 17.0, Quality.MODELLED: 0.0, Quality.ASSUMED: 3.0}


def test_one_device_told_of_twice_in_a_window_is_added_up(ledger: Ledger) -> None:
    ledger.write(window(1, devices=(device(4.0, node="node-a"), device(6.0, node="node-b"), device(1.0)), pools=()))
    with ledger.use() as db:
        assert {key: drawn.energy_j for key, drawn in devices_by(db, DAY, "n.node").items()} == {
            ("node-a",): 5.0,
            ("node-b",): 6.0,
        }


def test_detail_is_let_go_of_and_totals_stay() -> None:
    ledger = Ledger.open(None, Retention(detail_s=10.0, hours_s=2 * HOUR_S))
    for number in range(1, 31):
        ledger.write(window(number, MIDNIGHT_S + number))
    assert kept(ledger, "SELECT min(number), max(number) FROM window") == [(20, 30)]
    assert kept(ledger, "SELECT min(window) FROM part_window UNION SELECT min(window) FROM device_window") == [(20,)]
    with ledger.use() as db:
        assert devices_by(db, DAY)[()].energy_j == 300.0
        assert parts_by(db, DAY, "n.kind")["share",].calls == 60


def test_windows_of_a_clock_that_was_far_ahead_hold_nothing_up() -> None:
    ledger = Ledger.open(None, Retention(detail_s=10.0))
    for number in range(1, 7):
        ledger.write(window(number, MIDNIGHT_S + 10_000 + number))
    for number in range(7, 40):
        ledger.write(window(number, MIDNIGHT_S + number))
    assert kept(ledger, "SELECT min(number), max(number) FROM window") == [(29, 39)]


def test_hours_are_let_go_of_and_days_stay() -> None:
    ledger = Ledger.open(None, Retention(hours_s=2 * HOUR_S))
    ledger.write(window(1, MIDNIGHT_S + 1))
    ledger.write(window(2, MIDNIGHT_S + 4 * HOUR_S))
    with ledger.use() as db:
        assert known_period(db, "hour") == Period("hour", MIDNIGHT_S + 3 * HOUR_S, MIDNIGHT_S + 4 * HOUR_S)
        assert devices_by(db, DAY)[()].energy_j == 20.0


def test_a_backlog_of_old_detail_goes_a_little_at_a_time() -> None:
    ledger = Ledger.open(None, Retention(detail_s=1000.0))
    for number in range(1, 101):
        ledger.write(window(number, MIDNIGHT_S + number))
    ledger.write(window(101, MIDNIGHT_S + 10_000))
    assert kept(ledger, "SELECT min(number) FROM window") == [(MOST_WINDOWS + 1,)]


def test_a_reader_sees_what_a_writer_has_written(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite"
    ledger = Ledger.open(file)
    ledger.write(window(1))
    reader = for_reading(file)
    assert traffic_by(reader, DAY)[0].windows == 1
    ledger.write(window(2, MIDNIGHT_S + 2))
    assert traffic_by(reader, DAY)[0].windows == 2
    reader.close()
    ledger.close()


def joules() -> st.SearchStrategy[float]:
    return st.integers(0, 1 << 20).map(lambda units: units / 1024)  # exact in binary


@st.composite
def windows(draw: st.DrawFn) -> list[WindowAccount]:
    """Windows of several devices, variants and qualities, over some hours and days."""
    made = []
    end_s = float(MIDNIGHT_S)
    for number in range(1, draw(st.integers(1, 8)) + 1):
        end_s += draw(st.sampled_from([1.0, 60.0, 3600.0, 50_000.0]))
        quality = draw(st.sampled_from(Quality))
        devices = [device(draw(joules()), f"package-{n}", quality=quality) for n in range(draw(st.integers(1, 3)))]
        drawn_j = sum(one.energy_j for one in devices)
        shares = [share(drawn_j / 8, variant=name, quality=quality) for name in draw(st.sets(st.sampled_from("abc")))]
        intensity = draw(st.none() | st.just(250.0))
        made.append(window(number, end_s, devices, shares, idle_j=drawn_j / 4, intensity=intensity))
    return made


@settings(max_examples=40)
@given(windows())
def test_detail_hours_and_days_tell_the_same_joules(accounts: list[WindowAccount]) -> None:
    ledger = Ledger.open(None, Retention(detail_s=float("inf"), hours_s=float("inf")))
    for account in accounts:
        assert ledger.write(account)
    drawn_j = sum(device.energy_j for account in accounts for device in account.devices)
    for table in ("device", "part"):
        for query in (
            f"SELECT sum(energy_j) FROM {table}_window",
            f"SELECT sum(energy_j) FROM {table}_total WHERE span = 'hour'",
            f"SELECT sum(energy_j) FROM {table}_total WHERE span = 'day'",
        ):
            assert (kept(ledger, query)[0][0] or 0.0) == drawn_j, query
    ledger.close()
