"""What a simulated day came to: totals, how each limit was kept, and the day in a few hundred points."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np

from allocator.choice import Floats
from allocator.emissions import JOULES_PER_KWH
from allocator.limits import CAPACITY
from cluster.simulation.day import Day, Row
from cluster.simulation.hindsight import Fixed, Hindsight
from cluster.simulation.limits import Schedule
from cluster.simulation.world import World

MOST_POINTS = 288


@dataclass(frozen=True, slots=True)
class LimitOutcome:
    """How one limit was kept.

    limit       the lowest that was stated, in `unit`
    used, over  means over windows, or for a quota over its periods: min(spent, limit) / limit, and what was spent above
                it; `most` is the largest spent / limit of one of them, infinite where something was spent of nothing.
                NaN where the limit never held, or was nothing and nothing was spent
    prices      least, mean and largest, reward per unit of the resource
    unreachable windows in which the controller said that no chains could hold it
    """

    name: str
    kind: str
    limit: float
    unit: str
    used: float
    over: float
    most: float
    prices: tuple[float, float, float]
    unreachable: int


@dataclass(frozen=True, slots=True)
class Series:
    """The day in a few hundred points, each the mean of some windows; a figure that there is none of is NaN.

    limit_w    what all machines might draw, by each limit of joules
    prices     by limit, reward per unit of its resource
    mix        share of requests by what the cascade's last stage did for them
    """

    hours: list[float]
    rps: list[float]
    power_w: list[float]
    g_per_kwh: list[float]
    reward: list[float]
    limit_w: dict[str, list[float]]
    prices: dict[str, list[float]]
    mix: dict[str, list[float]]


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run of a day. Joules and grams are the true ones of all machines; `billed_j` is the ledger's sum and
    `counted_j` that of the machines' own counters.

    windows     that were played, of `planned`
    reward      realised; `predicted` is what the reward model says of the same chains
    optimum     the most that could have been predicted within the limits, in hindsight; None for part of a day
    free, static  the same windows without limits, and under the static chain alone
    best_fixed  what the best mix of two fixed chains earns with the same joules; None where none takes so few
    silent, unreachable, overloaded  windows in which sensors could not be read, a limit could not be held, or requests
                were refused; degraded: any of these
    """

    name: str
    shows: str
    window_s: float
    windows: int
    planned: int
    machines: int
    requests: int
    most_rps: float
    refused: int
    joules: float
    grams: float
    billed_j: float
    counted_j: float
    reward: float
    predicted: float
    optimum: float | None
    free: Fixed
    static: Fixed
    best_fixed: float | None
    silent: int
    unreachable: int
    overloaded: int
    degraded: int
    limits: tuple[LimitOutcome, ...]
    series: Series
    wall_s: float = nan

    @property
    def complete(self) -> bool:
        """Whether the whole day was played."""
        return self.windows == self.planned

    @property
    def kwh(self) -> float:
        """Of all machines."""
        return self.joules / JOULES_PER_KWH

    @property
    def of_optimum(self) -> float | None:
        """Share of the optimum that was earned, by predictions."""
        return None if not self.optimum else self.predicted / self.optimum


def outcome_of(
    day: Day, world: World, limits: Sequence[Schedule], hindsight: Hindsight, wall_s: float = nan
) -> Outcome:
    """What was played of the day. hindsight: of the whole day."""
    rows, scenario = day.played.rows, world.scenario
    whole = len(rows) == len(world.requests)
    part = world if whole else world.first(len(rows))
    seen = hindsight if whole else Hindsight(part)
    joules = np.array([row.joules for row in rows])
    total = float(joules.sum())
    return Outcome(
        name=scenario.name,
        shows=scenario.shows,
        window_s=world.window_s,
        windows=len(rows),
        planned=len(world.requests),
        machines=sum(group.count for group in scenario.nodes.values()),
        requests=sum(row.requests for row in rows),
        most_rps=max((row.requests for row in rows), default=0) / world.window_s,
        refused=sum(row.refused for row in rows),
        joules=total,
        grams=float(joules @ part.g_per_j),
        billed_j=sum(row.billed_j for row in rows),
        counted_j=day.played.counted_j,
        reward=sum(row.reward for row in rows),
        predicted=sum(row.predicted for row in rows),
        optimum=hindsight.optimum(limits) if whole else None,
        free=seen.free,
        static=seen.static,
        best_fixed=seen.best_fixed(total),
        silent=sum(row.silent for row in rows),
        unreachable=sum(bool(row.unreachable) for row in rows),
        overloaded=sum(row.refused > 0 for row in rows),
        degraded=sum(row.degraded for row in rows),
        limits=tuple(_limit(one, part, rows) for one in limits),
        series=_series(part, rows, limits),
        wall_s=wall_s,
    )


