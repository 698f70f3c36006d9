"""What a population of requests spends and earns on average at every price of one resource, exactly.

As the price falls, each request climbs the concave hull of its rewards over costs, step by step; all steps of all
requests in the order of their slopes are the curve of mean reward over mean cost. It is concave, and what lies on it
between two steps is the linear programme's optimum for that mean cost.
"""

from dataclasses import dataclass

import numpy as np

from allocator.choice import Floats, Rewards
from allocator.pfec.priced import hulls


@dataclass(frozen=True, eq=False)
class Frontier:
    """slopes (S,) fall strictly or stay: the price at which each step is taken.

    cost, reward (S + 1,) of a request in the mean, before the first step and after each; both rise
    """

    slopes: Floats
    cost: Floats
    reward: Floats

    @classmethod
    def of(cls, rewards: Rewards, cost: Floats) -> "Frontier":
        """Of users who ask equally often: rewards (U, J), cost (J,)."""
        exact = rewards.astype(np.float64)
        chains, slopes = hulls(exact, cost)
        user, step = np.nonzero(slopes > 0)
        order = np.argsort(-slopes[user, step], kind="stable")
        user, step = user[order], step[order]
        earned = np.take_along_axis(exact, chains, axis=1)

        def climbed(values: Floats) -> Floats:
            gains = np.diff(values, axis=1)[user, step] / len(values)
            return float(values[:, 0].mean()) + np.concatenate([[0.0], np.cumsum(gains)])

        return cls(slopes[user, step], climbed(cost[chains]), climbed(earned))

    def at(self, price: Floats) -> tuple[Floats, Floats]:
        """Mean cost and reward of a request where all take their best chain at these prices, of any shape."""
        steps = np.searchsorted(-self.slopes, -np.asarray(price), side="left")  # slopes above the price
        return self.cost[steps], self.reward[steps]

    def within(self, budget: Floats) -> Floats:
        """The most that a request can earn in the mean for these mean costs; where none is so low, for the least."""
        most: Floats = np.interp(budget, self.cost, self.reward)
        return most

    def price(self, budget: Floats) -> Floats:
        """The price at which these mean costs are spent: zero where all have their best chain for less."""
        step = np.searchsorted(self.cost, budget, side="right") - 1
        padded = np.concatenate([self.slopes, [0.0]])
        found: Floats = padded[np.clip(step, 0, len(self.slopes))]
        return found
