"""How many requests share a run, from executed chains and runs that reach the books in different windows."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_space import SPACE

from allocator.energy.windows import SERVING, Name
from allocator.joules import Work
from allocator.rows import RowsState, dumped, restored, seen

LIGHT: Name = ("s1", "v1-0")
CHAIN = SPACE.static.index
USED = {(a.stage, str(a.variant)): a.items for a in SPACE.static.actions}


def executed(per_s: float) -> np.ndarray:
    rates = np.zeros(len(SPACE))
    rates[CHAIN] = per_s
    return rates


def runs(calls: int, requests: int = 64) -> list[Work]:
    """The static chain's variants ran that often, for so many requests."""
    return [Work(*name, "a/cpu", calls, requests * items, 0.1) for name, items in USED.items()]


def test_requests_over_runs_is_how_many_share_one() -> None:
    state = RowsState()
    for _ in range(50):
        state = seen(state, SPACE, executed(64.0), 1.0, [*runs(8), Work(*SERVING, "a/cpu", 4, 64, 0.1)])
    assert state.per_run == pytest.approx({**dict.fromkeys(USED, 8.0), SERVING: 16.0})


def test_runs_that_are_counted_a_window_late_change_little() -> None:
    state = RowsState()
    for window in range(60):
        state = seen(state, SPACE, executed(64.0), 1.0, runs((6, 10)[window % 2]))
    assert state.per_run[next(iter(USED))] == pytest.approx(8.0, rel=0.05)


def test_a_report_of_ten_minutes_says_what_one_of_a_second_says() -> None:
    state = seen(RowsState(), SPACE, executed(64.0), 1.0, runs(8))
    assert seen(state, SPACE, executed(64.0), 1.0, runs(600 * 8, 600 * 64)).per_run == pytest.approx(state.per_run)


def test_of_mixed_chains_the_items_of_those_that_use_a_variant_count() -> None:
    small = SPACE.get("v0-0>v1-1@25>v2-1@10")
    assert small is not None
    rates = executed(32.0)
    rates[small.index] = 32.0
    mixed = [
        Work(stage, v, "a/cpu", 8, 32 * (a.items + b.items), 0.1)
        for (stage, v), a, b in zip(USED, SPACE.static.actions, small.actions, strict=True)
    ]
    assert seen(RowsState(), SPACE, rates, 1.0, mixed).per_run == pytest.approx(dict.fromkeys(USED, 8.0))


def test_a_variant_that_nobody_takes_keeps_what_is_known_of_it() -> None:
    state = seen(RowsState(), SPACE, executed(64.0), 1.0, runs(8))
    later = state
    for _ in range(100):
        later = seen(later, SPACE, np.zeros(len(SPACE)), 1.0, [])
    assert later.per_run == state.per_run


def test_unknown_variants_are_left_out_and_unseen_ones_unnamed() -> None:
    state = seen(RowsState(), SPACE, executed(4.0), 1.0, [Work("s9", "v9", "a/cpu", 2, 2000, 0.1)])
    assert state.per_run == {}


@given(st.lists(st.tuples(st.floats(0, 1e6), st.integers(0, 10**6)), max_size=20))
def test_at_least_one_request_is_in_a_run(history: list[tuple[float, int]]) -> None:
    state = RowsState()
    for per_s, calls in history:
        state = seen(state, SPACE, executed(per_s), 1.0, [*runs(calls), Work(*LIGHT, "a/cpu", calls, 50, 0.1)])
    assert all(np.isfinite(rows) and rows >= 1 for rows in state.per_run.values())


def test_what_is_known_survives_a_restart() -> None:
    state = seen(RowsState(), SPACE, executed(64.0), 1.0, [*runs(8), Work(*SERVING, "a/cpu", 4, 64, 0.1)])
    assert restored(SPACE, dumped(state)) == state
    gone = dumped(RowsState({("gone", "v"): 1.0}, {("gone", "v"): 1.0}))
    assert restored(SPACE, gone) == RowsState()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"[]",
        b'{"format": 9, "rows": []}',
        b'{"format": 1, "rows": [1]}',
        b'{"format": 1, "rows": [["s0", "v0-0", -1, 1]]}',
        b'{"format": 1, "rows": [["s0", "v0-0", NaN, 1]]}',
    ],
)
def test_what_cannot_be_read_is_told(data: bytes) -> None:
    with pytest.raises(ValueError, match="saved rows of runs"):
        restored(SPACE, data)
