"""The Carbon Intensity API for Great Britain by the National Energy System Operator (NESO): free, without a token.

Documentation: carbon-intensity.github.io/api-definitions. Half-hours in UTC, average intensity of what is consumed
(imports and losses included), grams of CO2e per kilowatt-hour. `actual` comes from metered generation and is null until
a half-hour is worked out; regions have forecasts alone. Shapes of the answers:

    /intensity                    {"data": [{"from", "to", "intensity": {"forecast", "actual", "index"}}]}
    /intensity/{from}/fw48h       the same, with 96 periods
    /regional/regionid/{id}       {"data": [{"regionid", "shortname", "data": [a period as above, "generationmix"]}]}
    /regional/postcode/{outward}  the same
    /regional/intensity/{from}/fw48h/regionid/{id}   {"data": {"regionid", ..., "data": [periods]}}: no list around it
"""

from typing import Any

from allocator.emissions import Kind
from allocator.joules import Quality
from cluster.carbon.api import ODD, document, iso_minute, span, unix
from cluster.carbon.base import Span
from cluster.carbon.transport import Ask
from cluster.carbon.uk_zones import check_zone
from models.errors import TryAgain

BASE = "https://api.carbonintensity.org.uk"


class CarbonIntensityUk:
    """Great Britain as a whole (zone GB), one of its 17 regions ("13" is London), or that of a postcode ("RG10")."""

    source = "Carbon Intensity API (NESO)"
    kind = Kind.AVERAGE
    token_hint = "check carbon.zone; NESO blocks addresses that ask too often, so keep carbon.refresh_s at 300 or more"

    def __init__(self, zone: str = "GB", base: str = BASE) -> None:
        self.zone, self._base = check_zone(zone), base.rstrip("/")

    def ask_now(self) -> Ask:
        """As `GridApi.ask_now`."""
        return Ask(f"{self._base}/intensity" if self.zone == "GB" else f"{self._base}/regional/{self._place}")

    def read_now(self, body: bytes) -> Span:
        """As `GridApi.read_now`."""
        return self._read(body)[0]

    def ask_ahead(self, unix_s: float) -> Ask:
        """As `GridApi.ask_ahead`: 48 hours."""
        start = iso_minute(unix_s)
        if self.zone == "GB":
            return Ask(f"{self._base}/intensity/{start}/fw48h")
        return Ask(f"{self._base}/regional/intensity/{start}/fw48h/{self._place}")

    def read_ahead(self, body: bytes) -> tuple[Span, ...]:
        """As `GridApi.read_ahead`."""
        return tuple(self._read(body))

    @property
    def _place(self) -> str:
        return f"regionid/{self.zone}" if self.zone.isdecimal() else f"postcode/{self.zone}"

    def _read(self, body: bytes) -> list[Span]:
        found = document(self.source, body)
        try:
            periods = found["data"]
            if self.zone != "GB":
                region = periods[0] if isinstance(periods, list) else periods
                periods = region["data"]
            spans = [_span(period) for period in periods]
        except ODD as error:
            raise TryAgain(f"{self.source} answered in another shape than it documents: {error!r}") from None
        if not spans:
            raise TryAgain(f"{self.source} has no figure for zone {self.zone} now")
        return spans


def _span(period: dict[str, Any]) -> Span:
    intensity = dict(period["intensity"])
    actual = intensity.get("actual")
    figure, quality = (intensity["forecast"], Quality.MODELLED) if actual is None else (actual, Quality.MEASURED)
    return span(unix(period["from"]), unix(period["to"]), figure, quality)
