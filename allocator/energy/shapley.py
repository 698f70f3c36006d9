"""What each request of a run ought to bear: exact Shapley values, to judge the rule that requests are billed by.

The value of a request is what it adds to the cost of a run, on average over all orders in which the requests might have
joined (Shapley, A value for n-person games, 1953). It needs the cost of every subset: for a few requests, offline.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import nnls

from allocator.choice import Floats
from allocator.energy.attribution import run_shares

MOST_REQUESTS = 12


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """One run of R requests.

    exact  (R,) Shapley values
    ruled  (R,) what the rule has them bear, by the line through all subsets' costs, scaled to the cost of the run
    """

    exact: Floats
    ruled: Floats

    @property
    def relative(self) -> Floats:
        """(R,) how much more than its Shapley value each request bears, as a share of the run's cost per request."""
        relative: Floats = (self.ruled - self.exact) / self.exact.mean()
        return relative


def costs_of(cost: Callable[[Sequence[int]], float], requests: int) -> Floats:
    """The cost of every subset, (2^R,): bit i of the index says that request i is in it. Nobody costs nothing.

    cost  of a run of these requests, by their numbers in ascending order; never asked of none
    """
    if not 1 <= requests <= MOST_REQUESTS:
        raise ValueError(f"Shapley values of {requests} requests: 1 to {MOST_REQUESTS} can be worked out")
    subsets = ([i for i in range(requests) if mask >> i & 1] for mask in range(1, 2**requests))
    return np.array([0.0, *(cost(subset) for subset in subsets)])


def shapley(costs: Floats) -> Floats:
    """Exact Shapley values (R,) of the game with these costs (2^R,). They add up to the cost of all."""
    requests = len(costs).bit_length() - 1
    masks = np.arange(len(costs))
    size = np.bitwise_count(masks)
    weight = np.array([1 / (requests * math.comb(requests - 1, s)) for s in range(requests)])
    values = np.empty(requests)
    for i in range(requests):
        without = masks[masks >> i & 1 == 0]
        values[i] = weight[size[without]] @ (costs[without | 1 << i] - costs[without])
    return values


def compared(costs: Floats, items: Sequence[int]) -> Comparison:
    """The rule against exact values: a run whose requests have so many items each, (R,), and costs as `costs_of`."""
    own = np.asarray(items, np.float64)
    masks = np.arange(1, len(costs))
    total = (masks[:, None] >> np.arange(len(own)) & 1) @ own
    size = np.maximum(costs[1:], 1e-12 * float(costs.max()))
    design = np.stack([1 / size, total / size], axis=1)
    length = np.linalg.norm(design, axis=0)
    call_j, item_j = (nnls(design / length, costs[1:] / size)[0] / length).tolist()
    ruled = run_shares(call_j, item_j, own)
    return Comparison(shapley(costs), ruled * (float(costs[-1]) / float(ruled.sum())))
