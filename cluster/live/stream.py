"""The response of GET /v1/live: events for as long as the client stays. No Ray here."""

import asyncio

from fastapi.responses import JSONResponse, Response
from starlette.types import Message, Receive, Scope, Send

from cluster.live.events import known_until
from cluster.live.hub import Hub
from models.errors import TryAgain

RETRY_AFTER_S = 10
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # some proxies else keep events until there are many
    (b"x-content-type-options", b"nosniff"),
]


class EventStream(Response):
    """Counts as somebody who looks from its start to its end, however it ends.

    last_event_id  what a listener that comes back says that it has seen
    """

    def __init__(self, hub: Hub, last_event_id: str | None) -> None:
        super().__init__(status_code=200)
        self._hub, self._known_s = hub, known_until(last_event_id)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI entry. 503 where too many look, or where this replica ends."""
        try:
            await self._stream(receive, send)
        except TryAgain as error:
            refused = JSONResponse({"detail": str(error)}, 503, headers={"Retry-After": str(RETRY_AFTER_S)})
            await refused(scope, receive, send)

    async def _stream(self, receive: Receive, send: Send) -> None:
        with self._hub.listening(self._known_s) as listener:
            gone = asyncio.create_task(_gone(receive))
            gone.add_done_callback(lambda _: listener.close())
            try:
                await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
                while (event := await listener.next()) is not None:
                    await send(_body(event, more=True))
                if not gone.done():
                    await send(_body(b"", more=False))
            finally:
                gone.cancel()


async def _gone(receive: Receive) -> None:
    """Returns when the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _body(content: bytes, more: bool) -> Message:
    return {"type": "http.response.body", "body": content, "more_body": more}
