"""What the simulated day could have earned at best, and what it takes without limits or under fixed chains.

One who knows the whole day gives every request the chain with the best reward less one price times its cost: for a
quota one price for all of its period (per gram: the price per joule follows the grid), for a limit at all times one in
each window. That is the optimum of the linear programme over all windows' requests with that limit alone, and where
several limits hold no choice earns more than the least of their optima.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf

import numpy as np

from allocator.baselines.fixed import equal_mix
from allocator.choice import Ints, Mask
from allocator.constraints import Resource
from allocator.limits import Kind, Limit
from cluster.simulation.costs import Costs
from cluster.simulation.limits import Schedule
from cluster.simulation.world import World
from models.errors import FixRequest

HALVINGS = 80


@dataclass(frozen=True, slots=True)
class Fixed:
    """A day under chains that know nothing of the request: joules of all machines, grams and reward."""

    joules: float
    grams: float
    reward: float


class Hindsight:
    """All requests are thought to be served, each user as often as expected."""

    def __init__(self, world: World) -> None:
        self._world, self.costs = world, Costs(world)
        self._mean = world.users.predicted.mean(axis=0, dtype=np.float64)

    @property
    def _held_reward(self) -> float:
        return float(self._world.held.sum()) * float(self._mean[self._world.space.static.index])

    @cached_property
    def free(self) -> Fixed:
        """The day without limits."""
        joules = self.costs.takes(Kind.POWER)
        top = float(self._world.users.predicted.max(axis=1).mean(dtype=np.float64))
        reward = float(self.costs.chosen.sum()) * top + self._held_reward
        return Fixed(float(joules.sum()), float(joules @ self._world.g_per_j), reward)

    @cached_property
    def static(self) -> Fixed:
        """The day with the static chain for everybody."""
        world, chain = self._world, self._world.space.static.index
        joules = world.idle_w * world.window_s + self.costs.asked * self.costs.chains(Resource.JOULES)[:, chain]
        reward = float(self.costs.asked.sum()) * float(self._mean[chain])
        return Fixed(float(joules.sum()), float(joules @ world.g_per_j), reward)

    def best_fixed(self, joules: float) -> float | None:
        """What the best mix of two fixed chains earns for so many joules in all; None where none takes so few."""
        world, asked = self._world, self.costs.asked
        total = float(asked.sum())
        if total <= 0:
            return None
        cost = asked @ self.costs.chains(Resource.JOULES) / total
        left = joules - float(world.idle_w.sum()) * world.window_s
        try:
            mix = equal_mix(self._mean, cost, left / total * (1 + 1e-12))
        except FixRequest:
            return None
        return total * float(mix.shares @ self._mean[mix.chains])

    def optimum(self, limits: Sequence[Schedule]) -> float:
        """The most that the day could have earned within these limits; see the module. A window or period whose limit
        is out of reach has the cheapest chains."""
        return min([self.free.reward, *(self._alone(one) for one in limits)])

    def _alone(self, one: Schedule) -> float:
        limit = one.any
        if limit.period_s is None:
            return self._held_reward + self._at_all_times(one, limit.resource)
        return self._held_reward + sum(self._of_period(windows, one, limit) for windows in self._periods(limit))

    def _at_all_times(self, one: Schedule, resource: Resource) -> float:
        allowed = np.array([_per_s(one.at(at_s)) for at_s in self._world.starts_s.tolist()]) * self._world.window_s
        left, unit, earned = allowed - self.costs.fixed(resource), self.costs.unit(resource), 0.0
        for part in self.costs.segments(resource):
            requests = self.costs.chosen[part.windows]
            budget = left[part.windows] / np.maximum(requests * unit[part.windows] * part.scale, 1e-300)
            earned += float(requests @ part.frontier.within(budget))
        return earned

    def _periods(self, limit: Limit) -> Iterator[Ints]:
        assert limit.period_s is not None
        period = self._world.starts_s // limit.period_s
        yield from (np.flatnonzero(period == number) for number in np.unique(period))

    def _of_period(self, windows: Ints, one: Schedule, limit: Limit) -> float:
        """One price for all of these windows, by bisection; the dual at it bounds whatever is within the quota."""
        quotas = [_quota(one.at(float(at_s))) for at_s in self._world.starts_s[windows]]
        left = max(quotas) - float(self.costs.fixed(limit.resource)[windows].sum())
        inside = np.zeros(len(self.costs.asked), bool)
        inside[windows] = True
        spent, earned = self._at_price(0.0, limit.resource, inside)
        if spent <= left:
            return earned
        low, high = 0.0, self._ceiling(limit.resource, inside)
        for _ in range(HALVINGS):
            middle = (low + high) / 2
            spent, _ = self._at_price(middle, limit.resource, inside)
            low, high = (middle, high) if spent > left else (low, middle)
        spent, earned = self._at_price(high, limit.resource, inside)
        return earned + max(high * (left - spent), 0.0)

    def _ceiling(self, resource: Resource, inside: Mask) -> float:
        """Where all requests that spend anything take their cheapest chain; those of a clean hour spend nothing."""
        unit, tops = self.costs.unit(resource), [0.0]
        for part in self.costs.segments(resource):
            each = (unit[part.windows] * part.scale)[inside[part.windows]]
            each = each[each > 0]
            if len(part.frontier.slopes) and len(each):
                tops.append(float(part.frontier.slopes[0]) / float(each.min()))
        return 2 * max(tops)

    def _at_price(self, price: float, resource: Resource, inside: Mask) -> tuple[float, float]:
        """What the policy's requests of these windows spend and earn at a price per unit of the resource."""
        unit, spent, earned = self.costs.unit(resource), 0.0, 0.0
        for part in self.costs.segments(resource):
            here = inside[part.windows]
            requests, each = self.costs.chosen[part.windows][here], (unit[part.windows] * part.scale)[here]
            cost, reward = part.frontier.at(price * each)
            spent += float(requests @ (cost * each))
            earned += float(requests @ reward)
        return spent, earned


def _per_s(limit: Limit | None) -> float:
    return inf if limit is None else limit.quota


_quota = _per_s
