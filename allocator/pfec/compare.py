"""Comparisons that are paired by draw: at equal computation, at equal reward, and within the gap to the oracle."""

import numpy as np

from allocator.baselines.fixed import equal_mix
from allocator.choice import Floats, Ints
from allocator.pfec.case import Case
from allocator.pfec.measure import Measured, Mixed

LEAST_GAP = 1e-3
"""Share of the reward below which the gap between EQUAL and the oracle is taken for none."""


class EqualLine:
    """What EQUAL (the mix) earns at any spend, for every draw: the opponent at exactly the same computation."""

    def __init__(self, case: Case, weights: Floats, knots: Floats) -> None:
        corners = _corners(case, knots)
        shares = np.zeros((len(corners), len(case.space)))
        shares[np.arange(len(corners)), corners] = 1.0
        self._spend = case.cost[corners]
        self._reward = Mixed(case, shares).measured(weights).reward

    def reward(self, spend: Floats) -> Floats:
        """spend (D, K) -> reward (D, K); beyond its ends EQUAL earns what it does there, and a NaN stays one."""
        if len(self._spend) == 1:
            return np.where(np.isnan(spend), np.nan, self._reward)
        right = np.clip(np.searchsorted(self._spend, spend), 1, len(self._spend) - 1)
        low, high = self._spend[right - 1], self._spend[right]
        part = np.clip((spend - low) / (high - low), 0.0, 1.0)
        left_reward, right_reward = (np.take_along_axis(self._reward, at, axis=1) for at in (right - 1, right))
        reward: Floats = left_reward + part * (right_reward - left_reward)
        return reward


def _corners(case: Case, knots: Floats) -> Ints:
    """The chains that EQUAL mixes at any budget, by ascending cost."""
    chains = {int(case.cost.argmin())}
    for budget in (*knots.tolist(), *case.cost.tolist()):
        if budget >= case.cost.min():
            chains |= set(equal_mix(case.training_means, case.cost, budget).chains.tolist())
    found = np.array(sorted(chains, key=lambda chain: case.cost[chain]))
    distinct: Ints = found[np.concatenate([[True], np.diff(case.cost[found]) > 0])]
    return distinct


def share_of_gap(earned: Floats, fixed: Floats, best: Floats) -> Floats:
    """(earned - fixed) / (best - fixed); NaN where the gap is less than LEAST_GAP of the reward."""
    gap = best - fixed
    wide = gap > LEAST_GAP * np.abs(best)
    return np.divide(earned - fixed, gap, out=np.full_like(gap, np.nan), where=wide)


def spend_to_earn(measured: Measured, target: Floats) -> Floats:
    """The least spend (D,) at which a method earns `target` (D,): between two knots by a straight line.

    Where the first knot earns it already, that knot's spend, which is then more than is needed. Infinite where no knot
    does, NaN where the method has no knot.
    """
    found = np.empty(len(target))
    for draw, (spend, reward, wanted) in enumerate(zip(measured.spend, measured.reward, target, strict=True)):
        known = ~np.isnan(reward)
        found[draw] = _first(spend[known], reward[known], float(wanted)) if known.any() else np.nan
    return found


def _first(spend: Floats, reward: Floats, wanted: float) -> float:
    enough = reward >= wanted * (1 - 1e-12)
    if not enough.any():
        return np.inf
    at = int(enough.argmax())
    if at == 0:
        return float(spend[0])
    part = (wanted - reward[at - 1]) / (reward[at] - reward[at - 1])
    return float(spend[at - 1] + min(max(part, 0.0), 1.0) * (spend[at] - spend[at - 1]))
