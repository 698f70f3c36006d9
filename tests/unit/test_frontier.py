"""The frontier is the linear programme's optimum at every budget, and what single prices spend and earn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from allocator.choice import chains_under, rewards_of
from allocator.frontier import Frontier
from allocator.optimum import lp_bound


def drawn(seed: int, users: int, chains: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.gamma(2.0, size=(users, chains)).astype(np.float32), rng.uniform(1, 10, chains)


@examples(max_examples=25)
@given(st.integers(0, 10_000), st.integers(1, 20), st.integers(1, 8), st.floats(0, 1))
def test_what_a_budget_earns_is_the_linear_programmes_optimum(seed: int, users: int, chains: int, at: float) -> None:
    rewards, cost = drawn(seed, users, chains)
    budget = float(cost.min() + at * np.ptp(cost)) * (1 + 1e-9)
    found = float(Frontier.of(rewards, cost).within(np.array([budget]))[0])
    assert found * users == pytest.approx(lp_bound(rewards, cost[:, None], np.array([budget * users])).value, rel=1e-6)


@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 8), st.floats(0, 2))
def test_what_a_price_spends_and_earns_is_what_its_decisions_do(
    seed: int, users: int, chains: int, price: float
) -> None:
    rewards, cost = drawn(seed, users, chains)
    chosen = chains_under(rewards.astype(np.float64), cost[:, None], np.array([price]))
    spent, earned = Frontier.of(rewards, cost).at(np.array([price]))
    assert float(spent[0]) == pytest.approx(cost[chosen].mean())
    assert float(earned[0]) == pytest.approx(float(rewards_of(rewards, chosen).mean()), rel=1e-5)


@given(st.integers(0, 10_000), st.integers(2, 30), st.integers(2, 8), st.floats(0.01, 1))
def test_the_price_of_a_budget_is_where_spend_crosses_it(seed: int, users: int, chains: int, at: float) -> None:
    frontier = Frontier.of(*drawn(seed, users, chains))
    budget = float(frontier.cost[0] + at * (frontier.cost[-1] - frontier.cost[0]))
    price = frontier.price(np.array([budget]))
    above, below = frontier.at(price * (1 + 1e-9))[0], frontier.at(price * (1 - 1e-9))[0]
    assert above[0] <= budget * (1 + 1e-9)
    assert below[0] >= budget * (1 - 1e-9) or price[0] == 0
