"""The line through runs: it finds what made them, never goes below nothing, and says of all together what they took."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allocator.affine import Line, Sums, line

SHAPE = (1.0, 0.01)


def of(observations: list[tuple[float, float, float]], kept: float = 1.0) -> Sums:
    sums = Sums()
    for runs, items, took in observations:
        sums = sums.seen(runs, items, took, max(runs, 1.0) ** 0.5, kept)
    return sums


@pytest.mark.parametrize("shape", [(1.0, 1e-4), (1.0, 1e-2), (1e-6, 1.0)])
def test_where_runs_differ_in_size_it_finds_what_made_them_whatever_was_thought(shape: Line) -> None:
    rng = np.random.default_rng(0)
    runs = rng.integers(1, 40, 300).astype(float)
    items = runs * rng.uniform(100, 2000, 300)
    took = (2e-3 * runs + 3e-6 * items) * rng.lognormal(0, 0.1, 300)
    found = line(of(list(zip(runs, items, took, strict=True))), shape)
    assert found == pytest.approx((2e-3, 3e-6), rel=0.15)


def test_where_items_go_in_step_with_runs_the_shape_divides_what_they_took() -> None:
    run, item = line(of([(n, 200.0 * n, 6.0 * n) for n in (1.0, 5.0, 9.0)]), SHAPE)
    assert (run, item) == pytest.approx((2.0, 0.02))


def test_before_anything_is_seen_the_shape_holds() -> None:
    assert line(Sums(), SHAPE) == SHAPE


def test_runs_without_items_say_nothing_of_items() -> None:
    assert line(of([(2.0, 0.0, 8.0)]), SHAPE) == pytest.approx((4.0, 0.04))


OBSERVATION = st.tuples(st.floats(1, 1e4), st.floats(0, 1e7), st.floats(0, 1e3))


@given(st.lists(OBSERVATION, min_size=1, max_size=12), st.floats(1e-9, 1e3), st.floats(1e-9, 1e3))
def test_both_parts_are_finite_and_never_below_nothing_and_the_whole_is_what_was_seen(
    observations: list[tuple[float, float, float]], run: float, item: float
) -> None:
    sums = of(observations)
    found = line(sums, (run, item))
    assert np.isfinite(found).all()
    assert min(found) >= 0
    assert found[0] * sums.u + found[1] * sums.v == pytest.approx(sums.y, rel=1e-6, abs=1e-12)


def test_what_is_old_is_forgotten() -> None:
    sums = of([(1.0, n, 1.0) for n in (10.0, 90.0)] * 50 + [(1.0, n, 5.0) for n in (10.0, 90.0)] * 50, kept=0.9)
    run, item = line(sums, (1.0, 1e-6))
    assert run + 50 * item == pytest.approx(5.0, rel=0.05)
