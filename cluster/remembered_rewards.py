"""Rewards that were predicted before: users come back with the context of a moment ago, and what a model predicts
follows from the context alone. No Ray here."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from allocator.choice import Ints
from models.batch import FloatArray

KEY_BYTES = 128
"""What a key takes besides its own bytes, in a dictionary and a list."""


class RememberedRewards:
    """Of one model, for the contexts that came last. Used from one event loop.

    most_bytes  what rewards and keys may take together; where that is too little for one row nothing is remembered
    """

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._rows = np.empty((0, 0), np.float32)
        self._slots: dict[bytes, int] = {}
        self._keys: list[bytes] = []
        self._next = 0

    def __len__(self) -> int:
        return len(self._keys)

    def known(self, contexts: NDArray[Any]) -> tuple[FloatArray | None, Ints]:
        """Rewards (B, J) of contexts (B, Fc), a copy, and the rows that are not remembered: what stands there is
        anything. None where that is all of them."""
        if not self._keys:
            return None, np.arange(len(contexts))
        slots = np.array([self._slots.get(key, -1) for key in _keys(contexts)], dtype=np.int64)
        missing = np.flatnonzero(slots < 0)
        if len(missing) == len(slots):
            return None, missing
        rewards: FloatArray = self._rows[slots]
        return rewards, missing

    def remember(self, contexts: NDArray[Any], rewards: FloatArray) -> None:
        """Keep what was predicted (B, J) of contexts (B, Fc), in place of what has been kept longest."""
        row_bytes = rewards.shape[1] * rewards.itemsize + contexts.shape[1] * contexts.itemsize + KEY_BYTES
        if self._most_bytes < row_bytes:
            return
        if not self._keys:  # memory that was not written yet is none
            self._rows = np.empty((self._most_bytes // row_bytes, rewards.shape[1]), np.float32)
        for key, row in zip(_keys(contexts), rewards, strict=True):
            if key not in self._slots:
                self._rows[self._slot(key)] = row

    def _slot(self, key: bytes) -> int:
        slot, self._next = self._next, (self._next + 1) % len(self._rows)
        if slot < len(self._keys):
            del self._slots[self._keys[slot]]
            self._keys[slot] = key
        else:
            self._keys.append(key)
        self._slots[key] = slot
        return slot


def _keys(contexts: NDArray[Any]) -> list[bytes]:
    rows = np.ascontiguousarray(contexts)
    keys: list[bytes] = rows.view(f"V{rows.shape[1] * rows.itemsize}").ravel().tolist()
    return keys
