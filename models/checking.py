"""Refuses a cascade that could fail once requests come: hashes, tables, signatures, weights, and a trial run."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from models.batch import IntArray, RaggedBatch, UserRows
from models.errors import FixFile, GreenFlowError
from models.features import Array, UserQuery, open_array
from models.loading import Cascade
from models.retrieve import Recall
from models.session import Session
from models.spec import FILE_NAME, CascadeSpec, Device, FileRef, StageSpec, VariantSpec, read_spec

CHUNK_BYTES = 1 << 20
NOT_OF_THESE = "cannot be run on what the cascade's tables hold: it may be of others; train the model again for these"
"""What is said of a reward model for which a code of these tables is too great."""


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def check_cascade(folder: Path) -> Cascade:
    """Open a cascade and check all of it: refuses whatever could fail once requests come.

    Every file is there with its hash; tables fit their columns and each other; every model has its stage's signature,
    finite weights, and answers a trial run with finite scores. CUDA variants are tried on the CPU here: whether there
    is a GPU is for the place where they are deployed. Raises FixFile naming file and field.
    """
    spec = read_spec(folder)
    for field, ref in _files(spec):
        _check_hash(folder, ref, field)
    _check_tables(folder, spec)
    cascade = Cascade.open(folder)
    for stage in spec.stages:
        for variant in stage.variants:
            _check_variant(cascade, stage, variant)
    if spec.reward is not None:
        _check_reward(cascade, folder / spec.reward.file)
    return cascade


def _files(spec: CascadeSpec) -> Iterator[tuple[str, FileRef]]:
    users, items = spec.tables.users, spec.tables.items
    yield from (("tables.users.ids", users.ids), ("tables.users.features", users.features))
    yield from (("tables.users.history", users.history), ("tables.items.ids", items.ids))
    yield "tables.items.features", items.features
    if spec.reward is not None:
        yield "reward", spec.reward
    for stage in spec.stages:
        for variant in stage.variants:
            field = f"stages.{stage.name}.variants.{variant.name}"
            yield f"{field}.model", variant.model
            if variant.index is not None:
                yield f"{field}.index", variant.index
            if variant.approximate is not None:
                yield f"{field}.approximate.graph", variant.approximate.graph


def _check_hash(folder: Path, ref: FileRef, field: str) -> None:
    path = folder / ref.file
    if not path.is_file():
        raise FixFile(folder / FILE_NAME, field, f"no such file: {path}")
    actual = sha256_of(path)
    if actual != ref.sha256:
        raise FixFile(path, f"{field}.sha256", f"{FILE_NAME} says {ref.sha256[:12]}…, the file has {actual[:12]}…")


def _check_tables(folder: Path, spec: CascadeSpec) -> None:
    users, items = spec.tables.users, spec.tables.items
    for name, table in (("users", users), ("items", items)):
        field = f"tables.{name}"
        ids = open_array(folder, table.ids, f"{field}.ids", 1)
        features = open_array(folder, table.features, f"{field}.features", 2)
        _check_ids(folder / table.ids.file, f"{field}.ids", ids)
        _check_shape(folder / table.features.file, f"{field}.features", features, (len(ids), len(table.columns)))
        for at, column in enumerate(table.columns):
            path, column_field = folder / table.features.file, f"{field}.columns.{column.name}"
            _check_column(path, column_field, features[:, at], column.cardinality)
    for at, column in enumerate(users.columns):
        cold = np.array(users.cold[at : at + 1])
        _check_column(folder / FILE_NAME, f"tables.users.cold.{column.name}", cold, column.cardinality)
    history = open_array(folder, users.history, "tables.users.history", 2)
    count = len(open_array(folder, items.ids, "tables.items.ids", 1))
    path = folder / users.history.file
    _check_shape(path, "tables.users.history", history, (len(np.load(folder / users.ids.file, "r")), history.shape[1]))
    _check_column(path, "tables.users.history", history, count + 1)
    if count < max((n for stage in spec.stages for n in stage.items), default=spec.k):
        raise FixFile(folder / items.ids.file, "tables.items.ids", f"only {count} items, fewer than a stage infers")


def _check_ids(path: Path, field: str, ids: Array) -> None:
    if ids.dtype.kind not in "iU":
        raise FixFile(path, field, f"ids must be signed integers or unicode strings, got {ids.dtype}")
    if not len(ids) or not (ids[1:] > ids[:-1]).all():  # type: ignore[operator]
        raise FixFile(path, field, "ids must ascend strictly and not be empty")


def _check_shape(path: Path, field: str, array: Array, expected: tuple[int, ...]) -> None:
    if array.shape != expected:
        raise FixFile(path, field, f"expected shape {expected}, got {array.shape}")


def _check_column(path: Path, field: str, codes: Array, cardinality: int | None) -> None:
    if codes.dtype.kind not in "iuf":
        raise FixFile(path, field, f"expected numbers, got {codes.dtype}")
    if not np.isfinite(codes).all():
        raise FixFile(path, field, "holds NaN or infinity")
    if cardinality is not None and (codes != np.floor(codes)).any():
        raise FixFile(path, field, "codes must be integers")
    if cardinality is not None and codes.size and not (codes.min() >= 0 and codes.max() < cardinality):
        raise FixFile(path, field, f"codes must lie in 0..{cardinality - 1}, found {codes.min()}..{codes.max()}")


def _check_weights(path: Path) -> None:
    for tensor in onnx.load(path).graph.initializer:
        if tensor.data_type in (
            onnx.TensorProto.FLOAT,
            onnx.TensorProto.FLOAT16,
            onnx.TensorProto.DOUBLE,
        ) and (not np.isfinite(numpy_helper.to_array(tensor)).all()):
            raise FixFile(path, f"initializer {tensor.name}", "weights hold NaN or infinity; train the model again")


def _check_variant(cascade: Cascade, stage: StageSpec, variant: VariantSpec) -> None:
    path = cascade.folder / variant.model.file
    session = Session.open(path, Device.CPU, variant.threads)
    tables, dims = cascade.spec.tables, cascade.users.history_length
    floats = {"user": tables.users.is_float, "item": tables.items.is_float}
    widths = {
        "user": len(tables.users.columns),
        "history": dims,
        "item": len(tables.items.columns),
        "row": None,
    }
    names = ("user", "history") if variant.index is not None else ("user", "history", "item", "row")
    inputs = {name: "float32" if floats.get(name) else "int64" for name in names}
    session.check_signature(inputs, {n: widths[n] for n in names}, "query" if variant.index is not None else "score")
    _check_weights(path)
    if variant.index is not None:
        _check_index(cascade, variant.index, f"stages.{stage.name}.variants.{variant.name}.index")
    _trial_run(cascade, stage, variant)


def _check_reward(cascade: Cascade, path: Path) -> None:
    """The reward model's signature, weights and trial run; how many chains it predicts is for the allocator to check.

    It was made for tables of some size: on larger ones it would fail with whoever has seen a new item.
    """
    users = cascade.spec.tables.users
    inputs = {"context": "float32" if users.is_float else "int64"}
    session = Session.open(path)
    session.check_signature(inputs, {"context": len(users.columns) + cascade.users.history_length}, "reward")
    _check_weights(path)
    try:
        rewards = session.run({"context": trial_users(cascade).contexts})
    except Exception as error:  # as in `_trial_run`
        problem = f"{NOT_OF_THESE}, and take `reward` out of {FILE_NAME} until then"
        raise FixFile(path, "trial run", f"{problem}: {' '.join(str(error).split())}") from None
    if not np.isfinite(rewards).all():
        raise FixFile(path, "trial run", "predicts NaN or infinity; train the model again")


def _check_index(cascade: Cascade, index: FileRef, field: str) -> None:
    path = cascade.folder / index.file
    vectors = open_array(cascade.folder, index, field, 2)
    if vectors.dtype != np.float32 or len(vectors) != len(cascade.items):
        raise FixFile(path, field, f"expected float32 ({len(cascade.items)}, d), got {vectors.dtype} {vectors.shape}")
    if not np.isfinite(vectors).all():
        raise FixFile(path, field, "holds NaN or infinity")


def _trial_run(cascade: Cascade, stage: StageSpec, variant: VariantSpec) -> None:
    """A cold user and one whose codes are the greatest that are allowed, with one and two of the items.

    An uneven batch, so that a model that mixes up rows fails here; and extreme codes, so that an embedding that is
    smaller than its column does.
    """
    path = cascade.folder / variant.model.file
    users = trial_users(cascade)
    last = _last_codes(cascade)
    candidates = RaggedBatch(np.array([0, 1, 1 + len(last)]), np.concatenate([[0], last]))
    keep = np.array([1, len(last)], dtype=np.int64)
    try:
        loaded = cascade.variant(stage, variant, Device.CPU)
        raw = loaded.queries(users) if isinstance(loaded, Recall) else loaded.score(users, candidates)
        loaded.run(users, None if isinstance(loaded, Recall) else candidates, keep)
    except GreenFlowError:
        raise
    except Exception as error:  # whatever the graph does wrong, the file is to blame
        raise FixFile(path, "trial run", " ".join(str(error).split())) from None
    if not np.isfinite(raw).all():
        raise FixFile(path, "trial run", "scores hold NaN or infinity")


def trial_users(cascade: Cascade) -> UserRows:
    """A cold user, and one whose codes are the greatest that are allowed and whose history is the last item alone."""
    cold = cascade.users.rows([UserQuery(user_id="")])
    columns = cascade.spec.tables.users.columns
    greatest = [0.0 if c.cardinality is None else c.cardinality - 1.0 for c in columns]
    user = np.concatenate([cold.user, np.array([greatest], dtype=cold.user.dtype)])
    return UserRows(user, np.concatenate([cold.history, np.full_like(cold.history, len(cascade.items))]))


def _last_codes(cascade: Cascade) -> IntArray:
    """For each column of the item table a row that holds its greatest value."""
    features = open_array(cascade.folder, cascade.spec.tables.items.features, "tables.items.features", 2)
    rows: IntArray = np.argmax(features, axis=0).astype(np.int64)
    return rows
