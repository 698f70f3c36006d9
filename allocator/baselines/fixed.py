"""Allocations that know nothing of the request: the static chain, the best fixed chains, a random mix."""

from dataclasses import dataclass

import numpy as np

from allocator.choice import Floats, Ints, Rewards
from models.errors import FixRequest

HALVINGS = 80


@dataclass(frozen=True, slots=True, eq=False)
class Mix:
    """Every request takes chain `chains[n]` with probability `shares[n]`, whoever asks."""

    chains: Ints
    shares: Floats

    def draw(self, requests: int, rng: np.random.Generator) -> Ints:
        """A chain per request, (N,)."""
        return rng.choice(self.chains, requests, p=self.shares)

    def cost(self, cost: Floats) -> float:
        """Expected cost of a request; cost (J,)."""
        return float(self.shares @ cost[self.chains])

    def reward(self, rewards: Rewards) -> Floats:
        """Expected reward of each row of rewards (N, J), (N,): without the noise of drawing."""
        expected: Floats = rewards[:, self.chains].astype(np.float64) @ self.shares
        return expected


def static_chain(chain: int) -> Mix:
    """The chain that production would run without GreenFlow, for everybody."""
    return Mix(np.array([chain]), np.ones(1))


def equal(mean_rewards: Floats, cost: Floats, budget: float) -> Mix:
    """EQUAL: the one fixed chain with the best mean reward on training users that costs at most `budget` a request.

    mean_rewards (J,), cost (J,). Source: the baseline of that name in GreenFlow (arXiv 2312.16176). Chosen in hindsight
    per budget, which is generous; but one chain leaves what it costs less than the budget unused: see `equal_mix`.

    Raises FixRequest when every chain costs more.
    """
    within = np.flatnonzero(cost <= budget)
    if len(within) == 0:
        raise FixRequest("budget", f"{budget} is below the cheapest chain's cost, {cost.min()}")
    best = within[np.lexsort((cost[within], -mean_rewards[within]))[0]]
    return static_chain(int(best))


def equal_mix(mean_rewards: Floats, cost: Floats, budget: float) -> Mix:
    """EQUAL without its rounding: the best mix of two fixed chains whose mean cost is at most `budget`.

    The fairer opponent, and the one that gains of personalisation are to be measured against: it spends the whole
    budget, as personalised methods do, so nothing is won from it by filling the gaps between chains. Its reward over
    budgets is the concave hull of the chains' mean rewards over their costs.

    Raises FixRequest when every chain costs more.
    """
    hull = _hull(mean_rewards, cost)
    at = int(np.searchsorted(cost[hull], budget, side="right")) - 1
    if at < 0:
        raise FixRequest("budget", f"{budget} is below the cheapest chain's cost, {cost.min()}")
    if at == len(hull) - 1:
        return static_chain(int(hull[at]))
    low, high = hull[at], hull[at + 1]
    share = float((budget - cost[low]) / (cost[high] - cost[low]))
    return Mix(np.array([low, high]), np.array([1 - share, share]))


def random_mix(cost: Floats, budget: float) -> Mix:
    """Chance: the mix with the largest entropy among those whose mean cost is `budget`, rewards unseen.

    Its shares are proportional to exp(-tilt x cost), the tilt by bisection; uniform where that costs too little.
    Simplified: nothing; this is no method of the literature but the floor under all of them.

    Raises FixRequest when every chain costs more.
    """
    if budget < cost.min():
        raise FixRequest("budget", f"{budget} is below the cheapest chain's cost, {cost.min()}")
    relative = (cost - cost.min()) / max(float(np.ptp(cost)), 1e-300)
    low, high = 0.0, 1.0
    while _tilted(relative, high) @ cost > budget and high < 1e12:
        high *= 2
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _tilted(relative, middle) @ cost > budget else (low, middle)
    shares = _tilted(relative, 0.0)
    return Mix(np.arange(len(cost)), shares if shares @ cost <= budget else _tilted(relative, high))


def _tilted(relative: Floats, tilt: float) -> Floats:
    weights: Floats = np.exp(-tilt * relative)
    weights /= weights.sum()
    return weights


def _hull(mean_rewards: Floats, cost: Floats) -> Ints:
    """Indices of the chains on the increasing concave hull of reward over cost, by ascending cost."""
    hull: list[int] = []

    def slope(left: int, right: int) -> float:
        return float((mean_rewards[right] - mean_rewards[left]) / (cost[right] - cost[left]))

    for chain in np.lexsort((-mean_rewards, cost)):
        if hull and mean_rewards[chain] <= mean_rewards[hull[-1]]:
            continue
        while len(hull) > 1 and slope(hull[-2], hull[-1]) <= slope(hull[-2], int(chain)):
            hull.pop()
        hull.append(int(chain))
    return np.array(hull)
