"""What a request spends on average as a function of the price, from a bounded number of looks at a sample."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from allocator.choice import Floats

Spend = Callable[[float], float]
"""Mean joules of a request at a price per joule: never rises with the price. `Sample.spend` with other prices fixed."""

POINTS = 16
LEAST_PRICE = 1e-6
"""Of the ceiling. Below, prices move no request that is worth a step."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """Mean joules of a request (n,) at ascending prices per joule (n,), the first of them zero.

    Between two prices it is linear in the price's logarithm, below the second in the price. A sample's spend falls in
    steps that the spend of many requests has not, so that joining points also smooths it.
    """

    prices: Floats
    joules: Floats

    @classmethod
    def ends(cls, spend: Spend, ceiling: float) -> "Curve":
        """What is spent without a price and at the ceiling, where all take the cheapest chain: two looks.

        Raises ValueError for a ceiling that is no price and a sample that says nothing.
        """
        if not (np.isfinite(ceiling) and ceiling >= 0):
            raise ValueError(f"the ceiling of prices must be finite and >= 0, got {ceiling}")
        return cls(np.zeros(1), _looked(spend, np.zeros(1))).among(spend, np.array([ceiling]))

    def among(self, spend: Spend, prices: Floats) -> "Curve":
        """The curve with these prices (m,) looked at as well."""
        fresh = np.setdiff1d(prices, self.prices)
        if not len(fresh):
            return self
        prices = np.concatenate([self.prices, fresh])
        joules = np.concatenate([self.joules, _looked(spend, fresh)])
        order = np.argsort(prices)
        return Curve(prices[order], np.minimum.accumulate(joules[order]))

    def at(self, price: Floats) -> Floats:
        """Mean joules of a request at prices per joule of any shape."""
        found: Floats = np.interp(self._place(price), self._place(self.prices), self.joules)
        return found

    def _place(self, price: Floats) -> Floats:
        """-1 at a price of zero, 0 at the second of the curve's prices; linear up to there, then the logarithm."""
        share = price / self.prices[min(1, len(self.prices) - 1)] if self.ceiling > 0 else price
        place: Floats = np.where(share < 1, share - 1, np.log(np.maximum(share, 1)))
        return place

    @property
    def most(self) -> float:
        """Mean joules without any price."""
        return float(self.joules[0])

    @property
    def least(self) -> float:
        """Mean joules when all take the cheapest chain."""
        return float(self.joules[-1])

    @property
    def ceiling(self) -> float:
        """The price per joule from which on nothing changes."""
        return float(self.prices[-1])


def _looked(spend: Spend, prices: Floats) -> Floats:
    joules = np.array([spend(float(price)) for price in prices])
    if not (np.isfinite(joules).all() and (joules >= 0).all()):
        raise ValueError(
            f"a request's mean joules must be finite and >= 0, got {joules.tolist()}; is the sample empty?"
        )
    return joules
