"""MicroBatcher: concurrent calls, gathered in batches that are worked on a few at a time.

`serve.batch` closes a batch when its wait is over even while all of its batches are busy, so that under load many
small batches queue up; and it makes a lone call wait in full. Here a batch grows for as long as it could not start
anyway, and the wait only counts while there is room.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from models.errors import TryAgain

T = TypeVar("T")
R = TypeVar("R")


class MicroBatcher(Generic[T, R]):
    """Gathers calls of `submit` and hands them to `work` as lists.

    work       takes a list of calls, returns as many results in their order; a result that is an exception is raised
               in its caller, an exception that it raises in all of them
    max_rows   the longest list
    wait_s     longest that a call waits for company while fewer than `in_flight` lists are under way
    in_flight  most lists under way at a time
    """

    def __init__(
        self,
        work: Callable[[Sequence[T]], Awaitable[Sequence[R | Exception]]],
        *,
        max_rows: int,
        wait_s: float,
        in_flight: int,
    ) -> None:
        self._work = work
        self._max_rows, self._wait_s, self._in_flight = max_rows, wait_s, in_flight
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._running: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    async def submit(self, call: T) -> R:
        """The result of one call. Cancelling the caller takes the call out of the batch if it has not started."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._waiting.append((call, future))
        if len(self._running) < self._in_flight:
            if len(self._waiting) >= self._max_rows:
                self._start()
            elif self._timer is None:
                self._timer = loop.call_later(self._wait_s, self._start)
        return await future

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting = [entry for entry in self._waiting if not entry[1].done()]
        batch, self._waiting = waiting[: self._max_rows], waiting[self._max_rows :]
        if batch:
            task = asyncio.get_running_loop().create_task(self._run(batch))
            self._running.add(task)
            task.add_done_callback(self._finished)

    def _finished(self, task: "asyncio.Task[None]") -> None:
        self._running.discard(task)
        if self._waiting and self._timer is None:
            self._start()

    async def _run(self, batch: "list[tuple[T, asyncio.Future[R]]]") -> None:
        try:
            results = await self._work([call for call, _ in batch])
            for (_, future), result in zip(batch, results, strict=True):
                if future.done():
                    continue
                if isinstance(result, Exception):
                    future.set_exception(result)
                else:
                    future.set_result(result)
        except BaseException as error:
            # Work that is cancelled is no Exception, and its callers must not wait for ever either.
            told = error if isinstance(error, Exception) else TryAgain("the micro-batch was cancelled")
            for _, future in batch:
                if not future.done():
                    future.set_exception(told)
            if told is not error:
                raise