def _limit(one: Schedule, world: World, rows: Sequence[Row]) -> LimitOutcome:
    spent = np.array([row.spent[one.name] for row in rows])
    held = [one.at(at_s) for at_s in world.starts_s.tolist()]
    limit = np.array([nan if at is None else at.quota for at in held])
    period_s = one.any.period_s
    if period_s is None:
        ratio = _ratios(spent, limit * world.window_s)
    else:
        period = world.starts_s // period_s
        each = [period == number for number in np.unique(period)]
        quotas = [(spent[at].sum(), np.nanmax(limit[at])) for at in each if np.isfinite(limit[at]).any()]
        ratio = _ratios(*np.array(quotas).reshape(-1, 2).T)
    prices = [row.prices.get(one.name, 0.0) for row in rows] or [0.0]
    stated = [at.limit for _, at in one.steps if at is not None]
    return LimitOutcome(
        name=one.name,
        kind=str(one.any.kind),
        limit=min(stated),
        unit=one.any.unit,
        used=float(np.minimum(ratio, 1.0).mean()) if len(ratio) else nan,
        over=float(np.maximum(ratio - 1.0, 0.0).mean()) if len(ratio) else nan,
        most=float(ratio.max()) if len(ratio) else nan,
        prices=(min(prices), float(np.mean(prices)), max(prices)),
        unreachable=sum(one.name in row.unreachable for row in rows),
    )


def _ratios(spent: Floats, limit: Floats) -> Floats:
    """Spent over limit, infinite where that is zero; without those that have no limit, or of which 0 of 0 was spent."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: Floats = spent / limit
    return ratio[~np.isnan(ratio)]


def _series(world: World, rows: Sequence[Row], limits: Sequence[Schedule]) -> Series:
    each = max(1, -(-len(rows) // MOST_POINTS))
    starts = np.arange(0, len(rows), each)

    def mean(values: Sequence[float] | Floats) -> list[float]:
        """Of each point's windows, as far as there is a figure."""
        figures = np.asarray(values, dtype=np.float64)
        if not len(figures):
            return []
        known = np.isfinite(figures)
        sums, counts = np.add.reduceat(np.where(known, figures, 0.0), starts), np.add.reduceat(known, starts)
        found: list[float] = np.divide(sums, counts, out=np.full(len(sums), nan), where=counts > 0).tolist()
        return found

    window_s = world.window_s
    joules = [one.name for one in limits if one.any.kind in ("power", "energy")]
    return Series(
        hours=mean(world.hours[: len(rows)]),
        rps=mean([row.requests / window_s for row in rows]),
        power_w=mean([row.joules / window_s for row in rows]),
        g_per_kwh=mean(world.g_per_kwh[: len(rows)]),
        reward=mean([row.reward / row.requests if row.requests else nan for row in rows]),
        limit_w={name: mean([_finite(row.allowed.get(name, nan)) / window_s for row in rows]) for name in joules},
        prices={
            one.name: mean([row.prices.get(one.name, 0.0) for row in rows]) for one in limits if one.name != CAPACITY
        },
        mix={name: mean(shares) for name, shares in _mix(world, rows).items()},
    )


def _mix(world: World, rows: Sequence[Row]) -> dict[str, Floats]:
    """Share of requests in each window, by what the last stage did."""
    last = [chain.actions[-1].variant or "skipped" for chain in world.space]
    executed = np.array([row.executed for row in rows]).reshape(len(rows), len(last))
    total = np.maximum(executed.sum(axis=1), 1e-300)
    return {name: executed[:, [one == name for one in last]].sum(axis=1) / total for name in dict.fromkeys(last)}


def _finite(value: float) -> float:
    return value if np.isfinite(value) else nan
