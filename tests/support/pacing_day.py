"""Days of simulated traffic under a quota, minute by minute, for ways of pacing it to be compared on."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from reward_rows import draw

from allocator.choice import ceilings
from allocator.constraints import paced
from allocator.frontier import Frontier
from allocator.pacing.forecast import LoadForecast, LoadState
from allocator.pacing.periods import step_edges
from allocator.pacing.plan import Ahead, Plan, planned
from allocator.price.sample import Sample

Floats = NDArray[np.float64]

MINUTES, MINUTE_S, DAY_S = 1440, 60.0, 86_400.0
MONDAY_S = 4 * DAY_S  # Unix time began on a Thursday
USERS, SEEN = draw(1500, seed=11), draw(256, seed=12)
JOULES = USERS.cost * 1e-3
_EVERYTHING = np.ones(len(JOULES), bool)
CEILING = float(ceilings(SEEN.rewards, JOULES[:, None])[0])


def usual_load(mean: float = 200.0, night: float = 0.1) -> Floats:
    """Requests per second of each minute of a day: quiet at 4, busy at noon, busiest at 20 o'clock, (1440,)."""
    hour = np.arange(MINUTES) / 60
    peaks = np.exp(-(((hour - 12.5) / 3.5) ** 2)) * 0.8 + np.exp(-(((hour - 20) / 2.2) ** 2))
    shape = night + peaks
    return mean * shape / shape.mean()


POPULATION = Frontier.of(USERS.rewards, JOULES)
"""Mean joules and reward of a request at every price per joule."""


def spend(price: float) -> float:
    """What a controller believes that a request spends: from a sample of other users."""
    return float(Sample(SEEN.rewards, JOULES[:, None], _EVERYTHING).spend(np.array([price]))[0])


@dataclass(frozen=True)
class Day:
    """What happens. load (1440,) requests per second; per_joule (1440,) of the quota's unit; offset_w steady."""

    load: Floats
    quota: float
    per_joule: Floats
    offset_w: float = 0.0
    start_s: float = MONDAY_S

    @property
    def uncontrolled(self) -> float:
        return float(self.per_joule.sum() * self.offset_w * MINUTE_S)


@dataclass(frozen=True)
class Outcome:
    """prices (1440,) are per unit of the quota; spent and reward of the whole day."""

    prices: Floats
    spent: float
    reward: float


Allowance = Callable[[int, float], float]


def lived(day: Day, allowance: Allowance) -> Outcome:
    """Each minute spends its allowance of (minute, left of the quota), or less where all take their best chain."""
    prices, spent, reward = np.zeros(MINUTES), 0.0, 0.0
    for minute in range(MINUTES):
        each = day.per_joule[minute]
        requests = day.load[minute] * MINUTE_S
        wanted = allowance(minute, day.quota - spent) / (requests * each) if requests * each > 0 else np.inf
        price = float(POPULATION.price(wanted))
        joules = min(max(wanted, POPULATION.cost[0]), POPULATION.cost[-1])
        earned = float(POPULATION.within(wanted))
        prices[minute] = price / each if each > 0 else 0.0
        spent += each * (joules * requests + day.offset_w * MINUTE_S)
        reward += earned * requests
    return Outcome(prices, spent, reward)


def evenly(day: Day) -> Outcome:
    """The same share of the quota each minute, what is left over included."""

    def allowance(minute: int, left: float) -> float:
        offset = day.per_joule[minute] * day.offset_w * MINUTE_S
        return max(paced(left, 0.0, DAY_S - minute * MINUTE_S, MINUTE_S) - offset, 0.0)

    return lived(day, allowance)


def best(day: Day) -> Outcome:
    """The one price that meets the quota, found by one who knows the day and the users."""
    low, high = 0.0, 2 * float(POPULATION.slopes[0]) / float(day.per_joule[day.per_joule > 0].min())
    requests = day.load * MINUTE_S
    for _ in range(60):
        middle = (low + high) / 2
        joules, _ = POPULATION.at(middle * day.per_joule)
        if day.uncontrolled + day.per_joule @ (joules * requests) > day.quota:
            low = middle
        else:
            high = middle
    price = high * day.per_joule
    joules, earned = POPULATION.at(price)
    spent = day.uncontrolled + float(day.per_joule @ (joules * requests))
    return Outcome(np.full(MINUTES, high), spent, float(earned @ requests))


def learned(loads: list[Floats], until_s: float = MONDAY_S, forecast: LoadForecast | None = None) -> LoadState:
    """What a forecast knows after these days, of which the last ends at `until_s`. Windows are of five minutes."""
    forecast = forecast or LoadForecast()
    state, window_s = forecast.init(), 5 * MINUTE_S
    end_s = until_s - len(loads) * DAY_S
    for rate in (part for load in loads for part in load.reshape(-1, 5).mean(axis=1)):
        end_s += window_s
        state = forecast.seen(state, end_s, window_s, rate * window_s)
    return state


def by_plan(
    day: Day,
    state: LoadState,
    every: int = 15,
    step_s: float = 900.0,
    foreseen: Floats | None = None,
    forecast: LoadForecast | None = None,
) -> Outcome:
    """As a controller does it: a plan now and then, and each minute what the plan allows. The first minute of which
    nothing is known is spent evenly.

    foreseen  (1440,) what is believed of `per_joule`; by default the truth
    """
    forecast = forecast or LoadForecast()
    believed = day.per_joule if foreseen is None else foreseen
    plan: Plan | None = None

    def allowance(minute: int, left: float) -> float:
        nonlocal state, plan
        now_s = day.start_s + minute * MINUTE_S
        if minute:  # the windows of the last minute
            state = forecast.seen(state, now_s, MINUTE_S, day.load[minute - 1] * MINUTE_S)
        if state.number is None:
            return paced(left, 0.0, DAY_S, MINUTE_S)
        if plan is None or minute % every == 0:
            edges = step_edges(now_s, day.start_s + DAY_S, step_s)
            minutes = ((edges[:-1] - day.start_s) // MINUTE_S).astype(int)
            load = forecast.ahead(state, now_s, day.start_s + DAY_S, step_s)
            ahead = Ahead(np.diff(edges), load, np.full(len(load), day.offset_w), believed[minutes])
            plan = planned(left, ahead, spend, CEILING)
        return plan.allowance(day.load[minute], MINUTE_S, left, day.offset_w, day.per_joule[minute])

    return lived(day, allowance)
