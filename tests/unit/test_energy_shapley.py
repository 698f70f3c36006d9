"""Exact Shapley values, and the rule for mixed runs against them."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from allocator.energy.attribution import run_shares
from allocator.energy.shapley import compared, costs_of, shapley

several_items = st.lists(st.integers(1, 400), min_size=1, max_size=8)


@given(st.integers(1, 5).flatmap(lambda n: arrays(np.float64, 2**n, elements=st.floats(0, 10))))
@settings(max_examples=60, deadline=None)
def test_values_are_what_requests_add_on_average_over_all_orders(costs: np.ndarray) -> None:
    costs[0] = 0.0
    requests = len(costs).bit_length() - 1
    expected = np.zeros(requests)
    for order in itertools.permutations(range(requests)):
        mask = 0
        for i in order:
            expected[i] += costs[mask | 1 << i] - costs[mask]
            mask |= 1 << i
    np.testing.assert_allclose(shapley(costs), expected / math.factorial(requests), atol=1e-9)


@given(several_items, st.floats(0, 10), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_for_joules_as_the_model_has_them_the_rule_is_the_shapley_value(
    items: list[int], call_j: float, item_j: float
) -> None:
    costs = costs_of(lambda subset: call_j + item_j * sum(items[i] for i in subset), len(items))
    np.testing.assert_allclose(run_shares(call_j, item_j, items), shapley(costs), rtol=1e-9, atol=1e-9)


def test_joules_that_grow_less_than_items_favour_small_requests_by_a_few_percent() -> None:
    """A run whose items get cheaper the more there are: what the rule leaves out, and how little that is."""
    items = [20, 20, 40, 40, 80, 80, 160, 160]

    def cost(subset: Sequence[int]) -> float:
        return 1e-3 + 1e-5 * float(sum(items[i] for i in subset)) ** 0.95

    found = compared(costs_of(cost, len(items)), items)
    assert found.ruled.sum() == pytest.approx(found.exact.sum())
    assert np.abs(found.relative).max() < 0.05
    assert np.corrcoef(found.ruled, found.exact)[0, 1] > 0.999


@given(several_items, st.floats(0.01, 10))
@settings(max_examples=40, deadline=None)
def test_the_rule_and_shapley_share_out_the_same_sum(items: list[int], scale: float) -> None:
    found = compared(costs_of(lambda subset: scale * math.sqrt(sum(items[i] for i in subset)), len(items)), items)
    assert found.ruled.sum() == pytest.approx(found.exact.sum())
    assert (found.ruled >= 0).all()


@pytest.mark.parametrize("requests", [0, 13])
def test_more_subsets_than_can_be_run_are_refused(requests: int) -> None:
    with pytest.raises(ValueError, match="1 to 12"):
        costs_of(lambda _: 1.0, requests)
