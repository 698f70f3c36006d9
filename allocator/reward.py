"""The reward model: what each chain would earn from a request, predicted for all chains in one run."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from models.batch import UserRows


def context_of(users: UserRows) -> NDArray[Any]:
    """The reward model's input, (rows, Fu + L): user features, then history codes, in the user features' type.

    float32 holds history codes exactly up to a catalogue of 2 ** 24 items.
    """
    return np.concatenate([users.user, users.history.astype(users.user.dtype, copy=False)], axis=1)
