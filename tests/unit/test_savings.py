"""Savings by sums: what the intervals are made of, and that nothing is said before enough is known."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.arms import GROUPS, HOLDBACK, POLICY
from allocator.savings import Figure, GroupSums, Saved, estimate
from allocator.savings.arm import arm_mean
from allocator.savings.intervals import fixed_reach, sequential_reach
from allocator.savings.model_error import ModelError
from allocator.savings.sums import QUANTITIES, SHAPE


def sums_of(policy: float = 6.0, static: float = 10.0, seed: int = 0, requests: float = 40.0) -> GroupSums:
    """Every quantity alike: about so much a request, and so many requests in a group of each arm."""
    rng = np.random.default_rng(seed)
    counts = rng.poisson(requests, SHAPE).astype(float)
    totals = counts * (np.array([[policy], [static]]) + rng.standard_normal(SHAPE))
    every = (len(QUANTITIES), 1, 1)
    return GroupSums(counts, np.tile(counts, every), np.tile(totals, every))


def halves(saved: Saved) -> tuple[float, float]:
    """Half widths of the difference's intervals."""
    figure = saved.per_request
    assert figure is not None
    return figure.fixed.high - figure.value, figure.sequential.high - figure.value


def test_the_difference_is_what_the_static_chain_takes_more() -> None:
    found = estimate(sums_of())
    for saved in (found.energy_j, found.flops, found.grams, found.reward):
        assert saved.reason == ""
        assert saved.per_request is not None
        assert saved.relative is not None
        assert saved.total is not None
        assert saved.per_request.value == saved.static.value - saved.policy.value == pytest.approx(4.0, abs=0.3)
        assert saved.relative.value == pytest.approx(0.4, abs=0.03)
        assert saved.total.value == pytest.approx(saved.per_request.value * found.policy_requests)
        assert saved.total.fixed.high == pytest.approx(saved.per_request.fixed.high * found.policy_requests)


def test_a_policy_that_takes_more_saves_less_than_nothing() -> None:
    found = estimate(sums_of(policy=12.0)).flops
    assert found.per_request is not None
    assert found.relative is not None
    assert found.per_request.sequential.high < 0
    assert found.relative.sequential.high < 0


def test_a_mean_s_variance_is_that_of_its_groups_when_they_are_of_one_size() -> None:
    values = np.random.default_rng(1).standard_normal(GROUPS)
    mean = arm_mean(np.full(GROUPS, 7.0), 7.0 * values)
    assert mean.value == pytest.approx(values.mean())
    assert mean.variance == pytest.approx(values.var(ddof=1) / GROUPS)
    assert (mean.groups, mean.even) == (GROUPS, pytest.approx(GROUPS))


def test_a_mean_s_variance_is_that_of_means_without_one_group_each() -> None:
    rng = np.random.default_rng(2)
    counts = rng.integers(0, 9, GROUPS).astype(float)
    totals = counts * rng.exponential(1.0, GROUPS)
    at = np.flatnonzero(counts)
    without = np.array([(totals.sum() - totals[g]) / (counts.sum() - counts[g]) for g in at])
    mean = arm_mean(counts, totals)
    assert mean.variance == pytest.approx(((without - mean.value) ** 2).sum() * (len(at) - 1) / len(at))


@given(st.integers(1, 1000))
def test_asking_the_same_users_again_makes_nothing_surer(times: int) -> None:
    once = sums_of()
    again = GroupSums(once.requests * times, once.counts * times, once.totals * times)
    one, other = (halves(estimate(sums).flops)[0] for sums in (once, again))
    assert one == pytest.approx(other)


@given(st.floats(1e-9, 1e9))
def test_figures_in_another_unit_are_the_same_figures(unit: float) -> None:
    once = sums_of()
    one, other = (estimate(replace(once, totals=once.totals * by)).flops for by in (1.0, unit))
    assert halves(other) == pytest.approx([half * unit for half in halves(one)])
    assert one.relative is not None
    assert other.relative is not None
    assert other.relative.sequential.low == pytest.approx(one.relative.sequential.low)


