"""Trees of files as Linux shows RAPL and the host: what the sensors read in place of /sys and /proc."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

BOOT_ID = "6f1d1c0e-8a0b-4b0e-9d3f-0c1b2a394857"


@dataclass(frozen=True)
class Zone:
    """A zone of a board.

    shows     the true meter behind its counter: `package-0`, `package-0/dram`, `package-0/core`, `psys`...; two zones
              may show one
    stated_w  what constraint_*_max_power_uw say; a constraint without a figure cannot be read
    limits_w  what constraint_*_power_limit_uw say
    """

    id: str
    name: str
    shows: str
    range_j: float
    stated_w: tuple[float | None, ...] = ()
    limits_w: tuple[float, ...] = ()
    enabled: bool = True

    @property
    def control(self) -> str:
        return self.id.split(":")[0]


@dataclass(frozen=True)
class Board:
    """A machine. `counted`: device that the sensor shall name -> the zone that it shall read for it."""

    zones: tuple[Zone, ...]
    counted: Mapping[str, str]
    vendor: str = "GenuineIntel"
    virtual: bool = False
    memory_gb: float = 64.0

    @property
    def true_meters(self) -> tuple[str, ...]:
        """Meters whose sum the host draws, each once."""
        return tuple(dict.fromkeys(self.zone(zone_id).shows for zone_id in self.counted.values()))

    def zone(self, zone_id: str) -> Zone:
        return next(zone for zone in self.zones if zone.id == zone_id)


def _intel_socket(number: int, package_j: float = 262143.328850) -> tuple[Zone, ...]:
    root, name = f"intel-rapl:{number}", f"package-{number}"
    return (
        Zone(root, name, name, package_j, (205.0, 410.0), (205.0, 246.0)),
        Zone(f"{root}:0", "core", f"{name}/core", package_j, enabled=False),
        Zone(f"{root}:1", "uncore", f"{name}/uncore", package_j, enabled=False),
        Zone(f"{root}:2", "dram", f"{name}/dram", 65712.999613, (41.25,), (0.0,), enabled=False),
    )


def intel_two_sockets(package_j: float = 262143.328850) -> Board:
    """Every kind of zone, and a second driver's view of the packages."""
    twins = tuple(Zone(f"intel-rapl-mmio:{n}", f"package-{n}", f"package-{n}", package_j, (205.0,)) for n in (0, 1))
    psys = Zone("intel-rapl:2", "psys", "psys", package_j)
    counted = {"package-0": "intel-rapl:0", "package-0/dram": "intel-rapl:0:2"}
    counted |= {"package-1": "intel-rapl:1", "package-1/dram": "intel-rapl:1:2"}
    return Board((*_intel_socket(0, package_j), *_intel_socket(1, package_j), psys, *twins), counted)


def desktop() -> Board:
    """One die; its limits are lifted, as boards for enthusiasts do."""
    package = Zone("intel-rapl:0", "package-0", "package-0", 262143.328850, (125.0, None), (4095.875, 4095.875))
    core = Zone("intel-rapl:0:0", "core", "package-0/core", 262143.328850)
    uncore = Zone("intel-rapl:0:1", "uncore", "package-0/uncore", 262143.328850)
    dram = Zone("intel-rapl:0:2", "dram", "package-0/dram", 65712.999613, (0.0,))
    psys = Zone("intel-rapl:1", "psys", "psys", 262143.328850)
    return Board((package, core, uncore, dram, psys), {"package-0": "intel-rapl:0", "package-0/dram": "intel-rapl:0:2"})


def amd() -> Board:
    """Package and cores; no memory, no limits."""
    package = Zone("intel-rapl:0", "package-0", "package-0", 65532.610987)
    core = Zone("intel-rapl:0:0", "core", "package-0/core", 65532.610987)
    return Board((package, core), {"package-0": "intel-rapl:0"}, "AuthenticAMD")


def mirrored_dies() -> Board:
    """Two dies that both show the counter of the socket, as Threadripper 1950X."""
    dies = tuple(
        zone
        for die in (0, 1)
        for zone in (
            Zone(f"intel-rapl:{die}", f"package-0-die-{die}", "package-0", 65532.610987),
            Zone(f"intel-rapl:{die}:0", "core", "package-0/core", 65532.610987),
        )
    )
    return Board(dies, {"package-0-die-0": "intel-rapl:0"}, "AuthenticAMD")


def own_dies() -> Board:
    """Two dies with counters of their own, as Cascade Lake-AP."""
    zones, counted = [], {}
    for die in (0, 1):
        name = f"package-0-die-{die}"
        zones += [
            Zone(f"intel-rapl:{die}", name, name, 262143.328850, (200.0, None), (200.0, 240.0)),
            Zone(f"intel-rapl:{die}:0", "dram", f"{name}/dram", 65712.999613, (41.25,)),
        ]
        counted |= {name: f"intel-rapl:{die}", f"{name}/dram": f"intel-rapl:{die}:0"}
    return Board(tuple(zones), counted)


