"""The modelled counter of a host without meters."""

from pathlib import Path

import pytest
import sysfs_tree
from hypothesis import given
from hypothesis import strategies as st
from power_machine import BootClock
from sysfs_tree import SysfsTree

from allocator.joules import Quality
from cluster.power.base import Counter
from cluster.power.estimate import CPU_FULL_W, CPU_IDLE_W, EstimateSensor, stated_watts
from cluster.power.host import HostFiles, boottime_s
from cluster.power.memory import MEMORY_W_PER_GB
from models.errors import FixSetup, SensorAbsent, SensorLost


@pytest.fixture
def tree(tmp_path: Path) -> SysfsTree:
    return SysfsTree.build(tmp_path / "machine", sysfs_tree.amd())


def read(tree: SysfsTree, at_s: float = 1000.0, idle_w: float = 50.0, full_w: float = 150.0) -> Counter:
    clock = BootClock()
    clock.now_s = at_s
    sensor = EstimateSensor.open(stated_watts(idle_w, full_w), host=HostFiles(tree.proc), clock=clock)
    return sensor.read()[0]


def test_an_idle_host_draws_its_idle_watts(tree: SysfsTree) -> None:
    assert read(tree, at_s=1000.0).energy_j == pytest.approx(50_000.0)


def test_a_busy_host_draws_its_full_watts(tree: SysfsTree) -> None:
    tree.set_cpu_ticks(user=4 * 100_000, cpus=4)
    assert read(tree, at_s=1000.0).energy_j == pytest.approx(150_000.0)


def test_waiting_and_stolen_time_is_not_work_and_guests_count_once(tree: SysfsTree) -> None:
    tree.set_cpu_ticks(user=10_000, guest=4_000, iowait=50_000, steal=70_000)
    assert HostFiles(tree.proc).busy_cpu_s() == 100.0


@given(spans=st.lists(st.tuples(st.floats(0.01, 50.0), st.floats(0.0, 1.0)), max_size=8))
def test_however_often_it_is_read_the_joules_between_two_times_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, spans: list[tuple[float, float]]
) -> None:
    tree = SysfsTree.build(tmp_path_factory.mktemp("tree") / "machine", sysfs_tree.amd())
    clock, ticks = BootClock(), 0
    often = EstimateSensor.open(stated_watts(50.0, 150.0), host=HostFiles(tree.proc), clock=clock)
    first, total_j = often.read()[0], 0.0
    last = first
    for seconds, busy in spans:
        clock.sleep(seconds)
        ticks += int(busy * 4 * seconds * 100)
        tree.set_cpu_ticks(user=ticks)
        now = often.read()[0]
        assert now.energy_j >= last.energy_j
        total_j, last = total_j + now.energy_j - last.energy_j, now
    once = EstimateSensor.open(stated_watts(50.0, 150.0), host=HostFiles(tree.proc), clock=clock).read()[0]
    assert once.energy_j - first.energy_j == pytest.approx(total_j)
    assert once.epoch == first.epoch


def test_stated_watts_are_modelled_and_published_averages_assumed(tree: SysfsTree) -> None:
    assert read(tree).quality is Quality.MODELLED
    tree.set_cpu_ticks(user=4 * 100_000)
    clock = BootClock()
    counter = EstimateSensor.open(host=HostFiles(tree.proc), clock=clock).read()[0]
    assert counter.quality is Quality.ASSUMED
    assert counter.energy_j == pytest.approx((64 * MEMORY_W_PER_GB + 4 * CPU_FULL_W) * 1000.0, rel=1e-6)
    tree.set_cpu_ticks()
    idle = EstimateSensor.open(host=HostFiles(tree.proc), clock=clock).read()[0]
    assert idle.energy_j == pytest.approx((64 * MEMORY_W_PER_GB + 4 * CPU_IDLE_W) * 1000.0, rel=1e-6)


def test_other_watts_or_processors_make_another_counter(tree: SysfsTree) -> None:
    epochs = {read(tree).epoch, read(tree, idle_w=40.0).epoch, read(tree, full_w=160.0).epoch}
    tree.set_cpu_ticks(cpus=2)
    epochs.add(read(tree).epoch)
    assert len(epochs) == 4


@pytest.mark.parametrize(("idle_w", "full_w"), [(-1.0, 10.0), (20.0, 10.0), (0.0, 0.0), (float("nan"), 10.0)])
def test_impossible_watts_are_refused(idle_w: float, full_w: float) -> None:
    with pytest.raises(FixSetup, match="idle_w"):
        stated_watts(idle_w, full_w)


def test_without_proc_it_is_absent_and_when_proc_goes_it_is_lost(tree: SysfsTree, tmp_path: Path) -> None:
    with pytest.raises(SensorAbsent, match="mount /proc"):
        EstimateSensor.open(host=HostFiles(tmp_path / "nothing"))
    sensor = EstimateSensor.open(host=HostFiles(tree.proc))
    (tree.proc / "stat").unlink()
    with pytest.raises(SensorLost):
        sensor.read()


def test_this_machine_can_be_estimated() -> None:
    before_s = boottime_s()
    counter = EstimateSensor.open().read()[0]
    assert before_s <= counter.at_s <= boottime_s()
    assert counter.energy_j > 0
