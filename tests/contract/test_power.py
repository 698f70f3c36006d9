"""The PowerSensor contract, on every sensor that ships."""

import time
from collections.abc import Iterator
from pathlib import Path

import nvml_stand_in
import pytest
import sysfs_tree
from nvml_host import START_NS, Host
from nvml_stand_in import Gpu
from power_contract import PowerBench, PowerSensorContract
from power_machine import BootClock, Machine
from sysfs_tree import Board

from allocator.joules import Quality
from cluster.power.base import Counter
from cluster.power.estimate import EstimateSensor
from cluster.power.fake import FakeSensor
from cluster.power.null import NullSensor
from cluster.power.nvml import NvmlSensor
from cluster.power.recording import record
from cluster.power.replay import ReplaySensor
from models.errors import SensorAbsent

BOARDS = {
    "intel": sysfs_tree.intel_two_sockets(),
    "desktop": sysfs_tree.desktop(),
    "amd": sysfs_tree.amd(),
    "mirrored": sysfs_tree.mirrored_dies(),
    "dies": sysfs_tree.own_dies(),
}


@pytest.mark.parametrize("board", BOARDS.values(), ids=BOARDS)
class TestRapl(PowerSensorContract):
    @pytest.fixture
    def bench(self, tmp_path: Path, board: Board) -> PowerBench:
        machine = Machine(tmp_path / "machine", board, start_j=-30.0)  # most counters wrap while a test runs
        machine.pass_s(0.05)  # two dies with counters of their own do not stand at the same joule
        for number, zone_id in enumerate(board.counted.values()):
            machine.power.shift(zone_id, 40.0 * number)
        tops = [zone.id for zone in board.zones if zone.id.count(":") == 1]

        def vanish() -> None:
            for zone_id in tops:
                machine.power.vanish(zone_id)

        def restore() -> None:
            for zone_id in tops:
                machine.power.come_back(zone_id)

        return PowerBench(machine.rapl(), machine.pass_s, machine.rapl, vanish, restore)


class TestEstimate(PowerSensorContract):
    @pytest.fixture
    def bench(self, tmp_path: Path) -> PowerBench:
        machine = Machine(tmp_path / "machine", sysfs_tree.amd())

        def opened() -> EstimateSensor:
            return EstimateSensor.open(host=machine.host, clock=machine.clock)

        return PowerBench(opened(), machine.pass_s, opened)


class TestReplay(PowerSensorContract):
    @pytest.fixture
    def bench(self, tmp_path: Path) -> PowerBench:
        machine = Machine(tmp_path / "machine", sysfs_tree.intel_two_sockets())

        def sleep(seconds: float) -> None:
            machine.pass_s(seconds)

        record([machine.rapl()], tmp_path / "run.csv", 10.0, 0.25, clock=machine.clock, sleep=sleep)
        start_s = machine.clock()

        def opened() -> ReplaySensor:
            return ReplaySensor.open(tmp_path / "run.csv", start_s=start_s, clock=machine.clock)

        def vanish() -> None:
            machine.clock.now_s += 60.0

        def restore() -> None:
            machine.clock.now_s = start_s + 4.0

        return PowerBench(opened(), machine.clock.sleep, opened, vanish, restore)


class TestFake(PowerSensorContract):
    @pytest.fixture
    def bench(self) -> PowerBench:
        clock = BootClock()
        gpu = Counter("GPU-1", "GPU-1", "gpu", "nvml", Quality.MEASURED, clock(), 10.0, most_w=700.0, epoch="1")
        package = Counter("package-0", "cpu", "package", "rapl", Quality.MEASURED, clock(), 990.0, 1000.0, 200.0, "1")

        def opened() -> FakeSensor:
            return FakeSensor(package, gpu)

        sensor = opened()

        def pass_s(seconds: float) -> None:
            clock.sleep(seconds)
            sensor.draw({"GPU-1": 300 * seconds, "package-0": 50 * seconds}, clock())

        def vanish() -> None:
            sensor.gone.update({"GPU-1": "unplugged", "package-0": "unloaded"})

        return PowerBench(sensor, pass_s, opened, vanish, sensor.gone.clear)


class TestNull(PowerSensorContract):
    @pytest.fixture
    def bench(self) -> PowerBench:
        return PowerBench(NullSensor(), lambda seconds: None, NullSensor, empty=True)


COUNTED = Gpu("GPU-counted", since_ns=START_NS, mj=500, mw=100_000)
SAMPLED = Gpu("GPU-sampled", bus="0000:02:00.0", counts=0, mw=60_000)
MODULE = Gpu("GPU-module", since_ns=START_NS, mw=9_000, module_mj=500, module_mw=350_000, module_limit_mw=900_000)


@pytest.fixture(scope="module")
def nvml_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nvml_stand_in.build(tmp_path_factory.mktemp("nvml"))


@pytest.mark.skipif(nvml_stand_in.compiler() is None, reason="no C compiler to build the stand-in with")
@pytest.mark.parametrize("gpus", [(COUNTED,), (COUNTED, SAMPLED), (MODULE,)], ids=["counted", "mixed", "module"])
class TestNvml(PowerSensorContract):
    @pytest.fixture
    def bench(self, nvml_library: Path, tmp_path: Path, gpus: tuple[Gpu, ...]) -> Iterator[PowerBench]:
        host = Host(nvml_library, tmp_path / "machine")
        host.seat(MODULE.bus, 0)

        def fault(error: int) -> None:
            for index in range(len(gpus)):
                host.gpus.change(index, error=error)

        def reopen() -> NvmlSensor:
            return host.open(*gpus)

        yield PowerBench(reopen(), host.gpus.pass_time, reopen, lambda: fault(15), lambda: fault(0))
        host.close()


class TestNvmlOfThisMachine(PowerSensorContract):
    @pytest.fixture
    def bench(self) -> Iterator[PowerBench]:
        opened: list[NvmlSensor] = []

        def reopen() -> NvmlSensor:
            opened.append(NvmlSensor.open())
            return opened[-1]

        try:
            sensor = reopen()
        except SensorAbsent as absent:
            pytest.skip(f"no GPU to meter: {absent.problem}")
        yield PowerBench(sensor, time.sleep, reopen)
        for one in opened:
            one.close()
