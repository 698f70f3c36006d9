"""When meters are lost or stand still, the estimate beside them takes over for what it was worth, and gives way."""

from dataclasses import dataclass

import pytest
from billed_cluster import BilledCluster, Node, package_and_estimate
from hypothesis import given
from hypothesis import strategies as st
from metered_world import MOST_W, Device, Sensor, World

from allocator.joules import DeviceJoules, Quality
from cluster.power.billing import PATIENCE_S
from cluster.power.meter import STALE_S
from cluster.power.stand_in import FADES_S, Compared, compared
from cluster.power.tabs import Moved
from cluster.power.unwrap import Event


@dataclass
class Off(Device):
    """A device whose counter counts so many times what is drawn."""

    factor: float = 1.0

    def run(self, at_s: float, seconds: float, watts: float) -> None:
        super().run(at_s, seconds, self.factor * watts)


class Lossy(BilledCluster):
    """Hosts whose only meter reads the package, and estimates so many times too much beside it."""

    def __init__(self, factor: float = 3.0, nodes: int = 1) -> None:
        self.package = Off()
        guess = Off("host", kind="host", range_j=float("inf"), most_w=10 * MOST_W, true_j=0.0, factor=factor)
        world = World([self.package, guess])
        self.counting = [Sensor(world, "rapl", Quality.MEASURED, [self.package]) for _ in range(nodes)]
        estimating = Sensor(world, "estimate", Quality.ASSUMED, [guess])
        super().__init__(Node(f"node-{n}", world, (one, estimating)) for n, one in enumerate(self.counting))
        self.drawn_j = 0.0
        self.window()

    def go(self, windows: int, watts: float = 50.0) -> list[DeviceJoules]:
        """So many seconds pass, each a window; the rows of the last."""
        rows: tuple[DeviceJoules, ...] = ()
        for _ in range(windows):
            self.run(1.0, watts)
            self.drawn_j += watts
            rows = self.window()
        return list(rows)

    def lose(self, lost: bool = True) -> None:
        for sensor in self.counting:
            sensor.lost = lost


def test_while_meters_are_read_nothing_is_billed_from_the_estimate() -> None:
    cluster = Lossy()
    cluster.go(20)
    assert {row.source for row in cluster.rows} == {"rapl"}
    assert cluster.billed_j() == pytest.approx(cluster.drawn_j)


def test_when_meters_are_lost_the_estimate_is_billed_for_what_it_was_worth_and_quality_falls_to_modelled() -> None:
    cluster = Lossy(factor=3.0)
    cluster.go(20)
    cluster.lose()
    cluster.go(int(PATIENCE_S))
    (row,) = cluster.go(10)
    assert (row.source, row.quality, row.fresh) == ("estimate", Quality.MODELLED, True)
    assert row.energy_j == pytest.approx(50.0)
    assert cluster.billed_j() == pytest.approx(cluster.drawn_j), (
        "what was drawn while the meters were waited for as well"
    )


def test_when_meters_are_back_they_are_billed_again_and_no_joule_twice() -> None:
    cluster = Lossy(factor=0.2)
    cluster.go(20)
    for _ in range(3):
        cluster.lose()
        cluster.go(15)
        cluster.lose(False)
        (row,) = cluster.go(2)
        assert (row.source, row.quality) == ("rapl", Quality.MEASURED)
        assert row.energy_j == pytest.approx(50.0)
    assert cluster.billed_j() == pytest.approx(cluster.drawn_j)


@pytest.mark.parametrize("minutes", [58, 59, 60, 61, 62, 150])
def test_however_long_the_estimate_stood_in_the_joules_of_that_time_are_not_billed_again(minutes: int) -> None:
    cluster = Lossy(factor=0.2)
    cluster.go(20, watts=0.1)
    cluster.lose()
    for minute in range(minutes + 5):
        cluster.lose(minute < minutes)
        cluster.run(60.0, 0.1)
        cluster.drawn_j += 6.0
        cluster.window()
    assert cluster.rows[-1].source == "rapl"
    assert cluster.billed_j() == pytest.approx(cluster.drawn_j)


def test_a_meter_that_is_lost_for_a_moment_is_waited_for_and_has_counted_on() -> None:
    cluster = Lossy()
    cluster.go(10)
    cluster.lose()
    cluster.go(int(PATIENCE_S) - 1)
    cluster.lose(False)
    cluster.go(1)
    assert {row.source for row in cluster.rows} == {"rapl"}
    assert cluster.billed_j() == pytest.approx(cluster.drawn_j)


def test_a_counter_that_stands_still_gives_way_to_the_estimate_until_it_moves() -> None:
    cluster = Lossy(factor=0.5)
    cluster.go(30)
    cluster.package.factor = 0.0
    waiting = cluster.go(int(STALE_S) + 1)
    assert [(row.source, row.quality, row.fresh) for row in waiting] == [("rapl", Quality.MODELLED, False)]
    (row,) = cluster.go(int(PATIENCE_S) + 2)
    assert (row.source, row.quality, row.energy_j) == ("estimate", Quality.MODELLED, pytest.approx(50.0))
    cluster.package.factor = 1.0
    (row,) = cluster.go(2)
    assert (row.source, row.energy_j) == ("rapl", pytest.approx(50.0))


def test_an_estimate_that_was_never_seen_beside_meters_is_taken_as_it_is() -> None:
    """Also after a restart of the controller: the ledger does not keep what it was worth."""
    cluster = Lossy(factor=3.0)
    cluster.go(5)
    cluster.lose()
    cluster.restart()
    (row,) = cluster.go(int(PATIENCE_S) + 5)
    assert (row.source, row.quality, row.energy_j) == ("estimate", Quality.ASSUMED, pytest.approx(150.0))


