"""When a quota is planned anew. Between plans a window only asks the one that is held."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from allocator.pacing.curve import Spend
from allocator.pacing.periods import Period
from allocator.pacing.plan import Ahead, Plan, planned

Forecast = Callable[[float, float, float], Ahead]
"""What lies ahead from a Unix time until another, in steps of so many seconds: as `step_edges` cuts them."""


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """A plan, the period and quota that it is for, and the Unix time at which it was made."""

    plan: Plan
    period: Period
    quota: float
    made_s: float


@dataclass(frozen=True, slots=True)
class Pace:
    """every_s  seconds between two plans
    steps       of a whole period
    least_s     no step is shorter
    """

    every_s: float = 60.0
    steps: int = 96
    least_s: float = 300.0

    def due(self, held: Held | None, quota: float, period: Period, now_s: float, last_s: float = -inf) -> bool:
        """Whether a plan is to be made: there is none, it is old, or it is for another period or quota.

        last_s  when one was made last, of any quota: each takes its time, so of those that are only old it is one at
                a time
        """
        if held is None or held.period != period or held.quota != quota:
            return True
        return now_s != last_s and not 0.0 <= now_s - held.made_s < self.every_s

    def made(
        self,
        quota: float,
        spent: float,
        period: Period,
        now_s: float,
        forecast: Forecast,
        spend: Spend,
        ceiling: float,
    ) -> Held:
        """A plan for the rest of the period, of whose quota so much is spent. The rest is as in `planned`."""
        step_s = max((period.end_s - period.start_s) / self.steps, self.least_s)
        plan = planned(quota - spent, forecast(now_s, period.end_s, step_s), spend, ceiling)
        return Held(plan, period, quota, now_s)
