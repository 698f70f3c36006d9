"""The reward table on disk: what every chain earns from sampled users, in Parquet parts with a manifest.

    DIR/manifest.json       what the table holds; written first, and never changed
    DIR/part-00000.parquet  rows of users; a part is there whole or not at all
    DIR/click-model.*       the click model that the rewards come from, if one, and how good it is

A run that was interrupted goes on with the parts that are missing. Columns: `user_id`; `context`, the reward model's
input; `reward`, float32, one number per chain in the chain space's order; `split`, `train` or `held_out`.
"""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from allocator.chains import ChainSpace
from models.batch import FloatArray
from models.errors import FixFile
from models.spec import CascadeSpec
from models.splits import chosen

MANIFEST = "manifest.json"
HELD_OUT_SHARE = 0.25
_KEY = b"greenflow.manifest"
_NO_EFFECT = {"placement", "threads", "gpus", "device", "max_rows", "metrics"}


class Manifest(BaseModel):
    """What a table holds. Two tables with the same manifest hold the same rows, but for rounding.

    cascade        digest of all that decides what its chains recommend and cost
    world, reward  where the users' clicks come from, and what is counted of them
    users          how many users were sampled, with `seed`
    part_rows      users in a part; the last part may have fewer
    chains, flops  (J,) ids and FLOPs, in the chain space's order
    click_model    SHA-256 of the click model beside the table, where the reward is what that model expects
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = 1
    cascade: str
    world: str
    reward: str
    seed: int
    users: int
    part_rows: int
    chains: tuple[str, ...]
    flops: tuple[int, ...]
    click_model: str | None = None

    @property
    def digest(self) -> str:
        """SHA-256 of the manifest, in hexadecimal; every part carries it."""
        return hashlib.sha256(self.model_dump_json(exclude_none=True).encode()).hexdigest()

    @property
    def parts(self) -> int:
        """How many parts the whole table has."""
        return -(-self.users // self.part_rows)

    def part(self, number: int) -> slice:
        """Which of the sampled users stand in a part."""
        return slice(number * self.part_rows, min(self.users, (number + 1) * self.part_rows))


@dataclass(frozen=True)
class Rows:
    """Rows of a table: user_ids (n,), contexts (n, Fc), rewards (n, J), held_out (n,)."""

    user_ids: NDArray[np.generic]
    contexts: NDArray[np.int64] | FloatArray
    rewards: FloatArray
    held_out: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.user_ids)

    def only(self, keep: NDArray[np.bool_]) -> "Rows":
        """The rows where `keep` (n,) is true."""
        return Rows(self.user_ids[keep], self.contexts[keep], self.rewards[keep], self.held_out[keep])


def cascade_digest(spec: CascadeSpec) -> str:
    """SHA-256 over what decides which items a cascade's chains recommend, and at what cost.

    The reward model, placements and other things that may change afterwards are left out.
    """
    document = spec.model_dump(mode="json", exclude={"reward", "about", "static_chain"})
    for stage in document["stages"]:
        stage["variants"] = [{k: v for k, v in one.items() if k not in _NO_EFFECT} for one in stage["variants"]]
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def check_fits(manifest: Manifest, spec: CascadeSpec, space: ChainSpace, folder: Path) -> None:
    """Refuse a table of another cascade. Raises FixFile naming the manifest's field."""
    path = folder / MANIFEST
    if manifest.chains != tuple(chain.id for chain in space):
        problem = f"its {len(manifest.chains)} chains are not the {len(space)} of this cascade"
        raise FixFile(path, "chains", f"{problem}; run greenflow replay again")
    if manifest.cascade != cascade_digest(spec):
        raise FixFile(path, "cascade", "the cascade has changed since; run greenflow replay again into another folder")


def held_out(user_ids: Sequence[int | str], share: float = HELD_OUT_SHARE, salt: str = "") -> NDArray[np.bool_]:
    """Which users are held out, (n,): by a hash of the id, so that a user stays on its side in every table."""
    return chosen(user_ids, share, salt)


