"""A bounded sample of recent requests' reward rows, and the spend that it predicts at a price."""

from dataclasses import dataclass

import numpy as np

from allocator.choice import Floats, Mask, Rewards, best_chains, in_chunks, penalties


@dataclass(frozen=True, slots=True)
class Sample:
    """Reward rows (S, J) with their chains' costs (J, M) and which of them are available (J,)."""

    rewards: Rewards
    costs: Floats
    available: Mask

    def spend(self, prices: Floats) -> Floats:
        """Mean spend per request, (M,), when all take their best chain at these prices."""
        penalty = penalties(self.costs, prices, self.available)
        total = sum(self.costs[best_chains(part, penalty)].sum(axis=0) for part in in_chunks(self.rewards))
        spend: Floats = np.asarray(total) / len(self.rewards)
        return spend


def refreshed(rows: Rewards, fresh: Rewards, size: int, share: float, rng: np.random.Generator) -> Rewards:
    """The reservoir after a window: `fresh` rows fill it up to `size`, then replace a random `share` of it at most.

    A row's chance to be there falls geometrically with its age, so the reservoir follows the mix of requests.
    """
    room = size - len(rows)
    if room > 0:
        rows = np.concatenate([rows, fresh[:room]])
        fresh = fresh[room:]
    count = min(len(fresh), int(share * size))
    if count <= 0:
        return rows
    rows = rows.copy()
    rows[rng.choice(len(rows), count, replace=False)] = fresh[rng.choice(len(fresh), count, replace=False)]
    return rows
