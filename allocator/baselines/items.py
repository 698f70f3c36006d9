"""What the literature's methods may choose: item numbers, all variants being those of the static chain."""

from dataclasses import dataclass
from functools import partial
from typing import Self

import numpy as np

from allocator.chains import ActionChain, ChainSpace
from allocator.choice import Floats, Ints, Rewards


@dataclass(frozen=True, slots=True, eq=False)
class ItemGrid:
    """The chains that differ from the static chain in item numbers only.

    numbers  per stage that has a choice, its item numbers, ascending
    lookup   (n1, n2, ..) chain of each combination. Where a later stage would infer more items than an earlier one
             hands on, no such chain exists: it is then the chain that lowers the numbers least
    static   the static chain's place in the grid, one number per stage
    """

    numbers: tuple[Ints, ...]
    lookup: Ints
    static: tuple[int, ...]

    @classmethod
    def of(cls, space: ChainSpace) -> Self:
        """The grid of a chain space. A stage that the static chain skips stays skipped."""
        same = [chain for chain in space if _variants(chain) == _variants(space.static)]
        stages = [at for at, action in enumerate(space.static.actions) if action.variant and not action.recalls]
        found = {tuple(chain.actions[at].items for at in stages): chain.index for chain in same}
        numbers = tuple(np.unique([key[at] for key in found]) for at in range(len(stages)))
        lookup = np.empty([len(n) for n in numbers], np.int64)
        for place in np.ndindex(lookup.shape):
            wanted = [int(options[at]) for options, at in zip(numbers, place, strict=True)]
            lookup[place] = found[min(found, key=partial(_distance, wanted=wanted))]
        own = tuple(space.static.actions[at].items for at in stages)
        static = tuple(int(np.searchsorted(n, item)) for n, item in zip(numbers, own, strict=True))
        return cls(numbers, lookup, static)

    def along(self, stage: int) -> Ints:
        """The chains where only this stage's number varies, later ones as far as they fit; by ascending number."""
        place: list[int | slice] = list(self.static)
        place[stage] = slice(None)
        chains: Ints = self.lookup[tuple(place)]
        return chains

    def chains(self, places: Ints) -> Ints:
        """The chain of each row's places (N, stages), (N,)."""
        found: Ints = self.lookup[tuple(places.T)]
        return found

    def value(self, rewards: Rewards, stage: int) -> Floats:
        """What each of a stage's numbers earns each row over the smallest one, other stages static, (N, numbers)."""
        value = rewards[:, self.along(stage)].astype(np.float64)
        value -= value[:, :1].copy()
        return value

    def price_of(self, cost: Floats, stage: int) -> Floats:
        """What each of a stage's numbers costs more than the smallest one, other stages static, (numbers,)."""
        extra: Floats = cost[self.along(stage)].copy()
        extra -= extra[0]
        return extra


def _variants(chain: ActionChain) -> tuple[str | None, ...]:
    return tuple(action.variant for action in chain.actions)


def _distance(key: tuple[int, ...], wanted: list[int]) -> tuple[int, int]:
    """Items above what is wanted count first, then items below it."""
    gaps = [have - want for have, want in zip(key, wanted, strict=True)]
    return sum(max(gap, 0) for gap in gaps), sum(max(-gap, 0) for gap in gaps)
