"""The one rule of allocation: a request takes the chain with the best reward minus price times cost."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rewards = NDArray[np.floating]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

CHUNK_ROWS = 4096


def penalties(costs: Floats, prices: Floats, available: Mask | None = None) -> Floats:
    """What each chain's cost takes off its reward, (J,): `costs @ prices`, infinite for a chain that is not available.

    costs (J, M) by resource; prices (M,), reward per unit of the resource.
    """
    penalty: Floats = costs @ prices
    return penalty if available is None else np.where(available, penalty, np.inf)


def best_chains(rewards: Rewards, penalty: Floats) -> Ints:
    """The chain with the largest `reward - penalty` of each row, (B,); of equals the first. rewards (B, J)."""
    chains: Ints = (rewards - penalty.astype(rewards.dtype)).argmax(axis=1)
    return chains


def in_chunks(rewards: Rewards, rows: int = CHUNK_ROWS) -> Iterator[Rewards]:
    """The rows in pieces that fit the processor's cache, so that no temporary is as large as the whole."""
    for start in range(0, len(rewards), rows):
        yield rewards[start : start + rows]


def chains_under(rewards: Rewards, costs: Floats, prices: Floats, available: Mask | None = None) -> Ints:
    """The chain that each of any number of rows takes under these prices, (N,)."""
    penalty = penalties(costs, prices, available)
    parts = [best_chains(part, penalty) for part in in_chunks(rewards)]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def rewards_of(rewards: Rewards, chains: Ints) -> Floats:
    """The reward of each row's chain, (N,)."""
    return np.take_along_axis(rewards, chains[:, None], axis=1)[:, 0].astype(np.float64)


def ceilings(rewards: Rewards, costs: Floats, available: Mask | None = None) -> Floats:
    """The price of each resource, (M,), from which on every row takes a chain that is cheapest in it.

    The other resources are free meanwhile.
    """
    keep = np.ones(len(costs), bool) if available is None else available
    result = np.zeros(costs.shape[1])
    for m, cost in enumerate(costs[keep].T):
        dearer = cost > cost.min()
        if not dearer.any():
            continue
        for part in in_chunks(rewards):
            open_part = part[:, keep].astype(np.float64)
            base = open_part[:, ~dearer].max(axis=1, keepdims=True)
            rises = (open_part[:, dearer] - base) / (cost[dearer] - cost.min())
            result[m] = max(result[m], float(rises.max()))
    return result
