"""Readings of power sensors as a CSV file: what `replay` plays."""

import csv
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import TextIO

from allocator.joules import Quality
from cluster.power.base import Counter, PowerSensor
from models.errors import FixFile, SensorLost

KINDS = ("package", "dram", "gpu", "module", "host")

COLUMNS = (
    "at_s",
    "device",
    "pool",
    "kind",
    "source",
    "quality",
    "energy_j",
    "range_j",
    "most_w",
    "epoch",
    "live",
)
assert set(COLUMNS) == {field.name for field in fields(Counter)}, "a column for every field of a reading"


def record(
    sensors: Iterable[PowerSensor],
    file: Path,
    seconds: float,
    poll_s: float,
    *,
    clock: Callable[[], float],
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Reads `sensors` every `poll_s` for `seconds`, and writes every reading at once; returns how many.

    A sensor that is lost meanwhile is left out until it is back. Overwrites `file`.
    """
    sensors = tuple(sensors)
    written = 0
    end_s = clock() + seconds
    with file.open("w", newline="") as stream:
        _write(stream, [COLUMNS])
        while True:
            for sensor in sensors:
                counters = _read(sensor)
                _write(stream, [_row(counter) for counter in counters])
                written += len(counters)
            if clock() + poll_s > end_s:
                return written
            sleep(poll_s)


def load(file: Path) -> tuple[Counter, ...]:
    """The readings in `file`, in its order. Raises FixFile naming line and column."""
    try:
        with file.open(newline="") as stream:
            rows = csv.reader(stream, strict=True)
            _check_header(file, next(rows, []))
            counters = [_counter(file, rows.line_num, row) for row in rows if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise FixFile(file, "", f"cannot be read as CSV: {error}") from error
    if not counters:
        raise FixFile(file, "", "holds no reading")
    return tuple(counters)


def _read(sensor: PowerSensor) -> tuple[Counter, ...]:
    try:
        return sensor.read()
    except SensorLost:
        return ()


def _write(stream: TextIO, rows: Iterable[Iterable[str]]) -> None:
    csv.writer(stream, lineterminator="\n").writerows(rows)
    stream.flush()


def _row(counter: Counter) -> list[str]:
    values = {name: getattr(counter, name) for name in COLUMNS}
    return [str(value).lower() if isinstance(value, bool) else str(value) for value in values.values()]


def _check_header(file: Path, header: list[str]) -> None:
    if tuple(header) != COLUMNS:
        raise FixFile(file, "line 1", f"must be the columns {','.join(COLUMNS)}")


def _counter(file: Path, line: int, row: list[str]) -> Counter:
    if len(row) != len(COLUMNS):
        raise FixFile(file, f"line {line}", f"has {len(row)} values, not {len(COLUMNS)}")
    texts = dict(zip(COLUMNS, row, strict=True))

    def number(column: str, fits: Callable[[float], bool], must: str) -> float:
        try:
            value = float(texts[column])
        except ValueError:
            value = math.nan
        if not fits(value):  # nothing fits NaN
            raise FixFile(file, f"line {line}, {column}", f"must be {must}, not {texts[column]!r}")
        return value

    range_j = number("range_j", lambda value: value > 0, "joules above 0, or inf")
    return Counter(
        device=_one_of(file, line, texts, "device"),
        pool=_one_of(file, line, texts, "pool"),
        kind=_one_of(file, line, texts, "kind", KINDS),
        source=_one_of(file, line, texts, "source"),
        quality=Quality(_one_of(file, line, texts, "quality", list(Quality))),
        at_s=number("at_s", math.isfinite, "seconds"),
        energy_j=number(
            "energy_j", lambda value: 0 <= value <= range_j and value < math.inf, "joules from 0 to range_j"
        ),
        range_j=range_j,
        most_w=number("most_w", lambda value: value > 0, "watts above 0, or inf"),
        epoch=texts["epoch"],
        live=_one_of(file, line, texts, "live", ("true", "false")) == "true",
    )


def _one_of(file: Path, line: int, texts: Mapping[str, str], column: str, known: Iterable[str] = ()) -> str:
    """The text in a column: one of `known`, or anything but nothing."""
    known = tuple(known)
    if not texts[column] or (known and texts[column] not in known):
        must = f"must be one of {', '.join(known)}" if known else "must not be empty"
        raise FixFile(file, f"line {line}, {column}", f"{must}, not {texts[column]!r}")
    return texts[column]
