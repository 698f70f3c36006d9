"""Every joule that a counter shows is found, and none that it does not."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.joules import Quality
from cluster.power import unwrap
from cluster.power.base import Counter
from cluster.power.unwrap import TICK_S, Event

RANGE_J, MOST_W = 1000.0, 100.0


def counter(energy_j: float, at_s: float, **changes: object) -> Counter:
    known = Counter("package-0", "cpu", "package", "rapl", Quality.MEASURED, at_s, energy_j, RANGE_J, MOST_W, "boot")
    return replace(known, **changes)


@given(
    start_j=st.floats(0, RANGE_J, exclude_max=True),
    loads=st.lists(st.floats(0, 1), max_size=60),
    range_j=st.floats(1, 1e6),
    most_w=st.floats(0.1, 1e4),
    live=st.booleans(),
)
def test_any_power_is_recovered_through_any_number_of_wraps(
    start_j: float, loads: list[float], range_j: float, most_w: float, live: bool
) -> None:
    poll_s = range_j / most_w / 4
    shown = {"range_j": range_j, "most_w": most_w, "live": live}
    true_j = start_j % range_j
    state = unwrap.init(counter(true_j, 0.0, **shown))
    found_j, began_j = 0.0, true_j
    for number, load in enumerate(loads, start=1):
        true_j += load * most_w * poll_s
        state, step = unwrap.step(state, counter(true_j % range_j, number * poll_s, **shown))
        found_j += step.energy_j
        assert step.event in (None, Event.WRAP)
    assert found_j == pytest.approx(true_j - began_j, rel=1e-9, abs=1e-9 * range_j)


def test_the_first_reading_bills_nothing() -> None:
    state = unwrap.init(counter(700.0, 5.0))
    _, step = unwrap.step(state, counter(701.0, 6.0))
    assert step.energy_j == 1.0


def test_going_backwards_is_a_wrap_when_the_device_can_have_drawn_that_much() -> None:
    _, step = unwrap.step(unwrap.init(counter(990.0, 0.0)), counter(30.0, 1.0))
    assert step == unwrap.Step(40.0, 1.0, Event.WRAP)


def test_going_backwards_further_is_a_reset_that_bills_nothing_and_starts_anew() -> None:
    state, step = unwrap.step(unwrap.init(counter(500.0, 0.0)), counter(30.0, 1.0))
    assert (step.energy_j, step.event, step.fresh) == (0.0, Event.RESET, False)
    assert unwrap.step(state, counter(35.0, 2.0))[1].energy_j == 5.0


def test_a_counter_that_does_not_wrap_can_only_have_been_reset() -> None:
    endless = {"range_j": math.inf, "most_w": math.inf}
    _, step = unwrap.step(unwrap.init(counter(500.0, 0.0, **endless)), counter(30.0, 1.0, **endless))
    assert (step.energy_j, step.event) == (0.0, Event.RESET)


def test_a_jump_ahead_of_what_can_be_drawn_bills_nothing_and_starts_anew() -> None:
    state, step = unwrap.step(unwrap.init(counter(0.0, 0.0)), counter(600.0, 1.0))
    assert (step.energy_j, step.event, step.fresh) == (0.0, Event.JUMP, False)
    assert unwrap.step(state, counter(650.0, 2.0))[1].energy_j == 50.0


def test_a_counter_that_its_driver_updates_in_ticks_is_billed_however_soon_it_is_read_again() -> None:
    tick_j = MOST_W * TICK_S
    _, step = unwrap.step(unwrap.init(counter(0.0, 0.0)), counter(tick_j, 0.001))
    assert (step.energy_j, step.event) == (tick_j, None)


def test_counters_of_two_epochs_are_not_subtracted() -> None:
    state, step = unwrap.step(unwrap.init(counter(10.0, 0.0)), counter(40.0, 1.0, epoch="another boot"))
    assert (step.energy_j, step.event, step.fresh) == (0.0, Event.EPOCH, False)
    assert unwrap.step(state, counter(45.0, 2.0, epoch="another boot"))[1].energy_j == 5.0


def test_no_difference_means_not_updated_yet_where_updates_are_rare_and_the_joules_come_for_all_of_the_time() -> None:
    state = unwrap.init(counter(10.0, 0.0, live=False))
    state, step = unwrap.step(state, counter(10.0, 1.0, live=False))
    assert (step.energy_j, step.fresh) == (0.0, False)
    _, step = unwrap.step(state, counter(60.0, 2.0, live=False))
    assert step == unwrap.Step(50.0, 2.0)


def test_no_difference_is_no_joules_where_updates_are_frequent() -> None:
    _, step = unwrap.step(unwrap.init(counter(10.0, 0.0)), counter(10.0, 1.0))
    assert step == unwrap.Step(0.0, 1.0)


def test_a_reading_that_comes_twice_or_late_adds_nothing() -> None:
    state, _ = unwrap.step(unwrap.init(counter(10.0, 0.0)), counter(20.0, 1.0))
    for old in (counter(20.0, 1.0), counter(15.0, 0.5)):
        after, step = unwrap.step(state, old)
        assert (after, step.energy_j, step.event) == (state, 0.0, None)


def test_after_a_gap_in_which_it_may_have_wrapped_once_more_the_least_is_billed_and_said() -> None:
    _, step = unwrap.step(unwrap.init(counter(10.0, 0.0)), counter(60.0, 20.0))
    assert (step.energy_j, step.event) == (50.0, Event.GAP)
    _, step = unwrap.step(unwrap.init(counter(10.0, 0.0)), counter(60.0, 10.0))
    assert (step.energy_j, step.event) == (50.0, None)


def test_a_figure_that_is_no_number_bills_nothing() -> None:
    state, step = unwrap.step(unwrap.init(counter(10.0, 0.0)), counter(math.nan, 1.0))
    assert (step.energy_j, step.fresh) == (0.0, False)
    _, step = unwrap.step(state, counter(20.0, 2.0))
    assert step.energy_j == 0.0
