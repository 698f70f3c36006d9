"""One control tick: what a window spent goes in, the prices of the next one come out as a policy. No Ray here."""

from dataclasses import dataclass, replace
from math import inf
from typing import Any

import numpy as np

from allocator.chains import ChainSpace
from allocator.choice import Floats, Mask, Rewards
from allocator.constraints import Constraint, Resource
from allocator.policy import Policy
from allocator.price.base import Observation, PriceState, PriceStrategy, Terms, usable
from allocator.price.sample import Sample
from allocator.price.start import Start, start_prices
from cluster.accounts import Window

WARM_UP = 3
LEAST_ROWS = 512
VERSIONS_PER_S = 10
"""No window is shorter than a tenth of a second, so versions that begin at the time never overtake it. Those of a later
controller are therefore higher than all of an earlier one, also than those that it never hears of."""


@dataclass(frozen=True, slots=True)
class ControlState:
    """All that a tick hands to the next.

    terms   what the decisions of the window that runs are made under
    warm    windows with requests so far, up to WARM_UP
    spend   (M,) of the window that ended last, in its resource's unit, and its limit (M,): for people
    """

    policy: Policy
    prices: PriceState
    terms: Terms
    warm: int
    spend: Floats
    limit: Floats


@dataclass(frozen=True)
class Control:
    """Follows constraints with prices. Its own configuration, without state; `init` and `step` are pure.

    Costs are FLOPs until meters exist, so every constraint must be one on FLOPs: others raise ValueError. There must be
    one at least: a cascade without a limit has one of infinity.

    safe_chain  index of the chain that a request takes when nobody can decide
    start       what prices begin from; without it they begin at zero, and the first windows overspend
    """

    space: ChainSpace
    constraints: tuple[Constraint, ...]
    strategy: PriceStrategy[Any]
    reward_model: str
    safe_chain: int
    window_s: float = 1.0
    seed: int = 0
    start: Start | None = None

    def __post_init__(self) -> None:
        if not self.constraints:
            raise ValueError("without a limit, name a constraint whose limit is infinity")
        for constraint in self.constraints:
            if constraint.resource is not Resource.FLOPS:
                raise ValueError(f"constraint {constraint.name!r}: there is no meter for {constraint.resource} yet")

    @property
    def costs(self) -> Floats:
        """(J, M) what a request spends under each chain."""
        return np.repeat(self.space.flops[:, None], len(self.constraints), axis=1)

    def init(self, now_s: float, version: int = 0, prices: Floats | None = None) -> ControlState:
        """The state at the start: all chains available, and the prices that replicas still hold, or else start prices.

        now_s    Unix time
        version  the newest that any replica holds, 0 when there was none before
        """
        limit, available = self._limit(now_s), np.ones(len(self.space), dtype=bool)
        if version and prices is not None and prices.shape == limit.shape:
            held, warm = prices, WARM_UP if prices.any() else 1
        else:
            held, warm = self._first_prices(limit, available), 0
        policy = Policy(
            version=max(version + 1, int(now_s * VERSIONS_PER_S)),
            time_s=now_s,
            prices=held,
            costs=self.costs,
            available=available,
            reward_model=self.reward_model,
            safe_chain=self.safe_chain,
        )
        terms = Terms(held, limit, available)
        return ControlState(policy, self.strategy.init(held, self.seed), terms, warm, self._free, limit)

    def step(self, state: ControlState, window: Window, now_s: float) -> ControlState:
        """A window has ended at `now_s`; its prices are followed by those of the next.

        A window that decided nothing tells nothing of prices, so they hold, as they do where nothing is limited.
        """
        spend = window.executed_per_s @ self.costs * self.window_s
        seen = Observation(
            requests=max(1, round(window.decided_per_s * self.window_s)),
            spend=spend,
            terms=state.terms,
            rewards=window.rewards,
            costs=self.costs,
            next_limit=self._limit(now_s),
            next_available=state.policy.available,
        )
        past = replace(state, spend=spend, limit=state.terms.limit, terms=replace(state.terms, limit=seen.next_limit))
        if window.decided_per_s <= 0.0:
            return past
        warm = min(state.warm + 1, WARM_UP)
        priced = state.policy.prices.any()
        if not (priced or np.isfinite(seen.next_limit).any()):
            return replace(past, warm=warm)
        follows = priced and state.warm >= WARM_UP
        prices = self.strategy.step(state.prices, seen) if follows else self._started(seen, state.warm)
        terms = Terms(prices.prices, seen.next_limit, seen.next_available)
        policy = state.policy.next(now_s, prices=prices.prices)
        return ControlState(policy, prices, terms, warm, spend, state.terms.limit)

    def _first_prices(self, limit: Floats, available: Mask) -> Floats:
        if self.start is None:
            return self._free
        return start_prices(self.start.rewards, self.costs, available, limit, self._expected)

    def _started(self, seen: Observation, warm: int) -> PriceState:
        """The strategy's state with the prices that the window's own sample asks for, to follow from there.

        Strategies move prices by a bounded factor, which from zero means several windows of overspending; and traffic
        that begins in the middle of a window looks to them like a load that then doubles. So the first window with
        requests says how many there are at least, not how many there will be: until a whole one has passed, the rate
        that the start prices were made for counts, too.
        """
        rows = self._enough(usable(seen.rewards))
        if not len(rows) or not seen.next_available.any():
            held: PriceState = self.strategy.init(seen.terms.prices, self.seed)
            return held
        predicted = Sample(rows, seen.costs, seen.next_available).spend(seen.terms.prices) * seen.requests
        # Measured spend differs from what the sample says: by its noise, and by chains that requests name themselves.
        known = (seen.spend > 0) & (predicted > 0)
        ratio = np.divide(seen.spend, predicted, out=np.ones_like(predicted), where=known)
        requests = max(seen.requests, self._expected) if warm == 0 and self.start is not None else seen.requests
        prices = start_prices(rows, seen.costs, seen.next_available, seen.next_limit / ratio, requests)
        started: PriceState = self.strategy.init(prices, self.seed)
        return started

    def _enough(self, rows: Rewards) -> Rewards:
        """The rows, and where they are few the users on file in place of those that are missing."""
        missing = LEAST_ROWS - len(rows)
        if self.start is None or missing <= 0:
            return rows
        return np.concatenate([rows, usable(self.start.rewards)[:missing]])

    @property
    def _expected(self) -> float:
        """Requests in a window that the start prices are made for."""
        return inf if self.start is None else self.start.requests_per_s * self.window_s

    @property
    def _free(self) -> Floats:
        return np.zeros(len(self.constraints))

    def _limit(self, now_s: float) -> Floats:
        return np.array([constraint.window_limit(now_s, self.window_s) for constraint in self.constraints])
