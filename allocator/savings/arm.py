"""One arm's mean per request, and how far it may be off, from sums by group."""

from dataclasses import dataclass

import numpy as np

from allocator.choice import Floats


@dataclass(frozen=True, slots=True)
class ArmMean:
    """A ratio of sums: the quantity's, over the requests of which it is known.

    value     per request; NaN without any
    variance  of it, between units; NaN with fewer than two groups
    third     third central moment of it
    requests  that it is the mean of
    groups    that hold any of them, and `even` as many of equal size as they are worth
    """

    value: float
    variance: float
    third: float
    requests: float
    groups: int
    even: float


def arm_mean(counts: Floats, totals: Floats) -> ArmMean:
    """The mean of an arm, (GROUPS,) requests and sums.

    Requests of one user are alike, so requests are no independent draws; users are, and so are groups into which users
    fall at random (random groups: Wolter, Introduction to Variance Estimation, 2nd ed. 2007, ch. 2). With R = Y / N,
    the ratio of two sums that both vary, and R_g the ratio without group g, the jackknife over m groups has

        variance = (m - 1) / m  sum_g (R_g - R)^2,     R_g - R = -(y_g - R n_g) / (N - n_g)

    (Wolter, ch. 4). This is the linearised, or delta method's, variance sum_g (y_g - R n_g)^2 / N^2 (Deng, Knoblich and
    Lu, "Applying the delta method in metric analytics", KDD 2018) with each residual over 1 - n_g / N: a large group
    draws R to itself, and looks closer to it than it is. `third` is the sum of the cubes of R - R_g. Groups without
    requests count nowhere: with few users the groups are users, as many as there are groups that are not empty.

    Where few groups hold most requests, few residuals make up the variance, and it has fewer degrees of freedom than
    there are groups: `even` - 1, with Kish's effective number (sum n)^2 / sum n^2.
    """
    filled = counts > 0
    n, y = counts[filled], totals[filled]
    groups, requests = len(n), float(n.sum())
    if groups < 2:
        value = float(y.sum()) / requests if groups else np.nan
        return ArmMean(value, np.nan, np.nan, requests, groups, float(groups))
    value = float(y.sum()) / requests
    off = (value * n - y) / (requests - n)
    variance = (groups - 1) / groups * float(off @ off)
    return ArmMean(value, variance, -float((off**3).sum()), requests, groups, requests**2 / float(n @ n))
