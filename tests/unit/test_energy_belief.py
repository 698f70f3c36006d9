"""The belief about coefficients: readings teach as much as they are worth, and no coefficient is negative."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import nnls

from allocator.energy.belief import Belief, nonnegative, observed, relaxed


def random_belief(seed: int, size: int, alike: float) -> Belief:
    """A mean around zero, and a covariance whose correlations are stronger the larger `alike` is."""
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((size, size)) * rng.lognormal(0, 1, size)
    covariance = root @ root.T + alike * np.ones((size, size)) + 1e-3 * np.eye(size)
    return Belief(rng.standard_normal(size) * 2, covariance)


@given(st.integers(0, 10_000), st.integers(1, 12), st.floats(0, 50))
@settings(max_examples=150, deadline=None)
def test_the_likeliest_point_without_negatives_is_that_of_non_negative_least_squares(
    seed: int, size: int, alike: float
) -> None:
    belief = random_belief(seed, size, alike)
    root = np.linalg.inv(np.linalg.cholesky(belief.covariance))
    expected, _ = nnls(root, root @ belief.mean)

    def distance(point: np.ndarray) -> float:
        return float(np.sum((root @ (point - belief.mean)) ** 2))

    found = nonnegative(belief)
    assert (found >= 0).all()
    assert distance(found) <= distance(expected) * (1 + 1e-6) + 1e-9


def test_readings_without_noise_are_believed() -> None:
    rng = np.random.default_rng(1)
    true = rng.uniform(0.5, 2.0, 6)
    belief = Belief(np.ones(6), np.eye(6))
    for _ in range(40):
        x = rng.uniform(0, 1, 6)
        belief, _ = observed(belief, x, float(x @ true), 1e-10)
    np.testing.assert_allclose(belief.mean, true, rtol=1e-3)


def test_what_readings_cannot_tell_is_divided_by_how_firmly_it_was_believed() -> None:
    """Of two coefficients that are always used together, the less sure one takes three quarters of the surprise."""
    belief = Belief(np.ones(2), np.diag([3.0, 1.0]))
    belief, _ = observed(belief, np.ones(2), 6.0, 1e-12)
    np.testing.assert_allclose(belief.mean, [4.0, 2.0])


def test_order_does_not_matter_to_what_is_learned() -> None:
    rng = np.random.default_rng(2)
    readings = [(rng.uniform(0, 1, 4), rng.uniform(0, 3)) for _ in range(8)]
    ends = []
    for order in (readings, readings[::-1]):
        belief = Belief(np.ones(4), np.eye(4))
        for x, y in order:
            belief, _ = observed(belief, x, y, 1.0)
        ends.append(belief)
    np.testing.assert_allclose(ends[0].mean, ends[1].mean)
    np.testing.assert_allclose(ends[0].covariance, ends[1].covariance)


def test_a_monstrous_reading_moves_a_sure_belief_no_more_than_four_deviations_would() -> None:
    sure = Belief(np.ones(1), np.full((1, 1), 0.01))
    once, noise = observed(sure, np.ones(1), 1e9, 1.0)
    assert once.mean[0] - 1 == pytest.approx(0.01 / 1.01 * 4 * 1.01**0.5)
    assert once.covariance[0, 0] == 0.01
    assert noise < 7
    assert observed(sure, np.ones(1), 3.0, 1.0)[0].covariance[0, 0] < 0.01


def test_forgetting_keeps_the_mean_and_stops_at_the_limit() -> None:
    belief = Belief(np.array([2.0, 3.0]), np.array([[0.02, 0.01], [0.01, 0.03]]))
    limit = np.array([[1.0, 0.5], [0.5, 1.0]])
    for _ in range(2000):
        belief = relaxed(belief, limit, 0.01)
        assert np.linalg.eigvalsh(belief.covariance).min() > 0
    np.testing.assert_array_equal(belief.mean, [2.0, 3.0])
    np.testing.assert_allclose(belief.covariance, limit, rtol=1e-6)
