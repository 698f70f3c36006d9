"""What one evaluation is given: true rewards of held-out users, predictions, and what chains spend."""

from dataclasses import dataclass

import numpy as np

from allocator.chains import ChainSpace
from allocator.choice import Floats, Rewards

LEAST_SHARE = 1.05
KNOTS = 36


@dataclass(frozen=True, eq=False)
class Case:
    """N held-out users, T training users, J chains of a space.

    rewards               (N, J) true rewards: they judge, and only the oracle sees them
    predictions           (N, J) what the reward model predicts for the same users
    training_means        (J,) mean true rewards of the training users
    training_predictions  (T, J)
    joules                (J,) modelled or assumed joules of a request under each chain
    """

    space: ChainSpace
    rewards: Floats
    predictions: Rewards
    training_means: Floats
    training_predictions: Rewards
    joules: Floats

    @property
    def cost(self) -> Floats:
        """FLOPs of a request under each chain, (J,): what is allocated."""
        return self.space.flops

    @property
    def static(self) -> int:
        """The chain that production would run."""
        return self.space.static.index


def budgets_for(case: Case, count: int) -> Floats:
    """Budgets in equal ratios, mean FLOPs of a request: from a little above the cheapest chain to the static one."""
    least = float(case.cost.min()) * LEAST_SHARE
    return np.geomspace(least, max(float(case.cost[case.static]), least * LEAST_SHARE), count)


def knots_for(budgets: Floats) -> Floats:
    """The budgets, and enough others between them that straight lines join them well; ascending."""
    between = np.geomspace(budgets[0], budgets[-1], max(KNOTS, 2))
    apart = np.abs(np.log(between[:, None] / budgets)).min(axis=1) > 1e-3
    return np.sort(np.concatenate([budgets, between[apart]]))
