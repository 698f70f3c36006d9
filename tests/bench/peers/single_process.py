"""The peer: the same chain, micro-batches and HTTP API in one process, without Ray.

FastAPI on uvicorn (uvloop, httptools), the project's own models and its micro-batcher. It serves the cascade's static
chain only, and has no replicas, no placement, no retries and no limits: whatever Ray Serve costs shows against it.
Requests are validated by the application's own schema. A micro-batch runs through all stages in one thread hop; ONNX
Runtime and numpy let go of the GIL meanwhile, so that the event loop goes on.

    OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 python tests/bench/peers/single_process.py --port 8001
"""

import argparse
import asyncio
import gc
import os
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from fastapi import FastAPI, HTTPException, Response
from pydantic_core import to_json

from allocator.chains import ChainSpace
from cluster.config import DEMO, BatchSettings
from cluster.microbatch import MicroBatcher
from cluster.schemas import RecommendRequest
from models.features import UserQuery
from models.loading import Cascade

IN_FLIGHT = min(4, os.cpu_count() or 1)  # on two cores, 2 answers half as much again as 1, and 3 no more
MOST_WAITING = BatchSettings().bound
Call = tuple[UserQuery, int]
Items = list[dict[str, Any]]


class StaticChain:
    """The cascade's static chain, loaded; `run` is safe to call from several threads at once."""

    def __init__(self, cascade: Cascade) -> None:
        self._cascade = cascade
        chain = ChainSpace(cascade.spec, len(cascade.items)).static
        actions = [action for action in chain.actions if action.variant is not None]
        specs = {stage.name: stage for stage in cascade.spec.stages}
        self._variants = [
            cascade.variant(specs[a.stage], specs[a.stage].variant(a.variant)) for a in actions if a.variant is not None
        ]
        self._keep = [action.items for action in actions[1:]]
        stages = [{"stage": a.stage, "variant": a.variant, "items": a.items} for a in chain.actions]
        self.payload = {"id": chain.id, "stages": stages}
        self.cost = {"flops": chain.flops, "energy_j": None, "co2e_g": None, "quality": None}

    def run(self, calls: Sequence[Call]) -> list[Items]:
        """The best k items of each call, best first, as they stand in the response."""
        users = self._cascade.users.rows([query for query, _ in calls])
        keeps = [np.full(len(calls), n) for n in self._keep] + [np.array([k for _, k in calls])]
        batch = None
        for variant, keep in zip(self._variants, keeps, strict=True):
            batch = variant.run(users, batch, keep)
        assert batch is not None
        assert batch.scores is not None
        ids, scores, ends = self._cascade.items.ids.ids(batch.items), batch.scores.tolist(), batch.offsets.tolist()
        items = [{"item_id": i, "score": s} for i, s in zip(ids, scores, strict=True)]
        return [items[start:end] for start, end in pairwise(ends)]


def make_app(cascade: Cascade, max_rows: int, wait_s: float, in_flight: int) -> FastAPI:
    """The program's HTTP side."""
    app = FastAPI()
    chain = StaticChain(cascade)
    threads = ThreadPoolExecutor(in_flight)

    async def work(calls: Sequence[Call], _: object) -> list[Items]:
        return await asyncio.get_running_loop().run_in_executor(threads, chain.run, calls)

    batcher = MicroBatcher[Call, Items](
        work, max_rows=max_rows, wait_s=wait_s, in_flight=in_flight, most_waiting=MOST_WAITING
    )
    most = cascade.spec.k

    @app.post("/v1/recommend", response_model=None)
    async def recommend(request: RecommendRequest) -> Response:
        k = most if request.k is None else request.k
        if not 1 <= k <= most or request.chain not in (None, chain.payload["id"]):
            raise HTTPException(422, "k or chain is out of range")
        query = UserQuery(request.user_id, request.context, request.history)
        cascade.users.check_query(query)
        payload = {
            "request_id": request.request_id or uuid.uuid4().hex,
            "items": await batcher.submit((query, k)),
            "chain": chain.payload,
            "predicted_reward": None,
            "cost": chain.cost,
            "policy_version": None,
            "degraded": False,
        }
        return Response(to_json(payload), media_type="application/json")

    @app.get("/v1/health")
    async def health() -> dict[str, bool]:
        return {"healthy": True}

    return app


def main() -> None:
    """Serve until SIGINT or SIGTERM."""
    usual = BatchSettings()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cascade", type=Path, default=DEMO)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--max-rows", type=int, default=usual.max_rows)
    parser.add_argument("--wait-ms", type=float, default=usual.wait_ms)
    parser.add_argument("--in-flight", type=int, default=IN_FLIGHT)
    args = parser.parse_args()
    app = make_app(Cascade.open(args.cascade), args.max_rows, args.wait_ms / 1e3, args.in_flight)
    gc.collect()
    gc.freeze()  # what is loaded now stays: no later collection need look at it
    uvicorn.run(
        app, host="127.0.0.1", port=args.port, loop="uvloop", http="httptools", access_log=False, log_level="warning"
    )


if __name__ == "__main__":
    main()
