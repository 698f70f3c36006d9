"""A simulated day: a diurnal load against a limit of FLOPs per second, with the price strategies that serve."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from allocator.choice import Floats, Ints, Rewards, chains_under
from allocator.optimum import bisect_price
from allocator.pfec.case import Case
from allocator.pfec.priced import hulls
from allocator.price.base import Observation, PriceStrategy, Terms
from allocator.price.select import DEFAULT, strategy

OVER = 1.05
DAY_S = 86_400.0


@dataclass(frozen=True)
class DayPlan:
    """How the day goes.

    windows             of equal length; prices step once a window
    rate                mean requests per second
    swing               the load's first harmonic, as a share of the mean: quiet at 4, busy at 16 o'clock
    second              its second harmonic, which makes an evening peak
    noise, memory       log-standard deviation of an autoregressive swing, and what a window keeps of it
    sample_rows         predicted reward rows that a window tells the strategy
    users               held-out users of whom requests come, at most
    groups              into how many spans of time windows are put together for tables and figures
    """

    windows: int = 1440
    rate: float = 100.0
    swing: float = 0.6
    second: float = 0.2
    noise: float = 0.05
    memory: float = 0.95
    sample_rows: int = 64
    users: int = 1024
    groups: int = 96

    @property
    def window_s(self) -> float:
        """Seconds of a window."""
        return DAY_S / self.windows

    def load(self, seed: int) -> Floats:
        """Expected requests of each window, (windows,)."""
        return self._loads(seed)[0]

    def foreseeable(self, seed: int) -> Floats:
        """What one can expect of each window's load who knows how loads move, and all loads before it, (windows,)."""
        return self._loads(seed)[1]

    def _loads(self, seed: int) -> tuple[Floats, Floats]:
        hour = 2 * np.pi * (np.arange(self.windows) + 0.5) / self.windows
        shape = 1 - self.swing * np.cos(hour - np.pi / 3) - self.second * np.cos(2 * hour - np.pi / 6)
        news = np.sqrt(1 - self.memory**2) * self.noise
        shocks = np.random.default_rng([seed, 1]).normal(0, 1, self.windows)
        drift = np.zeros(self.windows + 1)
        for t, shock in enumerate(shocks):
            drift[t + 1] = self.memory * drift[t] + news * shock
        usual = np.maximum(shape, 0.05)
        load, foreseeable = usual * np.exp(drift[1:]), usual * np.exp(self.memory * drift[:-1] + news**2 / 2)
        scale = self.rate * self.window_s / load.mean()
        return load * scale, foreseeable * scale


@dataclass(frozen=True, eq=False)
class DayRun:
    """One way to run the day; per window, (T,): price, spend and limit in FLOPs, requests, reward, joules."""

    name: str
    label: str
    price: Floats
    spend: Floats
    limit: Floats
    requests: Ints
    reward: Floats
    joules: Floats

    @property
    def utilisation(self) -> float:
        """Mean of min(spend, limit) / limit."""
        return float(np.minimum(self.spend / self.limit, 1.0).mean())

    @property
    def overuse(self) -> float:
        """Mean of max(spend - limit, 0) / limit."""
        return float(np.maximum(self.spend / self.limit - 1.0, 0.0).mean())

    @property
    def over_windows(self) -> int:
        """Windows that spend more than 5% above the limit."""
        return int((self.spend > OVER * self.limit).sum())


