"""Every joule that a device's counter moved is billed once, whoever reads it and whatever dies meanwhile."""

import pytest
from billed_cluster import BilledCluster, Node
from hypothesis import given
from hypothesis import strategies as st
from metered_world import MOST_W, RANGE_J, Device, Sensor, World

from allocator.joules import DeviceJoules, Quality
from cluster.ledger.marks import Mark
from cluster.power import billing
from cluster.power.billing import FORGET_S, PATIENCE_S
from cluster.power.meter import HostId
from cluster.power.unwrap import TICK_S, Event

GPU = "GPU-0c1d"


def gpu() -> Device:
    return Device(GPU, GPU, "gpu", float("inf"), live=False, tick_s=TICK_S)


def two_hosts() -> BilledCluster:
    """Two nodes on a host with a GPU, one on another host."""
    web, db = World([Device(), gpu()]), World([Device(true_j=20.0)], HostId("boot-2", "db"))
    return BilledCluster([Node("node-1", web), Node("node-2", web), Node("node-3", db)])


def one_host() -> BilledCluster:
    world = World()
    return BilledCluster([Node("node-1", world), Node("node-2", world)])


# What may happen between two windows, and who is heard then. Bits stand for nodes.
HAPPENINGS = st.lists(
    st.tuples(
        st.sampled_from(["nothing", "meter dies", "node leaves", "node joins", "controller dies"]),
        st.integers(0, 2),
        st.floats(0.01, 2.5),
        st.floats(0, MOST_W),
        st.integers(0, 7) | st.just(7),
        st.booleans() | st.just(True),
        st.integers(0, 20),
    ),
    max_size=40,
)


@given(HAPPENINGS)
def test_whatever_happens_all_that_counters_moved_is_billed_once(
    happenings: list[tuple[str, int, float, float, int, bool, int]],
) -> None:
    """Reports that are lost, come twice or late; meters, nodes and controllers that die; windows never written."""
    cluster = two_hosts()
    cluster.window()
    for what, number, seconds, watts, mask, written, late in happenings:
        happen(cluster, what, cluster.nodes[number])
        cluster.run(seconds, watts)
        heard = [node for bit, node in enumerate(cluster.nodes) if mask >> bit & 1]
        again = [report for node in cluster.nodes for report in node.reports[late : late + 1]]
        cluster.window(heard, again, written)
        check(cluster)
    for node in cluster.nodes:
        node.start()
    cluster.run(PATIENCE_S + 1, 1.0)
    cluster.window()
    check(cluster)
    for name, counted in cluster.counted.items():
        assert counted[cluster.billing.tabs[name].billed.at_s] == counted[max(counted)], "it is billed to the end"


def happen(cluster: BilledCluster, what: str, node: Node) -> None:
    if what == "meter dies" or (what == "node joins" and node.meter is None):
        node.start()
    elif what == "node leaves":
        node.stop()
    elif what == "controller dies":
        cluster.restart()


def check(cluster: BilledCluster) -> None:
    """Billed is what was counted, less whole ranges where that is said."""
    for device in cluster.billing.tabs:
        short_j = cluster.owed_j(device) - cluster.billed_j(device)
        if device in cluster.gaps:
            assert short_j > -1e-6
            short_j = min(short_j % RANGE_J, -short_j % RANGE_J)
        assert short_j == pytest.approx(0.0, abs=1e-6)


def test_the_first_reading_of_a_device_bills_nothing() -> None:
    cluster = one_host()
    cluster.run(2.0, 50.0)
    (row,) = cluster.window()
    assert (row.energy_j, row.fresh, row.quality) == (0.0, False, Quality.MEASURED)
    cluster.run(1.0, 50.0)
    (row,) = cluster.window()
    assert row == DeviceJoules(
        device="web/package-0",
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
    assert cluster.billed_j("web/package-0") == pytest.approx(200.0)


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


@given(st.lists(st.tuples(st.floats(0.01, 4.0), st.integers(0, 3), st.integers(0, 20)), max_size=20))
def test_the_windows_of_a_device_add_up_to_the_time_that_passed(windows: list[tuple[float, int, int]]) -> None:
    cluster = one_host()
    cluster.window()
    began_s = cluster.worlds[0].at_s
    for seconds, mask, late in windows:
        cluster.run(seconds, 50.0)
        again = [report for node in cluster.nodes for report in node.reports[late : late + 1]]
        cluster.window([node for bit, node in enumerate(cluster.nodes) if mask >> bit & 1], again)
    cluster.run(1.0, 50.0)
    cluster.window()
    assert sum(row.window_s for row in cluster.rows) == pytest.approx(cluster.worlds[0].at_s - began_s)


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
    assert [(row.device, row.energy_j, row.fresh) for row in rows] == [("web/package-0", 0.0, False)]


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


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["nothing", "reset", "reload", "meter dies", "node leaves", "node joins"]),
            st.integers(0, 1),
            st.floats(0.1, 2.5),
            st.floats(0, MOST_W),
            st.integers(0, 3),
        ),
        max_size=20,
    )
)
def test_resets_and_reloads_never_bill_a_joule_that_was_not_drawn(
    happenings: list[tuple[str, int, float, float, int]],
) -> None:
    world = World([Device(range_j=float("inf"))])
    cluster = BilledCluster([Node("node-1", world), Node("node-2", world)])
    cluster.window()
    for number, (what, which, seconds, watts, mask) in enumerate(happenings):
        if what in ("reset", "reload"):
            world.devices[0].reset()
            world.devices[0].epoch = f"load-{number}" if what == "reload" else world.devices[0].epoch
        happen(cluster, what, cluster.nodes[which])
        cluster.run(seconds, watts)
        cluster.window([node for bit, node in enumerate(cluster.nodes) if mask >> bit & 1])
        assert cluster.billed_j("web/package-0") <= world.devices[0].true_j - 900.0 + 1e-6


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


