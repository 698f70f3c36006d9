"""The HTTP API over a whole cascade inside this process: what it answers, and what it lists."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest
from ingress_client import MAX_BODY, Client, ids_of, serve
from tiny_cascade import STATIC, K, TinyCascade, chain_ids
from tiny_serving import open_recommender

from cluster.config import BatchSettings
from cluster.ingress import make_app
from cluster.schemas import ChainsResponse, RecommendResponse


@pytest.fixture(scope="module")
def client(tiny: TinyCascade) -> Iterator[Client]:
    yield from serve(tiny.folder)


@pytest.fixture(scope="module", params=["tiny", "tiny_strings", "tiny_numbers"])
def served(request: pytest.FixtureRequest) -> Iterator[tuple[TinyCascade, Client]]:
    tiny = request.getfixturevalue(request.param)
    for client in serve(tiny.folder):
        yield tiny, client


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
            "arm": None,
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
        names = ["recommend", "chains", "policy", "health", "power", "energy"]
        names += ["constraints", "constraints/{name}", "constraints/changes", "feedback", "savings", "reward-model"]
        names += ["live", "trace"]
        assert set(api["paths"]) == {f"/v1/{name}" for name in names}
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
