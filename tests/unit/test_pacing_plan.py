"""allocator.pacing.plan, curve, periods, pace and intensity: the price that a quota asks for, and its edges."""

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pacing_day import CEILING, spend

from allocator.pacing.curve import POINTS, Curve
from allocator.pacing.intensity import filled
from allocator.pacing.pace import Held, Pace
from allocator.pacing.periods import Period, step_edges
from allocator.pacing.plan import Ahead, Plan, planned

HOUR_S, DAY_S = 3600.0, 86_400.0
LEAST, MOST = spend(CEILING), spend(0.0)


def steps(
    load: list[float], per_joule: list[float] | None = None, offset_w: float = 0.0, step_s: float = 900.0
) -> Ahead:
    count = len(load)
    grams = np.ones(count) if per_joule is None else np.array(per_joule)
    return Ahead(np.full(count, step_s), np.array(load), np.full(count, offset_w), grams)


class Counted:
    """A request's mean joules, and how often it was asked for."""

    def __init__(self) -> None:
        self.looks = 0

    def __call__(self, price: float) -> float:
        self.looks += 1
        return spend(price)


def exact(ahead: Ahead, price: float) -> float:
    """What the steps spend by the sample itself."""
    joules = np.array([spend(price * each) for each in ahead.per_joule])
    return float(ahead.length_s @ (ahead.per_joule * (ahead.offset_w + ahead.load * joules)))


@pytest.mark.parametrize("share", [0.03, 0.1, 0.3, 0.7, 0.95])
@pytest.mark.parametrize("per_joule", [[1.0] * 5, [1.0, 2.0, 5.0, 0.0, 0.3], [1e-4, 1.3e-4, 7e-5, 1e-4, 2e-4]])
def test_at_the_plans_price_the_sample_spends_what_is_left(share: float, per_joule: list[float]) -> None:
    ahead = steps([10.0, 50.0, 80.0, 0.0, 20.0], per_joule, offset_w=5.0)
    least, most = exact(ahead, 1e9), exact(ahead, 0.0)
    left = least + share * (most - least)
    found = planned(left, ahead, spend, CEILING)
    assert found.reachable
    assert exact(ahead, found.price) == pytest.approx(left, rel=0.01)


def test_a_plan_looks_at_the_sample_a_bounded_number_of_times() -> None:
    ahead = steps([10.0, 50.0], [1.0, 3.0])
    most = exact(ahead, 0.0)
    looks = []
    for left in (0.3 * most, 2 * most, -1.0):
        counted = Counted()
        planned(left, ahead, counted, CEILING)
        looks.append(counted.looks)
    assert looks[0] <= 2 * POINTS + 2
    assert looks[1:] == [2, 2]


def test_a_quota_that_does_not_bind_has_no_price_and_no_allowance() -> None:
    ahead = steps([10.0, 50.0])
    found = planned(exact(ahead, 0.0) * 1.01, ahead, spend, CEILING)
    assert (found.price, found.reachable) == (0.0, True)
    assert found.allowance(50.0, 1.0, left=1e6) == inf


def test_a_burst_that_was_not_foreseen_spends_no_more_than_is_left_all_the_same() -> None:
    found = planned(1e6, steps([1.0]), spend, CEILING)
    assert found.price == 0.0
    assert found.allowance(1e5, 60.0, left=10.0) == 10.0


def test_a_quota_below_idle_and_the_cheapest_chains_is_told_as_out_of_reach() -> None:
    ahead = steps([10.0, 50.0], offset_w=5.0)
    least = exact(ahead, 1e9)
    assert least == pytest.approx(900 * (60 * LEAST + 10))
    below, above = (planned(least * factor, ahead, spend, CEILING) for factor in (0.99, 1.01))
    assert (below.reachable, above.reachable) == (False, True)
    assert below.price == pytest.approx(CEILING)
    assert below.price >= above.price > 0
    assert below.allowance(10.0, 1.0, left=1e6) == pytest.approx(10.0 * LEAST)


@pytest.mark.parametrize("left", [0.0, -1e9])
def test_an_overspent_quota_allows_nothing_at_a_finite_price(left: float) -> None:
    found = planned(left, steps([10.0]), spend, CEILING)
    assert not found.reachable
    assert found.price == pytest.approx(CEILING)
    assert found.allowance(10.0, 1.0, left) == 0.0


