"""Pre-rank and rank: score a RaggedBatch and keep each row's best."""

import numpy as np

from models.batch import FloatArray, IntArray, RaggedBatch, UserRows
from models.features import ItemTable
from models.session import Session
from models.topn import best_of

WORST = np.finfo(np.float32).min


class Scorer:
    """A variant that scores the candidates it is handed, all of them."""

    def __init__(self, session: Session, items: ItemTable, max_rows: int) -> None:
        self._session, self._items, self._max_rows = session, items, max_rows

    def run(self, users: UserRows, candidates: RaggedBatch | None, keep: IntArray) -> RaggedBatch:
        """Each row's `keep[i]` best candidates, best first. A row with fewer candidates keeps them all.

        A score that is not finite (inputs that overflow the model) counts as the worst.
        """
        if candidates is None:
            raise ValueError("a scoring stage needs candidates")
        scores = self.score(users, candidates)
        finite = np.isfinite(scores)
        return best_of(candidates, scores if finite.all() else np.where(finite, scores, WORST), keep)

    def score(self, users: UserRows, candidates: RaggedBatch) -> FloatArray:
        """The score of every pair, (pairs,)."""
        if not len(candidates.items):
            return np.empty(0, dtype=np.float32)
        if len(users) <= self._max_rows:
            return self._score(users, candidates)
        rows = np.arange(len(users))
        chunks = [rows[start : start + self._max_rows] for start in range(0, len(rows), self._max_rows)]
        return np.concatenate([self._score(users.take(chunk), candidates.take(chunk)) for chunk in chunks])

    def _score(self, users: UserRows, candidates: RaggedBatch) -> FloatArray:
        feeds = {
            "user": users.user,
            "history": users.history,
            "item": self._items.features(candidates.items),
            "row": candidates.row,
        }
        return self._session.run({name: feeds[name] for name in self._session.inputs})
