"""The evaluation: all methods and ablations over all budgets on the same draws of users, and a day."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from allocator.choice import Floats, Ints
from allocator.pfec.case import Case, budgets_for, knots_for
from allocator.pfec.compare import EqualLine, share_of_gap, spend_to_earn
from allocator.pfec.day import Day, DayPlan, DayRun
from allocator.pfec.footprint import Carbon, Footprint
from allocator.pfec.measure import Measured
from allocator.pfec.methods import Method, ablations, methods
from allocator.pfec.priced import Priced
from allocator.pfec.report import (
    About,
    Assumptions,
    Curve,
    DayReport,
    DaySetting,
    DaySpan,
    EqualReward,
    MethodReport,
    Point,
    Report,
)
from allocator.pfec.resample import Draws, interval

SHARES_OF_STATIC = (1.0, 0.99, 0.95)
MILLION = 1e6
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """How many budgets and draws, and the seed of all chance."""

    budgets: int = 10
    draws: int = 400
    seed: int = 0
    day: DayPlan = DayPlan()  # noqa: RUF009  (frozen)


def evaluate(
    case: Case, about: About, footprint: Footprint, carbon: Carbon, plan: Plan, tell: Tell = lambda _: None
) -> Report:
    """Judge everything; `tell` hears of each step before it begins, `steps()` of them."""
    bench = _Bench(case, carbon, plan)
    judged, removed = ([bench.judge(method, tell) for method in group] for group in (methods(), ablations()))
    day, runs = Day(case, float(np.median(bench.budgets)), plan.seed, plan.day), []
    for run in _told(day.runs(), tell, "a simulated day"):
        runs.append(bench.day_report(run, plan.day))
    return Report(
        about=about,
        assumptions=Assumptions(quality=footprint.quality, energy=footprint.statement, carbon=carbon),
        budgets_flops=tuple(bench.budgets.tolist()),
        methods=tuple(judged),
        ablations=tuple(removed),
        equal_reward=tuple(bench.equal_reward),
        day_setting=DaySetting(
            windows=plan.day.windows,
            window_s=plan.day.window_s,
            requests_per_s=plan.day.rate,
            limit_flops_per_s=day.limit / plan.day.window_s,
            users=min(plan.day.users, len(case.rewards)),
            sample_rows=plan.day.sample_rows,
        ),
        day=tuple(runs),
    )


def steps() -> int:
    """How often `evaluate` tells."""
    return len(methods()) + len(ablations()) + 1


def _told(runs: Iterator[DayRun], tell: Tell, what: str) -> Iterator[DayRun]:
    tell(what)
    yield from runs


class _Bench:
    """What all methods of one evaluation share: users drawn, budgets, opponents."""

    def __init__(self, case: Case, carbon: Carbon, plan: Plan) -> None:
        self._case, self._carbon = case, carbon
        self.budgets = budgets_for(case, plan.budgets)
        self._knots = knots_for(self.budgets)
        self._at = np.searchsorted(self._knots, self.budgets)
        self._weights = Draws.of(len(case.rewards), plan.draws, plan.seed).weights
        self.equal_reward: list[EqualReward] = []

    @cached_property
    def _equal(self) -> EqualLine:
        return EqualLine(self._case, self._weights, self._knots)

    @cached_property
    def _static_reward(self) -> Floats:
        """(D, 1)"""
        own = self._case.rewards[:, [self._case.static]]
        means: Floats = self._weights @ own / self._weights.sum(axis=1, keepdims=True)
        return means

    def judge(self, method: Method, tell: Tell) -> MethodReport:
        """A method at all budgets; what it needs for equal reward is noted on the way."""
        tell(method.label)
        measured = method.allocation(self._case, self._knots).measured(self._weights)
        self.equal_reward += [self._needs(method, measured, share) for share in SHARES_OF_STATIC]
        at_budgets = measured.at(self._at)
        opponents = self._equal.reward(at_budgets.spend)
        best = self._oracle.at(self._weights, at_budgets.spend).reward
        gaps = share_of_gap(at_budgets.reward, opponents, best)
        points = [self._point(float(budget), at_budgets, n, opponents, gaps) for n, budget in enumerate(self.budgets)]
        return MethodReport(
            name=method.name, label=method.label, about=method.about, points=tuple(points), curve=_curve(measured)
        )

    @cached_property
    def _oracle(self) -> Priced:
        return Priced(self._case, self._case.rewards, np.ones(len(self._case.space), bool), self._knots)

    def _point(self, budget: float, at: Measured, n: int, opponents: Floats, gaps: Floats) -> Point:
        joules = float(at.joules[0, n])
        known = not np.isnan(joules)
        return Point(
            budget_flops=budget,
            spend_flops=interval(at.spend[:, n]),
            reward=interval(at.reward[:, n]),
            over_equal=interval(at.reward[:, n] - opponents[:, n]),
            over_static=interval(at.reward[:, n] - self._static_reward[:, 0]),
            gap_share=interval(gaps[:, n]),
            joules=joules if known else None,
            grams_per_million=self._carbon.grams(joules * MILLION) if known else None,
        )

    def _needs(self, method: Method, measured: Measured, share: float) -> EqualReward:
        static_flops = float(self._case.cost[self._case.static])
        spend = spend_to_earn(measured, share * self._static_reward[:, 0])
        return EqualReward(
            name=method.name,
            label=method.label,
            share_of_static=share,
            spend_flops=interval(spend),
            saving=interval(1 - spend / static_flops),
            reached=float(np.isfinite(spend[1:]).mean()),
        )

    def day_report(self, run: DayRun, plan: DayPlan) -> DayReport:
        """A run in figures, its windows put together."""
        return DayReport(
            name=run.name,
            label=run.label,
            utilisation=run.utilisation,
            overuse=run.overuse,
            over_windows=run.over_windows,
            spend_flops=float(run.spend.sum()),
            joules=float(run.joules.sum()),
            reward=float(run.reward.sum() / run.requests.sum()),
            spans=tuple(_span(run, rows, plan) for rows in np.array_split(np.arange(plan.windows), plan.groups)),
        )


def _span(run: DayRun, rows: Ints, plan: DayPlan) -> DaySpan:
    requests = int(run.requests[rows].sum())
    return DaySpan(
        hour=float((rows.mean() + 0.5) / plan.windows * 24),
        requests_per_s=requests / (len(rows) * plan.window_s),
        price=float(run.price[rows].mean()),
        spend_of_limit=float(run.spend[rows].sum() / run.limit[rows].sum()),
        reward=float(run.reward[rows].sum() / max(requests, 1)),
    )


def _curve(measured: Measured) -> Curve:
    """Only knots that the method can meet."""
    known = np.flatnonzero(~np.isnan(measured.reward[0]))
    bands = [interval(measured.reward[:, n]) for n in known]
    return Curve(
        spend_flops=tuple(measured.spend[0, known].tolist()),
        reward=tuple(measured.reward[0, known].tolist()),
        low=_plain([band.low for band in bands]),
        high=_plain([band.high for band in bands]),
    )


def _plain(values: Sequence[float | None]) -> tuple[float, ...]:
    return tuple(float("nan") if value is None else value for value in values)
