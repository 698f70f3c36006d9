"""Recall: the exact index against numpy, the approximate one against the exact one."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_cascade import TinyCascade

from models import retrieve
from models.batch import FloatArray, IntArray, UserRows
from models.errors import FixFile
from models.features import UserQuery
from models.loading import Cascade
from models.retrieve import ApproximateIndex, ExactIndex, Recall, build_graph, recall_at
from models.session import Session
from models.spec import ApproximateSpec, FileRef

pytest.importorskip("usearch")


@settings(deadline=None)
@given(st.integers(1, 9), st.integers(1, 40), st.integers(1, 45), st.integers(0, 2**32 - 1))
def test_exact_search_equals_sorting_all_products(rows: int, items: int, n: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    queries, vectors = (rng.integers(-3, 4, (m, 4)).astype(np.float32) for m in (rows, items))
    found, scores = ExactIndex(vectors).search(queries, n)
    products = queries @ vectors.T
    assert found.tolist() == np.argsort(-products, axis=1, kind="stable")[:, :n].tolist()
    assert scores.tolist() == np.take_along_axis(products, found, axis=1).tolist()


def test_exact_search_in_parts_equals_one_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    queries, vectors = (rng.integers(-3, 4, (m, 4)).astype(np.float32) for m in (11, 30))
    whole = ExactIndex(vectors).search(queries, 5)
    monkeypatch.setattr(retrieve, "SCORES_AT_ONCE", 60)
    parts = ExactIndex(vectors).search(queries, 5)
    assert whole[0].tolist() == parts[0].tolist()
    assert whole[1].tolist() == parts[1].tolist()


@pytest.fixture(scope="module")
def vectors() -> FloatArray:
    return np.random.default_rng(5).normal(size=(2000, 16)).astype(np.float32)


@pytest.fixture(scope="module")
def graph(vectors: FloatArray, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "items.usearch"
    build_graph(vectors, path)
    return path


def spec_of(graph: Path, expansion: int = 256) -> ApproximateSpec:
    ref = FileRef(file=graph.name, sha256="0" * 64)
    return ApproximateSpec(graph=ref, expansion=expansion, distances=1, recall_at_n={10: 0.9})


def queries_of(rows: int) -> FloatArray:
    return np.random.default_rng(6).normal(size=(rows, 16)).astype(np.float32)


@pytest.mark.parametrize("rows", [1, 2, 32])
def test_approximate_search_finds_nearly_what_exact_search_does(vectors: FloatArray, graph: Path, rows: int) -> None:
    queries = queries_of(rows)
    exact = ExactIndex(vectors)
    items, scores = ApproximateIndex(graph, spec_of(graph), exact, vectors.shape).search(queries, 50)
    assert items.shape == scores.shape == (rows, 50)
    assert recall_at(items, exact.search(queries, 50)[0]) > 0.8
    assert all(len(set(row)) == 50 for row in items.tolist())
    assert (np.diff(scores, axis=1) <= 0).all()
    np.testing.assert_allclose(scores, np.take_along_axis(queries @ vectors.T, items, axis=1), rtol=1e-4, atol=1e-4)


class Counting:
    """An exact index that notes how many rows it was asked for."""

    def __init__(self, vectors: FloatArray) -> None:
        self._exact = ExactIndex(vectors)
        self.rows: list[int] = []

    def search(self, queries: FloatArray, n: int) -> tuple[IntArray, FloatArray]:
        self.rows.append(len(queries))
        return self._exact.search(queries, n)


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize("n", [1500, 2000, 2500])
def test_a_search_that_falls_short_is_completed_exactly(vectors: FloatArray, graph: Path, rows: int, n: int) -> None:
    """So many items that the graph rarely reaches them all: whatever happens inside, n distinct ones come back."""
    fallback = Counting(vectors)
    items, scores = ApproximateIndex(graph, spec_of(graph, expansion=1), fallback, vectors.shape).search(
        queries_of(rows), n
    )
    most = min(n, 2000)
    assert items.shape == scores.shape == (rows, most)
    assert all(len(set(row)) == most for row in items.tolist())
    assert np.isfinite(scores).all()


class ShortAnswers:
    """What usearch gives when a search runs dry: rows padded with key 0 and NaN, and how many of each count."""

    keys = np.array([[4, 2, 0], [7, 5, 3]], dtype=np.uint64)
    distances = np.array([[0.5, 0.75, np.nan], [0.0, 0.5, 1.0]], dtype=np.float32)
    counts = np.array([2, 3])


def test_only_the_short_rows_are_searched_again(vectors: FloatArray, graph: Path) -> None:
    fallback = Counting(vectors)
    index = ApproximateIndex(graph, spec_of(graph), fallback, vectors.shape)
    index._index = _Dry()
    queries = queries_of(2)
    items, scores = index.search(queries, 3)
    exact_items, exact_scores = ExactIndex(vectors).search(queries[:1], 3)
    assert fallback.rows == [1]
    assert items.tolist() == [exact_items[0].tolist(), [7, 5, 3]]
    assert scores.tolist() == [exact_scores[0].tolist(), [1.0, 0.5, 0.0]]


class _Dry:
    def __len__(self) -> int:
        return 2000

    def search(self, *_: object, **__: object) -> ShortAnswers:
        return ShortAnswers()


@pytest.mark.parametrize("shape", [(1999, 16), (2001, 16), (2000, 8)])
def test_a_graph_over_other_vectors_is_refused(vectors: FloatArray, graph: Path, shape: tuple[int, int]) -> None:
    with pytest.raises(FixFile, match="build it again") as refused:
        ApproximateIndex(graph, spec_of(graph), ExactIndex(vectors), shape)
    assert refused.value.file == str(graph)


def test_recall_counts_the_share_that_was_found() -> None:
    assert recall_at(np.array([[1, 2], [3, 4]]), np.array([[2, 1], [4, 9]])) == 0.75


def test_a_recall_variant_gives_each_row_its_own_number_of_items(tiny: TinyCascade) -> None:
    cascade = Cascade.open(tiny.folder)
    recall = cascade.spec.stages[0]
    users = cascade.users.rows([UserQuery(u) for u in (*tiny.user_ids.tolist(), "nobody")])
    keep = np.array([1, 12, 3, 4, 20, 2, 5])
    for name in ("dot", "seq"):
        found = cascade.variant(recall, recall.variant(name)).run(users, None, keep)
        assert found.lengths.tolist() == [1, 12, 3, 4, 12, 2, 5]
        for row, n in enumerate(keep):
            items, scores = tiny.expected(users.user[row], users.history[row], name, n)
            assert found.row_items(row).tolist() == items
            assert found.row_scores(row).tolist() == scores


def test_recall_in_chunks_of_max_rows_equals_one_run(tiny: TinyCascade) -> None:
    cascade = Cascade.open(tiny.folder)
    users: UserRows = cascade.users.rows([UserQuery(u) for u in tiny.user_ids.tolist()])
    session = Session.open(tiny.folder / "seq.onnx")
    index = ExactIndex(tiny.towers["seq"].vectors)
    keep = np.array([3, 1, 2, 5, 4, 12])
    whole = Recall(session, index, max_rows=64).run(users, None, keep)
    for max_rows in (1, 2, 4, 6):
        parts = Recall(session, index, max_rows).run(users, None, keep)
        assert parts.items.tolist() == whole.items.tolist()
        assert parts.scores.tolist() == whole.scores.tolist()
        assert parts.offsets.tolist() == whole.offsets.tolist()


def test_a_cascade_may_recall_from_an_approximate_index(broken: TinyCascade) -> None:
    vectors = broken.towers["dot"].vectors
    assert vectors is not None
    build_graph(vectors, broken.folder / "dot.graph")

    def approximate(document: dict) -> None:
        graph = {"file": "dot.graph", "sha256": "0" * 64}
        document["stages"][0]["variants"][0]["approximate"] = {
            "graph": graph,
            "expansion": 64,
            "recall_at_n": {8: 1.0},
            "distances": 8,
        }

    broken.edit(approximate)
    broken.rehash()
    cascade = Cascade.open(broken.folder)
    stage = cascade.spec.stages[0]
    users = cascade.users.rows([UserQuery(u) for u in broken.user_ids.tolist()])
    found = cascade.variant(stage, stage.variant("dot")).run(users, None, np.full(6, 8))
    for row in range(6):
        _, scores = broken.expected(users.user[row], users.history[row], "dot", 8)
        assert found.row_scores(row).tolist() == scores
