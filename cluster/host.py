"""What reports of work call the devices that a process runs on: one pool a host, however many Ray nodes run there."""

import logging
from collections.abc import Sequence
from typing import Any

import ray

from cluster.events import Event, happened
from cluster.power.host import HostFiles
from cluster.power.nvml_library import installed
from cluster.work import pool_of
from models.errors import SensorAbsent

logger = logging.getLogger(__name__)


def host_pool() -> str:
    """That of this host, by its boot id, which is the same in all of its containers."""
    return pool_of(HostFiles().boot_id())


def gpu_pool() -> str:
    """That of the GPU which Ray gave this process, as `BOOT/UUID`; of the processors where nobody knows which it is.

    A MIG instance has no counter of its own: its joules are in those of the GPU that it is a part of.
    """
    ids: Sequence[str] = ray.get_runtime_context().get_accelerator_ids().get("GPU", [])
    boot = HostFiles().boot_id()
    try:
        return f"{boot}/{gpu_uuid(ids, installed())}"
    except (SensorAbsent, LookupError) as error:
        happened(logger, Event.NOT_KNOWN, "the joules of this replica's GPU cannot be told apart: %s", error)
        return pool_of(boot)


def gpu_uuid(ids: Sequence[str], nvml: Any) -> str:
    """UUID of the first of these GPUs, given by index or UUID. Raises LookupError where the driver knows none."""
    if not ids:
        raise LookupError("Ray gave it none")
    first = str(ids[0])
    try:
        nvml.nvmlInit()
        if first.startswith(("GPU-", "MIG-")):
            handle = nvml.nvmlDeviceGetHandleByUUID(first)
        else:
            handle = nvml.nvmlDeviceGetHandleByIndex(int(first))
        if first.startswith("MIG-"):
            handle = nvml.nvmlDeviceGetDeviceHandleFromMigDeviceHandle(handle)
        uuid: str = nvml.nvmlDeviceGetUUID(handle)
    except (nvml.NVMLError, ValueError) as error:
        raise LookupError(f"GPU {first}: {error}") from error
    return uuid
