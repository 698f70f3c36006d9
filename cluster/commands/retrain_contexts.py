"""What contexts a network is fitted to: those of the log, and others like them, of which nobody knows a reward."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allocator.choice import Mask
from allocator.reward import context_of
from models.features import UserQuery
from models.loading import Cascade

MOST_CONTEXTS = 20_000
"""A network is fitted to so many contexts at most, drawn at random; each with what is now believed of all chains."""
VARIANTS = 4
"""Up to so many for each context of the log, itself included."""
LEAST_TRAINED = 2
"""Of one alone there is no variance, which a network is fitted in units of."""
SHORTENED = 0.5
"""The largest share of its clicks by which a history is shortened."""


@dataclass(frozen=True, eq=False)
class Contexts:
    """Contexts (n, Fc), different ones.

    of  (n,) the context that each is made from, by number: itself, or the one whose history it has, some clicks earlier
    """

    rows: NDArray[Any]
    of: NDArray[np.int64]

    def split(self, share: float, rng: np.random.Generator) -> Mask:
        """(n,) whether to validate by a context, true of about that share; what is made from one goes with it.

        At least LEAST_TRAINED and what is made from them are trained on and one is validated by: of fewer, none is.
        """
        chance = rng.random(int(self.of.max(initial=-1)) + 1)
        drawn: Mask = chance < share
        order = np.argsort(chance)
        drawn[order[:1]] = True
        drawn[order[-LEAST_TRAINED:]] = False
        return drawn[self.of]


def logged(contexts: NDArray[Any], rng: np.random.Generator) -> NDArray[Any]:
    """Different ones of these contexts (n, Fc), at most MOST_CONTEXTS."""
    distinct = np.unique(contexts, axis=0)
    return distinct[rng.permutation(len(distinct))[:MOST_CONTEXTS]]


def alike(contexts: NDArray[Any], cascade: Cascade, rng: np.random.Generator) -> Contexts:
    """Different contexts (n, Fc), and others like them, up to VARIANTS times as many and MOST_CONTEXTS in all.

    What is believed of rewards holds for any context; a network that saw few of them knows it for these alone. So it is
    shown users on file who are not in the log, and histories as they were some clicks ago.
    """
    most = min(MOST_CONTEXTS, VARIANTS * len(contexts))
    rows = np.concatenate([contexts, _on_file(cascade, most, rng).astype(contexts.dtype)])
    rows = rows[np.sort(np.unique(rows, axis=0, return_index=True)[1])][: max(most, len(contexts))]
    from_ = rng.integers(0, len(rows), max(0, most - len(rows)))
    earlier = _shortened(rows[from_], cascade.users.history_length, rng)
    both, of = np.concatenate([rows, earlier]), np.concatenate([np.arange(len(rows)), from_])
    kept = np.sort(np.unique(both, axis=0, return_index=True)[1])
    return Contexts(both[kept], of[kept])


def _on_file(cascade: Cascade, most: int, rng: np.random.Generator) -> NDArray[Any]:
    ids = cascade.users.ids
    drawn = rng.permutation(len(ids))[:most].astype(np.int64)
    return context_of(cascade.users.rows([UserQuery(user_id) for user_id in ids.ids(drawn)]))


def _shortened(contexts: NDArray[Any], length: int, rng: np.random.Generator) -> NDArray[Any]:
    """The contexts (n, Fc) without some of the newest clicks of their histories, which end with the newest."""
    history = contexts[:, -length:]
    clicks = np.cumsum(history > 0, axis=1)
    dropped = np.ceil(rng.random(len(contexts)) * SHORTENED * clicks[:, -1]).astype(np.int64)
    left: NDArray[np.int64] = clicks[:, -1] - dropped
    newest = np.argmax(clicks >= left[:, None], axis=1)
    at = np.arange(length) - (length - 1 - newest)[:, None]
    earlier = np.where((at >= 0) & (left > 0)[:, None], np.take_along_axis(history, np.maximum(at, 0), axis=1), 0)
    return np.concatenate([contexts[:, :-length], earlier.astype(contexts.dtype)], axis=1)
