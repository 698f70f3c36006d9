"""Whether a candidate earns more than the current policy, judged on requests that neither was fitted on."""

from dataclasses import astuple, dataclass, replace
from typing import Literal, Self

import numpy as np
from pydantic import BaseModel, ConfigDict

from allocator.choice import Floats
from allocator.ope.estimates import ESTIMATORS, Scores, doubly_robust, effective_size, weights, weights_of_kind
from allocator.ope.intervals import Clusters, Interval
from allocator.ope.logged import Logged, Target
from allocator.ope.targets import Judged

Verdict = Literal["better", "worse", "not distinguishable"]
_WORDS: dict[int, Verdict] = {1: "better", -1: "worse", 0: "not distinguishable"}
KINDS, CAUTIOUS = "kinds", "kinds_cautious"
"""By kinds of chains with the candidate's model, which favours it, and with the current one, which favours that."""
LEAST = 10.0
"""Requests that a log must be worth for a policy, until an estimate of it has an interval: few tell too little of how
far they are off, and one alone would make the self-normalised estimate look certain."""
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
    `kind`          the same by kinds of chains
    """

    mean_weight: Figure
    mean_kind_weight: Figure
    effective_size: float
    effective_kind_size: float
    clipped: float


class Evaluation(BaseModel):
    """Candidate against current on the same requests.

    agree       share of requests to which both give the same chain
    difference  candidate - current, paired
    error       by how much the candidate's squared error on what the logged chains earned is below the current
                model's, as a share of that: says whether it predicts better, not whether it allocates better
    verdict     by the interval of the doubly robust net difference; where that tells nothing by kinds of chains, and
                then with the model of the policy that comes out worse
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
    """Judge the second of two policies, the candidate's, against the first. `dr` is with the candidate's model."""
    clusters = Clusters(logged.users)
    seen = [_Seen.of(logged, judged, target, most_weight) for target in judged.targets]
    scores = [
        one.scores(logged, judged.predicted, by_first) for one, by_first in zip(seen, judged.by_first, strict=True)
    ]
    current, candidate = judged.targets
    paired = {name: scores[1][name] - scores[0][name] for name in scores[0]}
    spent = candidate.penalties - current.penalties, candidate.flops - current.flops
    difference = _worth(
        clusters, paired, *spent, (min(one.sizes[0] for one in seen), min(one.sizes[1] for one in seen))
    )
    policies = [_policy(clusters, one, score) for one, score in zip(seen, scores, strict=True)]
    verdict, reason = _verdict(difference, policies[0], policies[1])
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


@dataclass(frozen=True, eq=False)
class _Seen:
    """A target policy, and its weights: of chains and of kinds, as they are and as they are used."""

    target: Target
    chains: tuple[Floats, Floats]
    kinds: tuple[Floats, Floats]

    @classmethod
    def of(cls, logged: Logged, judged: Judged, target: Target, most: float | None) -> Self:
        chains = weights(logged, target), weights(logged, target, most)
        of_kind = judged.of_kind
        return cls(target, chains, (weights_of_kind(target, of_kind), weights_of_kind(target, of_kind, most)))

    @property
    def sizes(self) -> tuple[float, float]:
        """As many requests the log is worth for it: by chains, and by kinds."""
        return effective_size(self.chains[1]), effective_size(self.kinds[1])

    def scores(self, logged: Logged, predicted: tuple[Floats, Floats], by_first: Floats) -> dict[str, Scores]:
        first, second = predicted
        found = {name: one(logged, self.target, self.chains[1], second) for name, one in ESTIMATORS.items()}
        found[KINDS] = doubly_robust(logged, self.target, self.kinds[1], second)
        cautious = replace(self.target, expected=by_first)
        return {**found, CAUTIOUS: doubly_robust(logged, cautious, self.kinds[1], first)}


def _worth(
    clusters: Clusters, scores: dict[str, Scores], penalties: Floats, flops: Floats, sizes: tuple[float, float]
) -> Worth:
    def figure(name: str, rows: Floats) -> Figure:
        found = Figure.of(clusters.interval(rows))
        return found if sizes[name in (KINDS, CAUTIOUS)] >= LEAST else Figure(value=found.value, low=None, high=None)

    return Worth(
        reward={name: figure(name, one.rows) for name, one in scores.items()},
        net={name: figure(name, one.less(penalties).rows) for name, one in scores.items()},
        penalty=float(penalties.mean()),
        flops=float(flops.mean()),
    )


def _policy(clusters: Clusters, seen: _Seen, scores: dict[str, Scores]) -> Policy:
    true, used = seen.chains
    return Policy(
        **_worth(clusters, scores, seen.target.penalties, seen.target.flops, seen.sizes).model_dump(),
        mean_weight=Figure.of(clusters.interval(true)),
        mean_kind_weight=Figure.of(clusters.interval(seen.kinds[0])),
        effective_size=seen.sizes[0],
        effective_kind_size=seen.sizes[1],
        clipped=float((true > used).mean()),
    )


def _error(clusters: Clusters, rewards: Floats, predicted: tuple[Floats, Floats]) -> Figure:
    current, candidate = ((rewards - one) ** 2 for one in predicted)
    return Figure.of(clusters.interval((current - candidate) / max(float(current.mean()), 1e-12)))


def _verdict(difference: Worth, current: Policy, candidate: Policy) -> tuple[Verdict, str]:
    """By chains where that tells something, else by kinds of chains.

    By kinds, a model favours the policy that follows it. So the candidate is better when it is so by the current
    model, and worse when it is so by its own.
    """
    chains, favoured, cautious = (difference.net[name] for name in ("dr", KINDS, CAUTIOUS))
    supported = [_supported(policy.mean_weight) for policy in (current, candidate)]
    if all(supported) and chains.sign:
        return _WORDS[chains.sign], f"by {abs(chains.value or 0.0):.4f} a request, 95%: {_span(chains)}"
    if all(_supported(policy.mean_kind_weight) for policy in (current, candidate)):
        for sign, kinds, model in ((1, cautious, "current"), (-1, favoured, "candidate's")):
            if kinds.sign == sign:
                return _WORDS[sign], f"by kinds of chains, even if the {model} model is trusted on them: {_span(kinds)}"
    if not all(supported):
        name, policy = ("candidate", candidate) if supported[0] else ("current", current)
        mean = policy.mean_weight.value
        lacks = f"the log does not hold what the {name} policy would do: its mean weight is {mean:.3f}, not 1"
        return _WORDS[0], f"{lacks}; let more requests explore"
    if favoured.low is None or favoured.high is None:
        return _WORDS[0], "too few of the requests got what the policies would give them; let more of them explore"
    spans = f"{_span(chains)} a request; by kinds of chains {_span(cautious)}, trusting its own model {_span(favoured)}"
    return _WORDS[0], f"95% of what the difference may be: {spans}; more requests tell more"


def _supported(mean: Figure) -> bool:
    """Whether a mean weight is 1 but for chance, or nearly so."""
    low, high = -np.inf if mean.low is None else mean.low, np.inf if mean.high is None else mean.high
    return bool(low <= 1 + UNSUPPORTED and high >= 1 - UNSUPPORTED)


def _span(figure: Figure) -> str:
    low, high = ("unbounded" if end is None else f"{end:+.4f}" for end in (figure.low, figure.high))
    return f"{low} to {high}"
