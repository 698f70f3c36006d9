"""The port that all sources of the grid's carbon intensity implement.

`now` and `ahead` answer at once from what is held; `refresh` fetches what is new, and runs beside everything else
(`keep_fresh`). So neither a request nor a control tick ever waits for a file or for somebody's server.
"""

import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from allocator import emissions
from allocator.emissions import Kind, Pue, grams_per_joule
from allocator.joules import Quality

Sleep = Callable[[float], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Span:
    """One figure of a series: it holds from `from_s` until just before `to_s` (Unix times; `to_s` may be infinite).

    quality  measured where it comes from metered generation, modelled where somebody estimated or forecast it, assumed
             where it is a yearly mean or a figure that was simply given
    """

    from_s: float
    to_s: float
    g_per_kwh: float
    quality: Quality


@dataclass(frozen=True, slots=True)
class Intensity:
    """Grams of CO2e per kilowatt-hour at one time.

    at_s    Unix time at which the period begins that the figure is for
    age_s   how long ago that period ended; 0 while it lasts
    kind    average or marginal
    zone    the grid that it is of, in the words of the source
    source  who says so
    stale   the period ended so long ago that the figure is only the last one known; its quality is then assumed
    """

    g_per_kwh: float
    at_s: float
    age_s: float
    kind: Kind
    zone: str
    source: str
    quality: Quality
    stale: bool

    @classmethod
    def of(cls, span: Span, unix_s: float, stale_s: float, kind: Kind, zone: str, source: str) -> "Intensity":
        """The figure of `span`, as seen at `unix_s`; it is stale once the span has been over for `stale_s`."""
        age_s = max(0.0, unix_s - span.to_s)
        stale = age_s > stale_s
        quality = Quality.ASSUMED if stale else span.quality
        return cls(span.g_per_kwh, span.from_s, age_s, kind, zone, source, quality, stale)

    @property
    def figure(self) -> emissions.Intensity:
        """What the sums of emissions go by."""
        return emissions.Intensity(self.g_per_kwh, self.kind, self.quality)


class CarbonProvider(Protocol):
    """A source of carbon intensity. All its figures are of one kind."""

    @property
    def source(self) -> str:
        """Who says so, for people."""
        ...

    @property
    def problem(self) -> str | None:
        """Why the last refresh brought nothing new, with the remedy; None when it went well."""
        ...

    def now(self, unix_s: float) -> Intensity | None:
        """The intensity at the time, from what is held; None while nobody knows it. Never waits."""
        ...

    def ahead(self, from_s: float, to_s: float) -> tuple[Span, ...]:
        """What is known or forecast between two Unix times: in order, without overlaps, perhaps with gaps."""
        ...

    async def refresh(self) -> float:
        """Fetch what is new. Seconds until that is worth while again, infinity for never. Failures go to `problem`."""
        ...


async def keep_fresh(provider: CarbonProvider, sleep: Sleep) -> None:
    """Refresh the provider whenever it is due, for ever; ends at once for one that never changes."""
    while math.isfinite(pause_s := await provider.refresh()):
        await sleep(pause_s)


def grams_per_j(provider: CarbonProvider, building: Pue, now_s: float) -> float | None:
    """Grams of CO2e of a joule of machines at that Unix time; None while nobody knows the intensity."""
    intensity = provider.now(now_s)
    return None if intensity is None else grams_per_joule(building, intensity.figure)
