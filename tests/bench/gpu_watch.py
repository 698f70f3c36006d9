"""A GPU's own counters beside ours: read by a thread of this process, whatever becomes of the meter that is judged."""

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from cluster.power.host import boottime_s

Nvml = Any
Read = Callable[[], float]


class Series:
    """What one GPU told: when its counter moved and to how many joules, and its watts at every look.

    Where it counts no joules, they are its watts, straight between two looks.
    """

    def __init__(self, nvml: Nvml, handle: object) -> None:
        self.uuid: str = nvml.nvmlDeviceGetUUID(handle)
        self.moved_s, self.joules = list[float](), list[float]()
        self.looked_s, self.watts = list[float](), list[float]()
        self._nvml, self._handle = nvml, handle
        self.counts = counts(nvml, handle)
        self._watts = watts_of(nvml, handle)

    def look(self) -> None:
        """Read both. Raises NVMLError."""
        watts, now_s = self._watts(), boottime_s()
        if self.counts:
            joules = self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle) / 1000
        else:
            last_s, last_w = (self.looked_s[-1], self.watts[-1]) if self.watts else (now_s, watts)
            joules = (self.joules[-1] if self.joules else 0.0) + (now_s - last_s) * (watts + last_w) / 2
        self.watts.append(watts)
        self.looked_s.append(now_s)
        if not self.joules or joules != self.joules[-1]:
            self.joules.append(joules)
            self.moved_s.append(now_s)

    def at(self, boot_s: float) -> float:
        """Joules at a time: straight between two moves of the counter."""
        return float(np.interp(boot_s, self.moved_s, self.joules))

    def integral_j(self, from_s: float, to_s: float) -> float:
        """What the watts come to between two times."""
        at_s = np.array(self.looked_s)
        inside = at_s[(at_s > from_s) & (at_s < to_s)]
        grid = np.concatenate([[from_s], inside, [to_s]])
        return float(np.trapezoid(np.interp(grid, at_s, self.watts), grid))

    def reached_s(self, joules: float) -> float:
        """When the counter stood at so many joules."""
        return float(np.interp(joules, self.joules, self.moved_s))


class Watch:
    """Looks at every GPU until it is left. Times are those of the host's boot clock, or with `unix` in the name Unix's.

    failures  looks that were not answered
    """

    def __init__(self, nvml: Nvml, every_s: float = 0.02) -> None:
        self._nvml, self._every_s, self.failures = nvml, every_s, 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep_looking, name="watch", daemon=True)

    def __enter__(self) -> "Watch":
        self._nvml.nvmlInit()
        handles = [self._nvml.nvmlDeviceGetHandleByIndex(at) for at in range(self._nvml.nvmlDeviceGetCount())]
        self.gpus = [Series(self._nvml, handle) for handle in handles]
        self._look()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._nvml.nvmlShutdown()

    def unix_j(self, unix_s: float) -> float:
        """Joules of all GPUs at a Unix time."""
        return sum(gpu.at(unix_s - unix_minus_boot()) for gpu in self.gpus)

    def unix_w(self, from_s: float, to_s: float) -> float:
        """Mean watts of all GPUs between two Unix times, by their counters."""
        return (self.unix_j(to_s) - self.unix_j(from_s)) / (to_s - from_s)

    def _keep_looking(self) -> None:
        while not self._ended.wait(self._every_s):
            self._look()

    def _look(self) -> None:
        for gpu in self.gpus:
            try:
                gpu.look()
            except self._nvml.NVMLError:
                self.failures += 1


def unix_minus_boot() -> float:
    """What is to be added to the boot clock for Unix time."""
    return time.time() - boottime_s()


def counts(nvml: Nvml, handle: object) -> bool:
    """Whether a GPU counts its joules."""
    try:
        nvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except nvml.NVMLError:
        return False
    return True


def watts_of(nvml: Nvml, handle: object) -> Read:
    """Reads a GPU's watts: those of the moment, where it tells them, else the driver's mean."""

    def instant() -> float:
        (value,) = nvml.nvmlDeviceGetFieldValues(handle, [(nvml.NVML_FI_DEV_POWER_INSTANT, nvml.NVML_POWER_SCOPE_GPU)])
        if value.nvmlReturn != nvml.NVML_SUCCESS:
            raise nvml.NVMLError(value.nvmlReturn)
        return float(value.value.uiVal) / 1000

    def mean() -> float:
        return float(nvml.nvmlDeviceGetPowerUsage(handle)) / 1000

    try:
        return instant if instant() > 0 else mean
    except nvml.NVMLError:
        return mean
