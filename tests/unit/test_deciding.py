"""The local decider hands long runs of the reward model to a thread, and only those."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from fake_time import FakeTime
from numpy.typing import NDArray
from tiny_cascade import TinyCascade
from tiny_reward import MODEL, NobodyThere, fixed, snapshot_of, space_of

from cluster.deciding import SHORT_S, LocalDecider
from cluster.follower import Follower, Tie
from cluster.tally import Tally
from cluster.work import Workbook
from models.batch import UserRows


class Slow:
    """A reward model whose run takes so much processor time, and that remembers where it ran."""

    def __init__(self, chains: int, time: FakeTime, row_s: float) -> None:
        self.chains, self.time, self.row_s = chains, time, row_s
        self.threads: list[str] = []

    def predict(self, contexts: NDArray[Any]) -> NDArray[np.float32]:
        self.threads.append(threading.current_thread().name)
        self.time.now_s += self.row_s * len(contexts)
        return np.ones((len(contexts), self.chains), np.float32)


@pytest.mark.parametrize(
    ("row_s", "rows", "in_thread"),
    [(SHORT_S / 100, 10, False), (SHORT_S / 100, 99, False), (SHORT_S / 100, 200, True), (SHORT_S, 2, True)],
)
def test_a_run_goes_to_a_thread_when_the_last_one_says_that_it_will_be_long(
    tiny: TinyCascade, row_s: float, rows: int, in_thread: bool
) -> None:
    space, time = space_of(tiny), FakeTime()
    tally = Tally(len(space), 4, np.random.default_rng(0), Workbook("here/cpu"))
    follower = Follower(Tie("r", len(space), MODEL, 1.0, 10.0), tally, NobodyThere(), time)
    follower.snapshot = snapshot_of(space)
    model = Slow(len(space), time, row_s)
    users = UserRows(np.zeros((rows, 3), np.int64), np.zeros((rows, 3), np.int64))
    with ThreadPoolExecutor(1, thread_name_prefix="decide") as threads:
        decider = LocalDecider(fixed(model), follower, tally, threads, cpu=time)  # type: ignore[arg-type]
        for _ in range(2):
            asyncio.run(decider.decide(users))
    first, second = (name.startswith("decide") for name in model.threads)
    assert first, "nothing is known of the first run"
    assert second is in_thread
    assert tally.totals(0.0).deciding_s == pytest.approx(2 * rows * row_s), "counted once, wherever it runs"
