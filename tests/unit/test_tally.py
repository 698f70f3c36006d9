"""A replica's counters never forget, and its sample is fair."""

import numpy as np
import pytest
from fake_time import FakeTime
from hypothesis import given
from hypothesis import strategies as st

from allocator.energy.windows import SERVING
from cluster.metrics import ENERGY_BOUNDS
from cluster.tally import Tally
from cluster.work import Counts, Workbook


def numbered(start: int, count: int) -> np.ndarray:
    """Reward rows that say which request they belong to."""
    return np.arange(start, start + count, dtype=np.float32)[:, None].repeat(2, axis=1)


@given(batches=st.lists(st.lists(st.integers(0, 4), max_size=8), max_size=8))
def test_executed_chains_add_up(batches: list[list[int]]) -> None:
    tally = Tally(5, 4, np.random.default_rng(0), Workbook("here/cpu"))
    for batch in batches:
        tally.executed(np.array(batch, dtype=np.int64), handed=0)
    everything = [chain for batch in batches for chain in batch]
    assert tally.totals(0.0).executed.tolist() == [everything.count(chain) for chain in range(5)]


@given(batches=st.lists(st.tuples(st.lists(st.integers(0, 4), max_size=8), st.integers(0, 8)), max_size=8))
def test_those_that_no_policy_decided_are_counted_by_the_chain_that_they_ran(
    batches: list[tuple[list[int], int]],
) -> None:
    tally = Tally(5, 4, np.random.default_rng(0), Workbook("here/cpu"))
    for batch, count in batches:
        unpriced = np.array(batch[:count], dtype=np.int64)
        tally.executed(np.array(batch, dtype=np.int64), handed=0, unpriced=unpriced if count else None)
    told, everything = tally.totals(0.0).unpriced, [chain for batch, count in batches for chain in batch[:count]]
    assert told is not None
    assert told.tolist() == [everything.count(chain) for chain in range(5)]


def test_totals_are_a_copy() -> None:
    tally = Tally(2, 4, np.random.default_rng(0), Workbook("here/cpu"))
    before = tally.totals(0.0)
    tally.executed(np.array([0, 1]), handed=4)
    assert before.executed.tolist() == [0, 0]


@given(sizes=st.lists(st.integers(0, 30), max_size=6), seed=st.integers(0, 9))
def test_the_sample_holds_distinct_requests_up_to_its_size_and_then_begins_anew(sizes: list[int], seed: int) -> None:
    tally = Tally(2, 16, np.random.default_rng(seed), Workbook("here/cpu"))
    at = 0
    for size in sizes:
        tally.decided(numbered(at, size))
        at += size
    rows = tally.take_sample()[:, 0].tolist()
    assert len(rows) == len(set(rows)) == min(at, 16)
    assert set(rows) <= set(range(at))
    assert len(tally.take_sample()) == 0
    assert tally.totals(0.0).decided == at


def test_early_and_late_requests_are_sampled_alike() -> None:
    counts = np.zeros(60)
    for seed in range(2000):
        tally = Tally(2, 6, np.random.default_rng(seed), Workbook("here/cpu"))
        for start in range(0, 60, 20):
            tally.decided(numbered(start, 20))
        counts[tally.take_sample()[:, 0].astype(int)] += 1
    assert counts.sum() == 12_000
    assert np.abs(counts - 200).max() < 5 * np.sqrt(200)


def test_the_first_rows_of_a_sample_are_as_fair_as_all_of_it() -> None:
    early = 0
    for seed in range(1000):
        tally = Tally(2, 8, np.random.default_rng(seed), Workbook("here/cpu"))
        tally.decided(numbered(0, 16))
        early += int((tally.take_sample()[:4, 0] < 8).sum())
    assert abs(early / 4000 - 0.5) < 0.05


@pytest.mark.parametrize(("pool", "counts"), [("here/cpu", True), ("GPU-1", False)])
def test_processor_time_of_the_event_loop_is_work_around_the_models(pool: str, counts: bool) -> None:
    cpu = FakeTime()
    tally = Tally(2, 4, np.random.default_rng(0), Workbook(pool), cpu)
    tally.executed(np.array([0, 1, 1]), handed=6)
    for seconds in (0.25, 0.5):
        cpu.now_s += seconds
        totals = tally.totals(0.0)
    assert totals.work[*SERVING, pool] == Counts(1, 3, *(2 * [0.75] if counts else []))


def test_what_answers_took_and_what_was_predicted_of_them_adds_up() -> None:
    tally = Tally(2, 4, np.random.default_rng(0), Workbook("here/cpu"))
    for took_s in (0.001, 0.02, 0.02, 5.0):
        tally.answered(took_s)
    before = tally.totals(0.0)
    tally.answered(0.02)
    tally.decided(numbered(0, 2), predicted=3.5)
    tally.decided(numbered(2, 1), predicted=-0.5)
    after = tally.totals(1.0)
    assert (before.took.sum(), after.took.sum(), before.predicted, after.predicted) == (4, 5, 0.0, 3.0)
    assert (after.took - before.took).max() == 1


@given(joules=st.lists(st.floats(0.0, 1e4), max_size=30))
def test_requests_are_counted_by_what_they_took_each_in_the_bucket_whose_bound_it_does_not_exceed(
    joules: list[float],
) -> None:
    tally = Tally(2, 4, np.random.default_rng(0), Workbook("here/cpu"))
    tally.cost(np.array(joules[:10]))
    tally.cost(np.array(joules[10:]))
    counts = np.cumsum(tally.totals(0.0).energies)
    assert counts[-1] == len(joules)
    assert counts[:-1].tolist() == [sum(one <= bound for one in joules) for bound in ENERGY_BOUNDS]
