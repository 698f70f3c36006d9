"""The background: what persists is told from noise, and fades when nothing speaks for it any more."""

import numpy as np
import pytest

from allocator.energy.background import Residuals, faded, raised
from allocator.energy.belief import Belief


def after(values: np.ndarray, noise: float = 1.0) -> Residuals:
    residuals = Residuals()
    for value in values.tolist():
        residuals = residuals.after(value, noise)
    return residuals


def test_noise_alone_is_hardly_ever_taken_for_a_background() -> None:
    rng = np.random.default_rng(0)
    found = [after(rng.standard_normal(200)).background for _ in range(200)]
    assert np.mean(np.array(found) > 0) < 0.1


def test_what_comes_and_goes_for_long_is_a_background_of_its_own_variance() -> None:
    rng = np.random.default_rng(1)
    values = 3.0 * np.where(np.arange(620) % 100 < 50, 1.0, -1.0) + rng.standard_normal(620)
    assert after(values, noise=100.0).background == pytest.approx(9.0, rel=0.25)


def test_a_single_spike_is_none_and_a_second_one_of_the_same_sign_is_at_once() -> None:
    quiet = after(np.zeros(10))
    assert quiet.after(5.0, 1.0).background == 0.0
    assert quiet.after(5.0, 1.0).after(-5.0, 1.0).background == 0.0
    assert quiet.after(5.0, 1.0).after(6.0, 1.0).background == 36.0


def test_a_run_of_odd_residuals_is_counted_until_one_is_ordinary_or_turns() -> None:
    run = after(np.full(5, 3.0))
    assert run.odd == 5
    assert run.after(0.1, 1.0).odd == 0
    assert run.after(-3.0, 1.0).odd == 1


def test_unseen_a_background_fades_to_nothing_sure_but_its_variance() -> None:
    belief = Belief(np.array([1.0, 4.0]), np.array([[0.5, 0.1], [0.1, 0.2]]))
    soon, late = faded(belief, 9.0, 12.0), faded(belief, 9.0, 1e6)
    assert 0 < soon.mean[-1] < 4.0
    np.testing.assert_allclose(late.mean, [1.0, 0.0])
    np.testing.assert_allclose(late.covariance, [[0.5, 0.0], [0.0, 9.0]], atol=1e-12)
    np.testing.assert_array_equal(belief.covariance, [[0.5, 0.1], [0.1, 0.2]])


def test_other_programs_draw_nothing_or_more_and_what_was_too_much_by_that_is_too_much_of_the_rest() -> None:
    belief = Belief(np.array([5.0, 2.0, -3.0]), np.array([[1.0, 0.0, -0.5], [0.0, 1.0, 0.0], [-0.5, 0.0, 1.0]]))
    found = raised(belief)
    np.testing.assert_allclose(found.mean, [3.5, 2.0, 0.0])
    np.testing.assert_array_equal(found.covariance, belief.covariance)


@pytest.mark.parametrize(("mean", "variance"), [(3.0, 1.0), (0.0, 1.0), (-1.0, 0.0)])
def test_a_background_that_is_none_or_of_which_nothing_is_doubted_is_left_alone(mean: float, variance: float) -> None:
    belief = Belief(np.array([5.0, mean]), np.diag([1.0, variance]))
    assert raised(belief) is belief
