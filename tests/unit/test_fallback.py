"""The nearest chain: it can run, differs as little as can be, and is rather cheaper than dearer."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_space import SPACE, space_of

from allocator.chains import ActionChain
from allocator.energy.windows import Name
from cluster.availability import without
from cluster.fallback import Fallback, uses_none

S1, L1, S2, L2 = (SPACE.variants[at] for at in (1, 2, 3, 4))
lost_sets = st.frozensets(st.sampled_from(SPACE.variants))
chains = st.sampled_from(SPACE.chains)


def chain(chain_id: str) -> ActionChain:
    found = SPACE.get(chain_id)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("asked", "lost", "given"),
    [
        ("v0-0>v1-1@200>v2-1@80", {S1}, "v0-0>v1-1@200>v2-1@80"),
        ("v0-0>v1-1@200>v2-1@80", {L1}, "v0-0>v1-0@200>v2-1@80"),
        ("v0-0>v1-1@200>v2-1@80", {L1, L2}, "v0-0>v1-0@200>v2-0@80"),
        # The other variant costs more for as many items, so it gets as many as cost no more.
        ("v0-0>v1-0@200>v2-0@20", {S1}, "v0-0>v1-1@50>v2-0@20"),
        # None of it is as cheap.
        ("v0-0>v1-0@25>v2-0@10", {S1}, "v0-0>v1-1@25>v2-0@10"),
    ],
)
def test_the_nearest_chain_keeps_what_it_can(asked: str, lost: set[Name], given: str) -> None:
    found = Fallback(SPACE).instead(chain(asked), frozenset(lost))
    assert found is not None
    assert found.id == given


def test_a_stage_that_may_be_skipped_is_skipped_when_all_of_it_is_lost() -> None:
    space = space_of([25, 50], [10, 20], "v0-0>v1-1@50>v2-1@20", skippable=True)
    found = Fallback(space).instead(space.static, frozenset({S1, L1}))
    assert found is not None
    assert found.id == "v0-0>skip>v2-1@20"


def test_without_any_variant_of_a_stage_there_is_none() -> None:
    assert Fallback(SPACE).instead(SPACE.static, frozenset({S1, L1})) is None


@given(chains, lost_sets, st.integers(0, 2**32 - 1))
def test_what_is_found_can_run_and_is_among_the_available_where_any_is(
    asked: ActionChain, lost: frozenset[Name], seed: int
) -> None:
    available = np.random.default_rng(seed).random(len(SPACE)) < 0.2
    found = Fallback(SPACE).instead(asked, lost, available)
    runs = without(SPACE, lost)
    assert (found is None) == (not runs.any())
    if found is not None:
        assert uses_none(found, lost)
        assert available[found.index] or not (runs & available).any()


@given(st.lists(st.tuples(chains, lost_sets), max_size=8))
def test_what_was_found_before_changes_nothing(asked: list[tuple[ActionChain, frozenset[Name]]]) -> None:
    kept = Fallback(SPACE)
    for one, lost in asked:
        assert kept.instead(one, lost) is Fallback(SPACE).instead(one, lost)
