"""The peer: the same chain, micro-batches and HTTP API in one process, without Ray.

FastAPI on uvicorn (uvloop, httptools) and the project's own models. It serves the cascade's static chain only, and
has no replicas, no placement, no retries and no limits: whatever Ray Serve costs shows against it. Requests are
validated by the application's own schema. A micro-batch runs through all stages in one thread hop; ONNX Runtime and
numpy let go of the GIL meanwhile, so that the event loop goes on.

    OPENBLAS_NUM_THREADS=1 OMP_NUM_THREADS=1 python tests/bench/peers/single_process.py --port 8001
"""

import argparse
import asyncio
import gc
import os
import uuid
from collections.abc import Callable, Sequence
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
from cluster.schemas import RecommendRequest
from models.features import UserQuery
from models.loading import Cascade

IN_FLIGHT = min(4, os.cpu_count() or 1)  # on two cores, 2 answers half as much again as 1, and 3 no more
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


class Batcher:
    """Gathers calls in lists of at most `max_rows`, and runs at most `in_flight` lists at a time in threads.

    A list grows for as long as it could not start anyway; a call waits for company only while there is room, and no
    longer than `wait_s`.
    """

    def __init__(
        self, work: Callable[[Sequence[Call]], list[Items]], max_rows: int, wait_s: float, in_flight: int
    ) -> None:
        self._work = work
        self._max_rows, self._wait_s, self._in_flight = max_rows, wait_s, in_flight
        self._threads = ThreadPoolExecutor(in_flight)
        self._waiting: list[tuple[Call, asyncio.Future[Items]]] = []
        self._running = 0
        self._timer: asyncio.TimerHandle | None = None

    def submit(self, call: Call) -> "asyncio.Future[Items]":
        """The call's result, when its list is done."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Items] = loop.create_future()
        self._waiting.append((call, future))
        if self._running < self._in_flight:
            if len(self._waiting) >= self._max_rows:
                self._start()
            elif self._timer is None:
                self._timer = loop.call_later(self._wait_s, self._start)
        return future

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        batch, self._waiting = self._waiting[: self._max_rows], self._waiting[self._max_rows :]
        self._running += 1
        running = asyncio.get_running_loop().run_in_executor(self._threads, self._work, [call for call, _ in batch])
        running.add_done_callback(lambda done: self._finished(batch, done))

    def _finished(self, batch: list[tuple[Call, "asyncio.Future[Items]"]], done: "asyncio.Future[list[Items]]") -> None:
        self._running -= 1
        if self._waiting and self._timer is None:
            self._start()
        if (error := done.exception()) is not None:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), items in zip(batch, done.result(), strict=True):
            if not future.done():
                future.set_result(items)


def make_app(cascade: Cascade, max_rows: int, wait_s: float, in_flight: int) -> FastAPI:
    """The program's HTTP side."""
    app = FastAPI()
    chain = StaticChain(cascade)
    batcher = Batcher(chain.run, max_rows, wait_s, in_flight)
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
