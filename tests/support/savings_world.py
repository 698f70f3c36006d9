"""A standing experiment whose truth is known: users who return, a policy that spares some, meters that scatter.

What a request costs follows from its chain. Users differ in which chain the policy gives them and in what they earn, so
requests of one user are alike in both. Joules are worked out by the real energy model, which learns the machine from
noisy readings while the experiment runs, and begins with a prior that is off.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from energy_world import DEMO
from numpy.typing import NDArray
from scipy.special import ndtr

from allocator.arms import HOLDBACK, POLICY, Assignment
from allocator.energy.model import EnergyModel
from allocator.energy.prior import Prior, Spread, VariantJoules
from allocator.energy.state import EnergyState
from allocator.energy.windows import Gathered, PoolWindow
from allocator.joules import Quality
from allocator.savings import GroupSums

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
POOL = "host/cpu"
CHAINS = (  # items of each variant of DEMO, the static chain first; recall tells them apart but little
    (0, 1000, 0, 400, 0, 0, 160, 1),
    (0, 1000, 0, 200, 0, 80, 0, 1),
    (1000, 0, 100, 0, 40, 0, 0, 1),
)
ITEM_FLOPS = np.array([1e4, 2e4, 2e5, 4e5, 1e6, 3e6, 6e6, 0.0])
TASTES, OF_TASTE = np.linspace(-2, 2, 5), np.array([0.1, 0.2, 0.4, 0.2, 0.1])
"""How much users want long chains, and how many users want so much."""
LOSES = np.array([0.0, 0.03, 0.12])
"""What a user of the strongest taste loses of its reward under each chain, as a share."""
IDLE_W, CLICKS, G_PER_J = 25.0, 0.3, 300 / 3.6e6
BELIEVED, LEAST_OF_PRIOR = Spread(common=0.25, variant=0.1, part=0.15), 0.2
"""How far the prior believes to be off, and is. Normal, it is hardly ever below zero."""


@dataclass(frozen=True)
class Truth:
    """What is expected of a request, by how often users of each kind ask."""

    energy_j: float
    flops: float
    grams: float
    reward: float


@dataclass(frozen=True)
class Look:
    """After a window: the sums as they are then, the truth about the requests in them, and what really happened.

    static, truth  what a request of the static chain takes, and what the policy's saves
    happened_j     true joules that the policy's requests saved, all of them together
    """

    sums: GroupSums
    static: Truth
    truth: Truth
    happened_j: float


@dataclass(frozen=True)
class Experiment:
    """One run.

    activity   exponent: the user of rank n asks in proportion to (n + 100)^-activity
    spread     standard deviation of the logarithm of what users earn
    nobody     share of requests without a user
    waves_h    in which the policy's prices rise and fall; within minutes they wander besides, as load does by `wander`
    late       windows until feedback is complete
    noise      relative standard deviation of a second's reading
    off        standard deviation of what the prior is off by as a whole
    drift_per_h  by which true joules wander
    """

    share: float = 0.02
    users: int = 10_000
    requests_per_s: float = 40.0
    windows: int = 240
    window_s: float = 30.0
    activity: float = 0.8
    spread: float = 0.7
    nobody: float = 0.05
    waves_h: float = 1.0
    wander: float = 0.3
    late: int = 10
    noise: float = 0.1
    off: float = BELIEVED.common
    drift_per_h: float = 0.01

    def run(self, seed: int) -> Iterator[Look]:
        """The experiment, window by window."""
        rng = np.random.default_rng(seed)
        crowd, machine = _Crowd(self, rng, seed), _Machine(self, rng)
        sums, waiting = GroupSums(), []
        expected, happened_j = np.zeros((4, 3)), 0.0
        for window in range(self.windows):
            asked = crowd.asked(window)
            work = machine.worked(asked.chains)
            sums = sums.decided(asked.arms, asked.groups, FLOPS[asked.chains], *work.accounted)
            waiting.append(asked)
            static, spared = work.true_j[0], work.true_j[0] - asked.odds @ work.true_j
            of_flops = FLOPS[0], FLOPS[0] - asked.odds @ FLOPS
            count = len(asked.arms)
            for at, (takes, saves) in enumerate(((static, spared), of_flops, (static * G_PER_J, spared * G_PER_J))):
                expected[at] += count, count * takes, count * saves
            if window >= self.late:
                old = waiting[window - self.late]
                sums = sums.matured(old.arms, old.groups, old.rewards)
                expected[3] += len(old.arms), len(old.arms) * old.earns, len(old.arms) * old.forgone
            happened_j += float((static - work.true_j[asked.chains[asked.arms == POLICY]]).sum())
            means = expected[:, 1:] / np.maximum(expected[:, :1], 1.0)
            yield Look(sums, Truth(*means[:, 0].tolist()), Truth(*means[:, 1].tolist()), happened_j)


@dataclass(frozen=True)
class _Asked:
    """Requests of a window.

    odds     (3,) expected share of each chain under the policy
    earns    expected reward of a request under the static chain, and `forgone` what it earns less under the policy
    """

    arms: Ints
    groups: Ints
    chains: Ints
    rewards: Floats
    odds: Floats
    earns: float
    forgone: float


class _Crowd:
    """Who asks, what the policy gives them, what they earn."""

    def __init__(self, world: Experiment, rng: np.random.Generator, seed: int) -> None:
        self.world, self.rng, self.assignment = world, rng, Assignment(world.share, str(seed))
        rank = np.arange(world.users)
        activity = (rank + 100.0) ** -world.activity
        self.cumulated = np.cumsum(activity) / activity.sum()
        self.taste = rng.choice(len(TASTES), world.users, p=OF_TASTE)
        self.busy = rank < world.users // 20
        self.busy_share = float(self.cumulated[self.busy.sum() - 1])
        self.strays = np.zeros(3)
        self.earns = np.exp(world.spread * rng.standard_normal(world.users) - world.spread**2 / 2)
        units = [self.assignment.of(user) for user in range(world.users)]
        self.arm, self.group = (np.array(part) for part in zip(*((u.arm, u.group) for u in units), strict=True))

    def asked(self, window: int) -> _Asked:
        """The requests of a window."""
        world, rng = self.world, self.rng
        keep = np.exp(-world.window_s / 120)
        self.strays = keep * self.strays + world.wander * (1 - keep**2) ** 0.5 * rng.standard_normal(3)
        count = int(rng.poisson(world.requests_per_s * world.window_s * np.exp(self.strays[2])))
        user = np.searchsorted(self.cumulated, rng.random(count))
        arms, groups = self.arm[user], self.group[user]
        for at in np.flatnonzero(rng.random(count) < world.nobody).tolist():
            unit = self.assignment.of(f"{window}-{at}")
            arms[at], groups[at] = unit.arm, unit.group
        taste, busy = self.taste[user], self.busy[user]
        table = self._odds(window)
        draws = rng.random(count)
        chains = (draws[:, None] > np.cumsum(table[busy.astype(int), taste], axis=1)[:, :2]).sum(axis=1)
        chains = np.where(arms == HOLDBACK, 0, chains)
        keeps = 1 - LOSES[:, None] * np.arange(len(TASTES)) / (len(TASTES) - 1)
        rewards = rng.poisson(CLICKS * self.earns[user] * keeps[chains, taste]).astype(float)
        of_kind = np.array([1 - self.busy_share, self.busy_share])[:, None] * OF_TASTE
        odds = np.einsum("bt,btj->j", of_kind, table)
        forgone = float(np.einsum("bt,btj,jt->", of_kind, table, 1 - keeps))
        return _Asked(arms, groups, chains, rewards, odds, CLICKS, CLICKS * forgone)

    def _odds(self, window: int) -> Floats:
        """(2, tastes, chains): how often the policy gives each kind of user each chain in that window."""
        phase = 2 * np.pi * window * self.world.window_s / 3600 / self.world.waves_h
        long, middle = 1.2 + 0.8 * np.sin(phase) + self.strays[0], -0.3 + 0.6 * np.cos(phase) + self.strays[1]
        score = TASTES - 0.4 * np.array([0.0, 1.0])[:, None]  # the busiest are the easiest to please
        static, lean = ndtr(score - max(long, middle)), ndtr(middle - score)
        return np.stack([static, 1 - static - lean, lean], axis=-1)


@dataclass(frozen=True)
class _Worked:
    """true_j (3,): of a request under each chain. accounted: energy_j (B,), static_j, error_j, grams_per_j."""

    true_j: Floats
    accounted: tuple[Floats, float, float, float]


class _Machine:
    """Draws joules, is metered, and has an energy model that learns from that."""

    def __init__(self, world: Experiment, rng: np.random.Generator) -> None:
        self.world, self.rng, self.model = world, rng, EnergyModel(block_s=world.window_s)
        self.call_j, self.item_j = (np.array([getattr(v, part) for v in DEMO]) for part in ("call_j", "item_j"))
        self.state: EnergyState = self.model.init(self._prior())
        self.crowded = 0.0

    def _prior(self) -> Prior:
        """Off as it believes to be: the truth is normal around it, but for its tail."""
        rng, believed, count = self.rng, BELIEVED, len(DEMO)
        own = believed.variant * rng.standard_normal(count) + believed.part * rng.standard_normal((2, count))
        true = np.maximum(1 + self.world.off * rng.standard_normal() + own, LEAST_OF_PRIOR)
        call_j, item_j = np.array([self.call_j, self.item_j]) / true
        joules = {v.name: VariantJoules(*of) for v, *of in zip(DEMO, call_j.tolist(), item_j.tolist(), strict=True)}
        idle_w = IDLE_W / max(1 + 0.3 * float(rng.standard_normal()), LEAST_OF_PRIOR)
        return Prior(joules, believed, Quality.ASSUMED, "simulated", idle_w=idle_w)

    def worked(self, chains: Ints) -> _Worked:
        """A window's work, accounted for by what was known before it; then its reading teaches."""
        world, rng = self.world, self.rng
        self.crowded = 0.95 * self.crowded + 0.3 * float(rng.standard_normal())
        rows = 8 * np.exp(self.crowded)
        use = np.concatenate([(ITEMS > 0) / rows, ITEMS], axis=1)
        wander = world.drift_per_h * (world.window_s / 3600) ** 0.5
        self.call_j, self.item_j = (
            j * np.exp(wander * rng.standard_normal(len(DEMO))) for j in (self.call_j, self.item_j)
        )
        true_j = use @ np.concatenate([self.call_j, self.item_j])
        share = np.bincount(chains, minlength=len(CHAINS)) / len(chains)
        accounted = self._accounted(use, share, chains)
        used = use[chains].sum(axis=0)
        drawn = IDLE_W * world.window_s + float(true_j[chains].sum())
        read = max(drawn * (1 + world.noise / world.window_s**0.5 * rng.standard_normal()), 0.0)
        window = PoolWindow(
            POOL, read, world.window_s, True, {"p0": "boot"}, Quality.MEASURED, used, np.zeros(len(used) // 2)
        )
        self.state = self.model.learned(self.state, Gathered(self.state.names, (window,), ()))
        return _Worked(true_j, accounted)

    def _accounted(self, use: Floats, share: Floats, chains: Ints) -> tuple[Floats, float, float, float]:
        pool = self.state.pools.get(POOL)
        if pool is None:
            return np.full(len(chains), np.nan), np.nan, np.nan, G_PER_J
        joules = use @ pool.coefficients[1:]
        more = (use[0] - share @ use) * pool.scale[1:]
        error_j = float(more @ pool.covariance[1:, 1:] @ more) ** 0.5
        return joules[chains], float(joules[0]), error_j, G_PER_J


ITEMS = np.array(CHAINS, float)
FLOPS = ITEMS @ ITEM_FLOPS
