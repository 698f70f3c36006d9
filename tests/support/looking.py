"""One who looks at the live stream of an application in this process, and a controller that tells what a test says."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI

from cluster.live.desk import Look
from cluster.live.ring import Point, encoded
from models.errors import TryAgain


@dataclass(frozen=True)
class Event:
    """A server-sent event; a comment has no name."""

    name: str
    data: Any = None
    id: str | None = None
    retry: str | None = None


class Viewer:
    """Opens the stream, and keeps what comes. To be used in one event loop.

    last_event_id  what it says that it knows
    """

    def __init__(self, app: FastAPI, last_event_id: str | None = None, root_path: str = "") -> None:
        headers = [] if last_event_id is None else [(b"last-event-id", last_event_id.encode())]
        self._scope: dict[str, Any] = {
            "type": "http", "method": "GET", "path": f"{root_path}/v1/live", "raw_path": b"/v1/live",
            "query_string": b"", "root_path": root_path, "scheme": "http", "http_version": "1.1", "headers": headers,
            "server": ("here", 80), "client": ("there", 1), "asgi": {"version": "3.0"},
        }  # fmt: skip
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.ended = False
        self._content = b""
        self._left, self._reads = asyncio.Event(), asyncio.Event()
        self._reads.set()
        self._asked = False
        self._task = asyncio.create_task(app(self._scope, self._receive, self._send))

    @property
    def events(self) -> list[Event]:
        """All that came so far."""
        return [_event(block) for block in self._content.decode().split("\n\n")[:-1]]

    def named(self, name: str) -> list[Event]:
        """Those of one name."""
        return [event for event in self.events if event.name == name]

    @property
    def answer(self) -> Any:
        """What came where it is no stream."""
        return json.loads(self._content)

    @property
    def done(self) -> bool:
        """Whether the application is through with it."""
        return self._task.done()

    def stall(self) -> None:
        """Read no more: what is sent next waits."""
        self._reads.clear()

    def read_on(self) -> None:
        """Read again."""
        self._reads.set()

    async def leave(self) -> None:
        """Close the connection."""
        self._left.set()
        self._reads.set()
        await self._task

    async def _receive(self) -> dict[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Any) -> None:
        await self._reads.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self._content += message.get("body", b"")
            self.ended = not message.get("more_body", False)


def _event(block: str) -> Event:
    fields = dict(line.split(": ", 1) for line in block.split("\n"))
    if "event" not in fields:
        return Event("")
    return Event(fields["event"], json.loads(fields["data"]), fields.get("id"), fields.get("retry"))


@dataclass
class Teller:
    """Tells of windows as a test has them; counts how often it was asked.

    away   whether nobody can tell
    whole  whether it has read what was before
    """

    points: list[Point] = field(default_factory=list)
    time_s: float = 1000.0
    window: dict[str, Any] = field(default_factory=dict)
    away: bool = False
    whole: bool = True
    asked: list[float] = field(default_factory=list)

    def next_window(self) -> None:
        """A second has passed."""
        self.time_s += 1.0

    async def look(self, since_s: float) -> Look:
        self.asked.append(since_s)
        if self.away:
            raise TryAgain("the controller: it restarts")
        points = tuple(point for point in self.points if point[0] > since_s)
        return Look(points, self.time_s, encoded({"time_s": self.time_s, **self.window}), (), 1.0, self.whole)


def point(time_s: float) -> Point:
    """A point of which only the time matters."""
    return time_s, encoded({"time_s": time_s})
