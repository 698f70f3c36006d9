"""How many requests share a run, from executed chains and runs that reach the books in different windows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_space import SPACE

from allocator.energy.windows import SERVING, Name
from allocator.joules import Work
from allocator.rows import RowsState, seen

LIGHT: Name = ("s1", "v1-0")
CHAIN = SPACE.static.index
USED = [(a.stage, str(a.variant)) for a in SPACE.static.actions]


def executed(per_s: float) -> np.ndarray:
    rates = np.zeros(len(SPACE))
    rates[CHAIN] = per_s
    return rates


def runs(names: list[Name], calls: int) -> list[Work]:
    return [Work(*name, "a/cpu", calls, 1000 * calls, 0.1) for name in names]


def test_requests_over_runs_is_how_many_share_one() -> None:
    state = RowsState()
    for _ in range(50):
        state = seen(state, SPACE, executed(64.0), 1.0, [*runs(USED, 8), Work(*SERVING, "a/cpu", 4, 64, 0.1)])
    assert state.per_run == pytest.approx({**dict.fromkeys(USED, 8.0), SERVING: 16.0})


def test_runs_that_are_counted_a_window_late_change_little() -> None:
    state = RowsState()
    for window in range(60):
        state = seen(state, SPACE, executed(64.0), 1.0, runs(USED, (6, 10)[window % 2]))
    assert state.per_run[USED[0]] == pytest.approx(8.0, rel=0.05)


def test_a_variant_that_nobody_takes_keeps_what_is_known_of_it() -> None:
    state = seen(RowsState(), SPACE, executed(64.0), 1.0, runs(USED, 8))
    later = state
    for _ in range(100):
        later = seen(later, SPACE, np.zeros(len(SPACE)), 1.0, [])
    assert later.per_run == state.per_run


def test_unknown_variants_are_left_out_and_unseen_ones_unnamed() -> None:
    state = seen(RowsState(), SPACE, executed(4.0), 1.0, runs([("s9", "v9")], 2))
    assert state.per_run == {}


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 10**6)), max_size=20))
def test_at_least_one_request_is_in_a_run(history: list[tuple[float, int]]) -> None:
    state = RowsState()
    for per_s, calls in history:
        state = seen(state, SPACE, executed(per_s), 1.0, runs([LIGHT, *USED], calls))
    assert all(np.isfinite(rows) and rows >= 1 for rows in state.per_run.values())
