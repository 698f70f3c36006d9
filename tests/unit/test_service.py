"""The Recommender: a lost variant takes down its own chains, and no others."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from tiny_cascade import TinyCascade
from tiny_serving import inline_runners

from cluster.cascade import CascadeExecutor, StageRunner
from cluster.config import BatchSettings
from cluster.schemas import RecommendRequest
from cluster.service import Recommender
from models.batch import IntArray, RaggedBatch, UserRows
from models.errors import TryAgain
from models.loading import Cascade


class Lost:
    """A runner whose replica is never there."""

    async def run(self, users: UserRows, candidates: RaggedBatch | None, keep: IntArray) -> RaggedBatch:
        raise TryAgain("no replica")


def test_a_lost_variant_fails_only_the_requests_whose_chains_use_it(tiny: TinyCascade) -> None:
    cascade = Cascade.open(tiny.folder)
    asked = ["seq>light@8>fine@4", "seq>heavy@8>fine@4", "dot>light@4>skip", "dot>heavy@4>skip"]

    async def ask(recommender: Recommender) -> list[object]:
        requests = [RecommendRequest(user_id=2, chain=chain, request_id=chain) for chain in asked]
        return await asyncio.gather(*map(recommender.recommend, requests), return_exceptions=True)

    with ThreadPoolExecutor(2) as threads:
        runners: dict[tuple[str, str], StageRunner] = dict(inline_runners(cascade, threads))
        batch = BatchSettings(max_rows=4, wait_ms=1000)
        whole = asyncio.run(ask(Recommender(cascade, CascadeExecutor(runners), batch, {})))
        runners["prerank", "heavy"] = Lost()
        parts = asyncio.run(ask(Recommender(cascade, CascadeExecutor(runners), batch, {})))

    assert [parts[0], parts[2]] == [whole[0], whole[2]]
    for failed in (parts[1], parts[3]):
        with pytest.raises(TryAgain):
            raise failed  # type: ignore[misc]