def begin(folder: Path, manifest: Manifest, beside: Mapping[str, bytes] | None = None) -> list[int]:
    """Make the folder ready; the parts that are missing. A new table gets the files `beside` it, by name.

    Raises FixFile when it holds the table of another manifest, naming the first field that differs, or other files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / MANIFEST).exists():
        _refuse_another(folder, read_manifest(folder), manifest)
    elif any(not _is_temporary(path) and path.name not in (beside or {}) for path in folder.iterdir()):
        raise FixFile(folder, "", "is not empty and holds no reward table; name another folder")
    else:
        for name, content in (beside or {}).items():
            _write_whole(folder / name, content)
        _write_whole(folder / MANIFEST, (manifest.model_dump_json(indent=1) + "\n").encode())
    for left in filter(_is_temporary, folder.iterdir()):
        left.unlink()
    return [part for part in range(manifest.parts) if not _is_there(_part_path(folder, part), manifest, part)]


def write_part(folder: Path, manifest: Manifest, part: int, rows: Rows) -> None:
    """Write one part, whole or not at all. Rewards that are not finite are refused with ValueError."""
    if not np.isfinite(rows.rewards).all():
        raise ValueError(f"part {part} holds rewards that are NaN or infinite")
    columns = {
        "user_id": pa.array(rows.user_ids),
        "context": _fixed_list(rows.contexts),
        "reward": _fixed_list(rows.rewards.astype(np.float32, copy=False)),
        "split": pa.array(np.where(rows.held_out, "held_out", "train")),
    }
    table = pa.table(columns).replace_schema_metadata({_KEY: manifest.digest})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    _write_whole(_part_path(folder, part), sink.getvalue().to_pybytes())


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a table. Raises FixFile when it is missing or wrong."""
    path = folder / MANIFEST
    try:
        return Manifest.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise FixFile(path, "", "no such file; greenflow replay makes a reward table") from None
    except ValidationError as error:
        first = error.errors()[0]
        raise FixFile(path, ".".join(map(str, first["loc"])), first["msg"]) from None


def read_table(folder: Path) -> tuple[Manifest, Rows]:
    """A whole table in memory. Raises FixFile when it is not complete."""
    manifest = read_manifest(folder)
    missing = [n for n in range(manifest.parts) if not _is_there(_part_path(folder, n), manifest, n)]
    if missing:
        problem = f"{len(missing)} of {manifest.parts} parts are missing; run the same greenflow replay again"
        raise FixFile(folder, "", problem)
    parts = [_read_part(_part_path(folder, part)) for part in range(manifest.parts)]
    fields = ("user_ids", "contexts", "rewards", "held_out")
    return manifest, Rows(*(np.concatenate([getattr(part, name) for part in parts]) for name in fields))


def _refuse_another(folder: Path, there: Manifest, wanted: Manifest) -> None:
    for name in Manifest.model_fields:
        old, new = getattr(there, name), getattr(wanted, name)
        if old != new:
            values = "" if isinstance(old, tuple) else f": it has {old!r}, asked for is {new!r}"
            raise FixFile(folder / MANIFEST, name, f"belongs to another table{values}; name another folder")


def _read_part(path: Path) -> Rows:
    table = pq.read_table(path)
    held = np.array(table["split"].to_pylist()) == "held_out"
    ids = np.array(table["user_id"].to_pylist())
    return Rows(ids, _unlisted(table["context"]), _unlisted(table["reward"]), held)


def _is_there(path: Path, manifest: Manifest, part: int) -> bool:
    try:
        there = pq.read_metadata(path)
    except (OSError, pa.ArrowInvalid):
        return False
    rows = manifest.part(part)
    return bool(
        there.num_rows == rows.stop - rows.start and (there.metadata or {}).get(_KEY) == manifest.digest.encode()
    )


def _fixed_list(array: NDArray[Any]) -> Any:
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(array).ravel()), array.shape[1])


def _unlisted(column: Any) -> NDArray[Any]:
    width = column.type.list_size
    flat: NDArray[Any] = column.combine_chunks().flatten().to_numpy()
    return flat.reshape(-1, width)


def _part_path(folder: Path, part: int) -> Path:
    return folder / f"part-{part:05}.parquet"


def _is_temporary(path: Path) -> bool:
    return path.name.startswith(".") and path.name.endswith(".tmp")


def _write_whole(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)
