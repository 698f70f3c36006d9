"""Dual descent: the price is multiplied up while spend is above the limit, and down while it is below."""

from dataclasses import dataclass, replace

import numpy as np

from allocator.choice import Floats
from allocator.price.base import (
    Bounds,
    Observation,
    PriceState,
    moved,
    start_bounds,
    updated_bounds,
    usable,
    violation,
)


@dataclass(frozen=True, slots=True)
class DualDescent:
    """Dual mirror descent with the negative entropy as mirror map, which makes steps multiplicative.

    p <- p exp(rate * (spend - limit) / limit), once a window, the subgradient being scaled by the limit.

    rate    step size
    factor  the most that a price moves by in a window

    Source: Balseiro, Lu, Mirrokni, arXiv 2011.10124, there one step per request.
    """

    rate: float = 0.2
    factor: float = 8.0
    name: str = "dual"

    def init(self, prices: Floats, seed: int = 0) -> PriceState:
        """The state before the first window; `seed` is not used."""
        return PriceState(prices.copy(), np.zeros(len(prices), bool), 0, start_bounds(prices))

    def step(self, state: PriceState, seen: Observation) -> PriceState:
        """The state after one more window."""
        bounds = updated_bounds(state.bounds, usable(seen.rewards), seen.costs, seen.next_available)
        error = violation(seen.spend, seen.terms.limit)
        prices = multiplied(state.prices, self.rate * error, bounds, self.factor)
        return PriceState(prices, (prices >= bounds.ceiling) & (error > 0), state.window + 1, bounds)

    def renewed(self, state: PriceState) -> PriceState:
        """The state for rewards that another model predicts."""
        return replace(state, bounds=start_bounds(state.prices))


def multiplied(prices: Floats, log_step: Floats, bounds: Bounds, factor: float) -> Floats:
    """Prices after a step of their logarithms, within their bounds; NaN holds a price.

    A multiplied price never reaches zero, nor leaves it: below its floor it becomes zero, and it rises from its floor.
    """
    step = np.clip(log_step, -np.log(factor), np.log(factor))
    start = np.where(step > 0, np.maximum(prices, bounds.floor), prices)
    target = start * np.exp(step)
    return moved(prices, np.where(target < bounds.floor, 0.0, target), bounds, factor)
