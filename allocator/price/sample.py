"""A bounded sample of recent requests' reward rows, and the spend that it predicts at a price."""

from dataclasses import dataclass, field

import numpy as np

from allocator.choice import Floats, Mask, Rewards, chains_under


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Reward rows (S, J) with their chains' costs (J, M) and which of them are available (J,).

    beside  (M,) what is spent for each of these requests by others, at any price

    Remembers what was asked: a search for prices comes by the same ones again and again, and each takes a look at every
    chain of every row.
    """

    rewards: Rewards
    costs: Floats
    available: Mask
    beside: Floats | float = 0.0
    _known: dict[bytes, Floats] = field(default_factory=dict, init=False, repr=False)

    def spend(self, prices: Floats) -> Floats:
        """Mean spend per request, (M,), when all take their best chain at these prices, with what is spent beside."""
        key = prices.tobytes()
        if key not in self._known:
            chains = chains_under(self.rewards, self.costs, prices, self.available)
            self._known[key] = self.costs[chains].mean(axis=0) + self.beside
        return self._known[key]


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
