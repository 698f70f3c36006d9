"""Spreads quotas over their hour or day, so that one price holds throughout as far as forecasts go. No Ray here."""

import logging
from collections.abc import Callable, Mapping, Sequence
from math import exp, inf

import numpy as np

from allocator.choice import Floats, Rewards, ceilings
from allocator.constraints import Resource, paced
from allocator.emissions import JOULES_PER_KWH
from allocator.limits import Limit
from allocator.pacing import saved
from allocator.pacing.curve import Spend
from allocator.pacing.forecast import LoadForecast, LoadState
from allocator.pacing.intensity import filled
from allocator.pacing.pace import Held, Pace
from allocator.pacing.periods import Period, step_edges
from allocator.pacing.plan import Ahead
from allocator.price.base import usable
from allocator.price.sample import Sample
from cluster.accounts import Window
from cluster.asked import Asked
from cluster.carbon.ahead import steps_ahead
from cluster.carbon.base import CarbonProvider
from cluster.events import Event, happened
from cluster.spending import Allowance, Billed, Rate
from cluster.spent import Ledgered, Spent

LOAD, GRID = "load", "grid"
LOAD_S = 10.0
ROWS = 256
"""Reward rows that plans are made from: more say little more, and with a thousand chains take their time."""
Expected = Callable[[], float | None]
logger = logging.getLogger(__name__)


