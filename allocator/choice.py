"""The one rule of allocation: a request takes the chain with the best reward minus price times cost."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Rewards = NDArray[np.floating]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]

CHUNK_VALUES = 1 << 17
"""Half a megabyte of rewards: it fits the cache that a processor core has for itself."""


def penalties(costs: Floats, prices: Floats, available: Mask | None = None) -> Floats:
    """What each chain's cost takes off its reward, (J,): `costs @ prices`, infinite for a chain that is not available.

    costs (J, M) by resource; prices (M,), reward per unit of the resource.
    """
    penalty: Floats = costs @ prices
    return penalty if available is None else np.where(available, penalty, np.inf)


def best_chains(rewards: Rewards, penalty: Floats) -> Ints:
    """The chain with the largest `reward - penalty` of each row, (B,); of equals the first. rewards (B, J).

    A penalty beyond what rewards can hold counts as the largest that they can: only infinity means not available.
    """
    most = np.finfo(rewards.dtype).max / 2
    held = np.where(np.isinf(penalty), penalty, np.minimum(penalty, most)).astype(rewards.dtype)
    parts = [(part - held).argmax(axis=1) for part in in_chunks(rewards)]
    return np.concatenate(parts) if parts else np.empty(0, np.int64)


def without(rewards: Rewards, allowed: Mask) -> Rewards:
    """The rewards (B, J), minus infinity for what is not allowed. One that is not finite makes NaN there too, so that a
    broken model is still found out."""
    with np.errstate(invalid="ignore"):
        less: Rewards = rewards + np.where(allowed, 0.0, -np.inf).astype(rewards.dtype)
    return less


def in_chunks(rewards: Rewards) -> Iterator[Rewards]:
    """The rows in pieces that fit the processor's cache, so that no temporary is as large as the whole."""
    rows = max(1, CHUNK_VALUES // max(1, rewards.shape[1]))
    for start in range(0, len(rewards), rows):
        yield rewards[start : start + rows]


def chains_under(rewards: Rewards, costs: Floats, prices: Floats, available: Mask | None = None) -> Ints:
    """The chain that each of any number of rows takes under these prices, (N,)."""
    return best_chains(rewards, penalties(costs, prices, available))


def rewards_of(rewards: Rewards, chains: Ints) -> Floats:
    """The reward of each row's chain, (N,)."""
    return np.take_along_axis(rewards, chains[:, None], axis=1)[:, 0].astype(np.float64)


def ceilings(rewards: Rewards, costs: Floats, available: Mask | None = None, near: float = 0.0) -> Floats:
    """The price of each resource, (M,), from which on every row takes a chain that is cheapest in it, or `near` to it:
    no dearer than by this share.

    The other resources are free meanwhile. The price that parts two chains of almost the same cost may be thousands of
    times the one that parts those that differ, and makes no difference to what is spent.
    """
    if available is not None and not available.all():
        rewards, costs = rewards[:, available], costs[available]
    result = np.zeros(costs.shape[1])
    if not len(rewards):
        return result
    known: dict[bytes, Floats] = {}  # resources that have the same cheapest chains, as most do, are looked at once
    for m, cost in enumerate(costs.T):
        cheapest, dearer = cost == cost.min(), cost > (1 + near) * cost.min()
        if not dearer.any():
            continue
        key = cheapest.tobytes()
        if key not in known:
            known[key] = _most_over(rewards, cheapest)
        result[m] = max(0.0, float((known[key][dearer] / (cost[dearer] - cost.min())).max()))
    return result


def _most_over(rewards: Rewards, cheapest: Mask) -> Floats:
    """What each chain earns over the best of the cheapest ones in the row where that is most, (J,): the steepest rise
    to a chain is that row's."""
    over = [(part - part[:, cheapest].max(axis=1, keepdims=True)).max(axis=0) for part in in_chunks(rewards)]
    most: Floats = np.max(over, axis=0).astype(np.float64)
    return most
