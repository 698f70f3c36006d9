"""POST /v1/feedback and GET /v1/savings: what is taken, what is refused and how, and what they answer."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fake_time import FakeTime
from fastapi import FastAPI
from ingress_client import Client
from outcome_rows import BEGAN_S, CHAINS, HEAD
from small_space import SPACE
from tiny_cascade import TinyCascade
from tiny_reward import open_allocation, snapshot_of, space_of, with_reward
from tiny_serving import open_recommender

from cluster.deciding import Allocation
from cluster.ingress import make_app
from cluster.outcomes.account import Experiment, OutcomesAccount
from cluster.outcomes.drift import Drift
from cluster.outcomes.joiner import Joiner
from cluster.outcomes.log_base import NoLog
from cluster.outcomes.recorder import Recorder
from cluster.outcomes.routes import FEEDBACK, SAVINGS, add_outcomes
from cluster.outcomes.schemas import MOST_FEEDBACK, FeedbackResponse, SavingsResponse
from cluster.outcomes.shipper import OutcomesDesk, Parcel, Payload
from cluster.schemas import ProblemResponse
from models.errors import FixSetup, GreenFlowError, Late, TryAgain

MAX_BODY = 64 << 10
ONE = {"request_id": "r-1", "reward": 1.5}


class Tells:
    """Whoever keeps the account, in this process."""

    def __init__(self) -> None:
        self.account = OutcomesAccount(
            Experiment(0.02, b"k" * 16), HEAD.chains, Joiner(), Drift(CHAINS), NoLog(), lambda: BEGAN_S
        )

    async def take(self, parcel: Parcel) -> None:
        self.account.take(parcel)

    async def savings(self) -> Payload:
        return self.account.payload()


class Refusing:
    """Raises whatever is asked of it."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    async def take(self, parcel: Parcel) -> None:
        raise self.error

    async def savings(self) -> Payload:
        raise self.error


class Room:
    """The routes, and what they remember."""

    def __init__(self, desk: OutcomesDesk | None = None, most_rows: int = 2000, max_body: int = MAX_BODY) -> None:
        self.recorder = Recorder(SPACE, FakeTime(BEGAN_S), most_rows=most_rows)
        app = FastAPI()
        add_outcomes(app, self.recorder, desk or Tells(), max_body)
        self.client = Client(app)

    def tell(self, body: object = None, **request: Any) -> httpx.Response:
        return tell(self.client, body, **request)

    @property
    def rewards(self) -> list[tuple[str, float]]:
        return [(one.request_id, one.reward) for one in self.recorder.take().rewards]


def tell(client: Client, body: object = None, **request: Any) -> httpx.Response:
    return client.together([("POST", FEEDBACK, request or {"json": body})])[0]


def problem_of(response: httpx.Response) -> tuple[list[str | int], str]:
    assert response.status_code == 422, (response.status_code, response.text)
    problem = ProblemResponse.model_validate(response.json()).detail[0]
    return problem.loc, problem.msg


@pytest.fixture
def room() -> Room:
    return Room()


def test_feedback_on_one_request_is_taken(room: Room) -> None:
    response = room.tell(ONE)
    assert (response.status_code, response.json()) == (202, {"accepted": 1})
    FeedbackResponse.model_validate_json(response.content, strict=True)
    assert room.rewards == [("r-1", 1.5)]


def test_feedback_on_many_requests_is_taken(room: Room) -> None:
    many = [{"request_id": f"r-{at}", "reward": at - 1} for at in range(MOST_FEEDBACK)]
    response = room.tell({"feedback": many})
    assert (response.status_code, response.json()) == (202, {"accepted": MOST_FEEDBACK})
    assert room.rewards == [(f"r-{at}", at - 1) for at in range(MOST_FEEDBACK)]


@pytest.mark.parametrize("reward", [0, -3, 1e9, -1e9, 0.1])
def test_any_bounded_number_is_a_reward(room: Room, reward: float) -> None:
    assert room.tell({**ONE, "reward": reward}).status_code == 202
    assert room.rewards == [("r-1", reward)]


