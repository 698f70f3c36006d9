"""Numbers for what would otherwise repeat in every row of the ledger."""

import sqlite3

_COLUMNS = {
    "device": ("device", "pool", "node", "host", "kind", "source", "epoch"),
    "part": ("pool", "kind", "stage", "variant"),
    "footing": ("intensity_kind", "intensity_quality", "pue_quality"),
}


class Numbers:
    """Looks ids up and makes new ones. Remembers them: `forget` after a transaction that was rolled back."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, ...], int] = {}

    def of(self, db: sqlite3.Connection, table: str, *values: str) -> int:
        """The id of these values in `table`: device, part or footing. To be called in a transaction."""
        key = (table, *values)
        if key not in self._known:
            self._known[key] = _find(db, table, values)
        return self._known[key]

    def forget(self) -> None:
        """Look all up anew."""
        self._known.clear()


def _find(db: sqlite3.Connection, table: str, values: tuple[str, ...]) -> int:
    columns = _COLUMNS[table]
    where = " AND ".join(f"{column} = ?" for column in columns)
    if row := db.execute(f"SELECT id FROM {table} WHERE {where}", values).fetchone():
        return int(row[0])
    marks = ", ".join("?" * len(columns))
    made = db.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({marks})", values)
    assert made.lastrowid is not None
    return made.lastrowid
