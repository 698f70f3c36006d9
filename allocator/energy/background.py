"""Joules that come and go by themselves for minutes: other programs. They are told from noise by their persistence."""

import math
from dataclasses import dataclass

from allocator.energy.belief import Belief

FADES_S = 120.0
"""How long a background is thought to last."""
WEIGHT = 0.02
DEVIATIONS = 2.0
"""By how many of its standard errors a covariance of pure noise must be exceeded to count."""
ODD = 2.0
"""Residuals of so many standard deviations are no noise."""


@dataclass(frozen=True, slots=True)
class Residuals:
    """What the model leaves of successive readings, as shares of what it expects: running moments.

    last        the newest
    variance    mean square
    covariance  mean product of two in succession: zero for pure noise
    count       how many there were
    odd         how many of the last in a row were no noise, all of one sign
    """

    last: float = 0.0
    variance: float = 0.0
    covariance: float = 0.0
    count: int = 0
    odd: int = 0

    def after(self, residual: float, noise: float) -> "Residuals":
        """The moments with one more residual, where noise alone has that standard deviation."""
        weight = max(WEIGHT, 1 / (self.count + 1))
        odd, follows = abs(residual) > ODD * noise, residual * self.last > 0
        return Residuals(
            residual,
            self.variance + weight * (residual**2 - self.variance),
            self.covariance + weight * (residual * self.last - self.covariance),
            self.count + 1,
            (self.odd if follows else 0) + 1 if odd else 0,
        )

    @property
    def background(self) -> float:
        """Variance of what persists; zero while that may be chance, or has not been seen for long enough."""
        now = self.last**2 if self.odd > 1 else 0.0
        if self.count * WEIGHT < 0.5:
            return now
        return max(self.covariance - DEVIATIONS * math.sqrt(WEIGHT / 2) * self.variance, now)


def raised(belief: Belief) -> Belief:
    """The belief with a background, its last coefficient, of at least zero: other programs draw nothing or more.

    The other coefficients move as they go with it. Nothing gets any surer by that.
    """
    below, variance = float(belief.mean[-1]), float(belief.covariance[-1, -1])
    if below >= 0 or variance <= 0:
        return belief
    return Belief(belief.mean - belief.covariance[-1] / variance * below, belief.covariance)


def faded(belief: Belief, variance: float, seconds: float) -> Belief:
    """The belief some seconds later, its last coefficient being the background: an Ornstein-Uhlenbeck process around
    zero of that variance."""
    keep = math.exp(-seconds / FADES_S)
    mean, covariance = belief.mean.copy(), belief.covariance.copy()
    mean[-1] *= keep
    covariance[-1, :] *= keep
    covariance[:, -1] *= keep
    covariance[-1, -1] += (1 - keep**2) * variance
    return Belief(mean, covariance)
