"""Allocation by one price, solved anew for every draw of users, exactly and for all budgets at once.

As the price falls from infinity, a request climbs the concave hull of its estimated rewards over costs: one step after
the other, each at the price that equals the step's slope. All steps of all users in the order of their slopes give
spend and reward at every price; a budget is met where the spend crosses it.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from allocator.choice import Floats, Ints, Mask, Rewards
from allocator.pfec.case import Case
from allocator.pfec.measure import Measured

CHUNK = 4_000_000
"""Entries of a table of draws and steps that are held at once."""


def hulls(rewards: Floats, cost: Floats) -> tuple[Ints, Floats]:
    """Every row's concave hull of reward over cost: chains (N, H), cheapest first, and the slopes (N, H - 1) between.

    A price above slope h leaves the row at chain h or below. Short rows repeat their last chain with a slope of zero.
    From the cheapest chain on always the steepest rise that is left; of rises equally steep the longest, so that slopes
    fall strictly.
    """
    rows = np.arange(len(rewards))
    chains = [np.where(cost == cost.min(), rewards, -np.inf).argmax(axis=1)]
    slopes: list[Floats] = []
    dearest_first = np.argsort(-cost, kind="stable")
    ordered, dear_cost = rewards[:, dearest_first], cost[dearest_first]
    while True:
        at = chains[-1]
        extra = dear_cost[None, :] - cost[at][:, None]
        rise = ordered - rewards[rows, at][:, None]
        slope = np.divide(rise, extra, out=np.full_like(rise, -np.inf), where=extra > 0)
        best = slope.argmax(axis=1)
        steepest = slope[rows, best]
        climbs = steepest > 0
        if not climbs.any():
            return np.stack(chains, axis=1), np.stack(slopes, axis=1) if slopes else np.zeros((len(rows), 0))
        chains.append(np.where(climbs, dearest_first[best], at))
        slopes.append(np.where(climbs, steepest, 0.0))


@dataclass(frozen=True, eq=False)
class Priced:
    """Requests take the chain with the best `estimate - price * FLOPs` among the `allowed` ones.

    The price is the one at which the requests at hand spend the budget, as it is online once it has converged: it sees
    their estimates and costs, never their true rewards. The one request in the middle of a step at that price takes
    part of it, as in the linear programme.

    estimates (N, J), allowed (J,), knots (K,) budgets in mean FLOPs of a request
    """

    case: Case
    estimates: Rewards
    allowed: Mask
    knots: Floats

    def measured(self, weights: Floats) -> Measured:
        """At each knot, and for each draw at a price of its own."""
        return self.at(weights, np.tile(self.knots, (len(weights), 1)))

    def at(self, weights: Floats, budgets: Floats) -> Measured:
        """At budgets (D, K) that each draw has for itself; a NaN gives NaN."""
        draws = max(CHUNK // max(len(self._path.users), 1), 1)
        starts = range(0, len(weights), draws)
        parts = [self._measured(weights[at : at + draws], budgets[at : at + draws]) for at in starts]
        return Measured(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("spend", "reward", "joules")))

    def _measured(self, weights: Floats, budgets: Floats) -> Measured:
        path, total = self._path, weights.sum(axis=1, keepdims=True)
        of_step = weights[:, path.users]
        spend = _climb(weights, path.start_cost, of_step, path.cost) / total
        met = np.where(budgets >= spend[:, :1] * (1 - 1e-12), 1.0, np.nan)
        where = np.stack([_cross(*pair) for pair in zip(spend, np.nan_to_num(budgets), strict=True)])

        def along(start: Floats, gain: Floats) -> Floats:
            return _read(_climb(weights, start, of_step, gain) / total, where) * met

        rewards, joules = along(path.start_reward, path.reward), along(path.start_joules, path.joules)
        return Measured(_read(spend, where) * met, rewards, joules)

    @cached_property
    def _path(self) -> "_Path":
        case, open_chains = self.case, np.flatnonzero(self.allowed)
        estimates = self.estimates[:, open_chains].astype(np.float64)
        places, slopes = hulls(estimates, case.cost[open_chains])
        chains = open_chains[places]
        rows = np.arange(len(chains))[:, None]
        user, step = np.nonzero(slopes > 0)
        order = np.argsort(-slopes[user, step], kind="stable")  # a user's own steps stay in order: their slopes fall
        user, step = user[order], step[order]

        def gains(values: Floats) -> Floats:
            return np.asarray(np.diff(values, axis=1)[user, step])

        costs, joules, rewards = case.cost[chains], case.joules[chains], case.rewards[rows, chains]
        return _Path(user, costs[:, 0], rewards[:, 0], joules[:, 0], gains(costs), gains(rewards), gains(joules))


@dataclass(frozen=True, eq=False)
class _Path:
    """Where the N users start at an infinite price, (N,) each; and the S steps in the order in which they are taken."""

    users: Ints
    start_cost: Floats
    start_reward: Floats
    start_joules: Floats
    cost: Floats
    reward: Floats
    joules: Floats


def _climb(weights: Floats, start: Floats, of_step: Floats, gain: Floats) -> Floats:
    """Weighted totals before the first step and after each, (D, S + 1)."""
    totals = np.empty((len(weights), len(gain) + 1))
    totals[:, 0] = weights @ start
    np.cumsum(of_step * gain, axis=1, out=totals[:, 1:])
    totals[:, 1:] += totals[:, :1]
    return totals


def _cross(spend: Floats, budgets: Floats) -> Floats:
    """Where along the ascending `spend` (S + 1,) each budget is met: steps taken, the last of them in part, (K,)."""
    last = len(spend) - 1
    whole = np.clip(np.searchsorted(spend, budgets, side="right") - 1, 0, last)
    following = np.minimum(whole + 1, last)
    extra = spend[following] - spend[whole]
    part = np.divide(budgets - spend[whole], extra, out=np.zeros(len(budgets)), where=extra > 0)
    return np.asarray(whole + np.clip(part, 0.0, 1.0))


def _read(totals: Floats, where: Floats) -> Floats:
    """The totals (D, S + 1) at the fractional places `where` (D, K)."""
    whole = np.minimum(where.astype(np.int64), totals.shape[1] - 1)
    following = np.minimum(whole + 1, totals.shape[1] - 1)
    left, right = (np.take_along_axis(totals, at, axis=1) for at in (whole, following))
    read: Floats = left + (where - whole) * (right - left)
    return read
