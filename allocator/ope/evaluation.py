"""Whether a candidate earns more than the current policy, judged on requests that neither was fitted on."""

from dataclasses import astuple
from typing import Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from allocator.choice import Floats
from allocator.ope.estimates import ESTIMATORS, Scores, effective_size, weights
from allocator.ope.intervals import Clusters, Interval
from allocator.ope.logged import Logged, Target
from allocator.ope.targets import Judged

Verdict = Literal["better", "worse", "not distinguishable"]
UNSUPPORTED = 0.05
"""How far the mean weight may be from 1 by more than chance, until the log is said to lack what the policy would do."""


class Figure(BaseModel):
    """An estimate and its 95% interval; None where there is none, or where it has no end."""

    model_config = ConfigDict(frozen=True)

    value: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, interval: Interval) -> Self:
        """From an interval."""
        value, low, high = (number if np.isfinite(number) else None for number in astuple(interval))
        return cls(value=value, low=low, high=high)

    @property
    def sign(self) -> int:
        """1 or -1 where the interval leaves zero out, else 0."""
        return int(self.low is not None and self.low > 0) - int(self.high is not None and self.high < 0)


class Worth(BaseModel):
    """A policy, or the difference of two, per request.

    reward          by estimator: what it earns
    net             by estimator: what it earns less the penalties of what it spends, at the prices of the time: what
                    policies maximise, and the only fair measure where one spends more than the other
    penalty, flops  what it spends, exactly
    """

    model_config = ConfigDict(frozen=True)

    reward: dict[str, Figure]
    net: dict[str, Figure]
    penalty: float
    flops: float


class Policy(Worth):
    """A policy.

    mean_weight     1 but for chance, when the log holds what the policy would do
    effective_size  as many requests that the policy itself had served would tell as much of it
    clipped         share of the requests whose weight was cut to the largest that was asked for
    """

    mean_weight: Figure
    effective_size: float
    clipped: float


class Evaluation(BaseModel):
    """Candidate against current on the same requests.

    agree       share of requests to which both give the same chain
    difference  candidate - current, paired
    error       by how much the candidate's squared error on what the logged chains earned is below the current
                model's, as a share of that: says whether it predicts better, not whether it allocates better
    verdict     by the interval of the doubly robust net difference
    reason      why it is so, in words
    """

    model_config = ConfigDict(frozen=True)

    requests: int
    users: int
    agree: float
    most_weight: float | None
    current: Policy
    candidate: Policy
    difference: Worth
    error: Figure
    verdict: Verdict
    reason: str


def evaluate(logged: Logged, judged: Judged, most_weight: float | None = None) -> Evaluation:
    """Judge the second of two policies against the first. Both are scored with the second one's model for `dr`."""
    clusters, model = Clusters(logged.users), judged.predicted[1]
    weighed = [weights(logged, target, most_weight) for target in judged.targets]
    scores = [
        {name: estimate(logged, target, weight, model) for name, estimate in ESTIMATORS.items()}
        for target, weight in zip(judged.targets, weighed, strict=True)
    ]
    current, candidate = judged.targets
    paired = {name: scores[1][name] - scores[0][name] for name in ESTIMATORS}
    difference = _worth(clusters, paired, candidate.penalties - current.penalties, candidate.flops - current.flops)
    policies = [
        _policy(clusters, logged, target, weight, score, most_weight)
        for target, weight, score in zip(judged.targets, weighed, scores, strict=True)
    ]
    verdict, reason = _verdict(difference.net["dr"], policies[0], policies[1])
    return Evaluation(
        requests=len(logged),
        users=len(clusters),
        agree=float(judged.agree.mean()),
        most_weight=most_weight,
        current=policies[0],
        candidate=policies[1],
        difference=difference,
        error=_error(clusters, logged.rewards, judged.predicted),
        verdict=verdict,
        reason=reason,
    )


def _worth(clusters: Clusters, scores: dict[str, Scores], penalties: Floats, flops: Floats) -> Worth:
    return Worth(
        reward={name: Figure.of(clusters.interval(one.rows)) for name, one in scores.items()},
        net={name: Figure.of(clusters.interval(one.less(penalties).rows)) for name, one in scores.items()},
        penalty=float(penalties.mean()),
        flops=float(flops.mean()),
    )


def _policy(
    clusters: Clusters, logged: Logged, target: Target, weight: Floats, scores: dict[str, Scores], most: float | None
) -> Policy:
    unclipped = weights(logged, target)
    return Policy(
        **_worth(clusters, scores, target.penalties, target.flops).model_dump(),
        mean_weight=Figure.of(clusters.interval(unclipped)),
        effective_size=effective_size(weight),
        clipped=0.0 if most is None else float((unclipped > most).mean()),
    )


def _error(clusters: Clusters, rewards: Floats, predicted: tuple[Floats, Floats]) -> Figure:
    current, candidate = ((rewards - one) ** 2 for one in predicted)
    return Figure.of(clusters.interval((current - candidate) / max(float(current.mean()), 1e-12)))


def _verdict(net: Figure, current: Policy, candidate: Policy) -> tuple[Verdict, str]:
    for name, policy in (("current", current), ("candidate", candidate)):
        mean = policy.mean_weight
        low, high = (bound if bound is not None else inf for bound, inf in ((mean.low, -np.inf), (mean.high, np.inf)))
        if high < 1 - UNSUPPORTED or low > 1 + UNSUPPORTED:
            lacks = f"the log does not hold what the {name} policy would do: its mean weight is {mean.value:.3f}, not 1"
            return "not distinguishable", f"{lacks}; let more requests explore"
    if net.value is None or net.low is None or net.high is None:
        return "not distinguishable", "too few users to tell"
    if net.sign:
        return ("better" if net.sign > 0 else "worse"), f"by {abs(net.value):.4f} a request, 95%: {_span(net)}"
    return "not distinguishable", f"95% of what the difference may be: {_span(net)} a request; more requests tell more"


def _span(figure: Figure) -> str:
    return f"{figure.low:+.4f} to {figure.high:+.4f}"
