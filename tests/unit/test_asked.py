"""Requests of late: smoothed, quick after a step, and finite whatever comes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.accounts import Window
from cluster.asked import Asked

COSTS = np.array([[1.0, 10.0], [4.0, 20.0]])
ROWS = np.empty((0, 2), np.float32)


def window(decided_per_s: float, *unpriced_per_s: float) -> Window:
    unpriced = np.array(unpriced_per_s)
    return Window(unpriced + decided_per_s, decided_per_s, ROWS, unpriced)


def test_the_first_window_counts_whole_and_those_after_it_their_share() -> None:
    asked = Asked().after(window(50.0, 10.0, 20.0), 2.0, 0.2)
    assert (asked.decided, asked.unpriced.tolist()) == (100.0, [20.0, 40.0])
    asked = asked.after(window(55.0, 10.0, 25.0), 2.0, 0.2)
    assert (asked.decided, asked.unpriced.tolist()) == (102.0, [20.0, 42.0])


def test_what_others_spend_is_told_for_each_that_is_decided() -> None:
    assert Asked(100.0, np.array([20.0, 40.0])).beside(COSTS) == pytest.approx([1.8, 10.0])
    assert Asked().beside(COSTS).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("unpriced", [(0.0, 0.0), (20.0, 400.0)])
def test_no_step_of_theirs_is_smoothed(unpriced: tuple[float, float]) -> None:
    asked = Asked(100.0, np.array([20.0, 40.0])).after(window(90.0, *unpriced), 1.0, 0.2)
    assert (asked.decided, asked.unpriced.tolist()) == (90.0, list(unpriced))


def test_traffic_that_doubles_is_no_step_of_theirs() -> None:
    asked = Asked(100.0, np.array([20.0, 40.0])).after(window(200.0, 40.0, 80.0), 1.0, 0.2)
    assert (asked.decided, asked.unpriced.tolist()) == (120.0, [24.0, 48.0])


@given(windows=st.lists(st.tuples(*[st.sampled_from([0.0, 1e-9, 1.0, 1e6])] * 3), max_size=400))
def test_it_is_finite_and_never_negative(windows: list[tuple[float, float, float]]) -> None:
    asked = Asked()
    for decided, *unpriced in windows:
        asked = asked.after(window(decided, *unpriced), 1.0, 0.2)
        assert np.isfinite(asked.beside(COSTS)).all()
        assert asked.decided >= 0
        assert (asked.unpriced >= 0).all()
