"""What every chain costs on the machines of each window, and what each window then takes at least and at most."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from allocator.choice import Floats, Ints
from allocator.constraints import Resource
from allocator.frontier import Frontier
from allocator.limits import RESOURCES, Kind
from cluster.simulation.world import World

ALIKE = 1e-3
"""Costs of chains that differ by less of their spread, but for a factor, share one frontier."""
SEGMENT_S = 3600.0


@dataclass(frozen=True, eq=False)
class Segment:
    """Windows whose chains cost `scale` (n,) times those that the frontier is of."""

    windows: Ints
    frontier: Frontier
    scale: Floats


class Costs:
    """All requests are thought to be served, each user as often as expected.

    asked, chosen  (T,) requests of each window, and those of them that the policy chooses for
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self.asked = world.requests.sum(axis=1).astype(np.float64)
        self.chosen = self.asked - world.held
        self._known: dict[Resource, tuple[Segment, ...]] = {}

    @cached_property
    def _share(self) -> Floats:
        total = np.maximum(self.asked, 1.0)[:, None]
        share: Floats = self._world.requests / total
        return share

    def chains(self, resource: Resource) -> Floats:
        """Mean cost of a request under each chain on the machines that serve in each window, (T, J); no grid in it."""
        world = self._world
        if resource is Resource.FLOPS:
            return np.broadcast_to(world.space.flops, (len(self._share), len(world.space)))
        found: Floats = self._share @ (world.fleet.chain_s if resource is Resource.COMPUTE else world.fleet.chain_j)
        return found

    def unit(self, resource: Resource) -> Floats:
        """What one of `chains` is in the resource's unit, (T,)."""
        return self._world.g_per_j if resource is Resource.GRAMS else np.ones(len(self.asked))

    def fixed(self, resource: Resource) -> Floats:
        """What each window takes whatever chains the policy chooses: machines at rest, and the holdback, (T,)."""
        world, static = self._world, self._world.space.static.index
        rest = world.idle_w * world.window_s if resource in (Resource.JOULES, Resource.GRAMS) else 0.0
        total: Floats = (rest + world.held * self.chains(resource)[:, static]) * self.unit(resource)
        return total

    def segments(self, resource: Resource) -> tuple[Segment, ...]:
        """The day cut where chains' costs change otherwise than all alike."""
        plain = Resource.JOULES if resource is Resource.GRAMS else resource
        if plain not in self._known:
            self._known[plain] = self._cut(plain)
        return self._known[plain]

    def _cut(self, resource: Resource) -> tuple[Segment, ...]:
        costs, found = self.chains(resource), []
        known: list[tuple[Floats, Frontier, float]] = []
        for windows in self._alike():
            cost = costs[windows].mean(axis=0)
            frontier, size = next(
                ((f, s) for c, f, s in known if np.abs(cost / cost.sum() * s - c).max() < ALIKE * np.ptp(c)),
                (None, float(cost.sum())),
            )
            if frontier is None:
                frontier = Frontier.of(self._world.users.predicted, cost)
                known.append((cost, frontier, size))
            found.append(Segment(windows, frontier, costs[windows].sum(axis=1) / size))
        return tuple(found)

    def _alike(self) -> Iterator[Ints]:
        """Windows of an hour in which the same machines are up; those without requests are left out."""
        world = self._world
        hour = ((world.starts_s - world.start_s) // SEGMENT_S).astype(int)
        other = (np.diff(hour, prepend=-1) != 0) | (np.diff(world.alive, axis=0, prepend=-1.0) != 0).any(axis=1)
        for windows in np.split(np.arange(len(hour)), np.flatnonzero(other)[1:]):
            asked = windows[self.asked[windows] > 0]
            if len(asked):
                yield asked

    def takes(self, kind: Kind) -> Floats:
        """What each window takes of a kind's resource when every request has the chain of its greatest reward, (T,)."""
        return self._taken(RESOURCES[kind], -1)

    def least(self, kind: Kind) -> Floats:
        """The same when every request has the cheapest chain."""
        return self._taken(RESOURCES[kind], 0)

    def _taken(self, resource: Resource, step: int) -> Floats:
        taken = self.fixed(resource)
        for one in self.segments(resource):
            each = one.frontier.cost[step] * one.scale * self.unit(resource)[one.windows]
            taken[one.windows] += self.chosen[one.windows] * each
        return taken
