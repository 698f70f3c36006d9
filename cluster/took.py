"""What answers took, counted in buckets that are the same everywhere: counts of replicas add up. No Ray here."""

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from allocator.choice import Ints

LEAST_S, MOST_S, STEPS = 1e-3, 60.0, 60
EDGES_S: tuple[float, ...] = tuple(np.geomspace(LEAST_S, MOST_S, STEPS + 1).tolist())
"""Each a fifth above the one before: a quantile is told to a tenth."""
BUCKETS = len(EDGES_S) + 1
"""One below the least edge and one above the most besides."""


class Took:
    """Cumulative counts of one life of a replica. Used from one event loop."""

    def __init__(self) -> None:
        self._counts = [0] * BUCKETS

    def count(self, took_s: float) -> None:
        """An answer took so long."""
        self._counts[bisect_right(EDGES_S, took_s)] += 1

    def counts(self) -> Ints:
        """(BUCKETS,) so far."""
        return np.array(self._counts, np.int64)


def none_took() -> Ints:
    """The counts before the first answer."""
    return np.zeros(BUCKETS, np.int64)


def quantiles_s(counts: Ints, of: Sequence[float]) -> tuple[float, ...] | None:
    """The quantiles of answers counted so, (BUCKETS,), each within its bucket by the logarithm; None without answers.

    What took less than the least edge is told as between half of it and all of it; more than the most, as the most.
    """
    total = int(counts.sum())
    if not total:
        return None
    ends = np.cumsum(counts)
    return tuple(_quantile_s(counts, ends, share * total) for share in of)


def _quantile_s(counts: Ints, ends: Ints, rank: float) -> float:
    at = int(np.searchsorted(ends, rank))
    while not counts[at]:  # rank 0 lies before the first answer
        at += 1
    if at > STEPS:
        return MOST_S
    low, high = (LEAST_S / 2 if at == 0 else EDGES_S[at - 1]), EDGES_S[at]
    share = (rank - (ends[at] - counts[at])) / counts[at]
    return float(min(low * (high / low) ** share, high))  # the power may be above by rounding
