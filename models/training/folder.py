"""The cascade's folder on disk: tables, hashes, and a rename at the end; nothing half-written is seen."""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from models.errors import FixFile
from models.spec import FILE_NAME, FileRef, TableSpec, TablesSpec, UserTableSpec
from models.worlds.base import World


@contextmanager
def new_folder(out: Path, force: bool) -> Iterator[Path]:
    """A folder next to `out` to build in; takes the place of `out` when the block ends well, vanishes when
    not.

    Raises FixFile when `out` is there, not empty, and not a cascade, unless `force` is set.
    """
    check_replaceable(out, force)
    out = out.absolute()
    out.parent.mkdir(parents=True, exist_ok=True)
    build = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        build.chmod(0o755)
        yield build
        _replace(build, out)
    finally:
        shutil.rmtree(build, ignore_errors=True)


def check_replaceable(out: Path, force: bool) -> None:
    """Raise FixFile when `out` must not be replaced by a cascade."""
    if not out.exists() or force:
        return
    if not out.is_dir():
        raise FixFile(out, "", "is a file; name a folder for the cascade, or pass --force to replace it")
    if any(out.iterdir()) and not (out / FILE_NAME).is_file():
        raise FixFile(out, "", f"is not empty and holds no {FILE_NAME}; name another folder, or pass --force")


def _replace(build: Path, out: Path) -> None:
    if not out.exists():
        build.rename(out)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}-old-", dir=out.parent))
    out.rename(old / out.name)
    build.rename(out)
    shutil.rmtree(old)


def save_array(folder: Path, file: str, array: NDArray[np.generic]) -> FileRef:
    """Write `folder/file` as .npy and return its reference."""
    path = folder / file
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.ascontiguousarray(array))
    return file_ref(folder, path)


def file_ref(folder: Path, path: Path) -> FileRef:
    """The reference to a file inside the folder, with the hash of its bytes."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return FileRef(file=path.relative_to(folder).as_posix(), sha256=digest)


def write_tables(world: World, folder: Path) -> TablesSpec:
    """Write the world's tables as they are served, under `tables/`."""
    users, items = world.users, world.items
    return TablesSpec(
        users=UserTableSpec(
            ids=save_array(folder, "tables/user_ids.npy", users.ids),
            features=save_array(folder, "tables/user_features.npy", users.features),
            columns=users.columns,
            history=save_array(folder, "tables/user_history.npy", world.history),
            cold=tuple(float(code) for code in world.cold),
        ),
        items=TableSpec(
            ids=save_array(folder, "tables/item_ids.npy", items.ids),
            features=save_array(folder, "tables/item_features.npy", items.features),
            columns=items.columns,
        ),
    )
