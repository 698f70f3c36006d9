"""Limits over time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.constraints import Constraint, Resource, Schedule, flops_per_second, paced

times = st.lists(st.floats(0, 1000), min_size=1, max_size=5, unique=True).map(sorted)


@st.composite
def schedules(draw: st.DrawFn) -> Schedule:
    starts = draw(times)
    return Schedule(tuple(starts), tuple(draw(st.floats(0, 100)) for _ in starts))


@given(schedules(), st.floats(-100, 1100), st.floats(0, 500), st.floats(0, 500))
def test_two_windows_in_a_row_may_spend_what_one_of_both_lengths_may(
    schedule: Schedule, start_s: float, first_s: float, second_s: float
) -> None:
    parts = schedule.over(start_s, first_s) + schedule.over(start_s + first_s, second_s)
    assert parts == pytest.approx(schedule.over(start_s, first_s + second_s), rel=1e-6, abs=1e-6)


def test_a_limit_that_changes_inside_a_window_counts_by_its_share_of_it() -> None:
    constraint = Constraint("cap", Resource.JOULES, Schedule((0.0, 10.5), (4.0, 2.0)))
    assert constraint.window_limit(9.0, 1.0) == 4.0
    assert constraint.window_limit(10.0, 1.0) == 3.0
    assert constraint.window_limit(11.0, 2.0) == 4.0
    assert constraint.window_limit(-5.0, 1.0) == 4.0


def test_flops_per_second_hold_at_all_times() -> None:
    constraint = flops_per_second(5e9)
    assert (constraint.resource, constraint.window_limit(1e6, 2.0)) == (Resource.FLOPS, 1e10)


def test_no_limit_is_infinite() -> None:
    assert flops_per_second(np.inf).window_limit(0.0, 1.0) == np.inf


@pytest.mark.parametrize(
    ("starts", "values"), [((), ()), ((0.0,), (1.0, 2.0)), ((1.0, 1.0), (1.0, 2.0)), ((0.0,), (-1.0,))]
)
def test_a_schedule_that_makes_no_sense_is_refused(starts: tuple[float, ...], values: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match=r"schedule|limits"):
        Schedule(starts, values)


@given(st.lists(st.floats(0, 2), min_size=1, max_size=50))
def test_a_quota_is_met_whatever_single_windows_do_as_long_as_the_last_obeys(shares: list[float]) -> None:
    quota, spent, windows = 100.0, 0.0, len(shares) + 1
    for at, share in enumerate(shares):
        spent += share * paced(quota, spent, float(windows - at), 1.0)
    before_last = spent
    spent += paced(quota, spent, 1.0, 1.0)
    assert spent == pytest.approx(max(quota, before_last))
    assert spent == pytest.approx(max(quota, spent))
    assert paced(quota, quota + 1, 5.0, 1.0) == 0.0
