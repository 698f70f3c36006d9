"""Recommender: from a checked HTTP request to the response's content. The same object serves with and without Ray."""

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Sequence
from math import inf

import numpy as np

from allocator.arms import ARMS
from allocator.chains import ChainSpace
from allocator.choice import Mask
from cluster.answering import Answerer
from cluster.answers import Answer, Call, Done, Given, Payload, chain_payload, cost_payload
from cluster.cascade import CascadeExecutor
from cluster.choosing import Chooser
from cluster.config import BatchSettings
from cluster.deciding import Allocation
from cluster.fallback import Fallback
from cluster.latency import Latency, TimeLeft
from cluster.microbatch import MicroBatcher
from cluster.outcomes.recorder import Recorder
from cluster.schemas import RecommendRequest
from cluster.standing import policy_payload
from cluster.tracing.tracer import Tracer
from models.batch import IntArray, UserRows
from models.errors import FixRequest, OutOfTime, Overloaded, TryAgain
from models.features import UserQuery
from models.loading import Cascade

Probe = Callable[[], Awaitable[str]]
OK, COLD = "ok", "cold"
QUEUE_FULL, OUT_OF_TIME = "queue_full", "out_of_time"
"""Why requests are not answered."""
HURRY_BATCHES = 3.0
"""Who has no more time than so many micro-batches usually take is gathered apart from those who have."""


