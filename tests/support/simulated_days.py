"""Simulated days for tests and tests/bench/day_at_scale.py: played to their end, and what they are held against."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from allocator.emissions import JOULES_PER_KWH
from allocator.limits import Kind
from cluster.ledger.store import Ledger
from cluster.simulation.day import Day
from cluster.simulation.hindsight import Hindsight
from cluster.simulation.limits import schedules
from cluster.simulation.outcome import Outcome, outcome_of
from cluster.simulation.parts import LimitPart
from cluster.simulation.scenario import Scenario, read_scenario, shipped
from cluster.simulation.world import World

HALVINGS = 60


def scenario(name: str, **changes: object) -> Scenario:
    """One that ships, with other figures."""
    path = next(path for path in shipped() if path.stem == name)
    read = read_scenario(path)
    return Scenario.model_validate({**read.model_dump(), **changes}) if changes else read


def play(
    world: World,
    limits: Sequence[LimitPart] | None = None,
    ledger: Path | None = None,
    tell: Callable[[int], None] = lambda _: None,
) -> Outcome:
    """The whole day, under its own limits where none are given."""
    hindsight = Hindsight(world)
    made = schedules(world, world.scenario.limits if limits is None else limits, hindsight.costs.takes)
    day = Day(world, made, ledger)
    for n, _ in enumerate(day.rows(), start=1):
        tell(n)
    day.close()
    return outcome_of(day, world, made, hindsight)


def flat_cap_w(world: World, grams: float) -> float:
    """Watts that all windows may draw at most for the day to emit so many grams."""
    hindsight = Hindsight(world)
    free, least = hindsight.costs.takes(Kind.POWER), hindsight.costs.least(Kind.POWER)
    low, high = 0.0, float(free.max()) / world.window_s
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        drawn = np.clip(middle * world.window_s, least, free)
        low, high = (low, middle) if float(drawn @ world.g_per_j) > grams else (middle, high)
    return low


def against_flat_cap(world: World, grams: float) -> tuple[float, float]:
    """What a quota earns over what a flat power cap earns that emits about so many grams, and its grams over those.

    The quota is what the cap emitted, so that both may emit the same.
    """
    cap = LimitPart(kind=Kind.POWER, limit=flat_cap_w(world, grams), unit="W")
    flat = play(world, (cap,))
    own = play(world, (LimitPart(kind=Kind.CARBON, limit=flat.grams, unit="g/day"),))
    return own.predicted / flat.predicted, own.grams / flat.grams


def meter_error(outcome: Outcome, world: World) -> float:
    """Standard deviation of the day's billed joules around the true ones by the meters' noise, relative, at most."""
    noise = max(group.meter_noise for group in world.scenario.nodes.values())
    return float(noise / outcome.windows**0.5)


def kwh_in(file: Path) -> float:
    """All that a ledger's devices drew."""
    ledger = Ledger.open(file)
    with ledger.use() as db:
        (joules,) = db.execute("SELECT total(energy_j) FROM device_total WHERE span = 'day'").fetchone()
    ledger.close()
    return float(joules) / JOULES_PER_KWH
