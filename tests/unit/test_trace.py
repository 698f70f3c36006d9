"""POST /v1/trace: one request, run for real and explained; it counts as work and as nothing else."""

import asyncio
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from ingress_client import MAX_BODY, Client, serve
from tiny_cascade import STATIC, K, TinyCascade, chain_ids
from tiny_reward import SAFE, open_allocation, snapshot_of, space_of, with_reward
from tiny_serving import inline_runners

from allocator.energy.windows import SERVING
from allocator.joules import Quality
from allocator.request_joules import Rates
from cluster.cascade import CascadeExecutor, StageRunner
from cluster.config import BatchSettings
from cluster.deciding import Allocation
from cluster.ingress import make_app
from cluster.service import Recommender
from cluster.tracing.chains import chains_payload
from cluster.tracing.schemas import TraceResponse
from cluster.work import CountedVariant, Workbook
from models.batch import IntArray, RaggedBatch, UserRows
from models.errors import Lost, TryAgain
from models.features import UserQuery
from models.loading import Cascade

Runners = dict[tuple[str, str], StageRunner]


class Fails:
    """A runner that raises this."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def run(self, users: UserRows, candidates: RaggedBatch | None, keep: IntArray) -> RaggedBatch:
        raise self.error


class Waits:
    """A runner that answers when it is told to."""

    def __init__(self, inner: StageRunner) -> None:
        self.inner, self.go = inner, asyncio.Event()

    async def run(self, users: UserRows, candidates: RaggedBatch | None, keep: IntArray) -> RaggedBatch:
        await self.go.wait()
        return await self.inner.run(users, candidates, keep)


@pytest.fixture(scope="module")
def rewarded(tiny: TinyCascade, tmp_path_factory: pytest.TempPathFactory) -> TinyCascade:
    return with_reward(tiny, tmp_path_factory.mktemp("reward") / "cascade")


@pytest.fixture
def allocation(rewarded: TinyCascade) -> Iterator[Allocation]:
    with open_allocation(rewarded, share=0.5, recorded=True) as allocation:
        allocation.follower.snapshot = snapshot_of(space_of(rewarded), 7, price=3e-6)
        yield allocation


@contextmanager
def app_of(
    tiny: TinyCascade, allocation: Allocation, instead: Mapping[Any, StageRunner] | None = None
) -> Iterator[FastAPI]:
    cascade = Cascade.open(tiny.folder)
    with ThreadPoolExecutor(2) as threads:
        runners: Runners = {**inline_runners(cascade, threads), **(instead or {})}
        recommender = Recommender(cascade, CascadeExecutor(runners), BatchSettings(), {}, allocation=allocation)
        yield make_app(recommender, MAX_BODY)


def traced(app: FastAPI, **body: Any) -> dict[str, Any]:
    response = post(app, {"user_id": 2, **body})
    assert response.status_code == 200, response.text
    TraceResponse.model_validate_json(response.content, strict=True)
    told: dict[str, Any] = response.json()
    return told


def post(app: FastAPI, body: Any) -> httpx.Response:
    return Client(app).together([("POST", "/v1/trace", {"json": body})])[0]


def test_all_chains_are_listed_by_net_reward_and_the_first_one_ran(
    rewarded: TinyCascade, allocation: Allocation
) -> None:
    with app_of(rewarded, allocation) as app:
        told = traced(app)
    listed = told["chains"]
    assert sorted(one["id"] for one in listed) == sorted(chain_ids())
    assert told["chains_in_all"] == len(listed)
    nets = [one["net"] for one in listed]
    assert nets == sorted(nets, reverse=True)
    for one in listed:
        assert one["priced"] == pytest.approx(3e-6 * one["cost"]["flops"])
        assert one["net"] == pytest.approx(one["reward"] - one["priced"])
        assert one["available"] is True
    assert [one["id"] for one in listed if one["chosen"]] == [listed[0]["id"]] == [told["chain"]["id"]]
    assert [one["id"] for one in listed if one["static"]] == [STATIC]
    assert (told["predicted_reward"], told["net"]) == (listed[0]["reward"], listed[0]["net"])
    assert (told["policy_version"], told["degraded"]) == (7, False)
    assert told["prices"] == [{"constraint": "flops", "unit": "FLOP", "price": 3e-6}]


@pytest.mark.parametrize("chain", [STATIC, "dot>skip>skip", "seq>heavy@8>fine@4", "dot>light@4>skip"])
def test_the_answer_is_that_of_a_recommendation_and_every_stage_tells_what_it_did(
    rewarded: TinyCascade, allocation: Allocation, chain: str
) -> None:
    with app_of(rewarded, allocation) as app:
        told = traced(app, chain=chain, k=2, history=[10, 20], request_id="r")
        asked = {"user_id": 2, "chain": chain, "k": 2, "history": [10, 20]}
        answer = Client(app).ok(asked)
    assert told["items"] == answer["items"]
    assert told["chain"] == answer["chain"]
    assert (told["request_id"], told["user_id"]) == ("r", 2)
    handed = len(rewarded.item_ids)
    for stage, action in zip(told["stages"], told["chain"]["stages"], strict=True):
        assert (stage["stage"], stage["variant"]) == (action["stage"], action["variant"])
        assert stage["items_in"] == handed
        assert (stage["took_ms"] is None) == (action["variant"] is None)
        scores = [item["score"] for item in stage["best"]]
        assert scores == sorted(scores, reverse=True)
        assert len(scores) == min(5, stage["items_out"])
        handed = stage["items_out"]
    assert handed == 2
    assert told["stages"][-1]["best"] == told["items"]


def test_it_is_told_in_joules_by_stage_and_chain_where_they_are_known(
    rewarded: TinyCascade, allocation: Allocation
) -> None:
    space = space_of(rewarded)
    joules = dict.fromkeys(space.variants, (1.0, 0.25)) | {SERVING: (0.5, 0.125)}
    rates = Rates(joules, 2.0, Quality.MODELLED, Quality.MODELLED)
    assert allocation.follower.snapshot is not None
    allocation.follower.snapshot = replace(allocation.follower.snapshot, rates=rates)
    with app_of(rewarded, allocation) as app:
        told = traced(app, chain=STATIC)
    items = [action.items for action in space.static.actions]
    assert [stage["energy_j"] for stage in told["stages"]] == [1.0 + 0.25 * count for count in items]
    whole_j = sum(1.0 + 0.25 * count for count in items) + 0.625
    assert (told["cost"]["energy_j"], told["cost"]["co2e_g"]) == (whole_j, 2.0 * whole_j)
    static = next(one for one in told["chains"] if one["static"])
    assert static["cost"] == told["cost"]
    assert told["cost"]["quality"] == "modelled"


def test_a_chain_that_is_named_runs_though_another_one_is_better(rewarded: TinyCascade, allocation: Allocation) -> None:
    with app_of(rewarded, allocation) as app:
        told = traced(app, chain="dot>skip>skip")
    assert told["chain"]["id"] == "dot>skip>skip"
    (chosen,) = (one for one in told["chains"] if one["chosen"])
    assert chosen["id"] == "dot>skip>skip"
    assert told["chains"][0]["net"] > chosen["net"]
    assert told["degraded"] is False


def test_it_is_work_and_neither_a_request_nor_part_of_the_experiment(
    rewarded: TinyCascade, allocation: Allocation
) -> None:
    cascade, book = Cascade.open(rewarded.folder), allocation.tally.book
    assert isinstance(book, Workbook)
    with ThreadPoolExecutor(2) as threads:
        runners: Runners = dict(inline_runners(cascade, threads))
        for (stage, name), runner in runners.items():
            counted = CountedVariant(_Variant(runner), (stage, name), book, len(cascade.items), 64)  # type: ignore[arg-type]
            runners[stage, name] = type(runner)(counted, threads)  # type: ignore[call-arg]
        recommender = Recommender(cascade, CascadeExecutor(runners), BatchSettings(), {}, allocation=allocation)
        for user in range(8):
            traced(make_app(recommender, MAX_BODY), user_id=user, chain=STATIC)
    totals = allocation.tally.totals(0.0)
    assert {name: counts.calls for (_, name, _), counts in totals.work.items() if counts.calls} == {
        action.variant: 8 for action in space_of(rewarded).static.actions
    }
    assert (totals.executed.sum(), totals.decided, totals.handed, totals.took.sum()) == (0, 0, 0, 0)
    assert totals.degraded == {}
    assert len(allocation.tally.take_sample()) == 0
    assert allocation.recorder is not None
    assert allocation.recorder.take().decisions == ()


class _Variant:
    """What an inline runner runs."""

    def __init__(self, runner: Any) -> None:
        self.run = runner.run_here


def test_where_no_policy_decides_the_static_chain_runs_and_there_is_nothing_to_weigh(tiny: TinyCascade) -> None:
    for client in serve(tiny.folder):
        response = client.together([("POST", "/v1/trace", {"json": {"user_id": 2}})])[0]
        told = TraceResponse.model_validate_json(response.content, strict=True)
        assert (told.chain.id, told.chains, told.prices) == (STATIC, [], [])
        assert (told.predicted_reward, told.net, told.policy_version, told.degraded) == (None, None, None, False)
        assert len(told.items) == K


def test_where_nobody_can_decide_the_safe_chain_runs_degraded(rewarded: TinyCascade, allocation: Allocation) -> None:
    allocation.follower.snapshot = None
    with app_of(rewarded, allocation) as app:
        told = traced(app)
    assert (told["chain"]["id"], told["degraded"], told["chains"]) == (SAFE, True, [])


def test_a_lost_variant_is_replaced_by_the_nearest_and_one_that_was_named_is_not(
    rewarded: TinyCascade, allocation: Allocation
) -> None:
    with app_of(rewarded, allocation) as app:
        chain = traced(app)["chain"]
    last = chain["stages"][-1]
    name = last["stage"], last["variant"]
    assert last["variant"] is not None
    with app_of(rewarded, allocation, {name: Fails(Lost(*name))}) as app:
        told = traced(app)
        assert told["degraded"] is True
        assert told["chain"]["stages"][-1]["variant"] != last["variant"]
        refused = post(app, {"user_id": 2, "chain": chain["id"]})
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")


def test_a_stage_that_cannot_answer_means_try_again(rewarded: TinyCascade, allocation: Allocation) -> None:
    broken = {("recall", variant): Fails(TryAgain("it died")) for variant in ("dot", "seq")}
    with app_of(rewarded, allocation, broken) as app:
        assert post(app, {"user_id": 2}).status_code == 503


def test_one_is_traced_at_a_time_and_the_next_one_after_it(rewarded: TinyCascade, allocation: Allocation) -> None:
    async def main() -> list[httpx.Response]:
        cascade = Cascade.open(rewarded.folder)
        with ThreadPoolExecutor(2) as threads:
            runners: Runners = dict(inline_runners(cascade, threads))
            waits = Waits(runners["recall", "seq"])
            runners["recall", "seq"] = waits
            recommender = Recommender(cascade, CascadeExecutor(runners), BatchSettings(), {}, allocation=allocation)
            transport = httpx.ASGITransport(make_app(recommender, MAX_BODY))
            body = {"user_id": 2, "chain": STATIC}
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                first = asyncio.create_task(client.post("/v1/trace", json=body))
                await asyncio.sleep(0.1)
                second = await client.post("/v1/trace", json=body)
                hurried = await client.post("/v1/trace", json=body | {"user_id": 3})
                waits.go.set()
                return [await first, second, hurried, await client.post("/v1/trace", json=body)]

    answers = asyncio.run(main())
    assert [answer.status_code for answer in answers] == [200, 429, 429, 200]
    assert answers[1].headers["retry-after"] == "1"


def test_a_request_that_is_out_of_time_is_let_go_of(rewarded: TinyCascade, allocation: Allocation) -> None:
    cascade = Cascade.open(rewarded.folder)

    async def main() -> list[int]:
        with ThreadPoolExecutor(2) as threads:
            runners: Runners = dict(inline_runners(cascade, threads))
            waits = Waits(runners["recall", "seq"])
            runners["recall", "seq"] = waits
            recommender = Recommender(cascade, CascadeExecutor(runners), BatchSettings(), {}, allocation=allocation)
            transport = httpx.ASGITransport(make_app(recommender, MAX_BODY))
            body = {"user_id": 2, "chain": STATIC}
            async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
                late = await client.post("/v1/trace", json=body | {"timeout_ms": 20})
                waits.go.set()
                return [late.status_code, (await client.post("/v1/trace", json=body)).status_code]

    assert asyncio.run(main()) == [504, 200]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "user_id"),
        ({"user_id": 2, "k": 0}, "k"),
        ({"user_id": 2, "chain": "best"}, "chain"),
        ({"user_id": 2, "context": {"size": 1}}, "context"),
        ({"user_id": 2, "other": 1}, "other"),
    ],
)
def test_what_is_wrong_is_named_as_in_a_recommendation(
    rewarded: TinyCascade, allocation: Allocation, body: dict[str, Any], field: str
) -> None:
    with app_of(rewarded, allocation) as app:
        refused = post(app, body)
        usual = Client(app).post(body)
    assert (refused.status_code, refused.json()) == (422, usual.json())
    assert field in refused.json()["detail"][0]["loc"]


@pytest.mark.parametrize(("user_id", "known"), [(2, True), ("2", False), (4, False), (10**30, False)])
def test_it_is_told_whether_the_user_is_known(
    rewarded: TinyCascade, allocation: Allocation, user_id: int | str, known: bool
) -> None:
    with app_of(rewarded, allocation) as app:
        assert traced(app, user_id=user_id)["user_known"] is known


def test_of_string_ids_only_strings_are_known(tiny_strings: TinyCascade) -> None:
    for client in serve(tiny_strings.folder):
        for user_id, known in (("amy", True), ("ann", False), (2, False)):
            response = client.together([("POST", "/v1/trace", {"json": {"user_id": user_id}})])[0]
            assert TraceResponse.model_validate_json(response.content, strict=True).user_known is known


@pytest.mark.parametrize("most", [1, 3])
def test_of_very_many_chains_the_best_are_listed_with_the_one_that_ran_and_the_static_one(
    rewarded: TinyCascade, allocation: Allocation, most: int
) -> None:
    space, users = space_of(rewarded), Cascade.open(rewarded.folder).users.rows([UserQuery(2)])
    assert allocation.decider is not None
    explained = asyncio.run(allocation.decider.explain(users))
    ran = space.get("dot>skip>skip")
    assert ran is not None
    whole = chains_payload(space, explained, ran, None, None)
    some = chains_payload(space, explained, ran, None, None, most)
    assert some == [one for at, one in enumerate(whole) if at < most or one["chosen"] or one["static"]]
    assert len(some) <= most + 2 < len(whole) == len(space)
