"""What variants do is counted whole, by whichever thread they run on."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from fake_time import FakeTime

from allocator.joules import Work
from cluster.work import CountedVariant, Counts, Workbook, as_work, work_since
from models.batch import IntArray, RaggedBatch, UserRows, offsets_of

USERS = UserRows(np.zeros((5, 1), np.float32), np.zeros((5, 2), np.int64))
CANDIDATES = RaggedBatch(offsets_of(np.array([3, 1, 0, 2, 4])), np.arange(10))
KEEP = np.ones(5, np.int64)
KEY = ("rank", "din", "here/cpu")


class Takes:
    """A variant whose run takes two seconds of a fake clock, and waits for half of them."""

    def __init__(self, time: FakeTime, fails: bool = False) -> None:
        self._time, self._fails = time, fails

    def run(self, users: UserRows, candidates: RaggedBatch | None, keep: IntArray) -> RaggedBatch:
        self._time.now_s += 2.0
        if self._fails:
            raise ValueError("the model broke")
        return CANDIDATES


def counted(book: Workbook, time: FakeTime, max_rows: int = 2, fails: bool = False, threads: int = 1) -> CountedVariant:
    return CountedVariant(
        Takes(time, fails), ("rank", "din"), book, 100, max_rows, threads, clock=time, cpu=lambda: time.now_s / 2
    )


def test_a_run_counts_its_pairs_its_seconds_and_the_model_runs_that_its_rows_need() -> None:
    book, time = Workbook("here/cpu"), FakeTime()
    assert counted(book, time).run(USERS, CANDIDATES, KEEP) is CANDIDATES
    assert book.totals() == {KEY: Counts(calls=3, items=10, busy_s=2.0, cpu_s=1.0)}


def test_recall_counts_the_whole_index_for_every_row() -> None:
    book, time = Workbook("here/cpu"), FakeTime()
    counted(book, time, max_rows=64).run(USERS, None, KEEP)
    assert book.totals()[KEY] == Counts(calls=1, items=500, busy_s=2.0, cpu_s=1.0)


def test_all_threads_of_a_run_keep_processors_busy() -> None:
    book, time = Workbook("here/cpu"), FakeTime()
    counted(book, time, threads=4).run(USERS, CANDIDATES, KEEP)
    assert (book.totals()[KEY].busy_s, book.totals()[KEY].cpu_s) == (2.0, 4.0)


def test_a_run_that_fails_has_burned_its_joules_too() -> None:
    book, time = Workbook("here/cpu"), FakeTime()
    with pytest.raises(ValueError, match="broke"):
        counted(book, time, fails=True).run(USERS, CANDIDATES, KEEP)
    assert book.totals()[KEY].items == 10


def test_threads_side_by_side_lose_nothing() -> None:
    book = Workbook("here/cpu")
    with ThreadPoolExecutor(8) as threads:
        for done in [
            threads.submit(lambda: [book.ran("s", "v", 1, 2, 0.5, 0.25) for _ in range(500)]) for _ in range(8)
        ]:
            done.result()
    assert book.totals() == {("s", "v", "here/cpu"): Counts(4000, 8000, 2000.0, 1000.0)}


def test_a_window_s_work_is_what_was_added_and_nothing_that_stood_still() -> None:
    before = {KEY: Counts(1, 10, 1.0), ("rank", "mlp", "here/cpu"): Counts(2, 20, 2.0)}
    now = {**before, KEY: Counts(4, 30, 1.5)}
    assert work_since(now, before) == {KEY: Counts(3, 20, 0.5)}
    assert as_work(now)[0] == Work("rank", "din", "here/cpu", 4, 30, 1.5)
