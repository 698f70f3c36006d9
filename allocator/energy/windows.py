"""What one window tells about each pool: what its devices drew, and what ran there."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from allocator.choice import Floats
from allocator.joules import DeviceJoules, Quality, Work, worst

Name = tuple[str, str]
"""Stage and variant."""
SERVING: Name = ("serving", "request")
"""Work around the models (HTTP, ingress, calls between replicas), as one more variant: calls are micro-batches, items
are requests."""
LONGEST_S = 300.0
"""Of a longer window, in which no controller was there, nobody knows what ran, nor how often counters have wrapped:
nothing is learned of it, and it may tell of more seconds than of joules."""


@dataclass(frozen=True, slots=True, eq=False)
class PoolWindow:
    """One pool's window. V variants, in the order of `Gathered.names`.

    energy_j  what its devices drew
    window_s  over how long
    fresh     meters spoke, and none of its devices' counters waits for an update
    epochs    of its devices, by device; empty where no meter spoke of the pool
    metered   a meter of its joules spoke, rather than an estimate from busy seconds
    gpu       whether it is a GPU whose own counter told: nothing but what is known here runs on it
    busy_s    for how long its processors worked, all of them added up; a GPU, the runs on it. NaN where nobody knows
    quality   the worst of the devices'
    used      (2 V,) calls, then items
    own_s     (V,) of `busy_s`, what replicas say that work of each variant took of processors; 0 where they say nothing
    """

    pool: str
    energy_j: float
    window_s: float
    fresh: bool
    epochs: Mapping[str, str]
    quality: Quality
    used: Floats
    own_s: Floats
    busy_s: float = math.nan
    metered: bool = True
    gpu: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Gathered:
    """All pools of a window, and `strange`: work of variants that are not among the `names`, so that none is lost."""

    names: tuple[Name, ...]
    pools: tuple[PoolWindow, ...]
    strange: tuple[Work, ...]


def gathered(names: Sequence[Name], devices: Iterable[DeviceJoules], work: Iterable[Work]) -> Gathered:
    """Joules and work of a window by pool. Several reports of one device or variant add up."""
    place = {name: at for at, name in enumerate(names)}
    of_pool: dict[str, list[DeviceJoules]] = defaultdict(list)
    for device in devices:
        of_pool[device.pool].append(device)
    used: dict[str, list[float]] = defaultdict(lambda: [0.0] * (2 * len(place)))
    ran_s: dict[str, float] = defaultdict(float)
    own_s: dict[str, list[float]] = defaultdict(lambda: [0.0] * len(place))
    strange = []
    for one in work:
        at = place.get((one.stage, one.variant))
        if at is None:
            strange.append(one)
        else:
            counts = used[one.pool]
            counts[at] += one.calls
            counts[at + len(place)] += one.items
            ran_s[one.pool] += one.busy_s
            own_s[one.pool][at] += one.cpu_s
    pools = of_pool.keys() | used.keys() | {one.pool for one in strange}
    windows = (_window(p, of_pool.get(p, []), used[p], own_s[p], ran_s.get(p, 0.0)) for p in sorted(pools))
    return Gathered(tuple(names), tuple(windows), tuple(strange))


def by_variant(work: Iterable[Work]) -> dict[Name, tuple[int, int, float]]:
    """Calls, items and busy seconds, all pools together."""
    total: dict[Name, tuple[int, int, float]] = {}
    for one in work:
        calls, items, busy_s = total.get((one.stage, one.variant), (0, 0, 0.0))
        total[one.stage, one.variant] = calls + one.calls, items + one.items, busy_s + one.busy_s
    return total


def _window(
    pool: str, devices: Sequence[DeviceJoules], used: Sequence[float], own_s: Sequence[float], ran_s: float
) -> PoolWindow:
    lasted: dict[str, float] = defaultdict(float)
    for device in devices:
        lasted[device.device] += device.window_s
    gpus = bool(devices) and all(device.kind == "gpu" for device in devices)
    return PoolWindow(
        pool=pool,
        energy_j=sum(device.energy_j for device in devices),
        window_s=max(lasted.values(), default=0.0),
        fresh=bool(devices) and all(device.fresh for device in devices),
        epochs={device.device: device.epoch for device in devices},
        quality=worst(device.quality for device in devices),
        used=np.array(used),
        own_s=np.zeros(len(own_s)) if gpus else np.array(own_s),
        busy_s=_busy_s(devices, ran_s),
        metered=any(device.source != "estimate" for device in devices),
        gpu=bool(devices) and all(_counts_alone(device) for device in devices),
    )


def _counts_alone(device: DeviceJoules) -> bool:
    return device.kind == "gpu" and device.quality is Quality.MEASURED


def _busy_s(devices: Sequence[DeviceJoules], ran_s: float) -> float:
    """Devices of one host tell the same seconds. Of a GPU nobody does, but nothing else is thought to run there."""
    if devices and all(device.kind == "gpu" for device in devices):
        return ran_s
    told: dict[tuple[bool, str], float] = defaultdict(float)
    for device in devices:
        told[device.fresh, device.device] += math.nan if device.busy_s is None else device.busy_s
    fresh = [busy_s for (fresh, _), busy_s in told.items() if fresh]
    if any(map(math.isnan, told.values())):
        return math.nan
    # One that was away and is back tells of all that time; what was there has told of it already.
    return min(fresh) if fresh else max(told.values(), default=math.nan)
