"""MicroBatcher: a bounded queue, and nothing lost under any schedule."""

import asyncio
from collections.abc import Sequence

import pytest
from batching import PLENTY, Answer, Batcher, Work, run, settle, submit_all
from hypothesis import given, settings
from hypothesis import strategies as st

from models.errors import Overloaded


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
