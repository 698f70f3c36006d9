"""The live stream of a served application, read in a thread of its own for as long as it is entered."""

import json
import threading
from typing import Any

import httpx


class LiveStream:
    """`events` are those that came so far: name, id, data. `ended` says whether the server has ended it, and how.

    last_event_id  what it says that it knows
    """

    def __init__(self, url: str, last_event_id: str | None = None) -> None:
        self.events: list[tuple[str, str, Any]] = []
        self.ended: str | None = None
        self._headers = {} if last_event_id is None else {"Last-Event-ID": last_event_id}
        self._url, self._stop = url, threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> "LiveStream":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(15)
        assert not self._thread.is_alive()

    def data(self, name: str) -> list[Any]:
        """Of the events of one name."""
        return [data for event, _, data in list(self.events) if event == name]

    def names(self) -> list[str]:
        """Of all events, in order."""
        return [event for event, _, _ in list(self.events)]

    def _read(self) -> None:
        """A heartbeat at the latest tells that it is to stop."""
        try:
            with (
                httpx.Client(timeout=20) as client,
                client.stream("GET", f"{self._url}/v1/live", headers=self._headers) as answer,
            ):
                assert answer.status_code == 200, answer.status_code
                self._take(answer)
            self.ended = "in order"
        except httpx.HTTPError as error:
            self.ended = type(error).__name__

    def _take(self, answer: httpx.Response) -> None:
        fields: dict[str, str] = {}
        for line in answer.iter_lines():
            if self._stop.is_set():
                return
            if line:
                name, _, value = line.partition(": ")
                fields[name] = value
            elif "event" in fields:
                self.events.append((fields["event"], fields.get("id", ""), json.loads(fields["data"])))
                fields = {}
