"""A belief about non-negative coefficients, and what a reading does to it: a Kalman filter, one reading at a time."""

from dataclasses import dataclass

import numpy as np

from allocator.choice import Floats

PIVOTS = 12
OUTLIER, ODD = 4.0, 2.5


@dataclass(frozen=True, slots=True, eq=False)
class Belief:
    """A normal distribution of n coefficients; its mean may stray below zero.

    mean (n,), covariance (n, n)
    """

    mean: Floats
    covariance: Floats


def observed(belief: Belief, x: Floats, y: float, variance: float) -> tuple[Belief, float]:
    """The belief after the reading y = x . coefficients + noise of that variance; and the noise it seems to have had.

    That is the square of the part of the surprise that the belief's own doubt does not explain, at least zero. A
    surprise teaches as if it were at most OUTLIER of its standard deviations, and counts as noise of at most ODD: a
    counter gone mad shall change little. Nor does such a reading make the belief any surer.
    """
    spread = belief.covariance @ x
    doubt = float(x @ spread)
    expected = doubt + variance
    most, surprise = OUTLIER * expected**0.5, y - float(x @ belief.mean)
    mean = belief.mean + spread / expected * min(max(surprise, -most), most)
    noise = max(min(surprise**2, ODD**2 * expected) - doubt, 0.0)
    if abs(surprise) > most:
        return Belief(mean, belief.covariance), noise
    return Belief(mean, belief.covariance - np.outer(spread / expected, spread)), noise


def relaxed(belief: Belief, limit: Floats, share: float) -> Belief:
    """The belief after a share of what is known is forgotten: the mean stays, doubt moves towards `limit` (n, n)."""
    return Belief(belief.mean, belief.covariance + share * (limit - belief.covariance))


def nonnegative(belief: Belief) -> Floats:
    """The likeliest coefficients (n,) of which none is negative.

    Minimises (u - mean)' C^-1 (u - mean) subject to u >= 0. At the optimum u = mean + C w with w >= 0, and w is zero
    wherever u is not: block principal pivoting (Portugal, Judice, Vicente 1994) looks for the coefficients that are
    held at zero. Where that goes round in circles, its dual is solved as non-negative least squares.
    """
    if (belief.mean >= 0).all():
        return belief.mean
    held = belief.mean < 0
    smallest = -1e-12 * float(np.abs(belief.mean).max())
    for _ in range(PIVOTS):
        push = np.linalg.solve(belief.covariance[np.ix_(held, held)], -belief.mean[held])
        point: Floats = belief.mean + belief.covariance[:, held] @ push
        point[held] = 0.0
        low = point < smallest
        if not low.any() and (push >= 0).all():
            return np.maximum(point, 0.0)
        held[np.flatnonzero(held)[push < 0]] = False
        held |= low
        if not held.any():
            break
    return _by_least_squares(belief)


def _by_least_squares(belief: Belief) -> Floats:
    from scipy.linalg import solve_triangular  # 0.3 s, which replicas that learn nothing are spared
    from scipy.optimize import nnls

    root = np.linalg.cholesky(belief.covariance)
    push, _ = nnls(root.T, -solve_triangular(root, belief.mean, lower=True))
    point: Floats = np.maximum(belief.mean + belief.covariance @ push, 0.0)
    return point
