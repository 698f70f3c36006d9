"""Integrating samples of power."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.power.integral import PowerIntegral

steps = st.lists(st.tuples(st.floats(0.01, 2), st.floats(0, 1000)), min_size=2, max_size=30)


def integral_of(samples: list[tuple[float, float]], gap_s: float = 5) -> PowerIntegral:
    integral = PowerIntegral(gap_s)
    for at_s, power_w in samples:
        integral.add(at_s, power_w)
    return integral


def test_constant_power_gives_power_times_time() -> None:
    assert integral_of([(10, 50), (11, 50), (13.5, 50)]).energy_j == pytest.approx(50 * 3.5)


def test_power_between_two_samples_runs_straight() -> None:
    assert integral_of([(0, 100), (2, 200)]).energy_j == pytest.approx(300)


def test_one_sample_gives_no_joules_and_starts_a_stretch() -> None:
    integral = integral_of([(7, 100)])
    assert (integral.energy_j, integral.since_s) == (0, 7)


def test_a_gap_is_not_filled_in_and_starts_another_stretch() -> None:
    integral = integral_of([(0, 100), (1, 100), (7, 100), (8, 100)])
    assert integral.energy_j == pytest.approx(200)
    assert integral.since_s == 7


@given(steps)
def test_joules_never_fall_and_lie_between_least_and_most_power(samples: list[tuple[float, float]]) -> None:
    integral, at_s, last_j = PowerIntegral(), 0.0, 0.0
    for step_s, power_w in samples:
        at_s += step_s
        integral.add(at_s, power_w)
        assert integral.energy_j >= last_j
        last_j = integral.energy_j
    watched_s = sum(step_s for step_s, _ in samples[1:])
    powers = [power_w for _, power_w in samples]
    assert min(powers) * watched_s <= last_j * (1 + 1e-9) + 1e-9
    assert last_j <= max(powers) * watched_s * (1 + 1e-9) + 1e-9


@given(steps, st.integers(0, 1000))
def test_it_does_not_matter_when_the_clock_started(samples: list[tuple[float, float]], start: int) -> None:
    offsets = [sum(step for step, _ in samples[: i + 1]) for i in range(len(samples))]
    early = [(at, power) for at, (_, power) in zip(offsets, samples, strict=True)]
    late = [(start + at, power) for at, power in early]
    assert integral_of(early).energy_j == pytest.approx(integral_of(late).energy_j, abs=1e-6)
