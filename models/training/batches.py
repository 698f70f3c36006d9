"""Training batches: requests with their exposures for the scorers, clicks for recall."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from models.worlds.base import Log


@dataclass(frozen=True)
class Exposures:
    """Requests and what they showed: user (B, Fu), history (B, L), item (pairs, Fi), row and click (pairs,)."""

    user: Tensor
    history: Tensor
    item: Tensor
    row: Tensor
    click: Tensor


@dataclass(frozen=True)
class Clicks:
    """One clicked item per row: user (B, Fu), history (B, L), item (B, Fi), item_row (B,)."""

    user: Tensor
    history: Tensor
    item: Tensor
    item_row: Tensor


def exposure_batches(log: Log, size: int, rng: np.random.Generator | None) -> Iterator[Exposures]:
    """All requests in batches of `size`, shuffled by `rng`, in their order without one."""
    order = np.arange(len(log)) if rng is None else rng.permutation(len(log))
    lengths = np.diff(log.offsets)
    for start in range(0, len(order), size):
        requests = order[start : start + size]
        count = lengths[requests]
        row = np.repeat(np.arange(len(requests)), count)
        first = np.repeat(log.offsets[requests] - np.concatenate([[0], np.cumsum(count)[:-1]]), count)
        shown = first + np.arange(len(row))
        item = log.item_features(requests[row], log.item_row[shown])
        tensors = (codes(log.user[requests]), codes(log.history[requests]), codes(item), codes(row))
        yield Exposures(*tensors, torch.from_numpy(log.click[shown]))


def click_batches(log: Log, size: int, rng: np.random.Generator) -> Iterator[Clicks]:
    """All clicks, shuffled, in batches of `size`; the last, smaller one is left out."""
    clicked = rng.permutation(np.flatnonzero(log.click > 0))
    request = log.request
    for start in range(0, max(1, len(clicked) - size + 1), size):
        part = clicked[start : start + size]
        rows = request[part]
        item = log.item_features(rows, log.item_row[part])
        yield Clicks(codes(log.user[rows]), codes(log.history[rows]), codes(item), codes(log.item_row[part]))


def codes(array: np.ndarray[tuple[int, ...], np.dtype[np.integer]]) -> Tensor:
    """An int64 tensor, as the exported models take it."""
    return torch.from_numpy(np.ascontiguousarray(array, dtype=np.int64))
