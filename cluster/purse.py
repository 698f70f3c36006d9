"""What every control tick is told: limits as they are now, what the window spent of them, what chains cost. No Ray."""

from collections.abc import Callable, Sequence

from allocator.chains import ChainSpace
from allocator.choice import Mask
from allocator.constraints import Resource
from allocator.energy.figures import RowsPerRun
from allocator.limits import Limit
from cluster.accountant import Closed
from cluster.accounts import Window
from cluster.means import Means
from cluster.spending import Drawn, Pacer, Rate, aims_of, free, joules_rate, means_of, spent_in

Limits = Callable[[], Sequence[Limit]]
Available = Callable[[], Mask | None]


class Purse:
    """Used from one event loop, once a window.

    limits     those in force
    available  (J,) the chains that may be taken
    """

    def __init__(self, space: ChainSpace, window_s: float, limits: Limits, pacer: Pacer, available: Available) -> None:
        self._space, self._window_s, self._limits = space, window_s, limits
        self._pacer, self._available = pacer, available
        self._drawn = Drawn()
        self._joules: Rate | None = None
        self._grams_per_j: float | None = None

    def means(self, window: Window, closed: Closed | None, now_s: float) -> Means:
        """For the window that begins at `now_s`, Unix time. `closed` are the books of the one that ended."""
        rates = self._rates(window, closed)
        spent = None if closed is None else spent_in(closed)
        requests = window.decided_per_s * self._window_s
        self._pacer.seen(now_s, self._window_s, requests, window.rewards, spent)
        aims = aims_of(self._limits(), rates, self._pacer, now_s, self._window_s)
        return means_of(aims or free(self._space, rates[Resource.FLOPS]), rates, self._available())

    def _rates(self, window: Window, closed: Closed | None) -> dict[Resource, Rate]:
        flops = Rate(self._space.flops, float(window.executed_per_s @ self._space.flops) * self._window_s)
        rates = {Resource.FLOPS: flops}
        if closed is not None:
            self._take(closed)
        if self._joules is not None:
            joules = self._joules if closed is not None else self._joules.unmeasured()
            rates[Resource.JOULES] = joules
            if self._grams_per_j is not None:
                rates[Resource.GRAMS] = joules.times(self._grams_per_j)
        return rates

    def _take(self, closed: Closed) -> None:
        assert closed.model is not None
        self._drawn = self._drawn.after(closed)
        self._joules = joules_rate(closed.model, self._space, self._rows, self._drawn, self._window_s)
        self._grams_per_j = closed.rates.grams_per_j

    @property
    def _rows(self) -> RowsPerRun:
        return 1.0
