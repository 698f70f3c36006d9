"""What people are told of savings and feedback: /v1/savings."""

from dataclasses import dataclass
from typing import Any

from allocator.savings import Figure, Interval, Saved, Savings
from cluster.outcomes.joiner import JoinCounts
from cluster.outcomes.log_base import LogCounts

NOBODY_HELD = "not known: nobody is held back (experiment.holdback is 0)"


@dataclass(frozen=True, slots=True)
class Lost:
    """What was lost on the way here. `dropped` requests were more than an ingress replica could remember."""

    dropped: int = 0

    def with_dropped(self, requests: int) -> "Lost":
        """With so many more."""
        return Lost(self.dropped + requests)


def savings_payload(savings: Savings, holdback: float, joins: JoinCounts, log: LogCounts, lost: Lost) -> dict[str, Any]:
    """As `cluster.outcomes.schemas.SavingsResponse`."""
    quantities = {
        "energy_j": savings.energy_j,
        "flops": savings.flops,
        "co2e_g": savings.grams,
        "reward": savings.reward,
    }
    return {
        "holdback": holdback,
        "requests": {"policy": savings.policy_requests, "holdback": savings.holdback_requests, "lost": lost.dropped},
        "quantities": {name: _saved(saved, holdback) for name, saved in quantities.items()},
        "feedback": {
            "joined": joins.joined,
            "repeated": joins.repeated,
            "late": joins.late,
            "unknown": joins.unknown,
            "waiting": joins.waiting,
        },
        "decisions": {"pending": joins.pending, "matured": joins.matured, "hurried": joins.hurried},
        "log": {
            "written": log.written["decisions"],
            "dropped": sum(log.dropped.values()),
            "waiting": log.waiting,
            "error": log.error,
        },
    }


def _saved(saved: Saved, holdback: float) -> dict[str, Any]:
    return {
        "static": saved.static.value if saved.static.requests else None,
        "policy": saved.policy.value if saved.policy.requests else None,
        "per_request": _figure(saved.per_request),
        "relative": _figure(saved.relative),
        "total": _figure(saved.total),
        "reason": saved.reason if holdback else NOBODY_HELD,
    }


def _figure(figure: Figure | None) -> dict[str, Any] | None:
    if figure is None:
        return None
    return {"value": figure.value, "fixed": _interval(figure.fixed), "sequential": _interval(figure.sequential)}


def _interval(interval: Interval) -> dict[str, float]:
    return {"low": interval.low, "high": interval.high}
