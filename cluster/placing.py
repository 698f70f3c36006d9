"""Where variants run under these settings: inside the ingress replicas, or in deployments of their own."""

from allocator.energy.windows import Name
from cluster.config import Settings
from models.spec import CascadeSpec, Device, Placement, VariantSpec


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
