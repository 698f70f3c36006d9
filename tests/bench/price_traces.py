"""What happens in a trace: load, mix of users and limit of each window; and how a strategy fares on it."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from price_world import Expectation, World

from allocator.price.base import Observation, PriceStrategy, Terms

Floats = NDArray[np.float64]
SAMPLE_ROWS = 64
SETTLED = 10
SWING_MEMORY = 0.95
SHOCK_SHARE = 0.15


@dataclass(frozen=True)
class Trace:
    """Per window: expected requests, share of the second group of users, limit, each (T,); how late measurements are.

    steps     the windows in which something changes at once
    foreseen  (T,) the load that could be expected before each window by one who knows the process and has seen all that
              was measured; by default the load of the last measured window
    """

    name: str
    load: Floats
    mix: Floats
    limit: Floats
    late: int = 0
    steps: tuple[int, ...] = ()
    foreseen: Floats | None = None

    def known(self) -> "Trace":
        """The same with what could be known in place of what happens."""
        if self.foreseen is not None:
            return replace(self, load=self.foreseen)
        last = np.maximum(np.arange(len(self.load)) - 1 - self.late, 0)
        return replace(self, load=self.load[last], mix=self.mix[last])


@dataclass(frozen=True)
class Outcome:
    """How a strategy fared, in shares. Reward of a window that overspends counts only by limit / spend.

    utilisation  mean of min(spend, limit) / limit
    overuse      mean of max(spend - limit, 0) / limit
    reward       charged reward over the linear programme's bound
    raw_reward   the same without the charge
    late_over    windows later than SETTLED after the last step that spend more than 5% above the limit
    worst_late   the largest of those windows' spend over limit, less 1
    step_ms      mean time of a strategy's step
    """

    utilisation: float
    overuse: float
    reward: float
    raw_reward: float
    late_over: float
    worst_late: float
    step_ms: float


Pricing = Callable[[int, dict[str, Any] | None], float]


class Arena:
    """A world, and what happens in it. Every strategy starts 10% above the right price, as one that ran before may."""

    def __init__(self, world: World) -> None:
        self.world, self.expected = world, Expectation(world)
        self._costs = world.cost[:, None]
        self._available = np.ones(len(world.cost), bool)

    def perfect(self, trace: Trace, seed: int) -> Outcome:
        """The noise floor: every window has the price whose expected spend is its limit; only the sampling remains."""
        return self._told(trace, trace, seed)

    def causal(self, trace: Trace, seed: int) -> Outcome:
        """The floor of all that cannot see ahead: the same price for the load and mix that could be known before."""
        return self._told(trace, trace.known(), seed)

    def _told(self, trace: Trace, known: Trace, seed: int) -> Outcome:
        prices = [self.expected.price(L / n, m) for n, m, L in zip(known.load, known.mix, known.limit, strict=True)]
        return self._measured(trace, seed, lambda t, _: prices[t])

    def run(self, strategy: PriceStrategy[Any], trace: Trace, seed: int) -> Outcome:
        """One strategy on one trace. The requests that come depend on the trace and the seed only."""
        start = self.expected.price(trace.limit[0] / trace.load[0], trace.mix[0]) * 1.1
        state = strategy.init(np.array([start]), seed)
        pending: list[dict[str, Any]] = []
        spent_s = 0.0

        def price(window: int, last: dict[str, Any] | None) -> float:
            nonlocal state, spent_s
            if last is not None:
                pending.append(last)
            if len(pending) > trace.late:
                limit = trace.limit[window : window + 1]
                seen = Observation(
                    **pending.pop(0),
                    costs=self._costs,
                    next_limit=limit,
                    next_available=self._available,
                    lead=1 + trace.late,
                )
                before = time.perf_counter()
                state = strategy.step(state, seen)
                spent_s += time.perf_counter() - before
            return float(state.prices[0])

        outcome = self._measured(trace, seed, price)
        return Outcome(**{**outcome.__dict__, "step_ms": 1e3 * spent_s / len(trace.load)})

    def _measured(self, trace: Trace, seed: int, price_of: Pricing) -> Outcome:
        windows, world = len(trace.load), self.world
        arrivals, sampling = (np.random.default_rng([seed, stream]) for stream in (0, 1))
        rows = np.arange(len(world.rewards))
        relative, earned = np.empty(windows), np.empty(windows)
        last: dict[str, Any] | None = None
        for t in range(windows):
            price = price_of(t, last)
            chains = world.chains(price)
            counts = arrivals.poisson(trace.load[t] * world.weights(trace.mix[t]))
            spend = float(counts @ world.cost[chains])
            earned[t] = counts @ world.rewards[rows, chains]
            relative[t] = spend / trace.limit[t]
            sample = world.sample(trace.mix[t], SAMPLE_ROWS, sampling)
            terms = Terms(np.array([price]), trace.limit[t : t + 1], self._available)
            last = {"requests": int(counts.sum()), "spend": np.array([spend]), "terms": terms, "rewards": sample}
        return self._judged(trace, relative, earned)

    def _judged(self, trace: Trace, relative: Floats, earned: Floats) -> Outcome:
        per_window = zip(trace.load, trace.mix, trace.limit, strict=True)
        bound = sum(self.expected.bound(n, m, L) for n, m, L in per_window)
        late = _settled(trace)
        return Outcome(
            utilisation=float(np.minimum(relative, 1).mean()),
            overuse=float(np.maximum(relative - 1, 0).mean()),
            reward=float((earned / np.maximum(relative, 1)).sum() / bound),
            raw_reward=float(earned.sum() / bound),
            late_over=float((relative[late] > 1.05).sum()),
            worst_late=float(relative[late].max() - 1),
            step_ms=0.0,
        )


def _settled(trace: Trace) -> NDArray[np.bool_]:
    """The windows that lie more than SETTLED after the last step, the start being one."""
    since = np.arange(len(trace.load))
    late = since >= SETTLED
    for step in trace.steps:
        late &= ~((since >= step) & (since < step + SETTLED + trace.late))
    return late


def base_limit(arena: Arena, requests: float, share: float) -> float:
    """The limit of a window at which a share of what would be spent without any price is allowed."""
    return requests * share * arena.expected.spend(0.0, 0.0)


def side_by_side(arena: Arena, requests: float, windows: int, seed: int) -> list[Trace]:
    """The traces on which strategies are compared. Steps last a third of the trace, as does the drift."""
    rng = np.random.default_rng([seed, 2])
    steady, none = np.full(windows, requests), np.zeros(windows)
    limit = np.full(windows, base_limit(arena, requests, 0.25))
    third = slice(windows // 3, 2 * windows // 3)
    steps = (third.start, third.stop)
    triple, halved = steady.copy(), limit.copy()
    triple[third] *= 3
    halved[third] /= 2
    drift = np.clip((np.arange(windows) - third.start) / (third.stop - third.start), 0.0, 1.0)
    return [
        Trace("steady", steady, none, limit),
        Trace("triple load", triple, none, limit, steps=steps),
        Trace("mix drifts", steady, drift, limit),
        Trace("limit halves", steady, none, halved, steps=steps),
        _bursty(steady, limit, rng),
        Trace("5 late, triple", triple, none, limit, late=5, steps=steps),
    ]


def _bursty(load: Floats, limit: Floats, rng: np.random.Generator) -> Trace:
    """An autoregressive swing of the load by 10%, and spikes of one window to three times, one in 100."""
    swing = np.zeros(len(load) + 1)
    for t, shock in enumerate(rng.normal(0, 1, len(load))):
        swing[t + 1] = SWING_MEMORY * swing[t] + 0.1 * np.sqrt(1 - SWING_MEMORY**2) * shock
    spikes = np.where(rng.random(len(load)) < 0.01, 3.0, 1.0)
    foreseen = load * np.exp(SWING_MEMORY * swing[:-1])
    return Trace("bursty", load * np.exp(swing[1:]) * spikes, np.zeros(len(load)), limit, foreseen=foreseen)


def shocks(arena: Arena, requests: float, windows: int, seed: int, most: int = 6) -> Trace:
    """A slow swing of the load with `most` shocks: load times 3 or 1/3, limit 1/2 to 3/2 of the first, or another mix.

    The limit always binds and can always be reached, so that a perfect price would use all of it.
    """
    rng = np.random.default_rng([seed, 3])
    time_share = np.arange(windows) / windows
    load = requests * (1 + 0.3 * np.sin(2 * np.pi * (time_share + rng.random())))
    mix, limit = np.zeros(windows), np.full(windows, base_limit(arena, requests, SHOCK_SHARE))
    at = np.sort(rng.choice(np.arange(100, windows - 100), most, replace=False))
    for step in at:
        kind = rng.integers(3)
        if kind == 0:
            load[step:] = requests * np.clip(load[step:] / requests * rng.choice([1 / 3, 3.0]), 1 / 3, 3.0)
        elif kind == 1:
            limit[step:] = base_limit(arena, requests, SHOCK_SHARE) * rng.uniform(0.5, 1.5)
        else:
            mix[step:] = rng.random()
    return Trace(f"{most} shocks", load, mix, limit, steps=tuple(int(s) for s in at))
