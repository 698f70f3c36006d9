"""From where billing goes on when a ledger is read late, or is another one."""

from dataclasses import replace

import pytest
from account_world import RANGE_J, UNIX_S, Host

from cluster.ledger.marks import Mark
from cluster.power import billing
from cluster.power.billing import Billing
from cluster.resuming import met, resumed

PACKAGE = "web/package-0"


def heard(host: Host, before: Billing | None = None) -> Billing:
    after, _ = billing.step(Billing() if before is None else before, [host.report()], UNIX_S + host.at_s)
    return after


def billed(start: Billing, host: Host) -> dict[str, float]:
    """Joules of the next window."""
    _, rows = billing.step(start, [host.report()], UNIX_S + host.at_s)
    return {row.device: row.energy_j for row in rows}


def mark_of(state: Billing) -> Mark:
    return next(mark for mark in billing.marks(state) if mark.device == PACKAGE)


@pytest.fixture
def host() -> Host:
    return Host("web", "boot-1")


class TestMet:
    def test_a_new_device_waits_at_its_first_reading_and_a_known_one_where_it_was(self, host: Host) -> None:
        written = heard(host)
        host.run(10.0, 30.0)
        other = Host("gpu", "boot-2")
        other.run(10.0, 0.0)
        after, _ = billing.step(written, [host.report(), other.report()], UNIX_S + host.at_s)
        kept = met(written, after)
        other.run(5.0, 7.0)
        assert kept.tabs[PACKAGE] == written.tabs[PACKAGE]
        assert kept.tabs["gpu/package-0"] == after.tabs["gpu/package-0"]
        assert billed(kept, other)["gpu/package-0"] == pytest.approx(35.0)

    def test_the_first_reading_stays_the_first(self, host: Host) -> None:
        kept = met(Billing(), first := heard(host))
        host.run(10.0, 30.0)
        assert met(kept, heard(host, first)).tabs == kept.tabs


class TestResumed:
    def test_a_ledger_that_knows_a_device_is_billed_from_its_mark(self, host: Host) -> None:
        marks = billing.marks(heard(host))
        host.run(10.0, 30.0)
        began = heard(host)
        host.run(10.0, 30.0)
        assert billed(resumed(began, marks), host)[PACKAGE] == pytest.approx(600.0)

    def test_one_that_does_not_is_billed_from_the_first_reading(self, host: Host) -> None:
        began = heard(host)
        host.run(10.0, 30.0)
        assert billed(resumed(began, ()), host)[PACKAGE] == pytest.approx(300.0)

    def test_wraps_since_the_first_reading_are_not_lost(self, host: Host) -> None:
        marks = billing.marks(heard(host))
        host.run(10.0, 30.0)
        began = heard(host)
        for _ in range(40):
            host.run(600.0, 30.0)
        assert 2 * RANGE_J < 40 * 600 * 30.0
        assert billed(resumed(began, marks), host)[PACKAGE] == pytest.approx(300.0 + 40 * 600 * 30.0)

    def test_after_too_long_a_time_without_a_reading_the_counter_alone_is_believed(self, host: Host) -> None:
        mark = mark_of(heard(host))
        host.run(10.0, 30.0)
        began = heard(host)
        long_ago = replace(mark, at_s=mark.at_s - 10_000.0)
        assert resumed(began, [long_ago]).tabs[PACKAGE] == billing.resume([long_ago]).tabs[PACKAGE]

    @pytest.mark.parametrize("change", [{"host": "boot-0"}, {"epoch": "another driver"}])
    def test_counters_of_another_boot_or_driver_are_not_compared(self, host: Host, change: dict[str, str]) -> None:
        mark = replace(mark_of(heard(host)), **change)
        host.run(10.0, 30.0)
        began = heard(host)
        assert resumed(began, [mark]).tabs[PACKAGE] == billing.resume([mark]).tabs[PACKAGE]

    def test_a_device_is_not_forgotten_for_the_hours_in_which_nothing_could_be_written(self, host: Host) -> None:
        marks = billing.marks(heard(host))
        began = heard(host)
        for _ in range(20):
            host.run(600.0, 10.0)
        assert billed(resumed(began, marks), host)[PACKAGE] == pytest.approx(120_000.0)
