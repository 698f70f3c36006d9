"""RaggedBatch against a loop over the requests."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.batch import RaggedBatch, UserRows, join, offsets_of

ROWS = st.lists(st.lists(st.integers(0, 50), max_size=6), min_size=1, max_size=8)


def ragged(rows: list[list[int]], scored: bool = True) -> RaggedBatch:
    items = [np.array(row, dtype=np.int64) for row in rows]
    scores = [np.array([item / 2 for item in row], dtype=np.float32) for row in rows]
    return RaggedBatch.from_rows(items, scores if scored else None)


def as_rows(batch: RaggedBatch) -> list[list[int]]:
    return [batch.row_items(row).tolist() for row in range(len(batch))]


def assert_well_formed(batch: RaggedBatch) -> None:
    assert batch.offsets[0] == 0
    assert batch.offsets[-1] == len(batch.items)
    assert (np.diff(batch.offsets) >= 0).all()
    assert batch.offsets.dtype == batch.items.dtype == np.int64
    if batch.scores is not None:
        assert batch.scores.dtype == np.float32
        assert batch.scores.tolist() == [item / 2 for item in batch.items.tolist()]


@given(ROWS, st.booleans())
def test_a_batch_built_from_rows_gives_them_back(rows: list[list[int]], scored: bool) -> None:
    batch = ragged(rows, scored)
    assert_well_formed(batch)
    assert as_rows(batch) == rows
    assert batch.lengths.tolist() == [len(row) for row in rows]
    assert batch.row.tolist() == [at for at, row in enumerate(rows) for _ in row]
    if scored:
        assert [batch.row_scores(at).tolist() for at in range(len(rows))] == [[i / 2 for i in row] for row in rows]


@given(ROWS, st.data())
def test_take_equals_picking_and_cutting_each_row(rows: list[list[int]], data: st.DataObject) -> None:
    picked = data.draw(st.lists(st.integers(0, len(rows) - 1), max_size=10))
    at_most = data.draw(st.lists(st.integers(0, 7), min_size=len(picked), max_size=len(picked)))
    batch = ragged(rows, data.draw(st.booleans()))
    where = np.array(picked, dtype=np.int64)

    whole = batch.take(where)
    assert_well_formed(whole)
    assert as_rows(whole) == [rows[at] for at in picked]

    cut = batch.take(where, np.array(at_most, dtype=np.int64))
    assert_well_formed(cut)
    assert as_rows(cut) == [rows[at][:most] for at, most in zip(picked, at_most, strict=True)]


@given(ROWS, st.data())
def test_join_puts_parts_back_where_their_rows_were(rows: list[list[int]], data: st.DataObject) -> None:
    part_of = data.draw(st.lists(st.integers(0, 3), min_size=len(rows), max_size=len(rows)))
    scored = data.draw(st.booleans())
    batch = ragged(rows, scored)
    parts = []
    for part in data.draw(st.permutations(sorted(set(part_of)))):
        members = data.draw(st.permutations([at for at, p in enumerate(part_of) if p == part]))
        where = np.array(members, dtype=np.int64)
        parts.append((where, batch.take(where)))
    joined = join(parts, len(rows))
    assert_well_formed(joined)
    assert as_rows(joined) == rows
    assert (joined.scores is not None) == scored


def test_a_single_part_in_order_is_joined_without_a_copy() -> None:
    batch = ragged([[1, 2], [3]])
    assert join([(np.arange(2), batch)], 2) is batch


def test_scored_and_unscored_parts_are_not_joined() -> None:
    parts = [(np.array([0]), ragged([[1]])), (np.array([1]), ragged([[2]], scored=False))]
    with pytest.raises(ValueError, match="scored"):
        join(parts, 2)


def test_scores_of_an_unscored_batch_are_refused() -> None:
    with pytest.raises(ValueError, match="not been scored"):
        ragged([[1]], scored=False).row_scores(0)


def test_offsets_of_no_rows_is_a_single_zero() -> None:
    assert offsets_of(np.empty(0, dtype=np.int64)).tolist() == [0]


def test_user_rows_are_taken_in_the_order_asked_for() -> None:
    users = UserRows(np.array([[1], [2], [3]]), np.array([[10], [20], [30]]))
    taken = users.take(np.array([2, 0, 2]))
    assert taken.user.tolist() == [[3], [1], [3]]
    assert taken.history.tolist() == [[30], [10], [30]]
    assert (len(users), len(taken)) == (3, 3)
