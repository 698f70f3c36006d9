"""Follows a server's live stream, and comes back to it when it breaks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from cluster.admin_client import AdminClient
from cluster.live.schemas import GoneEvent, HistoryEvent, WindowEvent
from cluster.watching.events import Event, events
from models.errors import GreenFlowError

LIVE = "/v1/live"
PATIENCE_S = 25.0
"""Without a byte the connection counts as lost: at least a comment comes every ten seconds."""
AGAIN_S, LONGEST_S = 1.0, 15.0
"""The first wait before another try, and the longest: each is twice the one before."""
ENDED = "the server has ended the stream"


@dataclass(frozen=True, slots=True)
class Lost:
    """The stream broke: why, and in how many seconds it is tried again."""

    why: str
    again_s: float


Look = HistoryEvent | WindowEvent | GoneEvent | Lost
Told = type[HistoryEvent] | type[WindowEvent] | type[GoneEvent]
TOLD: dict[str, Told] = {"history": HistoryEvent, "window": WindowEvent, "gone": GoneEvent}


def looks(url: str, sleep: Callable[[float], None]) -> Iterator[Look]:
    """What the server tells, for ever. A stream that has told something and breaks is tried again, and again.

    Raises as `AdminClient.call` where the server cannot be asked the first time.
    """
    client, last_id, heard, again_s = AdminClient(url, timeout_s=PATIENCE_S), "", False, AGAIN_S
    while True:
        why = ENDED
        try:
            for event in _events(client, last_id):
                heard, again_s, last_id = True, AGAIN_S, event.id or last_id
                if event.name in TOLD:
                    yield client.read(TOLD[event.name], event.data.encode())
        except GreenFlowError as error:
            if not heard:
                raise
            why = str(error)
        yield Lost(why, again_s)
        sleep(again_s)
        again_s = min(LONGEST_S, 2 * again_s)


def _events(client: AdminClient, last_id: str) -> Iterator[Event]:
    """Of one connection."""
    headers = {"accept": "text/event-stream"} | ({"last-event-id": last_id} if last_id else {})
    with client.stream(LIVE, headers) as lines:
        yield from events(lines)
