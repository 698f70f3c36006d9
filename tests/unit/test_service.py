"""The Recommender: a lost variant takes down its own chains and no others; one policy decides a whole micro-batch."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tiny_cascade import TinyCascade
from tiny_reward import open_allocation, snapshot_of, space_of, with_reward
from tiny_serving import inline_runners

from allocator.chains import ActionChain
from cluster.availability import without
from cluster.cascade import CascadeExecutor, StageRunner
from cluster.config import BatchSettings
from cluster.deciding import Allocation, Decided
from cluster.latency import Spans, TimeLeft
from cluster.schemas import RecommendRequest
from cluster.service import Recommender
from models.batch import IntArray, RaggedBatch, UserRows
from models.errors import FixFile, Late, Lost, TryAgain
from models.loading import Cascade


class Dying:
    """A runner whose replicas die one after another."""

    async def run(self, users: UserRows, candidates: RaggedBatch | None, keep: IntArray) -> RaggedBatch:
        raise TryAgain("no replica")


def test_a_lost_variant_fails_only_the_requests_whose_chains_use_it(tiny: TinyCascade) -> None:
    cascade = Cascade.open(tiny.folder)
    asked = ["seq>light@8>fine@4", "seq>heavy@8>fine@4", "dot>light@4>skip", "dot>heavy@4>skip"]

    async def ask(recommender: Recommender) -> list[object]:
        requests = [RecommendRequest(user_id=2, chain=chain, request_id=chain) for chain in asked]
        return await asyncio.gather(*map(recommender.recommend, requests), return_exceptions=True)

    with ThreadPoolExecutor(2) as threads:
        runners: dict[tuple[str, str], StageRunner] = dict(inline_runners(cascade, threads))
        batch = BatchSettings(max_rows=4, wait_ms=1000)
        whole = asyncio.run(ask(Recommender(cascade, CascadeExecutor(runners), batch, {})))
        runners["prerank", "heavy"] = Dying()
        parts = asyncio.run(ask(Recommender(cascade, CascadeExecutor(runners), batch, {})))

    assert [parts[0], parts[2]] == [whole[0], whole[2]]
    for failed in (parts[1], parts[3]):
        with pytest.raises(TryAgain):
            raise failed  # type: ignore[misc]


TOGETHER = BatchSettings(max_rows=8, wait_ms=50, in_flight=1)
SAFE = "dot>skip>skip"
NAMED = "dot>light@4>fine@2"


@pytest.fixture(scope="module")
def rewarded(tiny: TinyCascade, tmp_path_factory: pytest.TempPathFactory) -> TinyCascade:
    return with_reward(tiny, tmp_path_factory.mktemp("reward") / "cascade")


class Watched(CascadeExecutor):
    """An executor that remembers the chains of every micro-batch."""

    batches: list[list[str]]

    async def run(
        self, users: UserRows, chains: Sequence[ActionChain], k: IntArray, spans: Spans | None = None
    ) -> RaggedBatch:
        self.batches.append([chain.id for chain in chains])
        await asyncio.sleep(0)
        return await super().run(users, chains, k, spans)


class Fails:
    """A decider that nobody can rely on."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def decide(self, users: UserRows, time: TimeLeft | None = None) -> Decided:
        raise self.error


def ask_all(
    tiny: TinyCascade,
    allocation: Allocation,
    requests: list[RecommendRequest],
    batch: BatchSettings,
    swap: bool = False,
) -> tuple[list[dict], list[list[str]]]:
    """Answers to requests that are all under way at once, and the micro-batches they ran in.

    swap  publish a new version at every turn of the loop meanwhile, dear or free
    """
    cascade, space = Cascade.open(tiny.folder), space_of(tiny)

    async def swapping() -> None:
        version, rng = 2, np.random.default_rng(0)
        while True:
            version += int(rng.integers(1, 3))  # in turn, micro-batches could keep step and see one of the two only
            allocation.follower.snapshot = snapshot_of(space, version, price=float(version % 2))
            await asyncio.sleep(0)

    async def main() -> list[dict]:
        task = asyncio.create_task(swapping()) if swap else None
        try:
            return await asyncio.gather(*map(recommender.recommend, requests))
        finally:
            if task is not None:
                task.cancel()

    with ThreadPoolExecutor(2) as threads:
        executor = Watched(inline_runners(cascade, threads))
        executor.batches = []
        recommender = Recommender(cascade, executor, batch, {}, allocation=allocation)
        return asyncio.run(main()), executor.batches


