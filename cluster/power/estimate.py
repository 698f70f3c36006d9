"""Joules of a host without power counters, modelled from how long its processors worked.

energy = idle_w * time since boot + (full_w - idle_w) * busy CPU seconds since boot / processors

The linear model of CPU use of Fan, Weber and Barroso (Power provisioning for a warehouse-sized computer, 2007). It
needs no history: whoever reads it, and however often, reads the same counter.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

from allocator.joules import Quality
from cluster.power.base import Counter, Refusal
from cluster.power.host import HostFiles, boottime_s
from cluster.power.memory import MEMORY_W_PER_GB
from cluster.power.rapl_zones import MOST_POLL_S
from models.errors import FixSetup, SensorAbsent, SensorLost

# Averages over servers in SPECpower results, per logical processor, as Cloud Carbon Footprint states them for AWS.
CPU_IDLE_W = 0.74
CPU_FULL_W = 3.5


@dataclass(frozen=True, slots=True)
class HostWatts:
    """What the whole host draws idle and with every processor busy; `quality` is of joules worked out from them."""

    idle_w: float
    full_w: float
    quality: Quality


def stated_watts(idle_w: float, full_w: float) -> HostWatts:
    """The operator's own figures. Raises FixSetup unless 0 <= idle_w <= full_w and full_w > 0."""
    if not 0 <= idle_w <= full_w or full_w == 0:
        raise FixSetup(f"power: idle_w {idle_w:g} and full_w {full_w:g} must be 0 <= idle_w <= full_w, full_w above 0")
    return HostWatts(idle_w, full_w, Quality.MODELLED)


def default_watts(host: HostFiles) -> HostWatts:
    """Published averages for so many processors and so much memory: nobody measured this host.

    Raises OSError or ValueError where the kernel does not tell how many.
    """
    memory_w = MEMORY_W_PER_GB * host.memory_gb()
    cpus = host.cpus()
    return HostWatts(memory_w + CPU_IDLE_W * cpus, memory_w + CPU_FULL_W * cpus, Quality.ASSUMED)


class EstimateSensor:
    """A PowerSensor with one device, the host: processors and memory in one figure."""

    name = "estimate"
    poll_s = MOST_POLL_S
    refusals: tuple[Refusal, ...] = ()

    def __init__(self, watts: HostWatts, host: HostFiles, clock: Callable[[], float]) -> None:
        self._watts, self._host, self._clock = watts, host, clock
        self._cpus = host.cpus()
        # Other watts, or another number of processors to divide by, make another counter.
        self._epoch = f"{host.boot_id()}/{watts.idle_w:.6g}-{watts.full_w:.6g}W/{self._cpus}"

    @classmethod
    def open(
        cls,
        watts: HostWatts | None = None,
        *,
        host: HostFiles | None = None,
        clock: Callable[[], float] = boottime_s,
    ) -> Self:
        """With the operator's watts, or the published averages. Raises SensorAbsent where there is no /proc to read."""
        host = host or HostFiles()
        try:
            sensor = cls(watts or default_watts(host), host, clock)
            host.busy_cpu_s()
        except (OSError, ValueError) as error:
            raise SensorAbsent(
                "estimate", f"the kernel does not tell how busy it is: {error}", "mount /proc"
            ) from error
        return sensor

    def read(self) -> tuple[Counter, ...]:
        """The host's modelled joules since boot."""
        try:
            busy_s = self._host.busy_cpu_s()
        except (OSError, ValueError) as error:
            raise SensorLost(f"estimate: {error}") from error
        at_s = self._clock()
        watts = self._watts
        energy_j = watts.idle_w * at_s + (watts.full_w - watts.idle_w) * busy_s / self._cpus
        return (
            Counter(
                device="host",
                pool="cpu",
                kind="host",
                source="estimate",
                quality=watts.quality,
                at_s=at_s,
                energy_j=energy_j,
                most_w=2 * watts.full_w,  # the kernel counts busy time in ticks of 10 ms: short spans are uneven
                epoch=self._epoch,
            ),
        )

    def close(self) -> None:
        """Nothing is held between reads."""
