"""One control tick: what a window spent goes in, the prices of the next one come out as a policy. No Ray here."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from allocator.chains import ChainSpace
from allocator.choice import Floats
from allocator.constraints import Constraint, Resource
from allocator.policy import Policy
from allocator.price.base import Observation, PriceState, PriceStrategy, Terms, start_bounds, updated_bounds, usable
from allocator.price.sample import Sample
from allocator.price.solve import solve_prices
from cluster.accounts import Window

WARM_UP = 3
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
    """

    space: ChainSpace
    constraints: tuple[Constraint, ...]
    strategy: PriceStrategy[Any]
    reward_model: str
    safe_chain: int
    window_s: float = 1.0
    seed: int = 0

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
        """The state at the start: all chains available, and prices of zero, or those that replicas still hold.

        now_s    Unix time
        version  the newest that any replica holds, 0 when there was none before
        """
        held = prices if prices is not None and prices.shape == (len(self.constraints),) else self._free
        limit, available = self._limit(now_s), np.ones(len(self.space), dtype=bool)
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
        warm = WARM_UP if held.any() else 0
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
        past = replace(state, spend=spend, limit=state.terms.limit)
        unlimited = not (np.isfinite(seen.next_limit).any() or state.policy.prices.any())
        if window.decided_per_s <= 0.0 or unlimited:
            return replace(past, terms=replace(state.terms, limit=seen.next_limit))
        prices = self._started(seen) if state.warm < WARM_UP else self.strategy.step(state.prices, seen)
        terms = Terms(prices.prices, seen.next_limit, seen.next_available)
        policy = state.policy.next(now_s, prices=prices.prices)
        return ControlState(policy, prices, terms, min(state.warm + 1, WARM_UP), spend, state.terms.limit)

    def _started(self, seen: Observation) -> PriceState:
        """The strategy's state with the prices that the window's own sample asks for, which its first windows start at.

        Strategies move prices by a bounded factor, which from zero means several windows of overspending; and traffic
        that begins in the middle of a window looks to them like a load that then doubles.
        """
        rows = usable(seen.rewards)
        if not len(rows):
            held: PriceState = self.strategy.init(seen.terms.prices, self.seed)
            return held
        sample = Sample(rows, seen.costs, seen.next_available)
        bounds = updated_bounds(start_bounds(self._free), rows, seen.costs, seen.next_available)
        # Measured spend differs from what the sample says: by its noise, and by chains that requests name themselves.
        predicted = sample.spend(seen.terms.prices)
        limit = seen.next_limit * predicted / np.where(seen.spend > 0, seen.spend, predicted * seen.requests)
        prices = solve_prices(sample, limit, self._free, self._free, bounds.ceiling)
        started: PriceState = self.strategy.init(prices, self.seed)
        return started

    @property
    def _free(self) -> Floats:
        return np.zeros(len(self.constraints))

    def _limit(self, now_s: float) -> Floats:
        return np.array([constraint.window_limit(now_s, self.window_s) for constraint in self.constraints])
