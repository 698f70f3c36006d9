"""The log's files as a reader finds them: whole, of this format, and of one chain space, or refused by name."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from cluster.outcomes.log_tables import DECISIONS, OUTCOMES, POLICIES, Head, Heard, heard_of
from models.errors import FixFile, TryAgain

_PLAIN = {"request_id": pa.string(), "time_s": pa.float64(), "user": pa.string(), "arm": pa.string()}
_PLAIN |= {"chain": pa.int32(), "propensity": pa.float32(), "predicted_reward": pa.float32(), "flops": pa.float64()}
_PLAIN |= {"energy_j": pa.float32(), "policy_version": pa.int64(), "reward": pa.float32(), "reward_model": pa.string()}
NULLABLE = {"predicted_reward", "energy_j"}
NEEDED = {
    DECISIONS: ("request_id", "time_s", "user", "arm", "chain", "propensity", "policy_version"),
    OUTCOMES: ("request_id", "reward", "time_s"),
    POLICIES: ("policy_version", "time_s", "reward_model", "penalty"),
}


@dataclass(frozen=True, slots=True)
class LogFile:
    """One file of `rows` rows.

    from_s, to_s  its first and last time
    width         numbers in its lists, 0 without any
    heard         of outcomes: from when to when none is missing; None where that is not said
    """

    path: Path
    head: Head
    rows: int
    from_s: float
    to_s: float
    width: int
    heard: Heard | None = None

    def read(self, columns: list[str]) -> dict[str, Any]:
        """Whole columns, each in one piece and of its type. Raises FixFile, and TryAgain where the file is gone."""
        try:
            table = pq.ParquetFile(self.path).read(columns)
            found = {name: _one_piece(table.column(name)) for name in columns}
            plain = {name: found[name].cast(kind) for name, kind in _PLAIN.items() if name in found}
        except FileNotFoundError:
            raise TryAgain(f"{self.path}: the oldest of the log was deleted while it was read; read it again") from None
        except (OSError, pa.ArrowException, KeyError) as error:
            raise FixFile(self.path, "", f"cannot be read ({_short(error)}); move it aside") from None
        for name, column in {**found, **plain}.items():
            if column.null_count and name not in NULLABLE:
                raise FixFile(self.path, name, "lacks values")
        return {**found, **plain}


def open_files(folder: Path, table: str) -> list[LogFile]:
    """The files of a table, by name; none where nothing was logged. Raises FixFile naming what is wrong."""
    return [found for path in sorted((folder / table).glob("[!.]*.parquet")) for found in _opened(path, table)]


def check_alike(files: list[LogFile]) -> Head | None:
    """What all are of, with the newest's reward model; None for no rows. Raises FixFile naming one that differs."""
    newest = max((one for one in files if one.rows), key=lambda one: one.to_s, default=None)
    if newest is None:
        return None
    for one in files:
        if one.head.chains != newest.head.chains:
            problem = f"its {len(one.head.chains)} chains are not the {len(newest.head.chains)} of {newest.path.name}"
            raise FixFile(one.path, "chains", f"{problem}; move files of another chain space aside")
        if one.head.cascade != newest.head.cascade:
            raise FixFile(one.path, "cascade", f"is not that of {newest.path.name}; move files of another one aside")
    return newest.head


def _opened(path: Path, table: str) -> Iterator[LogFile]:
    try:
        file = pq.ParquetFile(path)
        schema, about = file.schema_arrow, file.metadata
        head, heard = Head.of(schema.metadata), heard_of(schema.metadata)
    except FileNotFoundError:
        return  # the oldest of the log, deleted just now
    except ValueError as error:  # pa.ArrowInvalid is one
        raise FixFile(path, "", f"is no file of this log: {_short(error)}; move it aside") from None
    except (OSError, pa.ArrowException) as error:
        raise FixFile(path, "", f"cannot be read ({_short(error)}); move it aside") from None
    if missing := [name for name in NEEDED[table] if name not in schema.names]:
        raise FixFile(path, missing[0], "has no such column")
    if about.num_rows:
        yield LogFile(path, head, about.num_rows, *_span(about), _width(path, schema), heard)
    elif heard is not None:
        yield LogFile(path, head, 0, heard.from_s, heard.to_s, 0, heard)


def _span(about: Any) -> tuple[float, float]:
    """First and last time, as Parquet's statistics have them."""
    groups = [about.row_group(number) for number in range(about.num_row_groups)]
    place = [groups[0].column(at).path_in_schema for at in range(groups[0].num_columns)].index("time_s")
    found = [group.column(place).statistics for group in groups]
    if any(one is None or not one.has_min_max for one in found):
        return float("-inf"), float("inf")
    return min(one.min for one in found), max(one.max for one in found)


def _width(path: Path, schema: Any) -> int:
    """Numbers in a row's list."""
    for name in {"context", "penalty"}.intersection(schema.names):
        kind = schema.field(name).type
        if not pa.types.is_fixed_size_list(kind):
            raise FixFile(path, name, "must be lists of one length")
        return int(kind.list_size)
    return 0


def _one_piece(column: Any) -> Any:
    whole = column.combine_chunks()
    return whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole


def _short(error: Exception) -> str:
    return str(error).partition("\n")[0][:200]
