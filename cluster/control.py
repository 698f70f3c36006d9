"""One control tick: what a window spent goes in, the prices of the next one come out as a policy. No Ray here."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allocator.chains import ChainSpace
from allocator.constraints import Constraint, Resource
from allocator.policy import Policy
from allocator.price.base import Observation, PriceState, PriceStrategy, Terms

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Report:
    """What one allocator replica saw since its last report.

    requests  decided by the policy
    spend     (M,) what all requests spent, those under a chain of their own choice too
    rewards   (S, J) predicted rewards of a uniform sample of the decided requests
    version   of the policy that decided the last of them
    """

    requests: int
    spend: Floats
    rewards: NDArray[np.float32]
    version: int


@dataclass(frozen=True, slots=True)
class ControlState:
    """All that a tick hands to the next.

    since_s  when the window that runs began, on the controller's clock
    terms    what its decisions are made under
    spend    (M,) of the window that ended last, and its limit (M,): for people
    """

    policy: Policy
    prices: PriceState
    since_s: float
    terms: Terms
    spend: Floats
    limit: Floats


@dataclass(frozen=True)
class Control:
    """Follows constraints with prices. Its own configuration, without state; `init` and `step` are pure.

    Costs are FLOPs until meters exist, so every constraint must be one on FLOPs: others raise ValueError.
    """

    space: ChainSpace
    constraints: tuple[Constraint, ...]
    strategy: PriceStrategy[Any]
    reward_model: str
    window_s: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for constraint in self.constraints:
            if constraint.resource is not Resource.FLOPS:
                raise ValueError(f"constraint {constraint.name!r}: there is no meter for {constraint.resource} yet")

    @property
    def costs(self) -> Floats:
        """(J, M) what a request spends under each chain."""
        return np.repeat(self.space.flops[:, None], len(self.constraints), axis=1)

    def init(self, now_s: float) -> ControlState:
        """The state at the start: prices of zero, all chains available."""
        free = np.zeros(len(self.constraints))
        available = np.ones(len(self.space), dtype=bool)
        limit = self._limit(now_s)
        policy = Policy(
            version=1,
            time_s=now_s,
            prices=free,
            costs=self.costs,
            available=available,
            reward_model=self.reward_model,
            safe_chain=self.space.static.index,
        )
        prices = self.strategy.init(free, self.seed)
        return ControlState(policy, prices, now_s, Terms(free, limit, available), free, limit)

    def step(self, state: ControlState, reports: Sequence[Report], now_s: float) -> ControlState:
        """The window that began at `state.since_s` has ended at `now_s`; its prices are followed by those of the next.

        A tick that comes late ends a longer window, with a limit to match. Without constraints only time passes.
        """
        if not self.constraints:
            return replace(state, since_s=now_s)
        spend = sum((report.spend for report in reports), np.zeros(len(self.constraints)))
        elapsed_s = max(now_s - state.since_s, 1e-9)
        rewards = [report.rewards for report in reports if len(report.rewards)]
        seen = Observation(
            requests=self._to_window(sum(report.requests for report in reports), elapsed_s),
            spend=spend * (self.window_s / elapsed_s),
            terms=state.terms,
            rewards=np.concatenate(rewards) if rewards else np.empty((0, len(self.space)), np.float32),
            costs=self.costs,
            next_limit=self._limit(now_s),
            next_available=state.policy.available,
        )
        prices: PriceState = self.strategy.step(state.prices, seen)
        terms = Terms(prices.prices, seen.next_limit, seen.next_available)
        policy = state.policy.next(now_s, prices=prices.prices)
        return ControlState(policy, prices, now_s, terms, seen.spend, state.terms.limit)

    def _limit(self, now_s: float) -> Floats:
        return np.array([constraint.window_limit(now_s, self.window_s) for constraint in self.constraints])

    def _to_window(self, requests: int, elapsed_s: float) -> int:
        return round(requests * self.window_s / elapsed_s)
