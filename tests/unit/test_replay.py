"""The replay finds, for every chain at once, what the served cascade answers for each alone."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tiny_cascade import TinyCascade
from tiny_serving import inline_runners

from allocator.chains import ChainSpace
from allocator.replay import Replay
from cluster.cascade import CascadeExecutor
from cluster.config import DEMO
from models.batch import IntArray
from models.features import UserQuery
from models.loading import Cascade


def served(cascade: Cascade, space: ChainSpace, user_ids: list[object]) -> IntArray:
    """(rows, J, k) item rows, one request at a time."""
    with ThreadPoolExecutor(1) as threads:
        executor = CascadeExecutor(inline_runners(cascade, threads))
        k = np.array([cascade.spec.k])

        async def all_chains(user_id: object) -> list[IntArray]:
            users = cascade.users.rows([UserQuery(user_id)])
            return [(await executor.run(users, [chain], k)).items for chain in space]

        return np.stack([np.stack(asyncio.run(all_chains(user_id))) for user_id in user_ids])


def test_replay_equals_the_served_cascade_item_by_item(any_tiny: TinyCascade) -> None:
    cascade = Cascade.open(any_tiny.folder)
    space = ChainSpace(cascade.spec, len(cascade.items))
    ids = [*any_tiny.user_ids.tolist(), "nobody"]
    replayed = Replay(cascade, space).run(cascade.users.rows([UserQuery(user_id) for user_id in ids]))
    assert replayed.tolist() == served(cascade, space, ids).tolist()


@pytest.mark.parametrize("folder", [DEMO], ids=["demo"])
def test_replay_of_trained_models_equals_the_served_cascade_but_for_rounding(folder: Path) -> None:
    cascade = Cascade.open(folder)
    space = ChainSpace(cascade.spec, len(cascade.items))
    ids = cascade.users.ids.ids(np.array([0, 7, 42]))
    replayed = Replay(cascade, space).run(cascade.users.rows([UserQuery(user_id) for user_id in ids]))
    alone = served(cascade, space, ids)
    assert np.mean(replayed == alone) > 0.999
    assert all(len(set(items)) == cascade.spec.k for row in replayed.tolist() for items in row)
