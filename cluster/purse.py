"""What every control tick is told: limits as they are now, what the window spent of them, what chains cost. No Ray."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from math import nan

from allocator import busy
from allocator.chains import ChainSpace
from allocator.choice import Mask
from allocator.constraints import Resource
from allocator.energy.figures import difference_error
from allocator.energy.prior import Prior
from allocator.energy.state import initial
from allocator.limits import Limit
from cluster.accountant import Closed
from cluster.accounts import Window
from cluster.computing import Computing
from cluster.means import Means
from cluster.spending import Drawn, Pacer, Rate, aims_of, billed_in, free, joules_rate, means_of
from cluster.unheld import Unheld
from cluster.work import WorkCounts

Limits = Callable[[], Sequence[Limit]]
Grams = Callable[[float], float | None]


class Purse:
    """Used from one event loop, once a window.

    limits       those in force
    prior        what is believed of variants before any has run
    grams_per_j  at a Unix time, PUE included; None while nobody knows it
    meters       whether joules are accounted for
    """

    def __init__(
        self,
        space: ChainSpace,
        window_s: float,
        limits: Limits,
        pacer: Pacer,
        prior: Prior,
        grams_per_j: Grams = lambda now_s: None,
        meters: bool = True,
    ) -> None:
        self._grams_per_j = grams_per_j
        self._model = initial(prior) if meters else None
        self._space, self._window_s, self._limits, self._pacer = space, window_s, limits, pacer
        self._computing, self._prior, self._unheld = Computing(busy.initial(prior)), prior, Unheld()
        self._drawn = Drawn()

    @property
    def fixed_w(self) -> float | None:
        """Watts that no choice of chains changes, smoothed; None before meters told of them."""
        return self._drawn.fixed_w if self._drawn.known else None

    def resume(self, fixed_w: float) -> None:
        """Go on from what an earlier controller knew of these watts, unless meters have told already."""
        if not self._drawn.known:
            self._drawn = replace(self._drawn, fixed_w=fixed_w, before_w=fixed_w, known=True)

    def dumped(self) -> Mapping[str, bytes]:
        """What is to be kept of what computation costs, by key."""
        return self._computing.dumped()

    def resume_costs(self, kept: Mapping[str, bytes]) -> None:
        """Take up what was kept of that; variants that have run since keep what they have taught."""
        self._computing = self._computing.resumed(self._space, self._prior, kept)

    def means(
        self,
        window: Window,
        work: WorkCounts,
        closed: Closed | None,
        now_s: float,
        available: Mask | None = None,
        late: Sequence[Closed] = (),
    ) -> Means:
        """For the window that begins at `now_s`, Unix time.

        window     the one that ended, and `closed` its books, None where there are none in time
        work       what variants did since the controller began
        available  (J,) the chains that may be taken
        late       books of windows before, told for the first time; where `closed` is None the newest of them says
                   what was measured: a feed that is a window late is better than none
        """
        self._computing = self._computing.after(self._space, window, work, self._window_s)
        books = late if closed is None else (*late, closed)
        for one in books:
            self._model, self._drawn = one.model, self._drawn.after(one)
        rates = self._rates(window, bool(books), now_s)
        self._pacer.seen(now_s, self._window_s, window, [billed_in(one) for one in books])
        limits = self._limits()
        self._unheld.look(limits, rates.keys(), now_s)
        aims = aims_of(limits, rates, self._pacer, now_s, self._window_s)
        return means_of(aims or free(self._space, rates[Resource.FLOPS]), rates, available)

    def saving_error_j(self, window: Window) -> float:
        """Standard error, by the energy model, of what a request under the static chain costs more than those of the
        window did on average; NaN while nothing is known of it."""
        executed = float(window.executed_per_s.sum())
        if self._model is None or not executed:
            return nan
        mix = window.executed_per_s / executed
        return difference_error(self._model, self._space, self._computing.rows_per_run, mix)

    def _rates(self, window: Window, measured: bool, now_s: float) -> dict[Resource, Rate]:
        rates = {
            Resource.FLOPS: Rate(self._space.flops, float(window.executed_per_s @ self._space.flops) * self._window_s),
            Resource.COMPUTE: Rate(self._computing.costs(self._space), self._computing.spent_s),
        }
        if self._model is not None:
            rows = self._computing.rows_per_run
            joules = joules_rate(self._model, self._space, rows, self._drawn, self._window_s)
            rates[Resource.JOULES] = joules if measured else joules.unmeasured()
            if (grams := self._grams_per_j(now_s)) is not None:
                rates[Resource.GRAMS] = rates[Resource.JOULES].times(grams)
        return rates
