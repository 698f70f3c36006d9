"""The door to NVIDIA's management library: getting in, and what its errors mean to whoever runs the machine."""

import importlib
from types import ModuleType
from typing import Any

from models.errors import SensorAbsent

Nvml = Any
"""The module `pynvml`, which has no types."""

_CONTAINER = "in a container, give it the GPUs (--gpus all, or the device plugin) and the driver capability 'utility'"
_MEANINGS = {
    "NVML_ERROR_LIBRARY_NOT_FOUND": (
        "libnvidia-ml.so.1 is not found: no NVIDIA driver is installed, or a container hides it",
        f"install the NVIDIA driver; {_CONTAINER}",
    ),
    "NVML_ERROR_DRIVER_NOT_LOADED": (
        "the NVIDIA kernel driver is not loaded",
        "load it: sudo modprobe nvidia; if that fails, `dmesg` says why",
    ),
    "NVML_ERROR_LIB_RM_VERSION_MISMATCH": (
        "the NVIDIA library and the loaded kernel driver are of different versions, as after an update",
        "reboot, or reload the kernel driver, then start this node again",
    ),
    "NVML_ERROR_NO_PERMISSION": (
        "no permission to ask the NVIDIA driver",
        f"give this user read and write access to /dev/nvidiactl and /dev/nvidia0 and on; {_CONTAINER}",
    ),
    "NVML_ERROR_FUNCTION_NOT_FOUND": (
        "the NVIDIA driver is too old: its library lacks a function",
        "install a newer NVIDIA driver",
    ),
    "NVML_ERROR_NOT_SUPPORTED": (
        "it counts no energy and tells no power, as virtual GPUs and some old boards do",
        "none here; the host of a virtual GPU can meter it",
    ),
    "NVML_ERROR_UNINITIALIZED": (
        "the driver ended the session, as when it is reloaded",
        "none while it comes back by itself; else `nvidia-smi` and `dmesg` say why",
    ),
    "NVML_ERROR_GPU_IS_LOST": (
        "the GPU has fallen off the bus",
        "`dmesg` shows its Xid; reset it (sudo nvidia-smi --gpu-reset) or reboot",
    ),
    "NVML_ERROR_RESET_REQUIRED": (
        "the GPU wants a reset",
        "stop what uses it, then sudo nvidia-smi --gpu-reset, or reboot",
    ),
    "NVML_ERROR_UNKNOWN": (
        "the driver answers 'unknown error', as in a container that lost its device files",
        "restart the container; on a host, `nvidia-smi` and `dmesg` say more",
    ),
}
_UNSUPPORTED = (
    "NVML_ERROR_NOT_SUPPORTED",
    "NVML_ERROR_FUNCTION_NOT_FOUND",
    "NVML_ERROR_INVALID_ARGUMENT",
    "NVML_ERROR_NO_DATA",
)
_LASTING = ("NVML_ERROR_NOT_SUPPORTED", "NVML_ERROR_FUNCTION_NOT_FOUND", "NVML_ERROR_NO_PERMISSION")
_SESSION = ("NVML_ERROR_UNINITIALIZED", "NVML_ERROR_DRIVER_NOT_LOADED")


def installed() -> Nvml:
    """The bindings of this Python. Raises SensorAbsent when there are none, or not NVIDIA's own."""
    try:
        nvml: ModuleType = importlib.import_module("pynvml")
    except ImportError as error:
        problem = f"the Python package nvidia-ml-py cannot be imported: {error}"
        raise SensorAbsent("nvml", problem, "pip install nvidia-ml-py") from error
    if not hasattr(nvml, "nvmlDeviceGetFieldValues"):
        problem = f"{nvml.__file__} is not NVIDIA's: the deprecated distribution 'pynvml' hides or replaces it"
        raise SensorAbsent("nvml", problem, "pip uninstall pynvml; pip install --force-reinstall nvidia-ml-py")
    return nvml


def meaning(nvml: Nvml, error: Exception) -> tuple[str, str]:
    """What an NVMLError says is wrong, and the remedy."""
    for name, told in _MEANINGS.items():
        if _is(nvml, error, (name,)):
            return told
    return f"the NVIDIA driver answers '{error}'", "`nvidia-smi` and `dmesg` on this machine say more"


def unsupported(nvml: Nvml, error: Exception) -> bool:
    """The device, or the library, does not know such a reading at all."""
    return _is(nvml, error, _UNSUPPORTED)


def lasting(nvml: Nvml, error: Exception) -> bool:
    """Asking again will not help while this process lives."""
    return _is(nvml, error, _LASTING)


def session_over(nvml: Nvml, error: Exception) -> bool:
    """Nothing can be asked before the library is initialised anew."""
    return _is(nvml, error, _SESSION)


def _is(nvml: Nvml, error: Exception, names: tuple[str, ...]) -> bool:
    return getattr(error, "value", None) in [getattr(nvml, name) for name in names]