BAD: list[tuple[Any, list[str | int]]] = [
    ({}, ["body", "request_id"]),
    ([], ["body"]),
    ([ONE], ["body"]),
    (None, ["body"]),
    ("r-1", ["body"]),
    ({"request_id": "r-1"}, ["body", "reward"]),
    ({"reward": 1}, ["body", "request_id"]),
    ({**ONE, "request_id": ""}, ["body", "request_id"]),
    ({**ONE, "request_id": "r" * 129}, ["body", "request_id"]),
    ({**ONE, "request_id": 1}, ["body", "request_id"]),
    ({**ONE, "request_id": None}, ["body", "request_id"]),
    ({**ONE, "reward": "1.5"}, ["body", "reward"]),
    ({**ONE, "reward": True}, ["body", "reward"]),
    ({**ONE, "reward": None}, ["body", "reward"]),
    ({**ONE, "reward": [1]}, ["body", "reward"]),
    ({**ONE, "reward": 1.1e9}, ["body", "reward"]),
    ({**ONE, "reward": -1.1e9}, ["body", "reward"]),
    ({**ONE, "reward": 10**400}, ["body", "reward"]),
    ({**ONE, "clicks": 1}, ["body", "clicks"]),
    ({"feedback": []}, ["body", "feedback"]),
    ({"feedback": ONE}, ["body", "feedback"]),
    ({"feedback": None}, ["body", "feedback"]),
    ({"feedback": [ONE], "more": 1}, ["body", "more"]),
    ({"feedback": [ONE, {**ONE, "reward": "x"}]}, ["body", "feedback", 1, "reward"]),
    ({"feedback": [ONE, {"reward": 1}]}, ["body", "feedback", 1, "request_id"]),
    ({"feedback": [ONE] * (MOST_FEEDBACK + 1)}, ["body", "feedback"]),
]


@pytest.mark.parametrize(("body", "loc"), BAD, ids=[json.dumps(body)[:40] for body, _ in BAD])
def test_bad_feedback_is_refused_whole_by_field(room: Room, body: object, loc: list[str | int]) -> None:
    said, message = problem_of(room.tell(content=json.dumps(body), headers={"content-type": "application/json"}))
    assert said[: len(loc)] == loc
    assert message
    assert room.rewards == []


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("many", [False, True])
def test_a_reward_that_is_no_finite_number_is_refused(room: Room, number: str, many: bool) -> None:
    one = f'{{"request_id": "a", "reward": {number}}}'
    content = f'{{"feedback": [{one}]}}' if many else one
    response = room.tell(content=content, headers={"content-type": "application/json"})
    assert problem_of(response)[0][-1] == "reward"
    assert room.rewards == []


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b'{"request_id": "a", "reward": 1}x', b'{"feedback": ['])
def test_what_is_no_json_is_refused(room: Room, content: bytes) -> None:
    response = room.tell(content=content, headers={"content-type": "application/json"})
    assert problem_of(response)[0] == ["body"]


def test_an_id_that_is_no_text_is_refused_and_breaks_nothing(room: Room) -> None:
    content = b'{"request_id": "\\ud800", "reward": 1}'
    assert room.tell(content=content, headers={"content-type": "application/json"}).status_code == 422
    assert room.tell(ONE).status_code == 202


def test_a_body_is_bounded_and_declared_as_json() -> None:
    room = Room(max_body=256)
    loc, message = problem_of(room.tell({"feedback": [ONE] * 20}))
    assert loc == ["body"]
    assert "256" in message
    plain = room.tell(content=json.dumps(ONE), headers={"content-type": "text/plain"})
    assert problem_of(plain) == (["body"], "must be sent with content-type: application/json")
    assert room.rewards == []


def test_when_too_many_wait_none_is_taken_and_the_caller_may_try_again() -> None:
    room = Room(most_rows=3)
    assert room.tell({"feedback": [ONE] * 2}).status_code == 202
    response = room.tell({"feedback": [ONE] * 2})
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert "again" in response.json()["detail"]
    assert len(room.rewards) == 2
    assert room.tell({"feedback": [ONE] * 2}).status_code == 202, "what waited was passed on"


