"""Offline optima against the linear programme, which knows nothing of prices."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from reward_rows import draw

from allocator.choice import ceilings, chains_under
from allocator.cutting_plane import dual_at
from allocator.optimum import bisect_price, dual_bound, lp_bound
from models.errors import FixRequest

Floats = NDArray[np.float64]
Instance = tuple[Floats, Floats, Floats]


@st.composite
def instances(draw: st.DrawFn, most_resources: int = 3) -> Instance:
    """Rewards, costs, and total limits between what the cheapest and what the dearest chains spend."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    requests, chains = draw(st.integers(1, 25)), draw(st.integers(2, 12))
    resources = draw(st.integers(1, most_resources))
    scale = 10.0 ** draw(st.integers(-3, 10))
    rewards = rng.gamma(1.0, 1.0, (requests, chains))
    costs = rng.uniform(0.1, 1.0, (chains, resources)) * scale
    costs[0] = 0.05 * scale  # one chain is cheap in all resources, so every limit below can be met
    share = draw(st.floats(0.0, 1.0))
    low, high = costs.min(axis=0), costs.max(axis=0)
    return rewards, costs, requests * (low + share * (high - low))


@given(instances())
def test_the_dual_reaches_the_linear_programmes_optimum(instance: Instance) -> None:
    exact, dual = lp_bound(*instance), dual_bound(*instance)
    assert dual.value == pytest.approx(exact.value, rel=1e-5)
    assert dual.value >= exact.value - 1e-7 * abs(exact.value)
    assert dual.value - exact.value <= dual.gap + 1e-7 * abs(exact.value)


@given(instances(most_resources=1))
def test_bisection_stays_within_the_limit_and_its_bound_is_the_linear_programmes(instance: Instance) -> None:
    rewards, costs, limits = instance
    found, exact = bisect_price(rewards, costs[:, 0], float(limits[0])), lp_bound(*instance)
    assert found.spend[0] <= limits[0] * (1 + 1e-12)
    assert found.bound == pytest.approx(exact.value, rel=1e-6)
    assert found.reward <= found.bound * (1 + 1e-9)


@given(instances(most_resources=1))
def test_bisection_misses_at_most_one_requests_step(instance: Instance) -> None:
    rewards, costs, limits = instance
    found = bisect_price(rewards, costs[:, 0], float(limits[0]))
    # Continuous rewards do not tie: between two neighbouring prices one request changes its chain.
    assert found.bound - found.reward <= np.ptp(rewards, axis=1).max() + 1e-9


@given(instances(), st.floats(0.0, 10.0))
def test_any_price_gives_a_bound(instance: Instance, factor: float) -> None:
    rewards, costs, limits = instance
    prices = factor * ceilings(rewards, costs) / 3
    point = dual_at(rewards, costs, limits / len(rewards), prices)
    assert point.value * len(rewards) >= lp_bound(*instance).value * (1 - 1e-9)


@given(instances())
def test_the_programmes_prices_lead_back_to_its_value(instance: Instance) -> None:
    rewards, costs, limits = instance
    exact = lp_bound(*instance)
    assert (exact.prices >= 0).all()
    value = dual_at(rewards, costs, limits / len(rewards), exact.prices).value * len(rewards)
    assert value == pytest.approx(exact.value, rel=1e-6)


@given(instances())
def test_above_its_ceiling_a_price_leaves_only_the_cheapest_chains(instance: Instance) -> None:
    rewards, costs, _ = instance
    for m in range(costs.shape[1]):
        prices = np.zeros(costs.shape[1])
        prices[m] = ceilings(rewards, costs)[m] * (1 + 1e-6)
        chains = chains_under(rewards, costs, prices)
        if prices[m] > 0:
            assert (costs[chains, m] == costs[:, m].min()).all()


@given(instances(), st.floats(0.0, 2.0))
def test_above_its_ceiling_a_price_leaves_only_chains_near_the_cheapest(instance: Instance, near: float) -> None:
    rewards, costs, _ = instance
    least = costs.min(axis=0)
    high = ceilings(rewards, costs, near=near)
    assert (high <= ceilings(rewards, costs)).all()
    for m in np.flatnonzero(high):
        prices = np.zeros(costs.shape[1])
        prices[m] = high[m] * (1 + 1e-6)
        chains = chains_under(rewards, costs, prices)
        assert (costs[chains, m] <= (1 + near) * least[m] * (1 + 1e-12)).all()


def test_chains_that_are_not_available_count_for_nothing() -> None:
    users = draw(30, seed=1)
    available = np.arange(len(users.cost)) % 3 == 0
    limit = 30 * 400.0
    found = bisect_price(users.rewards, users.cost, limit, available)
    assert available[found.chains].all()
    alone = lp_bound(users.rewards[:, available], users.cost[available, None], np.array([limit]))
    masked = lp_bound(users.rewards, users.cost[:, None], np.array([limit]), available)
    assert masked.value == pytest.approx(alone.value)
    assert found.bound == pytest.approx(alone.value, rel=1e-6)
    assert dual_bound(users.rewards, users.cost[:, None], np.array([limit]), available).value == pytest.approx(
        alone.value, rel=1e-5
    )


def test_a_limit_that_no_chain_meets_is_refused() -> None:
    users = draw(5, seed=1)
    below = np.array([5 * users.cost.min() * 0.99])
    for solve in (lp_bound, dual_bound):
        with pytest.raises(FixRequest, match="raise the limits"):
            solve(users.rewards, users.cost[:, None], below)
    with pytest.raises(FixRequest, match="raise the limits"):
        bisect_price(users.rewards, users.cost, float(below[0]))
    with pytest.raises(FixRequest, match="available"):
        bisect_price(users.rewards, users.cost, 1e9, np.zeros(len(users.cost), bool))


def test_limits_that_only_together_cannot_be_met_are_refused() -> None:
    rewards, costs = np.ones((4, 2)), np.array([[1.0, 3.0], [3.0, 1.0]])
    for solve in (lp_bound, dual_bound):
        with pytest.raises(FixRequest, match="raise the limits"):
            solve(rewards, costs, np.array([6.0, 6.0]))


def test_without_limits_everybody_takes_the_best_chain() -> None:
    users = draw(20, seed=2)
    best = float(users.rewards.max(axis=1).sum(dtype=np.float64))
    nothing = np.array([np.inf])
    assert lp_bound(users.rewards, users.cost[:, None], nothing).value == pytest.approx(best)
    assert dual_bound(users.rewards, users.cost[:, None], nothing).value == pytest.approx(best)
    assert bisect_price(users.rewards, users.cost, np.inf).reward == pytest.approx(best)
