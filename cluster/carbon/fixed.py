"""Figures that do not change: one that the operator gives, a country's yearly mean, or none at all."""

import math

from allocator.emissions import Kind
from allocator.joules import Quality
from cluster.carbon.base import Intensity, Span
from cluster.carbon.series import Series


class FixedCarbon:
    """The same figure at all times. It is nobody's measurement of the hour, so its quality is assumed."""

    problem: str | None = None

    def __init__(self, g_per_kwh: float, kind: Kind = Kind.AVERAGE, zone: str = "", source: str = "fixed") -> None:
        self.source = source
        self._kind, self._zone = kind, zone
        self._span = Span(0.0, math.inf, g_per_kwh, Quality.ASSUMED)

    def now(self, unix_s: float) -> Intensity | None:
        """As `CarbonProvider.now`; never stale."""
        return Intensity.of(self._span, unix_s, math.inf, self._kind, self._zone, self.source)

    def ahead(self, from_s: float, to_s: float) -> tuple[Span, ...]:
        """As `CarbonProvider.ahead`: one span."""
        return Series((self._span,)).between(from_s, to_s)

    async def refresh(self) -> float:
        """As `CarbonProvider.refresh`: never worth while."""
        return math.inf


class UnknownCarbon:
    """Nobody has said what the grid emits: joules are counted, grams are not."""

    source = "unknown"
    problem: str | None = None

    def now(self, unix_s: float) -> Intensity | None:
        """As `CarbonProvider.now`: None at all times."""
        return None

    def ahead(self, from_s: float, to_s: float) -> tuple[Span, ...]:
        """As `CarbonProvider.ahead`: nothing."""
        return ()

    async def refresh(self) -> float:
        """As `CarbonProvider.refresh`: never worth while."""
        return math.inf
