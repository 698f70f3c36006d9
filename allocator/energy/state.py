"""What is known of pools: the state of the energy model, and what a window adds to it before anything is learned."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from allocator.choice import Floats
from allocator.energy.background import Residuals
from allocator.energy.belief import Belief
from allocator.energy.prior import Prior
from allocator.energy.windows import Name, PoolWindow
from allocator.joules import Quality

CORE, RESTING = -3, -2
"""Where a belief has joules of a processor's busy second, and processors that work though nobody asks anything."""
CORE_DOUBT = 1.0
"""Standard deviation of `CORE` at first, as a share of it."""
CORE_W = (1.0, 100.0)
"""A busy processor is first believed to draw no less and no more than that."""
LEAST_CORES = 0.25
"""With fewer processors at work a window tells little of what one draws: so many are taken to have worked then."""
OTHERS_DOUBT = 0.15
"""Standard deviation of the background at first, as a share of `first_w`, where busy seconds are known."""
RESTING_CORES = 0.05
"""Processors that work at rest, as believed at first."""
SETTLES_S = 5.0
"""How long replicas' reports may lag behind the meters' at most: by then a window tells of its own work alone."""


@dataclass(frozen=True, slots=True, eq=False)
class Block:
    """Windows of one pool that are learned from together: sums of what `PoolWindow` has.

    busy_s  NaN as soon as nobody knows those of one of the windows
    own_s   (V,) of these, what replicas say that work of each variant took
    """

    energy_j: float
    window_s: float
    used: Floats
    busy_s: float
    own_s: Floats

    @property
    def others_s(self) -> float | None:
        """Busy seconds of all that is no work of replicas; None where one or the other is not known."""
        own_s = float(self.own_s.sum())
        if not (own_s > 0.0 and math.isfinite(self.busy_s)):
            return None
        return max(0.0, self.busy_s - own_s)


@dataclass(frozen=True, slots=True, eq=False)
class PoolState:
    """What is known of one pool. Coefficients are (1 + 2 V,): idle watts, calls' joules, items' joules.

    scale    what a coefficient of one stands for: its prior, where that was worked out from seconds at the watts that a
             busy processor seemed to draw here in the first window
    core_j   joules of a processor's busy second that a `CORE` of one stands for; `RESTING` of one stands for
             RESTING_CORES processors
    belief   of coefficients over `scale`, of `CORE`, of `RESTING`, and last of the background, over `first_w`
    point    the likeliest coefficients that are not negative, over `scale`
    residuals  of what the model leaves
    first_w  watts of the first window
    noise    relative standard deviation of a second's joules around the model, and `busy_noise` of those around what
             the processors' busy seconds tell
    power_w  running mean
    per_s    (2 V,) running mean of calls and items a second
    blocks   how many were learned from
    held     windows that are not learned from yet
    settles_s  for how long windows are not learned from yet, since work that was done before may be told in them
    told     whether the last window's busy seconds were known
    epochs   of the devices, as last seen
    quality  the worst of the devices', as last seen
    last     number of the last window that told of it
    metered  number of the last window in which a meter did, rather than an estimate; None before the first
    """

    scale: Floats
    core_j: float
    belief: Belief
    point: Floats
    residuals: Residuals
    first_w: float
    noise: float
    busy_noise: float
    power_w: float
    per_s: Floats
    blocks: int
    held: Block
    settles_s: float
    told: bool
    epochs: Mapping[str, str]
    quality: Quality
    last: int
    metered: int | None

    @property
    def coefficients(self) -> Floats:
        """(1 + 2 V,) in watts and joules, >= 0."""
        return self.point * self.scale

    @property
    def covariance(self) -> Floats:
        """(1 + 2 V, 1 + 2 V) of the coefficients over `scale`."""
        count = len(self.scale)
        return self.belief.covariance[:count, :count]


@dataclass(frozen=True, slots=True, eq=False)
class EnergyState:
    """All pools that meters have told of, and the variants in the order of their coefficients.

    spread  (4 + 2 V, 4 + 2 V) covariance of a belief before any reading
    """

    prior: Prior
    names: tuple[Name, ...]
    spread: Floats
    pools: Mapping[str, PoolState] = field(default_factory=dict)
    windows: int = 0


