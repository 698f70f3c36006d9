"""A pool that several sources can tell of is billed from one of them at a time."""

import pytest
from billed_cluster import package_and_estimate

from cluster.power.billing import PATIENCE_S


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
    assert cluster.billed_j() == pytest.approx(1000.0)


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
    assert cluster.billed_j() == pytest.approx(500.0)


def test_after_a_window_that_one_source_alone_told_of_the_other_bills_none_of_it() -> None:
    cluster = package_and_estimate()
    counting, estimating = cluster.nodes
    cluster.window()
    for _ in range(3):
        cluster.run(1.0, 50.0)
        cluster.window([counting])
    counting.stop()
    for _ in range(int(PATIENCE_S) + 3):
        cluster.run(1.0, 50.0)
        cluster.window([estimating])
    assert cluster.rows[-1].source == "estimate"
    assert 150.0 < cluster.billed_j() <= 150.0 + 8 * 50.0 + 1e-6
