"""GET / and GET /v1/live: the page that shows what happens, and the stream that it shows. Whoever may ask, may look."""

from collections.abc import Callable
from functools import cache
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response

from cluster.live.document import Document, accepts_gzip
from cluster.live.hub import Hub
from cluster.live.schemas import LiveEvents
from cluster.live.stream import EventStream
from cluster.schemas import Detail

LIVE = "/v1/live"
NOBODY = "nothing is counted: there is no allocator, and energy.enabled is false"
ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "model": LiveEvents,
        "description": "Server-sent events `history`, `window` and `gone`, without an end; the `data` of each is JSON "
        "as the property of that name. `Last-Event-ID` leaves out of the history what is known.",
    },
    404: {"model": Detail, "description": "Nothing is counted: no allocator, and `energy.enabled` is false"},
    503: {"model": Detail, "description": "Too many look (setting `page.most_listeners`); see `Retry-After`"},
}


def add_live(app: FastAPI, hub: Hub | None, page: Callable[[], bytes]) -> None:
    """The routes; without a hub the stream says that there is none.

    page  the page, HTML in UTF-8; asked for once, when somebody first wants it
    """
    _add_page(app, page)

    @app.get(LIVE, response_model=None, responses=ANSWERS)
    async def live(request: Request) -> Response:
        """How things stand, window by window, after what was before: watts, limits, requests, mix, savings."""
        if hub is None:
            return JSONResponse({"detail": NOBODY}, 404)
        return EventStream(hub, request.headers.get("last-event-id"))


def _add_page(app: FastAPI, page: Callable[[], bytes]) -> None:
    @cache
    def document() -> Document:
        return Document.of(page())

    @app.api_route("/", methods=["GET", "HEAD"], response_model=None, include_in_schema=False)
    async def show(request: Request) -> Response:
        """The live page."""
        found = document()
        if found.is_known_by(request.headers.get("if-none-match", "")):
            return Response(status_code=304, headers=dict(found.headers))
        headers = dict(found.headers)
        body = found.plain
        if accepts_gzip(request.headers.get("accept-encoding", "")):
            body, headers["Content-Encoding"] = found.gzipped, "gzip"
        return Response(body, headers=headers, media_type="text/html")
