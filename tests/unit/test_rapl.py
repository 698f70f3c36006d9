"""RAPL as Linux shows it: which zones count, how far they go, and what is said where they cannot be read."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import sysfs_tree
from power_machine import Machine
from sysfs_tree import Board, SysfsTree

from allocator.joules import Quality
from cluster.power.host import HostFiles
from cluster.power.rapl import RESCAN_S, SEARCH_S, RaplSensor
from cluster.power.rapl_zones import MOST_W
from models.errors import SensorAbsent, SensorLost


def measured(sensor: RaplSensor) -> dict[str, float]:
    return {c.device: c.energy_j for c in sensor.read() if c.quality is Quality.MEASURED}


def refused(sensor: RaplSensor) -> dict[str, str]:
    return {refusal.what: refusal.problem for refusal in sensor.refusals}


@pytest.mark.parametrize("board", [sysfs_tree.intel_two_sockets(), sysfs_tree.desktop(), sysfs_tree.amd()])
def test_packages_and_memory_inside_them_are_summed_and_nothing_else(tmp_path: Path, board: Board) -> None:
    machine = Machine(tmp_path / "machine", board)
    sensor = machine.rapl()
    machine.pass_s(10.0)
    found = measured(sensor)
    assert found.keys() == board.counted.keys()
    assert sum(found.values()) == pytest.approx(sum(machine.power.truth_j.values()), abs=1e-5)


def test_another_drivers_view_of_a_package_is_dropped_and_told(tmp_path: Path) -> None:
    sensor = Machine(tmp_path / "machine", sysfs_tree.intel_two_sockets()).rapl()
    assert {"intel-rapl-mmio:0", "intel-rapl-mmio:1"} <= refused(sensor).keys()


def test_where_only_the_other_driver_is_loaded_its_view_counts(tmp_path: Path) -> None:
    zones = tuple(z for z in sysfs_tree.intel_two_sockets().zones if z.control == "intel-rapl-mmio")
    board = Board(zones, {"package-0": "intel-rapl-mmio:0", "package-1": "intel-rapl-mmio:1"})
    assert measured(Machine(tmp_path / "machine", board).rapl()).keys() == {"package-0", "package-1"}


def test_when_one_driver_goes_the_others_view_counts_on_as_another_counter(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine", sysfs_tree.intel_two_sockets())
    sensor = machine.rapl()
    before = {counter.device: counter for counter in sensor.read()}
    machine.power.vanish("intel-rapl:1")
    machine.pass_s(SEARCH_S)
    after = {counter.device: counter for counter in sensor.read()}
    assert after["package-0"].epoch == before["package-0"].epoch
    assert after["package-1"].epoch != before["package-1"].epoch


def test_a_zone_without_limits_in_force_counts_all_the_same(tmp_path: Path) -> None:
    zones = tuple(replace(zone, enabled=False) for zone in sysfs_tree.intel_two_sockets().zones)
    board = replace(sysfs_tree.intel_two_sockets(), zones=zones)
    assert measured(Machine(tmp_path / "machine", board).rapl()).keys() == board.counted.keys()


def test_the_nested_tree_shows_the_same_devices_as_the_flat_one(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine", sysfs_tree.intel_two_sockets())
    nested = RaplSensor.open(machine.tree.devices, host=machine.host, clock=machine.clock)
    assert measured(nested) == measured(machine.rapl())


def test_ten_sockets_are_told_apart(tmp_path: Path) -> None:
    zones = tuple(sysfs_tree.Zone(f"intel-rapl:{n}", f"package-{n}", f"package-{n}", 65532.6) for n in range(12))
    board = Board(zones, {zone.name: zone.id for zone in zones})
    assert len(measured(Machine(tmp_path / "machine", board).rapl())) == 12


# What it takes to tell a wrap from a reset.


def test_each_zone_has_its_own_range_and_most_watts(tmp_path: Path) -> None:
    sensor = Machine(tmp_path / "machine", sysfs_tree.intel_two_sockets()).rapl()
    zones = {counter.device: counter for counter in sensor.read()}
    assert zones["package-0"].range_j == pytest.approx(262143.32885)
    assert zones["package-0"].most_w == 820.0, "twice the largest stated power"
    assert zones["package-0/dram"].range_j == pytest.approx(65712.999613)
    assert zones["package-0/dram"].most_w == 82.5
    assert sensor.poll_s == 60.0, "262 kJ at 820 W last for 320 s"


def test_without_a_stated_power_or_with_lifted_limits_the_general_bound_holds(tmp_path: Path) -> None:
    for name, board in {"amd": sysfs_tree.amd(), "lifted": sysfs_tree.desktop()}.items():
        counters = Machine(tmp_path / name, board).rapl().read()
        assert all(c.most_w == MOST_W[c.kind] for c in counters if c.quality is Quality.MEASURED)


def test_a_quarter_of_the_shortest_wrap_passes_between_reads(tmp_path: Path) -> None:
    sensor = Machine(tmp_path / "machine", sysfs_tree.amd()).rapl()
    assert sensor.poll_s == pytest.approx(65532.610987 / MOST_W["package"] / 4)


def test_one_boot_is_one_epoch(tmp_path: Path) -> None:
    counters = Machine(tmp_path / "machine", sysfs_tree.intel_two_sockets()).rapl().read()
    assert {counter.epoch for counter in counters} == {sysfs_tree.BOOT_ID}


# Dies.


def test_dies_that_mirror_one_counter_are_counted_once(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine", sysfs_tree.mirrored_dies(), start_j=-100.0)
    sensor = machine.rapl()
    start_j = measured(sensor)["package-0-die-0"]
    for _ in range(20):
        machine.pass_s(1.0, busy=0.9)
        assert measured(sensor).keys() == {"package-0-die-0"}
    assert "mirrors package-0-die-0" in refused(sensor)["package-0-die-1"]
    drawn_j = (measured(sensor)["package-0-die-0"] - start_j) % 65532.610987
    assert drawn_j == pytest.approx(20 * 92.0, abs=1e-4), "through the wrap of both"


def test_dies_with_equal_values_and_unequal_increases_are_both_counted(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine", sysfs_tree.own_dies())
    machine.tree.set_j("intel-rapl:0", 5000.0)
    machine.tree.set_j("intel-rapl:1", 5000.0)
    sensor = machine.rapl()
    assert "package-0-die-1" not in measured(sensor), "until the increases are known"
    machine.tree.set_j("intel-rapl:0", 5100.0)
    machine.tree.set_j("intel-rapl:1", 5090.0)
    assert {"package-0-die-0", "package-0-die-1"} <= measured(sensor).keys()
    machine.tree.set_j("intel-rapl:1", 5100.0)
    assert "package-0-die-1" in measured(sensor), "what differed once is a counter of its own for good"


def test_dies_with_unequal_values_and_equal_increases_are_both_counted(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine", sysfs_tree.own_dies())
    machine.power.shift("intel-rapl:1", 700.0)
    machine.power.shift("intel-rapl:1:0", 70.0)
    sensor = machine.rapl()
    for _ in range(3):
        machine.pass_s(1.0)
        assert measured(sensor).keys() == machine.tree.board.counted.keys()


def test_a_mirror_is_known_though_the_counter_moves_between_reading_one_die_and_the_other(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine", sysfs_tree.mirrored_dies())

    def slow_read(file: Path) -> str:
        if file.name == "energy_uj":
            machine.pass_s(0.2)  # held up for so long between any two files
        return file.read_text()

    sensor = RaplSensor.open(machine.tree.powercap, host=machine.host, clock=machine.clock, read=slow_read)
    for _ in range(5):
        assert measured(sensor).keys() == {"package-0-die-0"}


def test_a_mirror_does_not_stand_in_for_a_die_that_cannot_be_read(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine", sysfs_tree.mirrored_dies())
    sensor = machine.rapl()
    machine.power.vanish("intel-rapl:0")
    with pytest.raises(SensorLost):
        sensor.read()
    machine.power.come_back("intel-rapl:0")
    assert measured(sensor).keys() == {"package-0-die-0"}


# Memory.


def test_memory_that_amd_does_not_meter_is_modelled_and_not_zero(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine", replace(sysfs_tree.amd(), memory_gb=100.0))
    sensor = machine.rapl()
    before = next(c for c in sensor.read() if c.kind == "dram")
    machine.pass_s(10.0)
    after = next(c for c in sensor.read() if c.kind == "dram")
    assert (after.quality, after.source, after.pool) == (Quality.MODELLED, "rapl", "cpu")
    assert after.energy_j - before.energy_j == pytest.approx(39.2 * 10.0, rel=1e-6)


def test_memory_that_is_metered_is_not_modelled_too(tmp_path: Path) -> None:
    sensor = Machine(tmp_path / "machine", sysfs_tree.intel_two_sockets()).rapl()
    assert {counter.quality for counter in sensor.read()} == {Quality.MEASURED}


def test_modelled_memory_ends_for_good_when_a_meter_of_it_appears(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine", sysfs_tree.desktop())
    machine.power.vanish("intel-rapl:0:2")
    sensor = machine.rapl()
    assert "memory" in {counter.device for counter in sensor.read()}
    machine.power.come_back("intel-rapl:0:2")
    machine.pass_s(RESCAN_S)
    assert {counter.device for counter in sensor.read()} == {"package-0", "package-0/dram"}
    machine.power.vanish("intel-rapl:0:2")
    assert {counter.device for counter in sensor.read()} == {"package-0"}


# What keeps it from being read, told apart.


@contextmanager
def unprivileged() -> Iterator[None]:
    """Root reads whatever it likes: be nobody meanwhile."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that nobody may enter too, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


