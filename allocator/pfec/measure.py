"""What allocations spend and earn on each draw of users, over a ladder of budgets (the knots)."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from allocator.choice import Floats, Ints
from allocator.pfec.case import Case

NOWHERE = -1


@dataclass(frozen=True, eq=False)
class Measured:
    """Means per request by draw and knot, (D, K) each. NaN where a method cannot meet the budget.

    spend   FLOPs
    reward  true reward
    joules  modelled or assumed
    """

    spend: Floats
    reward: Floats
    joules: Floats

    def at(self, knots: Ints) -> "Measured":
        """The same at some of the knots."""
        return Measured(self.spend[:, knots], self.reward[:, knots], self.joules[:, knots])


class Allocation(Protocol):
    """An allocation for each knot that can be judged on any weighting of the held-out users."""

    def measured(self, weights: Floats) -> Measured:
        """weights (D, N), of which every row has a positive sum."""
        ...


@dataclass(frozen=True, eq=False)
class Mixed:
    """Everybody takes chain j with the same probability; shares (K, J), a row of NaN where there is no such mix."""

    case: Case
    shares: Floats

    def measured(self, weights: Floats) -> Measured:
        """Expectations, without the noise of drawing chains."""
        rewards = _means(weights, self.case.rewards @ self.shares.T)
        spend, joules = self.shares @ self.case.cost, self.shares @ self.case.joules
        shape = np.ones((len(weights), 1))
        return Measured(spend * shape, rewards, joules * shape)


@dataclass(frozen=True, eq=False)
class Decided:
    """Chains that were decided once, (K, N); a row of NOWHERE where the budget cannot be met.

    A draw weighs the users and leaves their chains as they are, so its spend differs from the budget.
    """

    case: Case
    chains: Ints

    def measured(self, weights: Floats) -> Measured:
        """The users' own figures, weighted."""
        users = np.arange(len(self.case.rewards))
        met = (self.chains != NOWHERE).all(axis=1)
        safe = np.where(met[:, None], self.chains, 0)
        known = np.where(met, 1.0, np.nan)
        return Measured(
            _means(weights, self.case.cost[safe].T) * known,
            _means(weights, self.case.rewards[users, safe].T) * known,
            _means(weights, self.case.joules[safe].T) * known,
        )


def _means(weights: Floats, values: Floats) -> Floats:
    """(D, N), (N, K) -> (D, K)."""
    means: Floats = weights @ values / weights.sum(axis=1, keepdims=True)
    return means
