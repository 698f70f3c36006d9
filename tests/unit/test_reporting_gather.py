"""Reports from a ledger: what they sum up, and what they keep apart."""

from dataclasses import replace

import pytest
from ledger_windows import MIDNIGHT_S, device, share, window

from allocator.emissions import Kind
from allocator.joules import Quality
from cluster.ledger.prune import Retention
from cluster.ledger.store import Ledger
from cluster.ledger.totals import DAY_S, HOUR_S
from cluster.reporting.gather import gather
from cluster.reporting.model import By, EnergyReport
from models.errors import FixFile, FixRequest


def report(
    ledger: Ledger, by: By = "variant", since_s: float | None = None, until_s: float | None = None
) -> EnergyReport:
    with ledger.use() as db:
        return gather(db, "the ledger", by, since_s, until_s)


@pytest.fixture
def ledger() -> Ledger:
    return Ledger.open(None)


def test_the_total_tells_energy_carbon_and_joules_of_a_request(ledger: Ledger) -> None:
    ledger.write(window(1, intensity=300.0, pue=1.5))
    ledger.write(window(2, MIDNIGHT_S + 2, intensity=300.0, pue=1.5))
    total = report(ledger).total
    assert (total.energy_j, total.attributed_j, total.idle_j, total.unattributed_j) == (20.0, 10.0, 8.0, 2.0)
    assert total.energy_kwh == pytest.approx(20 / 3.6e6)
    assert total.facility_kwh == pytest.approx(30 / 3.6e6)
    assert [one.intensity for one in total.emissions] == [Kind.AVERAGE]
    assert total.emissions[0].kg_co2e == pytest.approx(30 / 3.6e6 * 0.3)
    assert total.emissions[0].mean_g_per_kwh == pytest.approx(300)
    assert (total.requests, total.joules_per_request, total.loaded_joules_per_request) == (20, 0.5, 1.0)
    assert (total.items, total.joules_per_1000_items, total.loaded_joules_per_1000_items) == (200, 50.0, 100.0)
    assert total.closing_error_j == 0.0


def test_shares_by_quality_are_of_joules_and_grams_are_as_good_as_the_worst(ledger: Ledger) -> None:
    ledger.write(window(1, devices=(device(30.0), device(10.0, "gpu-0", quality=Quality.MODELLED)), idle_j=0.0))
    total = report(ledger).total
    assert (total.known.measured, total.known.modelled, total.known.assumed) == (0.75, 0.25, 0.0)
    assert total.emissions[0].known.assumed == 1.0, "the PUE is assumed"
    assert total.emissions[0].intensity_quality is Quality.MEASURED


def test_grams_by_average_and_marginal_intensity_are_told_apart(ledger: Ledger) -> None:
    ledger.write(window(1, intensity=300.0, pue=1.0))
    ledger.write(window(2, MIDNIGHT_S + 2, intensity=600.0, pue=1.0), intensity=Kind.MARGINAL)
    ledger.write(window(3, MIDNIGHT_S + 3, intensity=None, pue=1.0))
    total = report(ledger).total
    told = {one.intensity: (one.kg_co2e, one.energy_kwh) for one in total.emissions}
    kwh = 10 / 3.6e6
    assert told[Kind.AVERAGE] == pytest.approx((kwh * 0.3, kwh))
    assert told[Kind.MARGINAL] == pytest.approx((kwh * 0.6, kwh))
    assert total.kwh_without_intensity == pytest.approx(kwh)


def test_lines_by_variant_are_what_took_most_then_what_is_nobodys(ledger: Ledger) -> None:
    ledger.write(window(1, devices=(device(20.0),), shares=(share(2.0, "recall", "tower"), share(9.0)), idle_j=4.0))
    rows = report(ledger).rows
    told = [(row.part, row.stage, row.variant, row.energy_j) for row in rows]
    assert told == [
        ("share", "rank", "din", 9.0),
        ("share", "recall", "tower", 2.0),
        ("idle", None, None, 4.0),
        ("unattributed", None, None, 5.0),
    ]
    assert sum(row.share for row in rows) == pytest.approx(1)
    assert [(row.calls, row.pairs) for row in rows] == [(2, 100), (2, 100), (None, None), (None, None)]


def test_lines_by_stage_add_their_variants_up(ledger: Ledger) -> None:
    ledger.write(window(1, shares=(share(1.0, variant="a"), share(2.0, variant="b"), share(1.0, "recall", "tower"))))
    first, second, *_ = report(ledger, "stage").rows
    assert (first.stage, first.variant, first.energy_j, first.calls) == ("rank", None, 3.0, 4)
    assert (second.stage, second.energy_j) == ("recall", 1.0)


