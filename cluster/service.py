"""Recommender: from a checked HTTP request to the response's content. The same object serves with and without Ray."""

import asyncio
import itertools
import logging
import time
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from math import inf

import numpy as np

from allocator.arms import ARMS
from allocator.chains import ChainSpace
from allocator.choice import Mask
from allocator.energy.windows import Name
from allocator.request_joules import RequestJoules
from cluster.answers import Answer, Call, Given, Payload, chain_payload, cost_payload
from cluster.cascade import CascadeExecutor
from cluster.config import BatchSettings
from cluster.deciding import Allocation
from cluster.fallback import Fallback, uses_none
from cluster.latency import Latency, Spans, TimeLeft
from cluster.microbatch import MicroBatcher
from cluster.outcomes.recorder import Joules, Recorder
from cluster.schemas import RecommendRequest
from cluster.standing import policy_payload
from models.batch import IntArray, UserRows
from models.errors import FixRequest, Lost, OutOfTime, Overloaded, TryAgain
from models.features import UserQuery
from models.loading import Cascade
from models.spec import CascadeSpec

Probe = Callable[[], Awaitable[str]]
OK, COLD = "ok", "cold"
logger = logging.getLogger(__name__)


Done = Answer | Exception
UNDECIDED, TOO_LATE, QUEUE_FULL, OUT_OF_TIME = "undecided", "too_late_for_any_chain", "queue_full", "out_of_time"
VARIANT_LOST, NO_VARIANT = "variant_lost", "no_variant"
"""Why requests are answered less well than decided (undecided, too late, variant lost), or not at all."""


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
        self._executor, self._probes, self._allocation = executor, probes, allocation
        self._decider = None if allocation is None else allocation.decider
        self._experiment = None if allocation is None else allocation.experiment
        self._undecided = False
        self._joules = RequestJoules(self.space, _max_rows(cascade.spec))
        self._chains = {chain.index: chain_payload(chain) for chain in self.space}
        self._fallback = Fallback(self.space)
        self._latency = Latency(self.space, time.monotonic)
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
        answer = await self._answered(self._check(request, came_s))
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

    def _check(self, request: RecommendRequest, came_s: float | None) -> Call:
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
            came_s = asyncio.get_running_loop().time() if came_s is None else came_s
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
        given = await self._given(calls, users, left)
        hurried = None if left is None else self._hurried(given, left)
        if hurried is None or hurried.all() or not hurried.any():
            return await self._all(users, given, k, start_s)
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
            return await self._all(users.take(members), [given[at] for at in members], k[members], start_s)
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

    async def _all(self, users: UserRows, given: Sequence[Given], k: IntArray, start_s: float) -> Sequence[Done]:
        """Together. While variants turn out to be lost, requests that name no chain take the nearest without them.

        start_s  when the work on them began
        """
        results: list[Done] = [TryAgain("not answered")] * len(given)
        runs, rows, lost = list(given), np.arange(len(given)), frozenset[Name]()
        while len(rows):
            some = users if len(rows) == len(users) else users.take(rows)
            try:
                done = await self._together(some, [runs[at] for at in rows], k[rows], start_s)
            except Lost as error:
                lost |= {(error.stage, error.variant)}
                for at in rows.tolist():
                    runs[at], results[at] = self._without(given[at], lost), error
                rows = np.array([at for at in rows if uses_none(runs[at].chain, lost)], dtype=np.int64)
            else:
                for at, result in zip(rows.tolist(), done, strict=True):
                    results[at] = result
                break
        self._count(NO_VARIANT, len(given) - len(rows))
        self._count(VARIANT_LOST, sum(runs[at] is not given[at] for at in rows.tolist()))
        return results

    def _without(self, given: Given, lost: frozenset[Name]) -> Given:
        """The same where its chain needs none of the lost variants, or cannot be replaced."""
        if given.call.named or uses_none(given.chain, lost):
            return given
        instead = self._fallback.instead(given.chain, lost, self._available)
        return given if instead is None else Given(given.call, instead, degraded=True)

    @property
    def _available(self) -> Mask | None:
        """(J,) of the newest policy."""
        snapshot = None if self._allocation is None else self._allocation.follower.snapshot
        return None if snapshot is None else snapshot.policy.available

    async def _together(self, users: UserRows, given: Sequence[Given], k: IntArray, start_s: float) -> Sequence[Done]:
        """Together; when a stage call fails twice, chain by chain, so that only its own chains fail. Raises Lost."""
        spans = Spans()
        try:
            answers = await self._answers(users, given, k, spans)
            self._latency.saw(spans, len(given), time.perf_counter() - start_s)
            return answers
        except Lost:
            raise
        except TryAgain as error:
            by_chain: dict[int, list[int]] = defaultdict(list)
            for at, one in enumerate(given):
                by_chain[one.chain.index].append(at)
            if len(by_chain) == 1:
                raise
            results: list[Done] = [error] * len(given)
            groups = [np.array(members, dtype=np.int64) for members in by_chain.values()]
            await asyncio.gather(*(self._retry(users, given, k, members, results) for members in groups))
            return results

    async def _given(self, calls: Sequence[Call], users: UserRows, left: TimeLeft | None) -> list[Given]:
        """The chain of each call: its own, the static one where it is held back, or what one decision gives all the
        rest together."""
        static = self._static_in_time(left, len(calls))
        given = [self._without_deciding(call, in_time) for call, in_time in zip(calls, static, strict=True)]
        rows = np.array([at for at, one in enumerate(given) if one is None], dtype=np.int64)
        if 0 < len(rows) < len(calls):
            users, left = users.take(rows), None if left is None else left.take(rows)
        undecided = [calls[at] for at in rows.tolist()]
        decided = iter(await self._decided(undecided, users, left) if undecided else ())
        return [next(decided) if one is None else one for one in given]

    def _without_deciding(self, call: Call, static_in_time: bool) -> Given | None:
        if call.chain is not None:
            return Given(call, call.chain)
        return Given(call, self.space.static) if call.held_back and static_in_time else None

    def _static_in_time(self, left: TimeLeft | None, calls: int) -> list[bool]:
        if left is None:
            return [True] * calls
        in_time: list[bool] = (left.chains_s[self.space.static.index] <= left.left_s).tolist()
        return in_time

    async def _decided(self, calls: Sequence[Call], users: UserRows, left: TimeLeft | None) -> list[Given]:
        """One decision for all these; the safe chain, degraded, when there is none to be had.

        Whatever goes wrong with the allocator, a recommendation can still be made.
        """
        assert self._allocation is not None
        assert self._decider is not None
        try:
            decided = await self._decider.decide(users, left)
        except Exception as error:
            self._log(error)
            self._count(UNDECIDED, len(users))
            chain = self._allocation.safe_now(self.space)
            safe = self._fallback.instead(chain, frozenset(), self._available)
            return [Given(call, safe or chain, degraded=True) for call in calls]
        self._log(None)
        if self.recorder is not None and self._allocation.follower.snapshot is not None:
            self.recorder.know(self._allocation.follower.snapshot)  # by the answer, another one may be the newest
        late = [False] * len(users) if decided.in_time is None else (~decided.in_time).tolist()
        self._count(TOO_LATE, sum(late))
        columns = decided.chains.tolist(), decided.rewards.tolist(), late, decided.propensities.tolist()
        chains, version = self.space.chains, decided.policy_version
        return [
            Given(call, chains[chain], reward, version, is_late, propensity)
            for call, chain, reward, is_late, propensity in zip(calls, *columns, strict=True)
        ]

    def _log(self, error: Exception | None) -> None:
        """Say once that nobody decides, and once that somebody does again."""
        if error is not None and not self._undecided:
            logger.warning("requests take the safe chain: %s: %s", type(error).__name__, error)
        elif error is None and self._undecided:
            logger.warning("requests are decided again")
        self._undecided = error is not None

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
            answers = await self._answers(users.take(members), [given[at] for at in members], k[members])
        except TryAgain as error:
            answers = [error] * len(members)
        for at, answer in zip(members, answers, strict=True):
            results[at] = answer

    async def _answers(
        self, users: UserRows, given: Sequence[Given], k: IntArray, spans: Spans | None = None
    ) -> Sequence[Done]:
        found = await self._executor.run(users, [one.chain for one in given], k, spans)
        assert found.scores is not None
        joules = self._accounted(users, given, len(found.items))
        each_j, rates = ([None] * len(given), None) if joules is None else (joules.each_j.tolist(), joules.rates)
        ids, scores = self.cascade.items.ids.ids(found.items), found.scores.tolist()
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
        self._allocation.tally.executed(chains, handed)
        snapshot = self._allocation.follower.snapshot
        joules = None
        if snapshot is not None and snapshot.rates is not None:
            static = np.full(len(chains), self.space.static.index)
            static_j = float(self._joules.of(snapshot.rates, static)[0])
            joules = Joules(self._joules.of(snapshot.rates, chains), static_j, snapshot.rates)
        if self.recorder is not None:
            self.recorder.answered(users, given, chains, joules, snapshot)
        return joules


def _max_rows(spec: CascadeSpec) -> dict[tuple[str, str], int]:
    return {(stage.name, variant.name): variant.max_rows for stage in spec.stages for variant in stage.variants}
