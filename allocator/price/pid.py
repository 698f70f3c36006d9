"""A plain PID controller on the relative error, for comparison."""

from dataclasses import dataclass, replace

import numpy as np

from allocator.choice import Floats
from allocator.price.base import Observation, PriceState, start_bounds, updated_bounds, usable, violation
from allocator.price.dual import multiplied

LARGEST_ERROR = 1.0


@dataclass(frozen=True, slots=True)
class PidState(PriceState):
    """`errors` (2, M): the relative errors of the last window and of the one before."""

    errors: Floats


@dataclass(frozen=True, slots=True)
class Pid:
    """PID in velocity form on the logarithm of the price: the price itself is the integral, so nothing winds up.

    log p += kp (e0 - e1) + ki e0 + kd (e0 - 2 e1 + e2), where e is the relative violation, at most 1.
    """

    kp: float = 0.3
    ki: float = 0.3
    kd: float = 0.0
    factor: float = 8.0
    name: str = "pid"

    def init(self, prices: Floats, seed: int = 0) -> PidState:
        """The state before the first window; `seed` is not used."""
        errors = np.zeros((2, len(prices)))
        return PidState(prices.copy(), np.zeros(len(prices), bool), 0, start_bounds(prices), errors)

    def step(self, state: PidState, seen: Observation) -> PidState:
        """The state after one more window."""
        bounds = updated_bounds(state.bounds, usable(seen.rewards), seen.costs, seen.next_available)
        measured = violation(seen.spend, seen.terms.limit)
        last, before = state.errors
        error = np.where(np.isnan(measured), last, np.minimum(measured, LARGEST_ERROR))
        step = self.kp * (error - last) + self.ki * error + self.kd * (error - 2 * last + before)
        prices = multiplied(state.prices, np.where(np.isnan(measured), np.nan, step), bounds, self.factor)
        saturated = (prices >= bounds.ceiling) & (error > 0)
        return PidState(prices, saturated, state.window + 1, bounds, np.stack([error, last]))

    def renewed(self, state: PidState) -> PidState:
        """The state for rewards that another model predicts."""
        return replace(state, bounds=start_bounds(state.prices))