class Recommender:
    """Answers requests of one cascade.

    probes      one per variant, by `stage/variant`: OK, COLD where it has no replica on purpose; raises when it cannot
                answer
    own_stages  stages with a deployment of their own: as many more micro-batches can usefully be under way
    allocation  what gives a chain to requests that name none, and counts; without it they run the static chain
    """

    def __init__(
        self,
        cascade: Cascade,
        executor: CascadeExecutor,
        batch: BatchSettings,
        probes: dict[str, Probe],
        own_stages: int = 0,
        allocation: Allocation | None = None,
    ) -> None:
        self.cascade = cascade
        self.space = ChainSpace(cascade.spec, len(cascade.items))
        self._probes, self._allocation = probes, allocation
        self._decider = None if allocation is None else allocation.decider
        self._experiment = None if allocation is None else allocation.experiment
        self._chains = {chain.index: chain_payload(chain) for chain in self.space}
        fallback = Fallback(self.space)
        self._latency = Latency(self.space, time.monotonic)
        self._chooser = Chooser(self.space, fallback, allocation)
        self._answerer = Answerer(cascade, self.space, executor, fallback, self._latency, allocation)
        self._tracer = Tracer(cascade, self.space, executor, Fallback(self.space), allocation)
        self._timeout_ms = batch.timeout_ms
        self._batcher, self._express = (self._gathering(batch, own_stages + 1) for _ in range(2))

    def _gathering(self, batch: BatchSettings, stages: int) -> MicroBatcher[Call, Answer]:
        return MicroBatcher(
            self._work,
            max_rows=batch.max_rows,
            wait_s=batch.wait_ms / 1e3,
            in_flight=batch.in_flight or stages,
            most_waiting=batch.bound,
        )

    async def recommend(self, request: RecommendRequest, came_s: float | None = None) -> Payload:
        """The response's content, as `cluster.schemas.RecommendResponse`.

        Raises FixRequest naming the field, Overloaded when too many others wait, OutOfTime when its time is over.

        came_s  when the request came, on the event loop's clock; its timeout counts from then. Left out: now
        """
        now_s = asyncio.get_running_loop().time
        came_s = now_s() if came_s is None else came_s
        answer = await self._answered(self._check(request, came_s))
        if self._allocation is not None:
            self._allocation.tally.answered(now_s() - came_s)
        given = answer.given
        return {
            "request_id": given.call.request_id,
            "items": [
                {"item_id": item_id, "score": score}
                for item_id, score in zip(answer.item_ids, answer.scores, strict=True)
            ],
            "chain": self._chains[given.chain.index],
            "predicted_reward": given.reward,
            "cost": cost_payload(given.chain, answer.energy_j, answer.rates),
            "policy_version": given.version,
            "degraded": given.degraded,
            "arm": None if given.call.unit is None else ARMS[given.call.unit.arm],
        }

    async def trace(self, request: RecommendRequest) -> Payload:
        """One request, run for itself and explained, as `cluster.tracing.schemas.TraceResponse`.

        It counts as work and as nothing else. Raises FixRequest naming the field, Overloaded while another one is
        traced, OutOfTime when its time is over.
        """
        return await self._tracer.traced(self._check(request, asyncio.get_running_loop().time()))

    @property
    def recorder(self) -> Recorder | None:
        """What remembers answers and rewards; None where nobody asks for them."""
        return None if self._allocation is None else self._allocation.recorder

    def policy(self) -> Payload | None:
        """The policy that this replica decides by, as `cluster.schemas.PolicyResponse`; None without an allocator.

        Raises TryAgain before the first policy has come.
        """
        if self._decider is None or self._allocation is None:
            return None
        return policy_payload(self._allocation, self.space)

    def chains(self) -> Payload:
        """All chains with their costs, as `cluster.schemas.ChainsResponse`."""
        listing = [
            {**self._chains[chain.index], "cost": cost_payload(chain), "static": chain is self.space.static}
            for chain in self.space
        ]
        return {"cascade": self.cascade.spec.name, "k": self.cascade.spec.k, "chains": listing}

    async def health(self) -> Payload:
        """Whether every stage can answer, as `cluster.schemas.HealthResponse`.

        A stage can answer when one of its variants can, so a lost variant is named without making all unhealthy. One
        that is cold can be made warm.
        """
        names = list(self._probes)
        results = await asyncio.gather(*(self._probes[name]() for name in names), return_exceptions=True)
        state = {
            name: result if isinstance(result, str) else f"{type(result).__name__}: {result}".splitlines()[0]
            for name, result in zip(names, results, strict=True)
        }
        answering = {name.split("/")[0] for name, text in state.items() if text in (OK, COLD)}
        healthy = all(stage.name in answering for stage in self.cascade.spec.stages)
        return {"healthy": healthy, "cascade": self.cascade.spec.name, "variants": state}

    async def _answered(self, call: Call) -> Answer:
        try:
            return await (self._batcher.submit(call) if call.deadline_s == inf else self._by_then(call))
        except Overloaded:
            self._count(QUEUE_FULL, 1)
            raise
        except OutOfTime:
            self._count(OUT_OF_TIME, 1)
            raise

    async def _by_then(self, call: Call) -> Answer:
        """With others in a hurry, where waiting for a usual micro-batch and running in one could take too long."""
        left_s = call.deadline_s - asyncio.get_running_loop().time()
        batcher = self._express if left_s < HURRY_BATCHES * self._batcher.usual_s else self._batcher
        try:
            async with asyncio.timeout_at(call.deadline_s):
                return await batcher.submit(call)
        except TimeoutError:
            raise OutOfTime("no answer within timeout_ms") from None

    def _count(self, reason: str, requests: int) -> None:
        if self._allocation is not None and requests:
            self._allocation.tally.degraded(reason, requests)

    def _check(self, request: RecommendRequest, came_s: float) -> Call:
        most = self.cascade.spec.k
        k = most if request.k is None else request.k
        if not 1 <= k <= most:
            raise FixRequest("k", f"must be from 1 to {most}")
        chain = self.space.static if self._decider is None else None
        if request.chain is not None:
            chain = self.space.get(request.chain)
            if chain is None:
                raise FixRequest("chain", f"unknown chain: {self.space.problem(request.chain)}")
        query = UserQuery(request.user_id, request.context, request.history)
        self.cascade.users.check_query(query)
        timeout_ms = self._timeout_ms if request.timeout_ms is None else request.timeout_ms
        deadline_s = inf
        if timeout_ms is not None:
            deadline_s = came_s + timeout_ms / 1e3
        request_id = uuid.uuid4().hex if request.request_id is None else request.request_id
        named = request.chain is not None
        unit = None if self._experiment is None else self._experiment.of(request.user_id, named)
        return Call(query, k, chain, request_id, unit, named, deadline_s)

    async def _work(self, calls: Sequence[Call], answer: Callable[[int, Done], None]) -> Sequence[Done]:
        """All calls in one micro-batch; those first, by themselves, that would miss their deadlines in it."""
        start_s = time.perf_counter()
        users = self.cascade.users.rows([call.query for call in calls])
        k = np.array([call.k for call in calls], dtype=np.int64)
        left = self._time_left(calls)
        given = await self._chooser.given(calls, users, left)
        hurried = None if left is None else self._hurried(given, left)
        if hurried is None or hurried.all() or not hurried.any():
            return await self._answerer.answers(users, given, k, start_s)
        results: list[Done] = [TryAgain("not answered")] * len(calls)
        for members in (np.flatnonzero(hurried), np.flatnonzero(~hurried)):
            of_them = await self._of_some(users, given, k, members, start_s)
            for at, result in zip(members.tolist(), of_them, strict=True):
                results[at] = result
                answer(at, result)
            start_s = time.perf_counter()
        return results

    async def _of_some(
        self, users: UserRows, given: Sequence[Given], k: IntArray, members: IntArray, start_s: float
    ) -> Sequence[Done]:
        try:
            return await self._answerer.answers(users.take(members), [given[at] for at in members], k[members], start_s)
        except TryAgain as error:
            return [error] * len(members)

    def _time_left(self, calls: Sequence[Call]) -> TimeLeft | None:
        """None when no call has a deadline. Under which chain it would be met is said for all that have one together,
        since they may be answered by themselves."""
        deadlines = np.array([call.deadline_s for call in calls])
        urgent = np.count_nonzero(deadlines < inf)
        if not urgent:
            return None
        return TimeLeft(deadlines - asyncio.get_running_loop().time(), self._latency.chains_s(int(urgent)))

    def _hurried(self, given: Sequence[Given], left: TimeLeft) -> Mask:
        """The calls that would be late in a micro-batch with all the others, (B,)."""
        batch_s = self._latency.batch_s(np.array([one.chain.index for one in given]))
        hurried: Mask = left.left_s < batch_s
        return hurried
