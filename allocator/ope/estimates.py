"""Four estimates of what a target policy earns per request, from requests that another policy served.

With x a request, a the chain it got with probability pb(a|x), r what it earned, pe the target policy, w = pe(a|x) /
pb(a|x) and q(x, a) a model of the reward; means are over the logged requests:

    IPS    mean(w r)                                        unbiased
    SNIPS  mean(w r) / mean(w)                              consistent; never beyond the rewards that were seen
    DR     mean(sum_a pe(a|x) q(x, a) + w (r - q(x, a)))    unbiased, and the less uncertain the better the model is
    kinds  DR with w = pe(k(a)|x) / pb(k(a)|x), k(a) the kind of a chain: the probability of any chain of the kind

Where hundreds of chains share what explores, w of the first three is so large that nothing can be told without millions
of requests. The last one looks at kinds of chains, of which there are few. It is unbiased if the model is right about
how chains of one kind differ; about how kinds differ it may be as wrong as it likes. No model is quite: each thinks too
well of what it would choose itself, because it chooses where it errs upwards.

All ask that the serving policy could have given a request every chain that the target policy would: then the mean
of w is 1 but for chance. `q` must not have been fitted on these requests.

Definitions as in the Open Bandit Pipeline (obp/ope/estimators.py: InverseProbabilityWeighting,
SelfNormalizedInverseProbabilityWeighting, DoublyRobust; Saito et al., arXiv 2008.07146). Sources: Strehl et al. 2010;
Swaminathan and Joachims 2015; Dudik et al., arXiv 1103.4601; for kinds OffCEM of Saito, Ren and Joachims, arXiv
2305.08062.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from allocator.choice import Floats
from allocator.ope.logged import Logged, Target


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """An estimate as the mean of what each request contributes to it, (N,), to first order."""

    rows: Floats

    @property
    def value(self) -> float:
        """The estimate."""
        return float(self.rows.mean())

    def __sub__(self, other: "Scores") -> "Scores":
        """The difference on the same requests: what both have in common cancels, request by request."""
        return Scores(self.rows - other.rows)

    def less(self, known: Floats) -> "Scores":
        """With something known of each request, (N,), taken off."""
        return Scores(self.rows - known)


def weights(logged: Logged, target: Target, most: float | None = None) -> Floats:
    """w of each request, (N,); where `most` is given, no weight is above it, which biases what is estimated."""
    return _clipped(target.chances / logged.propensities, most)


def weights_of_kind(target: Target, propensities: Floats, most: float | None = None) -> Floats:
    """The same for kinds, with the probabilities (N,) that the serving policy gave the request a chain of that kind."""
    return _clipped(target.of_kind / propensities, most)


def _clipped(weight: Floats, most: float | None) -> Floats:
    return weight if most is None else np.minimum(weight, most)


def effective_size(weight: Floats) -> float:
    """As many requests with equal weights would tell as much: (sum w)^2 / sum w^2, 0 where all are zero. Kish 1965."""
    squares = float((weight * weight).sum())
    return float(weight.sum()) ** 2 / squares if squares > 0 else 0.0


def ips(logged: Logged, target: Target, weight: Floats, model: Floats) -> Scores:
    """Inverse propensity score. weight (N,), model (N,): q of the logged chain, which is not used."""
    return Scores(weight * logged.rewards)


def snips(logged: Logged, target: Target, weight: Floats, model: Floats) -> Scores:
    """Self-normalised. A ratio of means: contributions are value + w (r - value) / mean(w). NaN where all w are 0."""
    mean = float(weight.mean())
    if mean <= 0:
        return Scores(np.full(len(logged), np.nan))
    value = float((weight * logged.rewards).mean()) / mean
    return Scores(value + weight * (logged.rewards - value) / mean)


def doubly_robust(logged: Logged, target: Target, weight: Floats, model: Floats) -> Scores:
    """What the model expects of the target policy, set right by what it misses on the logged chains."""
    return Scores(target.expected + weight * (logged.rewards - model))


ESTIMATORS: Mapping[str, Callable[[Logged, Target, Floats, Floats], Scores]] = {
    "ips": ips,
    "snips": snips,
    "dr": doubly_robust,
}
