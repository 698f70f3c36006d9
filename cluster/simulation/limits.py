"""The limits of a simulated day: in numbers, also where they are stated as shares, and as they change through it."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from allocator.choice import Floats
from allocator.limits import CAPACITY, DAY_S, HOUR_S, Kind, Limit
from cluster.simulation.parts import LimitPart, share_of
from cluster.simulation.scenario import Scenario
from cluster.simulation.world import World

Takes = Callable[[Kind], Floats]
"""What each window of the day without limits takes of a kind's resource, (T,), in the resource's own unit."""


@dataclass(frozen=True)
class Schedule:
    """One limit through the day: `steps` from Unix times on, None where it is lifted; the first from ever."""

    name: str
    steps: tuple[tuple[float, Limit | None], ...]

    def at(self, unix_s: float) -> Limit | None:
        """The limit that holds then."""
        index = max(bisect_right([at_s for at_s, _ in self.steps], unix_s) - 1, 0)
        return self.steps[index][1]

    @property
    def any(self) -> Limit:
        """One of its limits, for kind and unit."""
        return next(limit for _, limit in self.steps if limit is not None)


def schedules(world: World, limits: Sequence[LimitPart], takes: Takes) -> tuple[Schedule, ...]:
    """The limits in numbers, and the one of capacity that nobody has to state."""
    stated = [_schedule(world.scenario, one, takes(one.kind), world.window_s) for one in limits]
    return (*(one for one in stated if any(limit for _, limit in one.steps)), *_capacity(world))


def in_force(schedules: Sequence[Schedule], unix_s: float) -> list[Limit]:
    """Those that hold at the time."""
    return [limit for one in schedules if (limit := one.at(unix_s)) is not None]


def _schedule(scenario: Scenario, part: LimitPart, takes: Floats, window_s: float) -> Schedule:
    def limit(figure: float | str | None) -> Limit | None:
        if figure is None:
            return None
        made = Limit(part.chosen_name, part.kind, 0.0, part.chosen_unit)
        share = share_of(figure)
        amount = float(figure) if share is None else share * most_taken(made, takes, window_s)
        return replace(made, limit=amount)

    steps = [(scenario.start_s, limit(part.limit))]
    steps += [(scenario.start_s + one.at_h * HOUR_S, limit(one.limit)) for one in part.changes]
    return Schedule(part.chosen_name, tuple(steps))


def most_taken(limit: Limit, takes: Floats, window_s: float) -> float:
    """What 100% of a limit is, in its unit: of the highest window, or of the hour or day that takes most."""
    if limit.period_s is None:
        return float(takes.max()) / window_s / limit.size
    each = max(1, round(limit.period_s / window_s))
    sums = np.add.reduceat(takes, np.arange(0, len(takes), each))
    short = min(len(takes) * window_s / limit.period_s, 1.0) if limit.period_s == DAY_S else 1.0
    return float(sums.max()) / short / limit.size


def _capacity(world: World) -> tuple[Schedule, ...]:
    """As `cluster.capacity.capacity_limit`, of the processors that are up in each window."""
    share = world.scenario.capacity_share
    cores = world.fleet.cores(world.alive).sum(axis=1)
    if share <= 0:
        return ()
    changed = np.flatnonzero(np.diff(cores, prepend=-1.0))
    steps = [
        (float(world.starts_s[at]), Limit(CAPACITY, Kind.COMPUTE, share * float(cores[at]), "busy_s/s"))
        for at in changed.tolist()
    ]
    return (Schedule(CAPACITY, tuple(steps)),)
