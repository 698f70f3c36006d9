"""What a window may spend, from limits and meters: watts less what machines draw anyway, quotas by their pace. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import exp, inf, isnan, nan
from typing import Protocol

import numpy as np

from allocator.chains import ChainSpace
from allocator.choice import Floats, Mask
from allocator.constraints import Resource
from allocator.emissions import grams_of
from allocator.energy.figures import RowsPerRun, chain_joules
from allocator.energy.state import EnergyState
from allocator.joules import DeviceJoules
from allocator.limits import CAPACITY, Limit
from cluster.accountant import Closed
from cluster.accounts import Window
from cluster.means import Aim, Means, Shown

SETTLES_S = 20.0
"""Over how long watts that no choice of chains changes are smoothed."""
HELD_S = 30.0
"""For so long a pool that is silent is taken to draw what it drew last."""
LEAST_S = 1e-6
MOST_LEFT = 1000


@dataclass(frozen=True, slots=True)
class Metered:
    """One pool of devices: its watts of late, and what has not been told of yet.

    power_w         of the newest windows of which all its devices told, NaN before the first; `fixed_w` of that what
                    chains cannot change
    held_j, fixed_j, held_s  of windows of which they have not told all yet
    devices         that told, or were to tell; others in their stead tell of all the time since these did
    """

    power_w: float = nan
    fixed_w: float = 0.0
    held_j: float = 0.0
    fixed_j: float = 0.0
    held_s: float = 0.0
    devices: frozenset[str] = frozenset()

    @property
    def fresh(self) -> bool:
        """Whether the newest window was told of."""
        return self.held_s == 0.0

    def after(self, devices: Sequence[DeviceJoules], fixed_j: float) -> "Metered":
        """With one more window. Joules of a meter that was away come with those of all that time."""
        told = frozenset(device.device for device in devices)
        held = self if told == self.devices else replace(self, held_j=0.0, fixed_j=0.0, held_s=0.0)
        joules = held.held_j + sum(device.energy_j for device in devices)
        fixed_j, seconds = held.fixed_j + fixed_j, held.held_s + max(device.window_s for device in devices)
        if seconds <= 0 or not all(device.fresh for device in devices):
            return replace(held, held_j=joules, fixed_j=fixed_j, held_s=max(seconds, LEAST_S), devices=told)
        return Metered(joules / seconds, min(fixed_j, joules) / seconds, devices=told)


@dataclass(frozen=True, slots=True)
class Drawn:
    """Watts as far as they are known.

    power_w  of all machines in the newest window; NaN while too little is heard of: also where machines serve of which
             meters told once and are silent for so long that nothing stands for them any more
    fixed_w  of that what chains cannot change, smoothed; `before_w` as it was a window ago
    pools    also of those that have left: they may come back with joules of all the time that they were away
    """

    power_w: float = nan
    fixed_w: float = 0.0
    before_w: float = 0.0
    known: bool = False
    pools: Mapping[str, Metered] = field(default_factory=dict)

    def after(self, closed: Closed) -> "Drawn":
        """With one more window."""
        account = closed.account
        assert account is not None
        devices: dict[str, list[DeviceJoules]] = {}
        for one in account.devices:
            devices.setdefault(one.pool, []).append(one)
        fixed_j = {pool.pool: pool.idle_j + pool.unattributed_j for pool in account.pools}
        told = {name: self.pools.get(name, Metered()).after(of, fixed_j.get(name, 0.0)) for name, of in devices.items()}
        left = {name: one for name, one in self.pools.items() if name not in told}
        pools = {**dict(list(left.items())[-MOST_LEFT:]), **told}
        power_w, fixed_w = _power_w(told.values()), sum(one.fixed_w for one in told.values())
        if isnan(power_w) or any(share.pool in left for share in account.shares if share.calls or share.items):
            return replace(self, power_w=nan, before_w=self.fixed_w, pools=pools)
        kept = exp(-account.window_s / SETTLES_S) if self.known else 0.0
        fixed_w += kept * (self.fixed_w - fixed_w)
        return Drawn(power_w, fixed_w, self.fixed_w if self.known else fixed_w, True, pools)


def _power_w(pools: Collection[Metered]) -> float:
    """Of all pools: those that did not tell are taken to draw what they drew last, unless they are most of it, or have
    been silent for long."""
    heard_w = sum(one.power_w for one in pools if one.fresh)
    held_w = sum(one.power_w for one in pools if not one.fresh)
    long = any(one.held_s > HELD_S for one in pools)
    return heard_w + held_w if heard_w > held_w and not long else nan


@dataclass(frozen=True, slots=True, eq=False)
class Rate:
    """What one resource comes to.

    costs  (J,) of a request under each chain
    spent  in the window that ended, in all; NaN where nobody measured it
    fixed  of the next window, what chains cannot change, and `last_fixed` of the one that ended
    """

    costs: Floats
    spent: float = nan
    fixed: float = 0.0
    last_fixed: float = 0.0

    def unmeasured(self) -> "Rate":
        """The same of a window of which no meter has told."""
        return replace(self, spent=nan)

    def times(self, factor: float) -> "Rate":
        """In another unit."""
        return Rate(self.costs * factor, self.spent * factor, self.fixed * factor, self.last_fixed * factor)


@dataclass(frozen=True, slots=True)
class Total:
    """What all machines have spent."""

    joules: float = 0.0
    grams: float = 0.0

    def __add__(self, other: "Total") -> "Total":
        return Total(self.joules + other.joules, self.grams + other.grams)

    def of(self, resource: Resource) -> float:
        """Joules or grams."""
        return self.grams if resource is Resource.GRAMS else self.joules


@dataclass(frozen=True, slots=True)
class Billed:
    """What the books of one window say, that began and ended at these Unix times."""

    began_s: float
    end_s: float
    total: Total


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a quota leaves for the next window, fixed part included, what its period has spent so far, and whether the
    cheapest chains would keep it to the end."""

    limit: float
    spent: float
    reachable: bool = True


