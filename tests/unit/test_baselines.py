"""The methods that GreenFlow is compared with: budgets kept, brute force met, each beaten by the oracle."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from small_space import SPACE, concave_rewards, space_of

from allocator.baselines.cras import cras
from allocator.baselines.dcaf import dcaf
from allocator.baselines.fixed import equal, equal_mix, random_mix, static_chain
from allocator.baselines.items import ItemGrid
from allocator.baselines.oracle import oracle
from allocator.chains import ChainSpace
from allocator.optimum import lp_bound
from models.errors import FixRequest

COST = SPACE.flops
TRAIN, TEST = concave_rewards(400, seed=1), concave_rewards(400, seed=2)
MEANS = TRAIN.mean(axis=0)
GRID = ItemGrid.of(SPACE)
LEAST = float(COST[GRID.lookup.flat[0]])
budgets = st.floats(0.0, 1.2).map(lambda share: float(COST.min() + share * np.ptp(COST)))
item_budgets = st.floats(0.0, 1.0).map(lambda share: LEAST + share * float(COST[SPACE.static.index] - LEAST))


def mean_reward(rewards: NDArray[np.float64], chains: NDArray[np.int64]) -> float:
    return float(rewards[np.arange(len(rewards)), chains].mean())


@given(budgets)
def test_equal_is_the_best_of_all_chains_that_fit(budget: float) -> None:
    chosen = int(equal(MEANS, COST, budget).chains[0])
    assert COST[chosen] <= budget
    assert MEANS[chosen] == max(MEANS[j] for j in range(len(COST)) if COST[j] <= budget)


@settings(max_examples=30)
@given(budgets)
def test_equal_mix_is_the_best_of_all_pairs_and_keeps_its_budget(budget: float) -> None:
    mix = equal_mix(MEANS, COST, budget)
    assert mix.cost(COST) <= budget * (1 + 1e-12)
    best = max(MEANS[j] for j in range(len(COST)) if COST[j] <= budget)
    for i, j in combinations(range(len(COST)), 2):
        low, high = (i, j) if COST[i] <= COST[j] else (j, i)
        if COST[low] <= budget < COST[high]:
            share = (budget - COST[low]) / (COST[high] - COST[low])
            best = max(best, (1 - share) * MEANS[low] + share * MEANS[high])
    assert float(mix.reward(TRAIN).mean()) == pytest.approx(best)


@given(budgets)
def test_the_random_mix_is_a_distribution_that_keeps_its_budget(budget: float) -> None:
    mix = random_mix(COST, budget)
    assert mix.shares.sum() == pytest.approx(1.0)
    assert (mix.shares >= 0).all()
    assert mix.cost(COST) <= budget * (1 + 1e-6)
    if budget < COST.mean():
        assert mix.cost(COST) == pytest.approx(budget, rel=1e-6)


def test_a_drawn_mix_has_the_cost_that_it_expects() -> None:
    mix = random_mix(COST, float(COST.mean()) * 0.7)
    drawn = mix.draw(40_000, np.random.default_rng(3))
    assert COST[drawn].mean() == pytest.approx(mix.cost(COST), rel=0.02)


def test_the_static_chain_is_everybodys() -> None:
    assert set(static_chain(7).draw(5, np.random.default_rng(0))) == {7}


@pytest.mark.parametrize(
    "space",
    [
        SPACE,
        space_of([50], [10, 20, 40, 80], "v0-0>v1-0@50>v2-1@40"),
        space_of([10, 50], [20, 40, 80], "v0-0>skip>v2-1@80", skippable=True),
        space_of([10, 50], [20, 40, 80], "v0-0>v1-1@50>v2-0@20", skippable=True),
    ],
)
def test_the_grid_holds_chains_that_differ_from_the_static_one_in_numbers_only(space: ChainSpace) -> None:
    grid = ItemGrid.of(space)
    variants = [action.variant for action in space.static.actions]
    for index in grid.lookup.ravel():
        assert [action.variant for action in space.chains[index].actions] == variants
    same = [c.index for c in space if [action.variant for action in c.actions] == variants]
    assert set(grid.lookup.ravel()) == set(same)
    assert int(grid.lookup[grid.static]) == space.static.index


def test_where_numbers_would_grow_the_later_stage_infers_what_fits() -> None:
    pre_rank, rank = GRID.numbers
    place = (int(np.searchsorted(pre_rank, 50)), int(np.searchsorted(rank, 80)))
    assert SPACE.chains[GRID.lookup[place]].id == "v0-0>v1-1@50>v2-1@40"


@given(item_budgets)
@settings(max_examples=40)
def test_dcaf_keeps_its_budget_on_the_logs_it_was_solved_on(budget: float) -> None:
    chains = dcaf(GRID, TRAIN, COST, budget).allocate(TRAIN)
    assert COST[chains].mean() <= budget * (1 + 1e-9)
    assert set(chains) <= set(GRID.lookup.ravel())


@given(item_budgets)
@settings(max_examples=40)
def test_cras_keeps_its_budget_on_the_logs_it_was_solved_on(budget: float) -> None:
    chains = cras(GRID, TRAIN, COST, budget).allocate(TRAIN)
    assert COST[chains].mean() <= budget * (1 + 1e-9)
    assert set(chains) <= set(GRID.lookup.ravel())


def test_cras_feedback_brings_other_users_back_to_the_budgets() -> None:
    budget = LEAST + 0.3 * float(COST[SPACE.static.index] - LEAST)
    method = cras(GRID, TRAIN, COST, budget)
    eager = TEST * 3.0
    off = abs(COST[method.allocate(eager)].mean() / budget - 1)
    for _ in range(60):
        method = method.adapted(eager)
    extra = np.array([e[method.places(eager)[:, at]].mean() for at, e in enumerate(method.extras)])
    assert extra == pytest.approx(method.budgets, rel=0.03)
    assert abs(COST[method.allocate(eager)].mean() / budget - 1) < off


@given(item_budgets)
@settings(max_examples=25)
def test_nobody_beats_the_oracle_at_the_same_spend(budget: float) -> None:
    best = oracle(TEST, COST, budget)
    assert best.spend[0] <= budget * len(TEST) * (1 + 1e-12)
    assert equal_mix(TEST.mean(axis=0), COST, budget).reward(TEST).mean() <= best.bound / len(TEST) * (1 + 1e-9)
    for chains in (dcaf(GRID, TEST, COST, budget).allocate(TEST), cras(GRID, TRAIN, COST, budget).allocate(TEST)):
        spent = oracle(TEST, COST, max(float(COST[chains].mean()), float(COST.min())))
        assert mean_reward(TEST, chains) <= spent.bound / len(TEST) * (1 + 1e-9)


def test_the_oracles_bound_is_the_linear_programmes() -> None:
    budget = float(COST.min() + 0.2 * np.ptp(COST))
    few = TEST[:60]
    exact = lp_bound(few, COST[:, None], np.array([budget * len(few)]))
    assert oracle(few, COST, budget).bound == pytest.approx(exact.value, rel=1e-7)


def test_a_budget_below_the_cheapest_chain_is_refused_by_all() -> None:
    for method in (equal, equal_mix):
        with pytest.raises(FixRequest, match="below the cheapest"):
            method(MEANS, COST, float(COST.min()) * 0.9)
    with pytest.raises(FixRequest, match="below the cheapest"):
        random_mix(COST, float(COST.min()) * 0.9)
    for fit in (dcaf, cras):
        with pytest.raises(FixRequest, match="fewest items"):
            fit(GRID, TRAIN, COST, LEAST * 0.9)
    with pytest.raises(FixRequest, match="limits"):
        oracle(TEST, COST, float(COST.min()) * 0.9)
