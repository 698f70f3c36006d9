"""A cap that holds for long under steady traffic: its average, and what is used of it second by second.

Where requests come by a Poisson process and each costs its own joules, no controller that has to price a second before
it begins can meet a cap in every single second. How near a perfect one would come is the floor, which is shown beside.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from limits_phases import THIRD, Look, Phase, Played, played
from limits_stand import Driven
from numpy.typing import NDArray

Floats = NDArray[np.float64]
WINDOWS = 50_000
WITHIN = 0.01


@dataclass(frozen=True)
class Held:
    """Of windows of a second, as shares of the limit.

    off          of their mean
    utilisation  mean of min(spend, limit) / limit
    overuse      mean of max(spend - limit, 0) / limit
    spread       standard deviation
    """

    off: float
    utilisation: float
    overuse: float
    spread: float

    @classmethod
    def of(cls, watts: Sequence[float] | Floats, limit_w: float) -> "Held":
        """Of these windows."""
        share = np.asarray(watts) / limit_w
        used, over = np.minimum(share, 1).mean(), np.maximum(share - 1, 0).mean()
        return cls(float(share.mean() - 1), float(used), float(over), float(share.std()))


@dataclass(frozen=True)
class Steady:
    """A long phase, of all watts and of those above the machine's true idle ones; beside each its floor.

    request_j  mean joules of a request of the chains that ran, and their standard deviation among requests
    """

    played: Played
    idle_w: float
    request_j: tuple[float, float]
    all: Held
    all_floor: Held
    above_idle: Held
    above_idle_floor: Held

    @property
    def off_floor(self) -> float:
        """Standard deviation of the whole phase's mean that chance alone brings, of all watts."""
        return self.all_floor.spread / sqrt(len(self.played.watts))

    @property
    def reached(self) -> bool:
        """Whether the average is within 1% of the cap."""
        return abs(self.all.off) <= WITHIN


def steady(stand: Driven, at: Look, cap_w: float, seconds: float) -> Steady:
    """Hold a cap that is held already."""
    what = played(stand, Phase("steady", seconds, cap_w, at.free.phase.rate))
    flops = chain_flops(stand)
    chosen, of = mix(what.load.chains, flops)
    each_j = request_joules(at, flops)(of)
    mean_j = float(chosen @ each_j)
    spread_j = sqrt(float(chosen @ (each_j - mean_j) ** 2))
    chance = drawn(what.phase.rate, chosen, each_j)
    idle_w = stand.idle_w
    return Steady(
        what,
        idle_w,
        (mean_j, spread_j),
        Held.of(what.watts, cap_w),
        Held.of(cap_w + chance, cap_w),
        Held.of(np.asarray(what.watts) - idle_w, cap_w - idle_w),
        Held.of(cap_w - idle_w + chance, cap_w - idle_w),
    )


def drawn(rate: float, chosen: Floats, joules: Floats, windows: int = WINDOWS, seed: int = 0) -> Floats:
    """Watts above what is expected, of seconds under a perfect price: all that chance does.

    chosen  (J,) share of the requests that take each chain, and `joules` of one of them

    The number of requests of a second is Poisson distributed with mean `rate`, and each takes its chain by itself:
    then those of chain j are Poisson distributed with mean `rate * chosen[j]`, independently of the others', and are
    drawn like this. The price is perfect if the expected spend is the limit, so what is expected is taken off. Not in
    it, though no controller can help it either: what varies between requests of one chain, and what other programs do.
    """
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rate * chosen, size=(windows, len(chosen)))
    return np.asarray((counts - rate * chosen) @ joules, dtype=np.float64)


def chain_flops(stand: Driven) -> dict[str, float]:
    """Of a request under each chain."""
    return {chain["id"]: float(chain["cost"]["flops"]) for chain in stand.get("/v1/chains", timeout_s=30)["chains"]}


def mix(chains: Mapping[str, int], flops: Mapping[str, float]) -> tuple[Floats, Floats]:
    """Shares (J,) of the chains that ran, and their FLOPs (J,)."""
    counts = np.array(list(chains.values()), dtype=np.float64)
    return counts / max(counts.sum(), 1.0), np.array([flops[name] for name in chains])


def request_joules(at: Look, flops: Mapping[str, float]) -> Callable[[Floats], Floats]:
    """True joules of a request by its FLOPs, from what was looked at; no energy model is asked.

    What a request takes without a cap follows from the watts at two rates, what FLOPs add to it from those of two mixes
    of chains at one rate: a straight line. Zero where the looks show next to nothing.
    """
    rate, free, least = at.free.phase.rate, mix(at.free.load.chains, flops), mix(at.least.load.chains, flops)
    mean, fewer = float(free[0] @ free[1]), float(least[0] @ least[1])
    free_j = max(0.0, at.free_w - (at.third_w or at.free_w)) / (rate * (1 - THIRD))
    per_flop = max(0.0, at.free_w - at.least_w) / (rate * (mean - fewer)) if mean > fewer else 0.0
    return lambda of: np.asarray(np.maximum(free_j + per_flop * (of - mean), 0.0))
