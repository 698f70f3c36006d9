"""Drift of the reward model: no more false alarms than stated, and after a shift one within the stated requests."""

from collections.abc import Callable
from math import inf, isnan, nan

import numpy as np
import pytest
from numpy.typing import NDArray

from allocator.arms import GROUPS, HOLDBACK, NAMED, POLICY
from cluster.outcomes.drift import Drift
from cluster.outcomes.drift_evidence import DriftTest, Evidence, Side, alarmed, blocks_of, detection_requests, step
from cluster.outcomes.drift_window import calibration
from cluster.outcomes.pending import Matured

Floats = NDArray[np.float64]
Draw = Callable[[np.random.Generator, Floats], Floats]


def poisson(rng: np.random.Generator, means: Floats) -> Floats:
    return rng.poisson(means).astype(np.float64)


def heavy_tailed(rng: np.random.Generator, means: Floats) -> Floats:
    """As revenue: one order in twenty, and orders of very different size."""
    orders = np.exp(rng.normal(-0.5, 1.0, len(means)))
    return np.where(rng.random(len(means)) < 0.05, 20 * means * orders, 0.0)


def of_alike_users(rng: np.random.Generator, means: Floats) -> Floats:
    """Five requests of each user, one after another, who earns more or less than was predicted as a whole."""
    return poisson(rng, means * np.repeat(np.exp(rng.normal(-0.5, 1.0, len(means) // 5)), 5))


def predicted(rng: np.random.Generator, count: int) -> Floats:
    return np.asarray(np.exp(rng.normal(-0.7 - 0.125, 0.5, count)))


def first_alarm(test: DriftTest, rewards: tuple[Floats, Floats]) -> tuple[int | None, Evidence]:
    """The number of the first block with an alarm."""
    state = Evidence()
    for at, (expected, earned) in enumerate(blocks_of(test, *rewards).tolist()):
        state = step(test, state, expected, earned)
        if alarmed(test, state):
            return at, state
    return None, state


@pytest.mark.parametrize("draw", [poisson, heavy_tailed, of_alike_users])
def test_without_drift_there_are_no_more_false_alarms_than_stated(draw: Draw) -> None:
    """Of 100 runs that last a fifth of the run length at most 20 may end in one, even at the tolerance's edges."""
    blocks, runs = 200, 100
    test = DriftTest(run_length=5.0 * blocks * 50, block=50)
    alarms = {0.9: 0, 1.0: 0, 1.1: 0}
    for ratio in alarms:
        for seed in range(runs):
            rng = np.random.default_rng(seed)
            means = predicted(rng, blocks * test.block)
            alarms[ratio] += first_alarm(test, (means, draw(rng, ratio * means)))[0] is not None
    assert alarms[1.0] == 0
    assert max(alarms.values()) <= runs * blocks * test.block / test.run_length


@pytest.mark.parametrize(("draw", "blocks"), [(poisson, 150), (heavy_tailed, 2500), (of_alike_users, 500)])
@pytest.mark.parametrize(("shift", "side"), [(0.8, Side.LOW), (1.2, Side.HIGH)])
def test_a_shift_of_a_fifth_is_an_alarm_within_the_stated_requests(
    draw: Draw, blocks: int, shift: float, side: Side
) -> None:
    test, before = DriftTest(), 100
    for seed in range(4):
        rng = np.random.default_rng(seed)
        means = predicted(rng, (before + blocks) * test.block)
        ratio = np.where(np.arange(len(means)) < before * test.block, 1.0, shift)
        earned = draw(rng, ratio * means)
        quiet = first_alarm(test, (means[: before * test.block], earned[: before * test.block]))
        stated = detection_requests(test, quiet[1])
        found, state = first_alarm(test, (means, earned))
        assert quiet[0] is None
        assert found is not None
        assert (found - before) * test.block < stated < 100 * (found - before + 1) * test.block
        assert alarmed(test, state) == side


def test_a_spread_that_is_not_known_yet_gives_no_alarm_and_no_promise() -> None:
    test, state = DriftTest(), Evidence()
    for _ in range(test.warm_up):
        state = step(test, state, 100.0, 10.0)
    assert alarmed(test, state) is None
    assert detection_requests(test, state) == inf


def matured(rng: np.random.Generator, count: int, ratio: float, **given: object) -> Matured:
    """Requests of which the policy chose all chains, and predicted all rewards."""
    expected = predicted(rng, count)
    made = {
        "times_s": np.zeros(count),
        "arms": np.full(count, POLICY, np.int8),
        "groups": rng.integers(0, GROUPS, count).astype(np.int16),
        "chains": rng.integers(0, 3, count).astype(np.int32),
        "predicted": expected.astype(np.float32),
        "rewards": poisson(rng, ratio * expected),
        "policy_versions": np.full(count, 5),
        "whole": np.ones(count, bool),
    }
    return Matured(**{**made, **given})  # type: ignore[arg-type]


def watched(drift: Drift, ratio: float, seconds: int, begin: int = 0, rate: int = 300) -> int | None:
    """Let so much time go by; after how many requests there was an alarm."""
    rng = np.random.default_rng(begin + 1)
    for second in range(begin, begin + seconds):
        drift.step(matured(rng, rate, ratio), float(second))
        if drift.view(second).alarm is not None:
            return (second + 1 - begin) * rate
    return None


def test_the_metric_is_the_ratio_with_an_interval_and_the_alarm_tells_when_and_which_way() -> None:
    drift = Drift(3)
    drift.follow("a", 1)
    assert watched(drift, 1.0, 100) is None
    quiet = drift.view(99.0)
    assert quiet.requests == quiet.calibration.requests == 30_000
    assert quiet.calibration.low < 1.0 < quiet.calibration.high
    assert 0.0 <= quiet.evidence < 0.5
    after = watched(drift, 0.8, 100, begin=100)
    view = drift.view(199.0)
    assert after is not None
    assert after <= quiet.detects_within
    assert view.alarm is not None
    assert (view.alarm.side, view.alarms, view.alarm.requests) == (Side.LOW, 1, 30_000 + after)


def test_an_alarm_ends_when_what_comes_is_within_the_tolerance_again() -> None:
    drift = Drift(3, window_s=240.0)
    watched(drift, 1.0, 100)
    assert watched(drift, 0.5, 100, begin=100) is not None
    for at in range(200, 230):
        drift.step(matured(np.random.default_rng(at), 300, 0.5), float(at))
        assert drift.view(at).alarm is not None
    rng = np.random.default_rng(0)
    for second in range(230, 600):
        drift.step(matured(rng, 300, 1.0), float(second))
    assert drift.view(600.0).alarm is None
    assert drift.view(600.0).alarms == 1
    assert 0.95 < drift.view(600.0).calibration.ratio < 1.05


def test_another_reward_model_begins_anew_and_what_the_old_one_predicted_no_longer_counts() -> None:
    drift = Drift(3)
    drift.follow("a", 1)
    watched(drift, 1.0, 100)
    watched(drift, 0.5, 100, begin=100)
    drift.follow("a", 9)
    assert drift.view(200.0).alarm is not None, "the same model"
    drift.follow("b", 6)
    assert watched(drift, 0.5, 100, begin=200) is None
    view = drift.view(300.0)
    assert (view.reward_model, view.requests, view.alarm, view.evidence) == ("b", 0, None, 0.0)
    assert isnan(view.calibration.ratio)


def test_only_whole_policy_requests_with_a_prediction_count() -> None:
    rng = np.random.default_rng(0)
    rows = matured(
        rng, 6, 1.0,
        arms=np.array([POLICY, HOLDBACK, NAMED, POLICY, POLICY, POLICY], np.int8),
        predicted=np.array([0.5, 1, 1, nan, 1, 0.25], np.float32),
        whole=np.array([True, True, True, True, False, True]),
        rewards=np.array([2.0, 7, 7, 7, 7, 4]),
        chains=np.array([2, 0, 0, 0, 0, 2], np.int32),
    )  # fmt: skip
    drift = Drift(3)
    drift.step(rows, 0.0)
    found = drift.by_chain()
    assert found.requests.tolist() == [0, 0, 2]
    assert (found.predicted_means[2], found.realised_means[2]) == (0.375, 3.0)
    assert np.isnan(found.predicted_means[:2]).all()
    assert drift.view(0.0).calibration.ratio == 6 / 0.75


def test_the_interval_covers_as_often_as_it_says_though_requests_of_a_user_are_alike() -> None:
    covered, runs = 0, 300
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        users = rng.integers(0, 3000, 10_000)
        kind, group = np.exp(rng.normal(-0.5, 1.0, 3000)), rng.integers(0, GROUPS, 3000)
        expected = predicted(rng, len(users))
        earned = rng.poisson(expected * kind[users])
        sums = np.array([np.bincount(group[users], weights, GROUPS) for weights in (None, expected, earned)])
        found = calibration(sums)
        covered += found.low <= 1.0 <= found.high
    assert 0.91 <= covered / runs <= 0.98


def test_few_groups_have_a_ratio_and_no_interval() -> None:
    sums = np.zeros((3, GROUPS))
    sums[:, :3] = [[2, 2, 2], [1, 1, 1], [2, 1, 1]]
    found = calibration(sums)
    assert found.ratio == 4 / 3
    assert isnan(found.low)
    assert isnan(calibration(np.zeros((3, GROUPS))).ratio)
