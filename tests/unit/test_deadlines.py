"""Deadlines: answered or refused in time, by chains that are thought to be quick enough; and full queues refuse."""

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import httpx
import numpy as np
import pytest
from fastapi import FastAPI
from tiny_cascade import TinyCascade
from tiny_reward import open_allocation, snapshot_of, space_of, with_reward
from tiny_serving import Name, inline_runners

from allocator.choice import without
from cluster.answers import Payload
from cluster.cascade import CascadeExecutor, StageRunner
from cluster.config import BatchSettings
from cluster.deciding import Allocation
from cluster.ingress import make_app
from cluster.latency import FEWEST
from cluster.schemas import RecommendRequest
from cluster.service import Recommender
from models.batch import FloatArray, IntArray, RaggedBatch, UserRows
from models.errors import FixFile, OutOfTime, Overloaded
from models.loading import Cascade

SLOW_S, HURRY_MS = 0.8, 600
HEAVY, LIGHT = "seq>heavy@8>fine@4", "dot>light@4>skip"
ALONE, TOGETHER = (
    BatchSettings(max_rows=1, wait_ms=0, in_flight=32),
    BatchSettings(max_rows=2, wait_ms=1000, in_flight=1),
)


@dataclass
class Delayed:
    """A variant in another process, which takes its time."""

    inner: StageRunner
    takes_s: float

    async def run(self, users: UserRows, candidates: RaggedBatch | None, keep: IntArray) -> RaggedBatch:
        await asyncio.sleep(self.takes_s)
        return await self.inner.run(users, candidates, keep)


@pytest.fixture(scope="module")
def rewarded(tiny: TinyCascade, tmp_path_factory: pytest.TempPathFactory) -> TinyCascade:
    return with_reward(tiny, tmp_path_factory.mktemp("reward") / "cascade")


@dataclass
class World:
    """A recommender whose heavy variants are slow, its variants, and where it counts."""

    recommender: Recommender
    runners: dict[Name, Delayed]
    allocation: Allocation

    @property
    def counted(self) -> dict[str, int]:
        return dict(self.allocation.tally.totals(0.0).degraded)


@contextmanager
def world(tiny: TinyCascade, batch: BatchSettings, slow: tuple[Name, ...] = (("prerank", "heavy"),)) -> Iterator[World]:
    cascade = Cascade.open(tiny.folder)
    with ThreadPoolExecutor(2) as threads, open_allocation(tiny) as allocation:
        allocation.follower.snapshot = snapshot_of(space_of(tiny), 3)
        inline = inline_runners(cascade, threads)
        runners = {name: Delayed(runner, SLOW_S if name in slow else 0.0) for name, runner in inline.items()}
        recommender = Recommender(cascade, CascadeExecutor(runners), batch, {}, allocation=allocation)
        yield World(recommender, runners, allocation)


async def taught(recommender: Recommender) -> None:
    """Knows how long every variant takes."""
    chains = [chain.id for chain in recommender.space]
    variants = {name: next(c for c in chains if f"{name}@" in c or c.startswith(name)) for name in ("heavy", "seq")}
    asked = [*variants.values(), "dot>light@4>fine@2", HEAVY] * FEWEST
    await asyncio.gather(*(recommender.recommend(RecommendRequest(user_id=2, chain=chain)) for chain in asked))


async def timed(recommender: Recommender, request: RecommendRequest) -> tuple[Payload | Exception, float]:
    start_s = time.perf_counter()
    try:
        return await recommender.recommend(request), time.perf_counter() - start_s
    except (OutOfTime, Overloaded) as error:
        return error, time.perf_counter() - start_s


def test_a_request_whose_time_is_over_is_refused_then_and_not_when_the_work_ends(rewarded: TinyCascade) -> None:
    async def main() -> None:
        refused, answered = await asyncio.gather(
            timed(here.recommender, RecommendRequest(user_id=2, chain=HEAVY, timeout_ms=50)),
            timed(here.recommender, RecommendRequest(user_id=3, chain=HEAVY)),
        )
        assert isinstance(refused[0], OutOfTime)
        assert 0.045 <= refused[1] < SLOW_S
        assert isinstance(answered[0], dict), "the others in its micro-batch are answered"

    with world(rewarded, TOGETHER) as here:
        asyncio.run(main())
        assert here.counted == {"out_of_time": 1}


