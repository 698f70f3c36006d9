"""PUT, DELETE and GET /v1/constraints: who may, what is refused and how, and what they answer."""

import json
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from ingress_client import Client
from tiny_cascade import TinyCascade
from tiny_serving import open_recommender

from allocator.limits import Kind, Limit
from cluster.ingress import make_app
from cluster.limits.desk import LimitDesk, Payload
from cluster.limits.routes import add_limits
from cluster.limits.schemas import ChangesResponse, LimitOut, LimitsResponse
from cluster.limits.tokens import tokens_of
from cluster.schemas import ProblemResponse
from models.errors import FixRequest, FixSetup, GreenFlowError, Late, NoSuch, TryAgain

MAX_BODY = 512
ANNA, BO = "sesame-sesame-1234", "another+token/9876="
TOKENS = f"anna:{ANNA},bo:{BO}"
POWER = {"kind": "power", "limit": 150, "unit": "W"}
STANDS = {"name": "cap", **POWER, "spend": 120.5, "price": 0.25, "reachable": True}
CHANGE = {"at_s": 5.0, "author": "anna", "name": "cap", "before": None, "after": POWER}
Asked = tuple[str, str, str, Any]


class Told:
    """Answers as a controller, and keeps what it was told."""

    def __init__(self) -> None:
        self.told = list[Any]()

    async def constraints(self) -> list[Payload]:
        return [STANDS]

    async def put_limit(self, limit: Limit, author: str) -> Payload:
        self.told.append((limit, author))
        return {**STANDS, "name": limit.name, "limit": limit.limit}

    async def clear_limit(self, name: str, author: str) -> None:
        self.told.append((name, author))

    async def limit_changes(self, most: int) -> list[Payload]:
        self.told.append(most)
        return [CHANGE]