def test_few_groups_that_hold_most_requests_count_as_few() -> None:
    counts = np.ones(GROUPS)
    counts[:3] = 1e6
    mean = arm_mean(counts, counts)
    assert mean.groups == GROUPS
    assert mean.even == pytest.approx(3.0, rel=1e-3)


def test_the_energy_model_s_error_is_in_joules_and_grams_and_in_nothing_else() -> None:
    sure = sums_of()
    policy = float(sure.requests[POLICY].sum())
    found = estimate(replace(sure, joules_error=off(0.3 * policy), grams_error=off(5.0 * policy)))
    assert (found.energy_j.model_error, found.grams.model_error) == (pytest.approx(0.3), pytest.approx(5.0))
    assert found.flops == estimate(sure).flops
    assert found.reward == estimate(sure).reward
    assert halves(found.energy_j)[0] == pytest.approx(1.96 * math.hypot(0.3, sampling(sure)), rel=0.01)
    assert halves(found.grams)[1] > 10.0


def off(by: float) -> ModelError:
    return ModelError().after(1.0, by)


def sampling(sums: GroupSums) -> float:
    error = estimate(sums).energy_j.sampling_error
    assert error is not None
    return error


@pytest.mark.parametrize(
    ("held", "policy", "reason"),
    [
        (0, 256, "0 of at least 200 requests held back"),
        (19, 256, "190 of at least 200 requests held back"),
        (20, 19, "190 of at least 200 requests decided by the policy"),
    ],
)
def test_before_enough_requests_nothing_is_known_and_the_reason_says_why(held: int, policy: int, reason: str) -> None:
    found = estimate(kept(sums_of(requests=10.0), held, policy))
    for saved in (found.energy_j, found.flops, found.grams, found.reward):
        assert (saved.per_request, saved.total, saved.relative) == (None, None, None)
        assert saved.reason == f"not yet known: {reason}"


def test_requests_of_few_users_say_nothing_however_many_they_are() -> None:
    found = estimate(kept(sums_of(requests=1e4), 19, 256)).flops
    assert found.per_request is None
    assert "too few users" in found.reason


def kept(sums: GroupSums, held: int, policy: int) -> GroupSums:
    """With requests in so many groups alone, ten in each where there are about ten."""
    counts = np.where(sums.counts < 100, 10.0, sums.counts)
    counts[:, HOLDBACK, held:] = counts[:, POLICY, policy:] = 0.0
    return GroupSums(counts[0], counts, np.where(counts > 0, sums.totals, 0.0))


def test_nothing_at_all_is_no_trouble() -> None:
    found = estimate(GroupSums())
    assert (found.policy_requests, found.holdback_requests) == (0, 0)
    assert found.energy_j.reason == "not yet known: 0 of at least 200 requests held back"


def test_without_a_clear_static_mean_the_share_is_not_known_though_the_difference_is() -> None:
    found = estimate(sums_of(static=0.01, policy=0.005)).reward
    assert found.per_request is not None
    assert found.relative is None
    assert "not clearly above zero" in found.reason


def test_a_share_s_interval_holds_what_fieller_s_test_does_not_reject() -> None:
    found = estimate(sums_of(static=1.0, policy=0.7)).flops
    assert found.relative is not None
    static, policy = found.static, found.policy
    shares = np.linspace(-1, 1, 20_001)
    off = (static.value * (1 - shares) - policy.value) ** 2
    reach = halves(found)[1] / math.sqrt(static.variance + policy.variance)
    accepted = shares[off <= reach**2 * (static.variance * (1 - shares) ** 2 + policy.variance)]
    assert found.relative.sequential.low == pytest.approx(accepted.min(), abs=2e-4)
    assert found.relative.sequential.high == pytest.approx(accepted.max(), abs=2e-4)


def earning(seed: int, users: int, share: float) -> GroupSums:
    """Rewards of users who differ a lot, as many in a group as there happen to be; nobody's chain matters."""
    rng = np.random.default_rng(seed)
    cells = (rng.random(users) < share) * GROUPS + rng.integers(0, GROUPS, users)
    asked, earns = rng.poisson(20 * np.exp(rng.standard_normal(users))), np.exp(0.7 * rng.standard_normal(users))
    counts, totals = (np.bincount(cells, of, 2 * GROUPS).reshape(SHAPE) for of in (asked, asked * earns))
    return GroupSums(counts, np.tile(counts, (4, 1, 1)), np.tile(totals, (4, 1, 1)))


