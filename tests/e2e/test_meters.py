"""Meters on real Ray nodes: they follow the nodes, and whatever dies, each joule of the machine is billed once."""

import asyncio
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import ray
import sysfs_tree
from live import kill
from ray_head import ray_head
from ray_nodes import ray_node
from sysfs_power import SysfsPower, driven
from sysfs_tree import SysfsTree

from allocator.joules import DeviceJoules
from cluster.launching.ray_joined import connected
from cluster.meters import Meters, alive_nodes
from cluster.power import billing
from cluster.power.billing import Billing
from cluster.power.meter import MeterReport
from cluster.power.settings import PowerSettings

WITHIN_S = 5.0
"""A node that joins is metered so soon."""
OWNER = "tests"
DEVICES = ["package-0", "package-0/dram", "package-1", "package-1/dram"]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with ray_head(cpus=1) as address, connected(address):
        yield address
        for meter in ray.util.list_named_actors(all_namespaces=True):
            ray.kill(ray.get_actor(meter["name"], meter["namespace"]))


class Books:
    """Follows the cluster's meters and bills them; the stand-in draws nothing before the first window.

    rows  all that was billed
    """

    def __init__(self, power: SysfsPower) -> None:
        self.power, self.rows, self._billing = power, list[DeviceJoules](), Billing()
        self._meters = Meters(PowerSettings(sensors=("rapl",), rapl_root=power.tree.powercap), OWNER)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._following = asyncio.run_coroutine_threadsafe(self._meters.run(), self._loop)

    def reports(self) -> tuple[MeterReport, ...]:
        return asyncio.run_coroutine_threadsafe(self._meters.reports(timeout_s=1.0), self._loop).result()

    def window(self, nodes: Collection[str] | None = None) -> list[DeviceJoules]:
        """Bill what meters tell, all or those of these nodes."""
        reports = [report for report in self.reports() if nodes is None or report.node in nodes]
        self._billing, rows = billing.step(self._billing, reports, time.time())
        self.rows.extend(rows)
        return list(rows)

    def until(self, reached: Callable[[Collection[str]], bool], most_s: float = 30.0) -> float:
        """Windows until the nodes that tell are as wanted; how many seconds that took."""
        start_s = time.monotonic()
        while not reached({report.node for report in self.reports()}):
            assert time.monotonic() < start_s + most_s
            self.window()
            time.sleep(0.1)
        return time.monotonic() - start_s

    def close(self) -> None:
        """Ask the meters no more, as a controller that dies."""
        self._following.cancel()
        asyncio.run_coroutine_threadsafe(asyncio.sleep(0.1), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def assert_billed_once(self) -> None:
        """Nothing is drawn any more: all that was stands in the rows, each device's own."""
        self.window()
        billed_j = dict.fromkeys(DEVICES, 0.0)
        for row in self.rows:
            billed_j[row.device.partition("/")[2]] += row.energy_j
        assert billed_j == pytest.approx(self.power.truth_j, abs=1e-5)
        assert min(self.power.truth_j.values()) > 1.0
        assert self.power.truth_j["package-0"] > 50.0, "no counter wrapped"


@pytest.fixture
def books(address: str, tmp_path: Path) -> Iterator[Books]:
    tree = SysfsTree.build(tmp_path / "tree", sysfs_tree.intel_two_sockets())
    books = Books(SysfsPower(tree, start_j=-50.0))
    yield books
    books.close()


def meter_processes() -> list[psutil.Process]:
    """Those of the clusters that this process has started."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "ray::NodeMeter" in " ".join(process.cmdline()):
                found.append(process)
    return found


def test_a_node_that_joins_is_metered_soon_and_one_that_is_switched_off_takes_no_joule_with_it(
    address: str, books: Books, tmp_path: Path
) -> None:
    (head,) = alive_nodes()
    books.until(lambda nodes: nodes == {head})
    books.window()
    with driven(books.power), ray_node(address, tmp_path) as node:
        assert books.until(lambda nodes: len(nodes) == 2) < WITHIN_S
        assert sorted(row.device.partition("/")[2] for row in books.window()) == DEVICES, "each once, of two nodes"
        (other,) = set(alive_nodes()) - {head}
        rows = [books.window([other]) for _ in range(3)][-1]
        assert {row.node for row in rows} == {other}
        node.crash()
        time.sleep(0.5)
        rows = books.window()
        assert {row.node for row in rows} == {head}
        assert all(row.energy_j > 0 for row in rows)
    books.assert_billed_once()


def test_a_meter_that_is_killed_is_back_soon_and_has_missed_nothing(address: str, books: Books) -> None:
    books.until(lambda nodes: len(nodes) > 0)
    books.window()
    (before,) = books.reports()
    with driven(books.power):
        time.sleep(0.5)
        for process in meter_processes():
            kill(process)
        print(f"back after {books.until(lambda nodes: before.node in nodes):.1f} s")
        (after,) = (report for report in books.reports() if report.node == before.node)
        assert after.session != before.session
    books.assert_billed_once()


def test_the_next_controller_finds_the_meters_of_the_one_before(address: str, books: Books) -> None:
    books.until(lambda nodes: len(nodes) > 0)
    next_books = Books(books.power)
    next_books.until(lambda nodes: len(nodes) > 0)
    told, told_next = books.reports(), next_books.reports()
    next_books.close()
    assert [report.session for report in told_next] == [report.session for report in told]
