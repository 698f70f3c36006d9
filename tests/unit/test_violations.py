"""Violations are found where they were put, and only there; the report's figures are those of plain formulas."""

import numpy as np
import pytest
from scipy.stats import spearmanr
from tiny_cascade import TinyCascade

from allocator.chains import ChainSpace
from allocator.reward_report import Judge, gap_closed, rank_correlations
from allocator.violations import stages_to_free, violations
from models.loading import Cascade


@pytest.fixture
def space(tiny: TinyCascade) -> ChainSpace:
    cascade = Cascade.open(tiny.folder)
    return ChainSpace(cascade.spec, len(cascade.items))


def concave(space: ChainSpace, users: int = 30) -> np.ndarray:
    rng = np.random.default_rng(0)
    value = [sum(np.log1p(a.items) for a in chain.actions if a.variant and not a.recalls) for chain in space]
    return rng.uniform(0.5, 2.0, (users, 1)) * np.array(value)


def test_rising_concave_rewards_violate_nothing(space: ChainSpace) -> None:
    found = violations(space, concave(space))
    assert [(one.stage, one.variant) for one in found] == [("prerank", "light"), ("prerank", "heavy"), ("rank", "fine")]
    assert all(one.falls == one.bends == one.mean_falls == one.mean_bends == one.fall_share == 0 for one in found)
    assert stages_to_free(found) == []


def test_the_variant_that_earns_less_from_more_items_is_named(space: ChainSpace) -> None:
    rewards = concave(space)
    for chain in space:
        if chain.actions[1].id == "heavy@8":
            rewards[:, chain.index] -= 5.0
    found = {one.variant: one for one in violations(space, rewards)}
    assert [name for name, one in found.items() if one.guilty] == ["heavy"]
    assert found["heavy"].mean_falls == 1.0
    assert found["heavy"].fall_share == 1.0
    assert "heavy@8" in found["heavy"].worst
    assert stages_to_free(list(found.values())) == ["prerank"]


def test_growing_gains_are_bends(space: ChainSpace) -> None:
    rewards = concave(space)
    for chain in space:
        rewards[:, chain.index] = chain.actions[2].items ** 2
    assert violations(space, rewards)[-1].bends == 1.0


def test_rank_correlations_are_spearmans() -> None:
    rng = np.random.default_rng(1)
    left, right = rng.integers(0, 4, (5, 9)), rng.integers(0, 4, (5, 9))
    expected = [spearmanr(a, b).statistic for a, b in zip(left, right, strict=True)]
    np.testing.assert_allclose(rank_correlations(left, right), expected)


def test_perfect_predictions_have_no_regret_and_fixed_ones_gain_nothing() -> None:
    rng = np.random.default_rng(2)
    cost = np.array([1.0, 3.0, 9.0])
    rewards = np.sort(rng.random((200, 3)), axis=1)
    judge = Judge.of(rewards, rewards, cost, 9.0)
    perfect = judge.quality("perfect", rewards)
    assert (perfect.r2, perfect.r2_within, perfect.r2_personal) == pytest.approx((1.0, 1.0, 1.0))
    assert perfect.rank_correlation == pytest.approx(1.0)
    assert all(-1e-9 < at.regret < 0.02 for at in perfect.budgets)  # one user's step at most
    assert all(0.9 < at.closed < 1.0 + 1e-9 for at in perfect.budgets)
    fixed = judge.quality("fixed", rewards.mean(axis=0, keepdims=True).repeat(200, axis=0))
    assert fixed.calibration == pytest.approx(0.0, abs=1e-12)
    assert fixed.r2_personal == pytest.approx(0.0, abs=1e-9)
    assert all(at.closed == pytest.approx(0.0, abs=1e-9) for at in fixed.budgets)
    assert all(at.earned == pytest.approx(at.fixed) for at in fixed.budgets)
    assert all(at.regret > 0 for at in fixed.budgets)
    lines = gap_closed([perfect, fixed])
    assert all(line[2] == "+0%" for line in lines)
    assert lines[3][1].endswith("%*")


def test_nothing_is_won_where_all_users_are_alike() -> None:
    rng = np.random.default_rng(3)
    rewards = np.sort(rng.random((1, 6))).repeat(50, axis=0)
    judge = Judge.of(rewards, rewards, np.arange(1.0, 7.0), 6.0)
    noisy = rewards + 1e-3 * rng.normal(size=(1, 6)) + 1e-7 * rng.normal(size=rewards.shape)
    for at in (*judge.quality("alike", rewards).budgets, *judge.quality("nearly", noisy).budgets):
        assert at.earned <= at.fixed + 1e-9
        assert at.fixed <= at.oracle + 1e-9
        assert at.interval[0] <= 1e-9
