"""What a request runs when its chain cannot be run: the nearest chain that can. No Ray here."""

from collections.abc import Collection
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from allocator.chains import ActionChain, ChainSpace
from allocator.choice import Mask
from allocator.energy.windows import Name
from cluster.availability import without

MOST_KEPT = 4096


class Fallback:
    """Finds nearest chains, and keeps what it found while the same variants are lost. Used from one event loop."""

    def __init__(self, space: ChainSpace) -> None:
        self._space = space
        self._lost: frozenset[Name] = frozenset()
        self._available: Mask | None = None
        self._open: Mask = np.ones(len(space), dtype=bool)
        self._found: dict[int, ActionChain | None] = {}

    def instead(self, chain: ActionChain, lost: frozenset[Name], available: Mask | None = None) -> ActionChain | None:
        """The chain itself where it uses none of the lost variants, else the nearest that does not; None without any.

        Of those only the `available` ones count, (J,), unless there are none: a mask may be older than what was lost.

        Nearest is the one that differs in the fewest stages; of these one that is no dearer in FLOPs, if there is any;
        of these the one closest in FLOPs. So the work stays as near as can be to what was decided, and a limit is
        rather kept than not.
        """
        if lost != self._lost or available is not self._available or len(self._found) > MOST_KEPT:
            self._lost, self._available, self._found = lost, available, {}
            self._open = self._opened()
        if chain.index not in self._found:
            self._found[chain.index] = self._nearest(chain)
        return self._found[chain.index]

    def _opened(self) -> Mask:
        kept = without(self._space, self._lost)
        both = kept if self._available is None else kept & self._available
        return both if both.any() else kept

    def _nearest(self, chain: ActionChain) -> ActionChain | None:
        if self._open[chain.index]:
            return chain
        candidates = np.flatnonzero(self._open)
        if not len(candidates):
            return None
        changed = (self._actions[candidates] != self._actions[chain.index]).sum(axis=1)
        more = self._space.flops[candidates] - chain.flops
        first = int(np.lexsort((np.abs(more), more > 0, changed))[0])
        return self._space.chains[int(candidates[first])]

    @cached_property
    def _actions(self) -> NDArray[np.int64]:
        """A number for the action of each chain in each stage, (J, stages)."""
        names = np.array([[action.id for action in chain.actions] for chain in self._space])
        return np.stack([np.unique(column, return_inverse=True)[1] for column in names.T], axis=1)


def uses_none(chain: ActionChain, variants: Collection[Name]) -> bool:
    """Whether the chain calls none of these variants."""
    return not any((action.stage, action.variant) in variants for action in chain.actions)
