"""Pruning: which chains others outdo, and that nobody misses those that are outdone for every user."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from allocator.choice import chains_under, rewards_of
from allocator.dominated import dominated
from allocator.optimum import dual_bound, lp_bound

PRICES = st.lists(st.floats(0, 4), min_size=2, max_size=2).map(np.array)


def instance(seed: int, users: int = 4, chains: int = 9) -> tuple[np.ndarray, np.ndarray]:
    """Few different values, so that many chains outdo others and many are alike."""
    rng = np.random.default_rng(seed)
    base, own = rng.integers(0, 4, chains), rng.integers(0, 2, (users, chains))
    return (base + own).astype(np.float32), rng.integers(1, 4, (chains, 2)).astype(np.float64)


@given(st.integers(0, 10_000))
def test_a_chain_is_dominated_exactly_when_another_outdoes_it(seed: int) -> None:
    rewards, costs = instance(seed)
    everything = np.concatenate([-rewards.T, costs], axis=1)
    outdone = [
        any((other <= one).all() and ((other < one).any() or i < j) for i, other in enumerate(everything) if i != j)
        for j, one in enumerate(everything)
    ]
    assert dominated(rewards, costs).tolist() == outdone


@given(st.integers(0, 10_000), PRICES)
def test_without_chains_that_are_outdone_for_every_user_each_decision_is_worth_the_same(
    seed: int, prices: np.ndarray
) -> None:
    rewards, costs = instance(seed)
    worth = [
        rewards_of(rewards, chosen) - costs[chosen] @ prices
        for chosen in (
            chains_under(rewards, costs, prices),
            chains_under(rewards, costs, prices, ~dominated(rewards, costs)),
        )
    ]
    np.testing.assert_allclose(worth[0], worth[1], atol=1e-5)


@given(st.integers(0, 10_000), st.floats(0.1, 0.9))
def test_without_them_the_optimum_is_the_same(seed: int, ease: float) -> None:
    rewards, costs = instance(seed)
    left = ~dominated(rewards, costs)
    # Some chain must be cheap in both resources, or a limit between the extremes could be out of reach.
    costs[int(np.flatnonzero(left)[0])] = costs.min(axis=0)
    left = ~dominated(rewards, costs)
    limits = len(rewards) * (costs.min(axis=0) + ease * np.ptp(costs, axis=0)) + 1e-9
    whole, pruned = (lp_bound(rewards, costs, limits, mask) for mask in (None, left))
    np.testing.assert_allclose(whole.value, pruned.value, rtol=1e-7)
    np.testing.assert_allclose(dual_bound(rewards, costs, limits, left).value, whole.value, rtol=1e-4, atol=1e-4)


def test_a_chain_that_is_outdone_on_the_mean_may_be_some_users_best() -> None:
    rewards, cost = np.array([[3.0, 1.0], [0.0, 1.0]]), np.ones((2, 1))
    assert dominated(rewards.mean(axis=0, keepdims=True), cost).tolist() == [False, True]
    assert not dominated(rewards, cost).any()
    assert chains_under(rewards, cost, np.zeros(1)).tolist() == [0, 1]


def test_of_chains_alike_in_everything_the_first_is_kept() -> None:
    assert dominated(np.ones((2, 3)), np.ones((3, 2))).tolist() == [False, True, True]
