"""What can be read through NVML on this host, each joule once: GPUs, and modules of GPUs with their processor."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from cluster.power import nvml_library as library
from cluster.power.base import Refusal
from cluster.power.nvml_library import Nvml

HEADROOM = 2.0
"""What a board may draw over its highest power limit: limits bind averages, and counters are updated in steps."""

Read = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Device:
    """How one device is read.

    read    millijoules since the driver was loaded if `counts`, else milliwatts now; raises NVMLError
    via     UUID of the GPU that is asked: each GPU of a module has a counter of its own for the module
    """

    name: str
    pool: str
    kind: str
    via: str
    counts: bool
    most_w: float
    read: Read


@dataclass(frozen=True, slots=True)
class Found:
    """What is read, and what is not.

    passing  refusals that a new session may lift; `lasting` ones it will not
    uuids    GPU UUIDs with their index
    """

    devices: tuple[Device, ...] = ()
    passing: tuple[Refusal, ...] = ()
    lasting: tuple[Refusal, ...] = ()
    uuids: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Gpu:
    """module_power: reads the power of the module that this GPU is a part of; None where it is a part of none."""

    index: int
    uuid: str
    handle: object
    module_power: Read | None
    socket: int | None


class _Refusals:
    def __init__(self, nvml: Nvml) -> None:
        self._nvml = nvml
        self.passing: list[Refusal] = []
        self.lasting: list[Refusal] = []

    def failed(self, what: str, error: Exception) -> None:
        kept = self.lasting if library.lasting(self._nvml, error) else self.passing
        kept.append(Refusal("nvml", what, *library.meaning(self._nvml, error)))

    def left_out(self, what: str, problem: str, remedy: str = "") -> None:
        self.lasting.append(Refusal("nvml", what, problem, remedy))


def find(nvml: Nvml, pci: Path, seen: Mapping[str, int]) -> Found:
    """Look at every GPU of an initialised library; CUDA_VISIBLE_DEVICES hides none from it.

    pci   sysfs's devices by bus id, which say on which socket a GPU sits
    seen  UUIDs of all earlier looks with their last index, the newest last: those that are gone are refused by name

    MIG instances have no meter of their own; the library lists only their parents, which count for them all.
    Raises NVMLError when not even the number of GPUs is told.
    """
    refusals = _Refusals(nvml)
    gpus = _gpus(nvml, pci, seen, refusals)
    modules = _by_socket(gpus, refusals)
    in_modules = {gpu.uuid for members in modules.values() for gpu in members}
    devices = [
        *(_try(nvml, refusals, f"module-{socket}", partial(_module, nvml, of[0])) for socket, of in modules.items()),
        *(_try(nvml, refusals, gpu.uuid, partial(_alone, nvml, gpu)) for gpu in gpus if gpu.uuid not in in_modules),
    ]
    for socket, members in modules.items():
        for gpu in members:
            refusals.left_out(gpu.uuid, f"counted in module-{socket}, which holds it and its processor")
    read = tuple(device for device in devices if device)
    return Found(read, tuple(refusals.passing), tuple(refusals.lasting), {gpu.uuid: gpu.index for gpu in gpus})


def _gpus(nvml: Nvml, pci: Path, seen: Mapping[str, int], refusals: _Refusals) -> list[_Gpu]:
    """Those that answer, each UUID once."""
    gpus, failed = dict[str, _Gpu](), dict[int, Exception]()
    for index in range(nvml.nvmlDeviceGetCount()):
        try:
            gpu = _gpu(nvml, index, pci)
            gpus.setdefault(gpu.uuid, gpu)
        except nvml.NVMLError as error:
            failed[index] = error
    gone = {uuid: index for uuid, index in seen.items() if uuid not in gpus}
    for index, why in failed.items():
        known = [uuid for uuid, last in gone.items() if last == index]
        refusals.failed(known[-1] if known else f"GPU {index}", why)
        for uuid in known[-1:]:
            del gone[uuid]
    for uuid in sorted(gone):
        refusals.failed(uuid, nvml.NVMLError(nvml.NVML_ERROR_GPU_IS_LOST))
    return list(gpus.values())


def _gpu(nvml: Nvml, index: int, pci: Path) -> _Gpu:
    handle = nvml.nvmlDeviceGetHandleByIndex(index)
    uuid = nvml.nvmlDeviceGetUUID(handle)
    for field_id in (nvml.NVML_FI_DEV_POWER_AVERAGE, nvml.NVML_FI_DEV_POWER_INSTANT):
        power = partial(_module_field, nvml, handle, field_id)
        if _answer(nvml, power) is not None:
            return _Gpu(index, uuid, handle, power, _socket(nvml, handle, pci))
    return _Gpu(index, uuid, handle, None, None)


def _socket(nvml: Nvml, handle: object, pci: Path) -> int | None:
    """NUMA node of a GPU, which on a superchip is the processor that shares its module; None if nobody knows."""
    bus = nvml.nvmlDeviceGetPciInfo(handle).busIdLegacy.lower()
    try:
        node = int((pci / bus / "numa_node").read_text())
    except (OSError, ValueError):
        return None
    return node if node >= 0 else None


def _by_socket(gpus: Iterable[_Gpu], refusals: _Refusals) -> dict[int, list[_Gpu]]:
    """The GPUs of each module: all tell the whole module's power, so that a sum over them would count it twice."""
    modules = defaultdict[int, list[_Gpu]](list)
    for gpu in gpus:
        if gpu.module_power and gpu.socket is None:
            problem = "its module's power is left out: sysfs does not say on which socket the GPU sits"
            refusals.left_out(f"module of {gpu.uuid}", problem, "let this process read /sys/bus/pci/devices")
        elif gpu.module_power and gpu.socket is not None:
            modules[gpu.socket].append(gpu)
    return dict(sorted(modules.items()))


