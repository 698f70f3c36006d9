"""Who answers for reward models, and who does in the controller's own process. No Ray here."""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from cluster.promotion.desk import ModelDesk
from cluster.promotion.schemas import models_payload

Payload = dict[str, Any]


class PromotionDesk(Protocol):
    """Raises TryAgain, or Late, when nobody can answer now. All answers are as `RewardModelsResponse`."""

    async def reward_models(self) -> Payload:
        """Which one predicts, and which did before."""
        ...

    async def put_reward_model(self, content: bytes, author: str) -> Payload:
        """Let another one predict. Raises FixRequest where it is none of this cascade."""
        ...

    async def reward_model_back(self, author: str) -> Payload:
        """Let the one before predict. Raises NoSuch where there is none."""
        ...


class LocalPromotionDesk:
    """As `PromotionDesk`. `wall` is Unix time."""

    def __init__(self, desk: ModelDesk, wall: Callable[[], float]) -> None:
        self._desk, self._wall = desk, wall

    async def reward_models(self) -> Payload:
        """As `PromotionDesk.reward_models`."""
        return models_payload(self._desk)

    async def put_reward_model(self, content: bytes, author: str) -> Payload:
        """As `PromotionDesk.put_reward_model`."""
        await asyncio.to_thread(self._desk.put, content, author, self._wall())
        return models_payload(self._desk)

    async def reward_model_back(self, author: str) -> Payload:
        """As `PromotionDesk.reward_model_back`."""
        await asyncio.to_thread(self._desk.back, author, self._wall())
        return models_payload(self._desk)
