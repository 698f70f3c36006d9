"""Spreads quotas over their hour or day, so that one price holds throughout as far as forecasts go. No Ray here."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import exp

import numpy as np

from allocator.choice import Floats, Rewards
from allocator.constraints import Resource
from allocator.limits import J_PER_KWH, Limit
from allocator.pacing.forecast import LoadForecast, LoadState
from allocator.pacing.intensity import filled
from allocator.pacing.periods import Period, step_edges
from allocator.pacing.plan import Ahead, Plan, planned
from allocator.pacing.saved import restored
from allocator.price.base import start_bounds, updated_bounds, usable
from allocator.price.sample import Sample
from cluster.carbon.ahead import steps_ahead
from cluster.carbon.base import CarbonProvider
from cluster.spending import Allowance, Rate, Total
from models.errors import GreenFlowError

PLAN_S = 60.0
STEPS = 288
LOAD_S = 10.0
ROWS = 512
Ledgered = Callable[[float], Total]
"""What the ledger has of all windows from a Unix time on, which begins an hour."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Made:
    """A plan, and what it was made for."""

    plan: Plan
    limit: Limit
    period: Period
    at_s: float


class QuotaPacer:
    """As `cluster.spending.Pacer`. Used from one event loop.

    ledgered  asked once for each period: what the ledger has of it already
    carbon    who knows the grid's intensity; None where nobody does
    pue       joules of the building per joule of its machines
    """

    def __init__(
        self,
        ledgered: Ledgered,
        carbon: CarbonProvider | None = None,
        pue: float = 1.0,
        forecast: LoadForecast | None = None,
    ) -> None:
        self._ledgered, self._carbon, self._pue = ledgered, carbon, pue
        self._forecast = forecast or LoadForecast()
        self.load: LoadState = self._forecast.init()
        self._grid: LoadState = self._forecast.init()
        self._per_s: float | None = None
        self._rows: Rewards = np.empty((0, 0), np.float32)
        self._spent: dict[float, Total] = {}
        self._made: dict[str, Made] = {}

    def resume(self, kept: bytes) -> None:
        """Take up a forecast of load that was kept; one that cannot be read is learned anew."""
        try:
            self.load = restored(self._forecast, kept)
        except ValueError as error:
            logger.warning("the forecast of load begins anew: %s", error)

    def seen(self, now_s: float, window_s: float, requests: float, rewards: Rewards, spent: Total | None) -> None:
        """A window has ended, in which policies decided so many requests.

        rewards  (S, J) of some of them
        spent    what its books say, None where they are not closed: then a later one holds it too
        """
        self.load = self._forecast.seen(self.load, now_s, window_s, requests)
        rate, keep = requests / window_s, exp(-window_s / LOAD_S)
        self._per_s = rate if self._per_s is None else rate + keep * (self._per_s - rate)
        fresh = usable(rewards)
        if len(fresh):
            same = self._rows.shape[1:] == fresh.shape[1:]
            self._rows = np.concatenate([self._rows, fresh])[-ROWS:] if same else fresh[-ROWS:]
        if spent is not None:
            self._spent = {start_s: total + spent for start_s, total in self._spent.items()}
        if self._carbon is not None and (intensity := self._carbon.now(now_s)) is not None:
            self._grid = self._forecast.seen(self._grid, now_s, window_s, intensity.g_per_kwh * window_s)

    def allowance(self, limit: Limit, rates: Mapping[Resource, Rate], window_s: float, now_s: float) -> Allowance:
        """As `Pacer.allowance`."""
        assert limit.period_s is not None
        period = Period.holding(now_s, limit.period_s)
        spent = self._spent_in(period).of(limit.resource)
        left, joules = limit.quota - spent, rates[Resource.JOULES]
        per_joule = self._per_joule(rates) if limit.resource is Resource.GRAMS else 1.0
        fixed = joules.fixed * per_joule
        if not len(self._rows) or self._per_s is None:
            share = window_s / max(period.end_s - now_s, window_s)
            return Allowance(max(left, 0.0) * share, spent, True)
        plan = self._plan(limit, period, left, joules, per_joule, window_s, now_s)
        allowed = plan.allowance(self._per_s, window_s, left, joules.fixed / window_s, per_joule)
        return Allowance(allowed + fixed, spent, plan.reachable)

    def _plan(
        self,
        limit: Limit,
        period: Period,
        left: float,
        joules: Rate,
        per_joule: float,
        window_s: float,
        now_s: float,
    ) -> Plan:
        made = self._made.get(limit.name)
        if made is None or (made.limit, made.period) != (limit, period) or now_s - made.at_s >= PLAN_S:
            ahead = self._ahead(limit, period, joules.fixed / window_s, per_joule, now_s)
            plan = planned(left, ahead, *self._curve(joules.costs))
            made = self._made[limit.name] = Made(plan, limit, period, now_s)
        return made.plan

    def _ahead(self, limit: Limit, period: Period, fixed_w: float, per_joule: float, now_s: float) -> Ahead:
        step_s = (period.end_s - period.start_s) / STEPS
        lengths = np.diff(step_edges(now_s, period.end_s, step_s))
        load = self._forecast.ahead(self.load, now_s, period.end_s, step_s)
        grams = np.ones(len(lengths))
        if limit.resource is Resource.GRAMS:
            grams = self._grams_ahead(per_joule, period, step_s, now_s)
        return Ahead(lengths, load, np.full(len(lengths), fixed_w), grams)

    def _grams_ahead(self, per_joule: float, period: Period, step_s: float, now_s: float) -> Floats:
        """Of a joule in each step: as the grid's source forecasts, else as is usual at that time, else as now."""
        assert self._carbon is not None
        known = steps_ahead(self._carbon, now_s, period.end_s, step_s)
        usual = self._forecast.ahead(self._grid, now_s, period.end_s, step_s)
        return filled(known, per_joule * J_PER_KWH / self._pue, usual) * self._pue / J_PER_KWH

    def _curve(self, costs: Floats) -> tuple[Callable[[float], float], float]:
        """Mean joules of a request by price per joule, and the price from which on all take the cheapest chain."""
        every, column = np.ones(len(costs), dtype=bool), costs[:, None]
        sample = Sample(self._rows, column, every)
        ceiling = updated_bounds(start_bounds(np.zeros(1)), self._rows, column, every).ceiling
        return lambda price: float(sample.spend(np.array([price]))[0]), float(ceiling[0])

    def _per_joule(self, rates: Mapping[Resource, Rate]) -> float:
        joules, grams = rates[Resource.JOULES].costs, rates[Resource.GRAMS].costs
        return float(grams.sum() / joules.sum()) if joules.sum() > 0 else 0.0

    def _spent_in(self, period: Period) -> Total:
        if period.start_s not in self._spent:
            self._spent = {start_s: total for start_s, total in self._spent.items() if start_s > period.start_s - 1e5}
            try:
                self._spent[period.start_s] = self._ledgered(period.start_s)
            except GreenFlowError as error:
                logger.warning("what was spent before is not known, quotas count from now on: %s", error)
                self._spent[period.start_s] = Total()
        return self._spent[period.start_s]
