"""What `greenflow profile` reads joules from: this machine's measuring sensors, one meter for each device class."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from allocator.joules import Quality
from cluster.power import unwrap
from cluster.power.base import Counter, PowerSensor
from cluster.power.select import open_sensors
from cluster.power.settings import PowerSettings
from models.profile import Meter
from models.profile_joules import idle_watts
from models.spec import Device


class Drawn:
    """Joules that the measured devices of a class have drawn since it was made: call it for them.

    What is modelled is left out: it would tell of CPU time, which milliseconds tell better.
    """

    def __init__(self, sensors: Sequence[PowerSensor], device: Device) -> None:
        self._sensors, self._device = sensors, device
        self._states = {counter.device: unwrap.init(counter) for counter in self._counters()}
        self._joules = 0.0

    def __bool__(self) -> bool:
        return bool(self._states)

    def __call__(self) -> float:
        """Raises SensorLost when a sensor cannot be read any more."""
        for counter in self._counters():
            state = self._states.get(counter.device, unwrap.init(counter))
            self._states[counter.device], step = unwrap.step(state, counter)
            self._joules += step.energy_j
        return self._joules

    def _counters(self) -> Iterator[Counter]:
        for sensor in self._sensors:
            for counter in sensor.read():
                processors = counter.pool == "cpu"
                if counter.quality is Quality.MEASURED and processors == (self._device is Device.CPU):
                    yield counter


def meters_of(
    sensors: Sequence[PowerSensor], clock: Callable[[], float], sleep: Callable[[float], None]
) -> dict[Device, Meter]:
    """A meter for each device class of which something is measured; what idling takes is measured first."""
    drawn = {device: Drawn(sensors, device) for device in Device}
    return {device: Meter(joules, idle_watts(joules, clock, sleep)) for device, joules in drawn.items() if joules}


@contextmanager
def open_meters(clock: Callable[[], float], sleep: Callable[[float], None]) -> Iterator[dict[Device, Meter]]:
    """The meters of this machine, none where nothing is measured; their sensors are closed at the end."""
    opened = open_sensors(PowerSettings())
    try:
        yield meters_of(opened.sensors, clock, sleep)
    finally:
        opened.close()
