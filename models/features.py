"""User and item feature tables: memory-mapped, looked up by id, overridable per request."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.batch import IntArray, UserRows
from models.errors import FixFile, FixRequest
from models.spec import Column, FileRef, TableSpec, UserTableSpec

Id = int | str
Array = NDArray[np.generic]
FLOAT32_MAX = float(np.finfo(np.float32).max)


def open_array(folder: Path, ref: FileRef, field: str, dims: int) -> Array:
    """Memory-map a .npy file, so that all replicas of a node share its pages. Raises FixFile."""
    path = folder / ref.file
    try:
        array: Array = np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise FixFile(path, field, "no such file") from None
    except (OSError, ValueError, EOFError) as error:
        raise FixFile(path, field, f"not a readable .npy file: {error}") from None
    if array.ndim != dims:
        raise FixFile(path, field, f"expected {dims} dimensions, got shape {array.shape}")
    return array


class IdIndex:
    """Ids to rows, by binary search in the memory-mapped, strictly ascending ids."""

    def __init__(self, ids: Array) -> None:
        self._ids = ids
        self._integers = np.issubdtype(ids.dtype, np.integer)
        if self._integers:
            bits = 8 * ids.dtype.itemsize
            self._least, self._most = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
        else:
            self._least, self._most = 0, ids.dtype.itemsize // np.dtype("U1").itemsize

    def __len__(self) -> int:
        return len(self._ids)

    def find(self, wanted: Sequence[Id]) -> IntArray:
        """The row of each id, (len(wanted),); -1 for an id that is not in the table."""
        known = np.array([self._is_own_kind(i) for i in wanted], dtype=bool)
        rows = np.full(len(wanted), -1, dtype=np.int64)
        if not known.any():
            return rows
        # The keys take the ids' own dtype: any other would make searchsorted copy the whole table.
        keys = np.array([i for i, k in zip(wanted, known, strict=True) if k], dtype=self._ids.dtype)
        at = np.minimum(np.searchsorted(self._ids, keys), len(self._ids) - 1)
        rows[known] = np.where(self._ids[at] == keys, at, -1)
        return rows

    def ids(self, rows: IntArray) -> list[Id]:
        """The ids of these rows."""
        found: list[Id] = self._ids[rows].tolist()
        return found

    def _is_own_kind(self, wanted: Id) -> bool:
        if self._integers:
            return isinstance(wanted, int) and self._least <= wanted <= self._most
        return isinstance(wanted, str) and len(wanted) <= self._most


def encode(column: Column, value: object, field: str) -> float:
    """The code (or number) of a raw feature value.

    Raises FixRequest naming `field` for a value of the wrong type or, for a `codes` column, out of range. A value that
    a `values` column does not list is 0, "unknown": new categories appear in production every day.
    """
    if column.values is not None:
        if isinstance(value, bool) or not isinstance(value, int | str):
            raise FixRequest(field, "must be a string or an integer")
        return column.values.index(value) + 1 if value in column.values else 0
    # Written so that NaN fails; Python's integers have no bound, and the models take float32.
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) <= FLOAT32_MAX:
        raise FixRequest(field, "must be a finite number")
    if column.edges is not None:
        return bisect_right(column.edges, value) + 1
    if column.codes is not None and not (value == int(value) and 0 <= value < column.codes):
        raise FixRequest(field, f"must be an integer from 0 to {column.codes - 1}")
    return float(value)


@dataclass(frozen=True, slots=True)
class UserQuery:
    """Who asks, and what the request itself says of them."""

    user_id: Id
    context: Mapping[str, object] | None = None
    history: Sequence[Id] | None = None


class UserTable:
    """Users' features and histories; cold-start features for whoever is not in it."""

    def __init__(self, folder: Path, spec: UserTableSpec, items: IdIndex) -> None:
        self.ids = IdIndex(open_array(folder, spec.ids, "tables.users.ids", 1))
        self._features = open_array(folder, spec.features, "tables.users.features", 2)
        self._history = open_array(folder, spec.history, "tables.users.history", 2)
        self._items = items
        self._columns = {c.name: (at, c) for at, c in enumerate(spec.columns)}
        self._dtype: np.dtype[Any] = np.dtype(np.float32 if spec.is_float else np.int64)
        self._cold = np.array(spec.cold, dtype=self._dtype)

    @property
    def history_length(self) -> int:
        """How many items a history holds."""
        return int(self._history.shape[1])

    def knows(self, user_id: Id) -> bool:
        """Whether this very id is in it: 42 and "42" are two."""
        return bool(self.ids.find([user_id])[0] >= 0)

    def check_query(self, query: UserQuery) -> None:
        """Refuse a context that names an unknown feature or an impossible value. Raises FixRequest naming the field."""
        for name, value in (query.context or {}).items():
            self._encode(name, value)

    def rows(self, queries: Sequence[UserQuery]) -> UserRows:
        """What the models are fed for these requests, one row each. Raises FixRequest as `check_query` does."""
        found = self.ids.find([q.user_id for q in queries])
        known = found >= 0
        user = np.empty((len(queries), len(self._cold)), dtype=self._dtype)
        history = np.zeros((len(queries), self.history_length), dtype=np.int64)
        user[known] = self._features[found[known]]
        user[~known] = self._cold
        history[known] = self._history[found[known]]
        for row, query in enumerate(queries):
            for name, value in (query.context or {}).items():
                at, code = self._encode(name, value)
                user[row, at] = code
            if query.history is not None:
                history[row] = self._encode_history(query.history)
        return UserRows(user, history)

    def _encode(self, name: str, value: object) -> tuple[int, float]:
        if name not in self._columns:
            raise FixRequest(f"context.{name}", f"unknown feature; the cascade knows {sorted(self._columns)}")
        at, column = self._columns[name]
        return at, encode(column, value, f"context.{name}")

    def _encode_history(self, history: Sequence[Id]) -> IntArray:
        newest = self._items.find(history) + 1
        newest = newest[newest > 0]
        newest = newest[max(0, len(newest) - self.history_length) :]
        padded = np.zeros(self.history_length, dtype=np.int64)
        padded[self.history_length - len(newest) :] = newest
        return padded


class ItemTable:
    """Items' features, by item row."""

    def __init__(self, folder: Path, spec: TableSpec) -> None:
        self.ids = IdIndex(open_array(folder, spec.ids, "tables.items.ids", 1))
        self._features = open_array(folder, spec.features, "tables.items.features", 2)
        self._dtype: np.dtype[Any] = np.dtype(np.float32 if spec.is_float else np.int64)

    def __len__(self) -> int:
        return len(self.ids)

    def features(self, rows: IntArray) -> Array:
        """(len(rows), Fi), int64 or float32."""
        return self._features[rows].astype(self._dtype, copy=False)
