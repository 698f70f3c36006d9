"""The last figure that a source told, for a controller that starts while the source does not answer."""

import json
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass

from allocator.emissions import Kind
from allocator.joules import Quality
from cluster.carbon.base import CarbonProvider, Intensity, Span
from cluster.carbon.file import MOST_G_PER_KWH
from cluster.events import Event, happened

INTENSITY = "intensity"
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Held:
    """A figure of a source; `span` ends when it was last known to hold."""

    span: Span
    kind: Kind
    zone: str


class RememberedCarbon:
    """Another source, and what it told an earlier controller: that holds until the source tells a figure itself, and
    ages as all figures do: stale `stale_s` after it was last known to hold, and assumed then.

    of  what the figures are of (source, zone, kind); what was kept of something else is left alone
    """

    def __init__(self, provider: CarbonProvider, of: str, stale_s: float) -> None:
        self._provider, self.of, self._stale_s = provider, of, stale_s
        self._held: Held | None = None

    @property
    def source(self) -> str:
        """As `CarbonProvider.source`."""
        return self._provider.source

    @property
    def problem(self) -> str | None:
        """As `CarbonProvider.problem`."""
        return self._provider.problem

    def now(self, unix_s: float) -> Intensity | None:
        """As `CarbonProvider.now`."""
        found = self._provider.now(unix_s)
        if found is not None or self._held is None:
            return found
        held = self._held
        return Intensity.of(held.span, unix_s, self._stale_s, held.kind, held.zone, self.source)

    def ahead(self, from_s: float, to_s: float) -> tuple[Span, ...]:
        """As `CarbonProvider.ahead`: what was kept says nothing of it."""
        return self._provider.ahead(from_s, to_s)

    async def refresh(self) -> float:
        """As `CarbonProvider.refresh`."""
        return await self._provider.refresh()

    def dumped(self, unix_s: float) -> Mapping[str, bytes]:
        """What to keep at that time, with its time, quality and kind: the newest figure that was not stale."""
        found = self._provider.now(unix_s)
        if found is not None and not found.stale:
            span = Span(found.at_s, unix_s - found.age_s, found.g_per_kwh, found.quality)
            self._held = Held(span, found.kind, found.zone)
        if self._held is None:
            return {}
        span, kind, zone = self._held.span, self._held.kind, self._held.zone
        figures = {"from_s": span.from_s, "to_s": span.to_s, "g_per_kwh": span.g_per_kwh, "quality": span.quality}
        return {INTENSITY: json.dumps({"of": self.of, **figures, "kind": kind, "zone": zone}).encode()}

    def resume(self, kept: Mapping[str, bytes]) -> None:
        """Take up what was kept, unless the source has told a newer figure by then."""
        if INTENSITY in kept and self._held is None:
            try:
                self._held = _held(json.loads(kept[INTENSITY]), self.of)
            except (ValueError, KeyError, TypeError) as error:
                happened(
                    logger, Event.BEGINS_ANEW, "the last carbon intensity that was known cannot be read: %s", error
                )


def _held(document: Mapping[str, object], of: str) -> Held | None:
    if document["of"] != of:
        return None
    from_s, to_s, figure = (float(str(document[name])) for name in ("from_s", "to_s", "g_per_kwh"))
    if not (math.isfinite(from_s) and math.isfinite(to_s) and 0 <= figure <= MOST_G_PER_KWH):
        raise ValueError(f"{figure} grams per kilowatt-hour until {to_s}")
    span = Span(from_s, to_s, figure, Quality(str(document["quality"])))
    return Held(span, Kind(str(document["kind"])), str(document["zone"]))