class Day:
    """The day of a case. All runs see the same requests."""

    def __init__(self, case: Case, budget: float, seed: int, plan: DayPlan | None = None) -> None:
        self.plan = plan or DayPlan()
        rng = np.random.default_rng([seed, 2])
        count = min(self.plan.users, len(case.rewards))
        rows = np.sort(rng.choice(len(case.rewards), count, replace=False))
        self._case, self._budget, self._seed = case, budget, seed
        self._predictions: Rewards = case.predictions[rows].astype(np.float32)
        self._rewards, self._costs = case.rewards[rows], case.cost[:, None]
        self._load = self.plan.load(seed)
        self.limit = budget * self.plan.rate * self.plan.window_s

    def runs(self) -> "Iterator[DayRun]":
        """The static chain, two one-shot prices, the strategies that step every window, and two floors.

        The floors know the users and how loads move. What the first misses of the limit is the sampling of requests and
        news of each window's load; what the second misses, who is told the load itself, is sampling alone.
        """
        yield self._run("static", "static chain", None)
        for name, label, load in (
            ("one-shot-mean", "one-shot price for the mean load", float(self._load.mean())),
            ("one-shot-peak", "one-shot price for the peak load", float(self._load.max())),
        ):
            price = self._solved(self.limit / load)
            yield self._run(name, label, lambda *_, price=price: price)
        for name in dict.fromkeys((DEFAULT, "dual")):
            yield self._run(f"online-{name}", f"online, {name}", self._online(strategy(name)))
        yield self._run("foreseeable", "told all loads so far", self._told(self.plan.foreseeable(self._seed)))
        yield self._run("foreseen", "told each window's load", self._told(self._load))

    def _solved(self, per_request: float) -> float:
        """The price for this budget on the training users' predictions; the cheapest chains where it is too small."""
        training = self._case.training_predictions
        reachable = max(per_request, float(self._case.cost.min()) * (1 + 1e-9))
        return float(bisect_price(training, self._case.cost, reachable * len(training)).prices[0])

    def _online(self, how: PriceStrategy[Any]) -> "Pricing":
        state = how.init(np.array([self._solved(self.limit / float(self._load[0]))]), self._seed)

        def price(seen: Observation | None) -> float:
            nonlocal state
            if seen is not None:
                state = how.step(state, seen)
            return float(state.prices[0])

        return price

    def _told(self, load: Floats) -> "Pricing":
        """Prices whose expected spend is the limit, for one who knows the users and expects this load (windows,)."""
        chains, slopes = hulls(self._predictions.astype(np.float64), self._case.cost)
        costs = self._case.cost[chains]
        order = np.argsort(-slopes.ravel(), kind="stable")
        falling = slopes.ravel()[order]
        spend = costs[:, 0].mean() + np.cumsum(np.diff(costs, axis=1).ravel()[order]) / len(costs)
        wanted = iter((self.limit / load).tolist())
        return lambda _: float(falling[min(int(np.searchsorted(spend, next(wanted))), len(falling) - 1)])

    def _run(self, name: str, label: str, pricing: "Pricing | None") -> DayRun:
        arrivals, sampling = (np.random.default_rng([self._seed, stream]) for stream in (3, 4))
        count, limit = len(self._predictions), np.array([self.limit])
        rows, everything = np.arange(count), np.ones(len(self._costs), bool)
        columns: list[tuple[float, float, int, float, float]] = []
        seen: Observation | None = None
        for expected in self._load.tolist():
            price = 0.0 if pricing is None else pricing(seen)
            chains = np.full(count, self._case.static) if pricing is None else self._chains(price)
            asked = arrivals.poisson(expected / count, count)
            spend = float(asked @ self._case.cost[chains])
            earned, joules = (float(asked @ x) for x in (self._rewards[rows, chains], self._case.joules[chains]))
            columns.append((price, spend, int(asked.sum()), earned, joules))
            sample = self._predictions[sampling.integers(0, count, self.plan.sample_rows)]
            terms = Terms(np.array([price]), limit, everything)
            seen = Observation(int(asked.sum()), np.array([spend]), terms, sample, self._costs, limit, everything)
        prices, spends, requests, rewards, energy = (np.array(column) for column in zip(*columns, strict=True))
        return DayRun(name, label, prices, spends, np.full(len(spends), self.limit), requests, rewards, energy)

    def _chains(self, price: float) -> Ints:
        return chains_under(self._predictions, self._costs, np.array([price]))


Pricing = Callable[[Observation | None], float]
