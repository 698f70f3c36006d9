"""What every control tick is told: limits as they are now, what the window spent of them, what chains cost. No Ray."""

from collections.abc import Callable, Sequence

from allocator import busy
from allocator.chains import ChainSpace
from allocator.choice import Mask
from allocator.constraints import Resource
from allocator.energy.prior import Prior
from allocator.limits import Limit
from cluster.accountant import Closed
from cluster.accounts import Window
from cluster.computing import Computing
from cluster.means import Means
from cluster.spending import Drawn, Pacer, Rate, aims_of, free, joules_rate, means_of, spent_in
from cluster.work import WorkCounts

Limits = Callable[[], Sequence[Limit]]


class Purse:
    """Used from one event loop, once a window.

    limits  those in force
    prior   what is believed of variants before any has run
    """

    def __init__(self, space: ChainSpace, window_s: float, limits: Limits, pacer: Pacer, prior: Prior) -> None:
        self._space, self._window_s, self._limits, self._pacer = space, window_s, limits, pacer
        self._computing = Computing(busy.initial(prior))
        self._drawn = Drawn()
        self._joules: Rate | None = None
        self._grams_per_j: float | None = None

    def means(
        self,
        window: Window,
        work: WorkCounts,
        closed: Closed | None,
        now_s: float,
        available: Mask | None = None,
    ) -> Means:
        """For the window that begins at `now_s`, Unix time.

        window     the one that ended, and `closed` its books, None where there are none in time
        work       what variants did since the controller began
        available  (J,) the chains that may be taken
        """
        self._computing = self._computing.after(self._space, window, work, self._window_s)
        rates = self._rates(window, closed)
        spent = None if closed is None else spent_in(closed)
        requests = window.decided_per_s * self._window_s
        self._pacer.seen(now_s, self._window_s, requests, window.rewards, spent)
        aims = aims_of(self._limits(), rates, self._pacer, now_s, self._window_s)
        return means_of(aims or free(self._space, rates[Resource.FLOPS]), rates, available)

    def _rates(self, window: Window, closed: Closed | None) -> dict[Resource, Rate]:
        rates = {
            Resource.FLOPS: Rate(self._space.flops, float(window.executed_per_s @ self._space.flops) * self._window_s),
            Resource.COMPUTE: Rate(self._computing.costs(self._space), self._computing.spent_s),
        }
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
        self._joules = joules_rate(closed.model, self._space, self._computing.rows_per_run, self._drawn, self._window_s)
        self._grams_per_j = closed.rates.grams_per_j
