"""Whatever dies, is lost, or comes twice: every joule that a device's counter moved is billed once."""

import pytest
from billed_cluster import PACKAGE, BilledCluster, Node, one_host, package_and_estimate, two_hosts
from hypothesis import given
from hypothesis import strategies as st
from metered_world import MOST_W, RANGE_J, Device, World

from cluster.power.billing import PATIENCE_S

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
        cluster.happen(what, cluster.nodes[number])
        cluster.run(seconds, watts)
        heard = cluster.masked(mask)
        again = cluster.late(late)
        cluster.window(heard, again, written)
        check(cluster)
    for node in cluster.nodes:
        node.start()
    cluster.run(PATIENCE_S + 1, 1.0)
    cluster.window()
    check(cluster)
    for name, counted in cluster.counted.items():
        assert counted[cluster.billing.tabs[name].billed.at_s] == counted[max(counted)], "it is billed to the end"


def check(cluster: BilledCluster) -> None:
    """Billed is what was counted, less whole ranges where that is said."""
    for device in cluster.billing.tabs:
        short_j = cluster.owed_j(device) - cluster.billed_j(device)
        if device in cluster.gaps:
            assert short_j > -1e-6
            short_j = min(short_j % RANGE_J, -short_j % RANGE_J)
        assert short_j == pytest.approx(0.0, abs=1e-6)


@given(st.lists(st.tuples(st.floats(0.01, 4.0), st.integers(0, 3), st.integers(0, 20)), max_size=20))
def test_the_windows_of_a_device_add_up_to_the_time_that_passed(windows: list[tuple[float, int, int]]) -> None:
    cluster = one_host()
    cluster.window()
    began_s = cluster.worlds[0].at_s
    for seconds, mask, late in windows:
        cluster.run(seconds, 50.0)
        again = cluster.late(late)
        cluster.window(cluster.masked(mask), again)
    cluster.run(1.0, 50.0)
    cluster.window()
    assert sum(row.window_s for row in cluster.rows) == pytest.approx(cluster.worlds[0].at_s - began_s)


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
        cluster.happen(what, cluster.nodes[which])
        cluster.run(seconds, watts)
        cluster.window(cluster.masked(mask))
        assert cluster.billed_j(PACKAGE) <= world.devices[0].true_j - 900.0 + 1e-6


@given(HAPPENINGS)
def test_no_joule_of_a_pool_is_billed_from_two_sources(
    happenings: list[tuple[str, int, float, float, int, bool, int]],
) -> None:
    cluster = package_and_estimate()
    cluster.window()
    drawn_j = 0.0
    for what, number, seconds, watts, mask, written, _ in happenings:
        cluster.happen(what, cluster.nodes[number % 2])
        cluster.run(seconds, watts)
        drawn_j += seconds * watts
        cluster.window(cluster.masked(mask), written=written)
        assert cluster.billed_j() <= drawn_j + 1e-6
