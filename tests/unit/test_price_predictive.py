"""The predictive strategy: several constraints, steps that are announced, late measurements, and its parts."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from price_loop import Trace, run
from reward_rows import CHAINS, draw

from allocator.choice import ceilings, chains_under
from allocator.optimum import dual_bound
from allocator.price.base import Observation, Terms
from allocator.price.predictive import Predictive, PredictiveState
from allocator.price.sample import Sample, refreshed
from allocator.price.solve import solve_prices
from allocator.price.tracker import Tracker, Tracking, shifted, started, tracked

USERS = draw(3000, seed=5)
COSTS = USERS.cost[:, None]
REQUESTS = 20_000
LIMIT = np.array([REQUESTS * 500.0])
HOW = Tracking()


def two_costs() -> np.ndarray:
    """FLOPs, and a second resource in which wide pre-ranking is dear and ranking is cheap, (J, 2)."""
    items = np.array([1e-3 * (pre[1] + 0.1 * rank[1]) for pre, rank in CHAINS])
    return np.stack([USERS.cost, items], axis=1)


@pytest.mark.parametrize(("first", "second"), [(400.0, 0.2), (400.0, 10.0), (1e6, 0.1), (1e6, 10.0), (900.0, 0.25)])
def test_two_limits_are_met_at_the_linear_programmes_optimum(first: float, second: float) -> None:
    costs, limit = two_costs(), np.array([first, second])
    best = dual_bound(USERS.rewards, costs, limit * len(USERS.rewards))
    everything = np.ones(len(costs), bool)
    high = ceilings(USERS.rewards, costs)
    found = solve_prices(Sample(USERS.rewards, costs, everything), limit, high / 9, np.zeros(2), high)
    chains = chains_under(USERS.rewards, costs, found)
    assert (costs[chains].mean(axis=0) <= limit * 1.005).all()
    reward = USERS.rewards[np.arange(len(chains)), chains].sum(dtype=np.float64)
    assert reward >= 0.995 * best.value


@pytest.mark.parametrize(("first", "second"), [(400.0, 0.2), (400.0, 10.0), (900.0, 0.25)])
def test_what_is_spent_beside_counts_against_both_limits(first: float, second: float) -> None:
    costs, limit, beside = two_costs(), np.array([first, second]), np.array([90.0, 0.03])
    everything, high = np.ones(len(costs), bool), ceilings(USERS.rewards, costs)

    def found(limit: np.ndarray, *beside: np.ndarray) -> np.ndarray:
        return solve_prices(Sample(USERS.rewards, costs, everything, *beside), limit, high / 9, np.zeros(2), high)

    assert found(limit + beside, beside) == pytest.approx(found(limit), rel=0.03)


def test_two_limits_are_met_online() -> None:
    costs, limit = two_costs(), np.array([400.0, 0.1]) * 3000
    trace = run(Predictive(), USERS.rewards, costs, lambda _: limit, windows=80, requests=lambda _: 3000)
    settled = trace.relative[40:].mean(axis=0)
    assert settled.max() == pytest.approx(1.0, abs=0.01)
    assert (trace.prices[-1] > 0).any()


def test_a_limit_of_infinity_among_others_is_free() -> None:
    costs, limit = two_costs(), np.array([400.0 * 3000, np.inf])
    trace = run(Predictive(), USERS.rewards, costs, lambda _: limit, windows=60, requests=lambda _: 3000)
    assert trace.prices[-1, 1] == 0.0
    assert trace.relative[30:, 0].mean() == pytest.approx(1.0, abs=0.01)


def spends(strategy: Predictive, **kwargs: object) -> np.ndarray:
    limits = kwargs.pop("limits", lambda _: LIMIT)
    trace: Trace = run(strategy, USERS.rewards, COSTS, limits, requests=lambda _: REQUESTS, **kwargs)
    return trace.relative[:, 0]


def test_a_limit_that_halves_on_schedule_is_met_in_its_first_window() -> None:
    relative = spends(Predictive(), limits=lambda t: LIMIT if t < 60 else LIMIT / 2, windows=65)
    assert relative[60] == pytest.approx(1.0, abs=0.05)


def test_measurements_five_windows_late_do_not_make_it_swing() -> None:
    relative = spends(Predictive(), windows=150, late=5)
    assert relative[60:].std() < 0.02
    assert relative[60:].mean() == pytest.approx(1.0, abs=0.005)


def test_it_is_back_within_the_limit_two_windows_after_the_load_trebles() -> None:
    trace = run(
        Predictive(), USERS.rewards, COSTS, lambda _: LIMIT, 70, requests=lambda t: REQUESTS * (3 if t >= 60 else 1)
    )
    assert trace.relative[60, 0] > 2.5
    assert trace.relative[62:, 0].max() < 1.05


def test_with_few_requests_a_window_mean_spend_still_meets_the_limit() -> None:
    """Logarithms of small counts lie below the logarithm of their mean; following them would overspend."""
    few = np.array([10 * 500.0])
    trace = run(Predictive(), USERS.rewards, COSTS, lambda _: few, windows=1500, requests=lambda _: 10)
    assert trace.relative[300:].mean() == pytest.approx(1.0, abs=0.06)


def test_when_chains_leave_the_mask_the_others_meet_the_limit_in_the_next_window() -> None:
    state = run(Predictive(), USERS.rewards, COSTS, lambda _: LIMIT, 60, requests=lambda _: REQUESTS).states[-1]
    everything = np.ones(len(COSTS), bool)
    fewer = everything & (np.arange(len(COSTS)) % 4 != 0)
    spend = REQUESTS * COSTS[chains_under(USERS.rewards, COSTS, state.prices)].mean(axis=0)
    terms = Terms(state.prices, LIMIT, everything)
    seen = Observation(REQUESTS, spend, terms, USERS.rewards[:64], COSTS, LIMIT, fewer)
    after = Predictive().step(state, seen)
    chains = chains_under(USERS.rewards, COSTS, after.prices, fewer)
    assert fewer[chains].all()
    assert REQUESTS * COSTS[chains].mean() == pytest.approx(LIMIT[0], rel=0.03)


def test_another_chain_space_starts_another_reservoir() -> None:
    state = run(Predictive(), USERS.rewards, COSTS, lambda _: LIMIT, 20, requests=lambda _: REQUESTS).states[-1]
    half = slice(0, len(COSTS) // 2)
    terms = Terms(state.prices, LIMIT, np.ones(len(COSTS[half]), bool))
    rows = USERS.rewards[:64, half]
    after = Predictive().step(state, Observation(REQUESTS, LIMIT, terms, rows, COSTS[half], LIMIT, terms.available))
    assert (after.rows == rows).all()
    assert np.isfinite(after.prices).all()


class Misled(Predictive):
    """Believes that chains cost two thirds of what they do."""

    def step(self, state: PredictiveState, seen: Observation) -> PredictiveState:
        return super().step(state, replace(seen, costs=seen.costs / 1.5))


def test_what_its_sample_misjudges_is_corrected_by_what_was_measured() -> None:
    trace = run(Misled(), USERS.rewards, COSTS, lambda _: LIMIT, 60, requests=lambda _: REQUESTS)
    assert trace.relative[30:].mean() == pytest.approx(1.0, abs=0.005)


def test_without_requests_it_holds_its_shape_and_resumes() -> None:
    trace = run(Predictive(), USERS.rewards, COSTS, lambda _: LIMIT, 60, requests=lambda t: 0 if t == 40 else REQUESTS)
    assert np.isfinite(trace.prices).all()
    assert trace.relative[44:, 0] == pytest.approx(np.ones(16), abs=0.05)


def follow(values: list[float], how: Tracking = HOW) -> Tracker:
    tracker = started(values[0], how)
    for value in values[1:]:
        tracker = tracked(tracker, value, how, least_noise=0.01)
    return tracker


@given(st.floats(-5, 5), st.floats(0.5, 3))
def test_a_spike_of_one_window_leaves_the_forecast_where_it_was(level: float, height: float) -> None:
    assert follow([level] * 60 + [level + height, level]).ahead() == pytest.approx(level, abs=0.01)


@given(st.floats(-5, 5), st.floats(0.5, 3))
def test_a_step_is_followed_in_one_window(level: float, height: float) -> None:
    before = [level] * 60
    assert follow([*before, level + height]).ahead() == pytest.approx(level + height, abs=0.01)
    assert follow([*before, level + height, level + height]).ahead() == pytest.approx(level + height, abs=0.01)


def test_where_outliers_were_always_spikes_the_next_one_is_not_followed_and_a_step_is_one_window_later() -> None:
    spikes = ([0.0] * 20 + [1.0]) * 6
    assert follow(spikes).ahead() == pytest.approx(0.0, abs=0.02)
    assert follow([*spikes, 1.0]).ahead() == pytest.approx(1.0, abs=0.02)


def test_a_steady_climb_is_forecast_without_lag() -> None:
    climb = [0.002 * t for t in range(400)]
    assert follow(climb).ahead() == pytest.approx(0.002 * 400, abs=0.001)


def test_the_forecast_of_noise_is_steadier_than_the_noise() -> None:
    noise = np.random.default_rng(1).normal(0, 0.02, 600)
    errors = [follow(list(noise[:n])).ahead() for n in range(100, 600, 25)]
    assert np.std(errors) < 0.01


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=20), st.floats(-2, 2))
def test_a_shifted_tracker_forecasts_the_shifted_quantity(values: list[float], by: float) -> None:
    assert shifted(follow(values), by).ahead() == pytest.approx(follow(values).ahead() + by, abs=1e-9)


@given(st.integers(0, 60), st.integers(0, 40), st.floats(0, 1))
def test_the_reservoir_never_outgrows_its_size_and_holds_only_rows_it_was_given(
    old: int, new: int, share: float
) -> None:
    rows, fresh = np.arange(old, dtype=np.float32)[:, None], 100 + np.arange(new, dtype=np.float32)[:, None]
    after = refreshed(rows, fresh, 50, share, np.random.default_rng(0))
    assert len(after) == max(min(old + new, 50), old)
    assert set(after[:, 0]) <= set(rows[:, 0]) | set(fresh[:, 0])
    assert (rows[:, 0] == np.arange(old)).all()
