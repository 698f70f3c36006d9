"""A sensor that says what a test has set."""

from collections.abc import Mapping
from dataclasses import replace

from cluster.power.base import Counter, Refusal
from models.errors import SensorLost


class FakeSensor:
    """A PowerSensor over counters that the test keeps. Not for production.

    counters  device -> what is read next; change it at will
    gone      device -> why it is not read now
    """

    name = "fake"

    def __init__(self, *counters: Counter, poll_s: float = 1.0) -> None:
        self.counters = {counter.device: counter for counter in counters}
        self.gone: dict[str, str] = {}
        self.refusals: tuple[Refusal, ...] = ()
        self.poll_s = poll_s
        self.reads = 0
        self.closed = False

    def draw(self, energies_j: Mapping[str, float], at_s: float) -> None:
        """Devices draw so many joules until `at_s`; their counters wrap at their ranges."""
        for device, energy_j in energies_j.items():
            counter = self.counters[device]
            total_j = counter.energy_j + energy_j
            self.counters[device] = replace(counter, at_s=at_s, energy_j=total_j % counter.range_j)

    def read(self) -> tuple[Counter, ...]:
        """What was set. Raises SensorLost when every device is gone."""
        self.reads += 1
        self.refusals = tuple(Refusal(self.name, device, problem, "") for device, problem in self.gone.items())
        there = tuple(counter for device, counter in self.counters.items() if device not in self.gone)
        if not there:
            raise SensorLost("fake: all devices are gone")
        return there

    def close(self) -> None:
        """Remembers that it was closed."""
        self.closed = True
