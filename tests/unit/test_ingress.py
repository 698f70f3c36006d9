"""The HTTP API over a whole cascade inside this process: its promises, and every kind of bad input."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from fake_time import FakeTime
from fastapi import FastAPI
from tiny_cascade import STATIC, K, TinyCascade, chain_ids
from tiny_reward import MODEL, open_allocation, snapshot_of, space_of, with_reward
from tiny_serving import open_recommender

from cluster.cascade import CascadeExecutor
from cluster.config import BatchSettings
from cluster.deciding import Allocation
from cluster.ingress import make_app
from cluster.schemas import ChainsResponse, HealthResponse, PolicyResponse, ProblemResponse, RecommendResponse
from cluster.service import Probe, Recommender
from models.batch import IntArray, RaggedBatch, UserRows
from models.errors import TryAgain
from models.loading import Cascade

MAX_BODY = 4096
Body = dict[str, Any]


class Client:
    """A caller of one application; each call runs in an event loop of its own."""

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    def get(self, path: str) -> httpx.Response:
        return self.together([("GET", path, {})])[0]

    def post(self, body: object = None, **request: Any) -> httpx.Response:
        return self.together([("POST", "/v1/recommend", request or {"json": body})])[0]

    def ok(self, body: Body) -> Body:
        response = self.post(body)
        assert response.status_code == 200, response.text
        RecommendResponse.model_validate(response.json(), strict=True)
        answer: Body = response.json()
        return answer

    def together(self, requests: list[tuple[str, str, dict[str, Any]]]) -> list[httpx.Response]:
        """Send the requests at the same time."""

        async def main() -> list[httpx.Response]:
            transport = httpx.ASGITransport(self._app)
            async with (
                httpx.AsyncClient(transport=transport, base_url="http://greenflow") as client,
                asyncio.timeout(20),
            ):
                return await asyncio.gather(*(client.request(method, path, **rest) for method, path, rest in requests))

        return asyncio.run(main())


def serve(folder: Path) -> Iterator[Client]:
    with open_recommender(folder, BatchSettings(max_rows=4, wait_ms=1, in_flight=2)) as recommender:
        yield Client(make_app(recommender, MAX_BODY))


@pytest.fixture(scope="module")
def client(tiny: TinyCascade) -> Iterator[Client]:
    yield from serve(tiny.folder)


@pytest.fixture(scope="module", params=["tiny", "tiny_strings", "tiny_numbers"])
def served(request: pytest.FixtureRequest) -> Iterator[tuple[TinyCascade, Client]]:
    tiny = request.getfixturevalue(request.param)
    for client in serve(tiny.folder):
        yield tiny, client


def ids_of(answer: Body) -> list[int | str]:
    return [item["item_id"] for item in answer["items"]]


class TestAnswers:
    def test_every_user_gets_what_the_plain_loop_computes_under_every_chain(
        self, served: tuple[TinyCascade, Client]
    ) -> None:
        tiny, client = served
        wanted = [(user, chain) for chain in chain_ids() for user in tiny.user_ids.tolist()]
        answers = client.together(
            [("POST", "/v1/recommend", {"json": {"user_id": user, "chain": chain}}) for user, chain in wanted]
        )
        for (user, chain), answer in zip(wanted, answers, strict=True):
            rows, scores = tiny.expected(*tiny.features_of(user), chain, K)
            items = [
                {"item_id": tiny.item_ids[row].item(), "score": score} for row, score in zip(rows, scores, strict=True)
            ]
            assert answer.json()["items"] == items
            assert answer.json()["chain"]["id"] == chain

    def test_an_answer_is_complete(self, client: Client) -> None:
        answer = client.ok({"user_id": 2, "request_id": "r-1"})
        assert list(answer) == list(RecommendResponse.model_fields)
        assert answer | {"items": []} == {
            "request_id": "r-1",
            "items": [],
            "chain": {
                "id": STATIC,
                "stages": [
                    {"stage": "recall", "variant": "seq", "items": 12},
                    {"stage": "prerank", "variant": "light", "items": 8},
                    {"stage": "rank", "variant": "fine", "items": 4},
                ],
            },
            "predicted_reward": None,
            "cost": {"flops": 100 + 6 * 12 + 30 + 3 * 8 + 10_000 + 1000 * 4, "energy_j": None}
            | {"co2e_g": None, "quality": None},
            "policy_version": None,
            "degraded": False,
        }

    @pytest.mark.parametrize("k", [1, 2])
    def test_exactly_k_distinct_items_come_best_first(self, served: tuple[TinyCascade, Client], k: int) -> None:
        tiny, client = served
        for user in tiny.user_ids.tolist():
            answer = client.ok({"user_id": user, "k": k})
            scores = [item["score"] for item in answer["items"]]
            assert len(set(ids_of(answer))) == k
            assert scores == sorted(scores, reverse=True)
            assert ids_of(answer) == tiny.expected_ids(user, k=k)

    def test_k_left_out_is_that_of_the_cascade(self, client: Client) -> None:
        assert len(client.ok({"user_id": 2})["items"]) == K
        assert len(client.ok({"user_id": 2, "k": None})["items"]) == K

    def test_a_request_id_is_echoed(self, client: Client) -> None:
        assert client.ok({"user_id": 2, "request_id": "Ünï-42"})["request_id"] == "Ünï-42"
        assert client.ok({"user_id": 2, "request_id": ""})["request_id"] == ""

    def test_a_request_id_left_out_is_made_up_anew(self, client: Client) -> None:
        made_up = {client.ok({"user_id": 2})["request_id"] for _ in range(5)}
        assert len(made_up) == 5
        assert all(made_up)

    @pytest.mark.parametrize("user", [99, -1, 10**30, "2", "", "nobody", "x" * 256])
    def test_an_unknown_user_is_served_from_cold_features(
        self, served: tuple[TinyCascade, Client], user: int | str
    ) -> None:
        tiny, client = served
        assert ids_of(client.ok({"user_id": user})) == tiny.expected_ids(user)

    def test_context_overrides_stored_features(self, tiny: TinyCascade, client: Client) -> None:
        features, history = tiny.features_of(7)
        differs = 0
        for level in range(4):
            overridden = features.copy()
            overridden[0], overridden[1] = level, 3
            rows, _ = tiny.expected(overridden, history, "dot>skip>skip", K)
            body = {"user_id": 7, "chain": "dot>skip>skip", "context": {"level": level, "country": 7}}
            assert ids_of(client.ok(body)) == tiny.item_ids[rows].tolist()
            differs += tiny.item_ids[rows].tolist() != tiny.expected_ids(7, "dot>skip>skip")
        assert differs

    def test_history_overrides_the_stored_one(self, tiny: TinyCascade, client: Client) -> None:
        features, stored = tiny.features_of(3)
        differs = 0
        for history in ([], [10], [120, 120, 120], [10, "gone", 20]):
            encoded = [0] * 3 + [tiny.item_ids.tolist().index(i) + 1 for i in history if i in tiny.item_ids.tolist()]
            rows, scores = tiny.expected(features, stored * 0 + encoded[-3:], STATIC, K)
            answer = client.ok({"user_id": 3, "history": history})
            assert ids_of(answer) == tiny.item_ids[rows].tolist()
            assert [item["score"] for item in answer["items"]] == scores
            differs += scores != tiny.expected(features, stored, STATIC, K)[1]
        assert differs

    def test_overrides_given_as_null_are_none(self, client: Client, tiny: TinyCascade) -> None:
        body = {"user_id": 2, "context": None, "history": None, "chain": None, "request_id": None}
        assert ids_of(client.ok(body)) == tiny.expected_ids(2)

    def test_a_user_of_no_table_is_served_well_by_context_and_history(self, tiny: TinyCascade, client: Client) -> None:
        level, country, spend = tiny.user_features[0].tolist()
        context = {
            "level": level,
            "country": ["unknown", "de", "fr", 7][country],
            "spend": [None, 5, 50, 500][spend],
        }
        history = [tiny.item_ids[code - 1].item() for code in tiny.history[0] if code]
        if context["spend"] is None:
            context.pop("spend")
        answer = client.ok({"user_id": "guest", "context": context, "history": history})
        features = tiny.user_features[0].copy()
        features[2] = features[2] or tiny.cold[2]
        rows, _ = tiny.expected(features, tiny.history[0], STATIC, K)
        assert ids_of(answer) == tiny.item_ids[rows].tolist()


WRONG: list[tuple[Body | list[Any] | str | None, list[str | int]]] = [
    ({}, ["body", "user_id"]),
    ({"user_id": None}, ["body", "user_id"]),
    ({"user_id": True}, ["body", "user_id"]),
    ({"user_id": 1.5}, ["body", "user_id"]),
    ({"user_id": [2]}, ["body", "user_id"]),
    ({"user_id": "x" * 257}, ["body", "user_id"]),
    ({"user_id": 2, "colour": "green"}, ["body", "colour"]),
    ({"user_id": 2, "k": 0}, ["body", "k"]),
    ({"user_id": 2, "k": -1}, ["body", "k"]),
    ({"user_id": 2, "k": 3}, ["body", "k"]),
    ({"user_id": 2, "k": 10**30}, ["body", "k"]),
    ({"user_id": 2, "k": 1.0}, ["body", "k"]),
    ({"user_id": 2, "k": "1"}, ["body", "k"]),
    ({"user_id": 2, "k": True}, ["body", "k"]),
    ({"user_id": 2, "request_id": 7}, ["body", "request_id"]),
    ({"user_id": 2, "request_id": "x" * 129}, ["body", "request_id"]),
    ({"user_id": 2, "chain": "none"}, ["body", "chain"]),
    ({"user_id": 2, "chain": "seq>light@4>fine@8"}, ["body", "chain"]),
    ({"user_id": 2, "chain": 3}, ["body", "chain"]),
    ({"user_id": 2, "chain": "x" * 513}, ["body", "chain"]),
    ({"user_id": 2, "context": [1]}, ["body", "context"]),
    ({"user_id": 2, "context": {"colour": 1}}, ["body", "context", "colour"]),
    ({"user_id": 2, "context": {"level": 4}}, ["body", "context", "level"]),
    ({"user_id": 2, "context": {"level": "high"}}, ["body", "context", "level"]),
    ({"user_id": 2, "context": {"level": True}}, ["body", "context", "level"]),
    ({"user_id": 2, "context": {"spend": 10**400}}, ["body", "context", "spend"]),
    ({"user_id": 2, "context": {"country": ["de"]}}, ["body", "context", "country"]),
    ({"user_id": 2, "context": {f"f{n}": n for n in range(101)}}, ["body", "context"]),
    ({"user_id": 2, "history": 10}, ["body", "history"]),
    ({"user_id": 2, "history": [10, None]}, ["body", "history", 1]),
    ({"user_id": 2, "history": [10, True]}, ["body", "history", 1]),
    ({"user_id": 2, "history": [1] * 1001}, ["body", "history"]),
    ([], ["body"]),
    ("text", ["body"]),
    (None, ["body"]),
]


def problem_of(response: httpx.Response) -> list[str | int]:
    assert response.status_code == 422, (response.status_code, response.text)
    assert response.headers["content-type"] == "application/json"
    problem = ProblemResponse.model_validate(response.json()).detail[0]
    assert problem.msg
    return problem.loc


class TestRefusals:
    @pytest.mark.parametrize(("body", "loc"), WRONG, ids=[json.dumps(body)[:60] for body, _ in WRONG])
    def test_a_wrong_request_is_refused_by_field(self, client: Client, body: object, loc: list[str | int]) -> None:
        assert problem_of(client.post(body))[: len(loc)] == loc

    @pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e999"])
    @pytest.mark.parametrize("name", ["level", "spend"])
    def test_a_context_that_is_no_finite_number_is_refused(self, client: Client, name: str, value: str) -> None:
        content = f'{{"user_id": 2, "context": {{"{name}": {value}}}}}'
        response = client.post(content=content, headers={"content-type": "application/json"})
        assert problem_of(response) == ["body", "context", name]

    @pytest.mark.parametrize("value", [1e39, -1e300])
    def test_a_number_that_the_models_cannot_hold_is_refused(self, tiny_numbers: TinyCascade, value: float) -> None:
        for client in serve(tiny_numbers.folder):
            loc = problem_of(client.post({"user_id": 2, "context": {"balance": value}}))
            assert loc == ["body", "context", "balance"]

    @pytest.mark.parametrize(
        "content",
        [
            b"",
            b"{",
            b"user_id=2",
            b'{"user_id": 2,}',
            b'{"user_id": "\xff"}',
            b'{"user_id": ' + b"1" * 4000 + b"e}",
            b"[" * 4000,
            b'{"user_id": "\\ud800"}',
            b'{"user_id": 2, "\\ud800": 1}',
            b'{"user_id": 2, "request_id": "\\ud800"}',
            b'{"user_id": 2, "context": {"\\ud800": 1}}',
        ],
    )
    def test_a_body_that_is_not_proper_json_is_refused(self, client: Client, content: bytes) -> None:
        loc = problem_of(client.post(content=content, headers={"content-type": "application/json"}))
        assert loc[0] == "body"

    def test_a_number_of_thousands_of_digits_is_refused(self, tiny: TinyCascade) -> None:
        with open_recommender(tiny.folder) as recommender:
            client = Client(make_app(recommender, 1 << 20))
            content = b'{"user_id": ' + b"1" * 5000 + b"}"
            loc = problem_of(client.post(content=content, headers={"content-type": "application/json"}))
        assert loc[0] == "body"

    def test_a_body_of_another_type_is_refused(self, client: Client) -> None:
        assert problem_of(client.post(content=b'{"user_id": 2}', headers={"content-type": "text/plain"}))[0] == "body"

    @pytest.mark.parametrize("declared", [True, False], ids=["declared length", "undeclared length"])
    def test_an_over_long_body_is_refused(self, client: Client, declared: bool) -> None:
        body = json.dumps({"user_id": 2, "request_id": "x" * MAX_BODY}).encode()
        response = client.post(content=body if declared else pieces(body), headers=JSON)
        assert problem_of(response) == ["body"]
        assert str(MAX_BODY) in response.json()["detail"][0]["msg"]

    @pytest.mark.parametrize("declared", [True, False], ids=["declared length", "undeclared length"])
    def test_a_body_of_just_the_allowed_length_is_answered(self, client: Client, declared: bool) -> None:
        body = b'{"user_id": 2, "history": []}'
        body += b" " * (MAX_BODY - len(body))
        response = client.post(content=body if declared else pieces(body), headers=JSON)
        assert response.status_code == 200

    def test_an_over_long_body_is_not_read_to_its_end(self, client: Client) -> None:
        read: list[int] = []

        async def endless() -> AsyncIterator[bytes]:
            while True:
                read.append(1)
                yield b"x" * 1024

        assert problem_of(client.post(content=endless(), headers=JSON)) == ["body"]
        assert len(read) <= MAX_BODY // 1024 + 2

    def test_a_length_that_is_no_number_is_refused(self, client: Client) -> None:
        headers = {**JSON, "content-length": "many"}
        assert problem_of(client.post(content=pieces(b'{"user_id": 2}'), headers=headers)) == ["body"]

    def test_refusals_do_not_repeat_what_was_sent(self, client: Client) -> None:
        assert "secret" not in client.post({"user_id": 2, "k": "secret"}).text

    def test_a_refused_request_leaves_its_micro_batch_alone(self, tiny: TinyCascade, client: Client) -> None:
        bodies: list[Body] = [{"user_id": 2}, {"user_id": 3, "context": {"level": 9}}, {"user_id": 5}]
        answers = client.together([("POST", "/v1/recommend", {"json": body}) for body in bodies])
        assert [answer.status_code for answer in answers] == [200, 422, 200]
        assert ids_of(answers[2].json()) == tiny.expected_ids(5)

    @pytest.mark.parametrize(("method", "path"), [("GET", "/v1/recommend"), ("POST", "/v1/chains"), ("GET", "/v2")])
    def test_what_is_not_there_is_not_found(self, client: Client, method: str, path: str) -> None:
        assert client.together([(method, path, {})])[0].status_code in (404, 405)


JSON = {"content-type": "application/json"}


async def pieces(body: bytes) -> AsyncIterator[bytes]:
    """A body of undeclared length."""
    for start in range(0, len(body), 1000):
        yield body[start : start + 1000]


class TestListings:
    def test_all_chains_are_listed_in_order_with_their_costs(self, client: Client) -> None:
        response = client.get("/v1/chains")
        listing = ChainsResponse.model_validate_json(response.text)
        assert (response.status_code, listing.cascade, listing.k) == (200, "tiny", K)
        assert [chain.id for chain in listing.chains] == chain_ids()
        assert [chain.id for chain in listing.chains if chain.static] == [STATIC]
        costs = {chain.id: chain.cost.flops for chain in listing.chains}
        assert costs["dot>skip>skip"] == 10 + 6 * 12
        assert costs["dot>heavy@4>skip"] == 10 + 6 * 12 + 70 + 7 * 4
        assert [(s.variant, s.items) for s in listing.chains[-1].stages] == [("seq", 12), (None, 0), (None, 0)]

    def test_every_listed_chain_may_be_asked_for(self, client: Client) -> None:
        for chain in client.get("/v1/chains").json()["chains"]:
            answer = client.ok({"user_id": 2, "chain": chain["id"]})
            assert answer["chain"] == {"id": chain["id"], "stages": chain["stages"]}
            assert answer["cost"] == chain["cost"]

    def test_the_api_describes_itself(self, client: Client) -> None:
        assert "swagger" in client.get("/docs").text.lower()
        api = client.get("/openapi.json").json()
        assert api["info"]["title"] == "GreenFlow"
        assert set(api["paths"]) == {"/v1/recommend", "/v1/chains", "/v1/policy", "/v1/health"}
        answers = api["paths"]["/v1/recommend"]["post"]["responses"]
        assert set(answers) >= {"200", "422", "503"}
        assert answers["200"]["content"]["application/json"]["schema"]["$ref"].endswith("/RecommendResponse")
        assert api["components"]["schemas"]["RecommendRequest"]["properties"]["k"]["description"]


def test_only_the_documented_path_recommends(tiny: TinyCascade) -> None:
    with open_recommender(tiny.folder, BatchSettings()) as recommender:
        app = make_app(recommender, MAX_BODY)

        async def status(path: str, root: str = "") -> int:
            transport = httpx.ASGITransport(app, root_path=root)
            async with httpx.AsyncClient(transport=transport, base_url="http://app") as client:
                return (await client.post(path, json={"user_id": 2})).status_code

        assert asyncio.run(status("/v1/recommend")) == 200
        assert asyncio.run(status("/shop/v1/recommend", root="/shop")) == 200
        assert asyncio.run(status("/shop/v1/recommend")) == 404


class Gone:
    """A runner whose replica is never there."""

    async def run(self, users: UserRows, candidates: RaggedBatch | None, keep: IntArray) -> RaggedBatch:
        raise TryAgain("rank-fine: ActorDiedError")


async def answers() -> None:
    """A probe of a variant that lives."""


async def fails() -> None:
    raise ConnectionError("no replica\nand a long story")


def with_probes(tiny: TinyCascade, probes: dict[str, Probe]) -> Client:
    cascade = Cascade.open(tiny.folder)
    gone = {(s.name, v.name): Gone() for s in cascade.spec.stages for v in s.variants}
    return Client(make_app(Recommender(cascade, CascadeExecutor(gone), BatchSettings(), probes), MAX_BODY))


VARIANTS = ["recall/dot", "recall/seq", "prerank/light", "prerank/heavy", "rank/fine"]


class TestHealth:
    def test_all_is_well_when_every_variant_answers(self, client: Client) -> None:
        response = client.get("/v1/health")
        assert response.status_code == 200
        assert response.json() == {"healthy": True, "cascade": "tiny", "variants": dict.fromkeys(VARIANTS, "ok")}

    @pytest.mark.parametrize(
        ("lost", "status"),
        [
            ({"recall/dot"}, 200),
            ({"prerank/heavy", "recall/seq"}, 200),
            ({"rank/fine"}, 503),
            ({"recall/dot", "recall/seq"}, 503),
            (set(VARIANTS), 503),
        ],
    )
    def test_a_stage_without_any_variant_is_not_healthy_and_each_lost_one_is_named(
        self, tiny: TinyCascade, lost: set[str], status: int
    ) -> None:
        client = with_probes(tiny, {name: fails if name in lost else answers for name in VARIANTS})
        response = client.get("/v1/health")
        state = HealthResponse.model_validate_json(response.text)
        assert (response.status_code, state.healthy) == (status, status == 200)
        assert {name for name, text in state.variants.items() if text != "ok"} == lost
        assert all(text == "ConnectionError: no replica" for text in state.variants.values() if text != "ok")

    def test_a_stage_that_cannot_answer_means_503_with_retry_after(self, tiny: TinyCascade) -> None:
        response = with_probes(tiny, dict.fromkeys(VARIANTS, answers)).post({"user_id": 2})
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) >= 1
        assert "rank-fine" in response.json()["detail"]


@pytest.fixture(scope="module")
def rewarded(tiny: TinyCascade, tmp_path_factory: pytest.TempPathFactory) -> TinyCascade:
    return with_reward(tiny, tmp_path_factory.mktemp("reward") / "cascade")


class TestPolicy:
    @pytest.fixture
    def time(self) -> FakeTime:
        return FakeTime(100.0)

    @pytest.fixture
    def allocation(self, rewarded: TinyCascade, time: FakeTime) -> Iterator[Allocation]:
        with open_allocation(rewarded, time) as allocation:
            yield allocation

    @pytest.fixture
    def decides(self, rewarded: TinyCascade, allocation: Allocation) -> Iterator[Client]:
        with open_recommender(rewarded.folder, allocation=allocation) as recommender:
            yield Client(make_app(recommender, MAX_BODY))

    def test_it_says_how_the_policy_stands(
        self, decides: Client, allocation: Allocation, rewarded: TinyCascade, time: FakeTime
    ) -> None:
        snapshot = snapshot_of(space_of(rewarded), 12, price=3e-6)
        allocation.follower.snapshot = snapshot
        time.now_s += 2.5
        response = decides.get("/v1/policy")
        PolicyResponse.model_validate(response.json(), strict=True)
        constraint = {"name": "flops", "kind": "flops", "limit": 1e6, "unit": "FLOP/s", "spend": 5e5, "price": 3e-6}
        assert response.json() == {
            "version": 12,
            "time_s": 0.0,
            "age_s": 2.5,
            "stale": False,
            "reward_model": MODEL,
            "constraints": [constraint],
            "available": len(space_of(rewarded)),
            "masked": [],
            "safe_chain": "dot>skip>skip",
        }

    def test_no_limit_is_null(self, decides: Client, allocation: Allocation, rewarded: TinyCascade) -> None:
        snapshot = snapshot_of(space_of(rewarded))
        unlimited = replace(snapshot.standings[0], limit_per_s=float("inf"))
        allocation.follower.snapshot = replace(snapshot, standings=(unlimited,))
        assert decides.get("/v1/policy").json()["constraints"][0]["limit"] is None

    def test_masked_chains_are_named(self, decides: Client, allocation: Allocation, rewarded: TinyCascade) -> None:
        space = space_of(rewarded)
        snapshot = snapshot_of(space)
        available = np.arange(len(space)) >= 3
        allocation.follower.snapshot = replace(snapshot, policy=snapshot.policy.next(1.0, available=available))
        state = decides.get("/v1/policy").json()
        assert state["masked"] == [chain.id for chain in space.chains[:3]]
        assert state["available"] == len(space) - 3

    def test_a_policy_that_is_not_confirmed_is_stale(
        self, decides: Client, allocation: Allocation, rewarded: TinyCascade, time: FakeTime
    ) -> None:
        allocation.follower.snapshot = snapshot_of(space_of(rewarded))
        time.now_s += 10.5
        state = decides.get("/v1/policy").json()
        assert (state["stale"], state["age_s"]) == (True, 10.5)
        assert decides.ok({"user_id": 2})["policy_version"] == 1, "a stale policy is still decided by"

    def test_before_the_first_policy_it_asks_to_come_back_and_requests_are_degraded(self, decides: Client) -> None:
        response = decides.get("/v1/policy")
        assert (response.status_code, response.headers["retry-after"]) == (503, "1")
        answer = decides.ok({"user_id": 2})
        assert (answer["degraded"], answer["chain"]["id"]) == (True, "dot>skip>skip")

    def test_without_an_allocator_it_names_the_chain_that_runs(self, client: Client) -> None:
        response = client.get("/v1/policy")
        assert response.status_code == 404
        assert STATIC in response.json()["detail"]

    def test_decided_requests_say_by_what_and_for_what(
        self, decides: Client, allocation: Allocation, rewarded: TinyCascade
    ) -> None:
        space = space_of(rewarded)
        allocation.follower.snapshot = snapshot_of(space, 8)
        answer = decides.ok({"user_id": 2})
        chain = space.get(answer["chain"]["id"])
        assert chain is not None
        assert (answer["policy_version"], answer["cost"]["flops"]) == (8, chain.flops)
        assert answer["predicted_reward"] > 0
        assert answer["degraded"] is False
