"""MicroBatcher: how a call ends: early, with an error, with its work cancelled, or because its caller has left."""

import asyncio
from collections.abc import Sequence

import pytest
from batching import Answer, Batcher, Work, run, settle, submit_all

from models.errors import TryAgain


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
