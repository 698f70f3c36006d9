"""A world of user types, in which a window of any number of requests costs no more than a glance at each type.

A request's reward row is that of its type. The number of requests of each type in a window is Poisson, which is exactly
what drawing every request by itself would give, without drawing 100,000 of them: `K` draws a window instead.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from allocator.pfec.priced import hulls

Floats = NDArray[np.float64]
GRID = 6000


@dataclass(frozen=True)
class World:
    """`K` types in two groups of equal size: the mix of a window is what share of its requests is of the second.

    rewards  (K, J) float32; the second half of the rows is the second group
    cost     (J,)
    hull     (K, H) per type the chains that any price selects, cheapest first, padded by repeating the last
    turns    (K, H-1) the price below which the next of them is taken; zero for padding
    """

    rewards: NDArray[np.float32]
    cost: Floats
    hull: NDArray[np.int64]
    turns: Floats

    @classmethod
    def of(cls, rewards: NDArray[np.float32], cost: Floats) -> Self:
        """The world of these rows; the last one is left out when they are odd in number."""
        rewards = rewards[: len(rewards) // 2 * 2]
        hull, turns = hulls(rewards.astype(np.float64), cost)
        return cls(rewards, cost, hull, turns)

    def chains(self, price: float) -> NDArray[np.int64]:
        """The chain of each type at this price, (K,): what argmax of reward - price * cost gives."""
        at = (self.turns > price).sum(axis=1)
        return np.take_along_axis(self.hull, at[:, None], axis=1)[:, 0]

    def weights(self, mix: float) -> Floats:
        """Share of each type, (K,)."""
        half = len(self.rewards) // 2
        return np.repeat([(1 - mix) / half, mix / half], half)

    def sample(self, mix: float, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Reward rows of requests drawn at random."""
        half = len(self.rewards) // 2
        return self.rewards[rng.integers(0, half, count) + half * (rng.random(count) < mix)]


class Expectation:
    """Mean spend and reward per request of each group over a fine grid of prices: what a perfect forecast knows."""

    def __init__(self, world: World) -> None:
        highest, least = float(world.turns.max()) * 1.01, float(world.turns[world.turns > 0].min())
        self.prices = np.concatenate([[0.0], np.geomspace(max(least, highest * 1e-7), highest, GRID)])
        half, rows = len(world.rewards) // 2, np.arange(len(world.rewards))
        spend, reward = [], []
        for price in self.prices:
            chains = world.chains(price)
            spend.append(world.cost[chains].reshape(2, half).mean(axis=1))
            reward.append(world.rewards[rows, chains].astype(np.float64).reshape(2, half).mean(axis=1))
        self._spend, self._reward = np.array(spend), np.array(reward)  # (GRID + 1, 2)

    def price(self, per_request: float, mix: float) -> float:
        """The price whose expected spend is `per_request`; zero or the highest where none is."""
        spend = self._spend @ [1 - mix, mix]
        return float(np.interp(-per_request, -spend, self.prices))

    def bound(self, requests: float, mix: float, limit: float) -> float:
        """The most that any policy within the limit earns from so many expected requests, in expectation.

        The dual of the expected window's linear programme, least over the grid of prices. The optimum is concave in the
        counts of types, so the counts that really come earn no more on average.
        """
        net = (self._reward - self.prices[:, None] * self._spend) @ [1 - mix, mix]
        return float((requests * net + self.prices * limit).min())

    def spend(self, price: float, mix: float) -> float:
        """Expected spend per request at a price."""
        return float(np.interp(price, self.prices, self._spend @ [1 - mix, mix]))
