"""Fills a reward table: samples users, runs all chains for them part by part, and counts what they earn."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from allocator.chains import ChainSpace
from allocator.replay import Replay
from allocator.reward import context_of
from allocator.rewards import RewardSource
from allocator.table import Manifest, Rows, cascade_digest, held_out
from models.batch import FloatArray, IntArray
from models.features import UserQuery
from models.loading import Cascade

BATCH_ROWS = 32
PART_ROWS = 256


def plan(
    cascade: Cascade, source: RewardSource, world: str, users: int, seed: int, click_model: str | None = None
) -> Manifest:
    """The manifest of a table of `users` users of the cascade's table (all, where it has fewer).

    click_model  SHA-256 of the model that the rewards come from, if one
    """
    space = ChainSpace(cascade.spec, len(cascade.items))
    return Manifest(
        cascade=cascade_digest(cascade.spec),
        world=world,
        reward=source.kind,
        seed=seed,
        users=min(users, len(cascade.users.ids)),
        part_rows=PART_ROWS,
        chains=tuple(chain.id for chain in space),
        flops=tuple(chain.flops for chain in space),
        click_model=click_model,
    )


def sampled(manifest: Manifest, table_users: int) -> IntArray:
    """Rows of the sampled users in the cascade's table, (users,): distinct, in a random order of their own."""
    return np.random.default_rng(manifest.seed).permutation(table_users)[: manifest.users].astype(np.int64)


@dataclass(frozen=True)
class Work:
    """What a process needs to fill any part: a folder, a source and a manifest. It can be sent to other machines."""

    folder: Path
    source: RewardSource
    manifest: Manifest

    def start(self) -> "Worker":
        """Open the cascade and load its models. Raises FixFile."""
        return Worker(Cascade.open(self.folder), self.source, self.manifest)


class Worker:
    """Fills parts, one after another; holds every variant loaded."""

    def __init__(self, cascade: Cascade, source: RewardSource, manifest: Manifest) -> None:
        self._cascade, self._source, self._manifest = cascade, source, manifest
        self._replay = Replay(cascade, ChainSpace(cascade.spec, len(cascade.items)))
        self._sample = sampled(manifest, len(cascade.users.ids))

    def part(self, number: int) -> Rows:
        """All chains for the users of one part."""
        at = self._sample[self._manifest.part(number)]
        ids = self._cascade.users.ids.ids(at)
        users = self._cascade.users.rows([UserQuery(user_id) for user_id in ids])
        rewards: list[FloatArray] = []
        for start in range(0, len(at), BATCH_ROWS):
            rows = np.arange(start, min(start + BATCH_ROWS, len(at)))
            rewards.append(self._source(at[rows], self._replay.run(users.take(rows))))
        return Rows(np.array(ids), context_of(users), np.concatenate(rewards), held_out(ids))
