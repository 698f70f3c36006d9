"""The port of price strategies, what a window tells them, and the bounds that hold for all of them."""

from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from allocator.choice import Floats, Mask, Rewards, ceilings

FLOOR_SHARE = 1e-3
CEILING_MARGIN = 2.0
CEILING_MEMORY = 0.99
NEAR = 0.01
"""So much more than the cheapest chain may one cost that is taken at the ceiling. A price that also parts those was
seen to lie 10,000 times too high to come back from within seconds."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the decisions of one window are made under.

    prices     (M,) reward per unit of each resource
    limit      (M,) units of each resource that the window may spend; infinity where there is no limit
    available  (J,) the chains that may be taken
    """

    prices: Floats
    limit: Floats
    available: Mask


@dataclass(frozen=True, slots=True)
class Observation:
    """What is known when the next window is to be priced.

    requests        how many requests the observed window decided
    spend           (M,) what they spent; NaN where the sensor failed: nothing is then concluded
    terms           what the observed window was decided under. Measurements may come late: it need not be the last one
    rewards         (S, J) predicted rewards of a uniform sample of the observed window's requests; S may be 0
    costs           (J, M) what a request spends under each chain
    next_limit      (M,) limit of the window to be priced
    next_available  (J,) the chains that it may take
    lead            windows from the observed one to the one to be priced; 1 when nothing is late
    beside          (M,) what requests whose chain no price chooses (those of a holdback, those that name their chain)
                    spent in the observed window for each that it decided, by `costs`; `spend` holds it, too
    next_beside     (M,) the same in the window to be priced, as expected; its limit holds it, too
    """

    requests: int
    spend: Floats
    terms: Terms
    rewards: Rewards
    costs: Floats
    next_limit: Floats
    next_available: Mask
    lead: int = 1
    beside: Floats | float = 0.0
    next_beside: Floats | float = 0.0


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where prices lie, (M,) each: zero or in [floor, ceiling] for strategies that multiply, [0, ceiling] for others.

    At the ceiling every sampled request takes the cheapest chain, or one NEAR it: a higher price would change nothing
    that counts.
    """

    floor: Floats
    ceiling: Floats


@dataclass(frozen=True, slots=True)
class PriceState:
    """What every strategy's state holds.

    prices     (M,) for the next window; finite and >= 0
    saturated  (M,) whether the price is at its ceiling: the limit cannot be reached by any choice of chains
    window     how many windows were observed
    """

    prices: Floats
    saturated: Mask
    window: int
    bounds: Bounds


State = TypeVar("State", bound=PriceState)


class PriceStrategy(Protocol[State]):
    """A strategy is its own configuration: frozen, without state. `init` and `step` are pure."""

    @property
    def name(self) -> str:
        """For people and settings."""
        ...

    def init(self, prices: Floats, seed: int = 0) -> State:
        """The state before the first window, with the prices (M,) to begin with."""
        ...

    def step(self, state: State, seen: Observation) -> State:
        """The state after one more window was observed."""
        ...

    def renewed(self, state: State) -> State:
        """The state without what was sampled of rewards: from now on another reward model predicts them. Prices hold,
        and so does all that is known of load and spend."""
        ...


def start_bounds(prices: Floats) -> Bounds:
    """Bounds before any request was seen: a price may fall from where it begins, not rise."""
    return Bounds(np.zeros_like(prices), prices.copy())


def usable(rewards: Rewards) -> Rewards:
    """The rows without NaN or infinity; the same array where that is all of them."""
    finite = np.isfinite(rewards).all(axis=1)
    return rewards if finite.all() else rewards[finite]


def updated_bounds(bounds: Bounds, rewards: Rewards, costs: Floats, available: Mask) -> Bounds:
    """Bounds from a sample of usable rows; the old ones where it is empty, or a single chain is left.

    floor    1/1000 of the mean reward range over the cost range: the step with which a price leaves zero
    ceiling  twice the steepest rise of reward per cost over the cheapest chain in the sample, to chains that are not
             NEAR it; falls slowly only
    """
    if len(rewards) == 0 or available.sum() < 2:
        return bounds
    every = bool(available.all())
    open_rewards, open_costs = (rewards, costs) if every else (rewards[:, available], costs[available])
    spread = float((open_rewards.max(axis=1) - open_rewards.min(axis=1)).mean(dtype=np.float64))
    cost_range = np.ptp(open_costs, axis=0)
    floor = np.divide(FLOOR_SHARE * spread, cost_range, out=bounds.floor.copy(), where=cost_range > 0)
    steepest = CEILING_MARGIN * ceilings(rewards, costs, available, NEAR)
    return Bounds(floor, np.maximum(np.maximum(steepest, CEILING_MEMORY * bounds.ceiling), floor))


def span(prices: Floats, bounds: Bounds, factor: float) -> tuple[Floats, Floats]:
    """The lowest and the highest prices (M,) that one window may reach from `prices`.

    A price moves by at most `factor` a window. From below its floor it may go to zero at once, or to factor x floor.
    """
    low = np.where(prices > bounds.floor, prices / factor, 0.0)
    high = np.minimum(np.maximum(prices, bounds.floor) * factor, np.maximum(bounds.ceiling, low))
    return low, high


def moved(prices: Floats, target: Floats, bounds: Bounds, factor: float) -> Floats:
    """`target` brought within the bounds and within one window's span; a target that is NaN holds the price."""
    low, high = span(prices, bounds, factor)
    return np.clip(np.where(np.isnan(target), prices, target), low, np.maximum(low, high))


def violation(spend: Floats, limit: Floats) -> Floats:
    """Relative violation (spend - limit) / limit, (M,): >= -1, infinite for spend against a limit of zero.

    NaN where the spend is not known, or negative, which no spend can be.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(spend == limit, 0.0, spend / limit - 1.0)
    return np.where(np.isfinite(spend) & (spend >= 0), relative, np.nan)
