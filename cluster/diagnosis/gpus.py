"""The GPUs that NVIDIA's driver shows, whatever of them can be metered."""

from contextlib import suppress
from dataclasses import dataclass

from cluster.power import nvml_library as library
from cluster.power.nvml_library import Nvml
from models.errors import SensorAbsent


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU; `parts` is how many MIG instances it is cut into, 0 for none."""

    uuid: str
    name: str
    parts: int


def installed_gpus() -> tuple[Gpu, ...]:
    """The GPUs of this machine; none where the driver or its library is not there."""
    try:
        return list_gpus(library.installed())
    except SensorAbsent:
        return ()


def list_gpus(nvml: Nvml) -> tuple[Gpu, ...]:
    """The GPUs that the library shows. One that does not answer keeps its place, by its number."""
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return ()
    try:
        return tuple(_gpu(nvml, index) for index in range(nvml.nvmlDeviceGetCount()))
    except nvml.NVMLError:
        return ()
    finally:
        with suppress(nvml.NVMLError):
            nvml.nvmlShutdown()


def _gpu(nvml: Nvml, index: int) -> Gpu:
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        uuid, name = nvml.nvmlDeviceGetUUID(handle), nvml.nvmlDeviceGetName(handle)
    except nvml.NVMLError as error:
        return Gpu("", f"GPU {index}, which does not answer ({error})", 0)
    return Gpu(uuid, name, _parts(nvml, handle))


def _parts(nvml: Nvml, handle: object) -> int:
    """How many MIG instances there are. Boards without MIG refuse the question."""
    try:
        if nvml.nvmlDeviceGetMigMode(handle)[0] != nvml.NVML_DEVICE_MIG_ENABLE:
            return 0
        return sum(_is_there(nvml, handle, at) for at in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)))
    except nvml.NVMLError:
        return 0


def _is_there(nvml: Nvml, handle: object, at: int) -> bool:
    try:
        nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, at)
    except nvml.NVMLError:
        return False
    return True