class SysfsTree:
    """A board's files under `root`: `sys` and `proc`.

    powercap  the flat tree of links, as /sys/class/powercap; `devices` what it links to
    """

    def __init__(self, root: Path, board: Board) -> None:
        self.root, self.board = root, board
        self.powercap = root / "sys/class/powercap"
        self.devices = root / "sys/devices/virtual/powercap"
        self.proc = root / "proc"

    @classmethod
    def build(cls, root: Path, board: Board, start_j: Mapping[str, float] | None = None) -> "SysfsTree":
        """Writes all files. Zones of one meter start at one value: `start_j` gives meters, others start at zero."""
        tree = cls(root, board)
        tree.powercap.mkdir(parents=True)
        tree.devices.mkdir(parents=True)
        for control in {zone.control for zone in board.zones}:
            (tree.devices / control).mkdir()
            tree._link(control, tree.devices / control)
        for zone in board.zones:
            tree._build(zone, (start_j or {}).get(zone.shows, 0.0))
        tree._build_proc()
        return tree

    def folder(self, zone_id: str) -> Path:
        """Where a zone's files lie, behind the links."""
        control, *numbers = zone_id.split(":")
        parts = [":".join([control, *numbers[: n + 1]]) for n in range(len(numbers))]
        return self.devices.joinpath(control, *parts)

    def set_j(self, zone_id: str, energy_j: float) -> None:
        """What a zone's counter says. Readers never see a half-written file."""
        replace_text(self.folder(zone_id) / "energy_uj", f"{int(energy_j * 1e6)}\n")

    def set_device_j(self, device: str, energy_j: float) -> None:
        """The same for a device, on every zone that shows its meter."""
        meter = self.board.zone(self.board.counted[device]).shows
        for zone in self.board.zones:
            if zone.shows == meter and self.folder(zone.id).exists():
                self.set_j(zone.id, energy_j)

    def set_boot_id(self, boot_id: str) -> None:
        """The host's, as /proc/sys/kernel/random/boot_id tells it."""
        replace_text(self.proc / "sys/kernel/random/boot_id", boot_id + "\n")

    def vanish(self, zone_id: str) -> None:
        """A zone and those inside it go, as when its processors go offline. What was killed half-way is finished."""
        aside = self._aside(zone_id)
        aside.parent.mkdir(exist_ok=True)
        if not aside.exists():
            self.folder(zone_id).rename(aside)
        for link in self._links(zone_id):
            link.unlink(missing_ok=True)

    def come_back(self, zone_id: str) -> None:
        """The opposite of `vanish`."""
        self._aside(zone_id).rename(self.folder(zone_id))
        for zone in self.board.zones:
            if zone.id == zone_id or zone.id.startswith(f"{zone_id}:"):
                self._link(zone.id, self.folder(zone.id))

    def mask(self) -> Path:
        """Hides the devices as container runtimes do: the links stay and lead nowhere. Returns where the host's are."""
        host = self.root / "host/powercap"
        host.parent.mkdir(exist_ok=True)
        self.devices.rename(host)
        self.devices.mkdir()
        return host

    def deny(self) -> None:
        """Counters may be read by root only, as Linux does since 5.10."""
        for zone in self.board.zones:
            (self.folder(zone.id) / "energy_uj").chmod(0)

    def _build(self, zone: Zone, energy_j: float) -> None:
        folder = self.folder(zone.id)
        folder.mkdir()
        texts = {
            "name": zone.name,
            "energy_uj": str(int(energy_j % zone.range_j * 1e6)),
            "max_energy_range_uj": str(round(zone.range_j * 1e6)),
            "enabled": str(int(zone.enabled)),
        }
        names = ("long_term", "short_term", "peak_power")
        for number, watts in enumerate(zone.limits_w):
            texts[f"constraint_{number}_name"] = names[number]
            texts[f"constraint_{number}_power_limit_uw"] = str(int(watts * 1e6))
        for number, stated_w in enumerate(zone.stated_w):
            file = f"constraint_{number}_max_power_uw"
            if stated_w is None:
                (folder / file).mkdir()  # what opens, and cannot be read: sysfs answers "no data available"
            else:
                texts[file] = str(int(stated_w * 1e6))
        for file, text in texts.items():
            (folder / file).write_text(text + "\n")
        (folder / "device").symlink_to("..")
        self._link(zone.id, folder)

    def _build_proc(self) -> None:
        (self.proc / "sys/kernel/random").mkdir(parents=True)
        (self.proc / "sys/kernel/random/boot_id").write_text(BOOT_ID + "\n")
        flags = "fpu vme hypervisor" if self.board.virtual else "fpu vme"
        (self.proc / "cpuinfo").write_text(f"vendor_id\t: {self.board.vendor}\nflags\t\t: {flags}\n")
        (self.proc / "meminfo").write_text(f"MemTotal:       {int(self.board.memory_gb * 1e9 / 1024)} kB\n")
        self.set_cpu_ticks()

    def set_cpu_ticks(self, *, user: int = 0, iowait: int = 0, steal: int = 0, guest: int = 0, cpus: int = 4) -> None:
        """Time of all processors in ticks, in /proc/stat; guests stand in `user` and again in their own column."""
        sums = f"cpu  {user} 0 0 0 {iowait} 0 0 {steal} {guest} 0"
        each = [f"cpu{n} {user // cpus} 0 0 0 0 0 0 0 0 0" for n in range(cpus)]
        replace_text(self.proc / "stat", "\n".join([sums, *each, "intr 0", ""]))

    def _link(self, name: str, folder: Path) -> None:
        (self.powercap / name).symlink_to(os.path.relpath(folder, self.powercap))

    def _links(self, zone_id: str) -> list[Path]:
        return [link for link in self.powercap.iterdir() if link.name == zone_id or link.name.startswith(f"{zone_id}:")]

    def _aside(self, zone_id: str) -> Path:
        return self.root / "gone" / zone_id


def replace_text(file: Path, text: str) -> None:
    """Whoever reads `file` meanwhile sees what was there or what comes, never a part."""
    aside = file.with_name(f".{file.name}.new")
    aside.write_text(text)
    aside.replace(file)
