"""Comparisons: EQUAL at any spend, the gap to the oracle, computation at equal reward, intervals."""

import json
from pathlib import Path

import numpy as np
import pytest
from pfec_case import CARBON, case_of
from small_space import SPACE

from allocator.baselines.fixed import equal_mix
from allocator.pfec.case import budgets_for
from allocator.pfec.compare import EqualLine, share_of_gap, spend_to_earn
from allocator.pfec.footprint import from_flops, from_profile
from allocator.pfec.measure import Measured
from allocator.pfec.resample import Draws, interval
from models.errors import FixFile

CASE = case_of(users=40, training=50)
WEIGHTS = Draws.of(40, 4, seed=1).weights


def test_equals_line_is_the_best_mix_of_training_users_at_every_spend() -> None:
    budgets = budgets_for(CASE, 7)
    spend = np.geomspace(CASE.cost.min(), CASE.cost.max(), 23)
    line = EqualLine(CASE, WEIGHTS, budgets).reward(np.tile(spend, (len(WEIGHTS), 1)))
    for n, budget in enumerate(spend.tolist()):
        mix = equal_mix(CASE.training_means, CASE.cost, budget).reward(CASE.rewards)
        np.testing.assert_allclose(line[:, n], WEIGHTS @ mix / 40, rtol=1e-9)


def test_equals_line_knows_nothing_where_there_is_no_spend() -> None:
    line = EqualLine(CASE, WEIGHTS, budgets_for(CASE, 3)).reward(np.full((len(WEIGHTS), 2), np.nan))
    assert np.isnan(line).all()


def test_the_share_of_the_gap_is_one_for_the_oracle_and_nothing_where_there_is_no_gap() -> None:
    earned, fixed, best = np.array([3.0, 2.0, 1.0, 2.0]), np.array([2.0, 2.0, 2.0, 2.0]), np.array([3.0, 3, 3, 2.0001])
    np.testing.assert_allclose(share_of_gap(earned, fixed, best), [1.0, 0.0, -1.0, np.nan])


def test_the_spend_for_a_reward_lies_where_the_line_crosses_it_first() -> None:
    spend = np.array([[np.nan, 1.0, 2.0, 4.0]])
    reward = np.array([[np.nan, 10.0, 20.0, 18.0]])
    measured = Measured(spend, reward, spend)
    for wanted, expected in ((5.0, 1.0), (15.0, 1.5), (20.0, 2.0), (21.0, np.inf)):
        assert spend_to_earn(measured, np.array([wanted]))[0] == expected
    nothing = Measured(np.full((1, 2), np.nan), np.full((1, 2), np.nan), np.full((1, 2), np.nan))
    assert np.isnan(spend_to_earn(nothing, np.array([1.0]))[0])


def test_an_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(5)
    covered = 0
    for trial in range(200):
        values = rng.exponential(1.0, 80)
        weights = Draws.of(80, 200, seed=trial).weights
        found = interval(weights @ values / 80)
        assert found.low is not None
        assert found.high is not None
        covered += found.low <= 1.0 <= found.high
    assert 0.88 <= covered / 200 <= 0.99


def test_draws_hold_as_many_users_as_there_are() -> None:
    weights = Draws.of(30, 10, seed=0).weights
    assert (weights[0] == 1).all()
    assert (weights.sum(axis=1) == 30).all()
    assert len({tuple(row) for row in weights}) == 11


def test_an_end_that_is_not_reached_is_open_and_a_figure_that_does_not_exist_has_none() -> None:
    reached = interval(np.array([2.0, *([1.0] * 50), *([np.inf] * 50)]))
    assert (reached.value, reached.low, reached.high) == (2.0, 1.0, None)
    assert not reached.clear
    missing = interval(np.full(5, np.nan))
    assert (missing.value, missing.low, missing.high) == (None, None, None)
    assert interval(np.array([2.0, 1.0, 3.0])).clear
    assert not interval(np.array([0.5, -1.0, 2.0])).clear


def test_grams_count_pue_once() -> None:
    assert CARBON.grams(3.6e6) == pytest.approx(600.0)


def profile_file(folder: Path, rows: tuple[int, ...] = (1, 16, 64), skip: str = "") -> Path:
    timings = [
        {"stage": a.stage, "variant": a.variant, "rows": n, "items": a.items, "run_ms": n * (a.items / 100) / (1 + n)}
        for chain in SPACE
        for a in chain.actions
        for n in rows
        if a.variant != skip
    ]
    path = folder / "profile.json"
    path.write_text(json.dumps({"timings": timings, "advice": []}), encoding="utf-8")
    return path


def test_a_profiles_joules_are_milliseconds_times_watts(tmp_path: Path) -> None:
    found = from_profile(SPACE, profile_file(tmp_path), watts=20.0)
    assert found.quality == "modelled"
    assert "16 requests" in found.statement
    for chain, joules in zip(SPACE, found.joules, strict=True):
        seconds = sum(action.items / 100 / 17 / 1e3 for action in chain.actions)
        assert joules == pytest.approx(20.0 * seconds)


def test_joules_from_flops_say_that_they_are_assumed() -> None:
    found = from_flops(SPACE, 2e9)
    np.testing.assert_allclose(found.joules * 2e9, SPACE.flops)
    assert found.quality == "assumed"
    assert "2 GFLOPs" in found.statement


def test_a_profile_of_another_cascade_is_refused_by_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(FixFile, match="lacks s1/v1-1"):
        from_profile(SPACE, profile_file(tmp_path, skip="v1-1"), 10.0)


@pytest.mark.parametrize("content", ["{}", "no json", '{"timings": []}', '{"timings": [{"stage": "s1"}]}'])
def test_a_file_that_is_no_profile_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "profile.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(FixFile, match="timings"):
        from_profile(SPACE, path, 10.0)
    with pytest.raises(FixFile, match="no such file"):
        from_profile(SPACE, tmp_path / "none.json", 10.0)
