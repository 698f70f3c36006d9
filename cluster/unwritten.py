"""Windows that could not be written yet, as one. Pure."""

from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from typing import TypeVar

from allocator.joules import DeviceJoules, PoolAccount, Share, WindowAccount

T = TypeVar("T")


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
