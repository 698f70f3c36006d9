"""How many requests come, from where, and who serves them: made up, by window."""

import numpy as np
from numpy.typing import NDArray

from allocator.choice import Floats
from allocator.limits import HOUR_S
from cluster.simulation.parts import Region, Span, Traffic
from cluster.simulation.scenario import Scenario

LEAST = 0.02


def within(span: Span, hours: Floats) -> NDArray[np.bool_]:
    """Which of these times, in hours since the start, lie in the span."""
    return (hours >= span.at_h) & (hours < span.at_h + span.hours)


def middles_h(scenario: Scenario) -> Floats:
    """The middle of each window in hours since the start, (T,)."""
    hours: Floats = (np.arange(scenario.windows, dtype=np.float64) + 0.5) * scenario.window_s / HOUR_S
    return hours


def usual(region: Region, hours: Floats) -> Floats:
    """Requests a second at these times of a usual day."""
    angle = 2 * np.pi * (hours - region.peak_h) / 24
    rate: Floats = region.rps * np.maximum(1 + region.swing * np.cos(angle) + region.second * np.cos(2 * angle), LEAST)
    return rate


def wandering(count: int, step_s: float, size: float, settles_s: float, rng: np.random.Generator) -> Floats:
    """Positive factors around one whose logarithms wander by `size` and are forgotten in `settles_s`, (count,)."""
    keep = float(np.exp(-step_s / settles_s))
    steps = rng.standard_normal(count) * size * (1 - keep**2) ** 0.5
    level, levels = size * float(rng.standard_normal()), []
    for step in steps.tolist():
        level = keep * level + step
        levels.append(level)
    factors: Floats = np.exp(np.array(levels) - size**2 / 2)
    return factors


def usual_load(traffic: Traffic, hours: Floats, step_s: float, rng: np.random.Generator) -> Floats:
    """Requests a second of each region, (regions, T), on a day without crowds."""
    rates = [
        usual(region, hours) * wandering(len(hours), step_s, traffic.noise, traffic.settles_s, rng)
        for region in traffic.regions.values()
    ]
    return np.stack(rates)


def load(traffic: Traffic, hours: Floats, step_s: float, rng: np.random.Generator) -> Floats:
    """The same of the day that is simulated, with its crowds."""
    rates = usual_load(traffic, hours, step_s, rng)
    names = list(traffic.regions)
    for crowd in traffic.crowds:
        rows = [names.index(crowd.region)] if crowd.region is not None else list(range(len(names)))
        for row in rows:
            rates[row, within(crowd, hours)] *= crowd.times
    return rates


def routed(scenario: Scenario, rates: Floats, alive: Floats) -> Floats:
    """Requests a second that each group of machines is sent, (T, G).

    rates (regions, T); alive (T, G) machines. A region's requests go to its own machines in proportion to their
    processors, and to those of all other regions where it has none.
    """
    groups = list(scenario.nodes.values())
    power = alive * np.array([group.cores for group in groups])
    sent: Floats = np.zeros_like(power)
    for name, rate in zip(scenario.traffic.regions, rates, strict=True):
        own = power * np.array([group.region == name for group in groups])
        takes = np.where(own.sum(axis=1, keepdims=True) > 0, own, power)
        total = takes.sum(axis=1, keepdims=True)
        sent += rate[:, None] * np.divide(takes, total, out=np.zeros_like(takes), where=total > 0)
    return sent
