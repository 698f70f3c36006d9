"""How far the energy model may be off in the sum of what many micro-batches saved."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelError:
    """Variance, by the energy model alone, of the sum of what all requests so far saved: joules, or grams.

    Joules of a request are worked out with coefficients, not metered. By micro-batch t, of n_t requests, what each of
    them saves is off by d_t = x' (c_t - c): c the true coefficients, c_t those that are believed then, with covariance
    P_t, x the runs and items that the static chain would have had more. Its standard error is sd_t = sqrt(x' P_t x).
    Errors of different times come from the same coefficients. For a Kalman filter (`allocator.energy.belief`), between
    two times c_t - c = F (c_s - c) + the noise of readings since then, where each reading adds to F the factor
    I - K x' = P_k (P_{k-1} + Q)^-1, with Q what `relaxed` adds. Without forgetting F P_s = P_t, hence

        Cov(d_s, d_t) = x' P_t x = sd_t^2 for all s < t:

    what is not known yet is in all earlier errors as well, what was learned since is in none of the later ones. So with
    N_t = n_1 + ... + n_t the sum of n_t d_t has the variance

        V_t = V_{t-1} + 2 N_{t-1} n_t sd_t^2 + n_t^2 sd_t^2 = V_{t-1} + (N_t^2 - N_{t-1}^2) sd_t^2.

    Forgetting makes correlations fade, by p / (p + q) a reading in one dimension. Left out, which errs on the wide side
    but little: carried through `allocator.energy.model` with all it does, the covariance of the sum with the
    coefficients gave standard errors within 3% of these over two hours, where n_1 sd_1 + ... + n_t sd_t was a third
    to a half larger. That sum is a bound all the same, since standard errors add up at most (Cauchy and Schwarz). It
    takes over where sd_t grows because a model begins anew. x is not the same in all micro-batches, which errs on the
    wide side too: with chains as they come, by 3% for micro-batches of 8 requests.

    weight    N_t; requests, or for grams, requests times grams per joule
    variance  V_t without the bound
    most      n_1 sd_1 + ... + n_t sd_t
    """

    weight: float = 0.0
    variance: float = 0.0
    most: float = 0.0

    @property
    def error(self) -> float:
        """Standard error of the sum."""
        return min(math.sqrt(self.variance), self.most)

    def after(self, weight: float, error_j: float) -> "ModelError":
        """With a micro-batch of that weight more, what each of its requests saves being off by that standard error."""
        added = weight * (2 * self.weight + weight)  # N_t^2 - N_{t-1}^2, of which a small weight would leave nothing
        variance = self.variance + added * error_j**2
        return ModelError(self.weight + weight, variance, self.most + weight * error_j)

    def merged(self, other: "ModelError") -> "ModelError":
        """Of both sums together, as if errors of the two were fully correlated: the order of times is lost."""
        error = self.error + other.error
        return ModelError(self.weight + other.weight, error**2, self.most + other.most)