class Refusing:
    """Raises whatever is asked of it."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def constraints(self) -> list[Payload]:
        raise self.error

    async def put_limit(self, limit: Limit, author: str) -> Payload:
        raise self.error

    async def clear_limit(self, name: str, author: str) -> None:
        raise self.error

    async def limit_changes(self, most: int) -> list[Payload]:
        raise self.error


@pytest.fixture
def desk() -> Told:
    return Told()


def client_of(desk: LimitDesk | None, tokens: str = TOKENS) -> Client:
    app = FastAPI()
    add_limits(app, desk, tokens_of(tokens), MAX_BODY)
    return Client(app)


def call(client: Client, method: str, path: str, token: str | None = ANNA, **rest: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}"} if token is not None else {}
    return client.together([(method, path, {**rest, "headers": {**headers, **rest.get("headers", {})}})])[0]


def put(client: Client, body: object = POWER, name: str = "cap", token: str | None = ANNA) -> httpx.Response:
    return call(client, "PUT", f"/v1/constraints/{name}", token, json=body)


def problem_of(response: httpx.Response) -> tuple[list[str | int], str]:
    assert response.status_code == 422, (response.status_code, response.text)
    (problem,) = ProblemResponse.model_validate(response.json()).detail
    return problem.loc, problem.msg


def test_limits_are_told_to_everybody(desk: Told) -> None:
    response = call(client_of(desk), "GET", "/v1/constraints", token=None)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    assert response.json() == {"constraints": [STANDS]}
    LimitsResponse.model_validate_json(response.content, strict=True)


def test_changes_are_told_to_everybody(desk: Told) -> None:
    client = client_of(desk, "")
    for query in ("", "?last=3", "?last=0"):
        response = call(client, "GET", f"/v1/constraints/changes{query}", token=None)
        ChangesResponse.model_validate_json(response.content, strict=True)
        assert response.json() == {"changes": [CHANGE]}
    assert desk.told == [20, 3, 0]


@pytest.mark.parametrize("last", ["-1", "1001", "all", "1.5"])
def test_a_number_of_changes_that_is_none_is_refused(desk: Told, last: str) -> None:
    response = call(client_of(desk), "GET", f"/v1/constraints/changes?last={last}")
    assert response.status_code == 422
    assert response.json()["detail"][0]["loc"] == ["query", "last"]


@pytest.mark.parametrize(
    ("body", "limit"),
    [
        (POWER, Limit("cap", Kind.POWER, 150.0, "W")),
        ({"kind": "energy", "limit": 2.5, "unit": "kWh/day"}, Limit("cap", Kind.ENERGY, 2.5, "kWh/day")),
        ({"kind": "carbon", "limit": 40, "unit": "g/h"}, Limit("cap", Kind.CARBON, 40, "g/h")),
        ({"kind": "carbon", "limit": 900, "unit": "g/day"}, Limit("cap", Kind.CARBON, 900, "g/day")),
        ({"kind": "compute", "limit": 1.5, "unit": "busy_s/s"}, Limit("cap", Kind.COMPUTE, 1.5, "busy_s/s")),
        ({"kind": "flops", "limit": 0, "unit": "FLOP/s"}, Limit("cap", Kind.FLOPS, 0, "FLOP/s")),
    ],
    ids=lambda value: value["kind"] if isinstance(value, dict) else "",
)
def test_a_limit_is_set_in_the_name_of_the_tokens_holder(desk: Told, body: dict[str, Any], limit: Limit) -> None:
    client = client_of(desk)
    response = put(client, body)
    assert response.status_code == 200
    LimitOut.model_validate_json(response.content)
    assert put(client, body, token=BO).status_code == 200
    assert desk.told == [(limit, "anna"), (limit, "bo")]


def test_a_limit_is_removed(desk: Told) -> None:
    response = call(client_of(desk), "DELETE", "/v1/constraints/cap", token=BO)
    assert (response.status_code, response.content) == (204, b"")
    assert desk.told == [("cap", "bo")]


CHANGES = [("PUT", {"json": POWER}), ("DELETE", {})]


@pytest.mark.parametrize(("method", "rest"), CHANGES)
@pytest.mark.parametrize("token", [None, "", ANNA[:-1], ANNA + "5", ANNA.upper(), "anna", TOKENS, "schl\xfcssel-" * 3])
def test_a_missing_or_wrong_token_changes_nothing(
    desk: Told, method: str, rest: dict[str, Any], token: str | None
) -> None:
    headers = {} if token is None else {"authorization": b"Bearer " + token.encode("latin-1")}
    response = call(client_of(desk), method, "/v1/constraints/cap", None, **{**rest, "headers": headers})
    assert response.status_code == 401
    assert response.headers["www-authenticate"].startswith("Bearer")
    assert "token" in response.json()["detail"].lower()
    assert desk.told == []


@pytest.mark.parametrize("header", [f"Basic {ANNA}", ANNA, f"Token {ANNA}"])
def test_a_token_sent_in_another_way_is_not_taken(desk: Told, header: str) -> None:
    response = call(client_of(desk), "PUT", "/v1/constraints/cap", None, json=POWER, headers={"authorization": header})
    assert (response.status_code, desk.told) == (401, [])


def test_the_scheme_is_read_as_http_has_it(desk: Told) -> None:
    headers = {"authorization": f"bearer {ANNA}"}
    assert call(client_of(desk), "DELETE", "/v1/constraints/cap", None, headers=headers).status_code == 204


@pytest.mark.parametrize(("method", "rest"), CHANGES)
@pytest.mark.parametrize("token", [None, ANNA, ""])
def test_without_a_configured_token_nobody_may_change_limits_and_is_told_why(
    desk: Told, method: str, rest: dict[str, Any], token: str | None
) -> None:
    response = call(client_of(desk, ""), method, "/v1/constraints/cap", token, **rest)
    assert response.status_code == 403
    assert "GREENFLOW_ADMIN_TOKEN" in response.json()["detail"]
    assert desk.told == []


def test_the_token_is_looked_at_before_the_body(desk: Told) -> None:
    client = client_of(desk)
    assert put(client, {"kind": "nonsense"}, token="wrong").status_code == 401
    assert put(client, "x" * 10 * MAX_BODY, token=None).status_code == 401


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({}, ["body", "kind"]),
        ([], ["body"]),
        (None, ["body"]),
        ({**POWER, "kind": "watts"}, ["body", "kind"]),
        ({**POWER, "kind": None}, ["body", "kind"]),
        ({**POWER, "limit": -1}, ["body", "limit"]),
        ({**POWER, "limit": "150"}, ["body", "limit"]),
        ({**POWER, "limit": True}, ["body", "limit"]),
        ({**POWER, "limit": None}, ["body", "limit"]),
        ({**POWER, "limit": 1e25}, ["body", "limit"]),
        ({**POWER, "limit": 10**400}, ["body", "limit"]),
        ({**POWER, "unit": "kW"}, ["body", "unit"]),
        ({**POWER, "unit": "g/h"}, ["body", "unit"]),
        ({**POWER, "unit": 1}, ["body", "unit"]),
        ({**POWER, "unit": "W" * 17}, ["body", "unit"]),
        ({"kind": "power", "limit": 1}, ["body", "unit"]),
        ({**POWER, "name": "cap"}, ["body", "name"]),
    ],
    ids=lambda value: json.dumps(value)[:50] if not isinstance(value, list) or not value else "",
)
def test_a_wrong_limit_is_refused_whole_by_field(desk: Told, body: object, loc: list[str]) -> None:
    said, message = problem_of_first(put(client_of(desk), body))
    assert said[: len(loc)] == loc
    assert message
    assert desk.told == []


def problem_of_first(response: httpx.Response) -> tuple[list[str | int], str]:
    assert response.status_code == 422, (response.status_code, response.text)
    problem = ProblemResponse.model_validate(response.json()).detail[0]
    return problem.loc, problem.msg


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_a_limit_that_is_no_finite_number_is_refused(desk: Told, number: str) -> None:
    content = f'{{"kind": "power", "limit": {number}, "unit": "W"}}'
    headers = {"content-type": "application/json"}
    response = call(client_of(desk), "PUT", "/v1/constraints/cap", content=content, headers=headers)
    assert problem_of_first(response)[0] == ["body", "limit"]
    assert desk.told == []


@pytest.mark.parametrize("name", ["Cap", "1st", "c" * 41, "a b", "a.b", "%C3%A9", "-x"])
def test_a_name_that_is_none_is_refused(desk: Told, name: str) -> None:
    loc, message = problem_of(put(client_of(desk), name=name))
    assert (loc, desk.told) == (["path", "name"], [])
    assert "small letter" in message


def test_a_body_is_bounded_and_declared_as_json(desk: Told) -> None:
    client = client_of(desk)
    headers = {"content-type": "text/plain"}
    plain = call(client, "PUT", "/v1/constraints/cap", content=json.dumps(POWER), headers=headers)
    assert problem_of(plain) == (["body"], "must be sent with content-type: application/json")
    loc, message = problem_of(put(client, {**POWER, "unit": "W" * MAX_BODY}))
    assert (loc, desk.told) == (["body"], [])
    assert str(MAX_BODY) in message


def test_what_the_controller_refuses_is_told_by_field() -> None:
    refused = problem_of(put(client_of(Refusing(FixRequest("kind", "joules are not accounted for")))))
    assert refused == (["body", "kind"], "joules are not accounted for")
    refused = problem_of(put(client_of(Refusing(FixRequest("name", "there are 16 limits")))))
    assert refused == (["path", "name"], "there are 16 limits")


def test_a_limit_that_is_not_there_cannot_be_removed() -> None:
    response = call(client_of(Refusing(NoSuch("name", "there are: a, b"))), "DELETE", "/v1/constraints/cap")
    assert (response.status_code, response.json()) == (404, {"detail": "there are: a, b"})


CALLS = [("GET", "/v1/constraints", {}), ("GET", "/v1/constraints/changes", {})]
CALLS += [(method, "/v1/constraints/cap", rest) for method, rest in CHANGES]


@pytest.mark.parametrize(("method", "path", "rest"), CALLS)
@pytest.mark.parametrize(
    "error",
    [TryAgain("the disk is full"), Late("no answer in 10 s"), FixSetup("it is not there")],
    ids=lambda error: type(error).__name__,
)
def test_when_nobody_can_answer_the_caller_may_try_again(
    method: str, path: str, rest: dict[str, Any], error: GreenFlowError
) -> None:
    response = call(client_of(Refusing(error)), method, path, **rest)
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert response.json() == {"detail": str(error)}


@pytest.mark.parametrize(("method", "path", "rest"), CALLS)
def test_without_an_allocator_all_say_so(method: str, path: str, rest: dict[str, Any]) -> None:
    response = call(client_of(None), method, path, **rest)
    assert response.status_code == 404
    assert "no allocator" in response.json()["detail"]


@pytest.mark.parametrize(("method", "path", "rest"), CALLS)
def test_a_mistake_of_ours_is_not_hidden(method: str, path: str, rest: dict[str, Any]) -> None:
    with pytest.raises(ZeroDivisionError):
        call(client_of(Refusing(ZeroDivisionError())), method, path, **rest)


def test_the_routes_are_described(desk: Told) -> None:
    document = client_of(desk).get("/openapi.json").json()
    one = document["paths"]["/v1/constraints/{name}"]
    schema = one["put"]["requestBody"]["content"]["application/json"]["schema"]
    assert schema["properties"]["kind"]["enum"] == ["power", "energy", "carbon", "compute", "flops"]
    assert "$defs" not in schema
    assert {"401", "403", "404", "422", "503"} <= one["put"]["responses"].keys()
    assert {"204", "401", "403", "404", "503"} <= one["delete"]["responses"].keys()
    for change in one.values():
        assert change["security"] == [{"HTTPBearer": []}]
    assert "security" not in document["paths"]["/v1/constraints"]["get"]


def test_the_application_has_the_routes_and_knows_who_may_change_limits(tiny: TinyCascade, desk: Told) -> None:
    with open_recommender(tiny.folder) as recommender:
        client = Client(make_app(recommender, MAX_BODY, limits=desk, admins=tokens_of(TOKENS)))
        assert (put(client).status_code, put(client, token="wrong").status_code) == (200, 401)
        assert problem_of(put(client, {**POWER, "unit": "W" * MAX_BODY}))[0] == ["body"]
        without = Client(make_app(recommender, MAX_BODY))
        assert (put(without).status_code, without.get("/v1/constraints").status_code) == (403, 404)
