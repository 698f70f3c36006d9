"""The shipped demo on a real local Serve: what the README promises, and a replica killed under load."""

import asyncio
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from live import kill, live, replicas_of
from waiting import until

from allocator.chains import ChainSpace
from cluster.cascade import CascadeExecutor, InlineRunner
from cluster.config import DEMO, Settings
from cluster.launching.launch import Running
from cluster.schemas import CONTEXT_LIMIT, HISTORY_LIMIT
from cluster.traffic.bodies import request_bodies, user_ids
from cluster.traffic.load import LoadPlan, run_load
from cluster.traffic.report import LoadReport
from models.features import UserQuery
from models.loading import Cascade

CASCADE = Cascade.open(DEMO)
SPACE = ChainSpace(CASCADE.spec, len(CASCADE.items))


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with live(Settings(), tmp_path_factory.mktemp("state")) as running:
        yield running


@pytest.fixture(scope="module")
def client(app: Running) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=app.url, timeout=30) as client:
        yield client


def ask(client: httpx.Client, **body: object) -> dict:
    response = client.post("/v1/recommend", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def by_hand(user_id: int, chain_id: str) -> list[int]:
    """The recommendation for one user, computed in this process, one request alone."""
    chain = SPACE.get(chain_id)
    assert chain is not None
    with ThreadPoolExecutor(1) as threads:
        runners = {
            (stage.name, action.variant): InlineRunner(CASCADE.variant(stage, stage.variant(action.variant)), threads)
            for stage, action in zip(CASCADE.spec.stages, chain.actions, strict=True)
            if action.variant is not None
        }
        users = CASCADE.users.rows([UserQuery(user_id)])
        found = asyncio.run(CascadeExecutor(runners).run(users, [chain], np.array([CASCADE.spec.k])))
    return CASCADE.items.ids.ids(found.items)


def test_demo_answers_k_distinct_items_in_order_of_their_scores(client: httpx.Client) -> None:
    answer = ask(client, user_id=user_ids(DEMO)[0])
    items = [item["item_id"] for item in answer["items"]]
    scores = [item["score"] for item in answer["items"]]
    assert len(items) == len(set(items)) == CASCADE.spec.k
    assert scores == sorted(scores, reverse=True)
    chain = SPACE.get(answer["chain"]["id"])
    assert chain is not None
    assert answer["cost"]["flops"] == chain.flops
    assert answer["degraded"] is False
    assert answer["policy_version"] > 0
    assert answer["predicted_reward"] > 0


def test_every_replica_says_that_it_is_ready_and_nothing_of_requests(app: Running, client: httpx.Client) -> None:
    for body in ({"user_id": 1}, {"user_id": 1, "k": 0}, {}):
        for _ in range(20):
            client.post("/v1/recommend", json=body)
    folder = Path(app.instance.folder) / "session_latest" / "logs" / "serve"
    logs = {file.name: file.read_text().splitlines() for file in folder.glob("replica_*.log")}
    assert len(logs) >= 4
    for name, lines in logs.items():
        assert any("started: " in line and "is ready, GreenFlow" in line for line in lines), name
        assert len(lines) < 20, name


@pytest.mark.parametrize("chain", [SPACE.chains[0], SPACE.static, SPACE.chains[-1]], ids=lambda chain: chain.id)
def test_served_items_are_those_of_the_models_run_by_hand(client: httpx.Client, chain: object) -> None:
    user_id = user_ids(DEMO)[7]
    answer = ask(client, user_id=user_id, chain=chain.id)
    assert [item["item_id"] for item in answer["items"]] == by_hand(user_id, chain.id)


def test_mixed_chains_at_the_same_time_do_not_disturb_each_other(client: httpx.Client) -> None:
    asked = [(user, chain) for user in user_ids(DEMO)[:6] for chain in SPACE.chains[:: max(1, len(SPACE) // 5)]]
    alone = {pair: ask(client, user_id=pair[0], chain=pair[1].id)["items"] for pair in asked}
    with ThreadPoolExecutor(16) as threads:
        together = list(threads.map(lambda pair: ask(client, user_id=pair[0], chain=pair[1].id)["items"], asked))
    for pair, items in zip(asked, together, strict=True):
        assert [i["item_id"] for i in items] == [i["item_id"] for i in alone[pair]]


def test_unknown_user_and_fresh_history_are_answered(client: httpx.Client) -> None:
    cold = ask(client, user_id="nobody has this id")
    fresh = ask(client, user_id="nobody has this id", history=CASCADE.items.ids.ids(np.arange(5)))
    assert len(cold["items"]) == len(fresh["items"]) == CASCADE.spec.k
    assert [i["item_id"] for i in cold["items"]] != [i["item_id"] for i in fresh["items"]]


MOST_BYTES = Settings().max_body_bytes
REFUSED: list[tuple[object, str]] = [
    ({}, "user_id"),
    ({"user_id": 1.5}, "user_id"),
    ({"user_id": 1, "k": 0}, "k"),
    ({"user_id": 1, "k": CASCADE.spec.k + 1}, "k"),
    ({"user_id": 1, "chain": "none"}, "chain"),
    ({"user_id": 1, "colour": "red"}, "colour"),
    ({"user_id": 1, "context": {"shoe_size": 44}}, "shoe_size"),
    ({"user_id": 1, "context": {f"size_{n}": n for n in range(CONTEXT_LIMIT + 1)}}, "context"),
    ({"user_id": 1, "history": "all"}, "history"),
    ({"user_id": 1, "history": [1] * (HISTORY_LIMIT + 1)}, "history"),
    ({"user_id": 1, "timeout_ms": 0}, "timeout_ms"),
    ([{"user_id": 1}, {"user_id": 2}], "body"),
    ({"user_id": 1, "request_id": "x" * MOST_BYTES}, "body"),
]


def assert_refused(client: httpx.Client, body: object, field: str) -> None:
    response = client.post("/v1/recommend", json=body)
    assert response.status_code == 422, response.text
    assert any(field in part for problem in response.json()["detail"] for part in map(str, problem["loc"]))


@pytest.mark.parametrize(("body", "field"), REFUSED, ids=lambda part: str(part)[:40])
def test_bad_request_is_refused_with_the_field_named(client: httpx.Client, body: object, field: str) -> None:
    assert_refused(client, body, field)


def test_body_of_any_length_beyond_the_limit_is_refused(client: httpx.Client) -> None:
    long = json.dumps({"user_id": 1, "request_id": "x" * (MOST_BYTES + 1)}).encode()
    for content in (long, iter([long])):
        response = client.post("/v1/recommend", content=content, headers={"content-type": "application/json"})
        assert response.status_code == 422
        assert response.json()["detail"][0]["loc"] == ["body"]


def test_under_load_bad_input_is_refused_and_harms_no_good_request_beside_it(
    app: Running, client: httpx.Client
) -> None:
    def items(**body: object) -> list[int]:
        return [item["item_id"] for item in ask(client, chain=SPACE.static.id, **body)["items"]]

    ingress, last = replicas_of(app, "ingress"), CASCADE.items.ids.ids(np.arange(5))
    known, cold = items(user_id=user_ids(DEMO)[7]), items(user_id="nobody has this id", history=[])
    fresh = items(user_id="nobody has this id", history=last)
    thread, reports = load_in_background(app.url, seconds=4)
    rounds = 0
    while thread.is_alive():
        for body, field in REFUSED:
            assert_refused(client, body, field)
        assert items(user_id=user_ids(DEMO)[7]) == known
        assert items(user_id="nobody has this id", history=["no such item"]) == cold
        assert items(user_id="nobody has this id", history=[*last, "no such item"]) == fresh
        rounds += 1
    (report,) = reports
    assert rounds >= 2
    assert report.answered > 100
    assert (report.failed, report.errors, report.degraded) == (0, {}, 0)
    assert replicas_of(app, "ingress") == ingress


def test_chains_health_and_documentation_are_there(client: httpx.Client) -> None:
    listing = client.get("/v1/chains").json()
    assert [chain["id"] for chain in listing["chains"]] == [chain.id for chain in SPACE]
    health = client.get("/v1/health")
    assert (health.status_code, health.json()["healthy"]) == (200, True)
    assert set(health.json()["variants"]) == {f"{s.name}/{v.name}" for s in CASCADE.spec.stages for v in s.variants}
    assert client.get("/docs").status_code == 200


def load_in_background(url: str, seconds: float) -> tuple[threading.Thread, list[LoadReport]]:
    plan = LoadPlan(url, request_bodies(user_ids(DEMO), seed=1), clients=8, seconds=seconds, timeout_s=60)
    reports: list[LoadReport] = []
    thread = threading.Thread(target=lambda: reports.append(asyncio.run(run_load(plan))))
    thread.start()
    return thread, reports


def test_no_request_fails_when_a_stage_replica_is_killed_under_load(app: Running) -> None:
    last = SPACE.static.actions[-1]
    deployment = f"{last.stage}-{last.variant}"
    before = replicas_of(app, deployment)
    assert before, "the demo's static chain ends in a variant with a deployment of its own"
    thread, reports = load_in_background(app.url, seconds=12)
    thread.join(3)
    kill(before[0])
    thread.join(120)
    (report,) = reports
    assert report.answered > 100
    assert (report.failed, report.errors) == (0, {})
    until(lambda: bool(replicas_of(app, deployment)))
    assert {p.pid for p in replicas_of(app, deployment)}.isdisjoint({before[0].pid})
