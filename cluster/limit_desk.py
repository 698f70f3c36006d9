"""Limits as the controller answers for them: the book of what is in force, and how each stands. No Ray here."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from allocator.limits import Limit
from cluster.limits.book import LimitBook
from cluster.limits.schemas import change_payload
from cluster.limits.stated import document
from cluster.snapshot import Standing
from models.errors import FixRequest, NoSuch

Payload = dict[str, Any]
UNSTATED = (
    "this limit is there without anybody stating it, so it cannot be cleared: set a limit of this name in its place, "
    "or start the server with limits.capacity_share (GREENFLOW_LIMITS_CAPACITY_SHARE), where 0 leaves it out"
)


def in_force(stated: Sequence[Limit], unstated: Limit | None) -> Sequence[Limit]:
    """What was stated, and the limit that nobody has to state where none of its name was."""
    if unstated is None or any(limit.name == unstated.name for limit in stated):
        return stated
    return (*stated, unstated)


class LocalLimitDesk:
    """As `cluster.limits.desk.LimitDesk`.

    limits     all in force: those of the book, and what nobody has to state
    standings  those of the newest snapshot
    wall       Unix time
    """

    def __init__(
        self,
        book: LimitBook,
        limits: Callable[[], Sequence[Limit]],
        standings: Callable[[], Sequence[Standing]],
        wall: Callable[[], float],
    ) -> None:
        self._book, self._limits, self._standings, self._wall = book, limits, standings, wall

    async def constraints(self) -> list[Payload]:
        """As `LimitDesk.constraints`."""
        return [self._payload(limit) for limit in self._limits()]

    async def put_limit(self, limit: Limit, author: str) -> Payload:
        """As `LimitDesk.put_limit`."""
        await asyncio.to_thread(self._book.put, limit, author, self._wall())
        return self._payload(limit)

    async def clear_limit(self, name: str, author: str) -> None:
        """As `LimitDesk.clear_limit`; FixRequest for one that is in force although nobody has stated it."""
        try:
            await asyncio.to_thread(self._book.clear, name, author, self._wall())
        except NoSuch:
            if any(limit.name == name for limit in self._limits()):
                raise FixRequest("name", UNSTATED) from None
            raise

    async def limit_changes(self, most: int) -> list[Payload]:
        """As `LimitDesk.limit_changes`."""
        return [change_payload(change) for change in await asyncio.to_thread(self._book.changes, most)]

    def _payload(self, limit: Limit) -> Payload:
        """A limit that has just been set has no standing yet; neither has one whose resource nobody can tell of."""
        stated = {"name": limit.name, **document(limit)}
        for one in self._standings():
            if (one.name, one.kind, one.unit, one.limit) == (limit.name, limit.kind.value, limit.unit, limit.limit):
                return {**stated, "spend": one.spend, "price": one.price, "reachable": one.reachable}
        return {**stated, "spend": None, "price": None, "reachable": None}
