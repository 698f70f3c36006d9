"""The sensor of machines that shall not be metered."""

from cluster.power.base import Counter, Refusal
from cluster.power.rapl_zones import MOST_POLL_S


class NullSensor:
    """A PowerSensor that reads nothing, and never loses it."""

    name = "null"
    refusals: tuple[Refusal, ...] = ()
    poll_s = MOST_POLL_S

    def read(self) -> tuple[Counter, ...]:
        """No counters."""
        return ()

    def close(self) -> None:
        """Nothing is held."""