def _try(nvml: Nvml, refusals: _Refusals, what: str, make: Callable[[], Device]) -> Device | None:
    try:
        return make()
    except nvml.NVMLError as error:
        refusals.failed(what, error)
        return None


def _module(nvml: Nvml, gpu: _Gpu) -> Device:
    """The module of a GPU, read through it."""
    assert gpu.module_power
    read, counts = gpu.module_power, _counts_module(nvml, gpu.handle)
    if counts:
        read = partial(_module_field, nvml, gpu.handle, nvml.NVML_FI_DEV_ENERGY)
    limit_mw = _answer(nvml, partial(_module_field, nvml, gpu.handle, nvml.NVML_FI_DEV_POWER_MAX_LIMIT))
    return Device(f"module-{gpu.socket}", "cpu", "module", gpu.uuid, counts, _most_w(limit_mw), read)


def _counts_module(nvml: Nvml, handle: object) -> bool:
    """Whether there is a module's own energy counter.

    One that says the same for the GPU alone leaves open which of the two it counts: then power, which says it, is
    integrated.
    """
    energy = nvml.NVML_FI_DEV_ENERGY
    asked = [(energy, nvml.NVML_POWER_SCOPE_MODULE), (energy, nvml.NVML_POWER_SCOPE_GPU)]
    module, gpu = nvml.nvmlDeviceGetFieldValues(handle, asked)
    module_mj = _answer(nvml, partial(_plain, nvml, module))
    return module_mj is not None and module_mj != _answer(nvml, partial(_plain, nvml, gpu))


def _alone(nvml: Nvml, gpu: _Gpu) -> Device:
    read = partial(nvml.nvmlDeviceGetTotalEnergyConsumption, gpu.handle)
    counts = _answer(nvml, read) is not None
    if not counts:
        read = partial(nvml.nvmlDeviceGetPowerUsage, gpu.handle)
        read()
    limit_mw = _answer(nvml, lambda: nvml.nvmlDeviceGetPowerManagementLimitConstraints(gpu.handle)[1])
    return Device(gpu.uuid, gpu.uuid, "gpu", gpu.uuid, counts, _most_w(limit_mw), read)


def _most_w(limit_mw: float | None) -> float:
    return HEADROOM * limit_mw / 1000 if limit_mw else math.inf


def _answer(nvml: Nvml, read: Read) -> float | None:
    """What a reading says; None where the device or the library knows no such thing. Other errors pass through."""
    try:
        return read()
    except nvml.NVMLError as error:
        if library.unsupported(nvml, error):
            return None
        raise


def _module_field(nvml: Nvml, handle: object, field_id: int) -> float:
    (value,) = nvml.nvmlDeviceGetFieldValues(handle, [(field_id, nvml.NVML_POWER_SCOPE_MODULE)])
    return _plain(nvml, value)


def _plain(nvml: Nvml, value: Nvml) -> float:
    """A field's number. Zero is none: no module that runs draws nothing, or has drawn nothing."""
    if value.nvmlReturn != nvml.NVML_SUCCESS:
        raise nvml.NVMLError(value.nvmlReturn)
    members = {
        nvml.NVML_VALUE_TYPE_DOUBLE: "dVal",
        nvml.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
        nvml.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
        nvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
        nvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: "sllVal",
        nvml.NVML_VALUE_TYPE_SIGNED_INT: "siVal",
        nvml.NVML_VALUE_TYPE_UNSIGNED_SHORT: "usVal",
    }
    number = float(getattr(value.value, members[value.valueType]))
    if number <= 0:
        raise nvml.NVMLError(nvml.NVML_ERROR_NO_DATA)
    return number
