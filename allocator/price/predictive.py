"""The predictive strategy: forecast the load, solve for the price that meets the limit, correct by measurement."""

from dataclasses import dataclass, field, replace

import numpy as np

from allocator.choice import Floats, Mask, Rewards
from allocator.price.base import (
    Bounds,
    Observation,
    PriceState,
    moved,
    span,
    start_bounds,
    updated_bounds,
    usable,
)
from allocator.price.sample import Sample, refreshed
from allocator.price.solve import solve_prices
from allocator.price.tracker import Tracker, Tracking, shifted, started, tracked

SATURATED = 1.001
Corrections = tuple[Tracker | None, ...]
"""Per resource, forecast of log (measured spend / spend that the reservoir predicts); None before the first."""


@dataclass(frozen=True, slots=True)
class PredictiveState(PriceState):
    """What the predictive strategy remembers.

    rows         (S, J) the reservoir of recent reward rows
    arrivals     forecast of log requests per window; None before the first
    corrections  of what the reservoir predicts, per resource
    seed         of the reservoir's random choices
    """

    rows: Rewards
    arrivals: Tracker | None
    corrections: Corrections
    seed: int

    @property
    def expected(self) -> float | None:
        """Requests of the next window; None before the first."""
        return None if self.arrivals is None else float(np.exp(self.arrivals.ahead()))


@dataclass(frozen=True, slots=True)
class Predictive:
    """Prices p with  requests x correction x (reservoir's mean spend at p) = limit, once a window.

    The correction is the integral term: it adds up, in logarithms, what measured spend differs from the prediction at
    the prices that were in force. It cannot wind up: a price at its bound, or late news, changes no prediction at the
    prices in force. It is bounded, and restated whenever the reservoir changes, so that fresh rows alone move no price.

    rows     size of the reservoir
    refresh  largest share of the reservoir that one window replaces
    factor   the most that a price moves by in a window
    largest  the most that a correction multiplies or divides by
    """

    rows: int = 1024
    refresh: float = 1 / 16
    factor: float = 8.0
    largest: float = 20.0
    arrivals: Tracking = field(default_factory=Tracking)
    corrections: Tracking = field(default_factory=Tracking)
    name: str = "predictive"

    def init(self, prices: Floats, seed: int = 0) -> PredictiveState:
        """The state before the first window. With `seed` and the observations given, all that follows is determined."""
        count = len(prices)
        nothing = np.empty((0, 0), np.float32)
        idle = np.zeros(count, bool)
        return PredictiveState(prices.copy(), idle, 0, start_bounds(prices), nothing, None, (None,) * count, seed)

    def step(self, state: PredictiveState, seen: Observation) -> PredictiveState:
        """The state after one more window."""
        arrivals = self._arrivals(state.arrivals, seen.requests)
        fresh = usable(seen.rewards)
        if state.rows.shape[1] != len(seen.costs):  # another chain space: what was sampled says nothing of it
            state = replace(state, rows=fresh[:0])
        rows = self._rows(state, fresh)
        before = Sample(state.rows if len(state.rows) else fresh, seen.costs, seen.terms.available, seen.beside)
        after = before if rows is before.rewards else Sample(rows, seen.costs, seen.terms.available, seen.beside)
        corrections = self._corrections(state.corrections, seen, before)
        if len(state.rows) and after is not before:
            corrections = _restated(corrections, state.prices, before, after)
        bounds = updated_bounds(state.bounds, fresh, seen.costs, seen.next_available)
        prices, saturated = state.prices, state.saturated
        if len(rows) and seen.next_available.any():
            limit = self._per_request(seen, arrivals, corrections)
            sample = Sample(rows, seen.costs, seen.next_available, seen.next_beside)
            prices, saturated = self._solved(sample, limit, prices, bounds)
        return PredictiveState(prices, saturated, state.window + 1, bounds, rows, arrivals, corrections, state.seed)

    def renewed(self, state: PredictiveState) -> PredictiveState:
        """The state for rewards that another model predicts: the reservoir begins anew."""
        return replace(state, rows=state.rows[:0], bounds=start_bounds(state.prices))

    def _arrivals(self, arrivals: Tracker | None, requests: int) -> Tracker:
        count = max(requests, 1)
        # Requests come at least as irregularly as a Poisson process: relative deviation 1 / sqrt(count).
        return _followed(arrivals, float(np.log(count)), self.arrivals, count**-0.5)

    def _rows(self, state: PredictiveState, fresh: Rewards) -> Rewards:
        if len(fresh) == 0:
            return state.rows
        if len(state.rows) == 0:
            return fresh[: self.rows]
        rng = np.random.default_rng([state.seed, state.window])
        return refreshed(state.rows, fresh, self.rows, self.refresh, rng)

    def _corrections(self, known: Corrections, seen: Observation, sample: Sample) -> Corrections:
        """Each correction after this window's measurement; unchanged where nothing could be measured.

        sample  what the reservoir held when the window was priced
        """
        if len(sample.rewards) == 0 or seen.requests == 0 or not seen.terms.available.any():
            return known
        predicted = sample.spend(seen.terms.prices) * seen.requests
        bound = float(np.log(self.largest))
        result: list[Tracker | None] = []
        for tracker, expected, spend in zip(known, predicted, seen.spend, strict=True):
            if np.isfinite(spend) and spend > 0 and expected > 0:
                value = float(np.clip(np.log(spend / expected), -bound, bound))
                # Costs of requests spread about as widely as their mean.
                result.append(_followed(tracker, value, self.corrections, seen.requests**-0.5))
            else:
                result.append(tracker)
        return tuple(result)

    def _per_request(self, seen: Observation, arrivals: Tracker, corrections: Corrections) -> Floats:
        """The limit per request (M,) in the units of the reservoir's prediction."""
        bound = float(np.log(self.largest))
        logs = [0.0 if c is None else float(np.clip(c.ahead(seen.lead), -bound, bound)) for c in corrections]
        return seen.next_limit / np.exp(np.array(logs) + arrivals.ahead(seen.lead))

    def _solved(self, sample: Sample, limit: Floats, prices: Floats, bounds: Bounds) -> tuple[Floats, Mask]:
        low, high = span(prices, bounds, self.factor)
        target = moved(prices, solve_prices(sample, limit, prices, low, high), bounds, self.factor)
        topped = target >= bounds.ceiling
        return target, topped & (sample.spend(target) > SATURATED * limit) if topped.any() else topped


def _restated(corrections: Corrections, prices: Floats, before: Sample, after: Sample) -> Corrections:
    """The corrections for the fresh reservoir, such that what is predicted at the present prices stays the same."""
    if not before.available.any():
        return corrections
    old, new = before.spend(prices), after.spend(prices)
    known = (old > 0) & (new > 0)
    shift = np.log(np.where(known, old, 1.0) / np.where(known, new, 1.0))
    pairs = zip(corrections, shift, strict=True)
    return tuple(None if tracker is None else shifted(tracker, float(by)) for tracker, by in pairs)


def _followed(tracker: Tracker | None, value: float, how: Tracking, least_noise: float) -> Tracker:
    return started(value, how) if tracker is None else tracked(tracker, value, how, least_noise)
