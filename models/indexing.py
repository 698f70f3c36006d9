"""Adds an approximate index to the recall variants of a cascade, with its recall against the exact one measured."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from models.batch import UserRows
from models.checking import sha256_of
from models.features import UserQuery
from models.loading import Cascade, open_index
from models.retrieve import ApproximateIndex, ExactIndex, Recall, build_graph, recall_at
from models.spec import ApproximateSpec, CascadeSpec, Device, FileRef, VariantSpec


@dataclass(frozen=True)
class Indexed:
    """A recall variant with its new approximate index; `recall` is by n, the numbers that the next stage may infer."""

    variant: str
    spec: ApproximateSpec

    @property
    def recall(self) -> dict[int, float]:
        """Share of the exact top n that the approximate search finds, by n."""
        return self.spec.recall_at_n


def add_approximate(cascade: Cascade, connectivity: int, expansion: int, users: int, seed: int) -> Iterator[Indexed]:
    """Build and measure a graph for every recall variant, one after another; the files lie beside the vectors.

    Recall is measured on the queries of `users` users drawn with `seed`. Nothing is written into cascade.yaml.
    """
    recall, *later = cascade.spec.stages
    numbers = later[0].items if later else (cascade.spec.k,)
    rows = np.random.default_rng(seed).integers(0, len(cascade.users.ids), users)
    sample = cascade.users.rows([UserQuery(user_id) for user_id in cascade.users.ids.ids(rows)])
    for variant in recall.variants:
        yield _index(cascade, variant, connectivity, expansion, numbers, sample)


def with_indexes(spec: CascadeSpec, indexed: list[Indexed]) -> CascadeSpec:
    """The spec with these approximate indexes in use."""
    by_name = {one.variant: one.spec for one in indexed}
    recall = spec.stages[0]
    variants = tuple(v.model_copy(update={"approximate": by_name.get(v.name, v.approximate)}) for v in recall.variants)
    return spec.model_copy(update={"stages": (recall.model_copy(update={"variants": variants}), *spec.stages[1:])})


def _index(
    cascade: Cascade,
    variant: VariantSpec,
    connectivity: int,
    expansion: int,
    numbers: tuple[int, ...],
    users: UserRows,
) -> Indexed:
    assert variant.index is not None
    path = (cascade.folder / variant.index.file).with_suffix(".usearch")
    exact = open_index(cascade.folder, variant.model_copy(update={"approximate": None}), variant.name)
    assert isinstance(exact, ExactIndex)
    build_graph(exact.vectors, path, connectivity)
    file = FileRef(file=str(path.relative_to(cascade.folder)), sha256=sha256_of(path))
    unmeasured = ApproximateSpec(graph=file, expansion=expansion, distances=1, recall_at_n={numbers[0]: 0.0})
    approximate = ApproximateIndex(path, unmeasured, exact, (len(exact.vectors), exact.vectors.shape[1]))
    recall = cascade.variant(cascade.spec.stages[0], variant, Device.CPU)
    assert isinstance(recall, Recall)
    queries = recall.queries(users)
    measured = {n: recall_at(approximate.search(queries, n)[0], exact.search(queries, n)[0]) for n in numbers}
    found = {"recall_at_n": measured, "distances": approximate.distances(queries, numbers[-1])}
    return Indexed(variant.name, unmeasured.model_copy(update=found))
