"""Users of a synthetic world: they click by its truth."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from allocator.rewards import ClickChance
from cluster.traffic.clicks import Shown
from models.features import IdIndex


class WorldUsers:
    """Each item of a page is looked at, and clicked or not by itself, as `allocator.rewards.ExpectedClicks` counts.

    users, items  ids in the order of the world's rows
    seed          of the clicks: with the same pages in the same order, the same clicks
    """

    def __init__(self, users: IdIndex, items: IdIndex, chance: ClickChance, seed: int) -> None:
        self._users, self._items, self._chance = users, items, chance
        self._rng = np.random.default_rng(seed)

    def __call__(self, shown: Sequence[Shown]) -> NDArray[np.int64]:
        """(n,) clicks; -1 for a page of a user or with an item that the world does not have."""
        chances = self.chances(shown)
        clicks = np.array([(self._rng.random(len(page)) < page).sum() for page in chances], dtype=np.int64)
        return np.where([np.isnan(page).any() for page in chances], -1, clicks)

    def chances(self, shown: Sequence[Shown]) -> list[NDArray[np.float64]]:
        """Of each page the chances of a click on its items, (k,) each; NaN throughout for an unknown user or item."""
        sizes = np.array([len(page.items) for page in shown], dtype=np.int64)
        users = np.repeat(self._users.find([page.user for page in shown]), sizes)
        items = self._items.find([item for page in shown for item in page.items])
        known = (users >= 0) & (items >= 0)
        chance = np.full(len(items), np.nan)
        if known.any():
            chance[known] = self._chance.click_probability(users[known], items[known, None])[:, 0]
        return np.split(chance, np.cumsum(sizes)[:-1])
