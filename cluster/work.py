"""What variants did in one process since it began, and the difference of two such counts."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from threading import Lock

from allocator.joules import Work
from models.batch import IntArray, RaggedBatch, UserRows
from models.loading import Variant

Key = tuple[str, str, str]
"""A stage, a variant, and the pool of devices that it runs on."""


PROCESSORS = "/cpu"


def pool_of(host: str) -> str:
    """The pool of what a host's processors and memory draw."""
    return f"{host}{PROCESSORS}"


def of_processors(pool: str) -> bool:
    """Whether it is such a pool, and no GPU's."""
    return pool.endswith(PROCESSORS)


@dataclass(frozen=True, slots=True)
class Counts:
    """Runs, the items in them, the seconds that they took, and those of processors; cumulative, or of a window."""

    calls: int = 0
    items: int = 0
    busy_s: float = 0.0
    cpu_s: float = 0.0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.calls + other.calls, self.items + other.items, self.busy_s + other.busy_s, self.cpu_s + other.cpu_s
        )

    def since(self, before: "Counts") -> "Counts":
        """What was added; never negative."""
        return Counts(
            max(0, self.calls - before.calls),
            max(0, self.items - before.items),
            max(0.0, self.busy_s - before.busy_s),
            max(0.0, self.cpu_s - before.cpu_s),
        )


WorkCounts = Mapping[Key, Counts]
NO_WORK: WorkCounts = {}


def work_since(now: WorkCounts, before: WorkCounts) -> dict[Key, Counts]:
    """What was added, of all that did anything."""
    added = {key: counts.since(before.get(key, Counts())) for key, counts in now.items()}
    return {key: counts for key, counts in added.items() if counts != Counts()}


def work_sum(one: WorkCounts, other: WorkCounts) -> dict[Key, Counts]:
    """Both together. It takes time in proportion to the `other`: one replica's, beside those of all."""
    total = dict(one)
    for key, counts in other.items():
        known = total.get(key)
        total[key] = counts if known is None else known + counts
    return total


def as_work(counts: WorkCounts) -> tuple[Work, ...]:
    """The same as the energy model takes it, in a fixed order."""
    return tuple(Work(*key, c.calls, c.items, c.busy_s, c.cpu_s) for key, c in sorted(counts.items()))


class Workbook:
    """Cumulative counters of one process, all of its variants on one pool. Threads may write side by side."""

    def __init__(self, pool: str) -> None:
        self.pool = pool
        self._counts: dict[Key, Counts] = {}
        self._lock = Lock()

    def ran(self, stage: str, variant: str, calls: int, items: int, busy_s: float = 0.0, cpu_s: float = 0.0) -> None:
        """A variant ran that often, on that many items."""
        key = (stage, variant, self.pool)
        with self._lock:
            self._counts[key] = self._counts.get(key, Counts()) + Counts(calls, items, busy_s, cpu_s)

    def totals(self) -> dict[Key, Counts]:
        """All that was counted."""
        with self._lock:
            return dict(self._counts)


class CountedVariant:
    """A variant whose runs are written into a workbook.

    run_items  items of a row where the caller hands over no candidates: as many of recall's index as are looked at
    max_rows   most rows of one model run; more are that many runs
    threads    that share a run; each is taken to work as long as the one that asks
    cpu        processor seconds of the thread that asks
    """

    def __init__(
        self,
        variant: Variant,
        name: tuple[str, str],
        book: Workbook,
        run_items: int,
        max_rows: int,
        threads: int = 1,
        clock: Callable[[], float] = time.perf_counter,
        cpu: Callable[[], float] = time.thread_time,
    ) -> None:
        self._variant, self._name, self._book, self._clock, self._cpu = variant, name, book, clock, cpu
        self._run_items, self._max_rows, self._threads = run_items, max_rows, threads

    def run(self, users: UserRows, candidates: RaggedBatch | None, keep: IntArray) -> RaggedBatch:
        """As `models.loading.Variant.run`. A run that fails counts too: it has burned its joules."""
        start_s, cpu_s = self._clock(), self._cpu()
        try:
            return self._variant.run(users, candidates, keep)
        finally:
            items = self._run_items * len(users) if candidates is None else len(candidates.items)
            took_s, cpu_s = self._clock() - start_s, self._threads * (self._cpu() - cpu_s)
            self._book.ran(*self._name, -(-len(users) // self._max_rows), items, took_s, cpu_s)
