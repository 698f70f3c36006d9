"""Which totals a question is answered from: hours as far as they are kept, days before that."""

import math
import sqlite3

from cluster.ledger.read import Period, known_period, traffic_by
from cluster.ledger.totals import SPANS
from cluster.reporting.model import By
from cluster.reporting.since import iso
from models.errors import FixFile, FixRequest


def period_of(db: sqlite3.Connection, ledger: str, by: By, since_s: float | None, until_s: float | None) -> Period:
    """Whole hours or days that hold `since_s` to `until_s` (Unix times; None for no bound), within what is known.

    Raises FixFile where the ledger holds nothing, FixRequest where it holds nothing of that time.
    """
    days, hours = known_period(db, "day"), known_period(db, "hour")
    if days is None:
        raise FixFile(ledger, "", "holds no window yet: send traffic, and ask again a window later")
    known = days
    if hours is not None and (by == "hour" or _all_there(db, days, hours, since_s)):
        known = hours
    return _within(known, since_s, until_s)


def _all_there(db: sqlite3.Connection, days: Period, hours: Period, since_s: float | None) -> bool:
    """Whether hours tell all that is asked: none of that time has been let go of."""
    if since_s is not None and since_s >= hours.since_s:
        return True
    return traffic_by(db, hours)[0].windows == traffic_by(db, days)[0].windows


def _within(known: Period, since_s: float | None, until_s: float | None) -> Period:
    length_s = SPANS[known.span]
    first_s = known.since_s if since_s is None else math.floor(since_s / length_s) * length_s
    last_s = known.until_s if until_s is None else math.ceil(until_s / length_s) * length_s
    if since_s is not None and until_s is not None and since_s >= until_s:
        raise FixRequest("until", f"must be later than --since, got {iso(since_s)} to {iso(until_s)}")
    if first_s >= known.until_s:
        raise FixRequest("since", f"nothing is billed after {iso(first_s)}; {_told(known)}")
    if last_s <= known.since_s:
        raise FixRequest("until", f"nothing is billed before {iso(last_s)}; {_told(known)}")
    return Period(known.span, max(first_s, known.since_s), min(last_s, known.until_s))


def _told(known: Period) -> str:
    return f"{known.span}s are told of from {iso(known.since_s)} to {iso(known.until_s)}"