def test_a_device_that_left_for_long_is_forgotten_with_its_host() -> None:
    cluster = two_hosts()
    cluster.window()
    cluster.run(FORGET_S + 1, 0.0)
    cluster.window(cluster.nodes[:2])
    assert sorted(cluster.billing.tabs) == [GPU, "web/package-0"]
    assert sorted(mark.device for mark in billing.marks(cluster.billing)) == [GPU, "web/package-0"]
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


def package_and_estimate() -> BilledCluster:
    """Two containers of a host: one may read its package, the other can only estimate; both come to the same."""
    package = Device()
    host = Device("host", kind="host", range_j=float("inf"), true_j=0.0)
    world = World([package, host])
    counting = Sensor(world, "rapl", Quality.MEASURED, [package])
    estimating = Sensor(world, "estimate", Quality.MODELLED, [host])
    return BilledCluster([Node("node-1", world, (counting,)), Node("node-2", world, (estimating,))])


def billed_j(cluster: BilledCluster) -> float:
    return sum(row.energy_j for row in cluster.rows)


def test_a_pool_is_billed_from_its_best_source_and_from_the_next_when_that_is_gone() -> None:
    cluster = package_and_estimate()
    cluster.window()
    sources = []
    for second in range(20):
        if second == 5:
            cluster.nodes[0].stop()
        if second == 14:
            cluster.nodes[0].start()
        cluster.run(1.0, 50.0)
        sources.append({row.source: row.energy_j for row in cluster.window()})
    assert [source for sourced in sources for source in sourced] == ["rapl"] * 10 + ["estimate"] * 5 + ["rapl"] * 5
    assert sources[10] == {"estimate": pytest.approx(300.0)}, "what was drawn while the other was waited for"
    assert billed_j(cluster) == pytest.approx(1000.0)


@given(HAPPENINGS)
def test_no_joule_of_a_pool_is_billed_from_two_sources(
    happenings: list[tuple[str, int, float, float, int, bool, int]],
) -> None:
    cluster = package_and_estimate()
    cluster.window()
    drawn_j = 0.0
    for what, number, seconds, watts, mask, written, _ in happenings:
        happen(cluster, what, cluster.nodes[number % 2])
        cluster.run(seconds, watts)
        drawn_j += seconds * watts
        cluster.window([node for bit, node in enumerate(cluster.nodes) if mask >> bit & 1], written=written)
        assert billed_j(cluster) <= drawn_j + 1e-6


def test_a_new_controller_waits_for_the_source_that_was_billed_before() -> None:
    cluster = package_and_estimate()
    cluster.window()
    cluster.restart()
    cluster.run(1.0, 50.0)
    assert cluster.window(cluster.nodes[1:]) == ()
    cluster.run(1.0, 50.0)
    (row,) = cluster.window()
    assert (row.source, row.energy_j) == ("rapl", pytest.approx(100.0))
    cluster.restart()
    cluster.nodes[0].stop()
    for _ in range(int(PATIENCE_S) + 3):
        cluster.run(1.0, 50.0)
        cluster.window()
    assert cluster.rows[-1].source == "estimate"
    assert billed_j(cluster) == pytest.approx(500.0)


def test_marks_are_what_a_ledger_needs_and_resume_takes() -> None:
    cluster = two_hosts()
    cluster.window()
    marks = billing.marks(cluster.billing)
    assert [mark.device for mark in marks] == [GPU, "db/package-0", "web/package-0"]
    assert marks[1] == Mark("db/package-0", "boot-2", "boot", pytest.approx(20.0), 100.0, cluster.now_s)
    assert billing.marks(billing.resume(marks)) == marks


def test_events_of_meters_are_counted_for_each_device() -> None:
    cluster = one_host()
    cluster.window()
    for _ in range(12):
        cluster.run(2.0, MOST_W)
        cluster.window()
    assert cluster.billing.events == {("web/package-0", Event.WRAP): 3}


def test_the_same_reports_again_bill_nothing() -> None:
    cluster = one_host()
    cluster.window()
    cluster.run(1.0, 50.0)
    reports = [node.report() for node in cluster.nodes]
    for _ in range(3):
        cluster.window([], reports)
    assert cluster.billed_j("web/package-0") == pytest.approx(50.0)
