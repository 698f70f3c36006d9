"""top_n against numpy's stable sort, best_of against a sort of each row."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from models.batch import RaggedBatch
from models.topn import best_of, top_n

TIED = st.sampled_from([-np.inf, -1.0, -0.0, 0.0, 0.5, 1.0, np.inf])
ANY = st.floats(width=32, allow_nan=False)
SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)


def sorted_columns(scores: np.ndarray, n: int) -> list[list[int]]:
    return np.argsort(-scores, axis=1, kind="stable")[:, :n].tolist()


@given(hnp.arrays(np.float32, SHAPES, elements=TIED), st.integers(0, 14))
def test_top_n_equals_a_stable_sort_when_most_scores_are_equal(scores: np.ndarray, n: int) -> None:
    assert top_n(scores, n).tolist() == sorted_columns(scores, n)


@given(hnp.arrays(np.float32, SHAPES, elements=ANY), st.integers(0, 14))
def test_top_n_equals_a_stable_sort_on_any_scores(scores: np.ndarray, n: int) -> None:
    assert top_n(scores, n).tolist() == sorted_columns(scores, n)


def test_top_n_of_wide_rows_with_many_ties_equals_a_stable_sort() -> None:
    scores = np.random.default_rng(1).integers(0, 40, (50, 3000)).astype(np.float32)
    scores[::7] = 0.0
    for n in (1, 10, 500, 2999):
        assert top_n(scores, n).tolist() == sorted_columns(scores, n)


def test_top_n_leaves_its_input_alone() -> None:
    scores = np.array([[3, 1, 2]], dtype=np.float32)
    top_n(scores, 2)
    assert scores.tolist() == [[3, 1, 2]]


@given(st.lists(st.tuples(st.lists(TIED, max_size=8), st.integers(0, 9)), min_size=1, max_size=6))
def test_best_of_equals_sorting_each_row(rows: list[tuple[list[float], int]]) -> None:
    items = [np.arange(len(scores)) + 100 * at for at, (scores, _) in enumerate(rows)]
    scores = np.array([score for row, _ in rows for score in row], dtype=np.float32)
    keep = np.array([n for _, n in rows], dtype=np.int64)

    best = best_of(RaggedBatch.from_rows(items), scores, keep)

    for at, (row, n) in enumerate(rows):
        order = sorted(range(len(row)), key=lambda column: -row[column])[:n]
        assert best.row_items(at).tolist() == [column + 100 * at for column in order]
        assert best.row_scores(at).tolist() == [row[column] for column in order]


def test_best_of_rows_of_one_length_equals_best_of_them_one_by_one() -> None:
    rng = np.random.default_rng(2)
    items = [rng.permutation(50) for _ in range(8)]
    scores = rng.integers(0, 9, 400).astype(np.float32)
    keep = rng.integers(1, 60, 8)
    together = best_of(RaggedBatch.from_rows(items), scores, keep)
    for at in range(8):
        alone = best_of(RaggedBatch.from_rows([items[at]]), scores[50 * at : 50 * at + 50], keep[at : at + 1])
        assert together.row_items(at).tolist() == alone.items.tolist()


def test_best_of_no_rows_is_empty() -> None:
    empty = RaggedBatch(np.zeros(1, np.int64), np.empty(0, np.int64))
    assert len(best_of(empty, np.empty(0, np.float32), np.empty(0, np.int64))) == 0
