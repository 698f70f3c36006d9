"""Windows to write into ledgers, made up."""

from collections.abc import Sequence

from allocator.joules import DeviceJoules, PoolAccount, Quality, Share, WindowAccount

NODE, HOST, BOOT = "node-a", "host-a", "boot-1"
MIDNIGHT_S = 1_764_028_800  # 2025-11-25T00:00Z


def device(
    energy_j: float,
    name: str = "package-0",
    pool: str = "host-a/cpu",
    node: str = NODE,
    quality: Quality = Quality.MEASURED,
    counter_j: float = 0.0,
) -> DeviceJoules:
    return DeviceJoules(name, pool, node, HOST, "package", "rapl", quality, energy_j, 1.0, counter_j, BOOT)


def share(
    energy_j: float,
    stage: str = "rank",
    variant: str = "din",
    pool: str = "host-a/cpu",
    quality: Quality = Quality.MEASURED,
) -> Share:
    return Share(stage, variant, pool, 2, 100, energy_j, quality)


def pool_of(devices: Sequence[DeviceJoules], shares: Sequence[Share], idle_j: float = 0.0) -> PoolAccount:
    """Whatever is neither shared nor idle is unattributed."""
    energy_j = sum(one.energy_j for one in devices)
    left_j = energy_j - idle_j - sum(one.energy_j for one in shares)
    return PoolAccount(devices[0].pool, energy_j, idle_j, left_j, devices[0].quality)


def window(
    number: int,
    end_s: float = MIDNIGHT_S + 1.0,
    devices: Sequence[DeviceJoules] | None = None,
    shares: Sequence[Share] | None = None,
    pools: Sequence[PoolAccount] | None = None,
    idle_j: float = 4.0,
    requests: int = 10,
    items: int = 100,
    intensity: float | None = 300.0,
    intensity_quality: Quality = Quality.MEASURED,
    pue: float = 1.5,
    pue_quality: Quality = Quality.ASSUMED,
) -> WindowAccount:
    """One second in which a package drew 10 J: 4 idle, 5 for the ranker, 1 unattributed; unless told otherwise."""
    devices = (device(10.0),) if devices is None else tuple(devices)
    shares = (share(5.0),) if shares is None else tuple(shares)
    pools = ((pool_of(devices, shares, idle_j),) if devices else ()) if pools is None else tuple(pools)
    return WindowAccount(
        number=number,
        end_s=end_s,
        window_s=1.0,
        requests=requests,
        items=items,
        policy_version=7,
        devices=devices,
        shares=shares,
        pools=pools,
        intensity_g_per_kwh=intensity,
        intensity_quality=intensity_quality,
        pue=pue,
        pue_quality=pue_quality,
    )
