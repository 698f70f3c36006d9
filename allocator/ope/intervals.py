"""How far an estimate can be trusted, where users and not requests are independent of each other."""

from dataclasses import dataclass
from math import inf, nan, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from allocator.choice import Floats

LEVEL = 0.95


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and its interval of the level asked for. NaN, with an infinite interval, where nothing is known."""

    value: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half of its width."""
        return (self.high - self.low) / 2

    @property
    def sign(self) -> int:
        """1 or -1 where the interval leaves zero out, else 0."""
        return int(self.low > 0) - int(self.high < 0)


class Clusters:
    """Which user each of N requests belongs to."""

    def __init__(self, users: NDArray[np.generic]) -> None:
        found, self._of = np.unique(users, return_inverse=True)
        self._count = len(found)

    def __len__(self) -> int:
        return self._count

    def sums(self, rows: Floats) -> Floats:
        """Of what each request contributes, (N,): by user, (G,)."""
        return np.bincount(self._of, weights=rows, minlength=self._count).astype(np.float64)

    def interval(self, rows: Floats, level: float = LEVEL) -> Interval:
        """The mean of rows (N,), and how far off it may be when users are drawn independently.

        Standard error: sqrt(G / (G - 1) sum_g u_g^2) / N with u_g the sum of a user's deviations from the mean (Liang
        and Zeger 1986). Where few users make up nearly all of it, as they do under large weights, a normal quantile
        would be too short: Student's takes (sum u^2)^2 / sum u^4 less one as its degrees of freedom.
        """
        mean = float(rows.mean())
        if not np.isfinite(mean):
            return Interval(nan, -inf, inf)
        deviations = self.sums(rows - mean)
        squares = deviations * deviations
        total = float(squares.sum())
        if self._count < 2:
            return Interval(mean, -inf, inf)
        if total == 0.0:
            return Interval(mean, mean, mean)
        shares = squares / total  # of squares themselves the squares may be too small for a number
        freedom = max(1.0, 1.0 / float((shares * shares).sum()) - 1.0)
        error = sqrt(total * self._count / (self._count - 1)) / len(rows)
        half = float(stdtrit(freedom, 0.5 + level / 2)) * error
        return Interval(mean, mean - half, mean + half)

    def bootstrapped(self, rows: Floats, seed: int, draws: int = 1000, level: float = LEVEL) -> Interval:
        """The same by drawing users with replacement: the middle of the means that they give."""
        mean = float(rows.mean())
        if not np.isfinite(mean) or self._count < 2:
            return Interval(mean, -inf, inf)
        rng = np.random.default_rng(seed)
        totals, counts = self.sums(rows), self.sums(np.ones(len(rows)))
        drawn = (rng.integers(0, self._count, self._count) for _ in range(draws))
        means = np.array([totals[users].sum() / counts[users].sum() for users in drawn])
        low, high = np.quantile(means, [0.5 - level / 2, 0.5 + level / 2])
        return Interval(mean, float(low), float(high))
