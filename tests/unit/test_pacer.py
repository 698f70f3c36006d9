"""Quotas: planned from what is left, held to the end of their hour or day, counted from what the ledger has."""

from dataclasses import replace

import numpy as np
import pytest
from power_loop import REWARDS, Loop, Machine
from small_space import SPACE

from allocator.constraints import Resource
from allocator.joules import Quality
from allocator.limits import Kind, Limit
from allocator.pacing.saved import dumped
from cluster.accounts import Window
from cluster.carbon.base import CarbonProvider, Span
from cluster.carbon.fake import ScriptedCarbon
from cluster.carbon.fixed import UnknownCarbon
from cluster.carbon.remembered import RememberedCarbon
from cluster.pacer import GRID, LOAD, QuotaPacer
from cluster.spending import Allowance, Billed, Rate, Total
from cluster.spent import Ledgered

DAY_S = 86_400.0
LATE_S = 20_001 * DAY_S - 600
"""Ten minutes before a midnight."""
DAY_BEGAN_S = 20_000 * DAY_S
COSTS = SPACE.flops * 2e-5
BEFORE_J = 5e6


def loop_of(quota: Limit, machine: Machine, before: Total, carbon: CarbonProvider | None = None) -> Loop:
    """A loop that runs from LATE_S on, and a ledger that has so much of the day already."""
    loop = Loop(replace(machine, began_s=LATE_S), [quota])

    def expected() -> float | None:
        return None if loop.state is None else loop.state.prices.expected  # type: ignore[attr-defined]

    loop.pacer = QuotaPacer(carbon, 1.0, expected)
    loop.pacer.ledgered(Ledgered(LATE_S - 1, {DAY_BEGAN_S: before}))
    loop.boot()
    return loop


def test_what_is_left_of_a_day_is_spent_by_midnight_and_not_more() -> None:
    quota_j = BEFORE_J + 600 * 115.0
    loop = loop_of(Limit("day", Kind.ENERGY, quota_j / 3.6e6, "kWh/day"), Machine(), Total(BEFORE_J))
    played = loop.run(600)
    assert BEFORE_J + sum(played.watts) == pytest.approx(quota_j, rel=2e-3)
    assert sum(played.watts) == pytest.approx(600 * 115.0, rel=0.01)
    prices = np.array([state.policy.prices[0] for state in played.states[60:560]])
    assert prices.std() < 0.35 * prices.mean(), "one price, as far as it can be known"
    shown = played.states[500].means.aims[0].shown
    assert shown.spend == pytest.approx((BEFORE_J + sum(played.watts[:501])) / 3.6e6, rel=1e-3)


def test_a_day_whose_windows_are_closed_late_spends_no_more() -> None:
    quota_j = BEFORE_J + 600 * 115.0
    machine = Machine(late=lambda at: at % 3 > 0)
    played = loop_of(Limit("day", Kind.ENERGY, quota_j / 3.6e6, "kWh/day"), machine, Total(BEFORE_J)).run(600)
    assert sum(played.watts) == pytest.approx(600 * 115.0, rel=0.01)


def test_traffic_that_rises_in_the_end_is_paid_for_with_shorter_chains_not_with_more_than_the_quota() -> None:
    quota_j = BEFORE_J + 600 * 115.0
    machine = Machine(rate=lambda at: 300.0 if at < 400 else 360.0)
    played = loop_of(Limit("day", Kind.ENERGY, quota_j / 3.6e6, "kWh/day"), machine, Total(BEFORE_J)).run(600)
    assert sum(played.watts) == pytest.approx(600 * 115.0, rel=0.01)


def test_an_overspent_day_is_told_takes_the_cheapest_chains_and_the_next_one_begins_anew() -> None:
    limit = Limit("day", Kind.ENERGY, (BEFORE_J - 1.0) / 3.6e6, "kWh/day")
    loop = loop_of(limit, Machine(), Total(BEFORE_J))
    loop.run(570)
    assert not any(state.reachable[0] for state in loop.played.states[30:570])
    assert np.mean(loop.played.watts[30:]) == pytest.approx(np.mean(loop.played.least_w[30:]), rel=0.01)
    loop.limits = [Limit("day", Kind.ENERGY, 24.0, "kWh/day")]
    played = loop.run(90)
    assert played.states[-1].reachable[0]
    assert played.states[-1].policy.prices[0] == 0.0, "a quota that is never reached has no price"
    assert played.states[-1].means.aims[0].shown.spend == pytest.approx(sum(played.watts[600:]) / 3.6e6, rel=0.1)


