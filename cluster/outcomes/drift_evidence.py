"""A sequential test of whether predicted rewards still come true.

Matured requests are put into blocks of `block` in their order. Of a block with predictions P = Σ p and rewards R = Σ r,

    z = ((1 − t) P − R) / s     too little is earned: more than the tolerance t below the prediction
    z = (R − (1 + t) P) / s     too much

with s the standard deviation of R − P of blocks. While the ratio E[R] / P is within 1 ± t, E[z] ≤ 0, and with z of
about unit variance and a bet l that is fixed before R is known, e = exp(l z − l² / 2) has a mean of at most 1: it is an
e-value. Its Shiryaev-Roberts e-detector, M ← (M + 1) e, has E[M] <= blocks so far, so that it reaches A after A blocks
on average at the soonest, and by block b with a probability of at most b / A: Shin, Ramdas, Rinaldo, "E-detectors: a
nonparametric framework for sequential change detection", arXiv 2203.03532. A is such that both sides together give a
false alarm in `run_length` requests, on average at the soonest, and even at the edge of the tolerance; at a ratio of 1
it takes far longer.

The bet is the one that grows fastest if the ratio has moved by t beyond the tolerance, l = t P / s (a likelihood ratio
of normal z). What is assumed: sums of blocks are about normal, which rewards need not be, and blocks are about
independent, as they are unless few users make much of the traffic. s is estimated from differences between neighbouring
blocks, which a shift does not inflate (von Neumann 1941), and raised by two of its standard errors; no alarm is raised
until `warm_up` blocks told it.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from math import ceil, exp, inf, isfinite, log, log1p, nan, sqrt

import numpy as np
from numpy.typing import NDArray

MOST_BET = 1.0
"""Beyond it, e-values would lean on tails of z that are not normal."""
MOST_Z = 4.0


class Side(StrEnum):
    """Which way rewards have drifted."""

    LOW = "low"
    HIGH = "high"


@dataclass(frozen=True, slots=True)
class DriftTest:
    """How to test.

    tolerance   a ratio of earned to predicted within 1 ± tolerance is no drift; the test is quickest for one twice as
                far from 1
    run_length  requests to a false alarm, on average at the soonest
    block       requests whose sums count as about normal
    warm_up     blocks before the first alarm
    memory      blocks that the spread is estimated from
    """

    tolerance: float = 0.1
    run_length: float = 1e9
    block: int = 200
    warm_up: int = 30
    memory: int = 400

    @property
    def level(self) -> float:
        """log A."""
        return log(2 * self.run_length / self.block)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the test knows after some blocks.

    variance  of R − P of a block; NaN before two
    before    R − P of the last block
    logs      log M of each side, −inf before the first block
    bet       of the last block
    drift     by which log e of a side would grow in a block, had the ratio moved that way by twice the tolerance
    """

    blocks: int = 0
    variance: float = nan
    before: float = nan
    low: float = -inf
    high: float = -inf
    bet: float = 0.0
    drift: float = 0.0


def step(test: DriftTest, state: Evidence, predicted: float, earned: float) -> Evidence:
    """The evidence after a block, of which so much was predicted and so much earned."""
    spread = _spread(test, state)
    off = earned - predicted
    after = replace(state, blocks=state.blocks + 1, before=off, variance=_variance(test, state, off))
    if state.blocks < test.warm_up or not (spread > 0 and predicted > 0):
        return after
    shift = test.tolerance * predicted / spread
    bet = min(shift, MOST_BET)
    low = min(((1 - test.tolerance) * predicted - earned) / spread, MOST_Z)
    high = min((earned - (1 + test.tolerance) * predicted) / spread, MOST_Z)
    return replace(
        after,
        low=_detected(state.low, bet * low - bet**2 / 2),
        high=_detected(state.high, bet * high - bet**2 / 2),
        bet=bet,
        drift=bet * min(shift, MOST_Z) - bet**2 / 2,
    )


def alarmed(test: DriftTest, state: Evidence) -> Side | None:
    """On which side there is enough evidence for an alarm."""
    side = Side.LOW if state.low >= state.high else Side.HIGH
    return side if max(state.low, state.high) >= test.level else None


def reset(state: Evidence) -> Evidence:
    """Without what spoke for drift so far; the spread stays known."""
    return replace(state, low=-inf, high=-inf)


def blocks_of(test: DriftTest, predicted: NDArray[np.float64], earned: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums of the whole blocks among n requests, (n // block, 2): predicted, earned."""
    whole = len(predicted) // test.block
    rows = np.stack([predicted, earned], 1)[: whole * test.block]
    sums: NDArray[np.float64] = rows.reshape(whole, test.block, 2).sum(1)
    return sums


def detection_requests(test: DriftTest, state: Evidence) -> float:
    """Requests within which an alarm comes in 97 of 100 cases, once the ratio has moved from 1 by twice the tolerance.

    log M is a random walk that grows by `drift` a block, give or take `bet`; infinite while nothing is known.
    """
    if not state.drift > 0:
        return inf
    root = (state.bet + sqrt(state.bet**2 + state.drift * test.level)) / state.drift
    return float(test.block * (1 + ceil(root**2)))  # one more, for it happens amid a block


def _variance(test: DriftTest, state: Evidence, off: float) -> float:
    half = (off - state.before) ** 2 / 2
    if not isfinite(half):
        return state.variance
    weight = 1 / min(max(state.blocks, 1), test.memory)
    return half if not isfinite(state.variance) else state.variance + weight * (half - state.variance)


def _spread(test: DriftTest, state: Evidence) -> float:
    """s. The variance's relative standard error over k differences of normal sums is sqrt(3 / k)."""
    known = min(max(state.blocks - 1, 1), test.memory)
    return sqrt(state.variance * (1 + 2 * sqrt(3 / known)))


def _detected(logged: float, log_e: float) -> float:
    """log((M + 1) e)."""
    return log_e + (logged + log1p(exp(-logged)) if logged > 0 else log1p(exp(logged)))
