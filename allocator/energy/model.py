"""Joules of variants, learned online from what meters read and what replicas report.

Per pool and window: joules = idle watts x seconds + sum over variants of (call_j x calls + item_j x items) + noise.
Each pool has coefficients of its own: machines differ.

Windows are put together to blocks, and each block tells two things where the host tells for how long its processors
worked:

- its joules above idle follow the processors' busy seconds, whoever kept them busy: joules = idle watts x seconds +
  joules of a busy second x (busy seconds - what works at rest). This tells idle watts, even under a load that never
  varies, and without any work report;
- its joules above idle are those of the work that was reported and of other programs. This tells the joules of
  variants. What other programs draw follows the busy seconds that replicas do not claim for their work; where these
  claim none, or joules do not follow busy seconds, it is followed as a background.

And where replicas count how long each variant kept processors busy, a variant draws what so many busy seconds do, to
within a fifth (`allocator.energy.own_seconds`): whoever works, a busy processor draws about the same. This parts
variants that always run together, which no meter can.

A GPU's busy seconds are those of the runs on it. Where nobody knows them, as in a recording, idle watts are told by
load that varies, and by nothing else.

What the readings cannot tell stays as the prior has it: variants that always run in the same proportion; calls from
items while every run is alike; work from other programs that always run, or that rise and fall with it, since both keep
the same processors busy; idle watts from what works at rest, by `RESTING`. In those directions the prior decides how a
surprise is divided: what is believed less firmly takes more of it, and the errors that all coefficients share by the
prior (`Spread.common`) move those of variants that have not run yet as well. Every request is recalled once, over the
whole index, and served once: what those two draw can be told apart hardly at all.

Load of other programs that comes and goes in minutes is followed as a background (`allocator.energy.background`) that
is never less than nothing: what is drawn while they pause tells what the work draws. That is learned slowly; what comes
and goes within a minute, or never pauses, ends up in the joules of variants for the most part.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from allocator.energy.background import faded, raised
from allocator.energy.belief import Belief, nonnegative, observed, relaxed
from allocator.energy.own_seconds import by_own_s
from allocator.energy.prior import Prior
from allocator.energy.state import (
    CORE,
    RESTING,
    RESTING_CORES,
    EnergyState,
    PoolState,
    begun,
    initial,
    nothing,
    with_window,
)
from allocator.energy.windows import LONGEST_S, Gathered, PoolWindow, gathered
from allocator.joules import DeviceJoules, Work

SILENT_WINDOWS = 3600
LEAST_NOISE = 0.005
LEAST_S = 1e-3
LEAST_POOLS = 8
ODD_BLOCKS = 40
TRUSTED_NOISE = 0.2
"""With more `PoolState.busy_noise` joules do not follow busy seconds, which then do not tell what others draw."""


@dataclass(frozen=True, slots=True)
class EnergyModel:
    """How joules are learned. `init` and `step` are pure.

    drift_per_h    standard deviation by which a variant's joules are thought to wander in an hour, as a share of them:
                   what makes old readings count less
    block_s        seconds of windows that are learned from together. Reports of work and of joules do not end at the
                   same instant; what one window lacks the next one has, and in a longer block it matters less
    longest_s      a longer block is dropped
    most_pools     that a step learns from; the others' blocks grow by a window meanwhile, and fall out of step. Where
                   fewer at a time are enough for all to have their turn in `block_s` it is these, LEAST_POOLS or more,
                   so that no step takes longer than others
    doubt          share of what is known that is forgotten when other devices tell of a pool than before, or ODD_BLOCKS
                   in a row cannot be explained: the machine is not what it was
    start_noise    `PoolState.noise` to begin with, `start_gpu_noise` that of a GPU, on which nobody else works (an
                   H200's seconds scatter by 0.15%), and `start_busy_noise` `PoolState.busy_noise`
    start_blocks   of how many blocks that is thought to be the mean: a noise that is taken for larger than it is makes
                   all that is learned, and the error of savings, look less sure than it is
    learn_noise    weight of a block in its running mean, at least
    """

    drift_per_h: float = 0.01
    block_s: float = 15.0
    longest_s: float = LONGEST_S
    most_pools: int = 32
    doubt: float = 0.25
    start_noise: float = 0.1
    start_gpu_noise: float = 0.02
    start_busy_noise: float = 0.03
    start_blocks: int = 20
    learn_noise: float = 0.01

    def init(self, prior: Prior) -> EnergyState:
        """The state before the first window."""
        return initial(prior)

    def step(self, state: EnergyState, devices: Sequence[DeviceJoules], work: Sequence[Work]) -> EnergyState:
        """The state after one more window."""
        return self.learned(state, gathered(state.names, devices, work))

    def learned(self, state: EnergyState, window: Gathered) -> EnergyState:
        """As `step`, of a window that is gathered already in the order of `state.names`.

        A window of a pool is held back until all its counters are updated and the block is long enough. Held windows
        are dropped where joules are missing: at a new epoch, or when the pool's devices change. An estimate that stands
        in for meters teaches nothing for SILENT_WINDOWS, since it knows less than they have taught.
        """
        number = state.windows + 1
        pools = {name: pool for name, pool in state.pools.items() if number - pool.last < SILENT_WINDOWS}
        due = []
        for one in window.pools:
            pool = self._with_window(state, pools.get(one.pool), one, number)
            if pool is None:
                continue
            pools[one.pool] = pool
            if pool.held.window_s > self.longest_s:
                pools[one.pool] = replace(pool, held=nothing(pool))
            elif one.fresh and pool.held.window_s >= max(min(self.block_s, 1.0 + pool.blocks), LEAST_S):
                due.append(one.pool)
        for name in sorted(due, key=lambda name: -pools[name].held.window_s)[: self._turns(window)]:
            pools[name] = self._learned_block(state, pools[name])
        return replace(state, pools=pools, windows=number)

    def _turns(self, window: Gathered) -> int:
        """How many pools a step learns from."""
        window_s = max((one.window_s for one in window.pools), default=0.0)
        evenly = math.ceil(len(window.pools) * min(window_s / max(self.block_s, LEAST_S), 1.0))
        return min(max(evenly, LEAST_POOLS), self.most_pools)

    def _with_window(
        self, state: EnergyState, pool: PoolState | None, window: PoolWindow, number: int
    ) -> PoolState | None:
        """The pool with that window held; None as long as nothing can be known of it."""
        if pool is None:
            # Its joules may be those of windows before, which nobody has told of.
            if window.fresh and window.window_s >= LEAST_S and window.energy_j > 0:
                noise = self.start_gpu_noise if window.gpu else self.start_noise
                return begun(state, window, noise, self.start_busy_noise, number)
            return None
        stands_in = window.epochs and not window.metered
        if stands_in and pool.metered is not None and number - pool.metered < SILENT_WINDOWS:
            return replace(pool, held=nothing(pool), last=number)
        if window.epochs and window.epochs.keys() != pool.epochs.keys():
            pool = replace(pool, belief=self._doubted(state, pool, self.doubt))
        return with_window(pool, window, number)

    def _learned_block(self, state: EnergyState, pool: PoolState) -> PoolState:
        """Noise is taken as independent from second to second, and in proportion to the watts that are expected."""
        block, seconds = pool.held, pool.held.window_s
        x = np.concatenate(([seconds], block.used)) * pool.scale
        expected_w = max(float(x @ pool.point) / seconds, pool.power_w / 2, LEAST_NOISE * pool.first_w)
        unit = expected_w**2 * seconds
        belief, busy_noise = self._by_busy_s(pool, self._before(state, pool, expected_w, seconds), unit)
        if busy_noise < TRUSTED_NOISE:
            belief = by_own_s(pool, belief, state.names)
        row = np.concatenate((x, [0.0, 0.0, seconds * pool.first_w]))
        if (others_s := block.others_s) is not None and busy_noise < TRUSTED_NOISE:
            row[CORE], row[RESTING], row[-1] = others_s * pool.core_j, -RESTING_CORES * seconds * pool.core_j, 0.0
        belief, noise = observed(belief, row, block.energy_j, pool.noise**2 * unit + self._by_others(pool, belief))
        residual = (block.energy_j - float(row[:-1] @ belief.mean[:-1])) / (expected_w * seconds)
        weight = max(self.learn_noise, 1 / (pool.blocks + 1))
        told = max(self.learn_noise, 1 / (pool.blocks + 1 + self.start_blocks))
        variance = pool.noise**2 + told * (noise / unit - pool.noise**2)
        power_w = pool.power_w + weight * (block.energy_j / block.window_s - pool.power_w)
        if math.isfinite(block.busy_s):
            belief = raised(belief)
        return replace(
            pool,
            belief=belief,
            point=nonnegative(Belief(belief.mean[:-1], belief.covariance[:-1, :-1]))[: len(x)],
            residuals=pool.residuals.after(residual, pool.noise / seconds**0.5),
            noise=_deviation(variance),
            busy_noise=busy_noise,
            power_w=power_w,
            per_s=pool.per_s + weight * (block.used / block.window_s - pool.per_s),
            blocks=pool.blocks + 1,
            held=nothing(pool),
        )

    def _by_busy_s(self, pool: PoolState, belief: Belief, unit: float) -> tuple[Belief, float]:
        """The belief after what the processors' busy seconds tell, where they are known; and `PoolState.busy_noise`."""
        block, noise = pool.held, pool.busy_noise
        if not math.isfinite(block.busy_s):
            return belief, noise
        row = np.zeros(len(belief.mean))
        row[0] = block.window_s * pool.scale[0]
        row[CORE], row[RESTING] = block.busy_s * pool.core_j, -RESTING_CORES * block.window_s * pool.core_j
        belief, found = observed(belief, row, block.energy_j, noise**2 * unit)
        weight = max(self.learn_noise, 1 / (pool.blocks + 3))
        return belief, _deviation(noise**2 + weight * (found / unit - noise**2))

    def _by_others(self, pool: PoolState, belief: Belief) -> float:
        """Variance of what other programs may have drawn while nothing ran here: all that processors did, may be."""
        if pool.held.used.any() or not math.isfinite(pool.held.busy_s):
            return 0.0
        return float(pool.held.busy_s * pool.core_j * belief.mean[CORE]) ** 2

    def _before(self, state: EnergyState, pool: PoolState, expected_w: float, seconds: float) -> Belief:
        """What is believed when a block ends, before its joules are read."""
        lost = pool.residuals.odd > 0 and pool.residuals.odd % ODD_BLOCKS == 0
        belief = self._doubted(state, pool, self.doubt if lost else self._forgotten(state, seconds))
        return faded(belief, pool.residuals.background * (expected_w / pool.first_w) ** 2, seconds)

    def _doubted(self, state: EnergyState, pool: PoolState, share: float) -> Belief:
        grown = np.maximum(np.concatenate((pool.point, pool.belief.mean[[CORE, RESTING]], [1.0])), 1.0)
        return relaxed(pool.belief, state.spread * np.outer(grown, grown), share)

    def _forgotten(self, state: EnergyState, seconds: float) -> float:
        """The share of the prior's variance that flows back, so that a known coefficient wanders by `drift_per_h`."""
        return min(self.drift_per_h**2 / float(state.spread[1, 1]) * seconds / 3600, 1.0)


def _deviation(variance: float) -> float:
    return float(np.clip(variance, LEAST_NOISE**2, 1.0) ** 0.5)
