"""The executor: mixed chains in one micro-batch, calls per variant, lost calls, skipped stages."""

import asyncio
from collections.abc import Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_cascade import TinyCascade, chain_ids
from tiny_serving import inline_runners

from allocator.chains import ChainSpace
from cluster.cascade import CascadeExecutor, InlineRunner, StageRunner
from models.batch import IntArray, RaggedBatch, UserRows
from models.errors import Late, TryAgain
from models.features import UserQuery
from models.loading import Cascade

Name = tuple[str, str]


@dataclass(frozen=True)
class Opened:
    """The tiny cascade with its chain space and a runner for each variant."""

    tiny: TinyCascade
    cascade: Cascade
    space: ChainSpace
    runners: Mapping[Name, StageRunner]

    def users(self, ids: list[Any]) -> UserRows:
        return self.cascade.users.rows([UserQuery(user_id) for user_id in ids])

    async def run(
        self, chains: list[str], k: list[int], users: UserRows, runners: Mapping[Name, StageRunner] | None = None
    ) -> RaggedBatch:
        named = [self.space.get(chain) for chain in chains]
        executor = CascadeExecutor(self.runners if runners is None else runners)
        return await executor.run(users, [chain for chain in named if chain is not None], np.array(k))


@pytest.fixture(scope="module", params=["tiny", "tiny_numbers"])
def opened(request: pytest.FixtureRequest) -> Iterator[Opened]:
    tiny = request.getfixturevalue(request.param)
    cascade = Cascade.open(tiny.folder)
    with ThreadPoolExecutor(2) as threads:
        space = ChainSpace(cascade.spec, len(cascade.items))
        yield Opened(tiny, cascade, space, inline_runners(cascade, threads))


def contents(batch: RaggedBatch) -> list[tuple[list[int], list[float]]]:
    return [(batch.row_items(row).tolist(), batch.row_scores(row).tolist()) for row in range(len(batch))]


REQUESTS = st.lists(
    st.tuples(st.integers(0, 6), st.sampled_from(chain_ids()), st.integers(1, 2)), min_size=1, max_size=12
)


@settings(deadline=None)
@given(REQUESTS)
def test_mixed_chains_in_one_micro_batch_equal_each_request_alone_and_the_plain_loop(
    opened: Opened, requests: list[tuple[int, str, int]]
) -> None:
    ids = [*opened.tiny.user_ids.tolist(), "nobody"]
    users = opened.users([ids[user] for user, _, _ in requests])
    chains, k = [chain for _, chain, _ in requests], [n for _, _, n in requests]

    async def both() -> tuple[RaggedBatch, list[RaggedBatch]]:
        alone = [
            await opened.run([chain], [n], users.take(np.array([row])))
            for row, (chain, n) in enumerate(zip(chains, k, strict=True))
        ]
        return await opened.run(chains, k, users), alone

    together, alone = asyncio.run(both())
    assert contents(together) == [contents(batch)[0] for batch in alone]
    assert contents(together) == [
        opened.tiny.expected(users.user[row], users.history[row], chain, n)
        for row, (_, chain, n) in enumerate(requests)
    ]


@dataclass
class Spy:
    """Passes calls on, notes them, and can lose the first few or hold all of them back."""

    inner: StageRunner
    name: Name
    log: list[tuple[Name, list[int], list[int]]]
    lose: int = 0
    gate: asyncio.Event | None = None
    started: list[Name] = field(default_factory=list)

    async def run(self, users: UserRows, candidates: RaggedBatch | None, keep: IntArray) -> RaggedBatch:
        lengths = [] if candidates is None else candidates.lengths.tolist()
        self.log.append((self.name, lengths, keep.tolist()))
        self.started.append(self.name)
        if self.gate is not None:
            await self.gate.wait()
        if self.lose:
            self.lose -= 1
            raise TryAgain(f"{self.name} went away")
        return await self.inner.run(users, candidates, keep)


def spies_on(opened: Opened) -> tuple[dict[Name, Spy], list[tuple[Name, list[int], list[int]]]]:
    log: list[tuple[Name, list[int], list[int]]] = []
    return {name: Spy(runner, name, log) for name, runner in opened.runners.items()}, log


