"""What differs between servers of carbon intensities: the addresses to ask and the shapes of their answers."""

import json
from datetime import UTC, datetime
from typing import Any, Protocol

from allocator.emissions import Kind
from allocator.joules import Quality
from cluster.carbon.base import Span
from cluster.carbon.file import MOST_G_PER_KWH
from cluster.carbon.transport import Ask
from models.errors import TryAgain

ODD = (LookupError, TypeError, ValueError, ArithmeticError)
"""What reading a document of another shape, or with times out of this world, can raise."""


class GridApi(Protocol):
    """One server's addresses and shapes. Pure: no sockets, no clock."""

    source: str
    """Who says so, for people."""
    zone: str
    kind: Kind
    token_hint: str
    """What to do when the server refuses us."""

    def ask_now(self) -> Ask:
        """For the figure that holds now."""
        ...

    def read_now(self, body: bytes) -> Span:
        """It. Raises TryAgain when the answer has no figure, or has another shape than the documented one."""
        ...

    def ask_ahead(self, unix_s: float) -> Ask:
        """For the forecast from the time on."""
        ...

    def read_ahead(self, body: bytes) -> tuple[Span, ...]:
        """It, in any order. Raises TryAgain like `read_now`."""
        ...


def document(source: str, body: bytes) -> dict[str, Any]:
    """The JSON object of an answer. Raises TryAgain when it is none."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise TryAgain(f"{source} answered with something else than a JSON object: {body[:60]!r}")
    return found


def span(from_s: float, to_s: float, figure: object, quality: Quality) -> Span:
    """A checked span. Raises ValueError for what is no plausible figure; None stands for "not known yet"."""
    if isinstance(figure, bool) or not isinstance(figure, int | float) or not 0 <= figure <= MOST_G_PER_KWH:
        raise ValueError(f"{str(figure)[:40]} is no intensity in grams per kilowatt-hour")
    if not from_s < to_s:
        raise ValueError("a period that ends before it begins")
    return Span(from_s, to_s, float(figure), quality)


def unix(text: object) -> float:
    """Unix time of an ISO 8601 time; one without a zone is UTC. Raises ValueError."""
    moment = datetime.fromisoformat(str(text))
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def iso_minute(unix_s: float) -> str:
    """A time as YYYY-MM-DDThh:mmZ."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%MZ")
