"""The log's folder: files come into it whole, and the oldest leave it before it grows too large."""

import contextlib
import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.outcomes.log_tables import DECISIONS, REPEATING, TABLES

STALE_S = 3600.0
"""What somebody began to write so long ago will never be finished."""
_OURS = re.compile(rf"\.?(?:{'|'.join(TABLES)})-(\d{{8}}T\d{{6}})-\w+-\d+\.parquet")


@dataclass(frozen=True, slots=True)
class Written:
    """One file that came: its bytes, and how many files left to make room. One that does not fit did not come."""

    size: int
    deleted: int
    fits: bool = True


@dataclass(frozen=True, slots=True)
class LogFolder:
    """Where one writer, of a name of letters and digits that no other has, puts its files.

    max_bytes  of all writers' files together; others than the log's are neither counted nor touched
    """

    folder: Path
    max_bytes: int
    writer: str

    def write(self, table: str, rows: Any, number: int, now_s: float) -> Written:
        """Write an Arrow table as a file of that number, whole and on the disk, or not at all. Raises OSError.

        It does not fit where there would be no room though all older files left, and decisions of the same time.
        """
        content = _parquet(rows)
        stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(now_s))
        path = self.folder / table / f"{table}-{stamp}-{self.writer}-{number:06d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        deleted = self._make_room(content.size, stamp, now_s)
        if deleted is None:
            return Written(content.size, 0, fits=False)
        began = path.with_name(f".{path.name}")
        try:
            with began.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(began, path)
        except BaseException:
            with contextlib.suppress(OSError):
                began.unlink()
            raise
        _sync(path.parent)
        return Written(content.size, deleted)

    def _make_room(self, size: int, stamp: str, now_s: float) -> int | None:
        """Delete the oldest files, decisions before the outcomes of their time, until there is room. How many; None,
        and none are, where there never would be: outcomes of that very time are of decisions that come with them."""
        there = sorted(self._there())
        needed = {one.path for one in there if one.stamp == stamp and not one.name.startswith(DECISIONS)}
        if size + sum(one.size for one in there if one.path in needed) > self.max_bytes:
            return None
        total, deleted = sum(one.size for one in there), 0
        for one in there:
            stale = one.name.startswith(".") and one.changed_s < now_s - STALE_S
            crowds = not one.name.startswith(".") and one.path not in needed
            if stale or (crowds and total + size > self.max_bytes):
                one.path.unlink(missing_ok=True)
                total, deleted = total - one.size, deleted + 1
        return deleted

    def _there(self) -> Iterator["_File"]:
        for table in TABLES:
            with contextlib.suppress(FileNotFoundError), os.scandir(self.folder / table) as entries:
                for entry in entries:
                    if match := _OURS.fullmatch(entry.name):
                        with contextlib.suppress(FileNotFoundError):  # another writer's, finished or deleted just now
                            about = entry.stat()
                            yield _File(match[1], entry.name, Path(entry.path), about.st_size, about.st_mtime)


@dataclass(frozen=True, slots=True, order=True)
class _File:
    stamp: str
    name: str
    path: Path
    size: int
    changed_s: float


def _parquet(rows: Any) -> Any:
    """In memory, so that its size is known before there has to be room for it."""
    sink = pa.BufferOutputStream()
    repeating = [name for name in REPEATING if name in rows.column_names]
    pq.write_table(rows, sink, compression="zstd", use_dictionary=repeating, write_statistics=["time_s"])
    return sink.getvalue()


def _sync(folder: Path) -> None:
    """Have the folder's names on the disk, where it can be asked for."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
