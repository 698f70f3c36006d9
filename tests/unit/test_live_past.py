"""What the live page takes from a ledger: the history of before, and what the day has spent."""

from pathlib import Path

import pytest
from ledger_windows import MIDNIGHT_S, device, share, window

from allocator.emissions import Kind
from allocator.joules import Quality
from cluster.ledger.store import Ledger
from cluster.live.past import points, points_from
from cluster.live.ring import encoded
from cluster.live.schemas import EnergyOut, HistoryPoint
from cluster.live.spent import spent, spent_from
from models.errors import FixFile

DAY_S = 86_400


@pytest.fixture
def ledger() -> Ledger:
    """25 s of windows: 10 J each, from 3 s after midnight on; with an intensity in the first ten."""
    ledger = Ledger(None)
    for number in range(25):
        known = 300.0 + number if number < 10 else None
        devices = [device(8.0, "host-a/package-0"), device(2.0, "GPU-1", pool="GPU-1")]
        ledger.write(window(number + 1, MIDNIGHT_S + 3.0 + number, devices, [share(5.0)], (), intensity=known))
    return ledger


def test_points_are_sums_of_the_windows_of_their_step(ledger: Ledger) -> None:
    with ledger.use() as db:
        found = points(db, 0.0, 10.0)
    for one in found:
        HistoryPoint.model_validate_json(encoded(one))
    assert [one["time_s"] - MIDNIGHT_S for one in found] == [9.0, 19.0, 27.0]
    for one in found:
        assert one["devices"] == {"host-a/package-0": pytest.approx(8.0), "host-a/GPU-1": pytest.approx(2.0)}
        assert one["power_w"] == pytest.approx(10.0)
        assert one["requests_per_s"] == pytest.approx(10.0)
        assert one["energy_j_per_request"] == pytest.approx(0.5)
    assert [one["g_per_kwh"] for one in found] == [pytest.approx(303.0), pytest.approx(308.0), None]


def test_only_what_is_later_is_taken(ledger: Ledger) -> None:
    with ledger.use() as db:
        assert [one["time_s"] - MIDNIGHT_S for one in points(db, MIDNIGHT_S + 19.0, 10.0)] == [27.0]


def test_a_file_is_read_while_its_writer_has_it(tmp_path: Path) -> None:
    file = tmp_path / "ledger.sqlite"
    with pytest.raises(FixFile):
        points_from(file, 0.0, 10.0)
    ledger = Ledger.open(file)
    assert points_from(file, 0.0, 10.0) == []
    assert spent_from(file, MIDNIGHT_S, None) is None
    ledger.write(window(1, MIDNIGHT_S + 5.0))
    assert [one["power_w"] for one in points_from(file, 0.0, 10.0)] == [10.0]
    assert spent_from(file, MIDNIGHT_S, None) is not None
    ledger.close()


def test_the_day_is_told_beside_all_that_the_ledger_holds() -> None:
    ledger = Ledger(None)
    ledger.write(window(1, MIDNIGHT_S - 5.0))
    estimated = [device(30.0, quality=Quality.MODELLED)]
    for number in (2, 3):
        ledger.write(window(number, MIDNIGHT_S + 10.0 * number, devices=estimated if number == 3 else None))
    with ledger.use() as db:
        found = spent(db, MIDNIGHT_S + 3600.0, Kind.AVERAGE)
    assert found is not None
    EnergyOut.model_validate(found)
    assert found["since_s"] == MIDNIGHT_S - DAY_S
    today = found["today"]
    assert (today["start_s"], today["energy_j"], today["facility_j"]) == (MIDNIGHT_S, 40.0, 60.0)
    assert today["grams"] == pytest.approx(60.0 / 3.6e6 * 300)
    assert (today["requests"], today["items"]) == (20, 200)
    assert today["shares"] == {"measured": 0.25, "modelled": 0.75, "assumed": 0.0}
    assert (found["total"]["start_s"], found["total"]["energy_j"]) == (MIDNIGHT_S - DAY_S, 50.0)


def test_grams_by_different_kinds_of_intensity_are_never_added() -> None:
    ledger = Ledger(None)
    ledger.write(window(1, MIDNIGHT_S + 5.0), intensity=Kind.AVERAGE)
    ledger.write(window(2, MIDNIGHT_S + 6.0, intensity=900.0), intensity=Kind.MARGINAL)
    with ledger.use() as db:
        grams = {kind: spent(db, MIDNIGHT_S + 9.0, kind)["today"]["grams"] for kind in (*Kind, None)}  # type: ignore[index]
    assert grams[Kind.AVERAGE] == pytest.approx(15.0 / 3.6e6 * 300)
    assert grams[Kind.MARGINAL] == pytest.approx(15.0 / 3.6e6 * 900)
    assert grams[None] is None


def test_a_day_without_a_window_has_spent_nothing() -> None:
    ledger = Ledger(None)
    ledger.write(window(1, MIDNIGHT_S - 5.0))
    with ledger.use() as db:
        found = spent(db, MIDNIGHT_S + 60.0, None)
    assert found is not None
    assert found["today"] == {
        "start_s": MIDNIGHT_S,
        "energy_j": 0.0,
        "facility_j": 0.0,
        "grams": None,
        "requests": 0,
        "items": 0,
        "shares": {"measured": 0.0, "modelled": 0.0, "assumed": 0.0},
    }