def test_lines_by_node_name_host_and_node(ledger: Ledger) -> None:
    other = replace(device(30.0, "package-1", node="node-b"), host="host-b")
    ledger.write(window(1, devices=(device(10.0), other), pools=()))
    assert [(row.host, row.node, row.energy_j) for row in report(ledger, "node").rows] == [
        ("host-b", "node-b", 30.0),
        ("host-a", "node-a", 10.0),
    ]


def test_lines_by_hour_and_day_are_in_order_and_leave_out_when_nothing_ran(ledger: Ledger) -> None:
    for number, hour in enumerate((0, 2, 25), start=1):
        ledger.write(window(number, MIDNIGHT_S + hour * HOUR_S + 1))
    hours = report(ledger, "hour")
    assert [row.start for row in hours.rows] == ["2025-11-25T00:00Z", "2025-11-25T02:00Z", "2025-11-26T01:00Z"]
    assert [(row.energy_j, row.idle_j, row.requests, row.covered_s) for row in hours.rows] == [(10.0, 4.0, 10, 1.0)] * 3
    days = report(ledger, "day")
    assert [(row.start, row.energy_j) for row in days.rows] == [
        ("2025-11-25T00:00Z", 20.0),
        ("2025-11-26T00:00Z", 10.0),
    ]
    assert hours.total == days.total


def test_every_kind_of_line_adds_up_to_the_total(ledger: Ledger) -> None:
    for number in range(1, 6):
        ledger.write(window(number, MIDNIGHT_S + number * 7000))
    for by in ("hour", "day", "stage", "variant", "node"):
        told = report(ledger, by)
        assert sum(row.energy_j for row in told.rows) == told.total.energy_j == 50.0, by


def test_a_period_is_rounded_outwards_to_hours(ledger: Ledger) -> None:
    for number in range(1, 6):
        ledger.write(window(number, MIDNIGHT_S + number * HOUR_S - 1))
    told = report(ledger, since_s=MIDNIGHT_S + 1.5 * HOUR_S, until_s=MIDNIGHT_S + 2.5 * HOUR_S)
    assert (told.since, told.until) == ("2025-11-25T01:00Z", "2025-11-25T03:00Z")
    assert told.total.energy_j == 20.0


def test_a_period_that_began_before_the_ledger_begins_with_it(ledger: Ledger) -> None:
    ledger.write(window(1))
    assert report(ledger, since_s=0.0).since == "2025-11-25T00:00Z"


def test_days_answer_where_hours_are_let_go_of() -> None:
    ledger = Ledger.open(None, Retention(hours_s=2 * HOUR_S))
    ledger.write(window(1, MIDNIGHT_S + 1))
    ledger.write(window(2, MIDNIGHT_S + DAY_S + 12.5 * HOUR_S))
    assert report(ledger).total.energy_j == 20.0
    assert report(ledger, "hour").total.energy_j == 10.0, "as far back as hours go"
    lately = report(ledger, since_s=MIDNIGHT_S + DAY_S + 12 * HOUR_S)
    assert (lately.since, lately.total.energy_j) == ("2025-11-26T12:00Z", 10.0)


def test_a_ledger_without_windows_says_what_to_do(ledger: Ledger) -> None:
    with pytest.raises(FixFile, match="the ledger: holds no window yet: send traffic"):
        report(ledger)


def test_a_period_without_windows_says_what_is_known(ledger: Ledger) -> None:
    ledger.write(window(1))
    with pytest.raises(
        FixRequest, match=r"since: nothing is billed after .*from 2025-11-25T00:00Z to 2025-11-25T01:00Z"
    ):
        report(ledger, since_s=MIDNIGHT_S + DAY_S)
    with pytest.raises(FixRequest, match="until: nothing is billed before"):
        report(ledger, until_s=MIDNIGHT_S - DAY_S)
    with pytest.raises(FixRequest, match="until: must be later than --since"):
        report(ledger, since_s=MIDNIGHT_S + 100, until_s=MIDNIGHT_S)


def test_machines_at_rest_have_joules_and_no_joules_of_a_request(ledger: Ledger) -> None:
    ledger.write(window(1, shares=(), requests=0, items=0))
    total = report(ledger).total
    assert (total.energy_j, total.joules_per_request, total.loaded_joules_per_1000_items) == (10.0, None, None)
