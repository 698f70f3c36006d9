"""One micro-batch through the stages, over a protocol. No Ray here, so all of it is tested without Ray."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import Protocol

import numpy as np

from allocator.chains import ActionChain
from models.batch import IntArray, RaggedBatch, UserRows, join
from models.errors import Late, TryAgain
from models.loading import Variant


class StageRunner(Protocol):
    """Runs one variant, wherever it is placed. Idempotent: a call may be repeated."""

    async def run(self, users: UserRows, candidates: RaggedBatch | None, keep: IntArray) -> RaggedBatch:
        """As `models.loading.Variant.run`. Raises TryAgain when the replica went away before it answered,
        and Late when it did not answer in time."""
        ...


class InlineRunner:
    """A variant inside this process. The run goes to a thread: ONNX Runtime and numpy let go of the GIL."""

    def __init__(self, variant: Variant, threads: Executor) -> None:
        self._variant, self._threads = variant, threads

    async def run(self, users: UserRows, candidates: RaggedBatch | None, keep: IntArray) -> RaggedBatch:
        """As `StageRunner.run`; never raises TryAgain."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._variant.run, users, candidates, keep)


class CascadeExecutor:
    """Takes micro-batches through the stages.

    runners  by stage and variant name
    """

    def __init__(self, runners: Mapping[tuple[str, str], StageRunner]) -> None:
        self._runners = runners

    async def run(self, users: UserRows, chains: Sequence[ActionChain], k: IntArray) -> RaggedBatch:
        """The best k[i] items for each row i under chains[i], best first.

        Each stage is called once per variant in use, those calls at the same time. Raises TryAgain when a stage call
        was lost twice, or was late.
        """
        items = np.array([[action.items for action in chain.actions] for chain in chains], dtype=np.int64)
        handed_on = _handed_on(items, k)
        current: RaggedBatch | None = None
        for at, groups in enumerate(_groups(chains)):
            keep = handed_on[:, at]
            parts = await asyncio.gather(
                *(self._group(name, users, current, rows, keep) for name, rows in groups.items())
            )
            current = join(list(zip(groups.values(), parts, strict=True)), len(users))
        assert current is not None
        return current

    async def _group(
        self, name: tuple[str, str | None], users: UserRows, current: RaggedBatch | None, rows: IntArray, keep: IntArray
    ) -> RaggedBatch:
        """The given rows through one variant. They hold as many items as it infers: no stage hands on more."""
        stage, variant = name
        if variant is None:
            assert current is not None, "recall cannot be skipped"
            return current.take(rows)
        if len(rows) < len(users):
            users, current = users.take(rows), None if current is None else current.take(rows)
        runner = self._runners[stage, variant]
        try:
            return await runner.run(users, current, keep[rows])
        except Late:
            raise
        except TryAgain:
            return await runner.run(users, current, keep[rows])


def _handed_on(items: IntArray, k: IntArray) -> IntArray:
    """How many items each stage hands on, (rows, stages): as many as the next stage that is not skipped infers."""
    keep = np.empty_like(items)
    following = k
    for at in range(items.shape[1] - 1, -1, -1):
        keep[:, at] = following
        following = np.where(items[:, at] > 0, items[:, at], following)
    return keep


def _groups(chains: Sequence[ActionChain]) -> list[dict[tuple[str, str | None], IntArray]]:
    """Per stage: the rows of each variant in use. Rows of one group ascend."""
    stages: list[dict[tuple[str, str | None], IntArray]] = []
    for at in range(len(chains[0].actions)):
        rows: dict[tuple[str, str | None], list[int]] = defaultdict(list)
        for row, chain in enumerate(chains):
            rows[chain.actions[at].stage, chain.actions[at].variant].append(row)
        stages.append({name: np.array(members, dtype=np.int64) for name, members in rows.items()})
    return stages
