"""Opening a cascade: tables, variants, and FLOPs that its file leaves out."""

import pytest
from tiny_cascade import TinyCascade, variant

from models.errors import FixFile
from models.loading import Cascade
from models.retrieve import Recall
from models.score import Scorer
from models.spec import FlopsSpec


def test_each_variant_is_opened_as_what_its_stage_does(any_tiny: TinyCascade) -> None:
    cascade = Cascade.open(any_tiny.folder)
    for stage in cascade.spec.stages:
        for spec in stage.variants:
            kind = Recall if stage.name == "recall" else Scorer
            assert isinstance(cascade.variant(stage, spec), kind)


def test_stated_flops_are_kept(tiny: TinyCascade) -> None:
    stages = Cascade.open(tiny.folder).spec.stages
    assert stages[0].variant("dot").flops == FlopsSpec(row=10, item=6)
    assert stages[2].variant("fine").flops == FlopsSpec(row=10_000, item=1000)


def test_flops_left_out_are_counted_from_the_graph(broken: TinyCascade) -> None:
    def leave_out(document: dict) -> None:
        for name in ("dot", "light"):
            variant(document, name).pop("flops")

    broken.edit(leave_out)
    stages = Cascade.open(broken.folder).spec.stages
    # dot: a (3, 3) product per row, and 2 * 3 per item of the index. light: a (3, 2) product per row; per pair two
    # multiplications and a sum over two.
    assert stages[0].variant("dot").flops == FlopsSpec(row=18, item=6)
    light = stages[1].variant("light").flops
    assert light is not None
    assert light.item == 4
    assert light.row >= 12


def test_a_folder_without_a_cascade_is_refused(broken: TinyCascade) -> None:
    (broken.folder / "item_ids.npy").unlink()
    with pytest.raises(FixFile, match=r"tables\.items\.ids: no such file"):
        Cascade.open(broken.folder)
