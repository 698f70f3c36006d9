"""What is decided before anything is deployed."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest
from tiny_cascade import Document, TinyCascade, stage, variant
from tiny_reward import with_reward

from cluster.app import build, check, usual_ingress_replicas
from cluster.config import Settings
from cluster.placing import placement_of
from models.errors import FixFile
from models.spec import Placement, VariantSpec

CPU, INLINE, CUDA = (
    VariantSpec.model_validate({"name": "v", "model": {"file": "f", "sha256": "0" * 64}, **rest})
    for rest in ({}, {"placement": "inline"}, {"device": "cuda"})
)


@pytest.mark.parametrize(
    ("variant", "placement", "where"),
    [
        (CPU, "file", Placement.OWN),
        (INLINE, "file", Placement.INLINE),
        (CPU, "inline", Placement.INLINE),
        (INLINE, "own", Placement.OWN),
        (CUDA, "file", Placement.OWN),
        (CUDA, "inline", Placement.OWN),
    ],
)
def test_settings_move_cpu_variants_and_never_those_of_a_gpu(
    variant: VariantSpec, placement: str, where: Placement
) -> None:
    assert placement_of(variant, Settings.model_validate({"placement": placement})) is where


def test_a_whole_cascade_is_built_without_ray(tiny: TinyCascade) -> None:
    assert check(Settings(cascade=tiny.folder)).folder == tiny.folder
    build(Settings(cascade=tiny.folder))


def test_who_keeps_files_runs_where_the_operator_says_and_nobody_else_has_to(tiny: TinyCascade, tmp_path: Path) -> None:
    rewarded = with_reward(tiny, tmp_path / "cascade")
    bound = build(Settings(cascade=rewarded.folder, keeper_resource="books"))._bound_deployment
    ingress, controller, outcomes = bound, *(bound.init_args[at]._bound_deployment for at in (2, 4))
    assert (controller.name, outcomes.name) == ("controller", "outcomes")
    for one in (controller, outcomes):
        assert one.ray_actor_options["resources"] == {"books": 1e-3}
    assert "resources" not in (ingress.ray_actor_options or {})


def rename_to_collide(document: Document) -> None:
    """Variant `a-b` of `prerank` and variant `b` of `prerank-a`: both are prerank-a-b once joined by a dash."""
    stage(document, "rank")["name"] = "prerank-a"
    variant(document, "fine")["name"] = "b"
    variant(document, "light")["name"] = "a-b"
    document["static_chain"] = "seq>heavy@8>b@4"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        (lambda d: d.update(static_chain="seq>light@4>fine@8"), "static_chain"),
        (lambda d: variant(d, "fine")["model"].update(sha256="0" * 64), "stages.rank.variants.fine.model.sha256"),
        (rename_to_collide, "stages"),
    ],
)
def test_a_broken_cascade_is_refused_before_anything_is_deployed(
    broken: TinyCascade, change: Callable[[Document], object], field: str
) -> None:
    broken.edit(change)
    with pytest.raises(FixFile) as refused:
        build(Settings(cascade=broken.folder))
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("placement", "cores", "replicas"), [("inline", 2, 2), ("inline", 64, 4), ("own", 2, 1), ("own", 64, 1)]
)
def test_the_ingress_gets_as_many_replicas_as_it_has_work_for(
    tiny: TinyCascade, placement: Literal["inline", "own"], cores: int, replicas: int
) -> None:
    settings = Settings(cascade=tiny.folder, placement=placement)
    assert usual_ingress_replicas(check(settings).spec, settings, cores) == replicas
