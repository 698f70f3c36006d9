"""The memory of hosts whose processors meter none, as a modelled counter."""

from dataclasses import dataclass

from allocator.joules import Quality
from cluster.power.base import Counter

# The average of two makers' figures for DDR4, 0.392 W per GB, as Cloud Carbon Footprint uses it (0.000392 kWh per GBh).
MEMORY_W_PER_GB = 0.392


@dataclass(frozen=True, slots=True)
class ModelledMemory:
    """Constant watts for the installed memory; with `boot_id`, one counter for all processes of the host.

    Memory draws some 10 to 20% of a server. To leave it out would report these joules as zero; so they stand apart, as
    `modelled`, under their own device. Their source is the sensor that reads the processors beside them: a pool is
    billed from one source, and they are to be billed with these.
    """

    power_w: float
    boot_id: str

    def counter(self, at_s: float) -> Counter:
        """Joules since boot, at `at_s` on CLOCK_BOOTTIME."""
        epoch = f"{self.boot_id}/{self.power_w:.6g}W"  # joules at other watts are another counter
        return Counter(
            device="memory",
            pool="cpu",
            kind="dram",
            source="rapl",
            quality=Quality.MODELLED,
            at_s=at_s,
            energy_j=self.power_w * at_s,
            most_w=2 * self.power_w,
            epoch=epoch,
        )
