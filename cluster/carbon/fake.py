"""A carbon intensity that a test or a demonstration writes, with failures where it wants them."""

from collections.abc import Iterable

from allocator.emissions import Kind
from cluster.carbon.base import Intensity, Span
from cluster.carbon.series import Series


class ScriptedCarbon:
    """Answers from spans that are given. `refresh` takes them over, or fails while `failure` says so.

    stale_s   how long after its end a figure is still not stale
    pause_s   what `refresh` answers
    """

    source = "script"

    def __init__(self, spans: Iterable[Span], stale_s: float = 3600.0, pause_s: float = 60.0) -> None:
        self.spans, self.failure = tuple(spans), ""
        self.problem: str | None = None
        self._series, self._stale_s, self._pause_s = Series.of(self.spans), stale_s, pause_s

    def now(self, unix_s: float) -> Intensity | None:
        """As `CarbonProvider.now`."""
        span = self._series.last_before(unix_s)
        return Intensity.of(span, unix_s, self._stale_s, Kind.AVERAGE, "script", self.source) if span else None

    def ahead(self, from_s: float, to_s: float) -> tuple[Span, ...]:
        """As `CarbonProvider.ahead`."""
        return self._series.between(from_s, to_s)

    async def refresh(self) -> float:
        """As `CarbonProvider.refresh`."""
        self.problem = self.failure or None
        if not self.failure:
            self._series = Series.of(self.spans)
        return self._pause_s
