"""What is known of users and items at a point in time: smoothed click rates from the past alone."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
TABS = 15
USER_PRIOR, ITEM_PRIOR, TAB_PRIOR, WATCH_PRIOR = 4.0, 10.0, 50.0, 5.0
"""Exposures that the expected rate weighs in a smoothed rate."""


class Past:
    """Counts of exposures and clicks so far; grows day by day.

    A rate is smoothed, and relative to where the exposures were: tabs differ in their click rates, and who
    was shown items in a tab of many clicks is no keener for it. So a user's rate is overall * (clicks + prior
    * overall) / (expected + prior * overall), where `expected` sums the tabs' rates.
    """

    def __init__(self, users: int, items: int) -> None:
        self.version = 0
        self.user_shown, self._user_clicks, self._user_expected = (np.zeros(users) for _ in range(3))
        self.item_shown, self._item_clicks, self._item_expected = (np.zeros(items) for _ in range(3))
        self._tab_shown, self._tab_clicks = np.zeros(TABS), np.zeros(TABS)
        self._user_tabs = np.zeros((users, TABS), dtype=np.int32)
        self._user_watched, self._user_good = np.zeros(users), np.zeros(users)
        self._item_watched, self._item_good = np.zeros(items), np.zeros(items)

    def add(
        self,
        user: NDArray[np.int64],
        item: NDArray[np.int64],
        click: NDArray[np.bool_],
        tab: NDArray[np.int64],
        public: NDArray[np.bool_],
    ) -> None:
        """Exposures (n,) become the past: all of it their user's, and everybody's where they are `public`."""
        self.version += 1
        tab = np.clip(tab, 0, TABS - 1)
        np.add.at(self._tab_shown, tab[public], 1.0)
        np.add.at(self._tab_clicks, tab[public], click[public])
        expected = self._tab_rate()[tab]
        np.add.at(self._user_tabs, (user, tab), 1)
        amounts = (np.ones(len(user)), click, expected)
        for count, amount in zip((self.user_shown, self._user_clicks, self._user_expected), amounts, strict=True):
            np.add.at(count, user, amount)
        for count, amount in zip((self.item_shown, self._item_clicks, self._item_expected), amounts, strict=True):
            np.add.at(count, item[public], amount[public])

    def remember(self, user: int, items: NDArray[np.int64], good: NDArray[np.bool_]) -> None:
        """A user watched items before the log began, and liked or watched long the good ones."""
        self._user_watched[user] += len(items)
        self._user_good[user] += good.sum()
        np.add.at(self._item_watched, items, 1.0)
        np.add.at(self._item_good, items, good)

    @property
    def overall(self) -> float:
        """Click rate of all exposures so far, 0.4 before the first."""
        return float((self._tab_clicks.sum() + 0.4) / (self._tab_shown.sum() + 1.0))

    def _tab_rate(self) -> FloatArray:
        return np.asarray((self._tab_clicks + TAB_PRIOR * self.overall) / (self._tab_shown + TAB_PRIOR))

    def user_rate(self, rows: NDArray[np.int64]) -> FloatArray:
        """Smoothed click rates of users."""
        return self._relative(self._user_clicks[rows], self._user_expected[rows], USER_PRIOR)

    def item_rate(self) -> FloatArray:
        """Smoothed click rates of all items."""
        return self._relative(self._item_clicks, self._item_expected, ITEM_PRIOR)

    def user_liking(self, rows: NDArray[np.int64]) -> FloatArray:
        """Share of what users watched before the log that they liked or watched long; NaN if nothing."""
        return _share(self._user_good[rows], self._user_watched[rows])

    def item_liking(self) -> FloatArray:
        """The same of the items."""
        return _share(self._item_good, self._item_watched)

    def usual_tab(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """The tab where users were shown most, everybody's where they were shown nothing."""
        tabs = self._user_tabs[rows]
        return np.where(tabs.any(axis=1), tabs.argmax(axis=1), self.everyones_tab())

    def everyones_tab(self) -> int:
        """The tab of most exposures."""
        return int(self._tab_shown.argmax())

    def _relative(self, clicks: FloatArray, expected: FloatArray, prior: float) -> FloatArray:
        weight = prior * self.overall
        return np.asarray(self.overall * (clicks + weight) / (expected + weight))


def _share(good: FloatArray, watched: FloatArray) -> FloatArray:
    overall = good.sum() / max(1.0, watched.sum())
    smoothed = (good + WATCH_PRIOR * overall) / (watched + WATCH_PRIOR)
    return np.where(watched > 0, smoothed, np.nan)
