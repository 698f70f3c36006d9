"""The best n of each row: ordered by score, ties by position, whatever the row's length."""

import numpy as np
from numpy.typing import NDArray

from models.batch import FloatArray, IntArray, RaggedBatch, offsets_of


def top_n(scores: FloatArray, n: int) -> IntArray:
    """Columns of the n best scores of each row, best first; equal scores in the order of their columns.

    scores  (rows, columns) without NaN; -inf stands for "not there" and comes last
    returns (rows, min(n, columns)); equal to `np.argsort(-scores, axis=1, kind="stable")[:, :n]`

    A partition finds the n best in linear time. Where the score at the border occurs on both of its sides, the
    partition's choice among equals is arbitrary, and those (rare) rows are sorted in full.
    """
    columns = scores.shape[1]
    if n >= columns:
        return np.argsort(-scores, axis=1, kind="stable")
    if n == 0:
        return np.empty((len(scores), 0), dtype=np.int64)
    kept = np.argpartition(scores, columns - n, axis=1)[:, columns - n :]
    kept.sort(axis=1)
    kept_scores = np.take_along_axis(scores, kept, axis=1)
    best = np.take_along_axis(kept, np.argsort(-kept_scores, axis=1, kind="stable"), axis=1)
    border = kept_scores.min(axis=1, keepdims=True)
    torn = np.count_nonzero(scores >= border, axis=1) > n
    if torn.any():
        best[torn] = np.argsort(-scores[torn], axis=1, kind="stable")[:, :n]
    return best


def best_of(batch: RaggedBatch, scores: FloatArray, keep: IntArray) -> RaggedBatch:
    """Each row's `keep[i]` best items by `scores` (pairs,), best first; a shorter row is kept whole.

    Equal scores stay in the order in which the items stood.
    """
    lengths = batch.lengths
    width = int(lengths.max(initial=0))
    kept = np.minimum(keep, lengths)
    most = int(kept.max(initial=0))
    if (lengths == width).all():
        padded = scores.reshape(len(batch), width)
    else:
        padded = np.full((len(batch), width), -np.inf, dtype=np.float32)
        padded[_mask(lengths, width)] = scores
    columns = top_n(padded, most)
    pairs = (batch.offsets[:-1, None] + columns)[_mask(kept, columns.shape[1])]
    return RaggedBatch(offsets_of(kept), batch.items[pairs], scores[pairs])


def _mask(lengths: IntArray, width: int) -> NDArray[np.bool_]:
    """(rows, width), true for the first `lengths[i]` columns of row i."""
    return np.arange(width)[None, :] < lengths[:, None]
