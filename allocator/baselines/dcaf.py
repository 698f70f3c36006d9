"""DCAF: dynamic item numbers by one price, found by bisection."""

from dataclasses import dataclass

import numpy as np

from allocator.baselines.items import ItemGrid
from allocator.choice import Floats, Ints, Rewards
from models.errors import FixRequest

HALVINGS = 60


@dataclass(frozen=True, slots=True, eq=False)
class Dcaf:
    """DCAF-style: every stage takes, per request, the item number with the best value minus price times cost.

    Source: DCAF (Jiang et al., arXiv 2006.09684): value of a request per quota of one module, one Lagrange multiplier,
    found by bisection on logs.
    Simplified: its value estimator is replaced by the reward estimates that all methods share here, read stage by stage
    (the stage's own number varies, the others are static); its single module by every stage, each on its own but under
    one price; its online control of peaks is left out. It cannot choose variants, nor see that stages interact.

    price   what a unit of cost is worth
    """

    grid: ItemGrid
    cost: Floats
    price: float

    def allocate(self, rewards: Rewards) -> Ints:
        """A chain per row of the estimated rewards (N, J), (N,)."""
        stages = range(len(self.grid.numbers))
        return self.grid.chains(np.stack([self._places(rewards, stage) for stage in stages], axis=1))

    def _places(self, rewards: Rewards, stage: int) -> Ints:
        net = self.grid.value(rewards, stage) - self.price * self.grid.price_of(self.cost, stage)
        places: Ints = net.argmax(axis=1)
        return places


def dcaf(grid: ItemGrid, rewards: Rewards, cost: Floats, budget: float) -> Dcaf:
    """DCAF with the lowest price at which these requests (rewards (N, J), cost (J,)) spend at most `budget` on average.

    Raises FixRequest when the smallest numbers cost more: item numbers alone cannot meet every budget.
    """

    def at(price: float) -> Dcaf:
        return Dcaf(grid, cost, price)

    def spends(price: float) -> float:
        return float(cost[at(price).allocate(rewards)].mean())

    if spends(0.0) <= budget:
        return at(0.0)
    low, high = 0.0, _dearest(grid, rewards, cost)
    if spends(high) > budget:
        least = float(cost[grid.lookup.flat[0]])
        raise FixRequest(
            "budget", f"{budget} is below {least}, the cost of the static chain's variants with fewest items"
        )
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if spends(middle) > budget else (low, middle)
    return at(high)


def _dearest(grid: ItemGrid, rewards: Rewards, cost: Floats) -> float:
    """A price at which every stage of every row takes its smallest number."""
    steepest = 1e-300
    for stage in range(len(grid.numbers)):
        extra = grid.price_of(cost, stage)
        dearer = extra > 0
        if dearer.any():
            steepest = max(steepest, float((grid.value(rewards, stage)[:, dearer] / extra[dearer]).max()))
    return 2 * steepest
