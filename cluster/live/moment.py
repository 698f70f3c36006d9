"""One window as people are told of it, and the mean of several. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from allocator.choice import Floats, Ints
from allocator.joules import DeviceJoules
from cluster.live.actions import Actions
from cluster.snapshot import Standing
from cluster.took import quantiles_s

QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
MOST_DEVICES = 32
"""Lines that a chart of devices can still be read with; of more there is one for each host, and one for other hosts."""
OTHERS = "others"


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """A window.

    time_s     Unix time of its end
    power_w    None while unknown; `devices` by host and device
    predicted_per_s  predicted reward a second of the requests that a policy decided
    took       (BUCKETS,) answers by what they took
    own_j      joules that requests' own work is put down to, by the books closed in this window, and the requests
               `answered` in these; None where no books were closed
    standings  of constraints
    used       (A,) requests a second by action
    """

    time_s: float
    window_s: float
    requests_per_s: float
    decided_per_s: float
    degraded_per_s: Mapping[str, float]
    predicted_per_s: float
    took: Ints
    used: Floats
    power_w: float | None = None
    devices: Mapping[str, float | None] = field(default_factory=dict)
    own_j: float | None = None
    answered: int = 0
    g_per_kwh: float | None = None
    standings: tuple[Standing, ...] = ()


def mean(values: Iterable[tuple[float | None, float]]) -> float | None:
    """Of those that are known, each with its weight; None of none."""
    known = [(value, weight) for value, weight in values if value is not None]
    total = sum(weight for _, weight in known)
    return sum(value * weight for value, weight in known) / total if total > 0 else None


def latency_ms(took: Ints) -> dict[str, float] | None:
    """Quantiles by name; None without answers."""
    found = quantiles_s(took, tuple(QUANTILES.values()))
    return None if found is None else {name: 1e3 * one for name, one in zip(QUANTILES, found, strict=True)}


def joules_a_request(moments: Sequence[Moment]) -> float | None:
    """Of requests' own work, as the books have it; None without requests, or without books."""
    known = [one for one in moments if one.own_j is not None]
    answered = sum(one.answered for one in known)
    return sum(one.own_j or 0.0 for one in known) / answered if answered else None


def point_of(moments: Sequence[Moment], actions: Actions) -> dict[str, Any]:
    """The point of a chart that stands for these windows, one at least: means over their seconds, and quantiles of all
    their answers. Its time is that of the last one's end."""
    last, seconds = moments[-1], [one.window_s for one in moments]
    latency = latency_ms(np.sum([one.took for one in moments], axis=0))
    return {
        "time_s": last.time_s,
        "power_w": mean((one.power_w, one.window_s) for one in moments),
        "devices": _devices(moments),
        "requests_per_s": mean((one.requests_per_s, one.window_s) for one in moments),
        "degraded_per_s": mean((sum(one.degraded_per_s.values()), one.window_s) for one in moments),
        "latency_p50_ms": latency and latency["p50"],
        "latency_p99_ms": latency and latency["p99"],
        "reward_per_s": mean((one.predicted_per_s, one.window_s) for one in moments),
        "energy_j_per_request": joules_a_request(moments),
        "g_per_kwh": mean((one.g_per_kwh, one.window_s) for one in moments),
        "constraints": {one.name: _constraint(one, moments) for one in last.standings if one.limited},
        "mix": actions.shares(np.average([one.used for one in moments], axis=0, weights=seconds)),
    }


def watts_by_device(devices: Sequence[DeviceJoules]) -> dict[str, float | None]:
    """Mean watts of a window by host and device; of too many devices, by host. None where nothing is known yet."""
    watts = [(one, one.energy_j / one.window_s if one.fresh and one.window_s > 0 else None) for one in devices]
    named = _summed((_name(one), known) for one, known in watts)
    if len(named) <= MOST_DEVICES:
        return named
    hosts = _summed((one.host, known) for one, known in watts)
    if len(hosts) <= MOST_DEVICES:
        return hosts
    kept = sorted(hosts)[: MOST_DEVICES - 1]
    return _summed((host if host in kept else OTHERS, known) for host, known in hosts.items())


def _name(device: DeviceJoules) -> str:
    """Names of processors begin with the host's; those of GPUs do not."""
    return device.device if device.device.startswith(f"{device.host}/") else f"{device.host}/{device.device}"


def _summed(parts: Iterable[tuple[str, float | None]]) -> dict[str, float | None]:
    """By name; of a name of which only some is known, that."""
    sums: dict[str, float | None] = {}
    for name, watts in parts:
        before = sums.get(name)
        sums[name] = before if watts is None else watts + (before or 0.0)
    return sums


def _devices(moments: Sequence[Moment]) -> dict[str, float | None]:
    names = dict.fromkeys(name for one in moments for name in one.devices)
    return {name: mean((one.devices.get(name), one.window_s) for one in moments) for name in names}


def _constraint(newest: Standing, moments: Sequence[Moment]) -> dict[str, float | None]:
    """As its limit is now, with mean spend and price of the windows under that kind of it."""
    same = [
        (one, moment.window_s)
        for moment in moments
        for one in moment.standings
        if (one.name, one.unit) == (newest.name, newest.unit)
    ]
    return {
        "limit": newest.limit,
        "spend": mean((one.spend, seconds) for one, seconds in same),
        "price": mean((one.price, seconds) for one, seconds in same),
    }
