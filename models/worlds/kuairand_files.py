"""Finds and reads the files of KuaiRand-Pure (Gao et al., CIKM 2022), in their official layout.

The standard-policy logs may be cut into any date ranges (log_standard_*_pure), each as .csv or .csv.gz, in
the folder itself or in its `data` folder.
"""

from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import FixFile
from models.worlds.csvs import CsvFile, TextArray

FIRST_DAY, LAST_DAY = date(2022, 4, 8), date(2022, 5, 8)
LOG_COLUMNS = ("user_id", "video_id", "date", "time_ms", "is_click", "tab", "long_view")
USERS, VIDEOS = "user_features_pure", "video_features_basic_pure"
UNUSED = {
    "log_random_*_pure": "found, not used: training follows the standard policy's log",
    "video_features_statistic_pure": "found, not used: its counts include the test days",
}


@dataclass
class Report:
    """Which files were found, what is missing, what was dropped."""

    folder: Path
    found: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    duplicates: int = 0
    repeats: int = 0
    strangers: int = 0

    def lines(self) -> list[str]:
        """For people to read."""
        lines = [f"found in {self.folder}:", *(f"  {line}" for line in self.found)]
        lines += ["missing:", *(f"  {line}" for line in self.missing)] if self.missing else []
        lines.append(f"dropped {self.duplicates:,} exact duplicates among the exposures")
        if self.repeats:
            lines.append(f"dropped {self.repeats:,} more that repeat a user, video and millisecond")
        if self.strangers:
            lines.append(f"dropped {self.strangers:,} exposures of users or videos without features")
        return lines


@dataclass(frozen=True)
class Exposures:
    """All exposures in the order of time: ids, day as yyyymmdd, time, click, tab, watched long; each (n,)."""

    user_id: NDArray[np.int64]
    video_id: NDArray[np.int64]
    day: NDArray[np.int64]
    time_ms: NDArray[np.int64]
    click: NDArray[np.bool_]
    tab: NDArray[np.int64]
    long_view: NDArray[np.bool_]

    def only(self, keep: NDArray[np.integer] | NDArray[np.bool_]) -> "Exposures":
        """These rows."""
        return Exposures(**{name: getattr(self, name)[keep] for name in self.__dataclass_fields__})


@dataclass(frozen=True)
class Watched:
    """What users watched before the log: the videos in order, and which they liked or watched long."""

    user_id: NDArray[np.int64]
    videos: TextArray
    liked: TextArray
    watched_long: TextArray


def find_folder(folder: Path) -> Path:
    """The folder that holds the logs. Raises FixFile when there is none."""
    for place in (folder, folder / "data"):
        if place.is_dir() and _matches(place, "log_standard_*_pure"):
            return place
    raise FixFile(folder, "", "holds no log_standard_*_pure.csv or .csv.gz, as KuaiRand-Pure's folder does")


def read_exposures(folder: Path, report: Report) -> Exposures:
    """All standard-policy logs, sorted by time; an exposure that stands in them twice is taken once.

    Most repeats are exact duplicates. A few differ in their date or hour, and would let a test day's click
    into the past: nobody is shown the same video twice in one millisecond.
    """
    seen: set[str] = set()
    parts = []
    for path in _matches(folder, "log_standard_*_pure"):
        file = CsvFile(path, LOG_COLUMNS, drop_seen=seen)
        report.duplicates += file.dropped
        report.found.append(f"{path.name}: {len(file) + file.dropped:,} exposures")
        parts.append([file.integers(name) for name in LOG_COLUMNS])
    user, video, day, time_ms, click, tab, watched = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    report.missing += _missing_days(day)
    exposures = Exposures(user, video, day, time_ms, click > 0, tab, watched > 0)
    _, first = np.unique(np.stack([time_ms, user, video], axis=1), axis=0, return_index=True)
    report.repeats = len(user) - len(first)
    return exposures.only(first)


def read_table(folder: Path, name: str, columns: tuple[str, ...], report: Report) -> CsvFile:
    """The user or video features. Raises FixFile when the file is not there."""
    paths = _matches(folder, name)
    if not paths:
        raise FixFile(folder / f"{name}.csv", "", "no such file, nor .csv.gz; it belongs to KuaiRand-Pure")
    file = CsvFile(paths[0], columns)
    report.found.append(f"{paths[0].name}: {len(file):,} rows")
    return file


def read_watched(folder: Path, report: Report) -> Watched | None:
    """What users watched before the log, where the folder has such a file."""
    paths = _matches(folder, "history_before_*")
    if not paths:
        return None
    file = CsvFile(paths[0], ("user_id", "watch_seq", "like_seq", "long_watch_seq"))
    report.found.append(f"{paths[0].name}: histories of {len(file):,} users")
    sequences = [file.text(f"{name}_seq") for name in ("watch", "like", "long_watch")]
    return Watched(file.integers("user_id"), *sequences)


def note_unused(folder: Path, report: Report) -> None:
    """Say which files of the data set lie there and are not used."""
    for pattern, why in UNUSED.items():
        report.found += [f"{path.name}: {why}" for path in _matches(folder, pattern)]


def _matches(folder: Path, pattern: str) -> list[Path]:
    """Files of that name, .csv before .csv.gz; each name once."""
    plain = {path.name: path for path in folder.glob(f"{pattern}.csv")}
    packed = {path.name.removesuffix(".gz"): path for path in folder.glob(f"{pattern}.csv.gz")}
    return [path for _, path in sorted((packed | plain).items())]


def _missing_days(days: NDArray[np.int64]) -> list[str]:
    """The days of the data set that no log covers, as ranges."""
    there = set(days.tolist())
    count = (LAST_DAY - FIRST_DAY).days + 1
    absent = [d for d in (FIRST_DAY + timedelta(n) for n in range(count)) if int(f"{d:%Y%m%d}") not in there]
    runs: list[list[date]] = []
    for day in absent:
        if runs and day - runs[-1][-1] == timedelta(1):
            runs[-1].append(day)
        else:
            runs.append([day])
    return [f"standard-policy log of {run[0]} to {run[-1]}" for run in runs]