def test_grams_of_an_hour_are_held_and_clean_minutes_get_longer_chains() -> None:
    def grid(at: int) -> float:
        return 100.0 if at < 300 else 500.0

    spans = [Span(LATE_S - 3000, LATE_S + 300, 100.0, Quality.MODELLED)]
    spans += [Span(LATE_S + 300, LATE_S + 3000, 500.0, Quality.MODELLED)]
    grams = 300 * 118.0 * (100 + 500) / 3.6e6
    loop = loop_of(Limit("hour", Kind.CARBON, grams, "g/h"), Machine(g_per_kwh=grid), Total(), ScriptedCarbon(spans))
    played = loop.run(600)
    emitted = sum(w * grid(at) for at, w in enumerate(played.watts)) / 3.6e6
    assert emitted == pytest.approx(grams, rel=0.01)
    assert np.mean(played.watts[60:300]) > np.mean(played.watts[330:]) + 5


def test_a_cap_of_grams_is_held_across_a_restart_in_which_the_grid_s_source_is_away() -> None:
    """What a controller keeps is taken up by the next one, whose source says nothing."""
    grams = 600 * 115.0 * 300 / 3.6e6
    spans = [Span(LATE_S - 3000, LATE_S + 3000, 300.0, Quality.MODELLED)]
    carbon = RememberedCarbon(ScriptedCarbon(spans), "script", 7200.0)
    loop = loop_of(Limit("hour", Kind.CARBON, grams, "g/h"), Machine(), Total(), carbon)
    loop.machine.g_per_kwh = lambda at: found.g_per_kwh if (found := carbon.now(LATE_S + at)) is not None else None
    loop.run(300)
    kept, forecasts = carbon.dumped(LATE_S + 300), {key: loop.pacer.dumped(key) for key in (LOAD, GRID)}  # type: ignore[attr-defined]
    carbon = RememberedCarbon(UnknownCarbon(), "script", 7200.0)
    carbon.resume(kept)
    loop.pacer = QuotaPacer(carbon)
    loop.pacer.resume(forecasts)
    loop.pacer.ledgered(had(loop, 300))
    loop.boot()
    played = loop.run(300)
    assert all(state.means.aims[0].name == "hour" for state in played.states)
    assert sum(played.watts) * 300 / 3.6e6 == pytest.approx(grams, rel=0.01)


def had(loop: Loop, windows: int) -> Ledgered:
    """What a ledger has of what was played."""
    joules = sum(device.energy_j for account in loop.played.accounts for device in account.devices)
    hour_s = LATE_S // 3600 * 3600
    return Ledgered(LATE_S + windows - 1, {hour_s: Total(joules, joules * 300 / 3.6e6)})


