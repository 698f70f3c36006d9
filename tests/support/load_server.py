"""A small server to put load on, over real sockets on loopback."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

from cluster.traffic.load import LoadPlan, run_load
from cluster.traffic.report import LoadReport

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
BODIES = [b'{"user_id":1}', b'{"user_id":2}']
NOWHERE = "http://127.0.0.1:9"


def answer(chain: str = "big", items: int = 2, degraded: bool = False) -> web.Response:
    listed = [{"item_id": i, "score": 1.0} for i in range(items)]
    return web.json_response({"items": listed, "chain": {"id": chain, "stages": []}, "degraded": degraded})


async def good(_: web.Request) -> web.Response:
    return answer()


@asynccontextmanager
async def serving(handler: Handler) -> AsyncIterator[str]:
    """A server whose POST /v1/recommend is `handler`, on a free port; yields its URL."""

    async def recommend(request: web.Request) -> web.StreamResponse:
        return await handler(request)

    app = web.Application()
    app.router.add_post("/v1/recommend", recommend)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


def measure(handler: Handler, **plan: Any) -> LoadReport:
    async def run() -> LoadReport:
        async with serving(handler) as url:
            return await run_load(LoadPlan(url, plan.pop("bodies", BODIES), **plan))

    return asyncio.run(run())


class Turns:
    """Answers in turn with each of the given responses (or whatever the call does)."""

    def __init__(self, *makers: Callable[[web.Request], web.StreamResponse]) -> None:
        self.makers, self.served = makers, 0

    async def __call__(self, request: web.Request) -> web.StreamResponse:
        await request.read()
        self.served += 1
        return self.makers[(self.served - 1) % len(self.makers)](request)


def hang_up(request: web.Request) -> web.StreamResponse:
    assert request.transport is not None
    request.transport.close()
    return web.Response()
