"""Intervals of savings hold the truth of simulations about as often as they say: bench/coverage.py, briefly."""

from math import sqrt

import numpy as np
import pytest
from savings_coverage import QUANTITIES, Watched, watched
from savings_world import Experiment
from scipy.stats import binom, chi2

RUNS = 60
CHANCE = 1e-4
"""Of failing though all is well, of each of the checks."""
BRIEF = Experiment(share=0.1, users=2000, requests_per_s=20.0, windows=60, window_s=15.0, late=5)
LEAST = int(binom.ppf(CHANCE, RUNS, 0.95))


@pytest.fixture(scope="module")
def runs() -> dict[str, list[Watched]]:
    found = [watched(BRIEF, seed, every=3) for seed in range(RUNS)]
    return {name: [run[name] for run in found] for name in QUANTITIES}


@pytest.mark.parametrize("name", QUANTITIES)
def test_at_the_end_the_fixed_interval_holds_the_truth(runs: dict[str, list[Watched]], name: str) -> None:
    assert all(run.known for run in runs[name])
    assert sum(run.at_end for run in runs[name]) >= LEAST
    assert sum(run.share_at_end for run in runs[name]) >= LEAST


@pytest.mark.parametrize("name", QUANTITIES)
def test_the_sequential_intervals_of_all_looks_hold_it_at_once(runs: dict[str, list[Watched]], name: str) -> None:
    assert min(run.looks for run in runs[name]) >= 10
    assert sum(run.always for run in runs[name]) >= LEAST
    assert sum(run.always_share for run in runs[name]) >= LEAST


@pytest.mark.parametrize("name", ["flops", "reward"])
def test_errors_are_as_large_as_is_said(runs: dict[str, list[Watched]], name: str) -> None:
    """Over their standard errors they are normal; intervals that are far too wide would hold the truth as well."""
    over = np.array([run.error / run.standard for run in runs[name]])
    low, high = chi2.ppf([CHANCE, 1 - CHANCE], RUNS)
    assert low < float(over @ over) < high


def test_without_the_energy_model_s_error_joules_would_be_missed_mostly(runs: dict[str, list[Watched]]) -> None:
    held = [abs(run.error) <= 1.98 * run.standard * sqrt(1 - run.model) for run in runs["energy_j"]]
    assert sum(held) < RUNS / 2
