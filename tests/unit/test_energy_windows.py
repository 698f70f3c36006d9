"""What a window tells of each pool: above all for how long its processors worked."""

import math

import pytest
from energy_world import DEMO

from allocator.energy.windows import PoolWindow, gathered
from allocator.joules import DeviceJoules, Quality, Work

NAMES = tuple(variant.name for variant in DEMO)
CPU, GPU = "host/cpu", "GPU-1"


def device(busy_s: float | None, name: str = "p0", fresh: bool = True, **how: str) -> DeviceJoules:
    fixed = {"pool": CPU, "kind": "package", "source": "rapl"} | how
    told = {"quality": Quality.MEASURED, "energy_j": 50.0, "window_s": 1.0, "counter_j": 0.0, "epoch": "boot"}
    return DeviceJoules(device=name, node="n", host="h", fresh=fresh, busy_s=busy_s, **fixed, **told)


def pool_of(*devices: DeviceJoules, work: tuple[Work, ...] = ()) -> PoolWindow:
    (pool,) = gathered(NAMES, devices, work).pools
    return pool


def test_devices_of_a_host_tell_the_same_busy_seconds_and_the_fewest_count() -> None:
    """They are read one after another, so that one may tell of a moment more."""
    assert pool_of(device(1.02, "p0"), device(1.0, "p0/dram"), device(1.01, "p1")).busy_s == 1.0


def test_a_device_that_is_back_tells_of_all_the_time_it_was_away_and_that_is_not_counted_again() -> None:
    assert pool_of(device(1.0, "p0"), device(31.0, "p1")).busy_s == 1.0


def test_a_device_that_waits_for_news_does_not_hide_what_a_fresh_one_tells() -> None:
    assert pool_of(device(1.0, "p0"), device(0.0, "p1", fresh=False)).busy_s == 1.0


def test_while_all_devices_wait_for_an_update_the_one_that_was_heard_counts() -> None:
    waiting = pool_of(device(0.0, "p0", fresh=False), device(0.7, "p1", fresh=False))
    assert (waiting.busy_s, waiting.fresh) == (0.7, False)


def test_reports_of_one_device_add_up() -> None:
    assert pool_of(device(1.0), device(0.5)).busy_s == 1.5


@pytest.mark.parametrize("fresh", [True, False])
def test_where_nobody_knows_those_of_one_device_nobody_knows_those_of_the_pool(fresh: bool) -> None:
    assert math.isnan(pool_of(device(1.0, "p0"), device(None, "p1", fresh=fresh)).busy_s)


def test_without_a_device_nobody_knows_them() -> None:
    assert math.isnan(pool_of(work=(Work(*NAMES[0], CPU, 1, 1000, 0.3),)).busy_s)


def test_a_gpus_busy_seconds_are_those_of_the_runs_on_it_and_a_hosts_are_not() -> None:
    runs = [Work(*NAMES[0], pool, 1, 1000, busy_s) for pool, busy_s in ((GPU, 0.3), (CPU, 0.2), (GPU, 0.4))]
    of = gathered(NAMES, [device(None, GPU, pool=GPU, kind="gpu"), device(1.0)], runs).pools
    assert {pool.pool: pool.busy_s for pool in of} == pytest.approx({GPU: 0.7, CPU: 1.0})


def test_a_pool_is_metered_unless_all_that_is_known_of_it_is_an_estimate() -> None:
    estimate = device(1.0, "host", source="estimate", kind="host")
    assert not pool_of(estimate).metered
    assert pool_of(estimate, device(1.0)).metered