def test_the_time_counts_from_when_the_request_came(rewarded: TinyCascade) -> None:
    async def main() -> None:
        came_s = asyncio.get_running_loop().time() - 10.0
        request = RecommendRequest(user_id=2, chain=LIGHT, timeout_ms=9_000)
        with pytest.raises(OutOfTime):
            await here.recommender.recommend(request, came_s)

    with world(rewarded, ALONE) as here:
        asyncio.run(main())


@pytest.mark.parametrize(("said_ms", "in_time"), [(None, False), (10_000, True)])
def test_the_setting_holds_for_requests_that_do_not_say(
    rewarded: TinyCascade, said_ms: int | None, in_time: bool
) -> None:
    with world(rewarded, BatchSettings(timeout_ms=50)) as here:
        request = RecommendRequest(user_id=2, chain=HEAVY, timeout_ms=said_ms)
        answer, _ = asyncio.run(timed(here.recommender, request))
    assert isinstance(answer, dict) is in_time


def test_requests_in_a_hurry_take_quick_chains_and_others_the_best(rewarded: TinyCascade) -> None:
    async def main() -> None:
        await taught(here.recommender)
        free = await here.recommender.recommend(RecommendRequest(user_id=2))
        assert "heavy" in free["chain"]["id"], "the best one is slow"
        hurried, took_s = await timed(here.recommender, RecommendRequest(user_id=2, timeout_ms=HURRY_MS))
        assert isinstance(hurried, dict)
        assert "heavy" not in hurried["chain"]["id"]
        assert took_s < HURRY_MS / 1e3
        assert (hurried["degraded"], hurried["policy_version"]) == (False, 3)
        patient = await here.recommender.recommend(RecommendRequest(user_id=2, timeout_ms=60_000))
        assert patient["chain"] == free["chain"]
        named = await here.recommender.recommend(RecommendRequest(user_id=2, chain=HEAVY, timeout_ms=60_000))
        assert named["chain"]["id"] == HEAVY

    with world(rewarded, ALONE) as here:
        asyncio.run(main())
        assert here.counted == {}


def test_a_request_that_names_its_chain_keeps_it_and_is_refused_when_that_takes_too_long(rewarded: TinyCascade) -> None:
    async def main() -> None:
        await taught(here.recommender)
        answer, _ = await timed(here.recommender, RecommendRequest(user_id=2, chain=HEAVY, timeout_ms=60))
        assert isinstance(answer, OutOfTime)

    with world(rewarded, ALONE) as here:
        asyncio.run(main())


def test_where_no_chain_is_thought_to_be_in_time_the_quickest_runs_and_the_answer_says_so(
    rewarded: TinyCascade,
) -> None:
    every = (("recall", "seq"), ("recall", "dot"))

    async def main() -> None:
        await taught(here.recommender)
        # All recalls took SLOW_S so far; now they are quick, which nobody knows yet.
        for runner in here.runners.values():
            runner.takes_s = 0.0
        answer, _ = await timed(here.recommender, RecommendRequest(user_id=2, timeout_ms=HURRY_MS))
        assert isinstance(answer, dict)
        assert answer["degraded"]
        assert answer["chain"]["id"].endswith("skip>skip")

    with world(rewarded, ALONE, every) as here:
        asyncio.run(main())
        assert here.counted == {"too_late_for_any_chain": 1}


