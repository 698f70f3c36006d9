"""Splits of users by a hash of the id, so that a user stays on its side in every log, table and run."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def place_of(ids: Sequence[int | str], salt: str = "") -> NDArray[np.float64]:
    """Where each id falls in 0..1, (n,): evenly, and independently for every salt."""
    hashes = [hashlib.sha256(f"{salt}{one}".encode()).digest()[:8] for one in ids]
    return np.array([int.from_bytes(part, "big") / 2**64 for part in hashes], dtype=np.float64)


def chosen(ids: Sequence[int | str], share: float, salt: str = "") -> NDArray[np.bool_]:
    """About `share` of the ids, (n,) true where chosen."""
    return place_of(ids, salt) < share