def test_savings_are_told_as_described(room: Room) -> None:
    response = room.client.get(SAVINGS)
    assert (response.status_code, response.headers["content-type"]) == (200, "application/json")
    told = SavingsResponse.model_validate_json(response.content, strict=True)
    assert told.holdback == 0.02
    assert told.quantities.energy_j.per_request is None
    assert told.quantities.energy_j.reason


@pytest.mark.parametrize(
    "error",
    [TryAgain("nobody there"), Late("no answer in 10 s"), FixSetup("it is not there")],
    ids=lambda error: type(error).__name__,
)
def test_when_nobody_can_tell_savings_the_caller_may_try_again(error: GreenFlowError) -> None:
    response = Room(Refusing(error)).client.get(SAVINGS)
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert response.json() == {"detail": str(error)}


def test_feedback_is_taken_while_nobody_keeps_the_account() -> None:
    room = Room(Refusing(TryAgain("nobody there")))
    assert room.tell(ONE).status_code == 202
    assert room.rewards == [("r-1", 1.5)]


def test_a_mistake_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        Room(Refusing(ZeroDivisionError())).client.get(SAVINGS)


def test_without_an_allocator_both_say_so(tiny: TinyCascade) -> None:
    with open_recommender(tiny.folder) as recommender:
        client = Client(make_app(recommender, MAX_BODY))
        for response in (tell(client, ONE), client.get(SAVINGS)):
            assert response.status_code == 404
            assert "no allocator" in response.json()["detail"]
        assert tell(client, {}).status_code == 422


def test_the_routes_are_described(room: Room) -> None:
    paths = room.client.get("/openapi.json").json()["paths"]
    feedback, savings = paths[FEEDBACK]["post"], paths[SAVINGS]["get"]
    one, many = feedback["requestBody"]["content"]["application/json"]["schema"]["anyOf"]
    assert set(one["properties"]) == {"request_id", "reward"}
    assert many["properties"]["feedback"]["items"] == one
    assert "$defs" not in json.dumps(one) + json.dumps(many)
    assert "$ref" not in json.dumps(one) + json.dumps(many)
    assert {"202", "404", "422", "503"} <= feedback["responses"].keys()
    assert {"200", "404", "503"} <= savings["responses"].keys()
    assert savings["responses"]["200"]["content"]["application/json"]["schema"]["$ref"].endswith("SavingsResponse")


@pytest.fixture(scope="module")
def rewarded(tiny: TinyCascade, tmp_path_factory: pytest.TempPathFactory) -> TinyCascade:
    return with_reward(tiny, tmp_path_factory.mktemp("reward") / "cascade")


@pytest.fixture
def allocation(rewarded: TinyCascade) -> Iterator[Allocation]:
    with open_allocation(rewarded, recorded=True) as allocation:
        allocation.follower.snapshot = snapshot_of(space_of(rewarded))
        yield allocation


def test_feedback_by_the_id_of_a_response_finds_its_request(rewarded: TinyCascade, allocation: Allocation) -> None:
    recorder = allocation.recorder
    assert recorder is not None
    with open_recommender(rewarded.folder, allocation=allocation) as recommender:
        client = Client(make_app(recommender, MAX_BODY, outcomes=Tells()))
        ids = [client.ok(body)["request_id"] for body in ({"user_id": 2}, {"user_id": 3, "request_id": "mine"})]
        assert ids[1] == "mine"
        assert tell(client, {"feedback": [{"request_id": one, "reward": 1} for one in ids]}).status_code == 202
        assert client.get(SAVINGS).status_code == 200
    shipment = recorder.take()
    joined = Joiner(horizon_s=100.0).step(shipment.decisions, shipment.rewards, shipment.decisions[0].time_s)
    assert [reward.request_id for reward in joined.rewards] == ids
