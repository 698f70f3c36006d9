"""One control tick: what a window spent goes in, the prices of the next one come out as a policy. No Ray here."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from math import inf, nan
from typing import Any, Self

import numpy as np

from allocator.chains import ChainSpace
from allocator.choice import Floats, Mask, Rewards
from allocator.constraints import Constraint, Resource
from allocator.policy import Policy
from allocator.price.base import Observation, PriceState, PriceStrategy, Terms, usable
from allocator.price.predictive import PredictiveState
from allocator.price.sample import Sample
from allocator.price.start import Start, start_prices
from cluster.accounts import Window
from cluster.asked import Asked
from cluster.asked import spend as spend_of
from cluster.means import Aim, Means, Shown
from cluster.measured import Measured

WARM_UP = 3
LEAST_ROWS = 512
VERSIONS_PER_S = 10
"""No window is shorter than a tenth of a second, so versions that begin at the time never overtake it. Those of a later
controller are therefore higher than all of an earlier one, also than those that it never hears of."""
GROWS = 1.5
"""What a start may spend more than the window before, where what chains spend is what meters tell less what machines
draw anyway: in the first windows nobody knows where the one ends and the other begins."""
JUMPS = 8.0
"""By such a factor, from a window to the next, costs change that were wrong, and not by what is learned of them."""
REACH = 1.02
STEADY = 0.2


@dataclass(frozen=True, slots=True)
class ControlState:
    """All that a tick hands to the next.

    terms      what the decisions of the window that runs are made under; its limits are those that chains may spend
    warm       windows with requests so far, up to WARM_UP
    means      as told when that window began
    spend      (M,) of the window that ended last, in its resource's unit, with what is fixed
    asked      requests in a window, smoothed
    reachable  (M,) whether the limit can be held by any choice of chains
    measured   windows of late, for when nobody measures
    rearranged whether `policy` is not what replicas hold under its version, so that the next one must have its own
    """

    policy: Policy
    prices: PriceState
    terms: Terms
    warm: int
    means: Means
    spend: Floats
    asked: Asked
    reachable: Mask
    measured: Measured = field(default_factory=Measured)
    rearranged: bool = False

    @property
    def prices_by_key(self) -> dict[str, float]:
        """The prices of the window that runs, by `Aim.key`."""
        return {aim.key: float(p) for aim, p in zip(self.means.aims, self.policy.prices, strict=True)}

    @property
    def expected(self) -> float | None:
        """Requests of the next window, as the prices' strategy forecasts them; None where it has no forecast."""
        return self.prices.expected if isinstance(self.prices, PredictiveState) else None


