"""How far the energy model may be off in a sum of many micro-batches' savings."""

from dataclasses import dataclass
from math import isfinite


@dataclass(frozen=True, slots=True)
class ModelError:
    """Standard error, by the energy model alone, of the sum of what all requests so far saved; in joules and in grams.

    A request's joules are worked out with coefficients, not metered. A micro-batch b brings the standard error s_b of
    what its requests saved together: s_b = sqrt(x' P x), x being the runs and items that its static chain would have
    had more than what ran, P the covariance of the coefficients then. The errors e_b of successive micro-batches come
    from the same coefficients. Their sum E_t = e_1 + ... + e_t has

        Var(E_t) = V_t = V_{t-1} + 2 Cov(E_{t-1}, e_t) + s_t^2,       Cov(E_{t-1}, e_t) <= sqrt(V_{t-1}) s_t,

    the latter by Cauchy and Schwarz, so that sqrt(V_t) <= sqrt(V_{t-1}) + s_t: standard errors add up at most. With
    equality where the errors are fully correlated, as those of what no reading can tell are for ever. That bound is
    what is kept here.

    It is close. With a Kalman filter's gain K_t and no forgetting (`belief.observed` without `belief.relaxed`), an
    error at a later time is e_t = (I - K x') e_s + noise of later readings, (I - K x') P_s = P_t, hence
    Cov(e_s, e_t) = x' P_t x: the correlation of two times is the ratio of their standard errors, later over earlier. While
    variance falls as 1/t, V_t is half of the bound's square. Forgetting (`relaxed` adds share (limit - P) to P) makes
    the correlation fade by p / (p + share (limit - p)) a reading, for what readings do tell; those directions are soon
    known well and weigh little beside those that they tell hardly at all, where the limit itself is what is known.
    """

    energy_j: float = 0.0
    grams: float = 0.0

    def __post_init__(self) -> None:
        if not all(isfinite(figure) and figure >= 0 for figure in (self.energy_j, self.grams)):
            raise ValueError(f"standard errors are finite and not negative, got {self}")

    def __add__(self, other: "ModelError") -> "ModelError":
        """That of both sums together, be they of successive times or of two places under one energy model."""
        return ModelError(self.energy_j + other.energy_j, self.grams + other.grams)