class Pacer(Protocol):
    """Spreads a quota over its hour or day."""

    def seen(self, now_s: float, window_s: float, window: Window, billed: Sequence[Billed] = ()) -> None:
        """A window has ended; `billed` are those whose books were closed since the last one, each told once."""
        ...

    def allowance(self, limit: Limit, rates: Mapping[Resource, Rate], window_s: float, now_s: float) -> Allowance:
        """For the window that begins now. `rates` holds joules, and grams for a limit of grams."""
        ...


def aims_of(
    limits: Sequence[Limit], rates: Mapping[Resource, Rate], pacer: Pacer, now_s: float, window_s: float
) -> tuple[Aim, ...]:
    """The aims of the next window. A limit of a resource that nobody can tell of is left out."""
    return tuple(_aim(one, rates, pacer, now_s, window_s) for one in limits if one.resource in rates)


def _aim(limit: Limit, rates: Mapping[Resource, Rate], pacer: Pacer, now_s: float, window_s: float) -> Aim:
    rate, reachable = rates[limit.resource], True
    shown = Shown(str(limit.kind), limit.unit, limit.limit)
    allowed = limit.quota * window_s
    if limit.period_s is not None:
        found = pacer.allowance(limit, rates, window_s, now_s)
        reachable = found.reachable
        allowed, shown = found.limit, replace(shown, spend=found.spent / limit.size)
    first = limit.name == CAPACITY
    return Aim(limit.name, limit.resource, allowed, rate.fixed, rate.spent, rate.last_fixed, shown, reachable, first)


def joules_rate(state: EnergyState, space: ChainSpace, rows: RowsPerRun, drawn: Drawn, window_s: float) -> Rate:
    """Of joules: chains' by the energy model, the window's by meters."""
    costs = chain_joules(state, space, rows)
    return Rate(costs, drawn.power_w * window_s, drawn.fixed_w * window_s, drawn.before_w * window_s)


def free(space: ChainSpace, rate: Rate) -> tuple[Aim, ...]:
    """What is aimed at where nothing is limited: FLOPs are counted, and have no limit."""
    return (Aim("flops", Resource.FLOPS, inf, spent=rate.spent, shown=Shown("flops", "FLOP/s")),)


def means_of(aims: tuple[Aim, ...], rates: Mapping[Resource, Rate], available: Mask | None) -> Means:
    """The means with these aims. Costs are finite whatever a model says: what is not, costs what the dearest does."""
    costs = np.stack([rates[aim.resource].costs for aim in aims], axis=1)
    most = np.max(costs, axis=0, initial=0.0, where=np.isfinite(costs))
    return Means(aims, np.where(np.isfinite(costs), costs, most), available)


def billed_in(closed: Closed) -> Billed:
    """What the books of a window say, whether the ledger has them or not."""
    account = closed.account
    assert account is not None
    joules = sum(device.energy_j for device in account.devices)
    grams = grams_of(joules, account.pue, account.intensity_g_per_kwh or 0.0)
    return Billed(account.end_s - account.window_s, account.end_s, Total(joules, grams))
