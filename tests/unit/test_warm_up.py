"""Every variant of a cascade can be run before anybody asks."""

from dataclasses import replace

import numpy as np
from tiny_cascade import TinyCascade

from models.batch import IntArray, RaggedBatch, UserRows
from models.loading import Cascade
from models.warm_up import warm_up


class Noted:
    """A variant that notes what it was run on."""

    def __init__(self) -> None:
        self.runs: list[tuple[int, list[int] | None, list[int]]] = []

    def run(self, users: UserRows, candidates: RaggedBatch | None, keep: IntArray) -> RaggedBatch:
        self.runs.append((len(users), None if candidates is None else candidates.lengths.tolist(), keep.tolist()))
        return RaggedBatch.from_rows([np.zeros(0, np.int64)])


def test_all_variants_run_once(any_tiny: TinyCascade) -> None:
    cascade = Cascade.open(any_tiny.folder)
    for stage in cascade.spec.stages:
        for variant in stage.variants:
            warm_up(cascade, stage, cascade.variant(stage, variant))


def test_a_later_stage_is_run_on_as_many_items_as_it_ever_gets(tiny: TinyCascade) -> None:
    cascade = Cascade.open(tiny.folder)
    noted = Noted()
    for stage in cascade.spec.stages:
        warm_up(cascade, stage, noted)
    assert noted.runs == [(1, None, [2]), (1, [8], [2]), (1, [8], [2])]


def test_a_catalogue_smaller_than_that_is_taken_whole(tiny: TinyCascade) -> None:
    cascade = Cascade.open(tiny.folder)
    noted = Noted()
    stage = cascade.spec.stages[1].model_copy(update={"items": (4, 10_000)})
    warm_up(replace(cascade), stage, noted)
    assert noted.runs == [(1, [len(cascade.items)], [2])]
