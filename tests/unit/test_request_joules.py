"""What requests are told that they cost: together exactly their runs' joules, each its own part of them."""

import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest
from energy_world import DEMO, World
from hypothesis import example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from small_space import space_of

from allocator.chains import ActionChain
from allocator.emissions import Intensity, Kind, Pue, grams_per_joule
from allocator.energy.attribution import run_shares
from allocator.energy.model import EnergyModel
from allocator.energy.windows import SERVING, Name
from allocator.joules import Quality
from allocator.request_joules import Rates, RequestJoules, rates_of

SPACE = space_of([25, 50], [10, 20], "v0-0>v1-1@50>v2-1@20", skippable=True)
NAMES = (*SPACE.variants, SERVING)


def rates(joules: Mapping[Name, tuple[float, float]]) -> Rates:
    return Rates(joules, None, Quality.MODELLED, Quality.MODELLED)


def users_of(name: Name, chains: Sequence[ActionChain]) -> list[tuple[int, int]]:
    """The requests of a micro-batch that call the variant, and how many items each infers there."""
    return [
        (at, action.items)
        for at, chain in enumerate(chains)
        for action in chain.actions
        if (action.stage, action.variant) == name
    ]


def runs_of(name: Name, chains: Sequence[ActionChain], most: int) -> Iterator[list[tuple[int, int]]]:
    """The same by model run."""
    rows = users_of(name, chains)
    return (rows[start : start + most] for start in range(0, len(rows), most))


JOULES = st.floats(0.0, 1.0)
COSTS = st.tuples(*[st.tuples(JOULES, JOULES)] * len(NAMES)).map(lambda each: dict(zip(NAMES, each, strict=True)))
CHAINS = st.lists(st.sampled_from(list(SPACE)), min_size=1, max_size=40)
ROWS = st.tuples(*[st.integers(1, 9)] * len(SPACE.variants)).map(lambda e: dict(zip(SPACE.variants, e, strict=True)))


@examples(max_examples=150)
@given(costs=COSTS, chains=CHAINS, max_rows=ROWS)
def test_a_micro_batch_costs_its_runs_and_items(
    costs: dict[Name, tuple[float, float]], chains: list[ActionChain], max_rows: dict[Name, int]
) -> None:
    told = RequestJoules(SPACE, max_rows).of(rates(costs), np.array([chain.index for chain in chains]))
    true_j = costs[SERVING][0] + costs[SERVING][1] * len(chains)
    for name in SPACE.variants:
        for run in runs_of(name, chains, max_rows[name]):
            true_j += costs[name][0] + costs[name][1] * sum(items for _, items in run)
    assert told.shape == (len(chains),)
    assert (told >= 0).all()
    assert math.fsum(told) == pytest.approx(true_j, rel=1e-12, abs=1e-12)


def test_an_approximate_index_costs_what_it_looks_at() -> None:
    space = space_of([25, 50], [10, 20], "v0-0>v1-1@50>v2-1@20", looks_at=70)
    costs = dict.fromkeys(NAMES, (0.0, 0.0)) | {("s0", "v0-0"): (2.0, 0.5)}
    told = RequestJoules(space, dict.fromkeys(SPACE.variants, 64)).of(rates(costs), np.array([0, 1]))
    assert told.tolist() == [1.0 + 35.0] * 2


