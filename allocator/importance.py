"""Which chains an allocation ever takes: of the others a reward model need not know much."""

import numpy as np

from allocator.choice import Floats, Rewards, ceilings, chains_under

PRICES = 24
LOWEST = 1e-3
FLOOR = 0.2
"""The share of all importance that is spread over all chains alike: what no user takes today, one may take tomorrow."""


def importance(rewards: Rewards, cost: Floats) -> Floats:
    """How much each chain matters, (J,), mean 1: how often users take it in the best allocations at all prices.

    rewards (N, J), true ones; cost (J,). The prices stand in equal ratios, from the one at which the cheapest chain is
    best for the users' mean to `LOWEST` of it.
    """
    costs = cost[:, None]
    highest = float(ceilings(rewards.mean(axis=0, keepdims=True, dtype=np.float64), costs)[0])
    if not highest > 0:
        return np.ones(len(cost))
    taken = np.zeros(len(cost))
    for price in np.geomspace(LOWEST * highest, highest, PRICES):
        taken += np.bincount(chains_under(rewards, costs, np.array([price])), minlength=len(cost))
    weighed: Floats = FLOOR + (1 - FLOOR) * taken * len(cost) / taken.sum()
    return weighed
