"""How many standard errors intervals reach: at one look, and at all looks at once."""

import math
from dataclasses import dataclass

import numpy as np

MOST_SKEWNESS = 1.0
LEAST = 1e-300
"""Probabilities below that are this one: a reach is finite."""


@dataclass(frozen=True, slots=True)
class Interval:
    """From `low` to `high`."""

    low: float
    high: float

    def holds(self, value: float) -> bool:
        """Whether the value lies in it."""
        return self.low <= value <= self.high

    def scaled(self, by: float) -> "Interval":
        """In another unit; by >= 0."""
        return Interval(self.low * by, self.high * by)


@dataclass(frozen=True, slots=True)
class Reach:
    """Standard errors below the value, and above it."""

    low: float
    high: float


def fixed_reach(level: float, freedom: float, skewness: float = 0.0) -> Reach:
    """Of an interval that is looked at once, at a time that the data did not choose: Student's t quantile t.

    A mean of few users who differ a lot is skewed: mostly it lies below the truth, with too small a standard error,
    because those who earn most are not among them. To the first order (Cornish and Fisher, for a mean over its own
    standard error; Hall, The Bootstrap and Edgeworth Expansion, 1992, ch. 2) the upper limit should then be

        t + skewness (2 t^2 + 1) / 6

    standard errors away, and the lower one as much nearer. Where it matters the lower limit is hardly ever missed as it
    is, and is left there; the upper one is moved by half of that, for the two are to be missed as often as t says
    together. Half is what held the truth in 95% to 96% of simulated experiments with between 4,000 and 100,000 users;
    nothing did in 91% to 94%, all of it in 97%.

    freedom   degrees of freedom of the standard error
    skewness  of the estimate; beyond MOST_SKEWNESS the first order says nothing
    """
    from scipy.special import stdtrit  # 0.1 s, which who estimates nothing is spared

    t = float(stdtrit(freedom, (1 + level) / 2))
    more = min(abs(skewness), MOST_SKEWNESS) * (2 * t**2 + 1) / 12
    return Reach(t, t + more) if skewness > 0 else Reach(t + more, t)


def sequential_reach(level: float, freedom: float, seen: float, tightest_at: float) -> Reach:
    """Of a confidence sequence: all its intervals hold the truth together with probability `level`.

    Asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas, "Time-uniform central limit
    theory and asymptotic confidence sequences" (Annals of Statistics 52, 2024; arXiv 2103.06476): Robbins' normal
    mixture with an estimated variance. After t observations of standard deviation s it reaches

        s sqrt(2 (t r + 1) / (t^2 r) log(sqrt(t r + 1) / alpha))
            = s / sqrt(t) sqrt((1 + 1 / (t r)) log((1 + t r) / alpha^2)),

    here with the standard error of the difference for s / sqrt(t), and t the requests that were held back. Where users
    return, successive means are more alike than those of t draws, and fewer looks are new: the sequence is then wider
    than it need be. r makes it tightest after `tightest_at` of them: with x = t r the derivative vanishes at
    exp(x) = (1 + x) / alpha^2, that is x = -W(-alpha^2 / e) - 1 with Lambert's W, branch -1; 8.2 for 95%.

    That takes the standard error for known; where it has few degrees of freedom, the normal quantile is exchanged for
    Student's of the same probability.

    seen  requests held back so far, > 0
    """
    from scipy.special import lambertw, log_ndtr, stdtrit

    alpha2 = (1 - level) ** 2
    x = (-float(np.real(lambertw(-alpha2 / math.e, -1))) - 1) * seen / tightest_at
    normal = math.sqrt((1 + 1 / x) * math.log((1 + x) / alpha2))
    beyond = max(math.exp(float(log_ndtr(-normal))), LEAST)
    reach = max(normal, -float(stdtrit(freedom, beyond)))
    return Reach(reach, reach)
