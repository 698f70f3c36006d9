"""What devices drew in a window, from the reports of all meters."""

import pytest
from billed_cluster import GPU, PACKAGE, BilledCluster, Node, gpu, one_host, two_hosts
from metered_world import MOST_W, RANGE_J, Sensor, World

from allocator.joules import DeviceJoules, Quality
from cluster.ledger.marks import Mark
from cluster.power import billing
from cluster.power.billing import FORGET_S
from cluster.power.meter import HostId
from cluster.power.unwrap import Event


def test_the_first_reading_of_a_device_bills_nothing() -> None:
    cluster = one_host()
    cluster.run(2.0, 50.0)
    (row,) = cluster.window()
    assert (row.energy_j, row.fresh, row.quality) == (0.0, False, Quality.MEASURED)
    cluster.run(1.0, 50.0)
    (row,) = cluster.window()
    assert row == DeviceJoules(
        device=PACKAGE,
        pool="web/cpu",
        node=row.node,
        host="web",
        kind="package",
        source="rapl",
        quality=Quality.MEASURED,
        energy_j=pytest.approx(50.0),
        window_s=1.0,
        counter_j=pytest.approx(50.0),
        epoch="boot",
    )


def test_a_device_that_two_nodes_read_is_billed_once_and_by_the_other_when_one_leaves() -> None:
    cluster = one_host()
    cluster.window()
    for _ in range(3):
        cluster.run(1.0, 50.0)
        (first,) = cluster.window()
    told = next(node for node in cluster.nodes if node.name == first.node)
    told.stop()
    cluster.run(1.0, 50.0)
    (row,) = cluster.window()
    assert row.node != first.node
    assert row.energy_j == pytest.approx(50.0)
    assert cluster.billed_j(PACKAGE) == pytest.approx(200.0)


def test_joules_that_no_meter_was_there_for_are_billed_when_one_is_back() -> None:
    cluster = one_host()
    cluster.window()
    for node in cluster.nodes:
        node.stop()
    for _ in range(6):
        cluster.run(1.0, 50.0)
        (row,) = cluster.window()
        assert (row.energy_j, row.window_s, row.fresh) == (0.0, 1.0, False)
    assert row.quality is Quality.MODELLED, "nobody knows what it draws"
    cluster.nodes[0].start()
    cluster.run(1.0, 50.0)
    (row,) = cluster.window()
    assert (row.energy_j, row.quality, row.fresh) == (pytest.approx(350.0), Quality.MEASURED, True)
    assert sum(row.window_s for row in cluster.rows) == pytest.approx(7.0)


def test_a_gap_in_which_the_counter_may_have_wrapped_once_more_is_billed_least_and_modelled() -> None:
    cluster = one_host()
    cluster.window()
    for node in cluster.nodes:
        node.stop()
    cluster.run(1.5 * RANGE_J / MOST_W, 10.0)
    for node in cluster.nodes:
        node.start()
    (row,) = cluster.window()
    assert (row.energy_j, row.quality) == (pytest.approx(150.0), Quality.MODELLED)
    assert cluster.billing.events[row.device, Event.GAP] == 1


def test_a_window_that_could_not_be_written_is_billed_by_the_next() -> None:
    cluster = one_host()
    cluster.window()
    cluster.run(1.0, 50.0)
    cluster.window(written=False)
    cluster.run(1.0, 50.0)
    (row,) = cluster.window()
    assert (row.energy_j, row.window_s) == (pytest.approx(100.0), pytest.approx(2.0))


def test_a_new_controller_goes_on_where_the_ledger_stands() -> None:
    cluster = one_host()
    cluster.window()
    cluster.run(1.0, 50.0)
    cluster.window()
    cluster.restart()
    cluster.run(3.0, 50.0)
    (row,) = cluster.window()
    assert (row.energy_j, row.window_s, row.fresh) == (pytest.approx(150.0), pytest.approx(3.0), True)
    assert cluster.billing.names == {"boot-1": "web"}


def test_a_host_that_booted_anew_meanwhile_begins_anew_under_its_name() -> None:
    cluster = one_host()
    cluster.window()
    cluster.restart()
    (world,) = cluster.worlds
    world.host, world.devices[0].epoch, world.at_s = HostId("boot-2", "web"), "next boot", world.at_s - 50.0
    world.devices[0].true_j += 500.0
    for node in cluster.nodes:
        node.start()
    rows = billing.step(cluster.billing, [cluster.nodes[0].report()], cluster.now_s + 60.0)[1]
    assert [(row.device, row.energy_j, row.fresh) for row in rows] == [(PACKAGE, 0.0, False)]


def test_after_a_reload_of_the_driver_nothing_is_billed_but_what_was_seen() -> None:
    cluster = two_hosts()
    cluster.window()
    device = cluster.worlds[0].devices[1]
    cluster.run(1.0, 50.0)
    device.epoch = "second load"
    device.reset()
    cluster.run(1.0, 70.0)
    cluster.run(1.0, 70.0)
    rows = {row.device: row for row in cluster.window()}
    assert rows[GPU].energy_j == pytest.approx(50.0 + 70.0), "not what was drawn between two readings across it"
    assert cluster.billing.events[GPU, Event.EPOCH] == 1


