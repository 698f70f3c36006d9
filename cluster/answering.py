"""Runs the requests of a micro-batch under the chains they were given; has them counted and remembered. No Ray here.

Whatever breaks meanwhile takes down as few of them as can be.
"""

import asyncio
import itertools
import time
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from allocator.chains import ChainSpace
from allocator.energy.windows import Name
from allocator.request_joules import RequestJoules
from cluster.answers import Answer, Done, Given
from cluster.cascade import CascadeExecutor
from cluster.deciding import Allocation
from cluster.fallback import Fallback, uses_none
from cluster.latency import Latency, Spans
from cluster.outcomes.recorder import Joules
from models.batch import IntArray, UserRows
from models.errors import Lost, TryAgain
from models.loading import Cascade
from models.spec import CascadeSpec

VARIANT_LOST, NO_VARIANT = "variant_lost", "no_variant"
"""Why requests are answered less well than decided, or not at all."""


class Answerer:
    """Used from one event loop.

    fallback    finds the nearest chain where one cannot be run
    latency     is told what everything took
    allocation  what counts and remembers; None where nobody does
    """

    def __init__(
        self,
        cascade: Cascade,
        space: ChainSpace,
        executor: CascadeExecutor,
        fallback: Fallback,
        latency: Latency,
        allocation: Allocation | None,
    ) -> None:
        self._cascade, self._space, self._executor = cascade, space, executor
        self._fallback, self._latency, self._allocation = fallback, latency, allocation
        self._joules = RequestJoules(space, max_rows_of(cascade.spec))

    async def answers(self, users: UserRows, given: Sequence[Given], k: IntArray, start_s: float) -> Sequence[Done]:
        """Together. While variants turn out to be lost, requests that name no chain take the nearest without them.

        start_s  when the work on them began
        """
        results: list[Done] = [TryAgain("not answered")] * len(given)
        runs, rows, lost = list(given), np.arange(len(given)), frozenset[Name]()
        while len(rows):
            some = users if len(rows) == len(users) else users.take(rows)
            done = await self._together(some, [runs[at] for at in rows], k[rows], start_s)
            for at, result in zip(rows.tolist(), done, strict=True):
                results[at] = result
            more = {(one.stage, one.variant) for one in done if isinstance(one, Lost)} - lost
            if not more:  # so it ends: every round does without one variant more
                break
            lost |= more
            again = [at for at in rows.tolist() if isinstance(results[at], Lost)]
            for at in again:
                runs[at] = self._without(given[at], lost)
            rows = np.array([at for at in again if uses_none(runs[at].chain, lost)], dtype=np.int64)
        failed = [isinstance(one, Lost) for one in results]
        self._count(NO_VARIANT, sum(failed))
        self._count(VARIANT_LOST, sum(runs[at] is not one and not failed[at] for at, one in enumerate(given)))
        return results

    def _without(self, given: Given, lost: frozenset[Name]) -> Given:
        """The same where its chain needs none of the lost variants, or cannot be replaced."""
        if given.call.named or uses_none(given.chain, lost):
            return given
        available = None if self._allocation is None else self._allocation.available
        instead = self._fallback.instead(given.chain, lost, available)
        return given if instead is None else Given(given.call, instead, degraded=True)

    async def _together(self, users: UserRows, given: Sequence[Given], k: IntArray, start_s: float) -> Sequence[Done]:
        """Together; when a stage call fails twice, chain by chain, so that only its own chains fail."""
        spans = Spans()
        try:
            answers = await self._run(users, given, k, spans)
            self._latency.saw(spans, len(given), time.perf_counter() - start_s)
            return answers
        except Lost as error:
            return [error] * len(given)
        except TryAgain as error:
            by_chain: dict[int, list[int]] = defaultdict(list)
            for at, one in enumerate(given):
                by_chain[one.chain.index].append(at)
            results: list[Done] = [error] * len(given)
            groups = [np.array(members, dtype=np.int64) for members in by_chain.values()]
            if len(groups) == 1:
                return results
            await asyncio.gather(*(self._retry(users, given, k, members, results) for members in groups))
            return results

    async def _retry(
        self,
        users: UserRows,
        given: Sequence[Given],
        k: IntArray,
        members: IntArray,
        results: list[Done],
    ) -> None:
        answers: Sequence[Done]
        try:
            answers = await self._run(users.take(members), [given[at] for at in members], k[members])
        except TryAgain as error:
            answers = [error] * len(members)
        for at, answer in zip(members, answers, strict=True):
            results[at] = answer

    async def _run(
        self, users: UserRows, given: Sequence[Given], k: IntArray, spans: Spans | None = None
    ) -> Sequence[Done]:
        found = await self._executor.run(users, [one.chain for one in given], k, spans)
        assert found.scores is not None
        joules = self._accounted(users, given, len(found.items))
        each_j, rates = ([None] * len(given), None) if joules is None else (joules.each_j.tolist(), joules.rates)
        ids, scores = self._cascade.items.ids.ids(found.items), found.scores.tolist()
        bounds = itertools.pairwise(found.offsets.tolist())
        return [
            Answer(ids[start:end], scores[start:end], one, energy_j, rates)
            for (start, end), one, energy_j in zip(bounds, given, each_j, strict=True)
        ]

    def _accounted(self, users: UserRows, given: Sequence[Given], handed: int) -> Joules | None:
        """Count a micro-batch that was answered, with so many items in all; what it is told that it cost."""
        if self._allocation is None:
            return None
        chains = np.array([one.chain.index for one in given], dtype=np.int64)
        unpriced = [one.chain.index for one in given if one.version is None]
        self._allocation.tally.executed(chains, handed, np.array(unpriced, np.int64) if unpriced else None)
        snapshot = self._allocation.follower.snapshot
        joules = None
        if snapshot is not None and snapshot.rates is not None:
            static_j = self._joules.of_each(snapshot.rates, self._space.static.index, len(chains))
            joules = Joules(self._joules.of(snapshot.rates, chains), static_j, snapshot.rates)
            self._allocation.tally.cost(joules.each_j)
        if self._allocation.recorder is not None:
            self._allocation.recorder.answered(users, given, chains, joules, snapshot)
        return joules

    def _count(self, reason: str, requests: int) -> None:
        if self._allocation is not None and requests:
            self._allocation.tally.degraded(reason, requests)


def max_rows_of(spec: CascadeSpec) -> dict[tuple[str, str], int]:
    """Most rows of one model run, by stage and variant."""
    return {(stage.name, variant.name): variant.max_rows for stage in spec.stages for variant in stage.variants}