class TestAlone:
    LIMIT = Limit("day", Kind.ENERGY, 1.0, "kWh/day")

    def rates(self, fixed_w: float = 50.0) -> dict[Resource, Rate]:
        return {Resource.JOULES: Rate(COSTS, 100.0, fixed_w, fixed_w)}

    def told(self, joules: float = 0.0, until_s: float = LATE_S) -> QuotaPacer:
        """A pacer that knows what the ledger has of the day."""
        pacer = QuotaPacer()
        pacer.ledgered(Ledgered(until_s, {DAY_BEGAN_S: Total(joules)}))
        return pacer

    def sees(self, pacer: QuotaPacer, now_s: float, *billed: Billed) -> None:
        pacer.seen(now_s, 1.0, window_of(), billed)

    def asked(self, pacer: QuotaPacer, now_s: float, limit: Limit = LIMIT) -> Allowance:
        return pacer.allowance(limit, self.rates(), 1.0, now_s)

    def test_before_any_request_the_rest_is_spread_evenly(self) -> None:
        found = self.asked(self.told(1.8e6), LATE_S)
        assert (found.limit, found.spent, found.reachable) == (pytest.approx(1.8e6 / 600), 1.8e6, True)

    def test_windows_add_to_what_the_ledger_has(self) -> None:
        pacer = self.told(1000.0)
        for window in range(1, 4):
            self.sees(pacer, LATE_S + window, billed(LATE_S + window, 200.0))
        assert self.asked(pacer, LATE_S + 3).spent == 1600.0
        assert self.asked(pacer, LATE_S + 601).spent == 0.0, "a new day"

    def test_all_windows_that_were_closed_since_count(self) -> None:
        pacer = self.told()
        self.sees(pacer, LATE_S + 1)
        self.sees(pacer, LATE_S + 2)
        self.sees(pacer, LATE_S + 3, *(billed(LATE_S + at, 10.0**at) for at in range(1, 4)))
        assert self.asked(pacer, LATE_S + 3).spent == 1110.0

    def test_before_the_ledger_can_be_read_the_day_is_thought_to_have_spent_its_even_share(self) -> None:
        pacer, limit = QuotaPacer(), Limit("day", Kind.ENERGY, 24.0, "kWh/day")
        even_j = limit.quota / DAY_S
        assert self.asked(pacer, LATE_S, limit).limit == pytest.approx(even_j)
        for window in range(1, 201):
            self.sees(pacer, LATE_S + window, billed(LATE_S + window, even_j / 2))
        found = self.asked(pacer, LATE_S + 200, limit)
        assert found.spent == pytest.approx(100 * even_j)
        assert found.limit == pytest.approx(even_j * (600 - 100) / (600 - 200), rel=1e-2), "and makes up for its own"

    def test_a_ledger_that_answers_late_makes_it_right(self) -> None:
        pacer = QuotaPacer()
        for window in range(1, 201):
            self.sees(pacer, LATE_S + window, billed(LATE_S + window, 10.0))
        pacer.ledgered(Ledgered(LATE_S + 150, {DAY_BEGAN_S: Total(7e5), DAY_BEGAN_S - 3600.0: Total(1e9)}))
        assert self.asked(pacer, LATE_S + 200).spent == 7e5 + 50 * 10.0, "the ledger has the first 150 of them"

    def test_a_day_that_begins_while_the_ledger_cannot_be_read_is_counted_from_its_beginning(self) -> None:
        pacer = QuotaPacer()
        for window in range(1, 701):
            self.sees(pacer, LATE_S + window, billed(LATE_S + window, 10.0))
        found = self.asked(pacer, LATE_S + 700)
        assert found.spent == 100 * 10.0
        assert not found.reachable, "so much is only known of a period that is planned"

    @pytest.mark.parametrize(("share", "reachable"), [(0.9, False), (1.1, True)])
    def test_what_requests_take_that_no_policy_decides_is_planned_for(self, share: float, reachable: bool) -> None:
        unpriced = np.zeros(len(SPACE))
        unpriced[SPACE.static.index] = 150.0
        others_w = 150.0 * float(COSTS[SPACE.static.index])
        least_w = 50.0 + 300.0 * float(COSTS.min()) + others_w
        limit = Limit("day", Kind.ENERGY, share * least_w * 600 / 3.6e6, "kWh/day")
        pacer = self.told()
        for window in range(1, 4):
            pacer.seen(LATE_S + window, 1.0, window_of(unpriced))
        found = self.asked(pacer, LATE_S + 3, limit)
        assert found.reachable is reachable
        assert found.limit == pytest.approx(share * least_w if reachable else least_w, rel=0.02)

    def test_a_figure_of_long_ago_teaches_nothing_of_the_hours_in_which_it_stands_in(self) -> None:
        carbon = ScriptedCarbon([Span(LATE_S - 100, LATE_S, 300.0, Quality.MODELLED)], stale_s=50.0)
        pacer = QuotaPacer(carbon)
        for window in range(200):
            self.sees(pacer, LATE_S + window)
        assert pacer.grid.last_s == LATE_S + 50

    def test_what_it_learned_of_load_goes_on_and_nonsense_begins_anew(self, caplog: pytest.LogCaptureFixture) -> None:
        pacer, other = QuotaPacer(), QuotaPacer()
        for window in range(50):
            self.sees(pacer, LATE_S + window)
        other.resume({LOAD: dumped(pacer.load)})
        assert dumped(other.load) == dumped(pacer.load)
        other.resume({LOAD: b"nonsense"})
        assert "begins anew" in caplog.text


def window_of(unpriced_per_s: np.ndarray | float = 0.0) -> Window:
    """A second in which policies decide 300 requests."""
    return Window(np.zeros(len(SPACE)), 300.0, REWARDS[:64], unpriced_per_s)


def billed(end_s: float, joules: float) -> Billed:
    """A window of a second."""
    return Billed(end_s - 1.0, end_s, Total(joules))
