"""NVIDIA GPUs, and superchip modules of GPUs with their processor, as the driver's library NVML meters them."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Self

from allocator.joules import Quality
from cluster.power import nvml_library as library
from cluster.power.base import Counter, Refusal
from cluster.power.host import HostFiles, boottime_s
from cluster.power.integral import PowerIntegral
from cluster.power.nvml_devices import Device, Found, find
from cluster.power.nvml_library import Nvml
from cluster.power.pauses import Pauses
from models.errors import SensorAbsent, SensorLost

COUNTED_POLL_S = 1.0
"""These counters do not wrap; what is drawn between the last read and a reload of the driver is lost."""
SAMPLED_POLL_S = 0.2
"""Between samples of power."""
RETRY_S = 1.0
"""First pause before the library is initialised anew for a device that is lost; doubled up to MOST_RETRY_S."""
MOST_RETRY_S = 60.0


class NvmlSensor:
    """A PowerSensor of the host's GPUs by UUID, each joule once.

    Where a board counts its joules (Volta and later), they are measured. Elsewhere its power is integrated over time,
    and the joules say `modelled`: between two samples power is taken to run straight. Counters are updated every 20 to
    100 ms, so that theirs are not `live`. A GPU that is lost is refused and looked for again with growing pauses, while
    the others are read on; a reload of the driver begins another epoch.
    """

    name = "nvml"

    def __init__(self, nvml: Nvml, root: Path, clock: Callable[[], float]) -> None:
        self.refusals: tuple[Refusal, ...] = ()
        self.poll_s = COUNTED_POLL_S
        self._nvml, self._root, self._clock = nvml, root, clock
        self._boot = HostFiles(root / "proc").boot_id()
        self._found, self._load, self._in_session = Found(), "", False
        self._uuids: dict[str, int] = {}
        self._integrals: dict[str, PowerIntegral] = {}
        self._pauses = Pauses(RETRY_S, MOST_RETRY_S)
        self._look()

    @classmethod
    def open(cls, nvml: Nvml | None = None, *, root: Path = Path("/"), clock: Callable[[], float] = boottime_s) -> Self:
        """Raises SensorAbsent that tells no bindings, no library, no driver, no permission and no GPU apart.

        nvml   the bindings, `pynvml` of this Python by default
        root   where /proc and /sys are
        clock  CLOCK_BOOTTIME of the host, in seconds
        """
        nvml = nvml or library.installed()
        try:
            sensor = cls(nvml, root, clock)
        except nvml.NVMLError as error:
            raise SensorAbsent("nvml", *library.meaning(nvml, error)) from error
        except (OSError, ValueError) as error:
            raise SensorAbsent("nvml", f"the kernel does not tell about this host: {error}", "mount /proc") from error
        if not sensor._found.devices:
            sensor.close()
            raise _absent(sensor.refusals)
        return sensor

    def read(self) -> tuple[Counter, ...]:
        """One counter per device; those that are lost stand in `refusals`. Raises SensorLost when all are."""
        counters, failed, over = self._read_found()
        if (failed or self._found.passing) and self._pauses.passed(self._clock(), at_once=over):
            self._renew()
            counters, failed, _ = self._read_found()
        if not failed and not self._found.passing:
            self._pauses = Pauses(RETRY_S, MOST_RETRY_S)
        self.refusals = (*failed, *self._found.passing, *self._found.lasting)
        if not counters:
            raise SensorLost("nvml: " + _told(self.refusals))
        return counters

    def close(self) -> None:
        """End the session, whatever the library says to that; it stays loaded."""
        if self._in_session:
            self._in_session = False
            with contextlib.suppress(self._nvml.NVMLError):
                self._nvml.nvmlShutdown()

    def _look(self) -> None:
        """Begin a session and see what there is; NVMLError leaves none open."""
        self._nvml.nvmlInit()
        self._in_session = True
        try:
            self._load = "/".join([self._boot, self._nvml.nvmlSystemGetDriverVersion(), self._kernel_module()])
            self._found = find(self._nvml, self._root / "sys/bus/pci/devices", self._uuids)
        except self._nvml.NVMLError:
            self.close()
            raise
        self._uuids = {uuid: at for uuid, at in self._uuids.items() if uuid not in self._found.uuids}
        self._uuids |= self._found.uuids
        self.refusals = (*self._found.passing, *self._found.lasting)
        counted = all(device.counts for device in self._found.devices)
        self.poll_s = COUNTED_POLL_S if counted else SAMPLED_POLL_S

    def _renew(self) -> None:
        """End the session and begin another: the library finds a lost GPU, or a driver's new load, in no other way."""
        self.close()
        try:
            self._look()
        except self._nvml.NVMLError as error:
            told = library.meaning(self._nvml, error)
            lost = tuple(Refusal("nvml", uuid, *told) for uuid in self._uuids)
            self._found = Found(passing=lost)

    def _kernel_module(self) -> str:
        """What changes with every load of the kernel module: the inode that sysfs gives its folder."""
        try:
            return str((self._root / "sys/module/nvidia").stat().st_ino)
        except OSError:
            return ""

    def _read_found(self) -> tuple[tuple[Counter, ...], tuple[Refusal, ...], bool]:
        """Counters, refusals of devices that did not answer, and whether the session is over."""
        counters, failed, over = [], [], False
        for device in self._found.devices:
            try:
                counters.append(self._counter(device))
            except self._nvml.NVMLError as error:
                failed.append(Refusal("nvml", device.name, *library.meaning(self._nvml, error)))
                over = over or library.session_over(self._nvml, error)
        return tuple(counters), tuple(failed), over

    def _counter(self, device: Device) -> Counter:
        read, at_s = device.read() / 1000, self._clock()
        if device.counts:
            quality, energy_j = Quality.MEASURED, read
            epoch = f"{self._load}/{device.via}" if device.kind == "module" else self._load
        else:
            integral = self._integrals.setdefault(device.name, PowerIntegral())
            integral.add(at_s, read)
            quality, energy_j = Quality.MODELLED, integral.energy_j
            epoch = f"{self._boot}/power watched from {integral.since_s:.6f}"
        return Counter(
            device=device.name,
            pool=device.pool,
            kind=device.kind,
            source=self.name,
            quality=quality,
            at_s=at_s,
            energy_j=energy_j,
            most_w=device.most_w,
            epoch=epoch,
            live=not device.counts,
        )


def _absent(refusals: tuple[Refusal, ...]) -> SensorAbsent:
    if not refusals:
        return SensorAbsent("nvml", "the NVIDIA driver runs, but it has no GPU")
    return SensorAbsent("nvml", _told(refusals), refusals[0].remedy)


def _told(refusals: tuple[Refusal, ...]) -> str:
    return "; ".join(f"{refusal.what}: {refusal.problem}" for refusal in refusals)
