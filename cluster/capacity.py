"""The most that runs of variants and the work around them may take of processors: a limit that nobody has to state."""

from allocator.limits import CAPACITY, Kind, Limit
from cluster.config import Settings
from cluster.placing import own_variants
from models.spec import CascadeSpec, Device


def capacity_busy_s_per_s(settings: Settings, spec: CascadeSpec, cores: float, ingress_replicas: int) -> float:
    """Busy seconds a second that replicas can come to at most: their threads, or the `cores` that these share.

    A thread of each ingress replica works around the models. GPUs are not shared with anybody; each of their threads
    counts. One variant with too few replicas may be at its end before all together are.
    """
    own = own_variants(settings, spec)
    variants = {(stage.name, v.name): v for stage in spec.stages for v in stage.variants}
    gpu = sum(1 for name in own if variants[name].device is Device.CUDA)
    inline = len(own) < len(variants)
    own_stages = len({stage for stage, _ in own})
    side_by_side = min(settings.inline_threads, settings.batch.in_flight or own_stages + 1) if inline else 0
    threads = ingress_replicas * (1 + side_by_side)
    threads += (len(own) - gpu) * _replicas(settings, settings.cpu_replicas) * settings.stage_threads
    return min(threads, cores) + gpu * _replicas(settings, settings.gpu_replicas) * settings.stage_threads


def capacity_limit(settings: Settings, spec: CascadeSpec, cores: float, ingress_replicas: int) -> Limit | None:
    """What `limits.capacity_share` leaves of it to requests; None where that is zero, for no such limit."""
    share = settings.limits.capacity_share
    if share <= 0:
        return None
    most = capacity_busy_s_per_s(settings, spec, cores, ingress_replicas)
    return Limit(CAPACITY, Kind.COMPUTE, share * most, "busy_s/s")


def _replicas(settings: Settings, stated: int) -> int:
    return max(settings.autoscale.max_replicas, stated) if settings.autoscale.enabled else stated
