"""Sums as bytes, so that a restart loses nothing of a standing experiment."""

import struct
import zlib
from dataclasses import astuple

import numpy as np

from allocator.choice import Floats
from allocator.savings.model_error import ModelError
from allocator.savings.sums import QUANTITIES, SHAPE, GroupSums

FORMAT = 1
_HEAD = struct.Struct("<8sII")
"""What it is, its format, and the checksum of the rest: all figures in a row, packed."""
_WHAT = b"savings\n"
_CELLS = SHAPE[0] * SHAPE[1]
_FIGURES = (1 + 2 * len(QUANTITIES)) * _CELLS + 6


def dumped(sums: GroupSums) -> bytes:
    """The sums, at most 37 kB."""
    errors = np.array([astuple(sums.joules_error), astuple(sums.grams_error)])
    parts = (sums.requests, sums.counts, sums.totals, errors)
    figures = np.concatenate([part.ravel() for part in parts]).astype("<f8").tobytes()
    packed = zlib.compress(figures, 1)
    return _HEAD.pack(_WHAT, FORMAT, zlib.crc32(packed)) + packed


def restored(data: bytes) -> GroupSums:
    """What `dumped` was given.

    Raises ValueError saying why, when it is damaged or of another format: begin anew then, and say so.
    """
    what, form, checksum = _HEAD.unpack_from(data) if len(data) > _HEAD.size else (b"", 0, 0)
    if what != _WHAT:
        raise ValueError("saved sums of savings: damaged, or something else")
    if form != FORMAT:
        raise ValueError(f"saved sums of savings: of format {form}, not {FORMAT}")
    packed = data[_HEAD.size :]
    if zlib.crc32(packed) != checksum:
        raise ValueError("saved sums of savings: damaged: its checksum is another one")
    figures = np.frombuffer(zlib.decompress(packed), "<f8").astype(np.float64)
    if len(figures) != _FIGURES:
        raise ValueError(f"saved sums of savings: {len(figures)} figures, not {_FIGURES}")
    return _sums(figures)


def _sums(figures: Floats) -> GroupSums:
    requests, rest, errors = figures[:_CELLS], figures[_CELLS:-6], figures[-6:].reshape(2, 3).tolist()
    counts, totals = rest.reshape(2, len(QUANTITIES), *SHAPE)
    return GroupSums(requests.reshape(SHAPE), counts, totals, ModelError(*errors[0]), ModelError(*errors[1]))
