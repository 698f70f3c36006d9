"""The reward model that a replica predicts with, and how it comes by another one. No Ray here."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from allocator.reward import RewardModel
from cluster.promotion.model import is_named
from models.errors import TryAgain

Fetch = Callable[[str], Awaitable[bytes]]
"""The content of the model of that name. Raises TryAgain where nobody has it to give now."""
Load = Callable[[bytes, str], RewardModel]
"""A model of that content and name. Blocks; raises FixFile."""


@dataclass(frozen=True, slots=True, eq=False)
class Loaded:
    """A model that is ready to predict, and what policies call it."""

    name: str
    model: RewardModel


class Models:
    """Used from one event loop.

    now  what predicts; replaced whole, so that whoever has read it decides by one model
    """

    def __init__(self, first: Loaded, fetch: Fetch, load: Load) -> None:
        self.now, self._fetch, self._load = first, fetch, load

    async def loaded(self, name: str) -> Loaded:
        """Another model, loaded in a thread. It does not predict yet. Raises what fetching and loading do."""
        content = await self._fetch(name)
        if not is_named(content, name):
            raise TryAgain(f"what came as {name} is another reward model")
        return Loaded(name, await asyncio.to_thread(self._load, content, name))
