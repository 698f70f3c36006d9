"""Where variants run under these settings: inside the ingress replicas, or in deployments of their own."""

import os

from allocator.chains import SEPARATOR, SKIP
from allocator.energy.windows import Name
from cluster.config import Settings
from models.spec import CascadeSpec, Device, Placement, VariantSpec

MOST_USUAL_INGRESSES = 4


def placement_of(variant: VariantSpec, settings: Settings) -> Placement:
    """Where a variant runs under these settings; a CUDA variant always has a deployment of its own."""
    if settings.placement == "file" or variant.device is Device.CUDA:
        return variant.placement
    return Placement(settings.placement)


def own_variants(settings: Settings, spec: CascadeSpec) -> frozenset[Name]:
    """The variants with deployments of their own."""
    return frozenset(
        (stage.name, variant.name)
        for stage in spec.stages
        for variant in stage.variants
        if placement_of(variant, settings) is Placement.OWN
    )


def scaled_variants(settings: Settings, spec: CascadeSpec) -> frozenset[Name]:
    """Those of them that Serve's autoscaler looks after."""
    return own_variants(settings, spec) if settings.autoscale.enabled else frozenset()


def deployment_name(stage: str, variant: str) -> str:
    """Name of the deployment of a variant with a placement of its own."""
    return f"{stage}-{variant}"


def usual_ingress_replicas(spec: CascadeSpec, settings: Settings, cores: int | None = os.cpu_count()) -> int:
    """One process runs Python on one core only. Where the ingress does all the work it takes several to use the
    machine; where it only hands work on, one makes the largest micro-batches and so the fewest calls.
    """
    names = [part.split("@")[0] for part in spec.static_chain.split(SEPARATOR)]
    used = [stage.variant(name) for stage, name in zip(spec.stages, names, strict=True) if name != SKIP]
    inline = all(placement_of(variant, settings) is Placement.INLINE for variant in used)
    return min(MOST_USUAL_INGRESSES, cores or 1) if inline else 1
