"""One micro-batch through the stages, over a protocol. No Ray here, so all of it is tested without Ray."""

import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from allocator.chains import Action, ActionChain
from cluster.latency import Part, Spans
from models.batch import IntArray, RaggedBatch, UserRows, join
from models.errors import Late, TryAgain
from models.loading import Variant

Name = tuple[str, str | None]
"""A stage and the variant in use; None where the stage is skipped."""


class StageRunner(Protocol):
    """Runs one variant, wherever it is placed. Idempotent: a call may be repeated."""

    async def run(self, users: UserRows, candidates: RaggedBatch | None, keep: IntArray) -> RaggedBatch:
        """As `models.loading.Variant.run`. Raises TryAgain when the replica went away before it answered,
        and Late when it did not answer in time."""
        ...


class InlineRunner:
    """A variant inside this process. The run goes to a thread: ONNX Runtime and numpy let go of the GIL.

    run_here  the same in the calling thread, and without `await`
    """

    def __init__(self, variant: Variant, threads: Executor) -> None:
        self.run_here = variant.run
        self.threads = threads

    async def run(self, users: UserRows, candidates: RaggedBatch | None, keep: IntArray) -> RaggedBatch:
        """As `StageRunner.run`; never raises TryAgain."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self.threads, self.run_here, users, candidates, keep)


@dataclass(frozen=True, slots=True)
class _Stage:
    """What one stage does with a micro-batch: the rows of each variant in use, and how many items each row keeps."""

    groups: Mapping[Name, IntArray]
    keep: IntArray

    def joined(self, parts: Sequence[RaggedBatch]) -> RaggedBatch:
        return join(list(zip(self.groups.values(), parts, strict=True)), len(self.keep))


@dataclass(frozen=True, slots=True, eq=False)
class StageRun:
    """What one stage did for one request.

    items_in  items that it was handed; of recall, those of the index
    found     what it hands on
    took_s    None for a stage that is skipped
    """

    action: Action
    items_in: int
    found: RaggedBatch
    took_s: float | None


class CascadeExecutor:
    """Takes micro-batches through the stages.

    runners  by stage and variant name
    clock    in seconds; threads may read it
    """

    def __init__(
        self, runners: Mapping[tuple[str, str], StageRunner], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._runners, self._clock = runners, clock

    async def run(
        self, users: UserRows, chains: Sequence[ActionChain], k: IntArray, spans: Spans | None = None
    ) -> RaggedBatch:
        """The best k[i] items for each row i under chains[i], best first.

        Each stage is called once per variant in use, those calls at the same time. Neighbouring stages that run in
        this process altogether are one trip to a thread, one call after the other. Raises TryAgain when a stage call
        was lost twice, or was late.

        spans  gets what every call took
        """
        spans = Spans() if spans is None else spans
        current: RaggedBatch | None = None
        for threads, stages in itertools.groupby(_stages(chains, k), self._threads):
            if threads is None:
                for stage in stages:
                    current = await self._anywhere(stage, users, current, spans)
            else:
                loop = asyncio.get_running_loop()
                current = await loop.run_in_executor(threads, self._here, list(stages), users, current, spans)
        assert current is not None
        return current

    async def one_by_one(self, users: UserRows, chain: ActionChain, k: int) -> list[StageRun]:
        """The same for a single request, and what every stage did; each is a trip of its own. Raises as `run`."""
        runs: list[StageRun] = []
        current: RaggedBatch | None = None
        for stage, action in zip(_stages([chain], np.array([k], np.int64)), chain.actions, strict=True):
            handed = action.items if current is None else len(current.items)
            spans = Spans()
            current = await self._anywhere(stage, users, current, spans)
            runs.append(StageRun(action, handed, current, None if action.variant is None else spans.path_s))
        return runs

    def _threads(self, stage: _Stage) -> Executor | None:
        """Where the whole stage can run in this process; None when some of it is elsewhere."""
        runners = [self._runners[name, variant] for name, variant in stage.groups if variant is not None]
        inline = [runner.threads for runner in runners if isinstance(runner, InlineRunner)]
        return inline[0] if inline and len(inline) == len(runners) else None

    def _here(
        self, stages: Sequence[_Stage], users: UserRows, current: RaggedBatch | None, spans: Spans
    ) -> RaggedBatch | None:
        for stage in stages:
            parts = []
            for name, rows in stage.groups.items():
                runner = self._runner(name)
                some, candidates = _cut(users, current, rows)
                if runner is None:
                    parts.append(_passed(candidates))
                else:
                    assert isinstance(runner, InlineRunner)
                    start_s = self._clock()
                    parts.append(runner.run_here(some, candidates, stage.keep[rows]))
                    spans.ran(_part(name, some, candidates, self._clock() - start_s))
            current = stage.joined(parts)
        return current

    async def _anywhere(self, stage: _Stage, users: UserRows, current: RaggedBatch | None, spans: Spans) -> RaggedBatch:
        together = Spans()
        calls = [
            self._group(name, *_cut(users, current, rows), stage.keep[rows], together)
            for name, rows in stage.groups.items()
        ]
        found = await asyncio.gather(*calls)
        spans.ran_together(together)
        return stage.joined(found)

    async def _group(
        self, name: Name, users: UserRows, candidates: RaggedBatch | None, keep: IntArray, spans: Spans
    ) -> RaggedBatch:
        runner = self._runner(name)
        if runner is None:
            return _passed(candidates)
        start_s = self._clock()
        try:
            found = await runner.run(users, candidates, keep)
        except Late:
            raise
        except TryAgain:
            found = await runner.run(users, candidates, keep)
        spans.ran(_part(name, users, candidates, self._clock() - start_s))
        return found

    def _runner(self, name: Name) -> StageRunner | None:
        """None for a stage that is skipped."""
        stage, variant = name
        return None if variant is None else self._runners[stage, variant]


def _cut(users: UserRows, current: RaggedBatch | None, rows: IntArray) -> tuple[UserRows, RaggedBatch | None]:
    """The given rows. They hold as many items as their variant infers: no stage hands on more."""
    if len(rows) == len(users):
        return users, current
    return users.take(rows), None if current is None else current.take(rows)


def _part(name: Name, users: UserRows, candidates: RaggedBatch | None, took_s: float) -> Part:
    stage, variant = name
    assert variant is not None
    return Part((stage, variant), len(users), None if candidates is None else len(candidates.items), took_s)


def _passed(candidates: RaggedBatch | None) -> RaggedBatch:
    assert candidates is not None, "recall cannot be skipped"
    return candidates


def _stages(chains: Sequence[ActionChain], k: IntArray) -> list[_Stage]:
    items = np.array([[action.items for action in chain.actions] for chain in chains], dtype=np.int64)
    keep = _handed_on(items, k)
    return [_Stage(groups, keep[:, at]) for at, groups in enumerate(_groups(chains))]


def _handed_on(items: IntArray, k: IntArray) -> IntArray:
    """How many items each stage hands on, (rows, stages): as many as the next stage that is not skipped infers."""
    keep = np.empty_like(items)
    following = k
    for at in range(items.shape[1] - 1, -1, -1):
        keep[:, at] = following
        following = np.where(items[:, at] > 0, items[:, at], following)
    return keep


def _groups(chains: Sequence[ActionChain]) -> list[dict[Name, IntArray]]:
    """Per stage: the rows of each variant in use. Rows of one group ascend."""
    stages: list[dict[Name, IntArray]] = []
    for at in range(len(chains[0].actions)):
        rows: dict[tuple[str, str | None], list[int]] = defaultdict(list)
        for row, chain in enumerate(chains):
            rows[chain.actions[at].stage, chain.actions[at].variant].append(row)
        stages.append({name: np.array(members, dtype=np.int64) for name, members in rows.items()})
    return stages
