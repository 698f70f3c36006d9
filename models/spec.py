"""The cascade's file: `cascade.yaml`, read and checked.

This module knows the file's form and what its fields mean together. What stands inside the files it names (hashes,
tables, ONNX signatures) is checked by `models.loading`.
"""

import hashlib
import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from models.errors import FixFile

FILE_NAME = "cascade.yaml"
FORMAT = 1

Name = Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$", max_length=40)]
Feature = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=64)]


class Device(StrEnum):
    """Device class of a variant: it decides the ONNX Runtime execution provider."""

    CPU = "cpu"
    CUDA = "cuda"


class Placement(StrEnum):
    """Where a variant runs: in a deployment of its own, or inside the ingress replica."""

    OWN = "own"
    INLINE = "inline"


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class FileRef(_Frozen):
    """A file of the cascade: its path relative to the cascade's folder, and the SHA-256 of its bytes."""

    file: str
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]

    @model_validator(mode="after")
    def _stays_inside(self) -> Self:
        path = Path(self.file)
        if path.is_absolute() or ".." in path.parts:
            raise ValueError(f"{self.file!r} must lie inside the cascade's folder")
        return self


class Column(_Frozen):
    """One feature column, and how a raw value becomes what the table holds. Exactly one encoding is named:

    codes   the value is an integer code already, 0 <= value < codes
    values  the code is 1 + the value's position in this list, 0 for a value that is not in it
    edges   the code is 1 + the number of these ascending edges that are <= the value; 0 stands for unknown
    number  the value is used as it is (the whole table is then float32)
    """

    name: Feature
    codes: Annotated[int, Field(ge=1)] | None = None
    values: tuple[int | str, ...] | None = None
    edges: tuple[FiniteFloat, ...] | None = None
    number: Literal[True] | None = None

    @model_validator(mode="after")
    def _one_encoding(self) -> Self:
        named = [e for e in ("codes", "values", "edges", "number") if getattr(self, e) is not None]
        if len(named) != 1:
            raise ValueError(f"column {self.name!r} names {named or 'no'} encodings; name exactly one")
        if self.values is not None and len(set(self.values)) != len(self.values):
            raise ValueError(f"column {self.name!r}: values must be distinct")
        if self.edges is not None and any(b <= a for a, b in zip(self.edges, self.edges[1:], strict=False)):
            raise ValueError(f"column {self.name!r}: edges must ascend")
        return self

    @property
    def cardinality(self) -> int | None:
        """How many codes the column can hold; None for a number."""
        if self.codes is not None:
            return self.codes
        if self.values is not None:
            return len(self.values) + 1
        return len(self.edges) + 2 if self.edges is not None else None


