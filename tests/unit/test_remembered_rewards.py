"""What is remembered of predicted rewards is what would be predicted again, in bounded memory."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from tiny_cascade import TinyCascade
from tiny_reward import MODEL, NobodyThere, snapshot_of, space_of

from cluster.deciding import LocalDecider
from cluster.follower import Follower, Tie
from cluster.promotion.adopting import Loaded, Models
from cluster.remembered_rewards import KEY_BYTES, RememberedRewards
from cluster.tally import Tally
from cluster.work import Workbook
from models.batch import UserRows

CHAINS, WIDTH = 3, 2
ROW_BYTES = 4 * CHAINS + 8 * WIDTH + KEY_BYTES


def predicted(contexts: NDArray[Any], chains: int = CHAINS) -> NDArray[np.float32]:
    """Another row for each context."""
    return (contexts.sum(axis=1)[:, None] * 10 + np.arange(chains)).astype(np.float32)


@given(
    batches=st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), max_size=30),
    rows=st.integers(0, 12),
    dtype=st.sampled_from([np.int64, np.float64]),
)
def test_what_is_known_is_what_would_be_predicted_and_never_more_than_fits(
    batches: list[list[int]], rows: int, dtype: type
) -> None:
    remembered = RememberedRewards(rows * ROW_BYTES)
    for users in batches:
        contexts = np.array([[user, 1] for user in users], dtype)
        known, missing = remembered.known(contexts)
        there = np.setdiff1d(np.arange(len(users)), missing)
        assert (known is None) == (len(there) == 0)
        if known is not None:
            np.testing.assert_array_equal(known[there], predicted(contexts)[there])
        new = contexts[missing]
        if len(new):
            remembered.remember(new, predicted(new))
        assert len(remembered) <= rows
        if 0 < len(np.unique(new[:, 0])) <= rows:
            assert not len(remembered.known(new)[1])


def test_the_oldest_make_room() -> None:
    remembered = RememberedRewards(4 * ROW_BYTES)
    contexts = np.arange(12).reshape(6, 2)
    for context in contexts:
        remembered.remember(context[None], predicted(context[None]))
    _, missing = remembered.known(contexts)
    assert missing.tolist() == [0, 1]


def test_a_copy_is_told() -> None:
    remembered = RememberedRewards(4 * ROW_BYTES)
    contexts = np.arange(2).reshape(1, 2)
    remembered.remember(contexts, predicted(contexts))
    first, _ = remembered.known(contexts)
    assert first is not None
    first[:] = -1
    again, _ = remembered.known(contexts)
    np.testing.assert_array_equal(again, predicted(contexts))


class Counted:
    """A reward model that remembers how many contexts it was asked of, in each run."""

    def __init__(self, chains: int, adds: float = 0.0) -> None:
        self.chains, self.adds, self.runs = chains, adds, list[int]()

    def predict(self, contexts: NDArray[Any]) -> NDArray[np.float32]:
        self.runs.append(len(contexts))
        return predicted(contexts, self.chains) + np.float32(self.adds)


async def _never(*_: object) -> Any:
    raise AssertionError("nobody asks for another model here")


@pytest.mark.parametrize("in_thread", [False, True])
def test_the_model_is_asked_of_new_contexts_only_and_another_model_of_all(tiny: TinyCascade, in_thread: bool) -> None:
    space = space_of(tiny)
    tally = Tally(len(space), 4, np.random.default_rng(0), Workbook("here/cpu"))
    follower = Follower(Tie("r", len(space), MODEL, 1.0, 10.0), tally, NobodyThere(), lambda: 0.0)
    follower.snapshot = snapshot_of(space)
    model, other = Counted(len(space)), Counted(len(space), adds=0.5)
    models = Models(Loaded(MODEL, model), _never, _never)  # type: ignore[arg-type]
    cpu = iter(range(10**6)) if in_thread else None

    def decide(users: list[int]) -> list[float]:
        rows = UserRows(np.array(users)[:, None], np.zeros((len(users), 1), np.int64))
        return asyncio.run(decider.decide(rows)).rewards.tolist()

    with ThreadPoolExecutor(1) as threads:
        clock = (lambda: float(next(cpu))) if cpu is not None else (lambda: 0.0)
        decider = LocalDecider(models, follower, tally, threads, cpu=clock, remember_bytes=10**6)
        first = decide([1, 2])
        assert decide([2, 3, 1]) == [first[1], pytest.approx(first[1] + 10), first[0]]
        assert decide([3, 3]) == [pytest.approx(first[1] + 10)] * 2
        assert model.runs == [2, 1]
        models.now = Loaded(MODEL, other)  # type: ignore[arg-type]
        assert decide([1, 2]) == [reward + 0.5 for reward in first]
        assert other.runs == [2]
