"""The Controller's deployment as its replicas see it: where they report, and whom they ask for people."""

import asyncio
from collections.abc import Awaitable
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ray.exceptions import RayActorError, RayTaskError
from ray.serve.exceptions import RayServeException
from ray.serve.handle import DeploymentHandle

from allocator.limits import Limit
from cluster.accounts import Report
from cluster.live.desk import Look
from cluster.plain_calls import plain
from cluster.snapshot import Answer
from cluster.told_to_end import cancelled_there
from models.errors import GreenFlowError, Late, TryAgain

if TYPE_CHECKING:  # replicas need nothing of what the controller imports
    from cluster.controller import Controller

CALL_S = 10.0
"""What somebody who asks for the account waits at most."""
MODEL_S = 30.0
"""What a reward model may take to come, and to be tried and kept."""
Payload = dict[str, Any]


class RemoteDesk:
    """As `cluster.desk.Desk`, `cluster.bookkeeping.EnergyDesk`, `cluster.limits.desk.LimitDesk`,
    `cluster.promotion.port.PromotionDesk` and `cluster.live.desk.LiveDesk`."""

    def __init__(self, handle: "DeploymentHandle[Controller]", timeout_s: float) -> None:
        self._handle, self._timeout_s = handle, timeout_s

    async def report(self, report: Report) -> Answer:
        """As `Desk.report`."""
        answer: Answer = await self._answered(self._report.remote(report))
        return answer

    @cached_property
    def _report(self) -> "DeploymentHandle[Controller]":
        return plain(self._handle, "report")

    async def power(self) -> Payload:
        """As `EnergyDesk.power`."""
        payload: Payload = await self._answered(self._handle.power.remote())
        return payload

    async def energy(self, windows: int) -> Payload:
        """As `EnergyDesk.energy`."""
        payload: Payload = await self._answered(self._handle.energy.remote(windows))
        return payload

    async def look(self, since_s: float) -> Look:
        """As `LiveDesk.look`. The whole history is large."""
        handle = self._handle if since_s else self._large
        look: Look = await self._answered(handle.look.remote(since_s))
        return look

    async def constraints(self) -> list[Payload]:
        """As `LimitDesk.constraints`."""
        payload: list[Payload] = await self._answered(self._handle.constraints.remote())
        return payload

    async def put_limit(self, limit: Limit, author: str) -> Payload:
        """As `LimitDesk.put_limit`."""
        payload: Payload = await self._answered(self._handle.put_limit.remote(limit, author))
        return payload

    async def clear_limit(self, name: str, author: str) -> None:
        """As `LimitDesk.clear_limit`."""
        await self._answered(self._handle.clear_limit.remote(name, author))

    async def limit_changes(self, most: int) -> list[Payload]:
        """As `LimitDesk.limit_changes`."""
        payload: list[Payload] = await self._answered(self._handle.limit_changes.remote(most))
        return payload

    async def reward_models(self) -> Payload:
        """As `PromotionDesk.reward_models`."""
        payload: Payload = await self._answered(self._handle.reward_models.remote())
        return payload

    async def put_reward_model(self, content: bytes, author: str) -> Payload:
        """As `PromotionDesk.put_reward_model`."""
        response = self._large.put_reward_model.remote(content, author)
        payload: Payload = await self._answered(response, MODEL_S)
        return payload

    async def reward_model_back(self, author: str) -> Payload:
        """As `PromotionDesk.reward_model_back`."""
        payload: Payload = await self._answered(self._handle.reward_model_back.remote(author), MODEL_S)
        return payload

    async def reward_model_content(self, name: str) -> bytes:
        """As `cluster.promotion.adopting.Fetch`."""
        content: bytes = await self._answered(self._large.reward_model_content.remote(name), MODEL_S)
        return content

    @property
    def _large(self) -> "DeploymentHandle[Controller]":
        """For what may be larger than a message between replicas, by default 4 MB: it goes by Ray's own way."""
        return self._handle.options(_by_reference=True)

    async def _answered(self, response: Awaitable[Any], timeout_s: float | None = None) -> Any:
        timeout_s = self._timeout_s if timeout_s is None else timeout_s
        try:
            with cancelled_there("the controller"):
                async with asyncio.timeout(timeout_s):
                    return await response
        except TimeoutError:
            raise Late(f"the controller did not answer in {timeout_s:g} s") from None
        except RayTaskError as error:
            if isinstance(error.cause, GreenFlowError):  # as it was raised there, without the traceback of that process
                raise error.cause from None
            raise
        except (RayActorError, RayServeException) as error:
            raise TryAgain(f"the controller: {type(error).__name__}") from error
