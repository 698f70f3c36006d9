"""A cap that holds for long under steady traffic: its average, and what is used of it second by second.

Where requests come by a Poisson process and each costs its own joules, no controller that has to price a second before
it begins can meet a cap in every single second. How near a perfect one would come is the floor, which is shown beside.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt

import numpy as np
from limits_phases import Look, Phase, Played, played
from limits_stand import Driven
from numpy.typing import NDArray

Floats = NDArray[np.float64]
WINDOWS = 50_000
WITHIN = 0.01
LEAST_SHARE = 0.02


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
    model      by how much they exceed those of the server's energy model, as far as that can be told
    """

    played: Played
    idle_w: float
    request_j: tuple[float, float]
    model: float
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
    joules = chain_joules(stand)
    chosen, each_j = mix(what.load.chains, joules)
    model = calibration(at, joules)
    each_j = each_j * model
    mean_j = float(chosen @ each_j)
    spread_j = sqrt(float(chosen @ (each_j - mean_j) ** 2))
    chance = drawn(what.phase.rate, chosen, each_j)
    idle_w = stand.idle_w
    return Steady(
        what,
        idle_w,
        (mean_j, spread_j),
        model,
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


def chain_joules(stand: Driven) -> dict[str, float]:
    """Of a request, by the server's own energy model as it is now."""
    return {
        chain["id"]: float(chain["cost"]["energy_j"] or 0.0)
        for chain in stand.get("/v1/chains", timeout_s=30)["chains"]
    }


def mix(chains: Mapping[str, int], joules: Mapping[str, float]) -> tuple[Floats, Floats]:
    """Shares (J,) of the chains that ran, and their joules (J,)."""
    counts = np.array(list(chains.values()), dtype=np.float64)
    return counts / max(counts.sum(), 1.0), np.array([joules[name] for name in chains])


def calibration(at: Look, joules: Mapping[str, float]) -> float:
    """By how much true joules of chains exceed the model's: between no cap and the cheapest chains, watts are known,
    and so is what ran. 1 where there is next to no difference between the two, by the meters or by the model."""
    free, least = mix(at.free.load.chains, joules), mix(at.least.load.chains, joules)
    modelled_w = at.free.phase.rate * float(free[0] @ free[1] - least[0] @ least[1])
    known = modelled_w > LEAST_SHARE * at.free_w and at.free_w - at.least_w > LEAST_SHARE * at.free_w
    return (at.free_w - at.least_w) / modelled_w if known else 1.0
