"""PUT, DELETE and GET /v1/reward-model: who may, what is refused and how, and what they answer."""

import asyncio
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from ingress_client import Client
from promoting import BROKEN, OWN, A, Locked, name, opened
from tiny_cascade import TinyCascade
from tiny_serving import open_recommender

from cluster.ingress import make_app
from cluster.limits.tokens import tokens_of
from cluster.promotion.port import LocalPromotionDesk, Payload, PromotionDesk
from cluster.promotion.routes import CONTENT, MOST_BYTES, PATH, add_promotion
from cluster.promotion.schemas import RewardModelsResponse
from cluster.schemas import ProblemResponse
from models.errors import FixSetup, GreenFlowError, Late, TryAgain

MOST = 4096
ANNA, BO = "sesame-sesame-1234", "another+token/9876="
TOKENS = f"anna:{ANNA},bo:{BO}"
CHANGES = [("PUT", {"content": A}), ("DELETE", {})]
ALL = [("GET", {}), *CHANGES]


class Refusing:
    """Raises whatever is asked of it."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def reward_models(self) -> Payload:
        raise self.error

    async def put_reward_model(self, content: bytes, author: str) -> Payload:
        raise self.error

    async def reward_model_back(self, author: str) -> Payload:
        raise self.error


@pytest.fixture
def ledger() -> Locked:
    return Locked()


@pytest.fixture
def desk(ledger: Locked) -> LocalPromotionDesk:
    return LocalPromotionDesk(opened(ledger), lambda: 5.0)


def client_of(desk: PromotionDesk | None, tokens: str = TOKENS) -> Client:
    app = FastAPI()
    add_promotion(app, desk, tokens_of(tokens), MOST)
    return Client(app)


def call(client: Client, method: str, token: str | None = ANNA, **rest: Any) -> httpx.Response:
    headers = {"content-type": CONTENT, **({"authorization": f"Bearer {token}"} if token is not None else {})}
    return client.together([(method, PATH, {**rest, "headers": {**headers, **rest.get("headers", {})}})])[0]


def models(response: httpx.Response) -> RewardModelsResponse:
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json"), response.text
    return RewardModelsResponse.model_validate_json(response.content, strict=True)


def problem_of(response: httpx.Response) -> tuple[list[str | int], str]:
    assert response.status_code == 422, (response.status_code, response.text)
    (problem,) = ProblemResponse.model_validate(response.json()).detail
    return problem.loc, problem.msg


def current(desk: LocalPromotionDesk) -> str:
    told: str = asyncio.run(desk.reward_models())["current"]["name"]
    return told


def test_which_one_predicts_is_told_to_everybody(desk: LocalPromotionDesk) -> None:
    told = models(call(client_of(desk, ""), "GET", token=None))
    assert (told.current.name, told.current.own, told.current.author, told.current.since_s) == (
        name(OWN),
        True,
        None,
        None,
    )
    assert told.previous is None


def test_a_model_is_promoted_and_taken_back_in_the_names_of_the_tokens_holders(desk: LocalPromotionDesk) -> None:
    client = client_of(desk)
    promoted = models(call(client, "PUT", content=A))
    assert (promoted.current.name, promoted.current.own) == (name(A), False)
    assert (promoted.current.author, promoted.current.since_s) == ("anna", 5.0)
    assert promoted.previous is not None
    assert promoted.previous.name == name(OWN)
    back = models(call(client, "DELETE", token=BO))
    assert (back.current.name, back.current.author) == (name(OWN), "bo")
    assert back == models(call(client, "GET"))


@pytest.mark.parametrize(("method", "rest"), CHANGES)
@pytest.mark.parametrize("token", [None, "", ANNA[:-1], ANNA.upper(), "anna", TOKENS])
def test_a_missing_or_wrong_token_changes_nothing(
    desk: LocalPromotionDesk, method: str, rest: dict[str, Any], token: str | None
) -> None:
    response = call(client_of(desk), method, token, **rest)
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert current(desk) == name(OWN)


@pytest.mark.parametrize(("method", "rest"), CHANGES)
def test_without_a_configured_token_nobody_may_promote_and_is_told_why(
    desk: LocalPromotionDesk, method: str, rest: dict[str, Any]
) -> None:
    response = call(client_of(desk, ""), method, **rest)
    assert response.status_code == 403
    assert "GREENFLOW_ADMIN_TOKEN" in response.json()["detail"]
    assert current(desk) == name(OWN)


def test_the_token_is_looked_at_before_the_body(desk: LocalPromotionDesk) -> None:
    assert call(client_of(desk), "PUT", "wrong", content=b"x" * 10 * MOST).status_code == 401


def test_a_model_is_bounded_and_declared_as_what_it_is(desk: LocalPromotionDesk) -> None:
    client = client_of(desk)
    loc, said = problem_of(call(client, "PUT", content=b"x" * (MOST + 1)))
    assert (loc, str(MOST) in said) == (["body"], True)
    plain = call(client, "PUT", content=A, headers={"content-type": "application/json"})
    assert problem_of(plain) == (["body"], f"must be sent with content-type: {CONTENT}")
    assert current(desk) == name(OWN)
    assert call(client, "PUT", content=b"x" * MOST).status_code == 200


def test_what_is_no_reward_model_is_refused_whole(desk: LocalPromotionDesk) -> None:
    loc, said = problem_of(call(client_of(desk), "PUT", content=BROKEN))
    assert loc == ["body"]
    assert "no reward model of this cascade" in said
    assert "NaN" in said
    assert current(desk) == name(OWN)


def test_with_none_before_there_is_none_to_go_back_to(desk: LocalPromotionDesk) -> None:
    response = call(client_of(desk), "DELETE")
    assert response.status_code == 404
    assert "none to go back to" in response.json()["detail"]


def test_a_model_that_cannot_be_kept_does_not_predict(desk: LocalPromotionDesk, ledger: Locked) -> None:
    ledger.writes = False
    response = call(client_of(desk), "PUT", content=A)
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert current(desk) == name(OWN)


@pytest.mark.parametrize(("method", "rest"), ALL)
@pytest.mark.parametrize("error", [TryAgain("the disk is full"), Late("no answer in 10 s"), FixSetup("not there")])
def test_when_nobody_can_answer_the_caller_may_try_again(
    method: str, rest: dict[str, Any], error: GreenFlowError
) -> None:
    response = call(client_of(Refusing(error)), method, **rest)
    assert (response.status_code, response.json()) == (503, {"detail": str(error)})


@pytest.mark.parametrize(("method", "rest"), ALL)
def test_without_an_allocator_all_say_so(method: str, rest: dict[str, Any]) -> None:
    response = call(client_of(None), method, **rest)
    assert response.status_code == 404
    assert "no allocator" in response.json()["detail"]


def test_the_routes_are_described(desk: LocalPromotionDesk) -> None:
    one = client_of(desk).get("/openapi.json").json()["paths"][PATH]
    assert one["put"]["requestBody"]["content"] == {CONTENT: {"schema": {"type": "string", "format": "binary"}}}
    for method in ("put", "delete"):
        assert {"200", "401", "403", "404", "422", "503"} <= one[method]["responses"].keys()
        assert one[method]["security"] == [{"HTTPBearer": []}]
    assert "security" not in one["get"]


def test_the_application_takes_models_larger_than_its_other_bodies(tiny: TinyCascade, desk: LocalPromotionDesk) -> None:
    with open_recommender(tiny.folder) as recommender:
        client = Client(make_app(recommender, 512, promotion=desk, admins=tokens_of(TOKENS)))
        assert models(call(client, "PUT", content=b"x" * 100_000)).current.own is False
        assert problem_of(call(client, "PUT", content=b"x" * (MOST_BYTES + 1)))[0] == ["body"]
        without = Client(make_app(recommender, 512, admins=tokens_of(TOKENS)))
        assert call(without, "GET").status_code == 404
