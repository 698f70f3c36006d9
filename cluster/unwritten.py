"""Windows that could not be written yet, as few as hold what they held. Pure."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from math import floor
from typing import TypeVar

from allocator.joules import DeviceJoules, PoolAccount, Share, WindowAccount
from allocator.limits import HOUR_S

T = TypeVar("T")
MOST = 200
"""Of more the two oldest are one: a ledger that is out of reach for weeks loses the hours, and no joule."""


def waiting(before: tuple[WindowAccount, ...], window: WindowAccount) -> tuple[WindowAccount, ...]:
    """The windows that wait, in order, and one more. Their numbers follow each other from that of the first.

    Those that began in one hour, on one grid and in one building are one: sums by hour, and their grams, come out as
    if each had been written in its time.
    """
    first = before[0].number if before else window.number
    if before and _footing(before[-1]) == _footing(window):
        kept = (*before[:-1], joined(before[-1], window))
    else:
        kept = (*before, window)
    if len(kept) > MOST:
        kept = (joined(kept[0], kept[1]), *kept[2:])
    return tuple(replace(one, number=first + at) for at, one in enumerate(kept))


def _footing(one: WindowAccount) -> Hashable:
    hour = floor((one.end_s - one.window_s) / HOUR_S)
    return hour, one.intensity_g_per_kwh, one.intensity_quality, one.pue, one.pue_quality


def joined(before: WindowAccount | None, after: WindowAccount) -> WindowAccount:
    """A window and the next one as one: sums, with all else as it is in the later one.

    What is known differently well stays apart, and so do a device's joules that nobody may add: of two epochs.
    """
    if before is None:
        return after
    return replace(
        after,
        window_s=before.window_s + after.window_s,
        requests=before.requests + after.requests,
        items=before.items + after.items,
        devices=_merged((*before.devices, *after.devices), _device, _devices),
        shares=_merged((*before.shares, *after.shares), _share, _shares),
        pools=_merged((*before.pools, *after.pools), lambda one: (one.pool, one.quality), _pools),
    )


def _merged(parts: Iterable[T], key: Callable[[T], Hashable], added: Callable[[T, T], T]) -> tuple[T, ...]:
    found: dict[Hashable, T] = {}
    for part in parts:
        known = found.get(key(part))
        found[key(part)] = part if known is None else added(known, part)
    return tuple(found.values())


def _device(one: DeviceJoules) -> Hashable:
    return one.device, one.pool, one.node, one.host, one.kind, one.source, one.quality, one.epoch


def _devices(one: DeviceJoules, later: DeviceJoules) -> DeviceJoules:
    return replace(
        later,
        energy_j=one.energy_j + later.energy_j,
        window_s=one.window_s + later.window_s,
        fresh=one.fresh or later.fresh,
    )


def _share(one: Share) -> Hashable:
    return one.stage, one.variant, one.pool, one.quality


def _shares(one: Share, later: Share) -> Share:
    return replace(
        later, calls=one.calls + later.calls, items=one.items + later.items, energy_j=one.energy_j + later.energy_j
    )


def _pools(one: PoolAccount, later: PoolAccount) -> PoolAccount:
    return replace(
        later,
        energy_j=one.energy_j + later.energy_j,
        idle_j=one.idle_j + later.idle_j,
        unattributed_j=one.unattributed_j + later.unattributed_j,
    )
