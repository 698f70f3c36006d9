"""What the policy saves against the static chain, from sums by group: values and intervals, or why nothing is known."""

from dataclasses import dataclass

from allocator.arms import HOLDBACK, POLICY
from allocator.savings.arm import ArmMean, arm_mean
from allocator.savings.difference import Difference
from allocator.savings.intervals import Interval, fixed_reach, sequential_reach
from allocator.savings.model_error import ModelError
from allocator.savings.sums import QUANTITIES, GroupSums

UNCLEAR = "the share saved is not yet known: the static chain's mean is not clearly above zero"


@dataclass(frozen=True, slots=True)
class Method:
    """How sure to be, and how much is enough.

    Both kinds of intervals take an arm's mean for normal and its variance for nearly known. Twenty groups of equal size
    tell a standard error to 16%, which Student's quantile makes up for; with fewer, one user who asks a lot is the
    arm. Two hundred requests are what a mean of seldom clicks needs to lose most of its skewness. From there on
    intervals of simulated experiments hold the truth as often as they should (tests/bench/coverage.py).

    level           of the intervals
    tightest_at     requests held back, after which the confidence sequence is tightest
    least_requests  of each arm, below which nothing is said
    least_groups    as many groups of equal size each arm must be worth (`ArmMean.even`)
    """

    level: float = 0.95
    tightest_at: float = 10_000.0
    least_requests: int = 200
    least_groups: float = 20.0


@dataclass(frozen=True, slots=True)
class Figure:
    """A value and where the truth lies.

    fixed       at one look, at a time that was set beforehand
    sequential  at all looks at once: who looks all the time and stops when it pleases, takes this one
    """

    value: float
    fixed: Interval
    sequential: Interval


@dataclass(frozen=True, slots=True)
class Saved:
    """One quantity: what a request takes (or earns) under the static chain, less what it does under the policy.

    A quantity that is spent is saved where that is positive; of reward it is what is forgone, negative where the policy
    earns more.

    per_request, relative  the difference, and its share of the static chain's mean
    total                  the difference times the policy's requests of which the quantity is known
    reason                 why one of them is None; "" when all are known
    static, policy         the arms' means
    sampling_error, model_error  standard errors of the difference: by which users happened to come, and by the energy
                           model; None with the difference
    """

    per_request: Figure | None
    total: Figure | None
    relative: Figure | None
    reason: str
    static: ArmMean
    policy: ArmMean
    sampling_error: float | None = None
    model_error: float | None = None


@dataclass(frozen=True, slots=True)
class Savings:
    """Of each quantity, and the requests that were decided in both arms."""

    energy_j: Saved
    flops: Saved
    grams: Saved
    reward: Saved
    policy_requests: int
    holdback_requests: int


def estimate(sums: GroupSums, method: Method = Method()) -> Savings:
    """What is known of savings by these sums.

    The difference is that of two ratios of sums, its variance that of both arms (`arm_mean`), whose users are not the
    same, plus in joules and grams that of the energy model (`ModelError`). It answers for the traffic that the sums are
    of, and for users such as came: others might have come as well.
    """
    found = {name: _saved(sums, at, method) for at, name in enumerate(QUANTITIES)}
    policy, holdback = sums.requests.sum(axis=1).tolist()
    return Savings(**found, policy_requests=int(policy), holdback_requests=int(holdback))


def _saved(sums: GroupSums, at: int, method: Method) -> Saved:
    policy, static = (arm_mean(sums.counts[at, arm], sums.totals[at, arm]) for arm in (POLICY, HOLDBACK))
    lacking = _lacking(policy, static, method)
    if lacking:
        return Saved(None, None, None, lacking, static, policy)
    of_model = {"energy_j": sums.joules_error, "grams": sums.grams_error}.get(QUANTITIES[at], ModelError())
    found, count = Difference(static, policy, of_model.error / policy.requests), policy.requests
    fixed = fixed_reach(method.level, found.freedom, found.skewness)
    sequential = sequential_reach(method.level, found.freedom, static.requests, method.tightest_at)
    of_request = Figure(found.value, found.interval(fixed), found.interval(sequential))
    total = Figure(found.value * count, of_request.fixed.scaled(count), of_request.sequential.scaled(count))
    once, always = found.share(fixed), found.share(sequential)
    relative, reason = None, UNCLEAR
    if once is not None and always is not None:
        relative, reason = Figure(1 - policy.value / static.value, once, always), ""
    return Saved(of_request, total, relative, reason, static, policy, found.sampling, found.model)


def _lacking(policy: ArmMean, static: ArmMean, method: Method) -> str:
    """What there is too little of, in words; "" for nothing."""
    for name, arm in (("held back", static), ("decided by the policy", policy)):
        if arm.requests < method.least_requests:
            return f"not yet known: {arm.requests:.0f} of at least {method.least_requests} requests {name}"
        if arm.even < method.least_groups:
            return (
                f"not yet known: requests {name} come from too few users (groups: {arm.even:.0f} of at least "
                f"{method.least_groups:.0f} of equal size)"
            )
    return ""