def test_when_no_time_is_left_there_is_still_a_plan() -> None:
    nothing = steps([])
    assert planned(1.0, nothing, spend, CEILING).price == 0.0
    overspent = planned(-1.0, nothing, spend, CEILING)
    assert (overspent.reachable, overspent.price) == (False, CEILING)


def test_the_last_window_spends_no_more_than_is_left_after_what_chains_cannot_change() -> None:
    found = planned(1000.0, steps([50.0], offset_w=1.0, step_s=60.0), spend, CEILING)
    assert found.allowance(50.0, 1.0, left=12.0, offset_w=10.0) == 2.0
    assert found.allowance(50.0, 1.0, left=12.0, offset_w=20.0) == 0.0


def test_the_allowance_follows_load_and_intensity_at_one_price() -> None:
    found = planned(50_000.0, steps([10.0, 50.0], [1.0, 3.0]), spend, CEILING)
    quiet, busy = (found.allowance(load, 1.0, 1e6) for load in (5.0, 50.0))
    assert busy == pytest.approx(10 * quiet)
    for grams in (0.5, 1.0, 3.0):
        per_request = found.allowance(20.0, 1.0, 1e6, per_joule=grams) / 20.0
        assert per_request == pytest.approx(grams * float(found.curve.at(np.array(found.price * grams))))
        assert per_request / grams == pytest.approx(spend(found.price * grams), rel=0.05)


def test_in_an_hour_without_emissions_nothing_is_limited() -> None:
    found = planned(500.0, steps([10.0, 50.0], [0.0, 3.0]), spend, CEILING)
    assert found.price > 0
    assert found.allowance(20.0, 1.0, left=500.0, per_joule=0.0) == inf


def test_a_quota_of_grams_has_no_price_while_the_grid_emits_nothing() -> None:
    assert planned(0.0, steps([10.0, 50.0], [0.0, 0.0]), spend, CEILING).price == 0.0


def test_before_any_request_was_seen_there_is_no_price_that_would_help() -> None:
    found = planned(10.0, steps([10.0]), lambda _: 1.0, 0.0)
    assert (found.price, found.reachable) == (0.0, False)


@pytest.mark.parametrize("joules", [np.nan, inf, -1.0])
def test_a_sample_that_says_nothing_is_refused(joules: float) -> None:
    with pytest.raises(ValueError, match="is the sample empty"):
        planned(1.0, steps([1.0]), lambda _: joules, 1.0)


@pytest.mark.parametrize("ceiling", [np.nan, inf, -1.0])
def test_a_ceiling_that_is_no_price_is_refused(ceiling: float) -> None:
    with pytest.raises(ValueError, match="ceiling"):
        Curve.ends(spend, ceiling)


