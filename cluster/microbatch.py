"""MicroBatcher: concurrent calls, gathered in batches that are worked on a few at a time.

`serve.batch` closes a batch when its wait is over even while all of its batches are busy, so that under load many
small batches queue up; and it makes a lone call wait in full. Here a batch grows for as long as it could not start
anyway. While there is room it starts as soon as it holds its *share*: the calls under way, divided by the batches that
may be. So a lone call starts at once, and under load the batches are equally large, instead of one that holds nearly
all calls and others that hold one or two.

More calls than can wait a sensible time are refused at once: a queue without an end makes all answers late ones.

A batch runs in the context (`contextvars`) in which the batcher was made, not in that of a call: Serve cancels what was
called in a request's context when its client leaves, and that would be the work of all others in the batch.
"""

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Generic, TypeVar

from models.errors import Overloaded, TryAgain

T = TypeVar("T")
R = TypeVar("R")
SETTLES = 0.1


@dataclass(frozen=True, slots=True)
class _Waiting(Generic[T, R]):
    call: T
    future: "asyncio.Future[R]"
    since_s: float


class MicroBatcher(Generic[T, R]):
    """Gathers calls of `submit` and hands them to `work` as lists.

    work          takes a list of calls, returns as many results in their order; a result that is an exception is
                  raised in its caller, an exception that it raises in all of them. By its second argument it may answer
                  a call, by its place in the list, before the others; what it returns for that one does not count
    max_rows      the longest list
    wait_s        longest that a call waits for company while fewer than `in_flight` lists are under way
    in_flight     most lists under way at a time
    most_waiting  most calls that wait to get into a list

    usual_s       what the work on a list took of late, on average; 0 before the first
    """

    def __init__(
        self,
        work: Callable[[Sequence[T], Callable[[int, R | Exception], None]], Awaitable[Sequence[R | Exception]]],
        *,
        max_rows: int,
        wait_s: float,
        in_flight: int,
        most_waiting: int,
    ) -> None:
        self._work = work
        self._max_rows, self._wait_s, self._in_flight = max_rows, wait_s, in_flight
        self._most_waiting, self._context = most_waiting, contextvars.copy_context()
        self._waiting: list[_Waiting[T, R]] = []
        self._running: set[asyncio.Task[None]] = set()
        self._batches = self._rows = 0  # under way
        self._demand = 0
        self.usual_s = 0.0
        self._look: asyncio.Handle | None = None
        self._due = False

    async def submit(self, call: T) -> R:
        """The result of one call. Cancelling the caller takes the call out of the batch if it has not started.

        Raises Overloaded, at once, when `most_waiting` calls wait already.
        """
        if self._full():
            raise Overloaded(f"{self._most_waiting} requests wait already")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[R] = loop.create_future()
        self._waiting.append(_Waiting(call, future, loop.time()))
        if self._batches < self._in_flight and not self._due and len(self._waiting) >= self._share():
            self._due = True
            self._look_in(loop, 0.0)
        elif self._look is None and self._batches < self._in_flight:
            self._look_in(loop, self._wait_s)
        return await future

    def _full(self) -> bool:
        """Whether no further call may wait. Those whose callers have left hold no place."""
        if len(self._waiting) >= self._most_waiting:
            self._forget_the_gone()
        return len(self._waiting) >= self._most_waiting

    def _forget_the_gone(self) -> None:
        self._waiting = [entry for entry in self._waiting if not entry.future.done()]

    def _share(self) -> int:
        """Rows that a batch should hold now.

        The calls under way are those that wait and run, or, if there were more, those when the last batch ended: its
        callers are likely to be back in a moment.
        """
        under_way = max(self._demand, len(self._waiting) + self._rows)
        return min(self._max_rows, max(1, -(-under_way // self._in_flight)))

    def _look_in(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """See what can start when the oldest call has waited long enough, or after this turn of the loop."""
        if self._look is not None:
            self._look.cancel()
        self._look = loop.call_later(seconds, self._start) if seconds > 0 else loop.call_soon(self._start)

    def _start(self) -> None:
        """Start what is due, and come back for the rest when its wait is over."""
        loop = asyncio.get_running_loop()
        if self._look is not None:
            self._look.cancel()
        self._look, self._due = None, False
        self._forget_the_gone()
        while self._waiting and self._batches < self._in_flight:
            share = self._share()
            left_s = self._waiting[0].since_s + self._wait_s - loop.time()
            if len(self._waiting) < share and left_s > 0:
                self._look_in(loop, left_s)
                return
            batch, self._waiting = self._waiting[:share], self._waiting[share:]
            self._batches, self._rows = self._batches + 1, self._rows + len(batch)
            task = loop.create_task(self._run(batch), context=self._context.copy())
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _run(self, batch: list[_Waiting[T, R]]) -> None:
        loop = asyncio.get_running_loop()
        start_s = loop.time()
        results: Sequence[R | Exception] = []
        try:
            results = await self._work([entry.call for entry in batch], partial(_answer, batch))
            if len(results) != len(batch):
                raise RuntimeError(f"{len(batch)} calls got {len(results)} results")
        except Exception as error:
            results = [error] * len(batch)
        except BaseException:
            # Work that is cancelled is no Exception, and its callers must not wait for ever either.
            results = [TryAgain("the micro-batch was cancelled")] * len(batch)
            raise
        finally:
            took_s = loop.time() - start_s
            self.usual_s += SETTLES * (took_s - self.usual_s) if self.usual_s else took_s
            self._end(batch, results)

    def _end(self, batch: list[_Waiting[T, R]], results: Sequence[R | Exception]) -> None:
        """Before the callers hear of it, so that one who comes back at once finds room."""
        self._demand = len(self._waiting) + self._rows
        self._batches, self._rows = self._batches - 1, self._rows - len(batch)
        for at, result in enumerate(results):
            _answer(batch, at, result)
        if self._waiting:
            self._start()


def _answer(batch: Sequence[_Waiting[T, R]], at: int, result: R | Exception) -> None:
    future = batch[at].future
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)
