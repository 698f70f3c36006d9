"""A machine with stand-in GPUs, for tests in one process."""

from pathlib import Path
from types import ModuleType

import nvml_stand_in
from nvml_stand_in import SECOND_NS, Gpu, StandIn

from cluster.power.base import Counter
from cluster.power.nvml import NvmlSensor

START_NS = 1_000 * SECOND_NS
NOT_SUPPORTED, NO_PERMISSION, DRIVER_NOT_LOADED, LOST, MISMATCH, UNKNOWN = 3, 4, 9, 15, 18, 999

VOLTA = Gpu("GPU-volta", since_ns=START_NS, mj=7_000_000, mw=100_000)
OLD = Gpu("GPU-old", bus="0000:02:00.0", counts=0, since_ns=START_NS, mw=60_000, limit_mw=250_000)
SUPERCHIP = Gpu(
    "GPU-hopper",
    bus="0009:01:00.0",
    since_ns=START_NS,
    mj=1_000,
    mw=200_000,
    module_mj=5_000,
    module_mw=350_000,
    module_limit_mw=900_000,
)


class Host:
    """Its GPUs, clock, /proc and /sys are what a test says."""

    def __init__(self, library: Path, root: Path, bindings: ModuleType | None = None) -> None:
        self.gpus = StandIn(library, now_ns=START_NS)
        self.root = root
        self.bindings = bindings or nvml_stand_in.bindings(library)
        self._sensors: list[NvmlSensor] = []
        (root / "sys/module/nvidia").mkdir(parents=True)
        boot_id = root / "proc/sys/kernel/random/boot_id"
        boot_id.parent.mkdir(parents=True)
        boot_id.write_text("this-boot\n")

    def open(self, *gpus: Gpu) -> NvmlSensor:
        self.gpus.gpus = list(gpus)
        self.gpus.write()
        sensor = NvmlSensor.open(self.bindings, root=self.root, clock=self.clock_s)
        self._sensors.append(sensor)
        return sensor

    def clock_s(self) -> float:
        return self.gpus.now_ns / SECOND_NS

    def seat(self, bus: str, socket: int) -> None:
        """Put the GPU of a bus id on a socket."""
        node = self.root / "sys/bus/pci/devices" / bus / "numa_node"
        node.parent.mkdir(parents=True)
        node.write_text(f"{socket}\n")

    def close(self) -> None:
        self.gpus.init = 0
        self.gpus.write()
        for sensor in self._sensors:
            sensor.close()


def read(sensor: NvmlSensor) -> dict[str, Counter]:
    return {counter.device: counter for counter in sensor.read()}


def refused(sensor: NvmlSensor) -> list[str]:
    return [refusal.what for refusal in sensor.refusals]
