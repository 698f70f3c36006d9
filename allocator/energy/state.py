"""What is known of pools: the state of the energy model, and what a window adds to it before anything is learned."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from allocator.choice import Floats
from allocator.energy.background import Residuals
from allocator.energy.belief import Belief
from allocator.energy.prior import Prior
from allocator.energy.windows import Name, PoolWindow
from allocator.joules import Quality


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Windows of one pool that are learned from together, as `PoolWindow` has them."""

    energy_j: float
    window_s: float
    used: Floats


@dataclass(frozen=True, slots=True, eq=False)
class PoolState:
    """What is known of one pool. Coefficients are (1 + 2 V,): idle watts, calls' joules, items' joules.

    scale    what a coefficient of one stands for: its prior
    belief   of coefficients over `scale`, and last of the background, in first watts
    point    the likeliest coefficients that are not negative, over `scale`
    residuals  of what the model leaves
    first_w  watts of the first window
    noise    relative standard deviation of a second's joules around the model
    power_w  running mean
    per_s    (2 V,) running mean of calls and items a second
    blocks   how many were learned from
    held     windows that are not learned from yet
    epochs   of the devices, as last seen
    quality  the worst of the devices', as last seen
    last     number of the last window that told of it
    """

    scale: Floats
    belief: Belief
    point: Floats
    residuals: Residuals
    first_w: float
    noise: float
    power_w: float
    per_s: Floats
    blocks: int
    held: Block
    epochs: Mapping[str, str]
    quality: Quality
    last: int

    @property
    def coefficients(self) -> Floats:
        """(1 + 2 V,) in watts and joules, >= 0."""
        return self.point * self.scale


@dataclass(frozen=True, slots=True, eq=False)
class EnergyState:
    """All pools that meters have told of, and the variants in the order of their coefficients.

    spread  (2 + 2 V, 2 + 2 V) covariance of a belief before any reading
    """

    prior: Prior
    names: tuple[Name, ...]
    spread: Floats
    pools: Mapping[str, PoolState] = field(default_factory=dict)
    windows: int = 0


def initial(prior: Prior) -> EnergyState:
    """The state before the first window. The background has no prior variance: it grows with what is seen."""
    return EnergyState(prior, tuple(prior.variants), np.pad(prior.covariance(), (0, 1)))


def begun(state: EnergyState, window: PoolWindow, noise: float, number: int) -> PoolState:
    """A pool of which nothing is known but the prior, and this window's watts, which must be positive."""
    power_w = window.energy_j / window.window_s
    idle_w = power_w / 2 if state.prior.idle_w is None else max(state.prior.idle_w, 1e-3)
    of = [state.prior.variants[name] for name in state.names]
    scale = np.array([idle_w, *(one.call_j for one in of), *(one.item_j for one in of)])
    ones = np.ones(len(scale))
    return PoolState(
        scale=scale,
        belief=Belief(np.append(ones, 0.0), state.spread),
        point=ones,
        residuals=Residuals(),
        first_w=power_w,
        noise=noise,
        power_w=power_w,
        per_s=np.zeros(len(scale) - 1),
        blocks=0,
        held=Block(0.0, 0.0, np.zeros(len(scale) - 1)),
        epochs=window.epochs,
        quality=window.quality,
        last=number,
    )


def with_window(pool: PoolState, window: PoolWindow, number: int) -> PoolState:
    """The pool with one more window held, or with that one alone where joules are missing before it."""
    if not window.epochs:
        return replace(pool, held=_added(pool.held, window), last=number)
    held = pool.held if window.epochs == pool.epochs else nothing(pool)
    return replace(pool, held=_added(held, window), epochs=window.epochs, quality=window.quality, last=number)


def nothing(pool: PoolState) -> Block:
    """A block that begins."""
    return Block(0.0, 0.0, np.zeros(len(pool.scale) - 1))


def _added(held: Block, window: PoolWindow) -> Block:
    return Block(held.energy_j + window.energy_j, held.window_s + window.window_s, held.used + window.used)