def initial(prior: Prior) -> EnergyState:
    """The state before the first window.

    The background has no prior variance: it grows with what is seen. Where the prior's joules are seconds times the
    watts of a processor, they all err with these: who learns that a processor draws twice as much, learns it of all.
    """
    spread = np.pad(prior.covariance(), (0, 3))
    spread[CORE, CORE], spread[RESTING, RESTING] = CORE_DOUBT**2, 1.0
    if prior.core_w is not None:
        spread[1:CORE, 1:CORE] += CORE_DOUBT**2
        spread[CORE, 1:CORE] = spread[1:CORE, CORE] = CORE_DOUBT**2
    return EnergyState(prior, tuple(prior.variants), spread)


def begun(state: EnergyState, window: PoolWindow, noise: float, busy_noise: float, number: int) -> PoolState:
    """A pool of which nothing is known but the prior, and this window's watts, which must be positive."""
    told, power_w = math.isfinite(window.busy_s), window.energy_j / window.window_s
    core_j, scale = _scales(state, window, power_w)
    ones, spread = np.ones(len(scale)), state.spread.copy()
    if told:
        spread[-1, -1] = OTHERS_DOUBT**2
    return PoolState(
        scale=scale,
        core_j=core_j,
        belief=Belief(np.concatenate((ones, [1.0, 1.0, 0.0])), spread),
        point=ones,
        residuals=Residuals(),
        first_w=power_w,
        noise=noise,
        busy_noise=busy_noise,
        power_w=power_w,
        per_s=np.zeros(len(scale) - 1),
        blocks=0,
        held=no_block(len(state.names)),
        settles_s=0.0,
        told=told,
        epochs=window.epochs,
        quality=window.quality,
        last=number,
        metered=number if window.metered else None,
    )


def _scales(state: EnergyState, window: PoolWindow, power_w: float) -> tuple[float, Floats]:
    """`PoolState.core_j` and `PoolState.scale`, half of the first watts being thought to be idle."""
    idle_w = power_w / 2 if state.prior.idle_w is None else max(state.prior.idle_w, 1e-3)
    of = [state.prior.variants[name] for name in state.names]
    scale = np.array([idle_w, *(one.call_j for one in of), *(one.item_j for one in of)])
    if not math.isfinite(window.busy_s):
        return power_w / 2, scale
    core_j = float(np.clip(power_w / 2 / max(window.busy_s / window.window_s, LEAST_CORES), *CORE_W))
    scale[1:] *= core_j / (state.prior.core_w or core_j)
    return core_j, scale


def with_window(pool: PoolState, window: PoolWindow, number: int) -> PoolState:
    """The pool with one more window held, or with none where joules are missing in it: at a new epoch of a device.

    A host whose busy seconds are no longer told has lost its meter, or has booted: what its replicas tell in the next
    SETTLES_S may be work whose joules nobody has told. Until then nothing is held.
    """
    if not window.epochs:
        return replace(pool, held=_added(pool.held, window), last=number)
    told = math.isfinite(window.busy_s)
    settles_s = SETTLES_S if pool.told and not told else max(0.0, pool.settles_s - window.window_s)
    anew = window.epochs != pool.epochs or settles_s > 0
    return replace(
        pool,
        held=nothing(pool) if anew else _added(pool.held, window),
        settles_s=settles_s,
        told=told,
        epochs=window.epochs,
        quality=window.quality,
        last=number,
        metered=number if window.metered else pool.metered,
    )


def nothing(pool: PoolState) -> Block:
    """A block that holds no window yet."""
    return no_block(len(pool.scale) // 2)


def no_block(variants: int) -> Block:
    """One that holds no window yet, of so many variants."""
    return Block(0.0, 0.0, np.zeros(2 * variants), 0.0, np.zeros(variants))


def _added(held: Block, window: PoolWindow) -> Block:
    return Block(
        held.energy_j + window.energy_j,
        held.window_s + window.window_s,
        held.used + window.used,
        held.busy_s + window.busy_s,
        held.own_s + window.own_s,
    )
