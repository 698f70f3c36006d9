"""The HTTP API refuses every kind of bad input, naming the field, and nothing else suffers from it."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from ingress_client import MAX_BODY, Body, Client, ids_of, serve
from tiny_cascade import TinyCascade
from tiny_serving import open_recommender

from cluster.ingress import make_app
from cluster.schemas import ProblemResponse

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def client(tiny: TinyCascade) -> Iterator[Client]:
    yield from serve(tiny.folder)


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
    ({"user_id": 2, "request_id": ""}, ["body", "request_id"]),
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


async def pieces(body: bytes) -> AsyncIterator[bytes]:
    """A body of undeclared length."""
    for start in range(0, len(body), 1000):
        yield body[start : start + 1000]


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
