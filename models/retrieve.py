"""Recall: the query tower, and the best n items of the index."""

from pathlib import Path
from typing import Any, Protocol

import numpy as np

from models.batch import FloatArray, IntArray, RaggedBatch, UserRows, offsets_of
from models.errors import FixFile, NeedsExtra
from models.session import Session
from models.spec import ApproximateSpec
from models.topn import top_n

SCORES_AT_ONCE = 16_000_000
"""Most scores that an exact search holds in memory at a time (64 MB of float32)."""


class Index(Protocol):
    """Finds the items whose vectors have the greatest inner product with a query."""

    def search(self, queries: FloatArray, n: int) -> tuple[IntArray, FloatArray]:
        """(rows, d) -> item rows (rows, n) and their scores (rows, n), best first."""
        ...


class ExactIndex:
    """Scores every item by a matrix product. vectors: (items, d) float32, usually memory-mapped."""

    def __init__(self, vectors: FloatArray) -> None:
        self.vectors: FloatArray = np.asarray(vectors)

    def search(self, queries: FloatArray, n: int) -> tuple[IntArray, FloatArray]:
        """As `Index.search`; equal scores in the order of the item rows."""
        step = max(1, SCORES_AT_ONCE // max(1, len(self.vectors)))
        items, scores = [], []
        for start in range(0, len(queries), step):
            part = queries[start : start + step] @ self.vectors.T
            best = top_n(part, n)
            items.append(best)
            scores.append(np.take_along_axis(part, best, axis=1))
        return np.concatenate(items), np.concatenate(scores)


class ApproximateIndex:
    """HNSW over inner products (usearch), memory-mapped from the prebuilt graph.

    A search that reaches fewer than n items is done again by `exact`, so that n distinct items always come back.
    Raises FixFile when the graph is not one over vectors of that shape (items, d).
    """

    def __init__(self, graph: Path, spec: ApproximateSpec, exact: Index, shape: tuple[int, int]) -> None:
        usearch = _usearch()
        self._exact = exact
        self._index = usearch.Index(ndim=shape[1], metric=usearch.MetricKind.IP, dtype="f32")
        try:
            self._index.view(str(graph))
        except RuntimeError as error:
            raise FixFile(graph, "", f"not a usearch graph: {error}") from None
        if (len(self._index), self._index.ndim) != shape:
            found = (len(self._index), self._index.ndim)
            raise FixFile(graph, "", f"a graph over {found} vectors, the index has {shape}; build it again")
        self._index.expansion_search = spec.expansion

    def search(self, queries: FloatArray, n: int) -> tuple[IntArray, FloatArray]:
        """As `Index.search`."""
        n = min(n, len(self._index))
        found = self._index.search(queries, n, threads=1)
        items = np.asarray(found.keys, dtype=np.int64).reshape(len(queries), -1)
        scores = 1.0 - np.asarray(found.distances, dtype=np.float32).reshape(len(queries), -1)
        if items.shape[1] < n:  # one query: the answer has no padding
            return self._exact.search(queries, n)
        short = np.flatnonzero(np.asarray(getattr(found, "counts", n)) < n)
        if len(short):
            items[short], scores[short] = self._exact.search(queries[short], n)
        return items, scores

    def distances(self, queries: FloatArray, n: int) -> int:
        """How many vectors a search for n compares a query with, on average; at least 1."""
        compared: int = self._index.search(queries, n, threads=1).computed_distances
        return max(1, round(compared / len(queries)))


def build_graph(vectors: FloatArray, path: Path, connectivity: int = 16, expansion_add: int = 128) -> None:
    """Build the graph of an `ApproximateIndex` over vectors (items, d) and save it."""
    usearch = _usearch()
    index = usearch.Index(
        ndim=vectors.shape[1],
        metric=usearch.MetricKind.IP,
        dtype="f32",
        connectivity=connectivity,
        expansion_add=expansion_add,
    )
    index.add(np.arange(len(vectors)), np.ascontiguousarray(vectors), threads=1)
    index.save(str(path))


def recall_at(found: IntArray, exact: IntArray) -> float:
    """Share of the exact best items (rows, n) that were found (rows, n)."""
    hits = sum(len(np.intersect1d(a, b)) for a, b in zip(found, exact, strict=True))
    return hits / exact.size


class Recall:
    """A recall variant: user tower plus index."""

    def __init__(self, session: Session, index: Index, max_rows: int) -> None:
        self._session, self._index, self._max_rows = session, index, max_rows

    def run(self, users: UserRows, candidates: RaggedBatch | None, keep: IntArray) -> RaggedBatch:
        """The best `keep[i]` items for each row. `candidates` is None: recall searches the whole index.

        A row whose inputs overflow the tower gets a query of zeros, so that it spoils nobody else's.
        """
        queries = self.queries(users)
        finite = np.isfinite(queries)
        if not finite.all():
            queries = np.where(finite.all(axis=1, keepdims=True), queries, np.float32(0.0))
        items, scores = self._index.search(queries, int(keep.max(initial=0)))
        kept = np.minimum(keep, items.shape[1])
        mask = np.arange(items.shape[1])[None, :] < kept[:, None]
        return RaggedBatch(offsets_of(kept), items[mask], scores[mask])

    def queries(self, users: UserRows) -> FloatArray:
        """What the tower makes of the users, (rows, d)."""
        feeds = {"user": users.user, "history": users.history}
        parts = [
            self._session.run({name: feeds[name][start : start + self._max_rows] for name in self._session.inputs})
            for start in range(0, len(users), self._max_rows)
        ]
        return np.concatenate(parts)


def _usearch() -> Any:
    # Imported late, so after ONNX Runtime: in the other order ONNX Runtime crashes the process while it loads.
    try:
        from usearch import index
    except ImportError:
        raise NeedsExtra("an approximate index needs usearch", "ann") from None
    return index
