"""Electricity Maps: grids of most of the world, with a token of one's own.

Documentation: app.electricitymaps.com/developer-hub/api/reference. Hours in UTC, average intensity of what is consumed
(flows between grids traced), grams of CO2e per kilowatt-hour, by default of the plants' whole life cycle. The token
goes into the header `auth-token`. Shapes of the answers:

    /v3/carbon-intensity/latest    {"zone", "carbonIntensity", "datetime", "updatedAt", "createdAt",
                                    "emissionFactorType", "isEstimated", "estimationMethod"}
    /v3/carbon-intensity/forecast  {"zone", "forecast": [{"carbonIntensity", "datetime"}], "updatedAt"}

Where the zone is not known, the server takes the caller's own whereabouts instead. `disableCallerLookup` forbids it,
and an answer for another zone than the one that was asked for is refused.
"""

from typing import Any
from urllib.parse import urlencode

from allocator.emissions import Kind
from allocator.joules import Quality
from cluster.carbon.api import ODD, document, span, unix
from cluster.carbon.base import Span
from cluster.carbon.transport import Ask
from models.errors import TryAgain

BASE = "https://api.electricitymaps.com"
HOUR_S = 3600.0


class ElectricityMaps:
    """One zone of Electricity Maps, such as "DE", "US-CAL-CISO" or "SE-SE3"."""

    source = "Electricity Maps"
    kind = Kind.AVERAGE
    token_hint = "check the token (GREENFLOW_CARBON_TOKEN or carbon.token_file) and that its plan covers carbon.zone"

    def __init__(self, zone: str, token: str, base: str = BASE) -> None:
        self.zone, self._token, self._base = zone, token, base.rstrip("/")

    def ask_now(self) -> Ask:
        """As `GridApi.ask_now`."""
        return self._ask("latest")

    def read_now(self, body: bytes) -> Span:
        """As `GridApi.read_now`."""
        found = self._checked(body)
        try:
            quality = Quality.MODELLED if found.get("isEstimated") is not False else Quality.MEASURED
            return _hour(found, quality)
        except ODD as error:
            raise self._odd(error) from None

    def ask_ahead(self, unix_s: float) -> Ask:
        """As `GridApi.ask_ahead`: as far as the token's plan goes."""
        return self._ask("forecast")

    def read_ahead(self, body: bytes) -> tuple[Span, ...]:
        """As `GridApi.read_ahead`."""
        found = self._checked(body)
        try:
            return tuple(_hour(one, Quality.MODELLED) for one in found["forecast"])
        except ODD as error:
            raise self._odd(error) from None

    def _ask(self, what: str) -> Ask:
        query = urlencode({"zone": self.zone, "disableCallerLookup": "true"})
        return Ask(f"{self._base}/v3/carbon-intensity/{what}?{query}", {"auth-token": self._token})

    def _checked(self, body: bytes) -> dict[str, Any]:
        found = document(self.source, body)
        if found.get("zone") != self.zone:
            raise TryAgain(f"{self.source} answered for zone {found.get('zone')!r}, not for {self.zone!r}")
        return found

    def _odd(self, error: Exception) -> TryAgain:
        return TryAgain(f"{self.source} answered in another shape than it documents: {error!r}")


def _hour(found: dict[str, Any], quality: Quality) -> Span:
    begins_s = unix(found["datetime"])
    return span(begins_s, begins_s + HOUR_S, found["carbonIntensity"], quality)