def test_a_device_that_left_has_no_rows_and_brings_joules_and_time_when_it_is_back() -> None:
    cluster = two_hosts()
    cluster.window()
    gone = cluster.nodes[2]
    for _ in range(8):
        cluster.run(10.0, 1.0)
        rows = cluster.window(cluster.nodes[:2])
    assert {row.host for row in rows} == {"web"}
    gone.start()
    cluster.run(1.0, 1.0)
    (row,) = (row for row in cluster.window() if row.host == "db")
    assert row.energy_j == pytest.approx(81.0)
    assert sum(row.window_s for row in cluster.rows if row.host == "db") == pytest.approx(81.0)


@pytest.mark.parametrize("minutes", [59, 60, 61, 150])
def test_a_device_that_its_meter_could_not_read_for_however_long_is_billed_for_all_of_it(minutes: int) -> None:
    world = World()
    sensor = Sensor(world)
    cluster = BilledCluster([Node("node-1", world, (sensor,))])
    cluster.window()
    for minute in range(minutes + 2):
        sensor.lost = minute < minutes
        cluster.run(60.0, 0.1)
        cluster.window()
    assert cluster.billed_j(PACKAGE) == pytest.approx(6.0 * (minutes + 2))


def test_a_device_that_left_for_long_is_forgotten_with_its_host() -> None:
    cluster = two_hosts()
    cluster.window()
    cluster.run(FORGET_S + 1, 0.0)
    cluster.window(cluster.nodes[:2])
    assert sorted(cluster.billing.tabs) == [GPU, PACKAGE]
    assert sorted(mark.device for mark in billing.marks(cluster.billing)) == [GPU, PACKAGE]
    assert cluster.billing.names == {"boot-1": "web"}


def test_a_counter_that_waits_for_its_update_is_not_fresh_and_bills_all_of_it_then() -> None:
    world = World([gpu()])
    cluster = BilledCluster([Node("node-1", world)])
    cluster.window()
    rows = []
    for _ in range(8):
        cluster.run(0.5, 40.0)
        rows += cluster.window()
    assert [(row.energy_j, row.fresh) for row in rows] == [(0.0, False), (pytest.approx(40.0), True)] * 4
    assert rows[0].device == rows[0].pool == GPU


def test_marks_are_what_a_ledger_needs_and_resume_takes() -> None:
    cluster = two_hosts()
    cluster.window()
    marks = billing.marks(cluster.billing)
    assert [mark.device for mark in marks] == [GPU, "db/package-0", PACKAGE]
    assert marks[1] == Mark("db/package-0", "boot-2", "boot", pytest.approx(20.0), 100.0, cluster.now_s)
    assert billing.marks(billing.resume(marks)) == marks


def test_events_of_meters_are_counted_for_each_device() -> None:
    cluster = one_host()
    cluster.window()
    for _ in range(12):
        cluster.run(2.0, MOST_W)
        cluster.window()
    assert cluster.billing.events == {(PACKAGE, Event.WRAP): 3}


def test_the_same_reports_again_bill_nothing() -> None:
    cluster = one_host()
    cluster.window()
    cluster.run(1.0, 50.0)
    reports = [node.report() for node in cluster.nodes]
    for _ in range(3):
        cluster.window([], reports)
    assert cluster.billed_j(PACKAGE) == pytest.approx(50.0)


def test_what_a_new_meter_counted_is_known_however_late_it_is_heard() -> None:
    """Its own wraps too, which the counter alone would not tell after so long."""
    cluster = one_host()
    cluster.window()
    cluster.nodes[1].stop()
    cluster.nodes[0].stop()
    cluster.run(1.0, MOST_W)
    cluster.nodes[0].start()
    for _ in range(15):
        cluster.run(2.0, MOST_W)
    (row,) = cluster.window()
    assert (row.energy_j, row.quality) == (pytest.approx(3100.0), Quality.MEASURED)
    assert cluster.billing.events == {(PACKAGE, Event.WRAP): 4}


def test_a_report_that_is_late_adds_no_time_twice() -> None:
    cluster = one_host()
    cluster.window()
    cluster.run(1.0, 50.0)
    for _ in range(3):
        cluster.window([])
        cluster.run(1.0, 50.0)
    cluster.window([], cluster.late(1))
    cluster.run(1.0, 50.0)
    cluster.window()
    assert sum(row.window_s for row in cluster.rows) == pytest.approx(5.0)
    assert cluster.billed_j(PACKAGE) == pytest.approx(250.0)


def test_an_update_that_was_long_in_coming_is_billed_though_the_meter_is_a_new_one() -> None:
    world = World([gpu(tick_s=10.0)])
    cluster = BilledCluster([Node("node-1", world)])
    cluster.window()
    for _ in range(9):
        cluster.run(1.0, 80.0)
        cluster.window()
    cluster.run(1.0, 80.0)
    cluster.nodes[0].start()
    (row,) = cluster.window()
    assert (row.energy_j, row.fresh) == (pytest.approx(800.0), True)


def test_what_another_meter_saw_after_a_reload_is_billed_when_the_first_one_is_gone() -> None:
    cluster = one_host()
    cluster.window()
    cluster.run(1.0, 50.0)
    (row,) = cluster.window()
    next(node for node in cluster.nodes if node.name == row.node).stop()
    (device,) = cluster.worlds[0].devices
    device.reset()
    device.epoch = "second load"
    for _ in range(7):
        cluster.run(1.0, 50.0)
        cluster.window()
    assert cluster.billed_j(PACKAGE) == pytest.approx(50.0 + 6 * 50.0), "all but the second of the reload"
