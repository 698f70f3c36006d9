"""Sensors as `auto` opens them, on a tree of files whose zones go and come back: one meter, billed window by window."""

from pathlib import Path

import pytest
import sysfs_tree
from power_machine import Machine

from allocator.joules import DeviceJoules, Quality
from cluster.power import billing
from cluster.power.billing import PATIENCE_S, Billing
from cluster.power.estimate import EstimateSensor
from cluster.power.memory import MEMORY_W_PER_GB
from cluster.power.meter import HostId, Meter
from cluster.power.select import open_sensors
from cluster.power.settings import PowerSettings
from models.errors import SensorAbsent

BOARDS = {"intel": sysfs_tree.intel_two_sockets(), "desktop": sysfs_tree.desktop(), "amd": sysfs_tree.amd()}


def no_driver() -> None:
    raise SensorAbsent("nvml", "no driver here", "")


class Metered:
    """A machine whose meter is asked once a second."""

    def __init__(self, root: Path, board: sysfs_tree.Board) -> None:
        self.machine = Machine(root / "machine", board)
        openers = {
            "nvml": no_driver,
            "rapl": self.machine.rapl,
            "estimate": lambda: EstimateSensor.open(host=self.machine.host, clock=self.machine.clock),
        }
        opened = open_sensors(PowerSettings(), openers)  # type: ignore[arg-type]
        self.meter = Meter(
            "node", HostId("boot", "web"), "session", opened.sensors, busy_s=self.machine.host.busy_cpu_s
        )
        self.billing, self.billed_j = Billing(), 0.0
        self.go(1)
        self.start_j = self.drawn_j

    @property
    def drawn_j(self) -> float:
        return sum(self.machine.power.truth_j.values())

    def go(self, windows: int, busy: float = 0.5) -> tuple[DeviceJoules, ...]:
        rows: tuple[DeviceJoules, ...] = ()
        for _ in range(windows):
            self.machine.pass_s(1.0, busy)
            self.meter.poll()
            self.billing, rows = billing.step(self.billing, [self.meter.report()], 1.7e9 + self.machine.clock())
            self.billed_j += sum(row.energy_j for row in rows)
        return rows

    def unplug(self) -> None:
        for zone in self.machine.tree.board.zones:
            if zone.id.count(":") == 1:
                self.machine.power.vanish(zone.id)

    def plug(self) -> None:
        for zone in self.machine.tree.board.zones:
            if zone.id.count(":") == 1:
                self.machine.power.come_back(zone.id)


@pytest.fixture(params=BOARDS)
def metered(tmp_path: Path, request: pytest.FixtureRequest) -> Metered:
    return Metered(tmp_path, BOARDS[request.param])


def test_zones_that_vanish_are_stood_in_for_at_the_watts_they_told_and_back_again_no_joule_is_billed_twice(
    metered: Metered,
) -> None:
    before = metered.go(30)
    assert "estimate" not in {row.source for row in before}
    usual_w = sum(row.energy_j for row in before)
    metered.unplug()
    (row,) = metered.go(int(PATIENCE_S) + 20)
    assert (row.source, row.quality, row.fresh) == ("estimate", Quality.MODELLED, True)
    assert row.energy_j == pytest.approx(usual_w, rel=0.01)
    metered.plug()
    after = metered.go(5)
    assert {row.source for row in after} == {"rapl"}
    assert sum(row.energy_j for row in after) == pytest.approx(usual_w, rel=0.01)
    metered_j = metered.drawn_j - metered.start_j
    memory_j = sum(row.energy_j for row in after if row.device == "web/memory") * (metered.machine.clock() - 1001.0)
    assert metered.billed_j == pytest.approx(metered_j + memory_j, rel=0.01)


def test_memory_that_amd_does_not_meter_is_billed_beside_the_packages_and_says_that_it_is_modelled(
    tmp_path: Path,
) -> None:
    rows = {row.device: row for row in Metered(tmp_path, BOARDS["amd"]).go(3)}
    assert rows.keys() == {"web/package-0", "web/memory"}
    assert {device: row.quality for device, row in rows.items()} == {
        "web/package-0": Quality.MEASURED,
        "web/memory": Quality.MODELLED,
    }
    assert rows["web/memory"].energy_j == pytest.approx(64 * MEMORY_W_PER_GB, rel=1e-3)


def test_while_it_stands_in_the_estimate_follows_the_load(metered: Metered) -> None:
    metered.go(30, busy=0.5)
    metered.unplug()
    usual = metered.go(20, busy=0.5)
    busy, idle = metered.go(5, busy=1.0), metered.go(5, busy=0.0)
    assert idle[0].energy_j < 0.9 * usual[0].energy_j
    assert busy[0].energy_j > 1.1 * usual[0].energy_j
