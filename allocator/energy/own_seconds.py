"""What a variant draws, by how long it kept processors busy: a busy second draws about the same, whoever works in it.

Where replicas claim more seconds than the host's processors worked, it is not they that draw: nothing is concluded.
"""

import math
from collections.abc import Sequence

import numpy as np

from allocator.choice import Floats
from allocator.energy.belief import OUTLIER, Belief
from allocator.energy.state import CORE, RESTING_CORES, PoolState
from allocator.energy.windows import SERVING, Name

ALIKE = 0.2
"""Relative standard deviation, among variants, of what a busy second draws: one computes where another waits for
memory."""
LEAST_TOLD = 0.01
"""Of its scale: a coefficient that is believed to be less than this is doubted as if it were so much."""
MOST_CLAIMED = 1.05
"""Of a host's busy seconds, by replicas: clocks and reports do not agree to the last tick."""


def by_own_s(pool: PoolState, belief: Belief, names: Sequence[Name]) -> Belief:
    """The belief after what each variant took of processors, as far as it is known less well than that tells.

    That a busy second of one variant draws more than one of another is no noise, which would average out: nothing is
    known better by being told again. Seconds of the work around the models are also those in which a replica waits for
    requests, which are taken to be RESTING_CORES at most. What a busy second draws, meters tell.

    names  of the variants, in the order of their coefficients
    """
    block, count = pool.held, len(pool.held.own_s)
    core_j = float(belief.mean[CORE]) * pool.core_j
    if not (core_j > 0 and float(block.own_s.sum()) <= MOST_CLAIMED * block.busy_s):
        return belief
    for at in np.flatnonzero(block.own_s * (block.used[:count] + block.used[count:])).tolist():
        row, own_s = np.zeros(len(belief.mean)), float(block.own_s[at])
        for of in (at, at + count):
            row[1 + of] = block.used[of] * pool.scale[1 + of]
        row[CORE] = -own_s * pool.core_j
        waited_s = RESTING_CORES * block.window_s if names[at] == SERVING else 0.0
        variance = (core_j * math.hypot(ALIKE * own_s, waited_s)) ** 2
        belief = _doubting(belief, row, variance)
        if float(row @ belief.covariance @ row) > variance:
            belief = _told(belief, row, variance)
    return belief


def _told(belief: Belief, x: Floats, variance: float) -> Belief:
    """The belief after the reading 0 = x . coefficients + noise, of which the variant learns and nothing else does: not
    what a busy second draws, though it is doubted, so that variants follow when meters tell it (a Schmidt-Kalman
    filter).

    Source: Schmidt, Application of state-space methods to navigation problems, Advances in Control Systems 3 (1966).
    """
    spread = belief.covariance @ x
    expected = float(x @ spread) + variance
    gain = np.where(x > 0, spread / expected, 0.0)
    most = OUTLIER * expected**0.5
    mean = belief.mean - gain * min(max(float(x @ belief.mean), -most), most)
    change = np.outer(gain, spread)
    return Belief(mean, belief.covariance - change - change.T + expected * np.outer(gain, gain))


def _doubting(belief: Belief, x: Floats, variance: float) -> Belief:
    """The belief, and where 0 = x . coefficients is farther from it than both allow, with so much more doubt of the
    variant, all by one factor: FLOPs say little of what looks items up, or runs in Python."""
    told = np.where(x > 0, np.maximum(belief.mean, LEAST_TOLD), 0.0)
    surprise, expected = float(x @ belief.mean), float(x @ told)
    excess = surprise**2 - float(x @ belief.covariance @ x) - variance
    if excess <= 0:
        return belief
    return Belief(belief.mean, belief.covariance + excess / expected**2 * np.outer(told, told))