def test_a_request_in_a_hurry_does_not_wait_for_slow_ones_in_its_micro_batch(rewarded: TinyCascade) -> None:
    async def main() -> None:
        for chain in (HEAVY, LIGHT) * FEWEST:
            await here.recommender.recommend(RecommendRequest(user_id=2, chain=chain))
        slow, quick = await asyncio.gather(
            timed(here.recommender, RecommendRequest(user_id=2, chain=HEAVY)),
            timed(here.recommender, RecommendRequest(user_id=3, chain=LIGHT, timeout_ms=HURRY_MS)),
        )
        assert isinstance(quick[0], dict)
        assert quick[1] < HURRY_MS / 1e3
        assert isinstance(slow[0], dict)
        assert slow[1] >= SLOW_S
        assert [item["item_id"] for item in quick[0]["items"]] == rewarded.expected_ids(3, LIGHT)
        assert [item["item_id"] for item in slow[0]["items"]] == rewarded.expected_ids(2, HEAVY)

    with world(rewarded, BatchSettings(max_rows=2, wait_ms=5, in_flight=1)) as here:
        asyncio.run(main())


def test_a_request_in_a_hurry_does_not_wait_for_a_slow_micro_batch_under_way(rewarded: TinyCascade) -> None:
    async def main() -> None:
        for chain in (HEAVY, LIGHT) * FEWEST:
            await here.recommender.recommend(RecommendRequest(user_id=2, chain=chain))
        slow = asyncio.ensure_future(timed(here.recommender, RecommendRequest(user_id=2, chain=HEAVY)))
        await asyncio.sleep(0.05)
        quick, took_s = await timed(here.recommender, RecommendRequest(user_id=3, timeout_ms=HURRY_MS))
        assert isinstance(quick, dict)
        assert took_s < HURRY_MS / 1e3
        assert not slow.done()
        assert isinstance((await slow)[0], dict)

    with world(rewarded, BatchSettings(max_rows=2, wait_ms=0, in_flight=1)) as here:
        asyncio.run(main())
        assert here.counted == {}


def test_a_broken_reward_model_is_found_out_with_deadlines_too(rewarded: TinyCascade) -> None:
    rewards: FloatArray = np.array([[1.0, np.nan, 2.0], [1.0, np.inf, 2.0]], np.float32)
    allowed = np.array([[True, False, True]] * 2)
    policy = snapshot_of(space_of(rewarded)).policy
    wide = np.ones((2, len(policy.costs)), np.float32)
    wide[:, :3] = without(rewards, allowed)
    for row in wide:
        with pytest.raises(FixFile, match="NaN or infinite"):
            policy.decide(row[None, :])


def together(app: FastAPI, bodies: list[dict]) -> list[httpx.Response]:
    async def main() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://greenflow") as client:
            return await asyncio.gather(*(client.post("/v1/recommend", json=body) for body in bodies))

    return asyncio.run(main())


def test_over_http_a_full_queue_is_503_with_retry_after_and_a_deadline_504_without(rewarded: TinyCascade) -> None:
    batch = BatchSettings(max_rows=1, wait_ms=0, in_flight=1, most_waiting=2)
    with world(rewarded, batch) as here:
        app = make_app(here.recommender, 4096)
        body = {"user_id": 2, "chain": HEAVY}
        start_s = time.perf_counter()
        answers = together(app, [{**body, "timeout_ms": 100}, *[body] * 4])
        took_s = time.perf_counter() - start_s
        assert sorted(answer.status_code for answer in answers) == [200, 503, 503, 503, 504]
        assert took_s < 3 * SLOW_S
        for answer in answers:
            assert answer.headers.get("retry-after") == ("1" if answer.status_code == 503 else None)
            assert answer.status_code == 200 or answer.json()["detail"]
        assert here.counted == {"queue_full": 3, "out_of_time": 1}


@pytest.mark.parametrize("wrong", [0, -1, 600_001, 1.5, "100", True])
def test_a_timeout_out_of_bounds_is_refused(rewarded: TinyCascade, wrong: object) -> None:
    with world(rewarded, ALONE) as here:
        (answer,) = together(make_app(here.recommender, 4096), [{"user_id": 2, "timeout_ms": wrong}])
    assert answer.status_code == 422
    assert answer.json()["detail"][0]["loc"] == ["body", "timeout_ms"]
