"""How many requests come in a window, of late: those that policies decide, and those whose chain none chooses."""

from dataclasses import dataclass, field

import numpy as np

from allocator.choice import Floats
from cluster.accounts import Window

LEAST = 1e-6
CHANCE = 5.0
"""Standard deviations of a count."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """Requests in a window, smoothed.

    decided   by policies
    unpriced  (J,) whose chain no policy chose
    """

    decided: float = 0.0
    unpriced: Floats = field(default_factory=lambda: np.zeros(1))

    def after(self, window: Window, window_s: float, share: float) -> "Asked":
        """With one more window, which counts `share`; begun anew with it where those whose chain no policy chose are so
        many more or fewer than before that it is no chance."""
        decided, unpriced = window.decided_per_s * window_s, window.unpriced_per_s * window_s
        count, expected = float(np.sum(unpriced)), float(self.unpriced.sum()) * decided / max(self.decided, LEAST)
        stepped = decided > 0 and abs(count - expected) > CHANCE * (count + expected + 1) ** 0.5
        share = 1.0 if stepped or self.decided <= LEAST else share
        return Asked(
            self.decided + share * (decided - self.decided), self.unpriced + share * (unpriced - self.unpriced)
        )

    def beside(self, costs: Floats) -> Floats:
        """(M,) what those whose chain no policy chose spend for each that one decides; costs (J, M)."""
        return spend(self.unpriced, costs) / max(self.decided, LEAST)


def spend(requests: Floats, costs: Floats) -> Floats:
    """(M,) of so many requests under each chain, (J,) or none; costs (J, M)."""
    found: Floats = (requests[:, None] * costs).sum(axis=0)
    return found
