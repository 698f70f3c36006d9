"""The first prices: from what the reward model says of the users on file, before any request has come."""

from dataclasses import dataclass
from math import inf, isinf

import numpy as np

from allocator.choice import Floats, Mask, Rewards
from allocator.price.base import start_bounds, updated_bounds, usable
from allocator.price.sample import Sample
from allocator.price.solve import solve_prices


@dataclass(frozen=True, slots=True, eq=False)
class Start:
    """What is known before the first request.

    rewards         (S, J) predicted rewards of a sample of users
    requests_per_s  what the operator expects; infinity where nobody knows
    """

    rewards: Rewards
    requests_per_s: float = inf


def start_prices(
    rewards: Rewards, costs: Floats, available: Mask, limit: Floats, requests: float, beside: Floats | float = 0.0
) -> Floats:
    """Prices (M,) at which so many requests like those of `rewards` (S, J) spend `limit` (M,) in all.

    Infinitely many requests stand for a rate that nobody knows: the price is then one at which all take a chain that is
    cheapest in the resource, or next to it, which meets every limit that can be met at all, or next to all. Zero for a
    resource without a limit (infinite), where the limit is not reached, and without usable rows. costs (J, M),
    available (J,); beside (M,) as in `Sample`.
    """
    rows, free = usable(rewards), np.zeros(len(limit))
    if not len(rows) or not available.any():
        return free
    ceiling = updated_bounds(start_bounds(free), rows, costs, available).ceiling
    if isinf(requests):
        return np.where(np.isfinite(limit), ceiling, 0.0)
    return solve_prices(Sample(rows, costs, available, beside), limit / requests, free, free, ceiling)
