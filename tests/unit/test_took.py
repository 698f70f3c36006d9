"""What answers took: counts of replicas add up, and quantiles of them are true to a tenth."""

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cluster.took import BUCKETS, EDGES_S, MOST_S, Took, none_took, quantiles_s

SHARES = (0.01, 0.5, 0.9, 0.99, 1.0)


def counted(times: list[float]) -> np.ndarray:
    took = Took()
    for one in times:
        took.count(one)
    return took.counts()


@given(st.lists(st.floats(0.0, 1e6), max_size=200))
def test_every_answer_is_in_one_bucket(times: list[float]) -> None:
    counts = counted(times)
    assert counts.shape == (BUCKETS,)
    assert counts.sum() == len(times)


@example(times=[1.0] * 8 + [50.0, 60.0])
@given(st.lists(st.floats(EDGES_S[0], MOST_S), min_size=1, max_size=300))
def test_a_quantile_is_within_a_bucket_of_the_true_one(times: list[float]) -> None:
    found = quantiles_s(counted(times), SHARES)
    assert found is not None
    assert list(found) == sorted(found)
    for share, one in zip(SHARES, found, strict=True):
        true = float(np.quantile(times, share, method="inverted_cdf"))
        assert true / 1.21 <= one <= true * 1.21


@given(st.lists(st.floats(0.0, 100.0), max_size=50), st.lists(st.floats(0.0, 100.0), max_size=50))
def test_counts_of_two_replicas_add_up(one: list[float], other: list[float]) -> None:
    assert (counted(one) + counted(other) == counted(one + other)).all()


def test_of_many_answers_a_quantile_is_told_to_a_tenth() -> None:
    times = np.random.default_rng(0).lognormal(-4, 1, 20_000)
    found = quantiles_s(counted(times.tolist()), (0.5, 0.9, 0.99))
    assert found == pytest.approx(np.quantile(times, (0.5, 0.9, 0.99)), rel=0.1)


def test_there_is_no_quantile_of_nothing_and_none_beyond_what_is_counted() -> None:
    assert quantiles_s(none_took(), (0.5,)) is None
    assert quantiles_s(counted([1e5]), (0.5, 1.0)) == (MOST_S, MOST_S)
    below = quantiles_s(counted([0.0, 1e-6]), (0.0, 1.0))
    assert below is not None
    assert 0 < below[0] <= below[1] <= EDGES_S[0]
