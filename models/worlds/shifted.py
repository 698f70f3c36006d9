"""A synthetic world whose users have changed: the logs, features and histories are those of before, the truth is not.

Before, users come back to what they clicked last, whatever they hold. After the shift that is so on large screens, more
than ever; on phones they have enough of it:

    interest_weight of the truth (see `synthetic`):  times `PHONES` on phones, times `OTHERS` elsewhere

So the longest chains, whose rankers were trained to follow the newest clicks, still pay on large screens and do harm on
phones. A reward model from before knows of neither, and what it would have to learn is in the request's context.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from models.worlds.base import IntArray
from models.worlds.synthetic import FloatArray, SyntheticTruth

PHONES, OTHERS = -2.0, 2.0
PHONE = 0


class ShiftedTruth:
    """The truth after the shift, of the same users and items with the same histories."""

    def __init__(self, truth: SyntheticTruth, phones: float = PHONES, others: float = OTHERS) -> None:
        self._device = truth.users.device
        self._phones, self._others = (_with(truth, times) for times in (phones, others))

    def click_probability(self, user_rows: NDArray[np.integer], item_rows: NDArray[np.integer], /) -> FloatArray:
        """As that of `SyntheticTruth`: users (n,), items (n,) or (n, m) -> of the items' shape, by the usual device."""
        users, items = np.asarray(user_rows), np.asarray(item_rows)
        device: IntArray = self._device[users]
        found = np.empty(items.shape)
        for truth, which in ((self._phones, device == PHONE), (self._others, device != PHONE)):
            if which.any():
                found[which] = truth.click_probability(users[which], items[which])
        return found


def _with(truth: SyntheticTruth, times: float) -> SyntheticTruth:
    config = replace(truth.config, interest_weight=times * truth.config.interest_weight)
    return SyntheticTruth(config, truth.users, truth.items, truth.history)