def test_a_new_controller_bills_what_stood_in_up_to_when_the_meters_are_back() -> None:
    """The ledger remembers of them that they were replaced: nobody can tell what they counted since it was written."""
    cluster = Lossy(factor=1.0)
    cluster.go(20)
    cluster.lose()
    cluster.go(15)
    cluster.restart()
    cluster.lose(False)
    (row,) = cluster.go(1)
    assert (row.source, row.energy_j) == ("estimate", pytest.approx(50.0))
    (row,) = cluster.go(2)
    assert (row.source, row.energy_j) == ("rapl", pytest.approx(50.0))
    assert cluster.billed_j() == pytest.approx(cluster.drawn_j)


def test_what_two_meters_tell_each_of_its_own_time_is_not_compared() -> None:
    cluster = package_and_estimate()
    cluster.window()
    for _ in range(10):
        cluster.run(1.0, 50.0)
        cluster.window()
    assert cluster.billing.compared == {}


def test_a_counter_that_stands_still_where_nothing_stands_in_is_told_and_has_no_joules() -> None:
    world = World()
    cluster = BilledCluster([Node("node-1", world)])
    cluster.window()
    for _ in range(int(STALE_S) + 1):
        cluster.run(1.0, 0.0)
    cluster.restart()
    cluster.run(1.0, 0.0)
    (row,) = cluster.window()
    assert (row.energy_j, row.fresh, row.quality) == (0.0, False, Quality.MODELLED)


def test_another_meter_of_the_host_that_can_still_be_read_goes_before_the_estimate() -> None:
    cluster = Lossy(nodes=2)
    cluster.go(10)
    told = next(n for n, node in enumerate(cluster.nodes) if node.name == cluster.rows[-1].node)
    cluster.counting[told].lost = True
    cluster.go(20)
    assert {row.source for row in cluster.rows} == {"rapl"}
    assert cluster.billed_j() == pytest.approx(cluster.drawn_j)


@given(
    st.floats(0.2, 5.0),
    st.lists(
        st.tuples(
            st.sampled_from(["nothing", "lost", "back", "meter dies"]), st.floats(0.01, 2.5), st.floats(1.0, MOST_W)
        ),
        max_size=30,
    ),
)
def test_whenever_meters_are_lost_and_come_back_no_joule_is_billed_twice(
    factor: float, happenings: list[tuple[str, float, float]]
) -> None:
    cluster = Lossy(factor)
    cluster.go(3)
    for what, seconds, watts in happenings:
        if what in ("lost", "back"):
            cluster.lose(what == "lost")
        cluster.happen(what, cluster.nodes[0])
        cluster.run(seconds, watts)
        cluster.drawn_j += seconds * watts
        cluster.window()
        assert cluster.billed_j() <= cluster.drawn_j + 1e-6


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["lost", "back", "controller dies"]), st.sampled_from([0, 1, 7]), st.floats(1.0, MOST_W)
        ),
        max_size=12,
    )
)
def test_whenever_controllers_die_meanwhile_all_is_billed_once(happenings: list[tuple[str, int, float]]) -> None:
    cluster = Lossy(factor=1.0)
    cluster.package.range_j = float("inf")  # how often it has wrapped nobody could tell, where none reads it for long
    cluster.go(3)
    for what, seconds, watts in happenings:
        if what in ("lost", "back"):
            cluster.lose(what == "lost")
        cluster.happen(what, cluster.nodes[0])
        cluster.go(seconds, watts)
        assert cluster.billed_j() <= cluster.drawn_j + 1e-6
    cluster.lose(False)
    cluster.go(int(PATIENCE_S) + 2)
    assert cluster.billed_j() == pytest.approx(cluster.drawn_j)


def row(energy_j: float, window_s: float = 1.0, fresh: bool = True) -> DeviceJoules:
    told = ("web/package-0", "web/cpu", "n", "web", "package", "rapl", Quality.MEASURED)
    return DeviceJoules(*told, energy_j, window_s, 0.0, "boot", fresh)


def test_an_estimate_is_worth_what_all_meters_of_its_pool_told_beside_it() -> None:
    assert Compared().ratio is None
    assert compared(Compared(), [row(40.0), row(10.0)], Moved(25.0, 1.0, True)).ratio == pytest.approx(2.0)


def test_what_it_was_worth_a_minute_ago_counts_less() -> None:
    before = Compared(metered_j=100.0, estimated_j=100.0)
    after = compared(before, [row(200.0, FADES_S)], Moved(100.0, FADES_S, True))
    assert after.ratio == pytest.approx((100 / 2.718281828 + 200) / (100 / 2.718281828 + 100))


@pytest.mark.parametrize(
    ("rows", "estimate"),
    [
        ([], Moved(25.0, 1.0, True)),
        ([row(50.0), row(0.0, fresh=False)], Moved(25.0, 1.0, True)),
        ([row(50.0), row(0.0)], Moved(25.0, 1.0, True)),
        ([row(50.0)], Moved(25.0, 1.0, False)),
        ([row(50.0)], Moved(25.0, 1.0, True, {Event.EPOCH: 1})),
        ([row(50.0)], Moved(25.0, 1.1, True)),
        ([row(50.0), row(50.0, 0.9)], Moved(25.0, 1.0, True)),
        ([row(0.0, 0.0)], Moved(0.0, 0.0, True)),
    ],
)
def test_what_does_not_tell_of_the_same_time_or_did_not_just_count_is_not_compared(
    rows: list[DeviceJoules], estimate: Moved
) -> None:
    before = Compared(3.0, 2.0)
    assert compared(before, rows, estimate) is before
