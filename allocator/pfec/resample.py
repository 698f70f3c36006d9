"""Bootstrap over users: how often each user counts in each draw, and what intervals follow from the draws."""

from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict

from allocator.choice import Floats

LEVEL = 0.95


class Interval(BaseModel):
    """A figure on all held-out users, and where it lies when users are resampled.

    `low` and `high` are the 2.5% and 97.5% quantiles of the draws; None where the figure does not exist.
    """

    model_config = ConfigDict(frozen=True)

    value: float | None
    low: float | None
    high: float | None

    @property
    def clear(self) -> bool:
        """Whether the interval excludes zero."""
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


@dataclass(frozen=True)
class Draws:
    """Weights (D + 1, N): how often each user counts. The first row, all ones, is the sample itself."""

    weights: Floats

    @classmethod
    def of(cls, users: int, draws: int, seed: int) -> "Draws":
        """`draws` samples of `users` users with replacement. All methods share them, so differences are paired."""
        rng = np.random.default_rng([seed, 0])
        counts = rng.multinomial(users, np.full(users, 1.0 / users), size=draws)
        return cls(np.concatenate([np.ones((1, users)), counts]))


def interval(values: Floats) -> Interval:
    """The interval of a figure by draw, (D + 1,). Draws without the figure (NaN) are left out; infinity may remain."""
    known = values[1:][~np.isnan(values[1:])]
    if np.isnan(values[0]) or not len(known):
        return Interval(value=None, low=None, high=None)
    tail = (1 - LEVEL) / 2
    # Not interpolated: between a number and infinity there is none.
    low, high = np.quantile(known, [tail, 1 - tail], method="nearest")
    return Interval(value=_finite(values[0]), low=_finite(low), high=_finite(high))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
