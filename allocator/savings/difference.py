"""What a request of the static chain takes more than one of the policy: its errors, and where it lies."""

import math
from dataclasses import dataclass

from allocator.savings.arm import ArmMean
from allocator.savings.intervals import Interval, Reach

MOST_FREEDOM = 1e6


@dataclass(frozen=True, slots=True)
class Difference:
    """Of two arms' means, whose users are not the same; both of two groups at least.

    model  standard error by the energy model, zero where it plays no part
    """

    static: ArmMean
    policy: ArmMean
    model: float

    @property
    def value(self) -> float:
        """Per request."""
        return self.static.value - self.policy.value

    @property
    def sampling(self) -> float:
        """Standard error by which users happened to come."""
        return math.sqrt(self.static.variance + self.policy.variance)

    @property
    def standard(self) -> float:
        """Standard error, all in all."""
        return math.hypot(self.sampling, self.model)

    @property
    def freedom(self) -> float:
        """Degrees of freedom of the standard error, by Welch and Satterthwaite; the model's part is taken for known."""
        parts = sum(arm.variance**2 / (arm.even - 1) for arm in (self.static, self.policy))
        return min(self.standard**4 / parts, MOST_FREEDOM) if parts > 0 else MOST_FREEDOM

    @property
    def skewness(self) -> float:
        """Of the estimate. Units of both arms are taken to be skewed alike, and told by all of them together.

        The few units of the smaller arm do not tell how skewed they are: mostly they lack the rare ones that make it.
        A mean of u units is as skewed as one of them over sqrt(u), and units are in proportion to requests.
        """
        arms = (self.static, self.policy)
        variance = sum(arm.variance * arm.requests**2 for arm in arms)
        if not variance > 0:
            return 0.0
        together = sum(arm.third * arm.requests**3 for arm in arms) / math.pow(variance, 1.5)
        requests = sum(arm.requests for arm in arms)
        static, policy = (math.sqrt(requests / arm.requests * arm.variance**3) for arm in arms)
        return together * (static - policy) / self.standard**3

    def interval(self, reach: Reach) -> Interval:
        """Where the difference may lie."""
        return Interval(self.value - reach.low * self.standard, self.value + reach.high * self.standard)

    def share(self, reach: Reach) -> Interval | None:
        """Where its share of the static mean may lie; None where that mean is not above zero by this reach.

        With s and p for the means (Fieller 1954): all 1 - u for which
        (s u - p)^2 <= reach^2 (var(s) u^2 + var(p) + model^2). The energy model's error is that of the difference; one
        that both arms share in proportion would cancel here, which is not claimed.
        """
        low, high = (self._ratios(by) for by in (reach.low, reach.high))
        return None if low is None or high is None else Interval(1 - low[1], 1 - high[0])

    def _ratios(self, reach: float) -> tuple[float, float] | None:
        """The least and the largest u = p / s; None where they have no bounds."""
        s, p, by2 = self.static.value, self.policy.value, reach**2
        a, b = s**2 - by2 * self.static.variance, s * p
        if s <= 0 or a <= 0:
            return None
        root = math.sqrt(max(b**2 - a * (p**2 - by2 * (self.policy.variance + self.model**2)), 0.0))
        return (b - root) / a, (b + root) / a
