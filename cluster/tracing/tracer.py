"""Runs one request for itself, stage by stage, and says why it got its chain. No Ray here."""

import asyncio
import logging
import time
from dataclasses import dataclass

from allocator.chains import ActionChain, ChainSpace
from allocator.energy.windows import Name
from allocator.request_joules import Rates, RequestJoules
from cluster.answering import max_rows_of
from cluster.answers import Call, Payload, chain_payload, cost_payload
from cluster.cascade import CascadeExecutor, StageRun
from cluster.deciding import Allocation, Explained
from cluster.fallback import Fallback, uses_none
from cluster.tracing.chains import chains_payload, prices_payload
from models.batch import UserRows
from models.errors import Lost, OutOfTime, Overloaded
from models.loading import Cascade

BEST = 5
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of it; `degraded` where it could not run the chain that it was to."""

    chain: ActionChain
    stages: list[StageRun]
    degraded: bool


class Tracer:
    """Used from one event loop; one request at a time, for it takes the time of many.

    fallback    finds the nearest chain where one cannot be run
    allocation  what decides; None where nobody does
    """

    def __init__(
        self,
        cascade: Cascade,
        space: ChainSpace,
        executor: CascadeExecutor,
        fallback: Fallback,
        allocation: Allocation | None,
    ) -> None:
        self._cascade, self._space, self._executor = cascade, space, executor
        self._fallback, self._allocation = fallback, allocation
        self._joules = RequestJoules(space, max_rows_of(cascade.spec))
        self._busy = False

    async def traced(self, call: Call) -> Payload:
        """As `cluster.tracing.schemas.TraceResponse`. Raises Overloaded while another one is under way."""
        if self._busy:
            raise Overloaded("another request is being traced")
        self._busy = True
        try:
            async with asyncio.timeout_at(call.deadline_s if call.deadline_s < float("inf") else None):
                return await self._traced(call)
        except TimeoutError:
            raise OutOfTime("no answer within timeout_ms") from None
        finally:
            self._busy = False

    async def _traced(self, call: Call) -> Payload:
        start_s = time.perf_counter()
        users = self._cascade.users.rows([call.query])
        explained = await self._explained(users)
        ran = await self._ran(users, call, self._chain(call, explained), undecided=explained is None)
        return {
            "user_id": call.query.user_id,
            "user_known": self._cascade.users.knows(call.query.user_id),
            "request_id": call.request_id,
            "policy_version": None if explained is None else explained.policy.version,
            "degraded": ran.degraded,
            "took_ms": 1e3 * (time.perf_counter() - start_s),
            "chain": chain_payload(ran.chain),
            **self._weighed(explained, ran.chain),
            "stages": self._stages(ran),
            "items": self._items(ran.stages[-1], most=None),
        }

    async def _explained(self, users: UserRows) -> Explained | None:
        """None where nobody decides, or nobody can now."""
        if self._allocation is None or self._allocation.decider is None:
            return None
        try:
            return await self._allocation.decider.explain(users)
        except Exception as error:  # whatever goes wrong with the allocator, the request can still be run
            logger.debug("a traced request takes the safe chain: %s: %s", type(error).__name__, error)
            return None

    def _chain(self, call: Call, explained: Explained | None) -> ActionChain:
        if call.chain is not None:
            return call.chain
        if explained is not None:
            return self._space.chains[explained.chain]
        assert self._allocation is not None, "without an allocator every call has its chain"
        return self._allocation.safe_now(self._space)

    async def _ran(self, users: UserRows, call: Call, wanted: ActionChain, undecided: bool) -> Ran:
        """Under the wanted chain, or while its variants turn out to be lost the nearest without them."""
        lost, chain = frozenset[Name](), wanted
        while True:
            try:
                stages = await self._executor.one_by_one(users, chain, call.k)
            except Lost as error:
                lost |= {(error.stage, error.variant)}
                available = None if self._allocation is None else self._allocation.available
                instead = self._fallback.instead(wanted, lost, available)
                if call.named or instead is None or not uses_none(instead, lost):
                    raise
                chain = instead
            else:
                return Ran(chain, stages, chain is not wanted or (undecided and call.chain is None))

    def _weighed(self, explained: Explained | None, chain: ActionChain) -> Payload:
        """What the chain costs and is worth, and all the others beside it."""
        rates = self._rates
        each_j = None if rates is None else self._joules.alone(rates)
        cost = cost_payload(chain, None if each_j is None else float(each_j[chain.index]), rates)
        found: Payload = {"cost": cost, "predicted_reward": None, "net": None}
        if explained is None:
            return found | {"prices": [], "chains": [], "chains_in_all": len(self._space)}
        reward = float(explained.rewards[chain.index])
        return found | {
            "predicted_reward": reward,
            "net": reward - float(explained.priced[chain.index]),
            "prices": prices_payload(explained),
            "chains": chains_payload(self._space, explained, chain, each_j, rates),
            "chains_in_all": len(self._space),
        }

    def _stages(self, ran: Ran) -> list[Payload]:
        rates = self._rates
        joules = None if rates is None else self._joules.by_stage(rates)[ran.chain.index].tolist()
        return [
            {
                "stage": stage.action.stage,
                "variant": stage.action.variant,
                "items_in": stage.items_in,
                "items_out": len(stage.found.items),
                "energy_j": None if joules is None else joules[at],
                "took_ms": None if stage.took_s is None else 1e3 * stage.took_s,
                "best": self._items(stage, most=BEST),
            }
            for at, stage in enumerate(ran.stages)
        ]

    def _items(self, stage: StageRun, most: int | None) -> list[Payload]:
        scores = stage.found.scores
        assert scores is not None, "recall scores what it finds"
        ids = self._cascade.items.ids.ids(stage.found.items[:most])
        return [
            {"item_id": item_id, "score": score} for item_id, score in zip(ids, scores[:most].tolist(), strict=True)
        ]

    @property
    def _rates(self) -> Rates | None:
        snapshot = None if self._allocation is None else self._allocation.follower.snapshot
        return None if snapshot is None else snapshot.rates
