"""A host whose devices draw what a test says, and sensors that read their counters as a real one would."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

from allocator.joules import Quality
from cluster.power.base import Counter, Refusal
from cluster.power.meter import HostId, Meter
from models.errors import SensorLost

RANGE_J, MOST_W = 1000.0, 100.0


@dataclass
class Device:
    """True joules since the beginning of time; the counter shows them modulo its range, from where it was reset.

    tick_s  the counter is updated so rarely; 0 for at once
    """

    name: str = "package-0"
    pool: str = "cpu"
    kind: str = "package"
    range_j: float = RANGE_J
    most_w: float = MOST_W
    live: bool = True
    epoch: str = "boot"
    true_j: float = 900.0
    zero_j: float = 0.0
    tick_s: float = 0.0
    ticked_j: float = 900.0

    @property
    def counted_j(self) -> float:
        """As the counter would show them without range and resets."""
        return self.ticked_j if self.tick_s else self.true_j

    @property
    def shown_j(self) -> float:
        drawn_j = self.counted_j - self.zero_j
        return drawn_j if math.isinf(self.range_j) else drawn_j % self.range_j

    def reset(self) -> None:
        self.zero_j = self.counted_j

    def run(self, at_s: float, seconds: float, watts: float) -> None:
        self.true_j += seconds * watts
        if self.tick_s and at_s // self.tick_s < (at_s + seconds) // self.tick_s:
            self.ticked_j = self.true_j


@dataclass
class World:
    """A host with devices and a clock, whose processors work a hundredth of a second for each joule.

    busy_s  for how long they have worked; None where the kernel does not tell
    """

    devices: list[Device] = field(default_factory=lambda: [Device()])
    host: HostId = field(default_factory=lambda: HostId("boot-1", "web"))
    at_s: float = 100.0
    busy_s: float | None = None

    def run(self, seconds: float, watts: float) -> None:
        for device in self.devices:
            device.run(self.at_s, seconds, watts)
        self.at_s += seconds
        self.busy_s = None if self.busy_s is None else self.busy_s + 0.01 * watts * seconds

    def true_j(self) -> float:
        return sum(device.true_j for device in self.devices)

    def meter(self, session: str, node: str = "node", sensors: Iterable["Sensor"] = ()) -> Meter:
        return Meter(node, self.host, session, list(sensors) or [Sensor(self)], busy_s=self._busy)

    def _busy(self) -> float:
        if self.busy_s is None:
            raise OSError("no /proc/stat")
        return self.busy_s


class Sensor:
    """Reads the world's devices, all or those given."""

    def __init__(
        self,
        world: World,
        name: str = "rapl",
        quality: Quality = Quality.MEASURED,
        devices: list[Device] | None = None,
        epoch: str = "",
    ) -> None:
        self.name, self.poll_s, self.refusals = name, 2.5, tuple[Refusal, ...]()
        self.lost = False
        self._world, self._quality, self._devices = world, quality, devices
        self._epoch = epoch

    def read(self) -> tuple[Counter, ...]:
        if self.lost:
            raise SensorLost("the driver was unloaded")
        devices = self._world.devices if self._devices is None else self._devices
        return tuple(self._counter(device) for device in devices)

    def close(self) -> None: ...

    def _counter(self, device: Device) -> Counter:
        return Counter(
            device=device.name,
            pool=device.pool,
            kind=device.kind,
            source=self.name,
            quality=self._quality,
            at_s=self._world.at_s,
            energy_j=device.shown_j,
            range_j=device.range_j,
            most_w=device.most_w,
            epoch=self._epoch or device.epoch,
            live=device.live,
        )
