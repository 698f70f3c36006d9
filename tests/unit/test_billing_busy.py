"""Busy seconds of a window: what the host's processors worked between two readings, told once and of one boot."""

import math

import pytest
from billed_cluster import GPU, PACKAGE, BilledCluster, Node, gpu
from metered_world import Device, World

from allocator.energy.windows import gathered
from allocator.joules import DeviceJoules
from cluster.power import billing
from cluster.power.meter import HostId


def host(nodes: int = 1, *devices: Device) -> BilledCluster:
    world = World(list(devices) or [Device()], busy_s=1000.0)
    return BilledCluster([Node(f"node-{n}", world) for n in range(nodes)])


def windows(cluster: BilledCluster, *watts: float) -> list[DeviceJoules]:
    """A second at each of these watts, each a window; the first device's rows."""
    rows = []
    for each in watts:
        cluster.run(1.0, each)
        rows.append(cluster.window()[0])
    return rows


def test_a_window_has_the_seconds_between_its_readings_and_the_first_one_none() -> None:
    cluster = host()
    assert cluster.window()[0].busy_s is None
    assert [row.busy_s for row in windows(cluster, 50.0, 80.0)] == pytest.approx([0.5, 0.8])


def test_a_gpus_row_has_none() -> None:
    cluster = host(1, Device(), gpu())
    cluster.window()
    cluster.run(1.0, 50.0)
    assert {row.device: row.busy_s for row in cluster.window()} == {PACKAGE: pytest.approx(0.5), GPU: None}


def test_two_meters_of_a_host_tell_its_seconds_once() -> None:
    cluster = host(2)
    cluster.window()
    rows = windows(cluster, *[50.0] * 5)
    cluster.nodes[0].stop()
    rows += windows(cluster, *[50.0] * 5)
    assert math.fsum(row.busy_s or 0.0 for row in rows) == pytest.approx(5.0)


def test_while_nobody_hears_of_a_device_there_are_none_and_all_of_them_when_it_is_back() -> None:
    cluster = host()
    cluster.window()
    cluster.nodes[0].stop()
    away = windows(cluster, *[50.0] * 4)
    cluster.nodes[0].start()
    (back,) = windows(cluster, 50.0)
    assert [row.busy_s for row in away] == [0.0] * 4
    assert back.busy_s == pytest.approx(2.5)


def test_a_package_that_was_away_for_a_while_does_not_make_a_pool_busy_twice() -> None:
    cluster = host(1, Device("package-0"), Device("package-1"))
    cluster.window()
    (world,) = cluster.worlds
    told_s = 0.0
    for second in range(12):
        if second == 3:
            gone = world.devices.pop()
        if second == 8:
            world.devices.append(gone)
        cluster.run(1.0, 50.0)
        (pool,) = gathered((), cluster.window(), ()).pools
        told_s += pool.busy_s
    assert told_s == pytest.approx(12 * 0.5)


def test_after_a_restart_of_the_controller_nobody_knows_how_long_they_worked_meanwhile() -> None:
    cluster = host()
    cluster.window()
    windows(cluster, 50.0)
    cluster.restart()
    after = windows(cluster, 50.0, 50.0)
    assert after[0].fresh
    assert [row.busy_s for row in after] == [None, pytest.approx(0.5)]


def test_seconds_of_two_boots_are_not_subtracted() -> None:
    cluster = host()
    cluster.window()
    windows(cluster, 50.0)
    (world,) = cluster.worlds
    world.host, world.devices[0].epoch, world.at_s, world.busy_s = HostId("boot-2", "web"), "next boot", 5.0, 3.0
    cluster.nodes[0].start()
    rows = billing.step(cluster.billing, [cluster.nodes[0].report()], cluster.billing.at_s + 60.0)[1]
    assert [(row.device, row.busy_s) for row in rows] == [(PACKAGE, None)]


def test_a_kernel_that_stops_telling_leaves_nobody_to_know() -> None:
    cluster = host()
    cluster.window()
    windows(cluster, 50.0)
    cluster.worlds[0].busy_s = None
    assert [row.busy_s for row in windows(cluster, 50.0, 50.0)] == [None, None]
    cluster.worlds[0].busy_s = 1.0
    assert [row.busy_s for row in windows(cluster, 50.0, 50.0)] == [None, pytest.approx(0.5)]
