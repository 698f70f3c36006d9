"""Joules from samples of power, for devices that count no joules themselves."""

GAP_S = 5.0
"""Samples further apart say too little about the time between them."""


class PowerIntegral:
    """The area under samples of power, by the trapezoid rule.

    energy_j  joules under all stretches that were watched; it never falls while power is not negative
    since_s   start of the stretch that runs now, None before the first sample: a gap of more than `gap_s` ends a
              stretch, for nobody knows what was drawn in it. Joules of two stretches must not be subtracted.
    """

    def __init__(self, gap_s: float = GAP_S) -> None:
        self.energy_j = 0.0
        self.since_s: float | None = None
        self._gap_s = gap_s
        self._last = (0.0, 0.0)

    def add(self, at_s: float, power_w: float) -> None:
        """Take a sample of `power_w` at `at_s` on a clock that never goes back."""
        last_s, last_w = self._last
        if self.since_s is not None and 0 <= at_s - last_s <= self._gap_s:
            self.energy_j += (at_s - last_s) * (last_w + power_w) / 2
        else:
            self.since_s = at_s
        self._last = (at_s, power_w)
