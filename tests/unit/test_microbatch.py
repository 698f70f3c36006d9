"""MicroBatcher: order, bounds, failures, cancelled callers, and nothing lost under any schedule.

Work is held back by events, not by sleeping; times are read off the loop's own clock.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cluster.microbatch import MicroBatcher
from models.errors import Overloaded, TryAgain

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


def test_concurrent_calls_share_a_batch_and_each_gets_its_own_result() -> None:
    async def main() -> None:
        work = Work()
        batcher = Batcher(work, max_rows=10, wait_s=0.001, in_flight=1)
        assert await asyncio.gather(*(batcher.submit(n) for n in range(7))) == [2 * n for n in range(7)]
        assert work.batches == [list(range(7))]

    run(main())


def test_a_full_batch_starts_without_waiting_and_none_is_larger() -> None:
    async def main() -> None:
        work = Work()
        batcher = Batcher(work, max_rows=3, wait_s=1000, in_flight=4)
        assert await asyncio.gather(*(batcher.submit(n) for n in range(12))) == [2 * n for n in range(12)]
        assert work.batches == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]

    run(main())


def test_a_lone_call_starts_at_once() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        batcher = Batcher(Work(), max_rows=64, wait_s=10, in_flight=2)
        began = loop.time()
        for n in range(5):
            assert await batcher.submit(n) == 2 * n
        assert loop.time() - began < 1.0

    run(main())


def test_a_call_that_is_alone_after_a_crowd_waits_for_company_once_and_no_longer() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        batcher = Batcher(Work(), max_rows=64, wait_s=0.2, in_flight=1)
        await asyncio.gather(*(batcher.submit(n) for n in range(8)))
        began = loop.time()
        assert await batcher.submit(4) == 8
        assert 0.19 <= loop.time() - began < 1.0
        began = loop.time()
        assert await batcher.submit(5) == 10
        assert loop.time() - began < 0.15

    run(main())


@pytest.mark.parametrize(("clients", "in_flight"), [(64, 2), (60, 3), (8, 4), (2, 4)])
def test_clients_that_come_back_share_the_batches_evenly(clients: int, in_flight: int) -> None:
    async def main() -> None:
        sizes: list[int] = []

        async def work(calls: Sequence[int], _: Answer) -> list[int | Exception]:
            sizes.append(len(calls))
            await asyncio.sleep(0.01)
            return list(calls)

        batcher = Batcher(work, max_rows=64, wait_s=1, in_flight=in_flight)

        async def client(n: int) -> None:
            for _ in range(20):
                await batcher.submit(n)
                await asyncio.sleep(0.0005)

        await asyncio.gather(*map(client, range(clients)))
        share = -(-clients // in_flight)
        settled = sizes[5 * in_flight : -3 * in_flight]
        assert np.mean(settled) > 0.8 * share
        assert max(settled) <= share + 1

    run(main())


def test_the_wait_counts_from_the_first_call() -> None:
    async def main() -> None:
        loop, work = asyncio.get_running_loop(), Work()
        batcher = Batcher(work, max_rows=1000, wait_s=0.1, in_flight=1)
        await asyncio.gather(*(batcher.submit(n) for n in range(500)))
        work.batches.clear()
        began = loop.time()
        first = asyncio.ensure_future(batcher.submit(0))
        later = []
        while not first.done():
            later.append(asyncio.ensure_future(batcher.submit(1)))
            await asyncio.sleep(0.01)
        assert loop.time() - began < 1.0
        assert len(work.batches[0]) > 1
        await asyncio.gather(*later)

    run(main())


def test_no_wait_starts_at_once() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        batcher = Batcher(Work(), max_rows=64, wait_s=0, in_flight=1)
        began = loop.time()
        for n in range(20):
            await batcher.submit(n)
        assert loop.time() - began < 0.5

    run(main())


def test_a_batch_grows_while_all_are_busy_and_starts_when_one_is_done() -> None:
    async def main() -> None:
        work = Work(held=True)
        batcher = Batcher(work, max_rows=5, wait_s=0, in_flight=1)
        tasks = submit_all(batcher, [0])
        while not work.batches:
            await asyncio.sleep(0)
        for n in range(1, 8):
            tasks += submit_all(batcher, [n])
            await settle()
        assert work.batches == [[0]]
        work.gate.set()
        await asyncio.gather(*tasks)
        assert work.batches == [[0], [1, 2, 3, 4, 5], [6, 7]]

    run(main())


def test_a_backlog_that_has_waited_long_enough_does_not_wait_for_company() -> None:
    async def main() -> None:
        loop, work = asyncio.get_running_loop(), Work(held=True)
        batcher = Batcher(work, max_rows=4, wait_s=0.2, in_flight=1)
        tasks = submit_all(batcher, range(4))
        await settle()
        tasks += submit_all(batcher, [9])
        await asyncio.sleep(0.2)
        began = loop.time()
        work.gate.set()
        await asyncio.gather(*tasks)
        assert loop.time() - began < 0.15
        assert work.batches == [[0, 1, 2, 3], [9]]

    run(main())


@pytest.mark.parametrize("in_flight", [1, 2, 5])
def test_no_more_batches_than_in_flight_are_under_way(in_flight: int) -> None:
    async def main() -> None:
        work = Work(held=True)
        batcher = Batcher(work, max_rows=2, wait_s=0, in_flight=in_flight)
        tasks = submit_all(batcher, range(40))
        await settle()
        assert work.under_way == in_flight
        work.gate.set()
        await asyncio.gather(*tasks)
        assert work.most_under_way == in_flight
        assert sum(map(len, work.batches)) == 40

    run(main())


def test_a_result_that_is_an_exception_is_raised_in_its_caller_alone() -> None:
    async def main() -> None:
        batcher = Batcher(Work(), max_rows=10, wait_s=0.001, in_flight=1)
        results = await asyncio.gather(*(batcher.submit(n) for n in (1, -2, 3)), return_exceptions=True)
        assert (results[0], results[2]) == (2, 6)
        with pytest.raises(ValueError, match="bad -2"):
            raise results[1]  # type: ignore[misc]

    run(main())


def test_an_exception_of_the_work_is_raised_in_all_callers_and_the_next_batch_runs() -> None:
    async def main() -> None:
        async def fails_once(calls: Sequence[int], _: Answer) -> list[int | Exception]:
            if 0 in calls:
                raise TryAgain("gone")
            return [2 * call for call in calls]

        batcher = Batcher(fails_once, max_rows=10, wait_s=0.001, in_flight=1)
        results = await asyncio.gather(*(batcher.submit(n) for n in range(3)), return_exceptions=True)
        assert [type(result) for result in results] == [TryAgain] * 3
        assert await batcher.submit(5) == 10

    run(main())


def test_too_few_results_are_an_error_and_never_a_hang() -> None:
    async def main() -> None:
        async def forgets(calls: Sequence[int], _: Answer) -> list[int | Exception]:
            return [0 for _ in calls[1:]]

        batcher = Batcher(forgets, max_rows=10, wait_s=0.001, in_flight=1)
        results = await asyncio.gather(*(batcher.submit(n) for n in range(3)), return_exceptions=True)
        assert all(isinstance(result, RuntimeError) for result in results)

    run(main())


def test_work_that_is_cancelled_is_told_to_its_callers_and_never_a_hang() -> None:
    async def main() -> None:
        async def cancelled(calls: Sequence[int], _: Answer) -> list[int | Exception]:
            raise asyncio.CancelledError

        batcher = Batcher(cancelled, max_rows=10, wait_s=0.001, in_flight=1)
        async with asyncio.timeout(5):
            results = await asyncio.gather(*(batcher.submit(n) for n in range(3)), return_exceptions=True)
        assert [type(result) for result in results] == [TryAgain] * 3

    run(main())


def test_a_caller_that_leaves_before_the_start_takes_its_call_along() -> None:
    async def main() -> None:
        work = Work(held=True)
        batcher = Batcher(work, max_rows=2, wait_s=0, in_flight=1)
        tasks = submit_all(batcher, range(6))
        await settle()
        assert work.batches == [[0, 1]]
        for leaving in (tasks[2], tasks[4]):
            leaving.cancel()
        await settle()
        work.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert work.batches == [[0, 1], [3, 5]]
        assert [r for r in results if isinstance(r, int)] == [0, 2, 6, 10]

    run(main())


def test_a_caller_that_leaves_after_the_start_does_not_disturb_the_others() -> None:
    async def main() -> None:
        work = Work(held=True)
        batcher = Batcher(work, max_rows=3, wait_s=0, in_flight=1)
        tasks = submit_all(batcher, range(3))
        await settle()
        tasks[1].cancel()
        await settle()
        work.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert (results[0], results[2]) == (0, 4)
        assert await batcher.submit(7) == 14

    run(main())


def test_when_all_callers_leave_nothing_runs_and_later_calls_do() -> None:
    async def main() -> None:
        work = Work()
        batcher = Batcher(work, max_rows=10, wait_s=0.001, in_flight=1)
        tasks = submit_all(batcher, range(3))
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.sleep(0.01)
        assert work.batches == []
        assert await batcher.submit(1) == 2

    run(main())


def test_a_call_that_would_wait_behind_too_many_is_refused_at_once_and_the_others_are_answered() -> None:
    async def main() -> None:
        work = Work(held=True)
        batcher = Batcher(work, max_rows=2, wait_s=0, in_flight=1, most_waiting=3)
        tasks = submit_all(batcher, range(2))
        await settle()
        tasks += submit_all(batcher, range(2, 5))
        await settle()
        with pytest.raises(Overloaded, match="3"):
            async with asyncio.timeout(1):
                await batcher.submit(99)
        work.gate.set()
        assert await asyncio.gather(*tasks) == [0, 2, 4, 6, 8]
        assert await batcher.submit(7) == 14, "there is room again"

    run(main())


def test_a_caller_that_leaves_the_queue_makes_room_for_another() -> None:
    async def main() -> None:
        work = Work(held=True)
        batcher = Batcher(work, max_rows=1, wait_s=0, in_flight=1, most_waiting=2)
        tasks = submit_all(batcher, range(1))
        await settle()
        tasks += submit_all(batcher, range(1, 3))
        await settle()
        tasks[1].cancel()
        await settle()
        tasks += submit_all(batcher, [3])
        await settle()
        with pytest.raises(Overloaded):
            await batcher.submit(99)
        work.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [r for r in results if isinstance(r, int)] == [0, 4, 6]

    run(main())


def test_calls_under_way_hold_no_place_in_the_queue() -> None:
    async def main() -> None:
        work = Work(held=True)
        batcher = Batcher(work, max_rows=8, wait_s=0, in_flight=1, most_waiting=4)
        tasks = []
        for _ in range(2):
            tasks += submit_all(batcher, range(4))
            await settle()
        work.gate.set()
        assert len(await asyncio.gather(*tasks)) == 8

    run(main())


def test_work_may_answer_some_calls_before_the_others() -> None:
    async def main() -> None:
        gate = asyncio.Event()

        async def work(calls: Sequence[int], answer: Answer) -> list[int | Exception]:
            answer(1, 10 * calls[1])
            answer(2, ValueError("bad"))
            await gate.wait()
            return [2 * call for call in calls]

        batcher = Batcher(work, max_rows=3, wait_s=1000, in_flight=1)
        tasks = submit_all(batcher, [1, 2, 3])
        assert await tasks[1] == 20
        with pytest.raises(ValueError, match="bad"):
            await tasks[2]
        assert not tasks[0].done()
        gate.set()
        assert await tasks[0] == 2

    run(main())


def test_an_answer_to_a_caller_that_has_left_disturbs_nobody() -> None:
    async def main() -> None:
        leave = asyncio.Event()

        async def work(calls: Sequence[int], answer: Answer) -> list[int | Exception]:
            await leave.wait()
            answer(0, 1)
            return [2 * call for call in calls]

        batcher = Batcher(work, max_rows=2, wait_s=1000, in_flight=1)
        tasks = submit_all(batcher, [1, 2])
        await settle()
        tasks[0].cancel()
        leave.set()
        assert await tasks[1] == 4

    run(main())


def test_it_tells_what_the_work_on_a_list_usually_takes() -> None:
    async def main() -> None:
        async def work(calls: Sequence[int], _: Answer) -> list[int | Exception]:
            await asyncio.sleep(0.02)
            return list(calls)

        batcher = Batcher(work, max_rows=2, wait_s=0, in_flight=1)
        assert batcher.usual_s == 0.0
        for n in range(5):
            await batcher.submit(n)
        assert 0.019 <= batcher.usual_s < 0.5

    run(main())


STEPS = st.lists(st.sampled_from(["submit", "submit", "submit", "cancel", "turn", "pause", "finish"]), max_size=60)


@settings(deadline=None)
@given(STEPS, st.integers(1, 5), st.integers(1, 3), st.sampled_from([0, 0.0005]), st.sampled_from([1, 3, PLENTY]))
def test_under_any_schedule_every_call_that_stays_is_answered_once_or_refused(
    steps: list[str], max_rows: int, in_flight: int, wait_s: float, most_waiting: int
) -> None:
    async def main() -> None:
        seen: list[int] = []
        held: list[asyncio.Event] = []
        running: list[int] = []

        async def work(calls: Sequence[int], _: Answer) -> list[int | Exception]:
            assert 0 < len(calls) <= max_rows
            seen.extend(calls)
            gate = asyncio.Event()
            held.append(gate)
            running.append(1)
            assert len(running) <= in_flight
            await gate.wait()
            running.pop()
            return [2 * call for call in calls]

        batcher = Batcher(work, max_rows=max_rows, wait_s=wait_s, in_flight=in_flight, most_waiting=most_waiting)
        tasks: list[asyncio.Task[int]] = []
        for step in steps:
            if step == "submit":
                tasks += submit_all(batcher, [len(tasks)])
            elif step == "cancel" and tasks:
                tasks[len(tasks) // 2].cancel()
            elif step == "turn":
                await asyncio.sleep(0)
            elif step == "pause":
                await asyncio.sleep(0.001)
            elif step == "finish" and held:
                held.pop(0).set()
        everyone = asyncio.gather(*tasks, return_exceptions=True)
        while not everyone.done():
            for gate in held:
                gate.set()
            await asyncio.sleep(0.0002)
        for call, result in enumerate(await everyone):
            assert result == 2 * call or isinstance(result, asyncio.CancelledError | Overloaded)
            assert most_waiting < PLENTY or not isinstance(result, Overloaded)
            if result == 2 * call:
                assert seen.count(call) == 1
        assert len(seen) == len(set(seen))
        assert seen == sorted(seen)

    run(main())