@examples(max_examples=100)
@example(costs=dict.fromkeys(NAMES, (1.0, 0.0)), chains=list(SPACE))
@given(costs=COSTS, chains=CHAINS)
def test_a_request_bears_its_share_of_each_run_that_it_is_in(
    costs: dict[Name, tuple[float, float]], chains: list[ActionChain]
) -> None:
    max_rows = dict.fromkeys(SPACE.variants, 64)
    told = RequestJoules(SPACE, max_rows).of(rates(costs), np.array([chain.index for chain in chains]))
    true_j = defaultdict[int, float](float)
    for name in SPACE.variants:
        for run in runs_of(name, chains, max_rows[name]):
            for (at, _), share_j in zip(run, run_shares(*costs[name], [items for _, items in run]), strict=True):
                true_j[at] += share_j
    for at, share_j in enumerate(run_shares(*costs[SERVING], [1] * len(chains))):
        true_j[at] += share_j
    assert told.tolist() == pytest.approx([true_j[at] for at in range(len(chains))], rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("dear", ["s1", "s2"])
def test_a_skipped_stage_costs_nothing(dear: str) -> None:
    skips = SPACE.get("v0-0>skip>v2-0@10")
    assert skips is not None
    costs = dict.fromkeys(NAMES, (0.0, 0.0)) | {
        name: (5.0, 5.0) for name in SPACE.variants if name in ((dear, "v1-0"), (dear, "v1-1"), (dear, "v2-1"))
    }
    joules = RequestJoules(SPACE, dict.fromkeys(SPACE.variants, 8))
    told = joules.of(rates(costs), np.array([skips.index, SPACE.static.index]))
    assert told.tolist() == [0.0, 5.0 + 5.0 * (50 if dear == "s1" else 20)]


def test_more_rows_than_a_run_takes_are_more_runs() -> None:
    costs = dict.fromkeys(NAMES, (0.0, 0.0)) | {SPACE.variants[0]: (1.0, 0.0)}
    joules = RequestJoules(SPACE, dict.fromkeys(SPACE.variants, 8))
    for rows, runs in ((1, 1), (8, 1), (9, 2), (16, 2), (17, 3)):
        told = joules.of(rates(costs), np.full(rows, SPACE.static.index))
        assert told.tolist() == pytest.approx([runs / rows] * rows)


def test_more_company_makes_a_request_cheaper_and_never_below_its_items() -> None:
    costs = dict.fromkeys(NAMES, (1.0, 0.01))
    joules = RequestJoules(SPACE, dict.fromkeys(SPACE.variants, 64))
    told = [joules.of(rates(costs), np.full(rows, SPACE.static.index))[0] for rows in (1, 2, 8, 64)]
    assert told == sorted(told, reverse=True)
    items = 1000 + 50 + 20
    assert told[0] == pytest.approx(4 + 0.01 * (items + 1))
    assert told[-1] == pytest.approx(4 / 64 + 0.01 * (items + 1))


def test_new_rates_hold_at_once() -> None:
    joules = RequestJoules(SPACE, dict.fromkeys(SPACE.variants, 8))
    chains = np.array([SPACE.static.index])
    once = joules.of(rates(dict.fromkeys(NAMES, (1.0, 0.0))), chains)
    twice = joules.of(rates(dict.fromkeys(NAMES, (2.0, 0.0))), chains)
    assert (once.tolist(), twice.tolist()) == ([4.0], [8.0])


def test_a_micro_batch_of_one_chain_costs_each_the_same_also_by_new_rates() -> None:
    joules = RequestJoules(SPACE, dict.fromkeys(SPACE.variants, 8))
    for factor in (1.0, 2.0, 1.0):
        known = rates({name: (0.1 * factor * at, 0.01 * at) for at, name in enumerate(NAMES)})
        for requests in (1, 9, 1):
            for chain in (0, len(SPACE) - 1):
                each = joules.of_each(known, chain, requests)
                assert joules.of(known, np.full(requests, chain)).tolist() == [each] * requests


class TestRates:
    def test_before_any_meter_spoke_they_are_the_priors(self) -> None:
        prior = World().prior()
        told = rates_of(EnergyModel().init(prior), Pue(), None)
        assert dict(told.joules) == {v.name: (v.call_j, v.item_j) for v in DEMO}
        assert (told.quality, told.grams_quality) == (Quality.ASSUMED, Quality.ASSUMED)
        assert told.grams_per_j is None

    def test_meters_that_have_taught_nothing_yet_leave_them_as_well_known_as_the_prior(self) -> None:
        model = EnergyModel()
        state = model.init(World().prior())
        for devices, work in World().windows(1, seed=1):
            state = model.step(state, devices, work)
        assert state.pools
        assert rates_of(state, Pue(), None).quality is Quality.ASSUMED

    def test_meters_make_them_modelled_and_no_better(self) -> None:
        model = EnergyModel()
        state = model.init(World().prior(off=3.0))
        for devices, work in World().windows(300, seed=1):
            state = model.step(state, devices, work)
        told = rates_of(state, Pue(), None)
        assert told.quality is Quality.MODELLED
        assert told.joules["rank", "dien"][1] < 2 * DEMO[6].item_j
        guessed = replace(state.pools["host/cpu"], quality=Quality.ASSUMED)
        assert rates_of(replace(state, pools={"host/cpu": guessed}), Pue(), None).quality is Quality.ASSUMED

    def test_grams_are_as_well_known_as_the_worst_of_what_they_follow_from(self) -> None:
        state = EnergyModel().init(replace(World().prior(), quality=Quality.MODELLED))
        pue, grid = Pue(1.3, Quality.MEASURED), Intensity(250.0, Kind.AVERAGE, Quality.MEASURED)
        told = rates_of(state, pue, grid)
        assert told.grams_per_j == grams_per_joule(pue, grid) == pytest.approx(1.3 * 250 / 3.6e6)
        assert (told.quality, told.grams_quality) == (Quality.MODELLED, Quality.MODELLED)
        assert rates_of(state, Pue(), grid).grams_quality is Quality.ASSUMED
        assert rates_of(state, pue, replace(grid, quality=Quality.ASSUMED)).grams_quality is Quality.ASSUMED


@given(costs=COSTS, max_rows=ROWS)
def test_a_request_that_is_alone_costs_what_a_micro_batch_of_it_does_and_its_stages_make_that_up(
    costs: dict[Name, tuple[float, float]], max_rows: dict[Name, int]
) -> None:
    joules, known = RequestJoules(SPACE, max_rows), rates(costs)
    alone, by_stage = joules.alone(known), joules.by_stage(known)
    for chain in SPACE:
        assert alone[chain.index] == pytest.approx(joules.of(known, np.array([chain.index]))[0])
        assert by_stage[chain.index].sum() + sum(costs[SERVING]) == pytest.approx(alone[chain.index])
        skipped = [at for at, action in enumerate(chain.actions) if action.variant is None]
        assert (by_stage[chain.index, skipped] == 0.0).all()