@dataclass(frozen=True)
class Control:
    """Follows limits with prices. Its own configuration, without state; `init` and `step` are pure.

    What a limit leaves after all that no choice of chains changes (machines at rest, other programs) is what chains may
    spend, and the price is that of their spend. A limit below that is told as not reachable; its price stays where all
    take a chain that is cheapest.

    constraints  in FLOPs, for when nobody says more (`means`); at least one, of infinity where there is no limit
    safe_chain   index of the chain that a request takes when nobody can decide
    safe_follows while something has a price, that is instead the best chain which all could take within the limits:
                 nobody at the helm is no reason to overspend
    start        what prices begin from; without it they begin at zero, and the first windows overspend
    exploration  share of requests that take any available chain, so that what others earn can be learned
    """

    space: ChainSpace
    constraints: tuple[Constraint, ...]
    strategy: PriceStrategy[Any]
    reward_model: str
    safe_chain: int
    window_s: float = 1.0
    seed: int = 0
    start: Start | None = None
    safe_follows: bool = False
    exploration: float = 0.0

    def __post_init__(self) -> None:
        if not self.constraints:
            raise ValueError("without a limit, name a constraint whose limit is infinity")
        for constraint in self.constraints:
            if constraint.resource is not Resource.FLOPS:
                raise ValueError(
                    f"constraint {constraint.name!r}: {constraint.resource} need meters, so a limit of them"
                )

    def predicted_by(self, reward_model: str, known: Rewards) -> Self:
        """The same with another reward model, which predicts `known` (S, J) of users on file. A state of before goes on
        with its prices."""
        start = None if self.start is None else replace(self.start, rewards=known)
        return replace(self, reward_model=reward_model, start=start)

    def means(self, now_s: float) -> Means:
        """What holds where nobody meters anything: limits in FLOPs, which are counted."""
        aims = tuple(
            Aim(c.name, c.resource, limit, shown=Shown("flops", "FLOP/s", limit / self.window_s))
            for c in self.constraints
            for limit in (c.window_limit(now_s, self.window_s),)
        )
        return Means(aims, np.repeat(self.space.flops[:, None], len(aims), axis=1))

    def init(
        self,
        now_s: float,
        version: int = 0,
        prices: Floats | None = None,
        means: Means | None = None,
        remembered: Mapping[str, float] | None = None,
    ) -> ControlState:
        """The state at the start: the prices that are remembered, or that replicas still hold, or else start prices.

        now_s       Unix time
        version     the newest that any replica holds, 0 when there was none before, with its `prices`
        remembered  prices by `Aim.key`, from a controller before
        """
        means = means or self.means(now_s)
        terms = Terms(self._free(means), _left(means), self._available(means))
        held, warm = self._held(terms, means, version, prices, remembered or {})
        policy = Policy(
            version=max(version + 1, int(now_s * VERSIONS_PER_S)),
            time_s=now_s,
            prices=held,
            costs=means.costs,
            available=terms.available,
            reward_model=self.reward_model,
            safe_chain=self._cheapest(means, terms.available, held),
            exploration=self.exploration,
        )
        every = np.ones(len(held), dtype=bool)
        start, terms = self.strategy.init(held, self.seed), replace(terms, prices=held)
        return ControlState(policy, start, terms, warm, means, self._free(means), Asked(), every)

    def step(self, state: ControlState, window: Window, now_s: float, means: Means | None = None) -> ControlState:
        """A window has ended at `now_s`; its prices are followed by those of the next.

        A window that decided nothing tells nothing of prices, so they hold, as they do where nothing is limited.

        means   for the next window, with what this one spent
        window  its sample of rewards is by this control's reward model; empty where that is new
        """
        means = means or self.means(now_s)
        if state.policy.reward_model != self.reward_model:
            state = replace(state, prices=self.strategy.renewed(state.prices))
        new = () if means.keys == state.means.keys else set(means.keys) - set(state.means.keys)
        if means.keys != state.means.keys:
            state = self._rearranged(state, means, state.prices_by_key)
        elif (scale := _rescaled(state.means.costs, means.costs)) is not None:
            state = self._rearranged(state, means, dict(zip(means.keys, state.policy.prices * scale, strict=True)))
        executed = window.executed_per_s * self.window_s
        spent = state.measured.spend(executed, means)
        counted = replace(state, means=means, asked=state.asked.after(window, self.window_s, STEADY))
        seen = self._seen(counted, window, spent.chains)
        past = replace(
            counted,
            spend=spent.total,
            measured=state.measured.after(executed, means, self.window_s),
            terms=Terms(state.terms.prices, seen.next_limit, seen.next_available),
            reachable=self._reachable(seen, means, window, counted.asked.decided),
        )
        if window.decided_per_s <= 0.0:
            return self._published(past, now_s, self._before_requests(past, means, new))
        past = replace(past, warm=min(state.warm + 1, WARM_UP))
        priced = state.policy.prices.any()
        if not (priced or np.isfinite(seen.next_limit).any()):
            return self._published(past, now_s, state.policy.prices)
        follows = priced and state.warm >= WARM_UP
        prices = self.strategy.step(state.prices, seen) if follows else self._started(seen, state.warm, means)
        return self._published(
            replace(past, prices=prices),
            now_s,
            prices.prices,
            self._safe(seen, means, prices.prices, past.asked.decided),
        )

    def _seen(self, state: ControlState, window: Window, spend: Floats) -> Observation:
        """What the window that was decided under these terms, and the means of the next, say to a strategy."""
        means, requests = state.means, max(1, round(window.decided_per_s * self.window_s))
        return Observation(
            requests=requests,
            spend=spend,
            terms=state.terms,
            rewards=window.rewards,
            costs=means.costs,
            next_limit=_left(means),
            next_available=self._available(means),
            beside=spend_of(np.atleast_1d(window.unpriced_per_s * self.window_s), means.costs) / requests,
            next_beside=state.asked.beside(means.costs),
        )

    def _published(self, state: ControlState, now_s: float, prices: Floats, safe: int | None = None) -> ControlState:
        """The state with a policy of these prices: the same one where it would decide alike and none was priced."""
        policy, terms = state.policy, state.terms
        same = not state.rearranged and policy.costs.shape == state.means.costs.shape
        same = same and (policy.available == terms.available).all()
        same = same and policy.reward_model == self.reward_model
        if same and (policy.prices == prices).all() and (not prices.any() or (policy.costs == state.means.costs).all()):
            return state
        chain = (policy.safe_chain if prices.any() else self.safe_chain) if safe is None else safe
        made = policy.next(
            now_s,
            prices=prices,
            costs=state.means.costs,
            available=terms.available,
            safe_chain=chain,
            reward_model=self.reward_model,
        )
        return replace(state, policy=made, terms=replace(terms, prices=made.prices), rearranged=False)

    def _safe(self, seen: Observation, means: Means, prices: Floats, load: float) -> int:
        """The chain for when nobody decides."""
        rows = self._enough(usable(seen.rewards))
        if not (self.safe_follows and prices.any() and len(rows) and seen.next_available.any()):
            return self.safe_chain
        spend = (seen.costs + seen.next_beside) * _ratio(rows, seen) * load
        within = (spend <= seen.next_limit).all(axis=1) & seen.next_available
        if not within.any():
            return self._cheapest(means, seen.next_available, prices)
        return int(np.where(within, rows.mean(axis=0), -inf).argmax())

    def _cheapest(self, means: Means, available: Mask, prices: Floats) -> int:
        """The chain for when nobody decides and nobody knows what requests there are: at these prices the cheapest."""
        if not (self.safe_follows and prices.any() and available.any()):
            return self.safe_chain
        return int(np.where(available, means.costs @ prices, inf).argmin())

    def _rearranged(self, state: ControlState, means: Means, known: Mapping[str, float]) -> ControlState:
        """The state under other constraints, or costs of another size: those whose prices are known begin with them,
        and all are looked for anew."""
        prices = np.array([known.get(aim.key, 0.0) for aim in means.aims])
        terms = Terms(prices, _left(means), state.terms.available)
        policy = replace(state.policy, prices=prices, costs=means.costs)
        every = np.ones(len(prices), dtype=bool)
        return replace(
            state,
            policy=policy,
            prices=self.strategy.init(prices, self.seed),
            terms=terms,
            warm=min(state.warm, WARM_UP - 1),
            means=means,
            spend=self._free(means),
            reachable=every,
            rearranged=True,
        )

    def _held(
        self, terms: Terms, means: Means, version: int, prices: Floats | None, remembered: Mapping[str, float]
    ) -> tuple[Floats, int]:
        """The first prices, and how warm they are.

        A limit that is not among the remembered ones begins as at any start, with those beside it as they were.
        """
        known = np.array([remembered.get(aim.key, nan) for aim in means.aims])
        free = np.array([aim.starts_free for aim in means.aims])
        if np.isfinite(known).any() and (np.isfinite(known) | free).all():
            held = np.nan_to_num(known)
            return held, WARM_UP if held.any() and len(held) == len(remembered) else 1
        if version and prices is not None and prices.shape == terms.limit.shape and not remembered:
            return prices, WARM_UP if prices.any() else 1
        if self.start is None:
            return np.nan_to_num(known), 0
        limit = np.where(free | np.isfinite(known), inf, terms.limit)
        first = start_prices(self.start.rewards, means.costs, terms.available, limit, self._expected)
        return np.nan_to_num(known) + first, 0

    def _before_requests(self, state: ControlState, means: Means, new: Collection[str]) -> Floats:
        """The prices, and start prices of limits that are new and of which no request has told yet."""
        held = state.policy.prices
        looked_for = np.array([aim.key in new and not aim.starts_free for aim in means.aims])
        if self.start is None or not looked_for.any():
            return held
        limit = np.where(looked_for, state.terms.limit, inf)
        rows, available = self.start.rewards, state.terms.available
        beside = state.asked.beside(means.costs)
        return held + start_prices(rows, means.costs, available, limit, self._expected, beside)

    def _started(self, seen: Observation, warm: int, means: Means) -> PriceState:
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
        ratio = _ratio(rows, seen)
        requests = max(seen.requests, self._expected) if warm == 0 and self.start is not None else seen.requests
        if np.isfinite(requests):
            limit = np.minimum(seen.next_limit / ratio, _most(rows, seen, means) * requests)
        else:
            limit = np.where([aim.starts_free for aim in means.aims], inf, seen.next_limit)
        prices = start_prices(rows, seen.costs, seen.next_available, limit, requests, seen.next_beside)
        started: PriceState = self.strategy.init(prices, self.seed)
        return started

    def _enough(self, rows: Rewards) -> Rewards:
        """The rows, and where they are few the users on file in place of those that are missing."""
        missing = LEAST_ROWS - len(rows)
        if self.start is None or missing <= 0:
            return rows
        return np.concatenate([rows, usable(self.start.rewards)[:missing]])

    def _reachable(self, seen: Observation, means: Means, window: Window, load: float) -> Mask:
        """Whether the cheapest chains would keep the limit at this load, by what requests were seen to spend."""
        if not seen.next_available.any():
            return np.ones(len(means.aims), dtype=bool)
        modelled = window.executed_per_s @ means.costs * self.window_s
        ratio = np.divide(seen.spend, modelled, out=np.ones_like(modelled), where=(modelled > 0) & (seen.spend > 0))
        least = (means.costs[seen.next_available].min(axis=0) + seen.next_beside) * ratio * load
        fixed = np.array([aim.fixed for aim in means.aims])
        limit = np.array([aim.limit for aim in means.aims])
        told = np.array([aim.reachable for aim in means.aims])
        reachable: Mask = (least + fixed <= REACH * limit) & told
        return reachable

    def _available(self, means: Means) -> Mask:
        return np.ones(len(self.space), dtype=bool) if means.available is None else means.available

    @property
    def _expected(self) -> float:
        """Requests in a window that the start prices are made for."""
        return inf if self.start is None else self.start.requests_per_s * self.window_s

    @staticmethod
    def _free(means: Means) -> Floats:
        return np.zeros(len(means.aims))


