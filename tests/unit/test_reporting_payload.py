"""What the HTTP API tells of the ledger."""

import pytest
from ledger_windows import MIDNIGHT_S, device, share, window

from allocator.emissions import Kind
from allocator.joules import Quality
from cluster.ledger.prune import Retention
from cluster.ledger.store import Ledger
from cluster.ledger.totals import DAY_S
from cluster.reporting.payload import EnergyResponse, energy


def answer(ledger: Ledger, newest: int = 60) -> EnergyResponse:
    with ledger.use() as db:
        return energy(db, newest)


def test_a_window_tells_what_was_drawn_and_where_it_went() -> None:
    ledger = Ledger.open(None)
    ledger.write(window(1, intensity=300.0, pue=1.5))
    (told,) = answer(ledger).windows
    assert (told.number, told.end_s, told.requests, told.items) == (1, MIDNIGHT_S + 1.0, 10, 100)
    assert (told.energy_j, told.attributed_j, told.idle_j, told.unattributed_j) == (10.0, 5.0, 4.0, 1.0)
    assert (told.intensity, told.intensity_g_per_kwh) == (Kind.AVERAGE, 300.0)
    assert told.co2e_g == pytest.approx(10 / 3.6e6 * 1.5 * 300)


def test_the_newest_windows_come_first_and_older_ones_count_in_the_total() -> None:
    ledger = Ledger.open(None, Retention(detail_s=3.0))
    for number in range(1, 8):
        ledger.write(window(number, MIDNIGHT_S + number))
    told = answer(ledger, newest=2)
    assert [one.number for one in told.windows] == [7, 6]
    assert (told.total.windows, told.total.energy_j, told.total.requests) == (7, 70.0, 70)
    assert told.since_s == MIDNIGHT_S
    assert [one.number for one in answer(ledger).windows] == [7, 6, 5, 4], "the others are let go of"


def test_each_window_has_its_own_devices_and_parts() -> None:
    ledger = Ledger.open(None)
    ledger.write(window(1))
    guess = device(2.0, "gpu-0", pool="gpu-0", quality=Quality.ASSUMED)
    ledger.write(window(2, MIDNIGHT_S + 2, (device(20.0), guess), (share(9.0), share(3.0, "recall", "tower"))))
    second, first = answer(ledger).windows
    assert (first.energy_j, first.attributed_j, first.quality) == (10.0, 5.0, Quality.MEASURED)
    assert (second.energy_j, second.attributed_j, second.quality) == (22.0, 12.0, Quality.ASSUMED)


def test_a_window_of_unknown_intensity_tells_no_grams() -> None:
    ledger = Ledger.open(None)
    ledger.write(window(1, intensity=None))
    ledger.write(window(2, MIDNIGHT_S + 2), intensity=Kind.MARGINAL)
    second, first = answer(ledger).windows
    assert (first.intensity, first.intensity_g_per_kwh, first.co2e_g) == (None, None, None)
    assert second.intensity is Kind.MARGINAL


def test_the_total_spans_days() -> None:
    ledger = Ledger.open(None)
    ledger.write(window(1))
    ledger.write(window(2, MIDNIGHT_S + 3 * DAY_S))
    assert answer(ledger).total.energy_j == 20.0


def test_a_ledger_without_windows_tells_zeros() -> None:
    told = answer(Ledger.open(None))
    assert (told.since_s, told.windows, told.total.energy_j, told.total.joules_per_request) == (None, [], 0.0, None)


def test_an_answer_survives_json() -> None:
    ledger = Ledger.open(None)
    ledger.write(window(1))
    told = answer(ledger)
    assert EnergyResponse.model_validate_json(told.model_dump_json()) == told
