"""How well predictions of the last hours came true: earned over predicted, with an interval, in bounded memory."""

from collections import deque
from dataclasses import dataclass
from math import nan, sqrt

import numpy as np
from numpy.typing import NDArray

from allocator.arms import GROUPS

BUCKETS = 24
LEAST_GROUPS = 8
NORMAL_95 = 1.96


@dataclass(frozen=True, slots=True)
class Calibration:
    """Of the requests of a window.

    requests                         how many
    predicted_mean, realised_mean    of a request's reward
    ratio                            realised over predicted; NaN where nothing was predicted
    low, high                        its 95% interval; NaN for users of too few groups
    """

    requests: int = 0
    predicted_mean: float = nan
    realised_mean: float = nan
    ratio: float = nan
    low: float = nan
    high: float = nan


def calibration(sums: NDArray[np.float64]) -> Calibration:
    """Of sums by group of users, (3, GROUPS): requests, predicted, realised rewards.

    The ratio's error follows from how groups differ, since requests of a user are alike and those of groups are not:
    with residuals d = realised - ratio * predicted of G groups, its variance is G / (G - 1) * sum(d ** 2) over the
    square of all that was predicted (random groups and Taylor series; Wolter, Introduction to Variance Estimation,
    2007, chapters 2 and 6).
    """
    requests, predicted, realised = (float(total) for total in sums.sum(1))
    if not requests:
        return Calibration()
    means = (int(requests), predicted / requests, realised / requests)
    if not predicted > 0:
        return Calibration(*means)
    ratio, used = realised / predicted, sums[0] > 0
    groups = int(used.sum())
    if groups < LEAST_GROUPS:
        return Calibration(*means, ratio)
    off = sums[2, used] - ratio * sums[1, used]
    half = NORMAL_95 * sqrt(groups / (groups - 1) * float(off @ off)) / predicted
    return Calibration(*means, ratio, ratio - half, ratio + half)


class Window:
    """Sums by group of what came in the last `window_s` seconds, give or take a BUCKETS-th of it."""

    def __init__(self, window_s: float) -> None:
        self._bucket_s = window_s / BUCKETS
        self._buckets: deque[tuple[float, NDArray[np.float64]]] = deque(maxlen=BUCKETS + 1)

    def add(
        self, groups: NDArray[np.int16], predicted: NDArray[np.float64], realised: NDArray[np.float64], now_s: float
    ) -> None:
        """Requests (n,) that matured now."""
        if not self._buckets or now_s >= self._buckets[-1][0] + self._bucket_s:
            self._buckets.append((now_s, np.zeros((3, GROUPS))))
        sums = self._buckets[-1][1]
        for row, weights in enumerate((None, predicted, realised)):
            sums[row] += np.bincount(groups, weights, GROUPS)

    def calibration(self, now_s: float) -> Calibration:
        """Of what the window holds."""
        least_s = now_s - self._bucket_s * (BUCKETS + 1)
        return calibration(sum((sums for began_s, sums in self._buckets if began_s > least_s), np.zeros((3, GROUPS))))
