"""A closed loop of a price strategy and simulated requests, small enough for unit tests."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allocator.choice import chains_under
from allocator.price.base import Observation, PriceState, PriceStrategy, Terms

Floats = NDArray[np.float64]
OfWindow = Callable[[int], float]


@dataclass(frozen=True)
class Trace:
    """Per window: spend over limit (T, M), prices (T, M), and the states after it."""

    relative: Floats
    prices: Floats
    states: list[PriceState]


def run(
    strategy: PriceStrategy,
    rewards: NDArray[np.float32],
    costs: Floats,
    limits: Callable[[int], Floats],
    windows: int,
    requests: OfWindow = lambda _: 2000,
    late: int = 0,
    start: Floats | None = None,
    seed: int = 0,
) -> Trace:
    """`requests(t)` rows are drawn from `rewards` each window; measurements come `late` windows late."""
    rng = np.random.default_rng(seed)
    state = strategy.init(np.zeros(costs.shape[1]) if start is None else start, seed)
    everything = np.ones(len(costs), bool)
    pending: list[tuple[int, Floats, Terms, NDArray[np.float32]]] = []
    relative, prices, states = [], [], []
    for t in range(windows):
        terms = Terms(state.prices, limits(t), everything)
        rows = rewards[rng.integers(0, len(rewards), rng.poisson(requests(t)))]
        spend = costs[chains_under(rows, costs, terms.prices)].sum(axis=0)
        pending.append((len(rows), spend, terms, rows[:64]))
        relative.append(spend / terms.limit)
        prices.append(state.prices)
        if t >= late:
            seen = Observation(*pending.pop(0), costs, limits(t + 1), everything, 1 + late)
            state = strategy.step(state, seen)
        states.append(state)
    return Trace(np.array(relative), np.array(prices), states)
