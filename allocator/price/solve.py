"""The prices at which a sample's expected spend meets the limits, within the span that one window allows."""

from collections.abc import Callable
from functools import cache

import numpy as np

from allocator.choice import Floats
from allocator.cutting_plane import minimise_dual
from allocator.price.sample import Sample

Curve = Callable[[float], float]

SPACING = 0.1
SWEEPS = 2
TOLERANCE, PLANES = 1e-4, 60


def solve_prices(sample: Sample, limit: Floats, start: Floats, low: Floats, high: Floats) -> Floats:
    """Prices (M,) in [low, high] at which the mean spend per request meets `limit` (M,); zero where it stays below.

    One constraint: bracketed from `start`, then interpolated. Several: the minimum of the sample's dual by cutting
    planes, then the one-constraint solution for each priced resource in turn. Every such turn lowers the dual further,
    and the interpolation smooths the steps that a finite sample has.
    """
    prices = np.clip(start, low, high)
    constraints = list(range(len(limit)))
    if len(limit) > 1:
        box = (low, high)
        prices = minimise_dual(sample.rewards, sample.costs, limit, sample.available, box, TOLERANCE, PLANES).prices
        constraints = [m for m in constraints if high[m] > low[m]] * SWEEPS
    for m in constraints:
        prices = prices.copy()
        prices[m] = _meet(_curve(sample, prices, m), float(limit[m]), float(prices[m]), (float(low[m]), float(high[m])))
    return prices


def _curve(sample: Sample, prices: Floats, m: int) -> Curve:
    """Spend of resource m as a function of its price, the other prices fixed. It never rises."""

    @cache
    def spend(price: float) -> float:
        moved = prices.copy()
        moved[m] = price
        return float(sample.spend(moved)[m])

    return spend


def _meet(spend: Curve, limit: float, start: float, within: tuple[float, float]) -> float:
    """The price where `spend` meets the limit: steps doubled until they bracket it, halved down to SPACING, joined.

    A sample's spend falls in steps. Between two prices SPACING apart (in logarithms) it is taken for a power of the
    price, which smooths them; the true spend of many requests is smooth.
    """
    low, high = within
    if high <= 0.0 or (low <= 0.0 and spend(0.0) <= limit):
        return low
    least = np.log(max(low, high * 1e-9))
    left, right = _bracket(spend, limit, float(np.log(max(start, 1e-300))), (float(least), float(np.log(high))))
    if left == right:
        return low if low > 0.0 and right == least else float(np.exp(right))
    while right - left > SPACING:
        middle = (left + right) / 2
        if spend(np.exp(middle)) > limit:
            left = middle
        else:
            right = middle
    return float(np.exp(_joined(spend, limit, left, right)))


def _bracket(spend: Curve, limit: float, start: float, within: tuple[float, float]) -> tuple[float, float]:
    """Logarithms of two prices, spend above the limit at the first only; twice the same end of `within` if none are."""
    at = float(np.clip(start, *within))
    above = spend(np.exp(at)) > limit
    end = within[1] if above else within[0]
    step = SPACING
    while at != end:
        there = min(at + step, end) if above else max(at - step, end)
        if (spend(np.exp(there)) > limit) != above:
            return (at, there) if above else (there, at)
        at, step = there, step * 2
    return end, end


def _joined(spend: Curve, limit: float, left: float, right: float) -> float:
    more, less = spend(np.exp(left)), spend(np.exp(right))
    if limit <= 0.0 or less <= 0.0 or more <= less:
        return right
    share = float(np.log(more / limit) / np.log(more / less))
    return left + min(max(share, 0.0), 1.0) * (right - left)
