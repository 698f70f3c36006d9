"""Joules of variants, learned online from what meters read and what replicas report.

Per pool and window: joules = idle watts x seconds + sum over variants of (call_j x calls + item_j x items) + noise.
Each pool has coefficients of its own: machines differ.

What the readings cannot tell stays as the prior has it. They cannot tell idle watts from a constant load of other
programs; variants that always run in the same proportion; calls from items while every run is alike. In those
directions the prior decides how a surprise is divided: what is believed less firmly takes more of it, and the errors
that all coefficients share by the prior (`Spread.common`) move those of variants that have not run yet as well.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from allocator.choice import Floats
from allocator.energy.belief import Belief, nonnegative, observed, relaxed
from allocator.energy.prior import Prior
from allocator.energy.windows import Gathered, Name, PoolWindow, gathered
from allocator.joules import DeviceJoules, Quality, Work

SILENT_WINDOWS = 3600
LEAST_NOISE = 0.005
LEAST_S = 1e-3


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
    belief   of coefficients over `scale`
    point    the likeliest coefficients that are not negative, over `scale`
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
    noise: float
    power_w: float
    per_s: Floats
    blocks: int
    held: Block | None
    epochs: Mapping[str, str]
    quality: Quality
    last: int

    @property
    def coefficients(self) -> Floats:
        """(1 + 2 V,) in watts and joules, >= 0."""
        return self.point * self.scale


@dataclass(frozen=True, slots=True, eq=False)
class EnergyState:
    """All pools that meters have told of, and the variants in the order of their coefficients."""

    prior: Prior
    names: tuple[Name, ...]
    spread: Floats
    pools: Mapping[str, PoolState] = field(default_factory=dict)
    windows: int = 0


@dataclass(frozen=True, slots=True)
class EnergyModel:
    """How joules are learned. `init` and `step` are pure.

    drift_per_h    standard deviation by which a variant's joules are thought to wander in an hour, as a share of them:
                   what makes old readings count less
    block_s        seconds of windows that are learned from together. Reports of work and of joules do not end at the
                   same instant; what one window lacks the next one has, and in a longer block it matters less
    longest_s      a block whose counters are not updated for so long is dropped
    start_noise    `PoolState.noise` to begin with
    learn_noise    weight of a block in its running mean
    """

    drift_per_h: float = 0.01
    block_s: float = 5.0
    longest_s: float = 300.0
    start_noise: float = 0.1
    learn_noise: float = 0.01

    def init(self, prior: Prior) -> EnergyState:
        """The state before the first window."""
        return EnergyState(prior, tuple(prior.variants), prior.covariance())

    def step(self, state: EnergyState, devices: Sequence[DeviceJoules], work: Sequence[Work]) -> EnergyState:
        """The state after one more window."""
        return self.learned(state, gathered(state.names, devices, work))

    def learned(self, state: EnergyState, window: Gathered) -> EnergyState:
        """As `step`, of a window that is gathered already in the order of `state.names`.

        A window of a pool is held back until all its counters are updated and the block is long enough. Held windows
        are dropped where joules are missing: at a new epoch, or when the pool's devices change.
        """
        number = state.windows + 1
        pools = {name: pool for name, pool in state.pools.items() if number - pool.last < SILENT_WINDOWS}
        for one in window.pools:
            known = pools.get(one.pool)
            if known is not None or (one.window_s >= LEAST_S and one.energy_j > 0):
                pools[one.pool] = self._told(state, known or self._begun(state, one), one, number)
        return replace(state, pools=pools, windows=number)

    def _begun(self, state: EnergyState, window: PoolWindow) -> PoolState:
        prior, power_w = state.prior, window.energy_j / window.window_s
        idle_w = power_w / 2 if prior.idle_w is None else max(prior.idle_w, 1e-3)
        of = [prior.variants[name] for name in state.names]
        scale = np.array([idle_w, *(one.call_j for one in of), *(one.item_j for one in of)])
        ones, nothing = np.ones(len(scale)), np.zeros(len(scale) - 1)
        belief = Belief(ones, state.spread)
        return PoolState(
            scale, belief, ones, self.start_noise, power_w, nothing, 0, None, window.epochs, window.quality, 0
        )

    def _told(self, state: EnergyState, pool: PoolState, window: PoolWindow, number: int) -> PoolState:
        held = pool.held
        if window.epochs:
            if window.epochs != pool.epochs:
                held = None
            pool = replace(pool, epochs=window.epochs, quality=window.quality)
        block = _added(held, window)
        if window.fresh and block.window_s >= max(self.block_s, LEAST_S):
            return replace(self._learned_block(state, pool, block), held=None, last=number)
        return replace(pool, held=block if block.window_s <= self.longest_s else None, last=number)

    def _learned_block(self, state: EnergyState, pool: PoolState, block: Block) -> PoolState:
        """Noise is taken as independent from second to second, and in proportion to the watts that are expected."""
        x = np.concatenate(([block.window_s], block.used)) * pool.scale
        expected_w = max(float(x @ pool.point) / block.window_s, pool.power_w / 2)
        unit = expected_w**2 * block.window_s
        grown = np.maximum(pool.point, 1.0)
        belief = relaxed(pool.belief, state.spread * np.outer(grown, grown), self._forgotten(state, block.window_s))
        belief, noise = observed(belief, x, block.energy_j, pool.noise**2 * unit)
        variance = pool.noise**2 + self.learn_noise * (noise / unit - pool.noise**2)
        weight = max(self.learn_noise, 1 / (pool.blocks + 1))
        power_w = pool.power_w + weight * (block.energy_j / block.window_s - pool.power_w)
        return replace(
            pool,
            belief=belief,
            point=nonnegative(belief),
            noise=float(np.clip(variance, LEAST_NOISE**2, 1.0) ** 0.5),
            power_w=power_w,
            per_s=pool.per_s + weight * (block.used / block.window_s - pool.per_s),
            blocks=pool.blocks + 1,
        )

    def _forgotten(self, state: EnergyState, seconds: float) -> float:
        """The share of the prior's variance that flows back, so that a known coefficient wanders by `drift_per_h`."""
        return min(self.drift_per_h**2 / float(state.spread[-1, -1]) * seconds / 3600, 1.0)


def _added(held: Block | None, window: PoolWindow) -> Block:
    if held is None:
        return Block(window.energy_j, window.window_s, window.used)
    return Block(held.energy_j + window.energy_j, held.window_s + window.window_s, held.used + window.used)
