"""A chain's importance: how often the best allocations take it."""

import numpy as np
import pytest

from allocator.importance import FLOOR, importance


def test_chains_that_nobody_ever_takes_matter_least() -> None:
    rng = np.random.default_rng(0)
    cost = np.array([1.0, 2.0, 3.0, 4.0])
    rewards = np.stack([np.zeros(200), rng.random(200), np.full(200, -1.0), 1.0 + rng.random(200)], axis=1)
    found = importance(rewards, cost)
    assert found[2] == pytest.approx(FLOOR)
    assert (found[[0, 1, 3]] > FLOOR).all()
    assert found.mean() == pytest.approx(1.0)


def test_all_chains_matter_alike_where_more_earns_nothing() -> None:
    assert importance(np.zeros((5, 3)), np.array([1.0, 2.0, 3.0])).tolist() == [1.0, 1.0, 1.0]