def run(main: Coroutine[Any, Any, None]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(20):
            await main

    asyncio.run(bounded())


MIXED = ["seq>light@8>fine@4", "dot>heavy@4>fine@2", "seq>skip>fine@8", "seq>light@8>skip", "dot>skip>skip"]


def test_each_stage_is_called_once_per_variant_in_use_with_what_the_chains_say(opened: Opened) -> None:
    spies, log = spies_on(opened)
    run_it = opened.run(MIXED, [2, 1, 2, 1, 2], opened.users([2, 3, 5, 7, 11]), spies)
    asyncio.run(run_it)  # type: ignore[arg-type]
    # Recall hands on what the next stage that is not skipped infers; the last stage k.
    assert sorted(log) == [
        (("prerank", "heavy"), [4], [2]),
        (("prerank", "light"), [8, 8], [4, 1]),
        (("rank", "fine"), [4, 2, 8], [2, 1, 2]),
        (("recall", "dot"), [], [4, 2]),
        (("recall", "seq"), [], [8, 8, 8]),
    ]


def test_the_variants_of_a_stage_run_at_the_same_time(opened: Opened) -> None:
    async def main() -> None:
        spies, _ = spies_on(opened)
        gate = asyncio.Event()
        for name in (("recall", "dot"), ("recall", "seq")):
            spies[name].gate = gate
        both = asyncio.ensure_future(
            opened.run(["dot>skip>fine@2", "seq>skip>fine@2"], [2, 2], opened.users([2, 3]), spies)
        )
        for _ in range(10):
            await asyncio.sleep(0)
        assert [len(spies["recall", variant].started) for variant in ("dot", "seq")] == [1, 1]
        assert not spies["rank", "fine"].started
        gate.set()
        assert len(await both) == 2

    run(main())


@pytest.mark.parametrize("lost", [("recall", "seq"), ("prerank", "light"), ("rank", "fine")])
def test_a_lost_call_is_repeated_once_and_nobody_notices(opened: Opened, lost: Name) -> None:
    spies, log = spies_on(opened)
    spies[lost].lose = 1
    users = opened.users([2, 3, 5, 7, 11])
    found = asyncio.run(opened.run(MIXED, [2] * 5, users, spies))
    assert [name for name, _, _ in log].count(lost) == 2
    assert len(log) == 6
    assert contents(found) == [
        opened.tiny.expected(users.user[row], users.history[row], chain, 2) for row, chain in enumerate(MIXED)
    ]


@pytest.mark.parametrize("lost", [("recall", "seq"), ("prerank", "light"), ("rank", "fine")])
def test_a_call_lost_twice_is_given_up(opened: Opened, lost: Name) -> None:
    spies, log = spies_on(opened)
    spies[lost].lose = 99
    with pytest.raises(TryAgain, match=lost[1]):
        asyncio.run(opened.run(MIXED, [2] * 5, opened.users([2, 3, 5, 7, 11]), spies))
    assert [name for name, _, _ in log].count(lost) == 2


def test_a_late_call_is_not_repeated(opened: Opened) -> None:
    class Slow:
        calls = 0

        async def run(self, users: UserRows, candidates: RaggedBatch | None, keep: IntArray) -> RaggedBatch:
            self.calls += 1
            raise Late("no answer in time")

    slow = Slow()
    with pytest.raises(Late):
        asyncio.run(opened.run(MIXED[:1], [2], opened.users([2]), {**opened.runners, ("rank", "fine"): slow}))
    assert slow.calls == 1


def test_a_fault_that_is_not_a_lost_call_is_not_repeated(opened: Opened) -> None:
    class Broken:
        calls = 0

        async def run(self, users: UserRows, candidates: RaggedBatch | None, keep: IntArray) -> RaggedBatch:
            self.calls += 1
            raise ZeroDivisionError

    broken = Broken()
    with pytest.raises(ZeroDivisionError):
        asyncio.run(
            opened.run(["dot>skip>skip"], [2], opened.users([2]), {**opened.runners, ("recall", "dot"): broken})
        )
    assert broken.calls == 1


def test_variants_out_of_use_need_not_be_there(opened: Opened) -> None:
    only_recall = {("recall", "dot"): opened.runners["recall", "dot"]}
    found = asyncio.run(opened.run(["dot>skip>skip"], [2], opened.users([2]), only_recall))
    assert found.lengths.tolist() == [2]


def test_the_scores_of_a_request_are_those_of_its_last_stage(opened: Opened) -> None:
    users = opened.users([2, 2, 2])
    chains = ["seq>light@8>fine@4", "seq>light@8>skip", "seq>skip>skip"]
    found = asyncio.run(opened.run(chains, [2, 2, 2], users))
    last = [(opened.tiny.towers[name], opened.tiny.item_features) for name in ("fine", "light")]
    seq = opened.tiny.towers["seq"]
    assert seq.vectors is not None
    for row, (tower, vectors) in enumerate([*last, (seq, seq.vectors)]):
        items = found.row_items(row)
        expected = [tower.score(users.user[row], users.history[row], vectors[item]) for item in items]
        assert found.row_scores(row).tolist() == expected


def test_an_inline_variant_leaves_the_event_loop_free(opened: Opened) -> None:
    import threading

    class Waits:
        def __init__(self) -> None:
            self.let_go = threading.Event()

        def run(self, users: UserRows, candidates: RaggedBatch | None, keep: IntArray) -> RaggedBatch:
            assert self.let_go.wait(10)
            return RaggedBatch(np.array([0, 1]), np.array([3]), np.array([1], np.float32))

    async def main() -> None:
        variant = Waits()
        with ThreadPoolExecutor(1) as threads:
            running = asyncio.ensure_future(InlineRunner(variant, threads).run(opened.users([2]), None, np.array([1])))
            await asyncio.sleep(0.01)
            assert not running.done()
            variant.let_go.set()
            assert (await running).items.tolist() == [3]

    run(main())
