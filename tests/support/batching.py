"""A MicroBatcher of numbers whose work is held back by events, not by sleeping."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

from cluster.microbatch import MicroBatcher

Answer = Callable[[int, int | Exception], None]
PLENTY = 10_000


class Batcher(MicroBatcher[int, int]):
    """One in which nobody finds the queue full, unless it is said."""

    def __init__(
        self,
        work: Callable[[Sequence[int], Answer], Awaitable[Sequence[int | Exception]]],
        *,
        max_rows: int,
        wait_s: float,
        in_flight: int,
        most_waiting: int = PLENTY,
    ) -> None:
        super().__init__(work, max_rows=max_rows, wait_s=wait_s, in_flight=in_flight, most_waiting=most_waiting)


class Work:
    """Doubles numbers, once it is let go; remembers the batches, and how many were under way together."""

    def __init__(self, *, held: bool = False) -> None:
        self.batches: list[list[int]] = []
        self.under_way = self.most_under_way = 0
        self.gate = asyncio.Event()
        if not held:
            self.gate.set()

    async def __call__(self, calls: Sequence[int], _: Answer) -> list[int | Exception]:
        self.batches.append(list(calls))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await self.gate.wait()
            return [ValueError(f"bad {call}") if call < 0 else 2 * call for call in calls]
        finally:
            self.under_way -= 1


def run(main: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await main

    asyncio.run(bounded())


async def settle() -> None:
    """Let everything that can happen now happen."""
    for _ in range(10):
        await asyncio.sleep(0)


def submit_all(batcher: Batcher, calls: Sequence[int]) -> list[asyncio.Task[int]]:
    return [asyncio.ensure_future(batcher.submit(call)) for call in calls]
