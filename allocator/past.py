"""More rows to learn from: what every chain would have earned from requests of the log, at their time.

A user's state changes with every click, so that a log of some weeks holds several times as many different contexts as
there are users. Requests of held-out users are left out: nobody may learn from them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from allocator.chains import ChainSpace
from allocator.replay import Replay
from allocator.reward import context_of
from allocator.rewards import RewardSource
from allocator.table import Manifest, Rows, held_out
from allocator.tabulate import BATCH_ROWS, plan
from models.batch import UserRows
from models.features import Id
from models.loading import Cascade


@dataclass(frozen=True)
class Requests:
    """Requests of a log: who asked, user_ids (n,), what was known of them then, and what they would have clicked on.

    The source's row i is request i.
    """

    user_ids: NDArray[np.generic]
    users: UserRows
    source: RewardSource

    def __len__(self) -> int:
        return len(self.users)


def plan_past(cascade: Cascade, past: Requests, world: str, requests: int, seed: int) -> Manifest:
    """The manifest of a table of `requests` of the past of training users (all, where there are fewer)."""
    manifest = plan(cascade, past.source, f"{world}; past requests", requests, seed)
    return manifest.model_copy(update={"users": min(requests, int(_to_learn_from(past).sum()))})


class PastWorker:
    """Fills parts, one after another; holds every variant loaded."""

    def __init__(self, cascade: Cascade, past: Requests, manifest: Manifest) -> None:
        self._past, self._manifest = past, manifest
        self._replay = Replay(cascade, ChainSpace(cascade.spec, len(cascade.items)))
        rows = np.flatnonzero(_to_learn_from(past))
        self._sample = np.random.default_rng(manifest.seed).permutation(rows)[: manifest.users]

    def part(self, number: int) -> Rows:
        """All chains for the requests of one part."""
        at = self._sample[self._manifest.part(number)]
        users, ids = self._past.users.take(at), self._past.user_ids[at]
        found = [
            self._past.source(at[rows], self._replay.run(users.take(rows)))
            for rows in np.split(np.arange(len(at)), range(BATCH_ROWS, len(at), BATCH_ROWS))
        ]
        return Rows(ids, context_of(users), np.concatenate(found), np.zeros(len(at), dtype=bool))


def _to_learn_from(past: Requests) -> NDArray[np.bool_]:
    ids: list[Id] = past.user_ids.tolist()
    return ~held_out(ids)


def joined(tables: Sequence[Rows]) -> Rows:
    """The rows of several tables of one cascade, in their order."""
    fields = ("user_ids", "contexts", "rewards", "held_out")
    return Rows(*(np.concatenate([getattr(rows, name) for rows in tables]) for name in fields))
