"""Recommender: from a checked HTTP request to the response's content. The same object serves with and without Ray."""

import asyncio
import itertools
import uuid
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from allocator.chains import ActionChain, ChainSpace
from cluster.cascade import CascadeExecutor
from cluster.config import BatchSettings
from cluster.microbatch import MicroBatcher
from cluster.schemas import RecommendRequest
from models.errors import FixRequest, TryAgain
from models.features import UserQuery
from models.loading import Cascade

Payload = dict[str, Any]
Probe = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Call:
    """A request, checked: who asks, for how many items, under which chain."""

    query: UserQuery
    k: int
    chain: ActionChain


@dataclass(frozen=True, slots=True)
class Answer:
    """Item ids and scores, best first."""

    item_ids: list[int | str]
    scores: list[float]


class Recommender:
    """Answers requests of one cascade.

    probes      one per variant, by `stage/variant`; raises when that variant cannot answer
    own_stages  stages with a deployment of their own: as many more micro-batches can usefully be under way
    """

    def __init__(
        self,
        cascade: Cascade,
        executor: CascadeExecutor,
        batch: BatchSettings,
        probes: dict[str, Probe],
        own_stages: int = 0,
    ) -> None:
        self.cascade = cascade
        self.space = ChainSpace(cascade.spec, len(cascade.items))
        self._executor, self._probes = executor, probes
        self._chains = {chain.index: _chain_payload(chain) for chain in self.space}
        self._batcher = MicroBatcher[Call, Answer](
            self._work, max_rows=batch.max_rows, wait_s=batch.wait_ms / 1e3, in_flight=batch.in_flight or own_stages + 1
        )

    async def recommend(self, request: RecommendRequest) -> Payload:
        """The response's content, as `cluster.schemas.RecommendResponse`. Raises FixRequest naming the field."""
        call = self._check(request)
        answer = await self._batcher.submit(call)
        return {
            "request_id": uuid.uuid4().hex if request.request_id is None else request.request_id,
            "items": [
                {"item_id": item_id, "score": score}
                for item_id, score in zip(answer.item_ids, answer.scores, strict=True)
            ],
            "chain": self._chains[call.chain.index],
            "predicted_reward": None,
            "cost": _cost_payload(call.chain),
            "policy_version": None,
            "degraded": False,
        }

    def chains(self) -> Payload:
        """All chains with their costs, as `cluster.schemas.ChainsResponse`."""
        listing = [
            {**self._chains[chain.index], "cost": _cost_payload(chain), "static": chain is self.space.static}
            for chain in self.space
        ]
        return {"cascade": self.cascade.spec.name, "k": self.cascade.spec.k, "chains": listing}

    async def health(self) -> Payload:
        """Whether every stage can answer, as `cluster.schemas.HealthResponse`.

        A stage can answer when one of its variants can, so a lost variant is named without making all unhealthy.
        """
        names = list(self._probes)
        results = await asyncio.gather(*(self._probes[name]() for name in names), return_exceptions=True)
        state = {
            name: "ok" if result is None else f"{type(result).__name__}: {result}".splitlines()[0]
            for name, result in zip(names, results, strict=True)
        }
        answering = {name.split("/")[0] for name, text in state.items() if text == "ok"}
        healthy = all(stage.name in answering for stage in self.cascade.spec.stages)
        return {"healthy": healthy, "cascade": self.cascade.spec.name, "variants": state}

    def _check(self, request: RecommendRequest) -> Call:
        most = self.cascade.spec.k
        k = most if request.k is None else request.k
        if not 1 <= k <= most:
            raise FixRequest("k", f"must be from 1 to {most}")
        chain = self.space.static
        if request.chain is not None:
            named = self.space.get(request.chain)
            if named is None:
                raise FixRequest("chain", f"unknown chain: {self.space.problem(request.chain)}")
            chain = named
        query = UserQuery(request.user_id, request.context, request.history)
        self.cascade.users.check_query(query)
        return Call(query, k, chain)

    async def _work(self, calls: Sequence[Call]) -> Sequence[Answer | Exception]:
        """All calls in one micro-batch; when a variant is lost, chain by chain, so that only its own chains fail."""
        try:
            return await self._answers(calls)
        except TryAgain as error:
            by_chain: dict[int, list[int]] = defaultdict(list)
            for at, call in enumerate(calls):
                by_chain[call.chain.index].append(at)
            if len(by_chain) == 1:
                raise
            results: list[Answer | Exception] = [error] * len(calls)
            await asyncio.gather(*(self._retry(calls, members, results) for members in by_chain.values()))
            return results

    async def _retry(self, calls: Sequence[Call], members: list[int], results: list[Answer | Exception]) -> None:
        try:
            answers = await self._answers([calls[at] for at in members])
        except TryAgain as error:
            answers = [error] * len(members)
        for at, answer in zip(members, answers, strict=True):
            results[at] = answer

    async def _answers(self, calls: Sequence[Call]) -> Sequence[Answer | Exception]:
        users = self.cascade.users.rows([call.query for call in calls])
        k = np.array([call.k for call in calls], dtype=np.int64)
        found = await self._executor.run(users, [call.chain for call in calls], k)
        assert found.scores is not None
        ids, scores, offsets = (
            self.cascade.items.ids.ids(found.items),
            found.scores.tolist(),
            found.offsets.tolist(),
        )
        return [Answer(ids[start:end], scores[start:end]) for start, end in itertools.pairwise(offsets)]


def _chain_payload(chain: ActionChain) -> Payload:
    stages = [{"stage": a.stage, "variant": a.variant, "items": a.items} for a in chain.actions]
    return {"id": chain.id, "stages": stages}


def _cost_payload(chain: ActionChain) -> Payload:
    return {"flops": chain.flops, "energy_j": None, "co2e_g": None, "quality": None}
