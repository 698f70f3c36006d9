"""Start prices meet the limit on the users that they were made from, whatever is known of the rate."""

from math import inf

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reward_rows import chain_costs, draw
from tiny_cascade import TinyCascade
from tiny_reward import space_of, with_reward

from allocator.choice import chains_under
from allocator.known_users import known_rewards
from allocator.price.start import start_prices
from allocator.reward import RewardModel, context_of
from models.features import UserQuery
from models.loading import Cascade

ROWS = draw(600, 5).rewards
COSTS = chain_costs()[:, None]
ALL = np.ones(len(COSTS), bool)


@given(share=st.floats(0.05, 1.2), requests=st.floats(1e-3, 1e9))
def test_expected_requests_spend_the_limit_or_less_where_that_is_possible(share: float, requests: float) -> None:
    limit = share * float(COSTS[ROWS.argmax(axis=1)].mean())
    prices = start_prices(ROWS, COSTS, ALL, np.array([limit * requests]), requests)
    spend = float(COSTS[chains_under(ROWS, COSTS, prices)].mean())
    if share >= 1:
        assert prices.tolist() == [0.0]
    else:
        assert spend == pytest.approx(max(limit, float(COSTS.min())), rel=0.06)


@given(seed=st.integers(0, 2**31), limit=st.floats(0, 1e12))
def test_at_an_unknown_rate_everybody_takes_a_cheapest_chain(seed: int, limit: float) -> None:
    rng = np.random.default_rng(seed)
    rows, costs = rng.normal(size=(20, 7)).astype(np.float32), rng.integers(1, 5, (7, 1)).astype(float)
    prices = start_prices(rows, costs, np.ones(7, bool), np.array([limit]), inf)
    assert (costs[chains_under(rows, costs, prices)] == costs.min()).all()


def test_a_resource_without_a_limit_has_no_price() -> None:
    costs, limit = np.repeat(COSTS, 2, axis=1), np.array([inf, 50.0])
    unknown = start_prices(ROWS, costs, ALL, limit, inf)
    assert unknown[0] == 0.0 < unknown[1]
    expected = start_prices(ROWS, costs, ALL, limit * 10, 10.0)
    assert expected[0] == 0.0 < expected[1]


@pytest.mark.parametrize("requests", [10.0, inf])
def test_prices_are_finite_whatever_the_rows(requests: float) -> None:
    limit = np.array([50.0])
    broken = ROWS.copy()
    broken[:300, 4] = np.nan
    assert np.isfinite(start_prices(broken, COSTS, ALL, limit, requests)).all()
    assert start_prices(broken[:300], COSTS, ALL, limit, requests).tolist() == [0.0]
    assert start_prices(ROWS[:0], COSTS, ALL, limit, requests).tolist() == [0.0]
    assert start_prices(ROWS, COSTS, ~ALL, limit, requests).tolist() == [0.0]


def test_users_on_file_are_drawn_once_each_with_their_own_rewards(tiny: TinyCascade, tmp_path_factory) -> None:
    rewarded = with_reward(tiny, tmp_path_factory.mktemp("known") / "cascade")
    cascade = Cascade.open(rewarded.folder)
    model = RewardModel.open(rewarded.folder, cascade.spec, space_of(rewarded))
    users = cascade.users.rows([UserQuery(user) for user in rewarded.user_ids.tolist()])
    everybody = {tuple(row) for row in model.predict(context_of(users)).tolist()}
    found = known_rewards(cascade, model, 1000)
    assert {tuple(row) for row in found.tolist()} == everybody
    assert len(found) == len(rewarded.user_ids)
    some = known_rewards(cascade, model, 3, seed=1)
    assert some.tolist() == known_rewards(cascade, model, 3, seed=1).tolist()
    assert {tuple(row) for row in some.tolist()} < everybody