def test_where_a_few_users_earn_most_the_interval_reaches_further_up_and_is_missed_less() -> None:
    """Most samples of few users lack those who earn most."""
    found = [estimate(earning(seed, 4000, 0.03)).reward.per_request for seed in range(400)]
    known = [figure for figure in found if figure is not None]
    assert len(known) > 390
    held = np.mean([figure.fixed.holds(0.0) for figure in known])
    low, high = np.mean([sides_of(figure) for figure in known], axis=0)
    assert high > 1.1 * low
    straight = np.mean([abs(figure.value) <= sides_of(figure)[0] for figure in known])
    assert held - straight > 0.015
    assert 0.93 < held < 0.98


def sides_of(figure: Figure) -> tuple[float, float]:
    return figure.value - figure.fixed.low, figure.fixed.high - figure.value


class TestReach:
    def test_a_skewed_estimate_reaches_further_where_the_truth_is_when_it_errs(self) -> None:
        plain, right, left = (fixed_reach(0.95, 50, by) for by in (0.0, 0.4, -0.4))
        assert plain.low == plain.high == right.low == left.high
        assert right.high == left.low == pytest.approx(plain.high + 0.4 * (2 * plain.high**2 + 1) / 12)
        assert fixed_reach(0.95, 50, 100.0).high < sequential_reach(0.95, 50, 1e4, 1e4).high

    def test_at_one_look_it_is_student_s(self) -> None:
        assert fixed_reach(0.95, 1e6).high == pytest.approx(1.95996, abs=1e-4)
        assert fixed_reach(0.95, 10).low == pytest.approx(2.22814, abs=1e-5)

    @pytest.mark.parametrize("seen", [10.0, 1e3, 1e4, 1e6])
    def test_at_all_looks_it_is_the_published_boundary(self, seen: float) -> None:
        """Written as in the paper, of a mean of t draws with a standard deviation of one, over sqrt(1/t)."""
        rho2, alpha, t = 8.2096 / 1e4, 0.05, seen
        published = math.sqrt(2 * (t * rho2 + 1) / (t**2 * rho2) * math.log(math.sqrt(t * rho2 + 1) / alpha))
        assert sequential_reach(0.95, 1e9, seen, 1e4).low == pytest.approx(published * math.sqrt(t), rel=1e-3)

    def test_it_is_tightest_where_it_is_asked_to_be(self) -> None:
        here = sequential_reach(0.95, 1e6, 5000.0, 5000.0).high
        assert all(sequential_reach(0.95, 1e6, 5000.0, at).high > here for at in (1000.0, 4000.0, 6000.0, 25_000.0))

    @given(st.floats(3, 1e6), st.floats(1, 1e9))
    def test_it_is_wider_than_at_one_look(self, freedom: float, seen: float) -> None:
        assert sequential_reach(0.95, freedom, seen, 1e4).high > 1.3 * fixed_reach(0.95, freedom).high

    def test_few_degrees_of_freedom_make_it_wider(self) -> None:
        reach = [sequential_reach(0.95, freedom, 1e4, 1e4).low for freedom in (20, 100, 1e6)]
        assert reach == sorted(reach, reverse=True)

    def test_of_random_walks_that_are_watched_throughout_one_in_twenty_is_missed_at_most(self) -> None:
        rng = np.random.default_rng(0)
        t = np.arange(1, 4001)
        means = np.cumsum(rng.standard_normal((1000, 4000)), axis=1) / t
        at_all = np.array([sequential_reach(0.95, 1e9, float(n), 400.0).low for n in t]) / np.sqrt(t)
        missed = (np.abs(means) > at_all).any(axis=1).mean()
        assert 0.005 < missed < 0.05 + 2.6 * math.sqrt(0.05 * 0.95 / 1000)
        assert (np.abs(means) > fixed_reach(0.95, 1e9).low / np.sqrt(t)).any(axis=1).mean() > 0.5
