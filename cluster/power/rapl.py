"""Joules of processors and memory from RAPL, which Linux shows as files under /sys/class/powercap (Intel, and AMD)."""

import errno
import grp
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Self

from allocator.joules import Quality
from cluster.power import rapl_words as words
from cluster.power.base import Counter, Refusal
from cluster.power.host import HostFiles, boottime_s
from cluster.power.memory import MEMORY_W_PER_GB, ModelledMemory
from cluster.power.rapl_mirrors import Mirrors, suspicious
from cluster.power.rapl_zones import MAIN, MOST_POLL_S, Read, Tree, Zone, find_zones
from models.errors import SensorAbsent, SensorLost

POWERCAP = Path("/sys/class/powercap")
RESCAN_S = 60.0  # how soon a zone is found that came with a hot-plugged processor
SEARCH_S = 1.0  # how often those that vanished are looked for

_DENIED = (errno.EACCES, errno.EPERM)


class RaplSensor:
    """A PowerSensor of package zones and the memory zones inside them.

    Where the processors do not meter memory (all of AMD's), its joules are modelled from the installed size.
    """

    name = "rapl"

    def __init__(self, root: Path, host: HostFiles, clock: Callable[[], float], read: Read, memory_w: float) -> None:
        self._root, self._clock, self._read_file = root, clock, read
        self._virtual = host.is_virtual()
        self._boot = host.boot_id()
        self._mirrors = Mirrors()
        self._tree = Tree((), (), 0)
        self._scanned_s = -RESCAN_S
        self._known: dict[str, Zone] = {}
        self._memory: ModelledMemory | None = None
        self.refusals: tuple[Refusal, ...] = ()
        self.poll_s = MOST_POLL_S
        if not any(counter.kind == "dram" for counter in self._first_read()):
            self._memory = ModelledMemory(memory_w, self._boot)

    @classmethod
    def open(
        cls,
        root: Path = POWERCAP,
        *,
        host: HostFiles | None = None,
        clock: Callable[[], float] = boottime_s,
        read: Read = Path.read_text,
        memory_w_per_gb: float = MEMORY_W_PER_GB,
    ) -> Self:
        """Raises SensorAbsent that tells no permission, masked, virtual machine and no driver apart.

        root  a powercap tree, flat as /sys/class/powercap or nested as /sys/devices/virtual/powercap
        """
        host = host or HostFiles()
        try:
            return cls(root, host, clock, read, memory_w_per_gb * host.memory_gb())
        except (OSError, ValueError) as error:
            raise SensorAbsent("rapl", f"the kernel does not tell about this host: {error}") from error

    def read(self) -> tuple[Counter, ...]:
        """Counters of all zones that can be read now, and of modelled memory."""
        at_s = self._clock()
        if at_s >= self._scanned_s + (SEARCH_S if self._missing() else RESCAN_S):
            self._scan(at_s)
        counters, failed = self._sweep(self._tree.zones)
        repeated = self._repeated(counters)
        self.refusals = self._refusals(failed, repeated)
        kept = tuple(counter for counter in counters if counter.device not in repeated)
        if not kept:
            raise SensorLost(f"rapl: no zone under {self._root} can be read")
        self._known.update({zone.device: zone for zone in self._tree.zones if zone.device not in failed})
        if any(counter.kind == "dram" for counter in kept):
            self._memory = None  # for good: a measured counter that pauses catches up, and would be billed twice
        return kept if self._memory is None else (*kept, self._memory.counter(self._clock()))

    def close(self) -> None:
        """Nothing is held between reads."""

    def _first_read(self) -> tuple[Counter, ...]:
        try:
            return self.read()
        except SensorLost:
            raise self._absent() from None

    def _absent(self) -> SensorAbsent:
        if self.refusals:
            return SensorAbsent("rapl", self.refusals[0].problem, self.refusals[0].remedy)
        if not self._root.exists():
            return words.no_tree(self._root, self._virtual)
        return words.no_zones(self._root, self._virtual)

    def _missing(self) -> bool:
        in_tree = {zone.device for zone in self._tree.zones}
        return any(zone.device not in in_tree or not os.path.isdir(zone.folder) for zone in self._known.values())

    def _scan(self, at_s: float) -> None:
        try:
            self._tree = find_zones(self._root, self._read_file)
        except OSError:
            self._tree = Tree((), (), 0)
        self._scanned_s = at_s
        self.poll_s = min((zone.poll_s for zone in self._tree.zones), default=self.poll_s)

    def _sweep(self, zones: Iterable[Zone]) -> tuple[list[Counter], dict[str, Refusal]]:
        counters, failed = [], {}
        for zone in zones:
            try:
                energy_j = zone.energy_j(self._read_file)
            except (OSError, ValueError) as error:
                failed[zone.device] = self._refusal(zone, error)
            else:
                counters.append(self._counter(zone, self._clock(), energy_j))
        return counters, failed

    def _counter(self, zone: Zone, at_s: float, energy_j: float) -> Counter:
        return Counter(
            device=zone.device,
            pool="cpu",
            kind=zone.kind,
            source="rapl",
            quality=Quality.MEASURED,
            at_s=at_s,
            energy_j=min(energy_j, zone.range_j),
            range_j=zone.range_j,
            most_w=zone.most_w,
            # Nobody promises that two drivers' views of a package differ by nothing: they are not subtracted.
            epoch=self._boot if zone.control == MAIN else f"{self._boot}/{zone.control}",
        )

    def _refusal(self, zone: Zone, error: Exception) -> Refusal:
        file = zone.folder / "energy_uj"
        if isinstance(error, OSError) and error.errno in _DENIED:
            return words.forbidden(zone.device, file, os.geteuid() == 0, _group())
        if isinstance(error, OSError) and error.errno in (errno.ENOENT, errno.ENODEV):
            return words.vanished(zone.device, file)
        return words.refused(zone.device, file, error)

    def _repeated(self, counters: list[Counter]) -> Mapping[str, str]:
        """Zones that mirror another one, which a second sweep tells."""
        if not suspicious(self._tree.zones):
            return {}
        again, _ = self._sweep(self._tree.zones)
        first_j = {counter.device: counter.energy_j for counter in counters}
        return self._mirrors.update(self._tree.zones, first_j, {counter.device: counter.energy_j for counter in again})

    def _refusals(self, failed: Mapping[str, Refusal], repeated: Mapping[str, str]) -> tuple[Refusal, ...]:
        present = {zone.device for zone in self._tree.zones}
        gone = [
            words.vanished(zone.device, zone.folder) for device, zone in self._known.items() if device not in present
        ]
        mirrors = [words.mirror(device, of) for device, of in repeated.items()]
        masked = [words.masked(self._root, self._tree.dangling)] if self._tree.dangling else []
        return (*failed.values(), *masked, *gone, *mirrors, *self._tree.refusals)


def _group() -> str:
    """The group whom root would let read: the one that this process runs as."""
    try:
        return grp.getgrgid(os.getegid()).gr_name
    except KeyError:
        return str(os.getegid())
