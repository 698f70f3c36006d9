"""GET /v1/policy, and what requests say that a policy decided."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from fake_time import FakeTime
from ingress_client import MAX_BODY, Client, serve
from tiny_cascade import STATIC, TinyCascade
from tiny_reward import MODEL, open_allocation, snapshot_of, space_of, with_reward
from tiny_serving import open_recommender

from cluster.deciding import Allocation
from cluster.ingress import make_app
from cluster.schemas import PolicyResponse


@pytest.fixture(scope="module")
def client(tiny: TinyCascade) -> Iterator[Client]:
    yield from serve(tiny.folder)


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
        constraint["reachable"] = True
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
            "deciding_cpu_s": 0.0,
        }

    def test_no_limit_is_null(self, decides: Client, allocation: Allocation, rewarded: TinyCascade) -> None:
        snapshot = snapshot_of(space_of(rewarded))
        unlimited = replace(snapshot.standings[0], limit=float("inf"))
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