def test_a_policy_swap_under_load_never_mixes_versions_inside_a_micro_batch(rewarded: TinyCascade) -> None:
    space = space_of(rewarded)
    cheapest, dearest = (space.chains[at].id for at in (space.flops.argmin(), space.flops.argmax()))
    with open_allocation(rewarded) as allocation:
        allocation.follower.snapshot = snapshot_of(space, 2)
        requests = [RecommendRequest(user_id=u) for u in rewarded.user_ids.tolist() * 25]
        busy = BatchSettings(max_rows=6, in_flight=3)
        answers, batches = ask_all(rewarded, allocation, requests, busy, swap=True)
    assert [len(set(batch)) for batch in batches] == [1] * len(batches)
    assert len(batches) >= 10
    assert {batch[0] for batch in batches} == {cheapest, dearest}, "the swaps took place while batches ran"
    for answer in answers:
        assert answer["chain"]["id"] == (cheapest if answer["policy_version"] % 2 else dearest)


def test_one_call_decides_for_all_of_a_micro_batch_that_name_no_chain(rewarded: TinyCascade) -> None:
    space = space_of(rewarded)
    requests = [RecommendRequest(user_id=u, chain=NAMED if u == 3 else None) for u in rewarded.user_ids.tolist()]
    with open_allocation(rewarded) as allocation:
        allocation.follower.snapshot = snapshot_of(space, 5)
        answers, batches = ask_all(rewarded, allocation, requests, TOGETHER)
        decided = allocation.tally.totals(0.0)
    assert len(batches) == 1
    assert decided.decided == len(requests) - 1
    named = answers[1]
    assert (named["chain"]["id"], named["predicted_reward"], named["policy_version"]) == (NAMED, None, None)
    others = [answer for answer in answers if answer is not named]
    assert {answer["policy_version"] for answer in others} == {5}
    assert all(answer["predicted_reward"] > 0 for answer in others)
    assert not any(answer["degraded"] for answer in answers)


def test_all_executed_chains_are_counted_whoever_chose_them(rewarded: TinyCascade) -> None:
    space = space_of(rewarded)
    requests = [RecommendRequest(user_id=u, chain=NAMED if u == 3 else None) for u in rewarded.user_ids.tolist()]
    with open_allocation(rewarded) as allocation:
        answers, _ = ask_all(rewarded, replace(allocation, decider=Fails(Late("late"))), requests, TOGETHER)
        allocation.follower.snapshot = snapshot_of(space, 5)
        answers += ask_all(rewarded, allocation, requests, TOGETHER)[0]
        executed = allocation.tally.totals(0.0).executed
    spent = sum(answer["cost"]["flops"] for answer in answers)
    assert executed.sum() == len(answers)
    assert float(executed @ space.flops) == spent


