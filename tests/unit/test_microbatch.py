"""MicroBatcher: which calls share a list, and when it starts. Times are read off the loop's own clock."""

import asyncio
from collections.abc import Sequence
from contextvars import ContextVar

import numpy as np
import pytest
from batching import Answer, Batcher, Work, run, settle, submit_all

REQUEST: ContextVar[str | None] = ContextVar("REQUEST", default=None)


def test_concurrent_calls_share_a_batch_and_each_gets_its_own_result() -> None:
    async def main() -> None:
        work = Work()
        batcher = Batcher(work, max_rows=10, wait_s=0.001, in_flight=1)
        assert await asyncio.gather(*(batcher.submit(n) for n in range(7))) == [2 * n for n in range(7)]
        assert work.batches == [list(range(7))]

    run(main())


def test_a_batch_runs_in_no_callers_context() -> None:
    async def main() -> None:
        seen: list[str | None] = []

        async def work(calls: Sequence[int], _: Answer) -> Sequence[int | Exception]:
            seen.append(REQUEST.get())
            return list(calls)

        batcher = Batcher(work, max_rows=10, wait_s=0.001, in_flight=1)
        REQUEST.set("one whose client may leave")
        assert await batcher.submit(1) == 1
        assert await asyncio.gather(*(batcher.submit(n) for n in range(3))) == [0, 1, 2]
        assert seen == [None, None]

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
