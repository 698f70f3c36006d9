"""A CSV file of carbon intensities over time, read again whenever it changes.

    time,g_per_kwh,quality
    2026-11-24T00:00Z,182,measured
    2026-11-24T00:30Z,175.5,modelled

time       when the figure begins to hold: ISO 8601 with its time zone, or Unix seconds. Times ascend
g_per_kwh  grams of CO2e per kilowatt-hour
quality    measured, modelled or assumed; the column may be left out, and is then assumed

Each figure holds until the next one. The last holds as long as the one before it did, and then ages: it stays in use,
marked stale after `stale_s`, because the last figure known is better than none. Before the first nothing is known.
"""

import asyncio
import csv
import math
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from allocator.emissions import Kind
from allocator.joules import Quality
from cluster.carbon.base import Intensity, Span
from cluster.carbon.series import Series
from models.errors import FixFile

LOOK_S = 60.0
MOST_G_PER_KWH = 10_000.0
_REQUIRED, _OPTIONAL = ("time", "g_per_kwh"), ("quality",)


class FileCarbon:
    """Figures of a CSV file. Raises FixFile when it is opened on a bad one; one that turns bad later is a `problem`,
    and what was read before stays in use."""

    def __init__(self, path: Path, kind: Kind = Kind.AVERAGE, zone: str = "", stale_s: float = 3600.0) -> None:
        self.source = f"file {path.name}"
        self.problem: str | None = None
        self._path, self._kind, self._zone, self._stale_s = path, kind, zone, stale_s
        self._version = _version(path)
        self._series = read_series(path)

    def now(self, unix_s: float) -> Intensity | None:
        """As `CarbonProvider.now`."""
        span = self._series.last_before(unix_s)
        return Intensity.of(span, unix_s, self._stale_s, self._kind, self._zone, self.source) if span else None

    def ahead(self, from_s: float, to_s: float) -> tuple[Span, ...]:
        """As `CarbonProvider.ahead`."""
        return self._series.between(from_s, to_s)

    async def refresh(self) -> float:
        """As `CarbonProvider.refresh`: reads the file if it has changed."""
        try:
            version = _version(self._path)
            if version != self._version:
                self._series = await asyncio.to_thread(read_series, self._path)
                self._version = version
            self.problem = None
        except FixFile as error:
            self.problem = f"{error}; the figures read before stay in use"
        return LOOK_S


def _version(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise FixFile(path, "", f"cannot be read: {error.strerror}") from None
    return found.st_mtime_ns, found.st_size


def read_series(path: Path) -> Series:
    """The file's figures. Raises FixFile naming the line and the column."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = list(_rows(path, csv.reader(file)))
    except OSError as error:
        raise FixFile(path, "", f"cannot be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise FixFile(path, "", f"is no CSV file in UTF-8: {error}") from None
    if len(rows) < 2:
        raise FixFile(path, "", f"{len(rows)} figures are no series; give two at least, or one by carbon.g_per_kwh")
    begins = [from_s for from_s, _, _ in rows]
    ends = [*begins[1:], begins[-1] + (begins[-1] - begins[-2])]
    return Series(tuple(Span(a, b, g, quality) for (a, g, quality), b in zip(rows, ends, strict=True)))


def _rows(path: Path, lines: Iterator[list[str]]) -> Iterator[tuple[float, float, Quality]]:
    """Unix time, figure and quality of each line. Empty lines are skipped."""
    header = [name.strip() for name in next(lines, [])]
    if set(header) - set(_OPTIONAL) != set(_REQUIRED) or len(set(header)) != len(header):
        wanted = f"{','.join(_REQUIRED)} and perhaps {','.join(_OPTIONAL)}"
        raise FixFile(path, "line 1", f"the columns must be {wanted}; got {','.join(header) or 'nothing'}")
    before_s = -math.inf
    for number, cells in enumerate(lines, start=2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            raise FixFile(path, f"line {number}", f"expected {len(header)} columns, got {len(cells)}")
        row = dict(zip(header, (cell.strip() for cell in cells), strict=True))
        at_s = _time(path, number, row["time"])
        if at_s <= before_s:
            raise FixFile(path, f"line {number}, column time", "times must ascend, each once")
        before_s = at_s
        yield at_s, _figure(path, number, row["g_per_kwh"]), _quality(path, number, row.get("quality"))


def _time(path: Path, number: int, text: str) -> float:
    field = f"line {number}, column time"
    try:
        unix_s = float(text)
    except ValueError:
        return _iso(path, field, text)
    if not math.isfinite(unix_s) or not 0 <= unix_s < 1e11:  # beyond lie milliseconds
        raise FixFile(path, field, f"expected Unix seconds, got {text}")
    return unix_s


def _iso(path: Path, field: str, text: str) -> float:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise FixFile(path, field, f"expected Unix seconds or ISO 8601 (2026-11-24T00:30Z), got {text!r}") from None
    if moment.tzinfo is None:
        raise FixFile(path, field, f"{text!r} has no time zone; write {text}Z for UTC")
    return moment.timestamp()


def _figure(path: Path, number: int, text: str) -> float:
    try:
        figure = float(text)
    except ValueError:
        figure = math.nan
    if not 0 <= figure <= MOST_G_PER_KWH:
        problem = f"expected grams per kilowatt-hour from 0 to {MOST_G_PER_KWH:g}, got {text!r}"
        raise FixFile(path, f"line {number}, column g_per_kwh", problem)
    return figure


def _quality(path: Path, number: int, text: str | None) -> Quality:
    if text is None:
        return Quality.ASSUMED
    try:
        return Quality(text)
    except ValueError:
        known = ", ".join(Quality)
        raise FixFile(path, f"line {number}, column quality", f"expected one of {known}, got {text!r}") from None
