"""From a checked folder to a cascade that runs: its file, its tables, and its variants one by one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from models.batch import FloatArray, IntArray, RaggedBatch, UserRows
from models.features import ItemTable, UserTable, open_array
from models.flops import count_flops
from models.retrieve import ApproximateIndex, ExactIndex, Index, Recall
from models.score import Scorer
from models.session import Session
from models.spec import CascadeSpec, Device, FlopsSpec, StageSpec, VariantSpec, read_spec


class Variant(Protocol):
    """A loaded variant of any stage."""

    def run(self, users: UserRows, candidates: RaggedBatch | None, keep: IntArray) -> RaggedBatch:
        """Infer all candidates (the whole index when None) and return each row's `keep[i]` best, best first."""
        ...


@dataclass(frozen=True)
class Cascade:
    """An opened cascade: its file and its tables. Variants are opened one by one, where they run."""

    folder: Path
    spec: CascadeSpec
    users: UserTable
    items: ItemTable

    @classmethod
    def open(cls, folder: Path) -> "Cascade":
        """Read the file and map the tables; trusts what `check_cascade` has checked. Raises FixFile."""
        spec = read_spec(folder)
        items = ItemTable(folder, spec.tables.items)
        users = UserTable(folder, spec.tables.users, items.ids)
        return cls(folder, _with_flops(spec, folder), users, items)

    def variant(self, stage: StageSpec, variant: VariantSpec, device: Device | None = None) -> Recall | Scorer:
        """Load a variant on its own device class, or on another one. Raises FixFile, FixSetup."""
        session = Session.open(self.folder / variant.model.file, device or variant.device, variant.threads)
        if variant.index is None:
            return Scorer(session, self.items, variant.max_rows)
        index = open_index(self.folder, variant, f"stages.{stage.name}.variants.{variant.name}")
        return Recall(session, index, variant.max_rows)


def open_index(folder: Path, variant: VariantSpec, field: str) -> Index:
    """The index of a recall variant, exact or approximate as its file says."""
    assert variant.index is not None
    vectors: FloatArray = open_array(folder, variant.index, f"{field}.index", 2)  # type: ignore[assignment]
    exact = ExactIndex(vectors)
    if variant.approximate is None:
        return exact
    graph = folder / variant.approximate.graph.file
    return ApproximateIndex(graph, variant.approximate, exact, (len(vectors), vectors.shape[1]))


def _with_flops(spec: CascadeSpec, folder: Path) -> CascadeSpec:
    """The spec with FLOPs counted for the variants whose file does not state them."""
    stages = tuple(
        stage.model_copy(update={"variants": tuple(_counted(variant, folder) for variant in stage.variants)})
        for stage in spec.stages
    )
    return spec.model_copy(update={"stages": stages})


def _counted(variant: VariantSpec, folder: Path) -> VariantSpec:
    if variant.flops is not None:
        return variant
    counted = count_flops(folder / variant.model.file)
    item = counted.item
    if variant.index is not None:
        item = 2 * int(open_array(folder, variant.index, "index", 2).shape[1])
    return variant.model_copy(update={"flops": FlopsSpec(row=counted.row, item=item)})
