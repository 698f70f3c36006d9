"""What chains spent in a window: as measured, and where nobody did, as modelled and seen to be off. No Ray here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import exp
from typing import Self

import numpy as np

from allocator.choice import Floats
from allocator.constraints import Resource
from cluster.means import Means

SETTLES_S = 5.0
"""Over how long measurements are smoothed: longer, and watts of other programs that begin would be seen too late."""
CAUTIOUS_S = 30.0
"""Of fewer measured seconds it is not believed that chains spend less than they are thought to: nobody has seen what
other chains spend, and a limit is exceeded sooner than it is missed."""
MOST_SHARE = 20.0
"""Nor is it believed that they spend so many times what they are thought to, as where next to nothing ran."""
LEAST_SHARE = 0.02
"""Measured spend less what is fixed may come out as nothing by noise; chains that ran have spent this share at least of
what they are thought to."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Of one window, in the unit of each constraint's resource.

    chains  (M,) by chains
    total   (M,) with what no choice of chains changes
    """

    chains: Floats
    total: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """The windows of late that were measured, smoothed.

    What is thought of chains' costs may be wrong by a factor, in the first minutes above all. A price that was found by
    meters must not be lost with them.

    executed  by resource, (J,) requests under each chain in such a window
    spent     by resource, what such a window spent in all
    for_s     by resource, how long it was measured
    silent_s  by resource, how long it was not since then
    """

    executed: Mapping[Resource, Floats] = field(default_factory=dict)
    spent: Mapping[Resource, float] = field(default_factory=dict)
    for_s: Mapping[Resource, float] = field(default_factory=dict)
    silent_s: Mapping[Resource, float] = field(default_factory=dict)

    def after(self, executed: Floats, means: Means, window_s: float) -> Self:
        """With a window in which each chain was executed so often, (J,), and of which `means` tells what it spent.

        One in which none was says nothing of what chains spend.
        """
        chains, spent, for_s = dict(self.executed), dict(self.spent), dict(self.for_s)
        silent_s = {resource: seconds + window_s for resource, seconds in self.silent_s.items()}
        told = {aim.resource: aim.spent for aim in means.aims if np.isfinite(aim.spent)} if executed.any() else {}
        for resource, one in told.items():
            known = resource in spent and len(chains[resource]) == len(executed)
            keep = exp(-silent_s[resource] / SETTLES_S) if known else 0.0
            chains[resource] = executed + keep * (chains[resource] - executed) if known else executed
            spent[resource] = one + keep * (spent.get(resource, one) - one)
            for_s[resource] = window_s + (for_s[resource] if known else 0.0)
            silent_s[resource] = 0.0
        return type(self)(chains, spent, for_s, silent_s)

    def spend(self, executed: Floats, means: Means) -> Spent:
        """Of a window in which each chain was executed so often, (J,)."""
        modelled = executed @ means.costs
        spent, fixed = (np.array([getattr(aim, name) for aim in means.aims]) for name in ("spent", "last_fixed"))
        known = np.isfinite(spent)
        measured = np.maximum(spent - fixed, LEAST_SHARE * modelled)
        chains = np.where(known, measured, modelled * self._ratios(means))
        return Spent(chains, np.where(known, spent, chains + fixed))

    def _ratios(self, means: Means) -> Floats:
        """(M,) by how much chains were seen to spend more than they are thought to."""
        return np.array([self._ratio(at, means) for at in range(len(means.aims))])

    def _ratio(self, at: int, means: Means) -> float:
        aim = means.aims[at]
        executed = self.executed.get(aim.resource)
        if executed is None or len(executed) != len(means.costs):
            return 1.0
        modelled = float(executed @ means.costs[:, at])
        least = 1.0 if self.for_s[aim.resource] < CAUTIOUS_S else LEAST_SHARE
        ratio = (self.spent[aim.resource] - aim.last_fixed) / modelled if modelled > 0 else 1.0
        return min(max(ratio, least), MOST_SHARE)
