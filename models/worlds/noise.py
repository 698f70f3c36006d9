"""Noise that is fixed for a pair of integers, drawn without a table: a hash that looks normal."""

import numpy as np
from numpy.typing import NDArray

_STEP = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def pair_noise(left: NDArray[np.integer], right: NDArray[np.integer], seed: int) -> NDArray[np.float64]:
    """About standard normal, the same for the same (left, right, seed). The arrays broadcast.

    SplitMix64 (Steele et al., 2014) gives 64 bits; the sum of their four 16-bit parts is close to normal.
    """
    salt = np.uint64(int(_STEP) * (seed + 1) % 2**64)
    mixed = _split_mix(np.asarray(left).astype(np.uint64) + salt)
    bits = _split_mix(mixed + np.asarray(right).astype(np.uint64))
    parts = [(bits >> np.uint64(shift)) & np.uint64(0xFFFF) for shift in (0, 16, 32, 48)]
    total = np.sum(parts, axis=0, dtype=np.float64)
    return np.asarray((total / 65535.0 - 2.0) * np.sqrt(3.0))


def _split_mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):  # wrapping around is the point
        x = x + _STEP
        x = (x ^ (x >> np.uint64(30))) * _FIRST
        x = (x ^ (x >> np.uint64(27))) * _SECOND
        return x ^ (x >> np.uint64(31))
