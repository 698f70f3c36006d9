"""GET /v1/health, and requests that a stage cannot answer."""

from collections.abc import Iterator

import pytest
from ingress_client import MAX_BODY, Client, serve
from tiny_cascade import TinyCascade

from cluster.cascade import CascadeExecutor
from cluster.config import BatchSettings
from cluster.ingress import make_app
from cluster.schemas import HealthResponse
from cluster.service import COLD, OK, Probe, Recommender
from models.batch import IntArray, RaggedBatch, UserRows
from models.errors import TryAgain
from models.loading import Cascade


@pytest.fixture(scope="module")
def client(tiny: TinyCascade) -> Iterator[Client]:
    yield from serve(tiny.folder)


class Gone:
    """A runner whose replica is never there."""

    async def run(self, users: UserRows, candidates: RaggedBatch | None, keep: IntArray) -> RaggedBatch:
        raise TryAgain("rank-fine: ActorDiedError")


async def answers() -> str:
    """A probe of a variant that lives."""
    return OK


async def is_cold() -> str:
    """A probe of a variant that has no replica on purpose."""
    return COLD


async def fails() -> str:
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

    @pytest.mark.parametrize(("cold", "lost"), [({"rank/fine"}, set()), ({"recall/dot"}, {"recall/seq"})])
    def test_a_cold_variant_is_named_cold_and_can_carry_its_stage(
        self, tiny: TinyCascade, cold: set[str], lost: set[str]
    ) -> None:
        states = dict.fromkeys(VARIANTS, answers) | dict.fromkeys(cold, is_cold) | dict.fromkeys(lost, fails)
        response = with_probes(tiny, states).get("/v1/health")
        assert response.status_code == 200
        assert {name for name, text in response.json()["variants"].items() if text == "cold"} == cold

    def test_a_stage_that_cannot_answer_means_503_with_retry_after(self, tiny: TinyCascade) -> None:
        response = with_probes(tiny, dict.fromkeys(VARIANTS, answers)).post({"user_id": 2})
        assert response.status_code == 503
        assert int(response.headers["retry-after"]) >= 1
        assert "rank-fine" in response.json()["detail"]
