"""Held-out quality: click AUC of scorers, share of clicked items that recall finds and a pre-ranker keeps."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.training.batches import codes, exposure_batches
from models.training.networks import Tower
from models.worlds.base import Log

FloatArray = NDArray[np.float32]
ROWS = 512
CANDIDATES = 400


def auc(scores: FloatArray, clicked: NDArray[np.bool_]) -> float:
    """Chance that a clicked exposure scores above another, ties half; NaN where one kind is missing."""
    positives = int(clicked.sum())
    negatives = len(clicked) - positives
    if not positives or not negatives:
        return float("nan")
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    rank = (np.cumsum(counts) - (counts - 1) / 2.0)[inverse]
    return float((rank[clicked].sum() - positives * (positives + 1) / 2) / (positives * negatives))


@torch.no_grad()
def exposure_auc(network: nn.Module, log: Log) -> float:
    """AUC of a scorer over all exposures of a log."""
    network.eval()
    batches = exposure_batches(log, ROWS, rng=None)
    scores = [network(b.user, b.history, b.item, b.row).numpy() for b in batches]
    return auc(np.concatenate(scores), log.click > 0)


@torch.no_grad()
def best_items(tower: Tower, log: Log, requests: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """The n best item rows (requests, n) of each request by recall, best first."""
    tower.eval()
    found = np.zeros((len(requests), n), dtype=np.int64)
    for state in np.unique(log.state[requests]):
        vectors = tower.vectors(codes(log.catalogue[state]))
        mine = np.flatnonzero(log.state[requests] == state)
        for start in range(0, len(mine), ROWS):
            part = mine[start : start + ROWS]
            rows = requests[part]
            queries = tower(codes(log.user[rows]), codes(log.history[rows]))
            found[part] = torch.topk(queries @ vectors.T, n, dim=1).indices.numpy()
    return found


def recall_at(tower: Tower, log: Log, numbers: Sequence[int]) -> dict[str, float]:
    """Share of the clicked items that are among the best n of the whole catalogue, for each n."""
    requests, items = _clicked(log)
    found = best_items(tower, log, np.unique(requests), max(numbers))
    place = _place(found[np.searchsorted(np.unique(requests), requests)], items)
    return {f"recall_at_{n}": float((place < n).mean()) for n in numbers}


@torch.no_grad()
def kept_at(network: nn.Module, tower: Tower, log: Log, numbers: Sequence[int]) -> dict[str, float]:
    """Of the clicked items among the 400 that `tower` finds, the share that the scorer's best n keep."""
    requests, items = _clicked(log)
    unique = np.unique(requests)
    limit = min(CANDIDATES, log.catalogue.shape[1])
    found = best_items(tower, log, unique, limit)
    network.eval()
    kept = np.zeros_like(found)
    for start in range(0, len(unique), ROWS // 8):
        rows, candidates = unique[start : start + ROWS // 8], found[start : start + ROWS // 8]
        scores = _score_all(network, log, rows, candidates)
        order = np.argsort(-scores, axis=1, kind="stable")
        kept[start : start + len(rows)] = np.take_along_axis(candidates, order, axis=1)
    at = np.searchsorted(unique, requests)
    place = _place(kept[at], items)
    reachable = place < limit
    return {f"kept_at_{n}": float((place[reachable] < n).mean()) for n in numbers}


def _score_all(network: nn.Module, log: Log, rows: NDArray[np.int64], items: NDArray[np.int64]) -> FloatArray:
    row = np.repeat(np.arange(len(rows)), items.shape[1])
    features = log.item_features(rows[row], items.ravel().astype(np.int32))
    scores: Tensor = network(codes(log.user[rows]), codes(log.history[rows]), codes(features), codes(row))
    return scores.numpy().reshape(items.shape)


def _clicked(log: Log) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    clicked = log.click > 0
    return log.request[clicked], log.item_row[clicked].astype(np.int64)


def _place(lists: NDArray[np.int64], items: NDArray[np.int64]) -> NDArray[np.int64]:
    """Where each item (n,) stands in its list (n, m); m where it does not."""
    hit = lists == items[:, None]
    return np.asarray(np.where(hit.any(axis=1), hit.argmax(axis=1), lists.shape[1]))
