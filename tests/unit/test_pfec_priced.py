"""Allocation by price on every draw at once: exactly what solving each draw by itself gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pfec_case import case_of
from small_space import SPACE

from allocator.optimum import bisect_price
from allocator.pfec.case import budgets_for, knots_for
from allocator.pfec.measure import NOWHERE, Decided, Mixed
from allocator.pfec.methods import same_numbers, same_variants
from allocator.pfec.priced import Priced, hulls
from allocator.pfec.resample import Draws

CASE = case_of(users=60, training=60)
EVERYTHING = np.ones(len(SPACE), bool)
BUDGETS = budgets_for(CASE, 6)
WEIGHTS = Draws.of(60, 5, seed=3).weights


@given(
    arrays(np.float64, (4, 9), elements=st.floats(0, 10)),
    arrays(np.float64, 9, elements=st.integers(1, 20).map(float)),
    st.floats(0.001, 5),
)
@settings(max_examples=200)
def test_at_any_price_the_best_chain_lies_on_the_hull(rewards: np.ndarray, cost: np.ndarray, price: float) -> None:
    chains, slopes = hulls(rewards, cost)
    at = (slopes > price).sum(axis=1)
    chosen = chains[np.arange(4), at]
    net = rewards - price * cost
    assert net[np.arange(4), chosen] == pytest.approx(net.max(axis=1), abs=1e-9)


@given(arrays(np.float64, (3, 8), elements=st.floats(0, 10)))
def test_slopes_fall_along_a_hull_and_costs_rise(rewards: np.ndarray) -> None:
    cost = np.arange(1.0, 9.0)
    chains, slopes = hulls(rewards, cost)
    assert (np.diff(slopes, axis=1) <= 1e-9 * (1 + slopes[:, 1:])).all()
    assert (np.diff(cost[chains], axis=1) >= 0).all()


def test_with_true_rewards_it_is_the_linear_programmes_optimum_on_every_draw() -> None:
    measured = Priced(CASE, CASE.rewards, EVERYTHING, BUDGETS).measured(WEIGHTS)
    for draw, counts in enumerate(WEIGHTS.astype(int)):
        users = np.repeat(CASE.rewards, counts, axis=0)
        for n, budget in enumerate(BUDGETS):
            exact = bisect_price(users, CASE.cost, budget * len(users)).bound / len(users)
            assert measured.reward[draw, n] == pytest.approx(exact, rel=1e-9)


def test_a_draw_is_decided_as_if_its_users_had_come() -> None:
    """Up to the one request that the price would split."""
    measured = Priced(CASE, CASE.predictions, EVERYTHING, BUDGETS).measured(WEIGHTS)
    for draw, counts in enumerate(WEIGHTS.astype(int)):
        at = np.repeat(np.arange(60), counts)
        for n, budget in enumerate(BUDGETS):
            chains = bisect_price(CASE.predictions[at], CASE.cost, budget * len(at)).chains
            step = np.ptp(CASE.rewards, axis=1).max() * counts.max() / 60
            assert abs(measured.reward[draw, n] - CASE.rewards[at, chains].mean()) <= step


def test_spend_meets_the_budget_until_nobody_wants_more() -> None:
    measured = Priced(CASE, CASE.predictions, EVERYTHING, BUDGETS).measured(WEIGHTS)
    most = WEIGHTS @ CASE.cost[CASE.predictions.argmax(axis=1)] / 60
    np.testing.assert_allclose(measured.spend, np.minimum(BUDGETS, most[:, None]), rtol=1e-9)
    np.testing.assert_allclose(measured.joules, measured.spend / 1e9, rtol=1e-9)


@pytest.mark.parametrize("allowed", [same_variants(CASE), same_numbers(CASE)])
def test_a_budget_below_the_allowed_chains_has_no_figures(allowed: np.ndarray) -> None:
    least = CASE.cost[allowed].min()
    knots = np.array([least * 0.99, least, least * 1.01])
    measured = Priced(CASE, CASE.predictions, allowed, knots).measured(WEIGHTS)
    assert np.isnan(measured.reward[:, 0]).all()
    assert np.isfinite(measured.reward[:, 1:]).all()
    assert np.isfinite(measured.joules[:, 1:]).all()


def test_few_entries_at_once_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    method = Priced(CASE, CASE.predictions, EVERYTHING, BUDGETS)
    whole = method.measured(WEIGHTS)
    monkeypatch.setattr("allocator.pfec.priced.CHUNK", 1)
    np.testing.assert_allclose(method.measured(WEIGHTS).reward, whole.reward, rtol=1e-12)


def test_where_all_chains_cost_alike_everybody_takes_the_best() -> None:
    chains, slopes = hulls(CASE.rewards, np.ones(len(SPACE)))
    np.testing.assert_array_equal(chains[:, 0], CASE.rewards.argmax(axis=1))
    assert slopes.shape == (60, 0)


def test_ablations_keep_the_static_chains_variants_or_numbers() -> None:
    static = SPACE.static.actions
    for index in np.flatnonzero(same_variants(CASE)):
        assert [a.variant for a in SPACE.chains[index].actions] == [a.variant for a in static]
    for index in np.flatnonzero(same_numbers(CASE)):
        assert [a.items for a in SPACE.chains[index].actions] == [a.items for a in static]
    assert same_numbers(CASE).sum() == 4
    assert same_variants(CASE).sum() == 4 * 4 - 3


def test_decided_chains_are_weighed_as_they_are() -> None:
    rng = np.random.default_rng(0)
    chains = rng.integers(0, len(SPACE), (2, 60))
    chains[1] = NOWHERE
    measured = Decided(CASE, chains).measured(WEIGHTS)
    for draw, counts in enumerate(WEIGHTS.astype(int)):
        at = np.repeat(np.arange(60), counts)
        assert measured.reward[draw, 0] == pytest.approx(CASE.rewards[at, chains[0, at]].mean())
        assert measured.spend[draw, 0] == pytest.approx(CASE.cost[chains[0, at]].mean())
    assert np.isnan(measured.reward[:, 1]).all()


def test_a_mix_earns_its_expectation() -> None:
    shares = np.zeros((1, len(SPACE)))
    shares[0, [2, 5]] = 0.25, 0.75
    measured = Mixed(CASE, shares).measured(WEIGHTS)
    expected = 0.25 * CASE.rewards[:, 2] + 0.75 * CASE.rewards[:, 5]
    np.testing.assert_allclose(measured.reward[:, 0], WEIGHTS @ expected / 60)
    np.testing.assert_allclose(measured.spend[:, 0], 0.25 * CASE.cost[2] + 0.75 * CASE.cost[5])


def test_knots_hold_every_budget() -> None:
    knots = knots_for(BUDGETS)
    assert (np.diff(knots) > 0).all()
    assert set(BUDGETS) <= set(knots)
