"""Server-sent events as bytes, and the id by which a listener that comes back says what it knows. Pure."""

import math
from collections.abc import Sequence

from cluster.live.ring import STEP_S, Point, encoded

RETRY_MS = 2000
HEARTBEAT = b": \n\n"


def event(name: str, data: bytes, time_s: float | None, retry_ms: int | None = None) -> bytes:
    """One event; `data` is JSON on one line. It has an id where it is known of what time it is."""
    retry = b"" if retry_ms is None else b"retry: %d\n" % retry_ms
    of = b"" if time_s is None else b"id: %r\n" % time_s
    return b"%b%bevent: %b\ndata: %b\n\n" % (retry, of, name.encode(), data)


def history(points: Sequence[Point], time_s: float | None, resumed: bool) -> bytes:
    """The first event after connecting."""
    joined = b",".join(data for _, data in points)
    told = b'{"step_s":%d,"resumed":%b,"points":[%b]}' % (STEP_S, b"true" if resumed else b"false", joined)
    return event("history", told, time_s, RETRY_MS)


def gone(detail: str, time_s: float | None) -> bytes:
    """Nobody can tell now."""
    return event("gone", encoded({"detail": detail}), time_s)


def known_until(last_event_id: str | None) -> float | None:
    """The Unix time up to which a listener knows all; None where it says nothing that makes sense."""
    try:
        known_s = float(last_event_id or "")
    except ValueError:
        return None
    return known_s if math.isfinite(known_s) else None