def test_counters_for_root_only_are_told_with_the_rule_that_opens_them(open_folder: Path) -> None:
    machine = Machine(open_folder / "machine", sysfs_tree.intel_two_sockets())
    machine.tree.deny()
    with unprivileged(), pytest.raises(SensorAbsent, match="no permission") as told:
        machine.rapl()
    assert str(machine.tree.powercap / "intel-rapl:0/energy_uj") in told.value.problem
    assert 'SUBSYSTEM=="powercap"' in told.value.remedy
    assert "chgrp" in told.value.remedy
    assert "udevadm trigger" in told.value.remedy


def test_one_counter_for_root_only_leaves_the_others_to_be_read(open_folder: Path) -> None:
    machine = Machine(open_folder / "machine", sysfs_tree.intel_two_sockets())
    file = machine.tree.folder("intel-rapl:1") / "energy_uj"
    file.chmod(0)
    with unprivileged():
        sensor = machine.rapl()
        assert measured(sensor).keys() == machine.tree.board.counted.keys() - {"package-1"}
        assert "no permission" in refused(sensor)["package-1"]
    file.chmod(0o444)
    with unprivileged():
        assert "package-1" in measured(sensor)
        assert "package-1" not in refused(sensor)


def test_root_that_is_denied_is_sent_to_the_container_and_not_to_udev(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(file: Path) -> str:
        if file.name == "energy_uj":
            raise PermissionError(errno.EACCES, "Permission denied")
        return file.read_text()

    machine = Machine(tmp_path / "machine", sysfs_tree.amd())
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    with pytest.raises(SensorAbsent, match="denied even to root") as told:
        RaplSensor.open(machine.tree.powercap, host=machine.host, clock=machine.clock, read=denied)
    assert "udev" not in told.value.remedy
    assert ":ro" in told.value.remedy


def test_a_masked_tree_is_told_with_the_mount_that_works(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine", sysfs_tree.intel_two_sockets())
    mounted = machine.tree.mask()
    with pytest.raises(SensorAbsent, match="lead nowhere") as told:
        machine.rapl()
    assert "-v /sys/devices/virtual/powercap:/host/powercap:ro" in told.value.remedy
    assert "GREENFLOW_POWER_RAPL_ROOT=/host/powercap" in told.value.remedy
    there = RaplSensor.open(mounted, host=machine.host, clock=machine.clock)
    assert measured(there).keys() == machine.tree.board.counted.keys(), "what the remedy promises"


def test_zones_of_which_some_are_masked_are_read_and_the_others_told(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine", sysfs_tree.intel_two_sockets())
    (machine.tree.powercap / "intel-rapl:2").unlink()
    (machine.tree.powercap / "intel-rapl:2").symlink_to("../nowhere")
    sensor = machine.rapl()
    assert measured(sensor).keys() == machine.tree.board.counted.keys()
    assert "1 RAPL zones that lead nowhere" in refused(sensor)[""]


def test_a_virtual_machine_is_told_to_state_its_watts(tmp_path: Path) -> None:
    tree = SysfsTree.build(tmp_path / "vm", Board((), {}, virtual=True))
    for root in (tree.powercap, tmp_path / "nothing"):
        with pytest.raises(SensorAbsent, match="virtual machine") as told:
            RaplSensor.open(root, host=HostFiles(tree.proc))
        assert "GREENFLOW_POWER_IDLE_W" in told.value.remedy


def test_a_physical_machine_without_the_driver_is_told_to_load_it(tmp_path: Path) -> None:
    tree = SysfsTree.build(tmp_path / "machine", Board((), {}))
    for root, problem in {tree.powercap: "no RAPL package", tmp_path / "nothing": "does not exist"}.items():
        with pytest.raises(SensorAbsent, match=problem) as told:
            RaplSensor.open(root, host=HostFiles(tree.proc))
        assert "modprobe intel_rapl_msr" in told.value.remedy


def test_a_zone_that_vanishes_is_left_out_told_and_read_again_when_it_is_back(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine", sysfs_tree.intel_two_sockets())
    machine.power.vanish("intel-rapl-mmio:1")
    sensor = machine.rapl()
    sensor.read()
    machine.power.vanish("intel-rapl:1")
    machine.pass_s(SEARCH_S)
    assert measured(sensor).keys() == {"package-0", "package-0/dram"}
    assert "gone" in refused(sensor)["package-1"]
    assert "gone" in refused(sensor)["package-1/dram"]
    machine.power.come_back("intel-rapl:1")
    machine.pass_s(SEARCH_S)
    found = measured(sensor)
    assert found.keys() == machine.tree.board.counted.keys()
    assert found["package-1"] == pytest.approx(machine.power.drawn_j["package-1"], abs=1e-5), "it counted on"
    assert "package-1" not in refused(sensor)


def test_a_counter_that_is_no_number_or_has_no_range_is_refused(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine", sysfs_tree.intel_two_sockets())
    (machine.tree.folder("intel-rapl:0") / "energy_uj").write_text("broken\n")
    (machine.tree.folder("intel-rapl:1") / "max_energy_range_uj").write_text("0\n")
    sensor = machine.rapl()
    assert measured(sensor).keys() == {"package-0/dram", "package-1/dram"}
    assert "energy_uj" in refused(sensor)["package-0"]
    assert "must be above 0" in refused(sensor)["package-1"]


def test_a_host_that_does_not_tell_its_boot_cannot_be_metered(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "machine", sysfs_tree.amd())
    with pytest.raises(SensorAbsent, match="does not tell"):
        RaplSensor.open(machine.tree.powercap, host=HostFiles(tmp_path / "nothing"))
