"""Seeded requests for tests and benchmarks of allocation: concave, saturating rewards of heterogeneous users."""

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

PRE_RANK = tuple(product(range(2), (25, 50, 100, 200, 400, 800)))
RANK = tuple(product(range(3), (10, 20, 40, 80, 160)))
CHAINS = tuple((pre, rank) for pre in PRE_RANK for rank in RANK if rank[1] <= pre[1])
PRE_QUALITY, RANK_QUALITY = np.array([0.8, 1.0]), np.array([0.75, 0.9, 1.0])
PRE_COST, RANK_COST = np.array([0.2, 0.8]), np.array([1.0, 4.0, 12.0])
RECALL_COST = 20.0


@dataclass(frozen=True)
class Requests:
    """Reward rows (N, J) float32 and the chains' cost (J,), in MFLOPs."""

    rewards: NDArray[np.float32]
    cost: Floats


def chain_costs() -> Floats:
    """Cost of each chain, (J,)."""
    return np.array([RECALL_COST + PRE_COST[p] * n + RANK_COST[r] * m for (p, n), (r, m) in CHAINS])


def draw(count: int, seed: int, patience: float = 1.0) -> Requests:
    """`count` users: lognormal value, own saturation in both stages, own taste for each variant.

    reward = value * pre-rank quality * rank quality * (1 - exp(-items / saturation)) of both stages.
    `patience` scales the saturation: users of a larger one gain from more items.
    """
    rng = np.random.default_rng(seed)
    value = rng.lognormal(0.0, 0.8, count)
    slow_pre, slow_rank = rng.lognormal(4.5, 0.6, count) * patience, rng.lognormal(3.0, 0.6, count) * patience
    taste = 1.0 + rng.normal(0.0, 0.07, (count, len(PRE_QUALITY) + len(RANK_QUALITY)))
    rewards = np.empty((count, len(CHAINS)), np.float32)
    for at, ((p, n), (r, m)) in enumerate(CHAINS):
        quality = PRE_QUALITY[p] * taste[:, p] * RANK_QUALITY[r] * taste[:, len(PRE_QUALITY) + r]
        rewards[:, at] = value * quality * (1 - np.exp(-n / slow_pre)) * (1 - np.exp(-m / slow_rank))
    return Requests(rewards, chain_costs())
