"""What chains are said to have spent where nobody measures it."""

import math

import numpy as np
import pytest

from allocator.constraints import Resource
from cluster.means import Aim, Means
from cluster.measured import CAUTIOUS_S, MOST_SHARE, Measured, Spent

EXECUTED = np.array([3.0, 1.0])
COSTS = np.array([2.0, 10.0])
MODELLED = 16.0
FIXED = 5.0


def means(spent: float = math.nan, resource: Resource = Resource.JOULES, fixed: float = FIXED) -> Means:
    return Means((Aim("cap", resource, 100.0, fixed, spent, fixed),), COSTS[:, None])


def after(spent: float, windows: int, window_s: float = 1.0) -> Measured:
    """So many windows that spent so much."""
    measured = Measured()
    for _ in range(windows):
        measured = measured.after(EXECUTED, means(spent), window_s)
    return measured


def told(spent: Spent) -> list[float]:
    return [*spent.chains.tolist(), *spent.total.tolist()]


def test_what_was_measured_counts() -> None:
    assert told(after(7.0, 3).spend(EXECUTED, means(40.0))) == [35.0, 40.0]


def test_of_what_was_never_measured_it_is_what_is_modelled() -> None:
    assert told(Measured().spend(EXECUTED, means())) == [MODELLED, MODELLED + FIXED]
    flops = means(resource=Resource.FLOPS, fixed=0.0)
    assert told(after(40.0, 60).spend(EXECUTED, flops)) == [MODELLED, MODELLED]


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_else_what_is_modelled_times_what_it_was_seen_to_be_off(factor: float) -> None:
    measured = after(FIXED + factor * MODELLED, int(CAUTIOUS_S))
    assert told(measured.spend(2 * EXECUTED, means())) == pytest.approx(
        [2 * factor * MODELLED, 2 * factor * MODELLED + FIXED]
    )


def test_after_a_few_seconds_chains_are_not_thought_to_spend_less_than_is_modelled_but_more() -> None:
    few = int(CAUTIOUS_S) - 1
    assert after(FIXED + 0.5 * MODELLED, few).spend(EXECUTED, means()).chains.tolist() == [MODELLED]
    assert after(FIXED + 2 * MODELLED, few).spend(EXECUTED, means()).chains.tolist() == [2 * MODELLED]


def test_another_model_of_costs_changes_nothing_of_what_was_measured() -> None:
    measured, doubled = after(FIXED + 3 * MODELLED, 40), Means(means().aims, 2 * COSTS[:, None])
    assert measured.spend(EXECUTED, doubled).chains.tolist() == pytest.approx([3 * MODELLED])


def test_windows_that_nobody_measured_fade_what_is_known_only_when_somebody_measures_again() -> None:
    measured = after(FIXED + 3 * MODELLED, 40)
    for _ in range(600):
        measured = measured.after(EXECUTED, means(), 1.0)
    assert measured.spend(EXECUTED, means()).chains.tolist() == pytest.approx([3 * MODELLED])
    measured = measured.after(EXECUTED, means(FIXED + MODELLED), 1.0)
    assert measured.spend(EXECUTED, means()).chains.tolist() == pytest.approx([MODELLED])


@pytest.mark.parametrize("idle_s", [30, 4000])
def test_windows_without_requests_say_nothing_of_what_chains_spend(idle_s: int) -> None:
    measured = after(FIXED + 3 * MODELLED, 40)
    for _ in range(idle_s):
        measured = measured.after(np.zeros(2), means(FIXED + 0.3), 1.0)
    assert measured.spend(EXECUTED, means()).chains.tolist() == pytest.approx([3 * MODELLED])
    assert told(measured.spend(np.zeros(2), means())) == [0.0, FIXED]


def test_where_next_to_nothing_ran_noise_is_not_taken_for_what_chains_spend() -> None:
    measured = Measured().after(np.array([1e-6, 0.0]), means(FIXED + 1.0), 1.0)
    assert measured.spend(EXECUTED, means()).chains.tolist() == pytest.approx([MOST_SHARE * MODELLED])


def test_a_window_of_another_chain_space_begins_anew() -> None:
    measured = after(FIXED + 3 * MODELLED, 40).after(np.ones(3), Means(means(9.0).aims, np.ones((3, 1))), 1.0)
    assert measured.spend(np.ones(3), Means(means().aims, np.ones((3, 1)))).chains.tolist() == pytest.approx([4.0])
    assert measured.spend(EXECUTED, means()).chains.tolist() == [MODELLED]