@pytest.mark.parametrize("error", [TryAgain("gone"), Late("late"), FixFile("reward.onnx", "reward", "NaN"), OSError()])
def test_whatever_is_wrong_with_the_allocator_requests_take_the_safe_chain_and_say_so(
    rewarded: TinyCascade, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    requests = [RecommendRequest(user_id=u, chain=NAMED if u == 3 else None) for u in rewarded.user_ids.tolist()]
    with open_allocation(rewarded) as allocation:
        answers, _ = ask_all(rewarded, replace(allocation, decider=Fails(error)), requests, BatchSettings(max_rows=2))
    for request, answer in zip(requests, answers, strict=True):
        named = request.chain is not None
        assert answer["chain"]["id"] == (NAMED if named else SAFE)
        assert answer["degraded"] is not named
        assert (answer["predicted_reward"], answer["policy_version"]) == (None, None)
        assert [item["item_id"] for item in answer["items"]] == rewarded.expected_ids(
            request.user_id, answer["chain"]["id"]
        )
    said = [record for record in caplog.records if record.name == "cluster.choosing"]
    assert len(said) == 1, "said once, not per micro-batch"


def test_under_a_limit_the_safe_chain_is_the_one_that_keeps_it(rewarded: TinyCascade) -> None:
    with open_allocation(rewarded) as allocation:
        space = space_of(rewarded)
        snapshot = snapshot_of(space)
        chain = next(chain for chain in space if chain.id not in (SAFE, space.static.id))
        allocation.follower.snapshot = replace(snapshot, policy=snapshot.policy.next(0.0, safe_chain=chain.index))
        requests = [RecommendRequest(user_id=2)]
        answers, _ = ask_all(rewarded, replace(allocation, decider=Fails(TryAgain("gone"))), requests, TOGETHER)
    assert [answer["chain"]["id"] for answer in answers] == [chain.id]


def test_decided_requests_get_what_their_chain_recommends(rewarded: TinyCascade) -> None:
    with open_allocation(rewarded) as allocation:
        allocation.follower.snapshot = snapshot_of(space_of(rewarded), 1, price=1e-4)
        users = rewarded.user_ids.tolist()
        answers, _ = ask_all(rewarded, allocation, [RecommendRequest(user_id=u) for u in users], TOGETHER)
    assert len({answer["chain"]["id"] for answer in answers}) > 1
    for user, answer in zip(users, answers, strict=True):
        ids = [item["item_id"] for item in answer["items"]]
        assert ids == rewarded.expected_ids(user, answer["chain"]["id"])


def test_a_lost_variant_leaves_decisions_as_they_were_made(rewarded: TinyCascade) -> None:
    cascade, space = Cascade.open(rewarded.folder), space_of(rewarded)
    requests = [RecommendRequest(user_id=2, chain="seq>heavy@8>fine@4"), RecommendRequest(user_id=3)]

    async def main() -> list[object]:
        return await asyncio.gather(*map(recommender.recommend, requests), return_exceptions=True)

    with ThreadPoolExecutor(2) as threads, open_allocation(rewarded) as allocation:
        allocation.follower.snapshot = snapshot_of(space, 4, price=1.0)
        runners: dict[tuple[str, str], StageRunner] = dict(inline_runners(cascade, threads))
        runners["prerank", "heavy"] = Dying()
        batch = BatchSettings(max_rows=2, wait_ms=1000)
        recommender = Recommender(cascade, CascadeExecutor(runners), batch, {}, allocation=allocation)
        lost, answered = asyncio.run(main())
        assert allocation.tally.totals(0.0).decided == 1, "a retry decides nothing anew"
    assert isinstance(lost, TryAgain)
    assert isinstance(answered, dict)
    assert (answered["policy_version"], answered["chain"]["id"]) == (4, space.chains[space.flops.argmin()].id)


class NoReplica:
    """A runner of a variant of which no replica is there, once it has died under so many calls."""

    def __init__(self, stage: str, variant: str, dies: int = 0) -> None:
        self.name, self.dies = (stage, variant), dies

    async def run(self, users: UserRows, candidates: RaggedBatch | None, keep: IntArray) -> RaggedBatch:
        self.dies -= 1
        if self.dies >= 0:
            raise TryAgain("the replica died")
        raise Lost(*self.name)


def ask_without(
    tiny: TinyCascade,
    lost: list[tuple[str, str]],
    requests: list[RecommendRequest],
    allocation: Allocation | None,
    dies: int = 0,
) -> list[Any]:
    """Answers, or the errors in their place, of requests in one micro-batch while these variants have no replica."""
    cascade = Cascade.open(tiny.folder)

    async def main() -> list[Any]:
        return await asyncio.gather(*map(recommender.recommend, requests), return_exceptions=True)

    with ThreadPoolExecutor(2) as threads:
        runners: dict[tuple[str, str], StageRunner] = dict(inline_runners(cascade, threads))
        runners |= {name: NoReplica(*name, dies) for name in lost}
        recommender = Recommender(cascade, CascadeExecutor(runners), TOGETHER, {}, allocation=allocation)
        return asyncio.run(main())


def degraded(allocation: Allocation) -> dict[str, int]:
    return dict(allocation.tally.totals(0.0).degraded)


def test_requests_whose_variant_is_lost_take_the_nearest_chain_and_say_so(rewarded: TinyCascade) -> None:
    requests = [RecommendRequest(user_id=u) for u in rewarded.user_ids.tolist()]
    with open_allocation(rewarded) as allocation:
        allocation.follower.snapshot = snapshot_of(space_of(rewarded), 3)  # free: all take seq>heavy@8>fine@8
        answers = ask_without(rewarded, [("prerank", "heavy")], requests, allocation)
        assert degraded(allocation) == {"variant_lost": len(requests)}
    for request, answer in zip(requests, answers, strict=True):
        assert (answer["chain"]["id"], answer["degraded"]) == ("seq>light@8>fine@8", True)
        assert (answer["predicted_reward"], answer["policy_version"]) == (None, None)
        ids = [item["item_id"] for item in answer["items"]]
        assert ids == rewarded.expected_ids(request.user_id, "seq>light@8>fine@8")


def test_variants_lost_in_two_stages_are_both_done_without(rewarded: TinyCascade) -> None:
    lost = [("recall", "seq"), ("rank", "fine")]
    with open_allocation(rewarded) as allocation:
        allocation.follower.snapshot = snapshot_of(space_of(rewarded), 3)
        (answer,) = ask_without(rewarded, lost, [RecommendRequest(user_id=2)], allocation)
    assert answer["chain"]["id"] == "dot>heavy@8>skip"


def test_a_variant_that_is_lost_only_when_chains_are_tried_one_by_one_is_done_without_too(
    rewarded: TinyCascade,
) -> None:
    named, other = "seq>heavy@8>fine@8", "dot>light@4>skip"
    requests = [RecommendRequest(user_id=2), *(RecommendRequest(user_id=3, chain=one) for one in (named, other))]
    with open_allocation(rewarded) as allocation:
        allocation.follower.snapshot = snapshot_of(space_of(rewarded), 3)
        answers = ask_without(rewarded, [("prerank", "heavy")], requests, allocation, dies=2)
        assert degraded(allocation) == {"no_variant": 1, "variant_lost": 1}
    assert (answers[0]["chain"]["id"], answers[0]["degraded"]) == ("seq>light@8>fine@8", True)
    assert isinstance(answers[1], Lost)
    assert (answers[2]["chain"]["id"], answers[2]["degraded"]) == (other, False)


def test_when_chains_tried_one_by_one_lose_all_of_a_stage_each_fails_by_itself(rewarded: TinyCascade) -> None:
    both = [RecommendRequest(user_id=2), RecommendRequest(user_id=3, chain="dot>light@4>skip")]
    with open_allocation(rewarded) as allocation:
        allocation.follower.snapshot = snapshot_of(space_of(rewarded), 3)
        answers = ask_without(rewarded, [("recall", "dot"), ("recall", "seq")], both, allocation, dies=2)
        assert degraded(allocation) == {"no_variant": 2}
    assert all(isinstance(answer, Lost) for answer in answers)


def test_a_chain_that_a_request_names_is_not_replaced(rewarded: TinyCascade) -> None:
    requests = [RecommendRequest(user_id=2, chain="seq>heavy@8>fine@8"), RecommendRequest(user_id=3)]
    with open_allocation(rewarded) as allocation:
        allocation.follower.snapshot = snapshot_of(space_of(rewarded), 3)
        named, free = ask_without(rewarded, [("prerank", "heavy")], requests, allocation)
        assert degraded(allocation) == {"no_variant": 1, "variant_lost": 1}
    assert isinstance(named, Lost)
    assert free["chain"]["id"] == "seq>light@8>fine@8"


def test_a_stage_of_which_nothing_is_left_fails_each_request_by_itself(rewarded: TinyCascade) -> None:
    requests = [RecommendRequest(user_id=u) for u in rewarded.user_ids.tolist()]
    with open_allocation(rewarded) as allocation:
        allocation.follower.snapshot = snapshot_of(space_of(rewarded), 3)
        answers = ask_without(rewarded, [("recall", "dot"), ("recall", "seq")], requests, allocation)
        assert degraded(allocation) == {"no_variant": len(requests)}
    assert all(isinstance(answer, Lost) for answer in answers)


def test_without_a_policy_the_static_chain_has_a_stand_in_too(tiny: TinyCascade) -> None:
    (answer,) = ask_without(tiny, [("prerank", "light")], [RecommendRequest(user_id=2)], None)
    assert (answer["chain"]["id"], answer["degraded"]) == ("seq>skip>fine@4", True)


def test_the_safe_chain_is_not_taken_while_it_is_masked(rewarded: TinyCascade) -> None:
    space = space_of(rewarded)
    snapshot = snapshot_of(space, 3)
    policy = replace(snapshot.policy, available=without(space, [("recall", "dot")]))
    with open_allocation(rewarded) as allocation:
        allocation.follower.snapshot = replace(snapshot, policy=policy)
        undecided = replace(allocation, decider=Fails(TryAgain("gone")))
        (answer,) = ask_without(rewarded, [], [RecommendRequest(user_id=2)], undecided)
    assert (answer["chain"]["id"], answer["degraded"]) == ("seq>skip>skip", True)
