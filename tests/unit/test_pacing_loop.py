"""A quota of an hour through the price strategy that serves: random requests, late knowledge, and one price."""

from dataclasses import dataclass

import numpy as np
import pytest
from pacing_day import CEILING, JOULES, USERS, learned

from allocator.choice import chains_under
from allocator.pacing.curve import Spend
from allocator.pacing.forecast import LoadForecast, LoadState
from allocator.pacing.pace import Forecast, Held, Pace
from allocator.pacing.periods import Period, step_edges
from allocator.pacing.plan import Ahead
from allocator.price.base import Observation, Terms
from allocator.price.predictive import Predictive, PredictiveState
from allocator.price.sample import Sample

WINDOW_S, HOUR_S, WINDOWS = 10.0, 3600.0, 360
PERIOD = Period(0.0, HOUR_S)
COSTS = JOULES[:, None]
EVERYTHING = np.ones(len(JOULES), bool)
FORECAST, PACE, STRATEGY = LoadForecast(), Pace(), Predictive(rows=256)


@dataclass(frozen=True)
class Run:
    """prices (T,), spent of the hour, and how often a plan was made."""

    prices: np.ndarray
    spent: float
    plans: int


def spend_of(state: PredictiveState) -> Spend:
    """A request's mean joules by price, as the strategy's own sample and its correction say."""
    tracker = state.corrections[0]
    factor = 1.0 if tracker is None else float(np.exp(tracker.ahead()))
    sample = Sample(state.rows, COSTS, EVERYTHING)
    return lambda price: factor * float(sample.spend(np.array([price]))[0])


def hour(load: np.ndarray, quota: float, seed: int = 0) -> Run:
    """Each window: what was seen goes into the forecast, a plan is made when due, its allowance is the next limit."""
    rng = np.random.default_rng(seed)
    state, known = STRATEGY.init(np.array([0.2 * CEILING]), seed), learned([])
    limit, spent, plans, prices = np.array([quota * WINDOW_S / HOUR_S]), 0.0, 0, []
    held: Held | None = None
    for number, rate in enumerate(load):
        now_s = (number + 1) * WINDOW_S
        rows = USERS.rewards[rng.integers(0, len(USERS.rewards), rng.poisson(rate * WINDOW_S))]
        terms = Terms(state.prices, limit, EVERYTHING)
        drawn = COSTS[chains_under(rows, COSTS, state.prices)].sum(axis=0)
        spent += float(drawn[0])
        prices.append(float(state.prices[0]))
        known = FORECAST.seen(known, now_s, WINDOW_S, len(rows))
        if len(state.rows) and now_s < HOUR_S:
            if PACE.due(held, quota, PERIOD, now_s):
                held = PACE.made(quota, spent, PERIOD, now_s, forecast_of(known), spend_of(state), CEILING)
                plans += 1
            assert held is not None
            expected = float(np.exp(state.arrivals.ahead())) / WINDOW_S if state.arrivals else rate
            limit = np.array([held.plan.allowance(expected, WINDOW_S, quota - spent)])
        state = STRATEGY.step(state, Observation(len(rows), drawn, terms, rows[:64], COSTS, limit, EVERYTHING))
    return Run(np.array(prices), spent, plans)


def forecast_of(known: LoadState) -> Forecast:
    def ahead(from_s: float, until_s: float, step_s: float) -> Ahead:
        load = FORECAST.ahead(known, from_s, until_s, step_s)
        lengths = np.diff(step_edges(from_s, until_s, step_s))
        return Ahead(lengths, load, np.zeros(len(load)), np.ones(len(load)))

    return ahead


@pytest.mark.parametrize("seed", [0, 1])
def test_random_requests_of_a_steady_load_are_held_to_the_quota_at_one_price(seed: int) -> None:
    load = np.full(WINDOWS, 200.0)
    quota = 0.2 * float(JOULES.max()) * load.sum() * WINDOW_S
    run = hour(load, quota, seed)
    assert run.spent == pytest.approx(quota, rel=0.01)
    settled = run.prices[30:-6]
    assert settled.std() < 0.15 * settled.mean()
    assert run.plans == 60


@pytest.mark.parametrize("factor", [0.4, 3.0])
def test_a_load_that_leaps_in_the_middle_of_the_hour_breaks_no_quota(factor: float) -> None:
    load = np.where(np.arange(WINDOWS) < WINDOWS / 2, 200.0, 200.0 * factor)
    quota = 0.15 * float(JOULES.max()) * WINDOWS * 200.0 * WINDOW_S
    assert hour(load, quota).spent == pytest.approx(quota, rel=0.01)
