"""Under which limits a request was decided, however long ago. No Ray here."""

from bisect import bisect_right

import numpy as np
from numpy.typing import NDArray

MOST_CHANGES = 10_000


class Budgets:
    """Budgets by policy version, and by time within one: a limit that has no price may change while the policy stays.

    Only where they change is remembered, and of more than `most` changes the newest.
    """

    def __init__(self, most: int = MOST_CHANGES) -> None:
        self._most = most
        self._since: list[tuple[int, float]] = []
        self._budgets: list[str] = []

    def know(self, version: int, since_s: float, budget: str) -> None:
        """By that version, from that Unix time on, requests are decided under this budget. Who tells it later than
        others, or again, moves at most where it began."""
        since = version, since_s
        at = bisect_right(self._since, since)
        if at and self._budgets[at - 1] == budget:
            return
        if at < len(self._since) and self._budgets[at] == budget:
            self._since[at] = since
            return
        self._since.insert(at, since)
        self._budgets.insert(at, budget)
        if len(self._since) > self._most:
            del self._since[0], self._budgets[0]

    def numbers(self, versions: NDArray[np.int64], times_s: NDArray[np.float64]) -> NDArray[np.int64]:
        """Of requests that were decided by those versions at those times, (n,) each: what `budget` takes, until more is
        known."""
        since = np.array([complex(*one) for one in self._since], complex)  # which sorts by the real part first
        found: NDArray[np.int64] = np.searchsorted(since, versions + 1j * times_s, side="right") - 1
        return found

    def budget(self, number: int) -> str | None:
        """One of `numbers`; None where nobody remembers."""
        return None if number < 0 else self._budgets[number]
