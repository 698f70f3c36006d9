"""Simulated machines whose every joule is known: idle watts, joules of each variant, other programs, and bad meters."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter

from allocator.energy.prior import GUESSED, Prior, Spread, VariantJoules
from allocator.energy.windows import SERVING, Name
from allocator.joules import DeviceJoules, Quality, Work

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Variant:
    """True joules, and what chains ask of it: a share of requests that wanders, item numbers per request."""

    stage: str
    variant: str
    call_j: float
    item_j: float
    items: tuple[int, ...] = (1000,)

    @property
    def name(self) -> Name:
        return self.stage, self.variant


DEMO = (
    Variant("recall", "tower-s", 2e-3, 4e-6),
    Variant("recall", "tower-l", 3e-3, 8e-6),
    Variant("prerank", "ydnn-s", 4e-3, 6e-5, (100, 200, 400)),
    Variant("prerank", "ydnn-l", 6e-3, 1.2e-4, (100, 200, 400)),
    Variant("rank", "mlp", 5e-3, 3e-4, (20, 40, 80, 160)),
    Variant("rank", "din", 8e-3, 8e-4, (20, 40, 80, 160)),
    Variant("rank", "dien", 2e-2, 1.5e-3, (20, 40, 80, 160)),
    Variant(*SERVING, 1.5e-2, 6e-3, (1,)),
)


@dataclass(frozen=True)
class World:
    """One pool, window by window.

    noise          relative standard deviation of each reading
    wander         standard deviation of the logarithms of variants' shares, item numbers and requests a run
    drift_per_h    by which all true joules grow together
    changes_at     window from which true joules are `changes_by` times what they were
    stale          probability that a counter is not updated in a window
    others_w       watts of other programs while they run, `others_s` on and as long off
    late_s         work is reported so much after the joules, at most (uniform)
    load_wander    standard deviation of the logarithm of requests a second
    core_j         joules of a processor's busy second, where meters tell these; `resting_cores` work though nobody asks
                   anything, which is part of idle_w
    """

    variants: tuple[Variant, ...] = DEMO
    idle_w: float = 25.0
    requests_per_s: float = 250.0
    noise: float = 0.1
    wander: float = 1.0
    drift_per_h: float = 0.0
    changes_at: int | None = None
    changes_by: float = 1.0
    stale: float = 0.0
    others_w: float = 0.0
    others_s: int = 300
    late_s: float = 0.0
    load_wander: float = 0.5
    core_j: float | None = None
    resting_cores: float = 0.1
    window_s: float = 1.0
    pool: str = "host/cpu"

    def windows(self, count: int, seed: int) -> "History":
        """What happened in so many windows."""
        rng = np.random.default_rng(seed)
        requests = rng.poisson(self.requests_per_s * self.window_s * _wandering(rng, count, 1, self.load_wander)[:, 0])
        calls, items = self._work(rng, requests, count)
        growth = self.growth(np.arange(count))
        call_j, item_j = (np.array([getattr(v, part) for v in self.variants]) for part in ("call_j", "item_j"))
        of_variant = (calls * call_j + items * item_j) * growth[:, None]
        others = self.others_w * self.window_s * ((np.arange(count) // self.others_s) % 2)
        true = self.idle_w * self.window_s + of_variant.sum(axis=1) + others
        read = np.maximum(true * (1 + self.noise * rng.standard_normal(count)), 0.0)
        updated, late = rng.random(count) >= self.stale, _late(rng, self, count)
        return History(self, calls, items, of_variant, others, read, updated, late, self._busy(rng, of_variant, others))

    def _busy(self, rng: np.random.Generator, of_variant: Floats, others: Floats) -> Floats | None:
        """Busy seconds of each window: joules of a variant's are a tenth off those of another's."""
        if self.core_j is None:
            return None
        off = np.exp(0.1 * rng.standard_normal(len(self.variants)))
        worked = ((of_variant / off).sum(axis=1) + others) / self.core_j + self.resting_cores * self.window_s
        ticks: Floats = np.rint(100 * worked) / 100
        return ticks

    def growth(self, window: NDArray[np.int64]) -> Floats:
        """True joules in these windows over those at first."""
        changed = False if self.changes_at is None else window >= self.changes_at
        return (1 + self.drift_per_h * window * self.window_s / 3600) * np.where(changed, self.changes_by, 1.0)

    def _work(self, rng: np.random.Generator, requests: NDArray[np.int64], count: int) -> tuple[Floats, Floats]:
        stages = list(dict.fromkeys(variant.stage for variant in self.variants))
        calls, items = (np.zeros((count, len(self.variants))) for _ in range(2))
        rows = np.maximum(8 * _wandering(rng, count, 1, 0.7 * self.wander)[:, 0], 1.0)
        for stage in stages:
            at = [n for n, variant in enumerate(self.variants) if variant.stage == stage]
            share = _wandering(rng, count, len(at), self.wander)
            share /= share.sum(axis=1, keepdims=True)
            for place, of in zip(at, share.T, strict=True):
                served = rng.binomial(requests, of)
                calls[:, place] = np.ceil(served / rows)
                items[:, place] = served * self._items(rng, self.variants[place], count)
        return calls, np.rint(items)

    def _items(self, rng: np.random.Generator, variant: Variant, count: int) -> Floats:
        """Mean items of a request in each window."""
        weights = _wandering(rng, count, len(variant.items), self.wander)
        mean: Floats = (weights * variant.items).sum(axis=1) / weights.sum(axis=1)
        return mean

    def prior(self, off: float = 1.0, spread: Spread = GUESSED, seed: int | None = None, by: float = 0.5) -> Prior:
        """The true joules times `off`, and each with an error of its own (log-normal `by`) where a seed is given."""
        rng = np.random.default_rng(seed)

        def wrong(joules: float) -> float:
            return joules * off * (1.0 if seed is None else float(np.exp(by * rng.standard_normal())))

        variants = {v.name: VariantJoules(wrong(v.call_j), wrong(v.item_j)) for v in self.variants}
        core_w = None if self.core_j is None else 10.0
        return Prior(variants, spread, Quality.ASSUMED, "simulated", core_w=core_w)


@dataclass(frozen=True)
class History:
    """What truly happened, (T, V) each; and what was read."""

    world: World
    calls: Floats
    items: Floats
    of_variant: Floats
    others: Floats
    read: Floats
    updated: NDArray[np.bool_]
    late: Floats
    busy_s: Floats | None = None

    def __iter__(self) -> Iterator[tuple[list[DeviceJoules], list[Work]]]:
        """Per window what meters and replicas report."""
        waiting = 0.0
        for t, joules in enumerate(self.read.tolist()):
            waiting += joules
            fresh = bool(self.updated[t])
            busy_s = None if self.busy_s is None else float(self.busy_s[t])
            device = _device(self.world, waiting if fresh else 0.0, fresh, busy_s)
            waiting = 0.0 if fresh else waiting
            yield [device], self._reported(t)

    def _reported(self, t: int) -> list[Work]:
        """Work of the window that is reported in it: a replica's report lacks the end of it, and brings the last's."""
        here, before = 1 - self.late[t], self.late[t - 1] if t else 0.0
        last = max(t - 1, 0)
        calls = self.calls[t] * here + self.calls[last] * before
        items = self.items[t] * here + self.items[last] * before
        return [
            Work(variant.stage, variant.variant, self.world.pool, call, item, 0.0)
            for variant, call, item in zip(self.world.variants, calls.tolist(), items.tolist(), strict=True)
        ]

    def usual(self) -> Mapping[Name, tuple[float, float]]:
        """Mean calls and items a window of each variant."""
        means = zip(self.calls.mean(axis=0).tolist(), self.items.mean(axis=0).tolist(), strict=True)
        return {variant.name: mean for variant, mean in zip(self.world.variants, means, strict=True)}

    def shares(self) -> Mapping[Name, float]:
        """Each variant's share of all joules that variants drew."""
        total = self.of_variant.sum(axis=0)
        return {v.name: float(share) for v, share in zip(self.world.variants, total / total.sum(), strict=True)}


def _device(world: World, energy_j: float, fresh: bool, busy_s: float | None) -> DeviceJoules:
    return DeviceJoules(
        "host/package-0", world.pool, "node", "host", "package", "replay", Quality.MEASURED,
        energy_j, world.window_s, 0.0, "boot", fresh, busy_s,
    )  # fmt: skip


def _wandering(rng: np.random.Generator, count: int, width: int, size: float, minutes: float = 2.0) -> Floats:
    """Positive factors (count, width) whose logarithms stray by `size` and are forgotten in some minutes."""
    keep = np.exp(-1 / (60 * minutes))
    steps = rng.standard_normal((count, width)) * size * (1 - keep**2) ** 0.5
    steps[0] = rng.standard_normal(width) * size
    return np.exp(lfilter([1.0], [1.0, -keep], steps, axis=0))


def _late(rng: np.random.Generator, world: World, count: int) -> Floats:
    return rng.uniform(0, world.late_s / world.window_s, count) if world.late_s else np.zeros(count)