def _rescaled(before: Floats, costs: Floats) -> Floats | None:
    """What prices (M,) are to be multiplied by, where costs (J, M) have another size all at once; None where they have
    not. A price belongs to the size of what it prices: one that was found while chains were thought to cost next to
    nothing would choose for a hundred windows as if nothing else counted, and one of what cost nothing is no price."""
    old, new = np.ptp(before, axis=0), np.ptp(costs, axis=0)
    with np.errstate(over="ignore"):
        jumped = (new > JUMPS * old) | (old > JUMPS * new) & (new > 0)
    if not jumped.any():
        return None
    ratio = np.divide(old, new, out=np.ones_like(old), where=jumped)
    return np.where(np.isfinite(ratio), ratio, 1.0)


def _left(means: Means) -> Floats:
    return np.array([aim.left for aim in means.aims])


def _ratio(rows: Rewards, seen: Observation) -> Floats:
    """By how much measured spend exceeds what the sample says: by its noise, and by chains that requests name."""
    if not seen.terms.available.any():
        return np.ones_like(seen.spend)
    predicted = _sampled(rows, seen).spend(seen.terms.prices) * seen.requests
    known = (seen.spend > 0) & (predicted > 0)
    return np.divide(seen.spend, predicted, out=np.ones_like(predicted), where=known)


def _most(rows: Rewards, seen: Observation, means: Means) -> Floats:
    """What a request may spend in the mean, (M,): no more than GROWS of what is predicted at the prices that it had."""
    inferred = np.array([aim.last_fixed > 0 for aim in means.aims])
    if not (inferred.any() and seen.terms.available.any()):
        return np.full(len(means.aims), inf)
    before = _sampled(rows, seen).spend(seen.terms.prices)
    return np.where(inferred, GROWS * before, inf)


def _sampled(rows: Rewards, seen: Observation) -> Sample:
    """What requests like these spent under the terms of the window."""
    return Sample(rows, seen.costs, seen.terms.available, seen.beside)
