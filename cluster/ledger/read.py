"""Questions that the ledger answers from its totals. Pure reading, on any connection to a ledger."""

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass

from allocator.joules import Quality
from cluster.ledger.amount import Amount, Cell
from cluster.ledger.totals import DAY_S, SPANS

Key = tuple[str | int, ...]

TIME = {"hour": "t.start_s", "day": f"t.start_s / {DAY_S} * {DAY_S}"}
"""How a total's start is rounded down, as SQL."""


@dataclass(frozen=True, slots=True)
class Period:
    """Totals to sum up: `span` is hour or day, `since_s` and `until_s` Unix times that start one; until is left out."""

    span: str
    since_s: int
    until_s: int

    @property
    def length_s(self) -> int:
        """Seconds of one total."""
        return SPANS[self.span]


@dataclass(frozen=True, slots=True)
class Traffic:
    """Windows, the seconds that they cover, and the requests and items that were answered in them."""

    windows: int
    covered_s: float
    requests: int
    items: int


@dataclass(frozen=True, slots=True)
class Done:
    """Runs and pairs, and what they drew."""

    calls: int
    items: int
    amount: Amount


def known_period(db: sqlite3.Connection, span: str) -> Period | None:
    """From the first to the last total of that span, None where there is none."""
    first, last = db.execute("SELECT min(start_s), max(start_s) FROM window_total WHERE span = ?", (span,)).fetchone()
    return None if first is None else Period(span, int(first), int(last) + SPANS[span])


def traffic_by(db: sqlite3.Connection, period: Period, key: str = "0") -> Mapping[str | int, Traffic]:
    """Requests by an SQL expression over the total `t`."""
    rows = db.execute(
        f"""SELECT {key}, sum(t.windows), sum(t.window_s), sum(t.requests), sum(t.items) FROM window_total t
        WHERE t.span = ? AND t.start_s >= ? AND t.start_s < ? GROUP BY 1 ORDER BY 1""",
        _bounds(period),
    )
    return {row[0]: Traffic(*row[1:]) for row in rows}


def devices_by(db: sqlite3.Connection, period: Period, *keys: str) -> Mapping[Key, Amount]:
    """What devices drew, by SQL expressions over the total `t` and its device `n`."""
    return {key: done.amount for key, done in _summed(db, period, "device", keys).items()}


def parts_by(db: sqlite3.Connection, period: Period, *keys: str) -> Mapping[Key, Done]:
    """Who it is put down to, by SQL expressions over the total `t` and its part `n`."""
    return _summed(db, period, "part", keys)


def _summed(db: sqlite3.Connection, period: Period, table: str, keys: tuple[str, ...]) -> Mapping[Key, Done]:
    counts = "sum(t.calls), sum(t.items)" if table == "part" else "0, 0"
    known = "t.quality, f.intensity_kind, f.intensity_quality, f.pue_quality"
    listed = "".join(f"{key}, " for key in keys)
    groups = ", ".join(str(n + 1) for n in range(len(keys) + 4))
    rows = db.execute(
        f"""SELECT {listed}{known}, sum(t.energy_j), sum(t.facility_j), sum(t.grams), {counts}
        FROM {table}_total t JOIN {table} n ON n.id = t.{table} JOIN footing f ON f.id = t.footing
        WHERE t.span = ? AND t.start_s >= ? AND t.start_s < ? GROUP BY {groups} ORDER BY {groups}""",
        _bounds(period),
    )
    found: dict[Key, Done] = {}
    for row in rows:
        key, values = row[: len(keys)], row[len(keys) :]
        cell = Cell(Quality(values[0]), values[1], Quality(values[2]), Quality(values[3]), *values[4:7])
        before = found.get(key, Done(0, 0, Amount()))
        found[key] = Done(before.calls + values[7], before.items + values[8], before.amount + Amount((cell,)))
    return found


def _bounds(period: Period) -> tuple[str, int, int]:
    return period.span, period.since_s, period.until_s
