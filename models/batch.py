"""RaggedBatch: requests with different item numbers in one model run."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class UserRows:
    """What the models know of the users of a micro-batch; row i belongs to request i.

    user     (rows, Fu) int64, or float32 where the cascade's user table holds numbers
    history  (rows, L) int64, item row + 1, newest last, 0 for nothing
    """

    user: NDArray[np.int64] | FloatArray
    history: IntArray

    def __len__(self) -> int:
        return len(self.user)

    @property
    def contexts(self) -> NDArray[Any]:
        """The reward model's input, (rows, Fu + L): `user`, then `history`, in the type of `user`."""
        return np.concatenate([self.user, self.history.astype(self.user.dtype, copy=False)], axis=1)

    def take(self, rows: IntArray) -> "UserRows":
        """The given rows, in their order."""
        return UserRows(self.user[rows], self.history[rows])


@dataclass(frozen=True, slots=True)
class RaggedBatch:
    """A list of items per row, flat: row i holds items[offsets[i] : offsets[i + 1]], best first where scored.

    offsets  (rows + 1,) int64, starts with 0, never falls, ends with the number of pairs
    items    (pairs,) int64 item rows
    scores   (pairs,) float32, or None before anything has scored them
    """

    offsets: IntArray
    items: IntArray
    scores: FloatArray | None = None

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> IntArray:
        """Items per row, (rows,)."""
        return np.diff(self.offsets)

    @property
    def row(self) -> IntArray:
        """The row that each pair belongs to, (pairs,)."""
        return np.repeat(np.arange(len(self), dtype=np.int64), self.lengths)

    def row_items(self, row: int) -> IntArray:
        """The items of one row."""
        return self.items[self.offsets[row] : self.offsets[row + 1]]

    def row_scores(self, row: int) -> FloatArray:
        """The scores of one row; ValueError before anything has scored them."""
        if self.scores is None:
            raise ValueError("these items have not been scored")
        return self.scores[self.offsets[row] : self.offsets[row + 1]]

    def _pairs_of(self, rows: IntArray, lengths: IntArray) -> IntArray:
        """Positions of the first `lengths[i]` pairs of each `rows[i]`, flat."""
        ends = np.cumsum(lengths)
        return np.repeat(self.offsets[rows] - (ends - lengths), lengths) + np.arange(ends[-1] if len(ends) else 0)

    def take(self, rows: IntArray, at_most: IntArray | None = None) -> "RaggedBatch":
        """The given rows, in their order, each cut to its first `at_most` items ((len(rows),), all when None)."""
        lengths = self.lengths[rows]
        if at_most is not None:
            lengths = np.minimum(lengths, at_most)
        pairs = self._pairs_of(rows, lengths)
        scores = None if self.scores is None else self.scores[pairs]
        return RaggedBatch(offsets_of(lengths), self.items[pairs], scores)

    @classmethod
    def from_rows(cls, items: Sequence[IntArray], scores: Sequence[FloatArray] | None = None) -> Self:
        """Build from one array per row."""
        lengths = np.array([len(row) for row in items], dtype=np.int64)
        flat = np.concatenate(items) if len(items) else np.empty(0, np.int64)
        flat_scores = None if scores is None else np.concatenate(scores).astype(np.float32, copy=False)
        return cls(offsets_of(lengths), flat.astype(np.int64, copy=False), flat_scores)


def offsets_of(lengths: IntArray) -> IntArray:
    """Offsets (rows + 1,) of rows with these lengths (rows,)."""
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def join(parts: Sequence[tuple[IntArray, RaggedBatch]], rows: int) -> RaggedBatch:
    """Put scored parts back together: row i of a part becomes row `where[i]` of the whole.

    parts  pairs (where, batch) whose `where` arrays together are a permutation of 0 .. rows - 1
    """
    if len(parts) == 1 and np.array_equal(parts[0][0], np.arange(rows)):
        return parts[0][1]
    where = np.concatenate([part[0] for part in parts])
    order = np.empty(rows, dtype=np.int64)
    order[where] = np.arange(rows)
    return _stack([part[1] for part in parts]).take(order)


def _stack(batches: Sequence[RaggedBatch]) -> RaggedBatch:
    lengths = np.concatenate([batch.lengths for batch in batches])
    items = np.concatenate([batch.items for batch in batches])
    scores = [batch.scores for batch in batches if batch.scores is not None]
    if scores and len(scores) != len(batches):
        raise ValueError("scored and unscored batches cannot be joined")
    return RaggedBatch(offsets_of(lengths), items, np.concatenate(scores) if scores else None)