class QuotaPacer:
    """As `cluster.spending.Pacer`. Used from one event loop; reads nothing itself.

    What a period has spent is what the ledger has of it (`ledgered`), and windows that it lacks yet. As long as the
    ledger has not been read, a period that began before windows were counted is thought to have spent its even share
    until then, and what that leaves is spread evenly over its rest: no plan spends a saving that may not be there, and
    the day is not given up. What is shown as spent is what was counted.

    carbon    who knows the grid's intensity; None where nobody does
    pue       joules of the building per joule of its machines
    expected  requests of the next window as whoever follows the price expects them: its price is then the plan's. None
              while it expects nothing
    """

    def __init__(
        self,
        carbon: CarbonProvider | None = None,
        pue: float = 1.0,
        expected: Expected = lambda: None,
        forecast: LoadForecast | None = None,
    ) -> None:
        self._carbon, self._pue, self._expected = carbon, pue, expected
        self._forecast, self._pace = forecast or LoadForecast(), Pace()
        self.load: LoadState = self._forecast.init()
        self.grid: LoadState = self._forecast.init()
        self._asked: Asked | None = None
        self._rows: Rewards = np.empty((0, 0), np.float32)
        self._spent = Spent()
        self._held: dict[str, Held] = {}

    def dumped(self, key: str) -> bytes:
        """What is to be kept of a forecast, of LOAD or of GRID."""
        return saved.dumped(self.load if key == LOAD else self.grid)

    def resume(self, kept: Mapping[str, bytes]) -> None:
        """Take up forecasts that were kept; one that cannot be read is learned anew.

        They know the week, so one goes on from them also where they come late: the few minutes that were learned
        meanwhile are then dropped.
        """
        self.load = self._resumed(self.load, kept.get(LOAD), "load")
        self.grid = self._resumed(self.grid, kept.get(GRID), "carbon intensity")

    def _resumed(self, now: LoadState, kept: bytes | None, of: str) -> LoadState:
        if kept is None:
            return now
        try:
            found = saved.restored(self._forecast, kept)
        except ValueError as error:
            happened(logger, Event.BEGINS_ANEW, "the forecast of %s begins anew: %s", of, error)
            return now
        if found.number is None:
            return now
        if now.number is not None:
            text = "the forecast of %s that was kept comes late: what was learned since is dropped"
            happened(logger, Event.BEGINS_ANEW, text, of)
        return found

    def ledgered(self, ledgered: Ledgered) -> None:
        """What the ledger has by now. To be told again and again."""
        self._spent = self._spent.told(ledgered)

    def seen(self, now_s: float, window_s: float, window: Window, billed: Sequence[Billed] = ()) -> None:
        """A window has ended.

        billed  windows whose books were closed since the last one, this one perhaps among them; each is told once
        """
        self.load = self._forecast.seen(self.load, now_s, window_s, window.decided_per_s * window_s)
        self._asked = (self._asked or Asked()).after(window, window_s, 1 - exp(-window_s / LOAD_S))
        fresh = usable(window.rewards)[-ROWS:]
        if len(fresh):
            joins = len(fresh) < ROWS and self._rows.shape[1:] == fresh.shape[1:]
            self._rows = np.concatenate([self._rows, fresh])[-ROWS:] if joins else fresh
        for one in billed:
            self._spent = self._spent.seen(one)
        intensity = None if self._carbon is None else self._carbon.now(now_s)
        if intensity is not None and not intensity.stale:  # a figure of long ago says nothing of this hour
            self.grid = self._forecast.seen(self.grid, now_s, window_s, intensity.g_per_kwh * window_s)

    def allowance(self, limit: Limit, rates: Mapping[Resource, Rate], window_s: float, now_s: float) -> Allowance:
        """As `Pacer.allowance`."""
        assert limit.period_s is not None
        period = Period.holding(now_s, limit.period_s)
        spent = self._spent.within(period.start_s, period.end_s).of(limit.resource)
        if not self._spent.knows(period.start_s):
            before = self._evenly(limit.quota, period, now_s)
            return Allowance(paced(limit.quota, before + spent, period.end_s - now_s, window_s), spent)
        if not len(self._rows) or self._asked is None:
            return Allowance(paced(limit.quota, spent, period.end_s - now_s, window_s), spent)
        joules = rates[Resource.JOULES]
        per_joule = _ratio(rates) if limit.resource is Resource.GRAMS else 1.0
        fixed_w = joules.fixed / window_s
        held = self._held.get(limit.name)
        last_s = max((one.made_s for one in self._held.values()), default=-inf)
        if held is None or self._pace.due(held, limit.quota, period, now_s, last_s):
            held = self._made(limit, spent, period, now_s, joules.costs, fixed_w, per_joule)
        expected = self._expected()
        load = (self._asked.decided if expected is None else expected) / window_s
        allowed = held.plan.allowance(load, window_s, limit.quota - spent, fixed_w, per_joule)
        return Allowance(joules.fixed * per_joule + allowed, spent, held.plan.reachable)

    def _made(
        self,
        limit: Limit,
        spent: float,
        period: Period,
        now_s: float,
        costs: Floats,
        fixed_w: float,
        per_joule: float,
    ) -> Held:
        def ahead(from_s: float, until_s: float, step_s: float) -> Ahead:
            lengths = np.diff(step_edges(from_s, until_s, step_s))
            grams = np.ones(len(lengths))
            if limit.resource is Resource.GRAMS:
                grams = self._grams_ahead(per_joule, from_s, until_s, step_s)
            load = self._forecast.ahead(self.load, from_s, until_s, step_s)
            return Ahead(lengths, load, np.full(len(lengths), fixed_w), grams)

        spend, ceiling = self._sampled(costs)
        self._held[limit.name] = self._pace.made(limit.quota, spent, period, now_s, ahead, spend, ceiling)
        return self._held[limit.name]

    def _grams_ahead(self, per_joule: float, from_s: float, until_s: float, step_s: float) -> Floats:
        """Of a joule in each step: as the grid's source forecasts, else as is usual at that time, else as now."""
        assert self._carbon is not None
        known = steps_ahead(self._carbon, from_s, until_s, step_s)
        learned = self.grid.number is not None
        usual = self._forecast.ahead(self.grid, from_s, until_s, step_s) if learned else None
        return filled(known, per_joule * JOULES_PER_KWH / self._pue, usual) * self._pue / JOULES_PER_KWH

    def _sampled(self, costs: Floats) -> tuple[Spend, float]:
        """Mean joules of a request by price per joule, with those of others for each, and the price from which on all
        take the cheapest chain."""
        every, column = np.ones(len(costs), dtype=bool), costs[:, None]
        sample = Sample(self._rows, column, every, 0.0 if self._asked is None else self._asked.beside(column))
        top = float(ceilings(self._rows, column, every)[0])
        return lambda price: float(sample.spend(np.array([price]))[0]), top

    def _evenly(self, quota: float, period: Period, now_s: float) -> float:
        """What a period is thought to have spent before windows were counted."""
        from_s = now_s if self._spent.from_s is None else min(self._spent.from_s, now_s)
        return quota * (from_s - period.start_s) / (period.end_s - period.start_s)


def _ratio(rates: Mapping[Resource, Rate]) -> float:
    """Grams per joule, as the costs of chains have it."""
    joules, grams = rates[Resource.JOULES].costs, rates[Resource.GRAMS].costs
    return float(grams.sum() / joules.sum()) if joules.sum() > 0 else 0.0
