"""Who changed which limit when: a history that is only ever added to."""

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from allocator.limits import Kind, Limit


@dataclass(frozen=True, slots=True)
class LimitChange:
    """One change. `at_s` is Unix time; `before` and `after` are None where there was, or is, no limit of that name."""

    at_s: float
    author: str
    name: str
    before: Limit | None
    after: Limit | None


def add_changes(db: sqlite3.Connection, changes: Iterable[LimitChange]) -> None:
    """Add them, oldest first. To be called in a transaction."""
    rows = [(float(c.at_s), c.author, c.name, *_columns(c.before), *_columns(c.after)) for c in changes]
    columns = "at_s, author, name, before_kind, before_limit, before_unit, after_kind, after_limit, after_unit"
    db.executemany(f"INSERT INTO limit_change ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)


def newest_changes(db: sqlite3.Connection, most: int) -> tuple[LimitChange, ...]:
    """The newest, newest first."""
    rows = db.execute(
        """SELECT at_s, author, name, before_kind, before_limit, before_unit, after_kind, after_limit, after_unit
        FROM limit_change ORDER BY id DESC LIMIT ?""",
        (most,),
    )
    return tuple(
        LimitChange(at_s, author, name, _limit(name, columns[:3]), _limit(name, columns[3:]))
        for at_s, author, name, *columns in rows
    )


def _columns(limit: Limit | None) -> tuple[str | float | None, ...]:
    return (None, None, None) if limit is None else (limit.kind.value, float(limit.limit), limit.unit)


def _limit(name: str, columns: Sequence[str | float | None]) -> Limit | None:
    kind, limit, unit = columns
    return None if limit is None else Limit(name, Kind(str(kind)), float(limit), str(unit))
