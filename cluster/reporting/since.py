"""Points in time, as people name them."""

import re
from datetime import UTC, datetime, timedelta

from models.errors import FixRequest

_BACK = re.compile(r"(\d{1,5})([hdw])")
_UNIT_S = {"h": 3600, "d": 86400, "w": 7 * 86400}


def moment(text: str, field: str, now_s: float) -> float:
    """Unix time of an ISO date or time (UTC where it names no zone), or of so long before now: 24h, 7d, 4w.

    What lies before 1970 is 1970. Raises FixRequest naming `field`.
    """
    if back := _BACK.fullmatch(text.strip()):
        return max(0.0, now_s - int(back[1]) * _UNIT_S[back[2]])
    try:
        named = datetime.fromisoformat(text.strip())
    except ValueError:
        problem = f"{text!r} is no time: give one such as 2026-11-24 or 2026-11-24T08:00, or a span such as 24h, 7d, 4w"
        raise FixRequest(field, problem) from None
    return max(0.0, (named if named.tzinfo else named.replace(tzinfo=UTC)).timestamp())


def day_of(text: str, field: str = "day") -> tuple[float, float]:
    """Unix times at which a day in UTC, such as 2026-11-24, begins and ends. Raises FixRequest naming `field`."""
    try:
        day = datetime.strptime(text.strip(), "%Y-%m-%d").replace(tzinfo=UTC)
        return day.timestamp(), (day + timedelta(days=1)).timestamp()
    except (ValueError, OverflowError):
        raise FixRequest(field, f"{text!r} is no day: give one such as 2026-11-24") from None


def month_of(text: str, field: str = "month") -> tuple[float, float]:
    """Unix times at which a month in UTC, such as 2026-11, begins and ends. Raises FixRequest naming `field`."""
    try:
        month = datetime.strptime(text.strip(), "%Y-%m").replace(tzinfo=UTC)
        after = (month + timedelta(days=31)).replace(day=1)
    except (ValueError, OverflowError):
        raise FixRequest(field, f"{text!r} is no month: give one such as 2026-11") from None
    return month.timestamp(), after.timestamp()


def iso(unix_s: float) -> str:
    """UTC to the minute, such as 2026-11-24T08:00Z."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%dT%H:%MZ")


def seconds(told: str) -> float:
    """Unix time of what `iso` has told."""
    return datetime.fromisoformat(told).timestamp()
