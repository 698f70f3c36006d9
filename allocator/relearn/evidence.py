"""Regression whose weights are held to nothing, group by group, as far as the data does not speak for them.

    y = X beta + noise,   noise ~ N(0, s2 / w),   beta of group g ~ N(0, s2 / a_g)

The precisions a_g and s2 are those under which the data is most probable (type II maximum likelihood), found by a
fixed-point iteration of MacKay's: with S = (X'WX + diag a)^-1 and beta = S X'Wy, a group has c_g = size_g - a_g tr S_g
parameters that the data determines, and a_g <- s2 c_g / |beta_g|^2, s2 <- the weighted squared error / (sum w - sum c).
So nothing has to be tried out on data set aside, and a group that explains nothing vanishes. Source: MacKay, Bayesian
Interpolation, Neural Computation 4 (1992); Bishop, Pattern Recognition and Machine Learning, 3.5 and 7.2.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allocator.choice import Floats, Ints

ROUNDS = 20
SETTLED = 0.01
LEAST, MOST, FIRST = 1e-2, 1e8, 1e3


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """All that the regression needs of the data.

    gram   (F, F) X'WX
    cross  (F,) X'Wy
    square, weight  y'Wy and the sum of the weights
    """

    gram: Floats
    cross: Floats
    square: float = 0.0
    weight: float = 0.0

    @classmethod
    def none(cls, columns: int) -> "Sums":
        """Of no data."""
        return cls(np.zeros((columns, columns)), np.zeros(columns))

    def plus(self, x: NDArray[np.floating], y: Floats, w: Floats) -> "Sums":
        """With rows x (n, F), y (n,) of weights w (n,)."""
        weighed = x * w[:, None].astype(x.dtype)
        gram = self.gram + (weighed.T @ x).astype(np.float64)
        cross = self.cross + (weighed.T @ y.astype(x.dtype)).astype(np.float64)
        return Sums(gram, cross, self.square + float(w @ (y * y)), self.weight + float(w.sum()))


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """Weights beta (F,), the parameters that the data determines of each group (G,), and the noise's variance."""

    beta: Floats
    determined: Floats
    variance: float


def fit(sums: Sums, groups: Ints, rounds: int = ROUNDS) -> Fitted:
    """The regression; groups (F,) from 0 on. Without data, nothing."""
    sizes = np.bincount(groups).astype(np.float64)
    precision = np.full(len(sizes), FIRST)
    if sums.weight <= 0:
        return Fitted(np.zeros(len(groups)), np.zeros(len(sizes)), 0.0)
    beta, determined, variance = np.zeros(len(groups)), np.zeros(len(sizes)), sums.square / sums.weight
    for _ in range(rounds):
        spread = np.linalg.inv(sums.gram + np.diag(precision[groups]))
        beta = spread @ sums.cross
        determined = np.clip(sizes - precision * np.bincount(groups, weights=np.diag(spread)), 1e-3, sizes)
        error = sums.square - 2.0 * float(beta @ sums.cross) + float(beta @ sums.gram @ beta)
        variance = max(error, 1e-12) / max(sums.weight - float(determined.sum()), 1.0)
        size = np.maximum(np.bincount(groups, weights=beta * beta), 1e-12)
        before, precision = precision, np.clip(variance * determined / size, LEAST, MOST)
        if (np.abs(np.log(precision / before)) < SETTLED).all():
            break
    return Fitted(beta, determined, variance)
