"""What a chain's top k earns from a user: expected clicks under a click chance, or what a held-out log holds."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.batch import FloatArray, IntArray, RaggedBatch
from models.features import UserQuery
from models.loading import Cascade
from models.score import Scorer
from models.session import Session

Items = NDArray[np.integer]
MODEL_ROWS = 8
"""Users in one run of a click model: some hundred items each."""


class RewardSource(Protocol):
    """Gives the reward@k of item lists; `kind` says of what sort, for manifests and people."""

    @property
    def kind(self) -> str:
        """What is counted."""
        ...

    def __call__(self, users: IntArray, items: Items) -> FloatArray:
        """users (B,) rows of the user table, items (B, J, k) item rows -> rewards (B, J), finite."""
        ...


class ClickChance(Protocol):
    """Who would click on what: the truth of a synthetic world, or a model of it."""

    def click_probability(self, user_rows: IntArray, item_rows: IntArray, /) -> NDArray[np.floating]:
        """user_rows (n,), item_rows (n, m) -> the chance of a click on each, (n, m), in 0..1."""
        ...


@dataclass(frozen=True)
class ExpectedClicks:
    """Expected clicks@k: the sum of the chances of the k items. `whose` names the chance: truth or model.

    So each of the k is taken to be looked at, and clicked or not whatever its place and whatever stands beside it.
    """

    chance: ClickChance
    whose: str = "truth"

    @property
    def kind(self) -> str:
        """`expected clicks (truth)`."""
        return f"expected clicks ({self.whose})"

    def __call__(self, users: IntArray, items: Items) -> FloatArray:
        """Asks for the chance of each (user, item) once, however many chains recommend it."""
        unique, places = _distinct(items)
        chances = np.asarray(self.chance.click_probability(users, unique), dtype=np.float64)
        total: FloatArray = np.take_along_axis(chances, places, axis=1).reshape(items.shape).sum(axis=2)
        return total.astype(np.float32)


@dataclass(frozen=True)
class Logged:
    """What a held-out log says of the k items: the sum of the values of the user's logged items among them.

    An item that the log does not show to the user earns nothing, so this is a lower bound with much noise, and it leans
    to chains that recommend what the logging policy showed, good or bad. With every value 1 it counts how many items
    have an outcome at all. It is for honesty beside the expected clicks, not for training alone.

    pairs   (n,) ascending keys `user row * catalogue + item row`
    values  (n,) for example 1 where it was clicked
    """

    kind: str
    catalogue: int
    pairs: IntArray
    values: FloatArray

    @classmethod
    def of(cls, kind: str, catalogue: int, users: Items, items: Items, values: NDArray[np.generic]) -> "Logged":
        """From one line per exposure, all (n,); a pair that was shown more than once counts with its largest value."""
        keys = users.astype(np.int64) * catalogue + items
        pairs, at = np.unique(keys, return_inverse=True)
        largest = np.zeros(len(pairs), dtype=np.float32)
        np.maximum.at(largest, at, values.astype(np.float32))
        return cls(kind, catalogue, pairs, largest)

    def __call__(self, users: IntArray, items: Items) -> FloatArray:
        """(B,), (B, J, k) -> (B, J)."""
        if not len(self.pairs):
            return np.zeros(items.shape[:2], dtype=np.float32)
        keys = users[:, None, None] * self.catalogue + items
        at = np.minimum(np.searchsorted(self.pairs, keys), len(self.pairs) - 1)
        total: FloatArray = np.where(self.pairs[at] == keys, self.values[at], np.float32(0)).sum(axis=2)
        return total


class ModelChance:
    """A fitted click model as a click chance: an ONNX scorer with a ranker's signature, whose scores are logits.

    Opens its files when it is first asked, so that it can be sent to other processes, which find them at the same
    paths. Raises FixFile then, also for a model of another signature.
    """

    def __init__(self, folder: Path, model: Path) -> None:
        self._folder, self._model = folder, model

    def __reduce__(self) -> "tuple[type[ModelChance], tuple[Path, Path]]":
        return ModelChance, (self._folder, self._model)

    def click_probability(self, user_rows: IntArray, item_rows: IntArray, /) -> NDArray[np.float64]:
        """(n,), (n, m) -> (n, m); users as they stand in the cascade's table."""
        cascade, scorer = self._opened
        users = cascade.users.rows([UserQuery(user_id) for user_id in cascade.users.ids.ids(user_rows)])
        offsets = np.arange(len(user_rows) + 1, dtype=np.int64) * item_rows.shape[1]
        logits = scorer.score(users, RaggedBatch(offsets, item_rows.astype(np.int64).ravel()))
        return np.asarray(1.0 / (1.0 + np.exp(-logits.astype(np.float64)))).reshape(item_rows.shape)

    @cached_property
    def _opened(self) -> tuple[Cascade, Scorer]:
        cascade, session = Cascade.open(self._folder), Session.open(self._model)
        users, items = cascade.spec.tables.users, cascade.spec.tables.items
        of_user, of_item = ("float32" if table.is_float else "int64" for table in (users, items))
        inputs = {"user": of_user, "history": "int64", "item": of_item, "row": "int64"}
        widths = {"user": len(users.columns), "history": cascade.users.history_length, "item": len(items.columns)}
        session.check_signature(inputs, {**widths, "row": None}, "score")
        return cascade, Scorer(session, cascade.items, MODEL_ROWS)


def _distinct(items: Items) -> tuple[IntArray, IntArray]:
    """Each row's distinct items (B, m), short rows padded with their last one; and where each item stands, (B, J*k)."""
    found = [np.unique(row, return_inverse=True) for row in items.reshape(len(items), -1)]
    width = max(len(row) for row, _ in found)
    unique = np.stack([np.pad(row, (0, width - len(row)), mode="edge") for row, _ in found])
    return unique.astype(np.int64), np.stack([places.reshape(-1) for _, places in found]).astype(np.int64)