class TableSpec(_Frozen):
    """A feature table. Row r of `features` belongs to `ids[r]`; ids ascend strictly (integers or strings).

    ids       .npy, (n,) integers or strings
    features  .npy, (n, F) one column each of `columns`; any integer type, or float32 when a column is a number
    """

    ids: FileRef
    features: FileRef
    columns: Annotated[tuple[Column, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _distinct_columns(self) -> Self:
        names = [c.name for c in self.columns]
        if len(set(names)) != len(names):
            raise ValueError(f"column names must be distinct, got {names}")
        return self

    @property
    def is_float(self) -> bool:
        """Whether the models take this table as float32 (else as int64)."""
        return any(c.number for c in self.columns)


class UserTableSpec(TableSpec):
    """The user table. `cold` are the encoded features of a user who is not in it.

    history  .npy, (n, L) any integer type: item row + 1, newest last, 0 where there is nothing
    """

    history: FileRef
    cold: tuple[float, ...]

    @model_validator(mode="after")
    def _cold_is_whole(self) -> Self:
        if len(self.cold) != len(self.columns):
            raise ValueError(f"cold names {len(self.cold)} features, the table has {len(self.columns)} columns")
        return self


class TablesSpec(_Frozen):
    """The tables of a cascade."""

    users: UserTableSpec
    items: TableSpec


class FlopsSpec(_Frozen):
    """FLOPs of a variant: `row` once per request, `item` once per item that it infers."""

    row: Annotated[int, Field(ge=0)]
    item: Annotated[int, Field(ge=0)]


class ApproximateSpec(_Frozen):
    """An approximate index in place of the exact matrix product (extra `ann`; usearch, HNSW over inner products).

    `graph` is the prebuilt index; `expansion` how many candidates a search keeps; `recall_at_n` its measured share of
    the exact top n; `distances` how many vectors a search compared the query with, on average over the same sample.
    """

    graph: FileRef
    expansion: Annotated[int, Field(ge=1)]
    distances: Annotated[int, Field(ge=1)]
    recall_at_n: Annotated[dict[int, float], Field(min_length=1)]


class VariantSpec(_Frozen):
    """One trained model of a stage.

    model       ONNX file
    index       recall only: .npy float32 (items, d), row r belongs to item row r
    approximate recall only: an approximate index over the same vectors
    device      cpu or cuda; a CUDA variant on a machine without a GPU is refused at start
    placement   own: in a deployment of its own; inline: inside the ingress, which a CUDA variant cannot be. The setting
                `placement` overrules it
    threads     intra-op threads of a CPU session, stated so that replicas do not fight for cores
    gpus        share of a GPU that a replica of a CUDA variant reserves
    max_rows    the most requests that one model run may take together
    flops       counted from the graph when left out
    metrics     held-out quality, for people to read
    """

    name: Name
    model: FileRef
    index: FileRef | None = None
    approximate: ApproximateSpec | None = None
    device: Device = Device.CPU
    placement: Placement = Placement.OWN
    threads: Annotated[int, Field(ge=1, le=256)] = 1
    gpus: Annotated[float, Field(gt=0, le=8)] = 1.0
    max_rows: Annotated[int, Field(ge=1, le=4096)] = 64
    flops: FlopsSpec | None = None
    metrics: dict[str, float] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _gpus_stay_out_of_the_ingress(self) -> Self:
        if self.device is Device.CUDA and self.placement is Placement.INLINE:
            raise ValueError(f"variant {self.name!r}: a CUDA variant cannot be placed inline; use placement: own")
        return self


class StageSpec(_Frozen):
    """One step of the cascade. The first stage recalls from the item index; every later one scores what it is handed.

    items      the item numbers on offer: how many items the stage may infer. Not named for recall, which infers the
               whole index
    skippable  whether a chain may leave the stage out
    """

    name: Name
    items: tuple[Annotated[int, Field(ge=1)], ...] = ()
    skippable: bool = False
    variants: Annotated[tuple[VariantSpec, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [v.name for v in self.variants]
        if len(set(names)) != len(names):
            raise ValueError(f"variants of stage {self.name!r} must have distinct names, got {names}")
        if list(self.items) != sorted(set(self.items)):
            raise ValueError(f"items of stage {self.name!r} must ascend without repeats, got {list(self.items)}")
        return self

    def variant(self, name: str) -> VariantSpec:
        """The variant of that name; KeyError where there is none."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise KeyError(name)


class CascadeSpec(_Frozen):
    """A whole cascade, as its file says it. Checked: the stages, their item numbers, and k fit together.

    k             items of an answer; a request may ask for fewer
    static_chain  the one that production runs, and that savings are measured against: of every stage the variant and
                  how many items it infers, joined by `>`; the variant alone for recall, `skip` for a stage that is left
                  out (tower-l>ydnn-l@400>dien@160)
    reward        ONNX file of the reward model; left out, every request runs the static chain
    about         for people to read
    """

    format: Literal[1]
    name: Name
    k: Annotated[int, Field(ge=1, le=10_000)]
    tables: TablesSpec
    stages: Annotated[tuple[StageSpec, ...], Field(min_length=1)]
    static_chain: str
    reward: FileRef | None = None
    about: str = ""

    @model_validator(mode="after")
    def _stages_fit(self) -> Self:
        names = [s.name for s in self.stages]
        if len(set(names)) != len(names):
            raise ValueError(f"stages must have distinct names, got {names}")
        recall, *scorers = self.stages
        if recall.items or recall.skippable:
            raise ValueError(f"stage {recall.name!r} recalls from the whole index: leave out items and skippable")
        for variant in recall.variants:
            if variant.index is None:
                raise ValueError(f"variant {variant.name!r} of stage {recall.name!r} needs an index")
        for stage in scorers:
            _check_scorer(stage, self.k)
        return self

    @property
    def codes(self) -> str:
        """SHA-256 over what numbers of users' features and histories mean: another where a code is of another value, or
        a history's number of another item. What is in the tables besides may change from day to day."""
        columns = [column.model_dump(mode="json") for column in self.tables.users.columns]
        return hashlib.sha256(json.dumps([self.tables.items.ids.sha256, columns]).encode()).hexdigest()


def _check_scorer(stage: StageSpec, k: int) -> None:
    if not stage.items:
        raise ValueError(f"stage {stage.name!r} names no item numbers: add items: [..]")
    if stage.items[0] < k:
        raise ValueError(f"items of stage {stage.name!r} must be at least k={k}, got {stage.items[0]}")
    if any(v.index is not None or v.approximate is not None for v in stage.variants):
        raise ValueError(f"stage {stage.name!r} does not recall: its variants take no index")


def read_spec(folder: Path) -> CascadeSpec:
    """Read `folder/cascade.yaml`.

    Raises FixFile naming the file and the field when it is missing, not YAML, or not a valid cascade.
    """
    path = folder / FILE_NAME
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FixFile(path, "", "no such file; a cascade is a folder with a cascade.yaml") from None
    except OSError as error:
        raise FixFile(path, "", f"cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise FixFile(path, "", f"not valid YAML: {' '.join(str(error).split())}") from None
    try:
        return CascadeSpec.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise FixFile(path, field, first["msg"].removeprefix("Value error, ")) from None


def write_spec(spec: CascadeSpec, folder: Path) -> Path:
    """Write the spec as `folder/cascade.yaml`, in the order of its fields, and return the path."""
    document = spec.model_dump(mode="json", exclude_none=True, exclude_defaults=False)
    path = folder / FILE_NAME
    path.write_text(yaml.safe_dump(document, sort_keys=False, width=110, allow_unicode=True), encoding="utf-8")
    return path
