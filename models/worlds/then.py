"""Who would have clicked on what in a synthetic world at the time of a logged request."""

import numpy as np
from numpy.typing import NDArray

from models.worlds.base import IntArray, Log
from models.worlds.synthetic import FloatArray, SyntheticTruth

DEVICE_COLUMN = 0


class TruthThen:
    """The truth of the requests of a log, each with its own device and the history of its time."""

    def __init__(self, truth: SyntheticTruth, log: Log) -> None:
        self._truth, self._users, self._history = truth, log.user_row, log.history
        self._device: IntArray = (log.user[:, DEVICE_COLUMN] - 1).astype(np.int32)

    def click_probability(self, requests: NDArray[np.integer], item_rows: NDArray[np.integer], /) -> FloatArray:
        """Chance that the users of these requests (n,) click on items (n, m) when they are shown, (n, m)."""
        at = np.asarray(requests)
        users = self._users[at].astype(np.int64)
        return self._truth.probability(users, self._history[at], np.asarray(item_rows), self._device[at])
