"""What an estimate is worth when it stands in for meters: as much as they last told while both could be heard. Pure.

An estimate is worked out from watts that somebody stated, or that are published averages; it may be off by a factor.
While a host's meters are read, its estimate is followed beside them, and the two are compared. When the meters are
lost, joules of the estimate are billed times what the meters told for each of them, so that watts do not jump and are
worked out from something measured.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from allocator.joules import DeviceJoules
from cluster.power.tabs import Moved

STAND_IN = "estimate"
"""The source that stands in for others."""
FADES_S = 60.0
"""How long a comparison counts: loads change, and with them how far an estimate is off."""
LEAST_ALIKE = 0.98
"""Spans that differ by more are not compared."""


@dataclass(frozen=True, slots=True)
class Compared:
    """Joules that the meters of a pool told, and those that the estimate did of the same time; both fade alike."""

    metered_j: float = 0.0
    estimated_j: float = 0.0

    @property
    def ratio(self) -> float | None:
        """Joules that one of the estimate's stands for; None where that was never seen."""
        known = self.metered_j > 0 and self.estimated_j > 0
        return self.metered_j / self.estimated_j if known else None


def compared(before: Compared, rows: Sequence[DeviceJoules], estimate: Moved) -> Compared:
    """The comparison after a window in which the pool was billed by these rows, all of one meter and told in one breath
    with the estimate. It stays as it is where these tell of different times, or a counter did anything but count: one
    that stands still tells nothing of what is drawn."""
    spans = [estimate.window_s, *(row.window_s for row in rows)]
    if not rows or not estimate.fresh or estimate.events or not all(row.fresh and row.energy_j > 0 for row in rows):
        return before
    if min(spans) <= 0 or min(spans) < LEAST_ALIKE * max(spans):
        return before
    keep = math.exp(-estimate.window_s / FADES_S)
    metered_j = math.fsum(row.energy_j for row in rows)
    return Compared(keep * before.metered_j + metered_j, keep * before.estimated_j + estimate.energy_j)
