"""Reward against the exact bound on a steady stream of single requests, and the time that a decision takes."""

import timeit
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allocator.choice import chains_under, rewards_of
from allocator.constraints import paced
from allocator.optimum import bisect_price, dual_bound, lp_bound
from allocator.policy import Policy
from allocator.price.base import Observation, PriceStrategy, Terms

Rows = NDArray[np.float32]
Floats = NDArray[np.float64]
SAMPLE_ROWS = 64
HIGHS_ROWS = 250


@dataclass(frozen=True)
class Stream:
    """Requests that come one after another, all with a row of their own, under one quota for the whole stream.

    rewards  (N, J) of the stream
    history  (H, J) of requests before it, from which the first price is solved
    """

    rewards: Rows
    history: Rows
    cost: Floats
    share: float = 0.25

    @property
    def quota(self) -> float:
        """A share of what the history's requests would spend without any price, for as many requests."""
        free = self.cost[self.history.argmax(axis=1)].mean()
        return float(self.share * free * len(self.rewards))


@dataclass(frozen=True)
class Streamed:
    """Reward over the linear programme's bound, and spend over the quota less 1."""

    reward: float
    excess: float


def bound_of(stream: Stream) -> float:
    """The optimum of the linear programme of all requests, by its dual, exact up to rounding."""
    return bisect_price(stream.rewards, stream.cost, stream.quota).bound


def run_stream(strategy: PriceStrategy[Any], stream: Stream, bound: float, windows: int, *, cold: bool) -> Streamed:
    """The stream in windows of equal size, the quota paced over what is left. Cold: the first price is zero."""
    costs, everything = stream.cost[:, None], np.ones(len(stream.cost), bool)
    start = np.zeros(1)
    if not cold:
        total = stream.quota / len(stream.rewards) * len(stream.history)
        start = bisect_price(stream.history, stream.cost, total).prices
    state, spent, earned = strategy.init(start), 0.0, 0.0
    limit = np.array([paced(stream.quota, spent, float(windows), 1.0)])
    for t, rows in enumerate(np.array_split(stream.rewards, windows)):
        chains = chains_under(rows, costs, state.prices)
        spend, terms = float(stream.cost[chains].sum()), Terms(state.prices, limit, everything)
        spent, earned = spent + spend, earned + float(rewards_of(rows, chains).sum())
        limit = np.array([paced(stream.quota, spent, max(windows - t - 1.0, 1.0), 1.0)])
        sample = rows[:SAMPLE_ROWS]
        state = strategy.step(state, Observation(len(rows), np.array([spend]), terms, sample, costs, limit, everything))
    return Streamed(earned / bound, spent / stream.quota - 1)


def dual_gap(stream: Stream) -> float:
    """The largest relative difference of the dual bound and HiGHS, one and two constraints, on the first requests."""
    rows, worst = stream.rewards[:HIGHS_ROWS], 0.0
    second = np.random.default_rng(0).permutation(stream.cost)
    for costs in (stream.cost[:, None], np.stack([stream.cost, second], axis=1)):
        limits = 0.3 * costs.mean(axis=0) * len(rows)
        exact = lp_bound(rows, costs, limits).value
        worst = max(worst, abs(dual_bound(rows, costs, limits).value / exact - 1))
    return worst


@dataclass(frozen=True)
class DecisionTime:
    """Microseconds per batch: of numpy's argmax(R - C * price) on a ready R, and of `decide`; medians of repeats."""

    chains: int
    batch: int
    numpy_us: float
    decide_us: float
    ratio: float
    per_second: float


def decision_time(chains: int, batch: int = 64, repeats: int = 41, number: int = 200) -> DecisionTime:
    """Interleaved, so that a slow moment of the machine hits both; the ratio is the median of the pairs' ratios."""
    rng = np.random.default_rng(0)
    costs = rng.uniform(1e6, 1e10, (chains, 1))
    rewards = rng.random((batch, chains)).astype(np.float32)
    policy = Policy(1, 0.0, np.array([1e-10]), costs, np.ones(chains, bool), "reward.onnx", 0)
    penalty = (costs @ policy.prices).astype(np.float32)

    def timed(call: Callable[[], object]) -> float:
        return timeit.timeit(call, number=number) / number * 1e6

    pairs = [
        (timed(lambda: (rewards - penalty).argmax(axis=1)), timed(lambda: policy.decide(rewards)))
        for _ in range(repeats)
    ]
    numpy_us, decide_us = (float(np.median(times)) for times in zip(*pairs, strict=True))
    ratio = float(np.median([decide / base for base, decide in pairs]))
    return DecisionTime(chains, batch, numpy_us, decide_us, ratio, batch / decide_us * 1e6)
