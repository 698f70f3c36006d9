"""The hours and days of quotas, in UTC, and how the rest of one is cut into steps."""

from dataclasses import dataclass
from math import ceil, floor

import numpy as np

from allocator.choice import Floats


@dataclass(frozen=True, slots=True)
class Period:
    """Unix times at which a period begins and ends; the end belongs to the next one."""

    start_s: float
    end_s: float

    @classmethod
    def holding(cls, unix_s: float, length_s: float) -> "Period":
        """The period of this length that holds the time. Unix time 0 was a midnight in UTC, so hours and days fit."""
        number = floor(unix_s / length_s)
        return cls(number * length_s, (number + 1) * length_s)


def step_edges(from_s: float, until_s: float, step_s: float) -> Floats:
    """Where K = ceil((until_s - from_s) / step_s) steps begin and end, (K + 1,); the last is as short as it must be.

    K is 0 where nothing is left. Raises ValueError for steps without a length.
    """
    if not step_s > 0:
        raise ValueError(f"steps must be longer than 0 s, got {step_s}")
    count = max(ceil((until_s - from_s) / step_s - 1e-9), 0)
    edges: Floats = from_s + step_s * np.arange(count + 1, dtype=np.float64)
    if count:
        edges[-1] = until_s
    return edges
