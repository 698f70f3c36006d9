"""What a world hands to training: tables as they are served, and logs of what was shown and clicked.

Training does not know which world it trains on. A request is one user at one time, with the state that was
known before it (features, history); an exposure is an item shown in a request, with the item's state of that
time.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from models.spec import Column

IntArray = NDArray[np.int32]
IdArray = NDArray[np.int64] | NDArray[np.str_]
ITEM_COLUMN = "item"
"""The first item column: item row + 1 as in histories, so that both share one embedding; 0 is unknown."""


_PER_REQUEST = ("day", "user_row", "user", "history", "state")
_PER_EXPOSURE = ("item_row", "click")


@dataclass(frozen=True)
class Table:
    """Encoded features. ids (n,) ascend strictly; features (n, F) int32, one column each of `columns`."""

    ids: IdArray
    features: IntArray
    columns: tuple[Column, ...]

    def column(self, name: str) -> IntArray:
        """The codes of one column, (n,)."""
        return self.features[:, [c.name for c in self.columns].index(name)]


@dataclass(frozen=True)
class Log:
    """Requests and their exposures; those of request r stand at offsets[r]:offsets[r + 1].

    day (R,)            day of the request; the state below is what was known before it
    user_row (R,)       row of the user in the world's table
    user (R, Fu)        the user's features, with the request's own context
    history (R, L)      item row + 1, newest last, left-padded with 0
    state (R,)          which of the catalogue's states holds the item features of that time
    offsets (R + 1,)    first exposure of each request
    item_row (E,)       the item shown
    click (E,)          1.0 where it was clicked
    catalogue (S, items, Fi)  item features in each state; shared by the logs of a world
    """

    day: IntArray
    user_row: IntArray
    user: IntArray
    history: IntArray
    state: IntArray
    offsets: NDArray[np.int64]
    item_row: IntArray
    click: NDArray[np.float32]
    catalogue: IntArray

    def __len__(self) -> int:
        return len(self.day)

    @property
    def request(self) -> NDArray[np.int64]:
        """The request of each exposure, (E,)."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def item_features(self, request: NDArray[np.int64], item_row: IntArray) -> IntArray:
        """Features (n, Fi) of items as they were at the time of the requests; both (n,)."""
        return self.catalogue[self.state[request], item_row]

    def only(self, requests: NDArray[np.bool_]) -> "Log":
        """The requests (R,) where true, and their exposures."""
        shown = requests[self.request]
        parts = {name: getattr(self, name)[requests] for name in _PER_REQUEST}
        parts |= {name: getattr(self, name)[shown] for name in _PER_EXPOSURE}
        offsets = np.concatenate([[0], np.cumsum(np.diff(self.offsets)[requests])])
        return Log(**parts, offsets=offsets, catalogue=self.catalogue)


def joined(logs: Sequence[Log]) -> Log:
    """One log of several, in their order; they share the first one's catalogue."""
    per_request = {name: np.concatenate([getattr(log, name) for log in logs]) for name in _PER_REQUEST}
    per_exposure = {name: np.concatenate([getattr(log, name) for log in logs]) for name in _PER_EXPOSURE}
    lengths = np.concatenate([np.diff(log.offsets) for log in logs])
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return Log(**per_request, offsets=offsets, **per_exposure, catalogue=logs[0].catalogue)


@dataclass(frozen=True)
class World:
    """A world as training sees it.

    users, items, history (users, L)   the state that is served on the test days: everything up to the
    validation day cold                               encoded features of a user who is not in the table
    described                          item columns that histories look up next to the item itself
    train, valid, test                 logs, split by time
    """

    name: str
    about: str
    users: Table
    items: Table
    history: IntArray
    cold: IntArray
    described: tuple[str, ...]
    train: Log
    valid: Log
    test: Log

    @property
    def history_length(self) -> int:
        """How many clicks a history holds."""
        return int(self.history.shape[1])


def bucketed(values: NDArray[np.float64], edges: Sequence[float]) -> IntArray:
    """Codes of a column with edges: 1 + the number of edges <= the value; 0 where the value is NaN."""
    codes = 1 + np.searchsorted(np.asarray(edges), values, side="right")
    return np.where(np.isnan(values), 0, codes).astype(np.int32)


def quantile_edges(values: NDArray[np.float64], parts: int) -> tuple[float, ...]:
    """Ascending distinct edges that cut the values into about `parts` equal parts; NaN is left out."""
    known = values[~np.isnan(values)]
    if not len(known):
        return (0.0,)
    return tuple(float(e) for e in np.unique(np.quantile(known, np.linspace(0, 1, parts + 1)[1:-1]).round(6)))


def push_history(history: IntArray, rows: NDArray[np.int64], item_rows: IntArray) -> None:
    """Append one item to the histories of these distinct rows, in place; the oldest entry falls out."""
    history[rows, :-1] = history[rows, 1:]
    history[rows, -1] = item_rows + 1
