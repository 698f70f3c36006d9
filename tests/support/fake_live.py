"""A server of the live page and of data for it, without Ray: to design it by, and for a browser's tests.

`python tests/support/fake_live.py steady` serves a state on a free port until Ctrl-C.
"""

import asyncio
import json
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from live_trace import trace
from live_world import World
from pydantic import ValidationError

from cluster.admin import NO_BEARER, WRONG_TOKEN
from cluster.limits.schemas import LimitRequest
from cluster.limits.stated import limit_of
from cluster.live.document import Document
from cluster.page.assemble import page
from models.errors import FixRequest

TOKEN = "0123456789abcdef-anna"
FULL = {"detail": "64 pages look already; close one, or raise live.most_watchers"}
STRANGERS = (404, 405, "405")
"""Users whom nobody knows; 404 is known as a word."""


@dataclass
class FakeLive:
    """The server. It may be stopped and started again on the same port.

    full     answers nobody's stream: 503
    mute     keeps streams open, and says nothing in them
    watched  streams that are open now, and all that ever were
    traced   users of all requests that were traced
    """

    world: World
    window_s: float = 1.0
    port: int = 0
    full: bool = False
    mute: bool = False
    watched: int = 0
    opened: int = 0
    resumed: list[str] = field(default_factory=list)
    traced: list[int | str] = field(default_factory=list)
    _stop: Any = None
    _thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def start(self) -> None:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)))
        self._thread.start()
        ready.wait()

    def stop(self) -> None:
        loop, event = self._stop
        loop.call_soon_threadsafe(event.set)
        assert self._thread is not None
        self._thread.join()

    async def _serve(self, ready: threading.Event) -> None:
        app = web.Application()
        app.add_routes(
            [
                web.get("/", self._page),
                web.get("/v1/live", self._live),
                web.get("/v1/power", self._power),
                web.get("/v1/constraints", self._constraints),
                web.put("/v1/constraints/{name}", self._put),
                web.delete("/v1/constraints/{name}", self._delete),
                web.post("/v1/trace", self._trace),
            ]
        )
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = runner.addresses[0][1]
        stopped = asyncio.Event()
        self._stop = (asyncio.get_running_loop(), stopped)
        ready.set()
        await stopped.wait()
        await runner.cleanup()

    async def _page(self, _: web.Request) -> web.Response:
        document = Document.of(page())
        headers = {**document.headers, "Content-Encoding": "gzip"}
        return web.Response(body=document.gzipped, content_type="text/html", charset="utf-8", headers=headers)

    async def _live(self, request: web.Request) -> web.StreamResponse:
        if self.full:
            return web.json_response(FULL, status=503, headers={"Retry-After": "1"})
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        self.watched, self.opened = self.watched + 1, self.opened + 1
        try:
            await response.prepare(request)
            await self._tell(request, response)
        except ConnectionError:
            pass
        finally:
            self.watched -= 1
        return response

    async def _tell(self, request: web.Request, response: web.StreamResponse) -> None:
        last = request.headers.get("Last-Event-ID")
        if last:
            self.resumed.append(last)
        now_s = time.time()
        history = {
            "step_s": 10,
            "resumed": last is not None,
            "points": list(self.world.points(now_s, float(last or 0))),
        }
        await self._send(response, "history", now_s, history, "retry: 300\n")
        while not self._stop[1].is_set():
            if self.mute:
                await response.write(b": \n\n")
            elif self.world.state == "away":
                await self._send(
                    response, "gone", time.time(), {"detail": "the controller is away; it comes back by itself"}
                )
            else:
                await self._send(response, "window", time.time(), self.world.window(time.time(), self.window_s))
            await asyncio.sleep(self.window_s)

    async def _send(self, response: web.StreamResponse, event: str, time_s: float, data: Any, head: str = "") -> None:
        told = json.dumps(data, allow_nan=False)
        await response.write(f"{head}id: {time_s}\nevent: {event}\ndata: {told}\n\n".encode())

    async def _power(self, _: web.Request) -> web.Response:
        return web.json_response(self.world.power(time.time()))

    async def _constraints(self, _: web.Request) -> web.Response:
        return web.json_response({"constraints": self.world.constraints(time.time())})

    def _refused(self, request: web.Request) -> web.Response | None:
        given = request.headers.get("Authorization")
        if given == f"Bearer {TOKEN}":
            return None
        return web.json_response({"detail": WRONG_TOKEN if given else NO_BEARER}, status=401)

    async def _put(self, request: web.Request) -> web.Response:
        if (refused := self._refused(request)) is not None:
            return refused
        name = request.match_info["name"]
        try:
            wanted = LimitRequest.model_validate_json(await request.read())
            limit = limit_of(name, wanted.kind, wanted.limit, wanted.unit)
        except ValidationError as error:
            return problem(str(error.errors()[0]["loc"][0]), error.errors()[0]["msg"])
        except FixRequest as error:
            return problem(error.field, error.problem)
        stated = {"kind": limit.kind.value, "limit": limit.limit, "unit": limit.unit}
        self.world.limits[name] = {**stated, "at_s": time.time()}
        return web.json_response({"name": name, **stated, "spend": None, "price": None, "reachable": None})

    async def _delete(self, request: web.Request) -> web.Response:
        if (refused := self._refused(request)) is not None:
            return refused
        if self.world.limits.pop(request.match_info["name"], None) is None:
            return web.json_response({"detail": f"there is no limit {request.match_info['name']!r}"}, status=404)
        return web.Response(status=204)

    async def _trace(self, request: web.Request) -> web.Response:
        body = await request.json()
        user_id = body["user_id"]
        self.traced.append(user_id)
        prices = [one["price"] for one in self.world.constraints(time.time()) if one["kind"] == "power"]
        price = max((price or 0.0 for price in prices), default=0.0)
        decides, known = self.world.state != "off", user_id not in STRANGERS
        return web.json_response(trace(user_id, price, decides, known=known))


def problem(name: str, said: str) -> web.Response:
    return web.json_response({"detail": [{"loc": ["body", name], "msg": said, "type": "value_error"}]}, status=422)


@contextmanager
def fake_live(state: str = "steady", window_s: float = 1.0, **limits: dict[str, Any]) -> Iterator[FakeLive]:
    """A server in this state, with these limits in force."""
    server = FakeLive(World(state, born_s=time.time(), limits=dict(limits)), window_s)
    server.start()
    try:
        yield server
    finally:
        server.stop()


def main() -> None:
    with fake_live(
        *sys.argv[1:2], cap={"kind": "power", "limit": 130.0, "unit": "W", "at_s": time.time() - 1200}
    ) as server:
        print(server.url, flush=True)
        with suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
