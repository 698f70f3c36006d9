"""The port that all power sensors implement: cumulative joules of devices, as their own counters tell them."""

import math
from dataclasses import dataclass
from typing import Protocol

from allocator.joules import Quality


@dataclass(frozen=True, slots=True)
class Counter:
    """A reading: what one device's counter says. Sensors keep no history; what is new since the last is the meter's.

    device    stable across restarts, unique on the host; unique everywhere where `kind` is gpu (its UUID)
    pool      "cpu" for what a host's processors draw (package, dram, module, host), else the device itself
    kind      package, dram, gpu, module or host
    source    rapl, nvml, estimate or replay
    at_s      CLOCK_BOOTTIME of the host at the reading, the same clock in every process there
    energy_j  cumulative joules, modulo range_j
    range_j   where the counter wraps to zero; infinity where it does not
    most_w    more watts than the device can draw: what tells a wrap from a reset
    epoch     counters of two epochs cannot be subtracted: another boot, or another load of the driver
    live      False where the counter is updated so rarely that a difference of zero means "not updated yet"
    """

    device: str
    pool: str
    kind: str
    source: str
    quality: Quality
    at_s: float
    energy_j: float
    range_j: float = math.inf
    most_w: float = math.inf
    epoch: str = ""
    live: bool = True


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why something is not read, for people: what was tried, what is wrong, and the exact remedy ("" for none)."""

    sensor: str
    what: str
    problem: str
    remedy: str


class PowerSensor(Protocol):
    """Devices of this host. Used from one thread. Opening one that is not there raises SensorAbsent."""

    name: str
    """rapl, nvml, estimate or replay."""
    refusals: tuple[Refusal, ...]
    """Devices that are there but not read (no permission, masked, a duplicate), as of the last read."""
    poll_s: float
    """Most seconds between reads, so that no counter wraps unseen."""

    def read(self) -> tuple[Counter, ...]:
        """All devices that can be read now; one that vanished is left out and stands in `refusals`.

        Raises SensorLost when none is left; a later call may find them again.
        """
        ...

    def close(self) -> None:
        """Let go of what the sensor holds. No read after it."""
        ...