@pytest.mark.parametrize(("load", "grams", "named"), [([np.nan], None, "load"), ([1.0], [-1.0], "per_joule")])
def test_a_forecast_that_is_none_is_refused_by_name(load: list[float], grams: list[float] | None, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        steps(load, grams)


def test_columns_of_a_forecast_are_of_one_length() -> None:
    with pytest.raises(ValueError, match="offset_w: expected 2"):
        Ahead(np.ones(2), np.ones(2), np.ones(3), np.ones(2))


amounts = st.floats(0.0, 1e6)


@given(
    st.lists(
        st.tuples(amounts, amounts, st.sampled_from([0.0, 1e-9, 1e-4, 1.0, 1e3]), st.floats(0.0, 1e5)), max_size=8
    ),
    st.floats(-1e9, 1e12),
    st.lists(st.floats(0.0, 1e3), min_size=1, max_size=6),
    st.floats(0.0, 1e9),
)
def test_whatever_is_forecast_prices_and_allowances_are_finite_and_not_negative(
    columns: list[tuple[float, float, float, float]], left: float, joules: list[float], ceiling: float
) -> None:
    """Any spend that falls in steps, none at all, steps of no length, and intensities of any size."""
    stairs = np.sort(joules)[::-1]

    def falling(price: float) -> float:
        return float(stairs[int(min(price / max(ceiling, 1e-300), 1.0) * (len(stairs) - 1))])

    length_s, load, per_joule, offset_w = np.array(columns).reshape(-1, 4).T
    ahead = Ahead(length_s, load, offset_w, per_joule)
    found = planned(left, ahead, falling, ceiling)
    assert np.isfinite(found.price)
    assert found.price >= 0
    if found.reachable:
        assert ahead.spend(found.curve, found.price) <= left * (1 + 1e-9) + 1e-9
    for load_now in (0.0, 1.0, 1e6):
        allowed = found.allowance(load_now, 1.0, left, 1.0, 1.0)
        assert allowed >= 0
        assert allowed <= max(left, 0.0) or (allowed == inf and found.price == 0.0)


@given(st.floats(0.02, 0.95), st.floats(1.05, 3.0))
def test_the_more_is_left_the_lower_the_price(share: float, more: float) -> None:
    ahead = steps([10.0, 50.0, 20.0], [1.0, 2.0, 0.5])
    most = exact(ahead, 0.0)
    tight, loose = (planned(left, ahead, spend, CEILING) for left in (share * most, share * more * most))
    assert loose.price <= tight.price


@given(st.floats(0.0, 1e10), st.sampled_from([HOUR_S, DAY_S]))
def test_periods_follow_each_other_from_midnight_on(unix_s: float, length_s: float) -> None:
    period = Period.holding(unix_s, length_s)
    assert period.start_s <= unix_s < period.end_s
    assert period.start_s % length_s == 0
    assert Period.holding(period.end_s, length_s).start_s == period.end_s


@given(st.floats(0, 2e9), st.floats(0, 2e5), st.floats(60, 1e5))
def test_steps_fill_the_time_and_only_the_last_is_short(from_s: float, length_s: float, step_s: float) -> None:
    edges = step_edges(from_s, from_s + length_s, step_s)
    lengths = np.diff(edges)
    assert lengths.sum() == pytest.approx(length_s, abs=1e-3)
    assert (lengths >= 0).all()
    assert lengths[:-1] == pytest.approx(np.full(max(len(lengths) - 1, 0), step_s))
    assert len(lengths) == 0 or lengths[-1] <= step_s + 1e-3


def test_steps_without_length_are_refused() -> None:
    with pytest.raises(ValueError, match="longer than 0"):
        step_edges(0.0, 1.0, 0.0)


PERIOD = Period(0.0, DAY_S)
Asked = list[tuple[float, float, float]]


def made(asked: Asked, now_s: float = 100.0, spent: float = 0.0, period: Period = PERIOD) -> Held:
    def forecast(from_s: float, until_s: float, step_s: float) -> Ahead:
        asked.append((from_s, until_s, step_s))
        return steps([1.0])

    return Pace().made(50.0, spent, period, now_s, forecast, spend, CEILING)


def test_a_plan_holds_for_a_minute_and_for_its_own_period_and_quota() -> None:
    pace, held = Pace(), made([])
    assert pace.due(None, 50.0, PERIOD, 100.0)
    assert not pace.due(held, 50.0, PERIOD, 159.0)
    assert pace.due(held, 50.0, PERIOD, 160.0)
    assert pace.due(held, 51.0, PERIOD, 101.0)
    assert pace.due(held, 50.0, Period(DAY_S, 2 * DAY_S), 101.0)
    assert pace.due(held, 50.0, PERIOD, 99.0), "a clock that went back"


def test_a_plan_asks_for_the_rest_of_its_period_in_steps_that_fit() -> None:
    asked: Asked = []
    assert isinstance(made(asked).plan, Plan)
    made(asked, now_s=HOUR_S + 10, period=Period(HOUR_S, 2 * HOUR_S))
    assert asked == [(100.0, DAY_S, 900.0), (HOUR_S + 10, 2 * HOUR_S, 300.0)]


def test_what_was_spent_is_not_spent_again() -> None:
    assert made([], spent=0.0).plan.price < made([], spent=25.0).plan.price
    assert not made([], spent=60.0).plan.reachable


def test_intensities_that_nobody_forecasts_are_the_usual_or_the_present_ones() -> None:
    known = (100.0, None, 300.0, None)
    assert filled(known, 250.0).tolist() == [100.0, 250.0, 300.0, 250.0]
    assert filled(known, 250.0, np.array([1.0, 2.0, 3.0, 4.0])).tolist() == [100.0, 2.0, 300.0, 4.0]
    assert filled((), 250.0).tolist() == []
