"""allocator.pacing.forecast and profile: what is usual, the present level, and odd histories."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pacing_day import DAY_S, MINUTE_S, MINUTES, MONDAY_S, learned, usual_load

from allocator.pacing.forecast import LoadForecast, LoadState
from allocator.pacing.periods import step_edges
from allocator.pacing.profile import Learning, Profile

FORECAST = LoadForecast()
USUAL = usual_load()
QUARTERS = USUAL.reshape(96, 15).mean(axis=1)
YESTERDAY = learned([USUAL])
NONE_AT_NIGHT = np.where(np.arange(MINUTES) < 360, 0.0, USUAL)


def told(state: LoadState, windows: int, rate: float, window_s: float = MINUTE_S) -> LoadState:
    """The state after more windows of the same rate."""
    start_s = state.last_s
    for number in range(1, windows + 1):
        state = FORECAST.seen(state, start_s + number * window_s, window_s, rate * window_s)
    return state


def day_ahead(state: LoadState, step_s: float = 900.0) -> np.ndarray:
    return FORECAST.ahead(state, MONDAY_S, MONDAY_S + DAY_S, step_s)


def test_before_anything_was_seen_no_load_is_forecast() -> None:
    assert (day_ahead(FORECAST.init()) == np.zeros(96)).all()


def test_a_rate_that_somebody_expects_holds_until_windows_say_otherwise() -> None:
    state = replace(FORECAST.init(expected_per_s=80.0), last_s=MONDAY_S - 3600.0)
    assert day_ahead(state) == pytest.approx(np.full(96, 80.0))
    assert day_ahead(told(state, 60, 20.0)) == pytest.approx(np.full(96, 20.0), rel=0.05)


@pytest.mark.parametrize("window_s", [1.0, 60.0, 900.0])
def test_without_a_history_the_present_rate_lasts(window_s: float) -> None:
    state = told(replace(FORECAST.init(), last_s=MONDAY_S - 10 * window_s), 10, 50.0, window_s)
    assert day_ahead(state) == pytest.approx(np.full(96, 50.0), rel=0.01)


def test_after_two_days_the_third_is_known() -> None:
    assert day_ahead(learned([USUAL, USUAL])) == pytest.approx(QUARTERS, rel=0.06)


def test_a_day_of_the_week_is_told_from_the_others_once_it_was_seen() -> None:
    week = [USUAL] * 5 + [USUAL / 3, USUAL / 3]  # from Monday on
    monday, saturday = learned(week * 4), learned(week * 4 + [USUAL] * 5)
    assert day_ahead(monday).mean() == pytest.approx(QUARTERS.mean(), rel=0.15)
    assert day_ahead(saturday).mean() == pytest.approx(QUARTERS.mean() / 3, rel=0.25)


def test_a_weekday_that_was_never_seen_is_taken_for_any_other_day() -> None:
    state = learned([USUAL] * 3, until_s=MONDAY_S - DAY_S)
    sunday = FORECAST.ahead(state, MONDAY_S - DAY_S, MONDAY_S, 900.0)
    assert sunday == pytest.approx(QUARTERS, rel=0.06)


def test_a_busy_hour_raises_the_next_hours_more_than_the_day_and_the_day_more_than_tomorrow() -> None:
    state = learned([np.full(MINUTES, 100.0)] * 7)
    state = told(state, 60, 200.0)
    ahead = FORECAST.ahead(state, state.last_s, state.last_s + 4 * DAY_S, 1800.0) / 100.0
    assert ahead[0] > 1.6
    assert 1.1 < ahead[6] < 0.8 * ahead[0]
    assert ahead[-10:-2] == pytest.approx(np.ones(8), abs=0.03)
    assert (np.diff(ahead[:40]) <= 1e-9).all()


def test_a_day_that_is_busier_throughout_is_expected_to_stay_so_until_midnight() -> None:
    state = learned([USUAL] * 5)
    for minute in range(720):
        state = FORECAST.seen(state, MONDAY_S + (minute + 1) * MINUTE_S, MINUTE_S, 1.5 * USUAL[minute] * MINUTE_S)
    rest = FORECAST.ahead(state, MONDAY_S + 720 * MINUTE_S, MONDAY_S + DAY_S, 900.0)
    assert 1.3 < rest.sum() / QUARTERS[48:].sum() < 1.5


def test_what_changes_for_good_is_usual_within_two_weeks() -> None:
    state = learned([USUAL] * 7 + [USUAL * 3] * 14)
    assert day_ahead(state).sum() / QUARTERS.sum() == pytest.approx(3.0, rel=0.05)


def test_quiet_nights_stay_quiet_and_say_nothing_of_the_morning() -> None:
    state = learned([NONE_AT_NIGHT] * 3)
    asleep = state
    for minute in range(300):
        asleep = FORECAST.seen(asleep, MONDAY_S + (minute + 1) * MINUTE_S, MINUTE_S, 0.0)
    ahead = FORECAST.ahead(asleep, MONDAY_S + 300 * MINUTE_S, MONDAY_S + DAY_S, 900.0)
    assert ahead[:3].max() < 0.02 * QUARTERS.max()
    assert ahead[8:] == pytest.approx(QUARTERS[28:], rel=0.1)


def test_a_gap_teaches_nothing_and_its_hours_are_taken_from_other_days() -> None:
    state = FORECAST.init()
    for day in range(3):
        for minute in range(MINUTES):
            if day == 2 and 600 <= minute < 900:
                continue
            end_s = MONDAY_S + day * DAY_S + (minute + 1) * MINUTE_S
            state = FORECAST.seen(state, end_s, MINUTE_S, USUAL[minute] * MINUTE_S)
    ahead = FORECAST.ahead(state, MONDAY_S + 3 * DAY_S, MONDAY_S + 4 * DAY_S, 900.0)
    assert ahead == pytest.approx(QUARTERS, rel=0.06)


def test_the_level_of_before_a_long_gap_is_forgotten() -> None:
    state = told(learned([np.full(MINUTES, 100.0)] * 7), 60, 300.0)
    later_s = state.last_s + 5 * DAY_S
    assert FORECAST.ahead(state, later_s, later_s + 900.0, 900.0)[0] == pytest.approx(100.0, rel=0.05)


def test_the_last_step_is_the_mean_of_what_is_left() -> None:
    state = learned([USUAL] * 2)
    until_s = MONDAY_S + 2.5 * 3600
    coarse, fine = FORECAST.ahead(state, MONDAY_S, until_s, 3600.0), FORECAST.ahead(state, MONDAY_S, until_s, 900.0)
    assert len(coarse) == 3
    assert coarse[2] == pytest.approx(fine[8:].mean(), rel=1e-3)
    edges = step_edges(MONDAY_S, until_s, 3600.0)
    assert (coarse * np.diff(edges)).sum() == pytest.approx(fine.sum() * 900.0, rel=1e-3)


@pytest.mark.parametrize(("now_s", "until_s"), [(10.0, 10.0), (11.0, 10.0)])
def test_when_no_time_is_left_nothing_is_ahead(now_s: float, until_s: float) -> None:
    assert len(FORECAST.ahead(FORECAST.init(), now_s, until_s, 900.0)) == 0


def test_how_windows_are_cut_does_not_matter() -> None:
    start = replace(FORECAST.init(), last_s=MONDAY_S)
    fine, coarse = told(start, 7200, 20.0, 1.0), told(start, 240, 20.0, 30.0)
    ahead = [FORECAST.ahead(state, MONDAY_S + 7200, MONDAY_S + DAY_S, 900.0) for state in (fine, coarse)]
    assert ahead[0] == pytest.approx(ahead[1], rel=0.01)


@given(
    st.lists(
        st.tuples(st.floats(0.0, 1e6), st.floats(0.1, 900.0), st.floats(0.0, 1e9)),
        min_size=1,
        max_size=40,
    ),
    st.floats(1.0, 2e5),
    st.floats(10.0, 5e4),
)
def test_whatever_was_seen_forecasts_are_finite_and_not_negative(
    windows: list[tuple[float, float, float]], ahead_s: float, step_s: float
) -> None:
    """Clocks may go back, windows may lie far apart, and loads leap."""
    state = FORECAST.init()
    for at_s, window_s, requests in windows:
        state = FORECAST.seen(state, MONDAY_S + at_s, window_s, requests)
    found = FORECAST.ahead(state, state.last_s, state.last_s + ahead_s, step_s)
    assert len(found) == len(step_edges(state.last_s, state.last_s + ahead_s, step_s)) - 1
    assert np.isfinite(found).all()
    assert (found >= 0).all()


@given(st.lists(st.floats(0.0, 1e4), min_size=1, max_size=30))
def test_a_step_leaves_the_state_that_it_began_from_as_it_was(loads: list[float]) -> None:
    state = YESTERDAY
    before = [state.profile.day.copy(), state.profile.week.copy()]
    after = state
    for number, load in enumerate(loads):
        after = FORECAST.seen(after, MONDAY_S + 600.0 * (number + 1), 600.0, load)
    assert (state.profile.day == before[0]).all()
    assert (state.profile.week == before[1]).all()


@pytest.mark.parametrize(
    ("unix_s", "window_s", "requests"),
    [(0.0, 0.0, 1.0), (0.0, -1.0, 1.0), (0.0, 1.0, -1.0), (np.nan, 1.0, 1.0), (0.0, 1.0, np.inf), (0.0, np.nan, 1.0)],
)
def test_what_is_no_window_is_refused(unix_s: float, window_s: float, requests: float) -> None:
    with pytest.raises(ValueError, match="no window"):
        FORECAST.seen(FORECAST.init(), unix_s, window_s, requests)


def test_its_memory_does_not_grow() -> None:
    sizes = {state.profile.week.nbytes + state.profile.day.nbytes for state in (FORECAST.init(), learned([USUAL] * 9))}
    assert len(sizes) == 1


@pytest.mark.parametrize("bin_s", [0.0, 7.0e3, -900.0])
def test_bins_that_do_not_fill_a_day_are_refused(bin_s: float) -> None:
    with pytest.raises(ValueError, match="bin_s"):
        Learning(bin_s=bin_s)


def test_another_length_of_bins_works_as_well() -> None:
    forecast = LoadForecast(learning=Learning(bin_s=3600.0))
    state = learned([USUAL] * 2, forecast=forecast)
    assert Profile.empty(forecast.learning).week.shape == (2, 168)
    found = forecast.ahead(state, MONDAY_S, MONDAY_S + DAY_S, 3600.0)
    assert found[2:] == pytest.approx(USUAL.reshape(24, 60).mean(axis=1)[2:], rel=0.06)
