"""What people are told of savings, feedback and drift: /v1/savings."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from math import isfinite
from typing import Any

import numpy as np

from allocator.savings import Figure, Interval, Saved, Savings
from cluster.outcomes.drift import ChainDrift, DriftView
from cluster.outcomes.earned import Earned
from cluster.outcomes.joiner import JoinCounts
from cluster.outcomes.log_base import LogCounts

NOBODY_HELD = "not known: nobody is held back (experiment.holdback is 0)"
NO_FEEDBACK = "not known: no feedback has come (POST /v1/feedback)"
HURRIED = (
    "not known: requests give way before feedback.horizon_s is over, since feedback.most_pending is too small for this "
    "traffic; raise it, or shorten feedback.horizon_s"
)
MOST_CHAINS = 50


@dataclass(frozen=True, slots=True)
class Lost:
    """What was lost on the way here. `dropped` requests were more than an ingress replica could remember."""

    dropped: int = 0

    def with_dropped(self, requests: int) -> "Lost":
        """With so many more."""
        return Lost(self.dropped + requests)


@dataclass(frozen=True, slots=True)
class Told:
    """What stands beside the figures.

    holdback  share of users
    hears     whether anybody tells of rewards
    chains    ids, in the chain space's order
    """

    holdback: float
    hears: bool
    lost: Lost
    chains: tuple[str, ...]


def savings_payload(
    told: Told,
    savings: Savings,
    joins: JoinCounts,
    log: LogCounts,
    drift: DriftView,
    by_chain: ChainDrift,
    earned: Mapping[str, Earned],
) -> dict[str, Any]:
    """As `cluster.outcomes.schemas.SavingsResponse`."""
    counts = asdict(joins)
    requests = {"policy": savings.policy_requests, "holdback": savings.holdback_requests, "lost": told.lost.dropped}
    return {
        "holdback": told.holdback,
        "requests": requests,
        "quantities": quantities(savings, told.holdback, told.hears, joins.hurries),
        "feedback": {key: counts[key] for key in ("joined", "repeated", "late", "unknown", "waiting")},
        "decisions": {key: counts[key] for key in ("pending", "matured", "hurried", "duplicates")},
        "reward": {
            "budgets": [{"budget": name, **_earned(one)} for name, one in sorted(earned.items())],
            "chains": _chains(told.chains, by_chain),
            "drift": _drift(drift) if told.hears else None,
        },
        "log": {
            "written": log.written["decisions"],
            "dropped": sum(log.dropped.values()),
            "waiting": log.waiting,
            "error": log.error,
        },
    }


def quantities(savings: Savings, holdback: float, hears: bool, hurries: bool) -> dict[str, Any]:
    """Of each quantity, or why it is not known.

    hurries  whether most requests could not wait for their rewards, so that waiting longer makes none known
    """
    why = "" if holdback else NOBODY_HELD
    reward = savings.reward
    lacking = hurries and reward.per_request is None
    return {
        "energy_j": _saved(savings.energy_j, why),
        "flops": _saved(savings.flops, why),
        "co2e_g": _saved(savings.grams, why),
        "reward": _saved(replace(reward, reason=HURRIED) if lacking else reward, why or ("" if hears else NO_FEEDBACK)),
    }


def _saved(saved: Saved, why: str) -> dict[str, Any]:
    known = not why
    return {
        "static": saved.static.value if saved.static.requests and known else None,
        "policy": saved.policy.value if saved.policy.requests and known else None,
        "per_request": _figure(saved.per_request) if known else None,
        "relative": _figure(saved.relative) if known else None,
        "total": _figure(saved.total) if known else None,
        "reason": why or saved.reason,
    }


def _figure(figure: Figure | None) -> dict[str, Any] | None:
    if figure is None:
        return None
    return {"value": figure.value, "fixed": _interval(figure.fixed), "sequential": _interval(figure.sequential)}


def _interval(interval: Interval) -> dict[str, float]:
    return {"low": interval.low, "high": interval.high}


def _earned(one: Earned) -> dict[str, Any]:
    return {"requests": one.requests, "predicted": one.predicted, "realised": one.realised}


def _chains(ids: tuple[str, ...], found: ChainDrift) -> list[dict[str, Any]]:
    """Those with most requests, the first ones first."""
    most = np.argsort(-found.requests, kind="stable")[:MOST_CHAINS]
    return [
        {
            "chain": ids[at],
            "requests": int(found.requests[at]),
            "predicted": float(found.predicted_means[at]),
            "realised": float(found.realised_means[at]),
        }
        for at in most.tolist()
        if found.requests[at]
    ]


def _drift(view: DriftView) -> dict[str, Any]:
    alarm = view.alarm
    return {
        "reward_model": view.reward_model,
        "requests": view.requests,
        "ratio": _known(view.calibration.ratio),
        "low": _known(view.calibration.low),
        "high": _known(view.calibration.high),
        "tolerance": view.tolerance,
        "alarm": None if alarm is None else {"side": alarm.side.value, "time_s": alarm.time_s},
        "alarms": view.alarms,
        "evidence": view.evidence,
        "detects_within": _known(view.detects_within),
    }


def _known(value: float) -> float | None:
    return float(value) if isfinite(value) else None
