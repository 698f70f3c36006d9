"""CRAS: item numbers per stage as independent problems, held to their budgets by feedback."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from allocator.baselines.items import ItemGrid
from allocator.choice import Floats, Ints, Rewards
from models.errors import FixRequest

HALVINGS = 60


@dataclass(frozen=True, slots=True, eq=False)
class Cras:
    """CRAS-style: each stage has a budget and a price of its own; a request's value scales one revenue curve per stage.

    Source: CRAS (Yang et al., arXiv 2103.02259): the constraints are taken apart into independent sub-problems, one per
    stage, solved with a parametric revenue function of the queue length, and feedback control adapts online.
    Simplified: the revenue function is the training users' mean gain of each item number (not a fitted formula), times
    the request's value relative to the mean; response time is no constraint; feedback is integral only.

    curves   per stage, mean gain of each number over the smallest, on training users
    extras   per stage, cost of each number over the smallest
    budgets  (stages,) mean extra cost per request
    prices   (stages,)
    rate     the feedback's step
    """

    grid: ItemGrid
    curves: tuple[Floats, ...]
    extras: tuple[Floats, ...]
    budgets: Floats
    prices: Floats
    rate: float = 0.2

    def allocate(self, rewards: Rewards) -> Ints:
        """A chain per row of the estimated rewards (N, J), (N,)."""
        return self.grid.chains(self.places(rewards))

    def adapted(self, rewards: Rewards) -> Self:
        """The same after a window with these requests: each stage's price moves with its relative error."""
        places = self.places(rewards)
        extra = np.array([e[places[:, at]].mean() for at, e in enumerate(self.extras)])
        error = np.divide(extra - self.budgets, self.budgets, out=np.zeros_like(extra), where=self.budgets > 0)
        return replace(self, prices=self.prices * np.exp(self.rate * np.clip(error, -1.0, 1.0)))

    def places(self, rewards: Rewards) -> Ints:
        """Each row's place in the grid, one number per stage, (N, stages)."""
        stages = range(len(self.curves))
        places = [
            _places(self._values(rewards, at), self.curves[at], self.extras[at], self.prices[at]) for at in stages
        ]
        return np.stack(places, axis=1)

    def _values(self, rewards: Rewards, stage: int) -> Floats:
        """How much more than the mean training user each row gains in this stage, (N,)."""
        gain = self.grid.value(rewards, stage)[:, self.grid.static[stage]]
        mean = float(self.curves[stage][self.grid.static[stage]])
        return np.maximum(gain, 0.0) / mean if mean > 0 else np.ones(len(gain))


def cras(grid: ItemGrid, rewards: Rewards, cost: Floats, budget: float) -> Cras:
    """CRAS for `budget` per request, fitted on training rows (rewards (N, J), cost (J,)).

    What the budget leaves above the smallest numbers is shared among the stages as the static chain shares it.

    Raises FixRequest when the smallest numbers cost more.
    """
    least = float(cost[grid.lookup.flat[0]])
    if budget < least:
        raise FixRequest(
            "budget", f"{budget} is below {least}, the cost of the static chain's variants with fewest items"
        )
    stages = range(len(grid.numbers))
    curves = tuple(grid.value(rewards, at).mean(axis=0) for at in stages)
    extras = tuple(_alone(grid, cost, at) for at in stages)
    own = np.array([extra[grid.static[at]] for at, extra in enumerate(extras)])
    total = float(own.sum())
    budgets = own / total * min(budget - least, total) if total > 0 else own
    unpriced = Cras(grid, curves, extras, budgets, np.zeros(len(own)))
    prices = [_bisected(unpriced._values(rewards, at), curves[at], extras[at], budgets[at]) for at in stages]
    return replace(unpriced, prices=np.array(prices))


def _alone(grid: ItemGrid, cost: Floats, stage: int) -> Floats:
    """What each number of a stage costs more than the smallest, later stages at their smallest, (numbers,)."""
    place: list[int | slice] = [*grid.static[:stage], slice(None), *(0 for _ in grid.static[stage + 1 :])]
    along = cost[grid.lookup[tuple(place)]]
    extra: Floats = along - along[0]
    return extra


def _places(values: Floats, curve: Floats, extra: Floats, price: float) -> Ints:
    places: Ints = (values[:, None] * curve - price * extra).argmax(axis=1)
    return places


def _bisected(values: Floats, curve: Floats, extra: Floats, budget: float) -> float:
    """The lowest price at which the stage's mean extra cost is within its budget."""
    if extra[_places(values, curve, extra, 0.0)].mean() <= budget:
        return 0.0
    dearer = extra > 0
    low, high = 0.0, 2 * max(float(values.max() * (curve[dearer] / extra[dearer]).max()), 1e-300)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        above = extra[_places(values, curve, extra, middle)].mean() > budget
        low, high = (middle, high) if above else (low, middle)
    return high
