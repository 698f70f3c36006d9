"""The prices at which a sample's expected spend meets the limits, within the span that one window allows."""

from collections.abc import Callable
from math import exp, log, sqrt

import numpy as np

from allocator.choice import Floats
from allocator.cutting_plane import minimise_dual
from allocator.price.sample import Sample

Curve = Callable[[float], float]

SPACING = exp(0.1)
LEAST = 1e-9
"""Of the highest price: below it none is looked for."""
SWEEPS = 4
TOLERANCE, PLANES = 1e-3, 60
OFF = 0.01
"""Limits are met where spend is within this share of them: a sample's steps are no finer."""


def solve_prices(sample: Sample, limit: Floats, start: Floats, low: Floats, high: Floats) -> Floats:
    """Prices (M,) in [low, high] at which the mean spend per request meets `limit` (M,); zero where it stays below.

    One constraint: bracketed from `start`, then interpolated. Several: that for each resource in turn, from `start`,
    which lowers the sample's dual with every turn. Where all limits are met then, no prices have a lower one to speak
    of. Else, as where two limits bind and one resource's price moves the other's spend, the turns begin at the dual's
    minimum, found by cutting planes; the interpolation then smooths the steps that a finite sample has.
    """
    prices = _in_turn(sample, limit, np.clip(start, low, high), low, high)
    if len(limit) == 1 or _met(sample, limit, prices, low, high):
        return prices
    box = (low, high)
    left = np.maximum(limit - sample.beside, 0.0)
    least = minimise_dual(sample.rewards, sample.costs, left, sample.available, box, TOLERANCE, PLANES).prices
    return _in_turn(sample, limit, least, low, high)


def _in_turn(sample: Sample, limit: Floats, prices: Floats, low: Floats, high: Floats) -> Floats:
    """Each resource's limit met by its own price, SWEEPS times; not anew where no other price has changed since."""
    met: dict[int, list[float]] = {}
    for m in [m for m in range(len(limit)) if high[m] > low[m]] * SWEEPS:
        others = np.delete(prices, m).tolist()
        if met.get(m) != others:
            within = float(low[m]), float(high[m])
            prices = _with(prices, m, _meet(_curve(sample, prices, m), float(limit[m]), float(prices[m]), within))
            met[m] = others
    return prices


def _met(sample: Sample, limit: Floats, prices: Floats, low: Floats, high: Floats) -> bool:
    """Whether spend is at every limit, but where the price can fall no further, below, or rise no further, above."""
    spend = sample.spend(prices)
    enough = (spend >= (1 - OFF) * limit) | (prices <= low)
    return bool((enough & ((spend <= (1 + OFF) * limit) | (prices >= high))).all())


def _curve(sample: Sample, prices: Floats, m: int) -> Curve:
    """Spend of resource m as a function of its price, the other prices fixed. It never rises."""
    return lambda price: float(sample.spend(_with(prices, m, price))[m])


def _with(prices: Floats, m: int, price: float) -> Floats:
    changed = prices.copy()
    changed[m] = price
    return changed


def _meet(spend: Curve, limit: float, start: float, within: tuple[float, float]) -> float:
    """The price where `spend` meets the limit: steps squared until they bracket it, halved down to SPACING, joined.

    A sample's spend falls in steps. Between two prices that are a factor SPACING apart it is taken for a power of the
    price, which smooths them; the true spend of many requests is smooth.
    """
    low, high = within
    if high <= 0.0 or (low <= 0.0 and spend(0.0) <= limit):
        return low
    least = max(low, high * LEAST)
    left, right = _bracket(spend, limit, min(max(start, least), high), (least, high))
    if left == right:
        return low if low > 0.0 and right == least else right
    while right > left * SPACING * (1 + LEAST):
        middle = sqrt(left * right)
        if spend(middle) > limit:
            left = middle
        else:
            right = middle
    return _joined(spend, limit, left, right)


def _bracket(spend: Curve, limit: float, start: float, within: tuple[float, float]) -> tuple[float, float]:
    """Two prices, spend above the limit at the first only; twice the same end of `within` where there are none."""
    at, factor = start, SPACING
    above = spend(at) > limit
    end = within[1] if above else within[0]
    while at != end:
        there = min(at * factor, end) if above else max(at / factor, end)
        if (spend(there) > limit) != above:
            return (at, there) if above else (there, at)
        at, factor = there, factor**2
    return end, end


def _joined(spend: Curve, limit: float, left: float, right: float) -> float:
    more, less = spend(left), spend(right)
    if limit <= 0.0 or less <= 0.0 or more <= less:
        return right
    share = log(more / limit) / log(more / less)
    return float(left * (right / left) ** min(max(share, 0.0), 1.0))
