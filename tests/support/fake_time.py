"""A clock and a sleep that pass only when a test says so."""

import asyncio
import heapq
import itertools


class FakeTime:
    """Call it for the time in seconds; tasks that sleep on it wake in their order as `advance` passes."""

    def __init__(self, now_s: float = 0.0) -> None:
        self.now_s = now_s
        self._order = itertools.count()
        self._sleeping: list[tuple[float, int, asyncio.Future[None]]] = []

    def __call__(self) -> float:
        return self.now_s

    async def sleep(self, seconds: float) -> None:
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleeping, (self.now_s + seconds, next(self._order), future))
        await future

    async def advance(self, seconds: float) -> None:
        """Let so much time pass, and everything happen that is due by then."""
        until_s = self.now_s + seconds
        await self._settle()
        while self._sleeping and self._sleeping[0][0] <= until_s:
            self.now_s, _, future = heapq.heappop(self._sleeping)
            if not future.done():
                future.set_result(None)
            await self._settle()
        self.now_s = until_s

    async def _settle(self) -> None:
        for _ in range(10):
            await asyncio.sleep(0)
