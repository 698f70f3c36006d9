"""How the Carbon Intensity API for Great Britain names places. Apart, so that settings need no HTTP client."""

import re

REGIONS = 17
_POSTCODE = re.compile(r"[A-Z]{1,2}[0-9][0-9A-Z]?")


def check_zone(zone: str) -> str:
    """The zone as the API writes it. Raises ValueError unless it is GB, a region's number, or an outward postcode."""
    zone = zone.strip().upper()
    if zone == "GB" or (zone.isdecimal() and 1 <= int(zone) <= REGIONS) or _POSTCODE.fullmatch(zone):
        return zone
    raise ValueError(
        f"the zone must be GB, a region from 1 to {REGIONS}, or an outward postcode such as SW1; got {zone!r}"
    )
