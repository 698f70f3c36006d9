"""Arms: stable, in the share that was asked for, independent of groups and of other salts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.arms import GROUPS, HOLDBACK, NAMED, POLICY, Assignment

USERS = 40_000
units = st.one_of(st.integers(), st.text(max_size=40))


@given(units, st.floats(0, 1), st.text(alphabet="abcdef", max_size=8))
def test_a_unit_is_always_in_the_same_arm(unit: int | str, share: float, salt: str) -> None:
    one, other = Assignment(share, salt).of(unit), Assignment(share, salt).of(unit)
    assert one == other
    assert 0 <= one.group < GROUPS
    assert 0 <= one.mark < 2**64


@given(units, st.floats(0, 1), st.floats(0, 1))
def test_a_greater_share_holds_back_all_of_a_smaller_one(unit: int | str, one: float, other: float) -> None:
    small, great = sorted((one, other))
    if Assignment(small).of(unit).arm == HOLDBACK:
        assert Assignment(great).of(unit).arm == HOLDBACK


@given(units)
def test_nobody_is_held_back_by_a_share_of_zero_and_everybody_by_one(unit: int | str) -> None:
    assert Assignment(0.0).of(unit).arm == POLICY
    assert Assignment(1.0).of(unit).arm == HOLDBACK


@given(units)
def test_who_names_a_chain_is_in_neither_arm_and_has_the_same_mark(unit: int | str) -> None:
    named, not_named = Assignment(0.5).of(unit, named=True), Assignment(0.5).of(unit)
    assert named.arm == NAMED
    assert (named.group, named.mark) == (not_named.group, not_named.mark)


@pytest.mark.parametrize("share", [0.01, 0.02, 0.1, 0.5])
def test_the_share_is_held_within_chance(share: float) -> None:
    held = sum(Assignment(share).of(user).arm == HOLDBACK for user in range(USERS))
    assert abs(held - share * USERS) < 4.5 * np.sqrt(share * (1 - share) * USERS)


def test_groups_are_even_in_each_arm() -> None:
    found = [Assignment(0.5).of(user) for user in range(USERS)]
    for arm in (POLICY, HOLDBACK):
        counts = np.bincount([unit.group for unit in found if unit.arm == arm], minlength=GROUPS)
        expected = counts.sum() / GROUPS
        assert ((counts - expected) ** 2 / expected).sum() < 255 + 5 * np.sqrt(2 * 255)


def test_another_salt_holds_back_others() -> None:
    both = sum(
        Assignment(0.1, "spring").of(user).arm == HOLDBACK and Assignment(0.1, "autumn").of(user).arm == HOLDBACK
        for user in range(USERS)
    )
    assert abs(both - 0.01 * USERS) < 4.5 * np.sqrt(0.01 * 0.99 * USERS)


def test_a_number_and_its_text_are_two_units() -> None:
    assert Assignment(0.5).of(7).mark != Assignment(0.5).of("7").mark


@pytest.mark.parametrize("share", [-0.1, 1.1, float("nan"), float("inf")])
def test_a_share_outside_of_zero_to_one_is_refused(share: float) -> None:
    with pytest.raises(ValueError, match="share"):
        Assignment(share)


def test_a_salt_that_is_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="salt"):
        Assignment(0.1, "ä" * 17)
