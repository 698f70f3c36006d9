"""What machines truly draw and how long they are busy: what the control loop has to learn."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from allocator.chains import ChainSpace
from allocator.choice import Floats
from allocator.energy.prior import PROFILED, Prior, VariantJoules
from allocator.energy.windows import SERVING, Name
from allocator.joules import Quality
from cluster.simulation.parts import Group
from cluster.simulation.scenario import Scenario
from cluster.work import Counts
from models.errors import FixFile
from models.spec import CascadeSpec


@dataclass(frozen=True, eq=False)
class Unit:
    """What one request takes on the machines of one group; (V, 2) of each variant: of a row, and of an item.

    joules  what is truly drawn
    busy_s  seconds of a processor
    """

    joules: Floats
    busy_s: Floats


class Fleet:
    """All groups, G of them, under one cascade.

    chain_j, chain_s  (G, J) true joules and busy seconds of a request under each chain
    """

    def __init__(self, scenario: Scenario, spec: CascadeSpec, space: ChainSpace, rng: np.random.Generator) -> None:
        self.space, self.rows = space, scenario.rows_per_run
        self.groups = tuple(scenario.nodes.values())
        self._flops = _flops(spec)
        for name, group in scenario.nodes.items():
            _check_variants(scenario.name, name, group, space)
        units = [_unit(group, self._flops, space.variants, rng) for group in self.groups]
        around = [(group.request_j, group.request_j / group.core_w) for group in self.groups]
        self.chain_j = np.stack([_chains(space, u.joules) + j for u, (j, _) in zip(units, around, strict=True)])
        self.chain_s = np.stack([_chains(space, u.busy_s) + s for u, (_, s) in zip(units, around, strict=True)])
        one = np.eye(len(space.variants))
        self._calls, self._items = space.costs(one, 0 * one), space.costs(0 * one, one)
        self._units = units

    def idle_w(self, alive: Floats) -> Floats:
        """Watts at rest of each group with so many machines, in the shape of `alive` (..., G)."""
        watts: Floats = alive * np.array([group.idle_w for group in self.groups])
        return watts

    def cores(self, alive: Floats) -> Floats:
        """Processors, likewise."""
        cores: Floats = alive * np.array([group.cores for group in self.groups])
        return cores

    def work(self, group: int, executed: Floats) -> dict[Name, Counts]:
        """What replicas of a group count when they have executed so many requests under each chain, (J,)."""
        called, items = executed @ self._calls, executed @ self._items
        busy_s = called * self._units[group].busy_s[:, 0] + items * self._units[group].busy_s[:, 1]
        counted = {
            name: Counts(round(times / self.rows), round(pairs), seconds, seconds)
            for name, times, pairs, seconds in zip(self.space.variants, called, items, busy_s.tolist(), strict=True)
            if times > 0
        }
        total, of = float(executed.sum()), self.groups[group]
        around_s = total * of.request_j / of.core_w
        return {**counted, SERVING: Counts(round(total / self.rows), round(total), around_s, around_s)}

    def prior(self) -> Prior:
        """What is believed at first: what `greenflow profile` would have measured on a machine of the first group, of
        which nobody knows how variants differ from it."""
        of = self.groups[0]
        joules = {
            name: VariantJoules(self.rows * max(row, 1.0) * of.joules_per_flop, max(item, 1.0) * of.joules_per_flop)
            for name, (row, item) in zip(self.space.variants, self._flops.tolist(), strict=True)
        }
        around = VariantJoules(self.rows * of.request_j / 2, of.request_j / 2)
        return Prior({**joules, SERVING: around}, PROFILED, Quality.MODELLED, "simulated", core_w=of.core_w)


def _unit(group: Group, flops: Floats, names: tuple[Name, ...], rng: np.random.Generator) -> Unit:
    off = np.exp(group.spread * rng.standard_normal(len(names)))
    plain = flops * group.joules_per_flop
    joules = plain * off[:, None]
    for at, (stage, variant) in enumerate(names):
        if (stated := group.variants.get(f"{stage}/{variant}")) is not None:
            joules[at] = plain[at] = stated.row_j, stated.item_j
    return Unit(joules, plain / group.core_w)


def _chains(space: ChainSpace, unit: Floats) -> Floats:
    chains: Floats = space.costs(unit[:, :1], unit[:, 1:])[:, 0]
    return chains


def _flops(spec: CascadeSpec) -> Floats:
    """(V, 2) of a row, and of an item."""
    counted = [variant.flops for stage in spec.stages for variant in stage.variants]
    return np.array([(one.row, one.item) for one in counted if one is not None], dtype=np.float64)


def _check_variants(scenario: str, name: str, group: Group, space: ChainSpace) -> None:
    known: Mapping[str, None] = dict.fromkeys(f"{stage}/{variant}" for stage, variant in space.variants)
    for variant in group.variants:
        if variant not in known:
            raise FixFile(scenario, f"nodes.{name}.variants", f"{variant!r} is none of {', '.join(known)}")
