"""Reads columns of a .csv or .csv.gz file, and names the file, line and column of what is wrong."""

import csv
import gzip
import io
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import FixFile

TextArray = NDArray[np.str_]


class CsvFile:
    """The wanted columns of a file as text, one list each; `lines` are the line numbers of the rows.

    Raises FixFile when the file cannot be read, a column is missing, or a row is of another length than the
    header.
    """

    def __init__(self, path: Path, wanted: Sequence[str], drop_seen: set[str] | None = None) -> None:
        """`drop_seen`: rows that were seen before, in full, are left out; the set grows."""
        self.path = path
        self.dropped = 0
        self.lines: list[int] = []
        self._text: dict[str, list[str]] = {name: [] for name in wanted}
        with _opened(path) as file:
            rows = csv.reader(file)
            header = next(rows, [])
            places = [(self._text[name], _place(path, header, name)) for name in wanted]
            for row in filter(None, rows):  # a blank line is no row
                if len(row) != len(header):
                    problem = f"{len(row)} fields, the header has {len(header)}"
                    raise FixFile(path, f"line {rows.line_num}", problem)
                if drop_seen is not None and self._was_seen(row, drop_seen):
                    continue
                self.lines.append(rows.line_num)
                for column, place in places:
                    column.append(row[place])

    def __len__(self) -> int:
        return len(self.lines)

    def _was_seen(self, row: list[str], seen: set[str]) -> bool:
        whole = ",".join(row)
        if whole in seen:
            self.dropped += 1
            return True
        seen.add(whole)
        return False

    def text(self, name: str) -> TextArray:
        """A column as it stands."""
        return np.array(self._text[name], dtype=np.str_)

    def integers(self, name: str) -> NDArray[np.int64]:
        """A column of integers, (n,). Raises FixFile naming the line and column of a value that is none."""
        return np.fromiter(self._converted(name, int, "an integer"), dtype=np.int64, count=len(self))

    def numbers(self, name: str) -> NDArray[np.float64]:
        """A column of numbers, (n,), NaN where it is empty. Raises FixFile as `integers` does."""
        read = lambda value: float(value) if value else float("nan")  # noqa: E731
        return np.fromiter(self._converted(name, read, "a number"), dtype=np.float64, count=len(self))

    def _converted(self, name: str, read: Callable[[str], float], kind: str) -> Iterator[float]:
        for line, value in zip(self.lines, self._text[name], strict=True):
            try:
                yield read(value)
            except ValueError:
                where = f"line {line}, column {name}"
                raise FixFile(self.path, where, f"expected {kind}, got {value!r}") from None


@contextmanager
def _opened(path: Path) -> Iterator[io.TextIOBase]:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8", newline="") as file:
            yield file
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise FixFile(path, "", f"cannot be read: {error}") from None


def _place(path: Path, header: list[str], name: str) -> int:
    if name not in header:
        raise FixFile(path, f"column {name}", f"is missing; the header has {', '.join(header) or 'nothing'}")
    return header.index(name)
