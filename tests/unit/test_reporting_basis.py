"""What an auditor needs of a report: what it rests on, by which method it was made, and whether it adds up."""

import re
from dataclasses import replace
from html import unescape

import pytest
import report_month
from ledger_windows import MIDNIGHT_S, device, share, window
from report_month import DAY_S, HOUR_S

from allocator.emissions import Kind
from cluster.ledger.store import Ledger
from cluster.reporting.basis import Asked
from cluster.reporting.gather import gather_all
from cluster.reporting.methods import methods
from cluster.reporting.model import By, EnergyReport
from cluster.reporting.page import others, page
from cluster.reporting.reconcile import checks
from cluster.reporting.sums import sum_of_rows

ALL_BY: tuple[By, ...] = ("hour", "day", "stage", "variant", "node")
LATER_S = MIDNIGHT_S + 30 * DAY_S


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    """Two days, three hours of which nobody billed."""
    return report_month.write(None)


def told(
    ledger: Ledger, by: By = "variant", since_s: float | None = None, until_s: float | None = None
) -> tuple[EnergyReport, ...]:
    with ledger.use() as db:
        return gather_all(db, "ledger", by, Asked(since_s, until_s, LATER_S), others(by))


def said(ledger: Ledger, topic: str) -> str:
    return dict(methods(told(ledger)[0]))[topic]


@pytest.mark.parametrize("by", ALL_BY)
def test_every_table_of_a_page_adds_up_to_the_total(ledger: Ledger, by: By) -> None:
    reports = told(ledger, by)
    assert len(reports) == 3, "over time, by variant or stage, and by node"
    found = list(checks(reports))
    assert len(found) >= 2 + 2 * 3
    assert all(check.agrees for check in found), [check for check in found if not check.agrees]
    assert f"All {len(found)} agree" in page(reports)


def test_what_does_not_add_up_is_said() -> None:
    broken = Ledger.open(None)
    broken.write(window(1, devices=(device(10.0),), shares=(share(3.0),), pools=()))
    reports = told(broken)
    assert next(check.what for check in checks(reports) if not check.agrees).startswith("requests' work, idle")
    assert "7.00 J apart" in unescape(page(reports)).replace("−", "")


def test_the_sum_of_lines_mixes_qualities_by_weight_and_kinds_never(ledger: Ledger) -> None:
    mixed = Ledger.open(None)
    mixed.write(window(1))
    mixed.write(window(2, MIDNIGHT_S + 2 * HOUR_S), intensity=Kind.MARGINAL)
    for report in (*told(mixed, "hour"), *told(ledger, "node")):
        summed = sum_of_rows(report.rows)
        assert summed.known.measured == pytest.approx(report.total.known.measured)
        told_of = {one.intensity: one.kg_co2e for one in summed.emissions}
        assert told_of == pytest.approx({one.intensity: one.kg_co2e for one in report.total.emissions})


def test_sensors_are_told_with_what_they_read_and_how_well(ledger: Ledger) -> None:
    found = {(one.source, one.kind, one.quality.value): one for one in told(ledger)[0].basis.sensors}
    assert set(found) == {
        ("rapl", "package", "measured"),
        ("nvml", "gpu", "measured"),
        ("estimate", "host", "modelled"),
    }
    assert all((one.devices, one.hosts) == (1, 1) for one in found.values())
    assert sum(one.share for one in found.values()) == pytest.approx(1)


def test_time_of_which_no_window_tells_is_counted(ledger: Ledger) -> None:
    assert told(ledger)[0].basis.missing_s == 3 * HOUR_S
    whole = told(ledger, "variant", MIDNIGHT_S - DAY_S, MIDNIGHT_S + 3 * DAY_S)[0].basis
    assert whole.missing_s == 3 * HOUR_S + 2 * DAY_S
    ahead = told(ledger, "variant", MIDNIGHT_S, LATER_S + DAY_S)[0].basis
    assert ahead.missing_s == 3 * HOUR_S + LATER_S - MIDNIGHT_S - 2 * DAY_S, "what lies ahead is not missing"


def test_what_was_served_and_who_changed_limits_is_of_the_period(ledger: Ledger) -> None:
    first, both = told(ledger, "hour", MIDNIGHT_S, MIDNIGHT_S + DAY_S)[0].basis, told(ledger)[0].basis
    assert [term.sha256[:2] for term in both.served] == ["3f", "8c"]
    assert [term.sha256[:2] for term in first.served] == ["3f"]
    assert [(c.before, c.after, c.author) for c in both.limit_changes] == [
        (None, "480 W", "operations"),
        ("480 W", "420 W", "operations"),
    ]
    assert len(first.limit_changes) == 1


def test_the_method_names_pue_holdback_intervals_cascade_and_version(ledger: Ledger) -> None:
    assert "a PUE of 1.25, as the operator has metered it" in said(ledger, "Building")
    assert "average intensity of the location's grid" in said(ledger, "Emissions")
    assert "Held back are 2.0% of the users" in said(ledger, "Savings")
    assert "confidence sequences" in said(ledger, "Savings")
    assert re.search(r"cascade demo \(cascade.yaml 3f3f3f3f3f3f\) by GreenFlow 0.1.0", said(ledger, "Software"))
    assert "UTC" in said(ledger, "Period")


def test_an_assumed_pue_and_an_unknown_grid_are_said_to_be() -> None:
    plain = Ledger.open(None)
    plain.write(window(1, intensity=None))
    assert "assumed, for nobody has stated a metered one" in said(plain, "Building")
    assert "no emissions are told" in said(plain, "Emissions")
    assert "does not say which cascade" in said(plain, "Software")


def test_marginal_emissions_are_not_called_a_footprint() -> None:
    marginal = Ledger.open(None)
    marginal.write(window(1), intensity=Kind.MARGINAL)
    assert "location-based" not in said(marginal, "Scope")
    marginal.write(window(2, MIDNIGHT_S + 2))
    assert "location-based" in said(marginal, "Scope")
    assert "never added" in said(marginal, "Emissions")


def test_a_page_of_a_long_time_tells_by_day_and_of_a_short_one_by_hour(ledger: Ledger) -> None:
    assert [report.by for report in told(ledger)] == ["variant", "hour", "node"]
    long = Ledger.open(None)
    for day in range(4):
        long.write(replace(window(day + 1, MIDNIGHT_S + day * DAY_S + 1)))
    assert [report.by for report in told(long)] == ["variant", "day", "node"]
    assert [report.by for report in told(long, "hour")] == ["hour", "variant", "node"]
